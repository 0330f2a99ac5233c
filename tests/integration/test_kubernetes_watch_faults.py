"""The watch on a real API server behind a proxy that misbehaves."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from sync.clusters.cluster import WatchNotice
from sync.clusters.kubernetes.kind_watch import Pace
from sync.clusters.kubernetes.watcher import KubernetesWatcher
from tests.fault_proxy import (
    Altered,
    Asked,
    Body,
    EndsAtOnce,
    Fault,
    FaultProxy,
    Reset,
    Silence,
    Status,
    everything,
    fault_proxy,
    lists,
    watches,
)
from tests.integration.test_kubernetes_watch import KEY, SETS_ALONE, WEB, Told, threads, until
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import OWNER, api, edit, remove, writer
from zonebridge_simulator.authority import Authority

PACE = Pace(
    lasts=(240, 300), lived=5, first_pause=0.02, longest_pause=0.2, silence=1, between_lists=0.3
)
"""As patient as the real one, only in less time; a real server sends a bookmark later than that."""


@pytest.fixture
def proxy(calico: ControlPlane, authority: Authority) -> Iterator[FaultProxy]:
    with fault_proxy(calico, authority) as found:
        yield found


@contextmanager
def watched(
    proxy: FaultProxy, pace: Pace = PACE, notices: list[WatchNotice] | None = None
) -> Iterator[tuple[Told, list[WatchNotice]]]:
    """Watch through a proxy, and what was told of the cluster and of the watch."""
    opened = api(proxy.plane, cluster="behind a proxy", kubeconfig=proxy.kubeconfig())
    told, stopping = Told(), threading.Event()
    notices = [] if notices is None else notices
    KubernetesWatcher(opened, OWNER, pace, ours=SETS_ALONE, others={}).watch(
        told.changed, told.labelled, told.miss, stopping, lambda _, notice: notices.append(notice)
    )
    try:
        yield told, notices
    finally:
        stopping.set()
        proxy.heal()
        until(lambda: not threads(opened.name))
        opened.close()


GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
FAULTS: dict[str, tuple[Fault, WatchNotice]] = {
    "ends at once": (EndsAtOnce(), WatchNotice.SHORT),
    "is silent": (Silence(), WatchNotice.SILENT),
    "is silent from the head on": (Silence(head=False), WatchNotice.BROKEN),
    "sends blank lines": (Silence(blank=b"\n"), WatchNotice.SILENT),
    "is refused": (Status(403), WatchNotice.REFUSED),
    "is forgotten": (Status(410), WatchNotice.GONE),
    "is forgotten at once": (Body(orjson.dumps(GONE) + b"\n"), WatchNotice.GONE),
    "is broken": (Status(502, b"<html>Bad gateway"), WatchNotice.BROKEN),
    "is cut": (Reset(), WatchNotice.BROKEN),
}


@pytest.mark.parametrize("how", FAULTS)
def test_what_other_hands_do_is_told_however_sick_the_watch_is(
    how: str, calico: ControlPlane, proxy: FaultProxy
) -> None:
    fault, ends = FAULTS[how]
    ours = api(calico)
    writer(ours).create(WEB)
    proxy.fail(watches, fault)
    with watched(proxy) as (told, notices):
        until(lambda: told.missed)
        edit(calico, "pan.web", {"spec": {"nets": ["0.0.0.0/0"]}})
        until(lambda: KEY in told.last)
        widened = told.last[KEY]
        assert widened is not None
        assert widened.document()["spec"]["nets"] == ["0.0.0.0/0"]
        remove(calico, "pan.web")
        until(lambda: told.last[KEY] is None)
        assert ends in notices
        # Nobody is asked to read the cluster for it.
        assert told.missed == 1
        listed = notices.count(WatchNotice.LISTED)
        proxy.heal()
        writer(ours).create(WEB)
        until(lambda: told.last[KEY] == WEB)
        assert listed >= 2
    ours.close()


def test_a_watch_that_ends_at_once_is_not_asked_for_without_pause(
    calico: ControlPlane, proxy: FaultProxy
) -> None:
    proxy.fail(watches, EndsAtOnce())
    pace = Pace(silence=3_600, first_pause=0.01, longest_pause=1_000)
    ended: list[float] = []

    class Noting(list[WatchNotice]):
        """Notes when, where the watch itself is: whoever only looks may come late."""

        def append(self, notice: WatchNotice) -> None:
            ended.extend([time.monotonic()] if notice is WatchNotice.SHORT else [])
            super().append(notice)

    with watched(proxy, pace, Noting()) as (_, notices):
        until(lambda: notices.count(WatchNotice.SHORT) >= 7)
        assert ended[6] - ended[4] >= (0.01 * 2**4 + 0.01 * 2**5) / 2
        # Each time it is opened, it asks besides which cluster it reaches.
        assert proxy.count(lambda asked: lists(asked) and "/namespaces/" not in asked.path) == 1


def test_a_server_that_answers_again_is_told(calico: ControlPlane, proxy: FaultProxy) -> None:
    with watched(proxy) as (told, notices):
        until(lambda: told.missed)
        for fault in (Reset(), Status(503)):
            before = notices.count(WatchNotice.BACK)
            # The first may be of a watch that was open; the second never reached the server.
            broken = notices.count(WatchNotice.BROKEN) + 2
            proxy.fail(everything, fault)
            proxy.cut()
            until(lambda: notices.count(WatchNotice.BROKEN) >= broken)  # noqa: B023 - asked at once
            assert notices.count(WatchNotice.BACK) == before
            proxy.heal()
            until(lambda: notices.count(WatchNotice.BACK) == before + 1)  # noqa: B023 - as above


def test_another_cluster_behind_the_address_is_noticed_as_the_watch_comes_back(
    calico: ControlPlane, proxy: FaultProxy
) -> None:
    def identity(asked: Asked) -> bool:
        return asked.path == "/api/v1/namespaces/kube-system"

    def another(namespace: Any) -> Any:
        return namespace | {"metadata": namespace["metadata"] | {"uid": "another"}}

    with watched(proxy, Pace(first_pause=0.02, longest_pause=0.2)) as (told, notices):
        until(lambda: told.missed == 1)
        put_there = api(calico)
        writer(put_there).create(WEB)
        put_there.close()
        # The cluster has said which one it is once its watch tells of something.
        until(lambda: told.changes)
        proxy.fail(identity, Altered(another))
        proxy.cut()
        until(lambda: told.missed == 2)
        until(lambda: WatchNotice.GONE in notices)
        # Nobody is told of what the other one holds.
        assert told.changes == [(KEY, WEB)]


def test_a_real_server_sends_bookmarks_where_something_happened(
    calico: ControlPlane, proxy: FaultProxy
) -> None:
    ours = api(calico)
    with watched(proxy, Pace(lasts=(4, 4), lived=2)) as (told, notices):
        until(lambda: told.missed)
        writer(ours).create(WEB)
        until(lambda: KEY in told.last)
        until(lambda: notices.count(WatchNotice.LASTED) >= 2)
        # One for the object, another for a bookmark before the end.
        until(lambda: notices.count(WatchNotice.HEARD) >= 2)
        assert notices.count(WatchNotice.LISTED) == 1
    ours.close()

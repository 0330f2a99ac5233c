"""The watch on a real API server: what it tells of, what it survives, and how it ends."""

import gc
import io
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import urllib3

from sync.calico.manifest import Manifest
from sync.calico.objects import KINDS
from sync.clusters.cluster import Key, Selectable
from sync.clusters.kubernetes.auth.kubeconfig import connect
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.kind_watch import Pace
from sync.clusters.kubernetes.watcher import SELECTABLE, KubernetesWatcher
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import (
    OWNER,
    SETS,
    access,
    api,
    edit,
    made,
    nets,
    put,
    reader,
    remove,
    writer,
)

SECONDS = 90
KEY = ("GlobalNetworkSet", "pan.web")
WEB = made("pan.web", "10.0.0.1/32")
KINDS_WATCHED = len(KINDS) + len(SELECTABLE)
SETS_ALONE = {"GlobalNetworkSet": KINDS["GlobalNetworkSet"]}
WIDER = made("pan.web", "10.0.0.0/24")
QUICK = Pace(first_pause=0.05, longest_pause=1, between_lists=0.1)
_number = itertools.count()


@dataclass
class Told:
    """What a watch told; `last` is the newest of each object."""

    changes: list[tuple[Key, Manifest | None]] = field(default_factory=list)
    others: list[tuple[Key, Selectable | None]] = field(default_factory=list)
    missed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def changed(self, key: Key, manifest: Manifest | None) -> None:
        with self._lock:
            self.changes.append((key, manifest))

    def labelled(self, key: Key, found: Selectable | None) -> None:
        with self._lock:
            self.others.append((key, found))

    def miss(self) -> None:
        with self._lock:
            self.missed += 1

    @property
    def last(self) -> dict[Key, Manifest | None]:
        return dict(self.changes)

    def of(self, name: str) -> list[Manifest | None]:
        return [manifest for (_, each), manifest in self.changes if each == name]


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def threads(cluster: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == f"watch {cluster}"]


@contextmanager
def watched(
    watching: Api,
    pace: Pace = QUICK,
    ours: Mapping[str, str] = KINDS,
    others: Mapping[str, str] = SELECTABLE,
) -> Iterator[Told]:
    """Watch a cluster; at the end every thread ends by itself and nothing stays open."""
    told, stopping = Told(), threading.Event()
    watcher = KubernetesWatcher(watching, OWNER, pace, ours=ours, others=others)
    watcher.watch(told.changed, told.labelled, told.miss, stopping)
    try:
        until(lambda: told.missed >= len(ours) + len(others))
        yield told
    finally:
        stopping.set()
        until(lambda: not threads(watching.name))
        watching.close()
        # A socket that nobody closed is an error now.
        gc.collect()


def named(plane: ControlPlane) -> Api:
    return api(plane, cluster=f"watched-{next(_number)}")


@pytest.fixture
def told(calico: ControlPlane) -> Iterator[Told]:
    with watched(named(calico)) as found:
        yield found


@pytest.fixture
def ours(calico: ControlPlane) -> Iterator[Api]:
    opened = api(calico)
    yield opened
    opened.close()


# --- what it tells --------------------------------------------------------------------------------


def test_it_tells_what_became_of_objects_of_ours(
    told: Told, ours: Api, calico: ControlPlane
) -> None:
    writer(ours).create(WEB)
    until(lambda: told.last.get(KEY) == WEB)
    edit(calico, "pan.web", {"spec": {"nets": ["192.0.2.0/24"]}})
    until(lambda: told.last[KEY] != WEB)
    live = reader(ours).read()[KEY]
    assert told.last[KEY] == live.manifest
    remove(calico, "pan.web")
    until(lambda: told.last[KEY] is None)
    assert told.missed == KINDS_WATCHED


def test_what_is_foreign_on_an_object_of_ours_is_no_news(
    told: Told, ours: Api, calico: ControlPlane
) -> None:
    writer(ours).create(WEB)
    foreign = {"labels": {"team": "blue"}, "annotations": {"note": "theirs"}}
    edit(calico, "pan.web", {"metadata": foreign})
    until(lambda: len(told.of("pan.web")) == 2)
    assert told.of("pan.web") == [WEB, WEB]


@pytest.mark.parametrize("number", range(len(OWNER)))
def test_an_object_that_loses_a_label_of_ours_is_told_as_gone(
    told: Told, ours: Api, calico: ControlPlane, number: int
) -> None:
    writer(ours).create(WEB)
    until(lambda: told.last.get(KEY) == WEB)
    label, _ = OWNER[number]
    edit(calico, "pan.web", {"metadata": {"labels": {label: None}}})
    until(lambda: told.last[KEY] is None)
    edit(calico, "pan.web", {"metadata": {"labels": dict(OWNER)}})
    until(lambda: told.last[KEY] == WEB)


def test_objects_of_others_are_not_told_of(told: Told, ours: Api, calico: ControlPlane) -> None:
    put(calico, "theirs", "192.0.2.0/24")
    edit(calico, "theirs", {"spec": {"nets": ["198.51.100.0/24"]}})
    other = tuple((key, "another" if "instance" in key else value) for key, value in OWNER)
    writer(ours, other).create(made("another", "10.0.0.1/32", owner=other))
    remove(calico, "theirs")
    # Events come in order: what came before this one has come.
    writer(ours).create(WEB)
    until(lambda: KEY in told.last)
    assert told.changes == [(KEY, WEB)]


def test_every_kind_of_ours_is_watched(told: Told, calico: ControlPlane) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "Tier": {"order": 7},
        "GlobalNetworkPolicy": {"selector": "all()"},
        "StagedGlobalNetworkPolicy": {"selector": "all()"},
    }
    for kind, spec in bodies.items():
        document = {
            "apiVersion": "projectcalico.org/v3",
            "kind": kind,
            "metadata": {"name": "ours", "labels": dict(OWNER)},
            "spec": spec,
        }
        calico.request("POST", f"/apis/projectcalico.org/v3/{KINDS[kind]}", document)
    until(lambda: {kind for kind, _ in told.last} == set(bodies))


def test_sets_and_host_endpoints_of_others_are_told_of_as_they_come_and_go(
    told: Told, ours: Api, calico: ControlPlane
) -> None:
    def labels() -> dict[Key, Mapping[str, str] | None]:
        return {key: found.labels if found else None for key, found in told.others}

    put(calico, "theirs", "192.0.2.0/24")
    key = ("GlobalNetworkSet", "theirs")
    until(lambda: labels().get(key) == {})
    edit(calico, "theirs", {"metadata": {"labels": {"role": "web"}}})
    until(lambda: labels()[key] == {"role": "web"})
    remove(calico, "theirs")
    until(lambda: labels()[key] is None)
    for kind, within in (("NetworkSet", "namespaces/default/"), ("HostEndpoint", "")):
        document = {
            "apiVersion": "projectcalico.org/v3",
            "kind": kind,
            "metadata": {"name": "theirs", "labels": {"role": "db"}},
            "spec": {} if within else {"node": "n", "expectedIPs": ["192.0.2.1"]},
        }
        calico.request("POST", f"/apis/projectcalico.org/v3/{within}{kind.lower()}s", document)
    until(lambda: labels().get(("NetworkSet", "default/theirs")) == {"role": "db"})
    until(lambda: labels().get(("HostEndpoint", "theirs")) == {"role": "db"})
    # Sets of ours are none of them, until another hand takes our labels off.
    writer(ours).create(WEB)
    until(lambda: told.last.get(KEY) == WEB)
    edit(calico, "pan.web", {"metadata": {"labels": {key: None for key, _ in OWNER}}})
    until(lambda: KEY in labels())
    assert [found for key, found in told.others if key == KEY] != [None]
    assert len([key for key, _ in told.others if key == KEY]) == 1


# --- what it survives -----------------------------------------------------------------------------


def test_it_outlives_the_api_server_and_misses_nothing_that_comes_after(
    calico: ControlPlane, ours: Api
) -> None:
    writer(ours).create(WEB)
    with watched(named(calico), ours=SETS_ALONE, others={}) as told:

        def follows(act: Callable[[], object], holds: Manifest | None) -> None:
            """What is done is told."""
            act()
            until(lambda: told.last.get(KEY, WEB) == holds)

        calico.stop()
        calico.start()
        follows(lambda: remove(calico, "pan.web"), None)
        follows(lambda: writer(ours).create(WIDER), WIDER)
        follows(lambda: remove(calico, "pan.web"), None)
        assert {name for _, name in told.last} <= {"pan.web"}


def test_a_watch_that_ends_goes_on_where_it_was(calico: ControlPlane, ours: Api) -> None:
    asked = Interfered(calico, lambda path, query: None)
    with watched(asked, Pace(lasts=(1, 1), lived=0.5)) as told:
        until(lambda: asked.streams >= 3 * KINDS_WATCHED)
        writer(ours).create(WEB)
        before = asked.streams
        until(lambda: told.last.get(KEY) == WEB)
        until(lambda: asked.streams >= before + 2 * KINDS_WATCHED)
        assert told.of("pan.web") == [WEB]
        assert told.missed == KINDS_WATCHED


class Interfered(Api):
    """A cluster whose first watches of sets are not what they should be.

    `answer` may change the query, or give the lines to answer with.
    """

    def __init__(
        self,
        plane: ControlPlane,
        answer: Callable[[str, dict[str, str | int]], list[Any] | None],
    ) -> None:
        found = access(plane, cluster=f"watched-{next(_number)}")
        super().__init__(found.cluster, lambda: connect(found))
        self._answer = answer
        self.streams = 0

    def stream(
        self, path: str, query: Mapping[str, str | int], silence: float, longest: float
    ) -> AbstractContextManager[urllib3.BaseHTTPResponse]:
        self.streams += 1
        changed = dict(query)
        lines = self._answer(path, changed)
        if lines is None:
            return super().stream(path, changed, silence, longest)
        return self._said(lines)

    @contextmanager
    def _said(self, lines: list[Any]) -> Iterator[urllib3.BaseHTTPResponse]:
        written = b"".join(
            each if isinstance(each, bytes) else orjson.dumps(each) + b"\n" for each in lines
        )
        yield urllib3.HTTPResponse(io.BytesIO(written), preload_content=False)


def first_of_sets(
    does: Callable[[dict[str, str | int]], list[Any] | None],
) -> Callable[[str, dict[str, str | int]], list[Any] | None]:
    """Interferes once, with the first watch of sets."""
    times = itertools.count()

    def answer(path: str, query: dict[str, str | int]) -> list[Any] | None:
        return does(query) if path == SETS and next(times) == 0 else None

    return answer


def ancient(query: dict[str, str | int]) -> list[Any] | None:
    query["resourceVersion"] = "1"
    return None


def gone(query: dict[str, str | int]) -> list[Any] | None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    return [{"type": "ERROR", "object": status}]


@pytest.mark.parametrize("does", [ancient, gone])
def test_what_came_after_a_version_that_the_server_has_forgotten_is_told(
    calico: ControlPlane, ours: Api, does: Callable[[dict[str, str | int]], list[Any] | None]
) -> None:
    with watched(Interfered(calico, first_of_sets(does))) as told:
        writer(ours).create(WEB)
        until(lambda: told.last.get(KEY) == WEB)
        assert told.missed == KINDS_WATCHED


def broken(query: dict[str, str | int]) -> list[Any] | None:
    return [b'{"type": "ADDED", "object": {"meta\n']


def proxied(query: dict[str, str | int]) -> list[Any] | None:
    return [b"<html>\n<body>Sign in</body>\n"]


def no_event(query: dict[str, str | int]) -> list[Any] | None:
    return [{"kind": "Status", "code": 200}]


def failed(query: dict[str, str | int]) -> list[Any] | None:
    return [{"type": "ERROR", "object": {"kind": "Status", "message": "etcd is slow"}}]


@pytest.mark.parametrize("does", [broken, proxied, no_event, failed])
def test_an_answer_that_is_no_watch_is_tried_again(
    calico: ControlPlane, ours: Api, does: Callable[[dict[str, str | int]], list[Any] | None]
) -> None:
    with watched(Interfered(calico, first_of_sets(does))) as told:
        writer(ours).create(WEB)
        until(lambda: told.last.get(KEY) == WEB)
        assert told.missed == KINDS_WATCHED


# --- how it ends ----------------------------------------------------------------------------------


def test_it_ends_while_the_server_is_away(calico: ControlPlane) -> None:
    with watched(named(calico)):
        calico.stop()
    calico.start()


def test_it_ends_before_it_has_begun(calico: ControlPlane) -> None:
    opened, stopping, told = named(calico), threading.Event(), Told()
    stopping.set()
    KubernetesWatcher(opened, OWNER).watch(told.changed, told.labelled, told.miss, stopping)
    until(lambda: not threads(opened.name))
    assert told.changes == []
    opened.close()


def test_a_watch_that_opens_while_it_is_to_end_ends_too(calico: ControlPlane) -> None:
    stopping, told = threading.Event(), Told()
    opening = threading.Barrier(KINDS_WATCHED + 1)

    def late(path: str, query: dict[str, str | int]) -> list[Any] | None:
        """The request is sent after the end was told to all who listened."""
        opening.wait(SECONDS)
        until(lambda: stopping.is_set() and not enders())
        return None

    opened = Interfered(calico, late)

    def enders() -> list[threading.Thread]:
        return [each for each in threads(opened.name) if "end" in repr(each._target)]  # type: ignore[attr-defined]

    KubernetesWatcher(opened, OWNER).watch(told.changed, told.labelled, told.miss, stopping)
    opening.wait(SECONDS)
    stopping.set()
    until(lambda: not threads(opened.name))
    opened.close()
    gc.collect()


def test_nothing_is_read_while_nothing_changes(calico: ControlPlane, ours: Api) -> None:
    writer(ours).create(WEB)
    requests: list[str] = []
    counted = named(calico)
    real = counted._begun

    def begun(asked: Any, timeout: Any) -> Any:
        requests.append(asked.path)
        return real(asked, timeout)

    counted._begun = begun  # type: ignore[method-assign]
    with watched(counted) as told:
        # A list, a watch, and which cluster it is.
        until(lambda: len(requests) == 3 * KINDS_WATCHED)
        edit(calico, "pan.web", {"spec": {"nets": ["192.0.2.0/24"]}})
        until(lambda: told.last.get(KEY))
        assert len(requests) == 3 * KINDS_WATCHED
    assert nets(calico) == {"pan.web": ["192.0.2.0/24"]}

"""The worker of a real API server in front of which writes alone fail for a while."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from sync.calico.ownership import owner_labels
from sync.clusters.cluster import ClusterWriter
from sync.clusters.kubernetes.reader import KubernetesReader
from sync.clusters.kubernetes.watcher import KubernetesWatcher
from sync.clusters.kubernetes.writer import KubernetesWriter
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.service.metrics import Metrics
from sync.service.sources import PolledSource
from sync.service.worker import ClusterWorker
from sync.store import Store, open_store
from sync.store.verification import verify
from sync.translate.compiler import Options
from tests.clock import Clock
from tests.fault_proxy import FaultProxy, Status, fault_proxy, watches, writes
from tests.integration.test_kubernetes_watch import threads, until
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import api, nets
from tests.unit.service.words import SaidSource
from tests.words import address, group
from zonebridge_simulator.authority import Authority

MINUTE = 60


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.db") as found:
        yield found


@contextmanager
def working(proxy: FaultProxy, store: Store, clock: Clock) -> Iterator[ClusterWorker]:
    """A worker that knows of one address group."""
    opened = api(proxy.plane, sleep=lambda _: None, kubeconfig=proxy.kubeconfig())
    owner = owner_labels("test", store.uuid)

    def writer(remaining: object, stopping: object) -> ClusterWriter:
        return KubernetesWriter(
            opened,
            owner,
            remaining=remaining,  # type: ignore[arg-type]  # as the cycle gives it
            stopping=stopping,  # type: ignore[arg-type]  # the same
            seconds=1,
        )

    source = SaidSource()
    source.says(address("a", "10.0.0.1"), group("web", "a"), version="1")
    polled = PolledSource(source, store.memory("main"))
    polled.poll()
    reader = KubernetesReader(opened, owner)
    worker = ClusterWorker(
        cluster=Cluster(
            "prod",
            (TierBinding("main", "dg"),),
            reader,
            writer,
            KubernetesWatcher(opened, owner),
            repair_drift=True,
        ),
        sources={"main": polled},
        store=store,
        options=Options((), True, owner),
        trigger="a test",
        holder="the worker",
        lease_ttl=timedelta(seconds=3),
        resync_interval=timedelta(days=1),
        publish_heads=lambda: None,
        metrics=Metrics(),
        stopping=threading.Event(),
        clock=clock,
    )
    thread = threading.Thread(target=worker.work, name="cluster prod")
    thread.start()
    try:
        yield worker
    finally:
        worker.stopping.set()
        worker.stop()
        thread.join()
        until(lambda: not threads(opened.name))
        opened.close()


@pytest.mark.parametrize("status", [403, 500])
def test_policy_arrives_within_a_minute_after_an_outage_of_writes_alone(
    status: int, calico: ControlPlane, authority: Authority, store: Store
) -> None:
    clock = Clock()
    with fault_proxy(calico, authority) as proxy:
        proxy.fail(writes, Status(status))
        with working(proxy, store, clock) as worker:
            # After an error of the server nobody knows what was written: the lease runs out, and
            # the next try comes with it.
            for _ in range(8 if status == 403 else 1):
                until(lambda: clock.now < worker._retry_at < math.inf)
                assert worker._retry_at - clock.now <= MINUTE
                clock.now = worker._retry_at
                worker.stop()
            until(lambda: clock.now < worker._retry_at < math.inf)
            returns = worker.metrics.registry.get_sample_value(
                "zonebridge_cluster_returns_total", {"cluster": "prod"}
            )
            assert not returns, "watches are healthy all the time"
            assert proxy.count(watches)
            assert nets(calico) == {}
            proxy.heal()
            clock.now += MINUTE
            worker.stop()
            until(lambda: nets(calico) == {"pan.web": ["10.0.0.1/32"]})
    assert verify(store)

"""What calls for syncs of a cluster, over a real store and a queue that only notes it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from sync.calico.ownership import owner_labels
from sync.clusters.cluster import WatchNotice
from sync.errors import StoreError
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.service import caller as module
from sync.service.caller import ClusterCaller
from sync.service.metrics import Metrics
from sync.service.sources import PolledSource
from sync.store import Conclusion, Outcome, Store
from tests.unit.service.words import SaidSource, WatchedCluster, until
from tests.unit.store.words import ORIGINS, create, group, new_store

TTL = timedelta(minutes=10)
WEB = ("GlobalNetworkSet", "pan.web")


@dataclass
class Calls:
    """A queue that fails as long as it is told to."""

    made: list[tuple[set[str], bool]] = field(default_factory=list)
    error: str = ""

    def call(self, cluster: str, reasons: set[str], *, hurry: bool) -> None:
        assert cluster == "prod"
        if self.error:
            raise StoreError(self.error)
        self.made.append((reasons, hurry))

    def reasons(self) -> set[str]:
        return set().union(*(reasons for reasons, _ in self.made))

    def began(self) -> bool:
        return "start" in self.reasons()

    def hurried(self, reason: str) -> bool:
        return any(hurry for reasons, hurry in self.made if reason in reasons)


@dataclass
class World:
    store: Store
    cluster: WatchedCluster
    calls: Calls = field(default_factory=Calls)
    source: SaidSource = field(default_factory=SaidSource)
    stopping: threading.Event = field(default_factory=threading.Event)
    resync_interval: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        self.polled = PolledSource(self.source, self.store.memory("main"))
        self.polled.poll()

    @contextmanager
    def working(self) -> Iterator[ClusterCaller]:
        groups = (TierBinding("main", "dg"),)
        caller = ClusterCaller(
            cluster=Cluster("prod", groups, self.cluster, None, self.cluster, repair_drift=True),
            sources={"main": self.polled},
            store=self.store,
            queue=self.calls,
            resync_interval=self.resync_interval,
            metrics=Metrics(),
            stopping=self.stopping,
        )
        thread = threading.Thread(target=caller.work)
        thread.start()
        try:
            yield caller
        finally:
            self.stopping.set()
            caller.stop()
            thread.join()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("SETTLE_SECONDS", "LOOK_SECONDS", "STORE_SECONDS"):
        monkeypatch.setattr(module, name, 0.02)
    with new_store(tmp_path / "store.db") as store:
        yield World(store, WatchedCluster(owner_labels("test", store.uuid)))


def test_it_calls_at_the_start_and_at_once_for_news(world: World) -> None:
    with world.working() as caller:
        until(world.calls.began)
        assert not world.calls.hurried("start")
        caller.wake("configuration")
        until(lambda: world.calls.hurried("configuration"))


def test_it_waits_for_its_source(world: World) -> None:
    world.polled.attempted = 0.0
    with world.working() as caller:
        caller.wake("configuration")
        time.sleep(0.1)
        assert world.calls.made == []
        world.polled.poll()
        caller.wake("configuration")
        until(lambda: {"configuration", "start"} <= world.calls.reasons())


def test_a_write_of_a_worker_is_no_drift_and_is_looked_at_once_the_worker_is_done(
    world: World,
) -> None:
    with world.working():
        until(world.calls.began)
        run, change = world.store.run("a worker"), create(group("pan.web"))
        assert change.after
        with world.store.lease("prod", "a worker", TTL) as lease:
            intents = run.intend(lease, [change], ORIGINS)
            world.cluster.changed(WEB, change.after)
            time.sleep(0.2)
            assert world.calls.reasons() <= {"start", "watch"}
            run.conclude([Conclusion(intent, Outcome.APPLIED) for intent in intents])
        time.sleep(0.2)
        assert world.calls.reasons() <= {"start", "watch"}
        world.cluster.changed(WEB, None)
        until(lambda: "drift" in world.calls.reasons())


def test_what_a_watch_missed_and_labels_of_others_are_reasons(world: World) -> None:
    with world.working():
        until(world.calls.began)
        world.cluster.missed()
        world.cluster.labelled(WEB, None)
        until(lambda: {"watch", "labels of others"} <= world.calls.reasons())


def test_a_cluster_that_comes_and_goes_is_called_for_once_in_a_while(world: World) -> None:
    with world.working():
        until(world.calls.began)
        for _ in range(3):
            world.cluster.noticed("Tier", WatchNotice.BACK)
        until(lambda: "cluster answers again" in world.calls.reasons())
        world.cluster.noticed("Tier", WatchNotice.BACK)
        time.sleep(0.1)
        assert sum("cluster answers again" in reasons for reasons, _ in world.calls.made) == 1


def test_what_could_not_be_called_for_is_once_the_store_answers(world: World) -> None:
    world.calls.error = "the queue is away"
    with world.working() as caller:
        until(caller.checks)
        assert [(each.holds, each.says) for each in caller.checks()] == [
            (False, "the queue is away")
        ]
        world.calls.error = ""
        until(world.calls.began)
        until(lambda: not caller.checks())


def test_a_cluster_is_read_again_after_a_while_unless_another_had_it_read(world: World) -> None:
    world.resync_interval = timedelta(seconds=1)
    with world.working():
        until(lambda: "resync" in world.calls.reasons())
    world.calls.made.clear()
    world.stopping.clear()
    world.resync_interval = timedelta(hours=1)
    world.store.stand("cluster", "prod", state="in sync", detail="", succeeded=True)
    with world.working() as caller:
        until(world.calls.began)
        caller.resync_at = 0.0
        caller.stop()
        until(lambda: caller.resync_at > time.monotonic() + 60)
        assert "resync" not in world.calls.reasons()

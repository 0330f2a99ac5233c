"""The queue between a service and its workers, on a real PostgreSQL."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from procrastinate.schema import SchemaManager
from sqlalchemy import text

from sync.calico.ownership import owner_labels
from sync.errors import StoreError
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.service import queue as module
from sync.service import tasks
from sync.service.metrics import Metrics
from sync.service.notices import Announcer
from sync.service.queue import SyncQueue
from sync.service.step import ClusterStep
from sync.service.tasks import Worker
from sync.store import Store, open_store
from sync.store.schema import QUEUE_SCHEMA
from sync.translate.compiler import Options
from tests.postgresql import Database
from tests.unit.service.words import SaidSource, WatchedCluster, until
from tests.words import address, group

TTL = timedelta(seconds=6)
A = address("a", "10.0.0.1")
SQL = Path(__file__).parents[2] / "migrations" / "versions" / "0006_queue.sql"


@dataclass
class World:
    """A store with a queue, and clusters in memory that all get what one source says."""

    store: Store
    queue: SyncQueue
    source: SaidSource = field(default_factory=SaidSource)
    metrics: Metrics = field(default_factory=Metrics)
    clusters: dict[str, WatchedCluster] = field(default_factory=dict)

    def step(self, name: str, stopping: threading.Event) -> ClusterStep:
        cluster = WatchedCluster(owner_labels("test", self.store.uuid))
        self.clusters[name] = cluster
        groups = (TierBinding("main", "dg"),)
        return ClusterStep(
            cluster=Cluster(name, groups, cluster, cluster.writer, None, True),
            read=lambda: {"main": self.source.read()},
            store=self.store,
            options=Options((), True, cluster.owner),
            trigger="a test",
            publish_heads=lambda: None,
            metrics=self.metrics,
            stopping=stopping,
            announcer=Announcer((), math.inf),
        )

    @contextmanager
    def working(self, *names: str) -> Iterator[None]:
        """Let a worker work on these clusters."""
        stopping = threading.Event()
        worker = Worker(
            {name: self.step(name, stopping) for name in names},
            self.store,
            self.queue,
            holder="the worker",
            lease_ttl=TTL,
            slots=2,
            metrics=self.metrics,
            stopping=stopping,
        )
        thread = threading.Thread(target=worker.serve, args=["127.0.0.1:0"])
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def syncs(self) -> float:
        [family] = [each for each in self.metrics.registry.collect() if "syncs" in each.name]
        return sum(each.value for each in family.samples if each.name.endswith("_total"))

    def asks(self, query: str, **values: Any) -> list[Any]:
        with self.store.database.writing() as connection:
            found = connection.execute(text(query), values)
            return list(found.all()) if found.returns_rows else []

    def jobs(self) -> int:
        return len(self.asks("SELECT id FROM procrastinate_jobs"))


@pytest.fixture
def world(postgresql_database: Database) -> Iterator[World]:
    url, password = postgresql_database.url, postgresql_database.password
    with open_store(url, password=password) as store, SyncQueue(store.database) as queue:
        made = World(store, queue)
        made.source.says(A, group("web", "a"), version="1")
        yield made


def test_what_a_hundred_ask_for_is_one_task_a_cluster(world: World) -> None:
    threads = [
        threading.Thread(target=world.queue.call, args=[name, {"drift"}], kwargs={"hurry": True})
        for name in ("eu", "us")
        for _ in range(50)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert world.queue.length() == world.jobs() == 2
    with world.working("eu", "us"):
        until(lambda: world.jobs() == 0)
    assert world.syncs() == 2
    assert [each.nets() for each in world.clusters.values()] == [{"pan.web": ["10.0.0.1/32"]}] * 2


def test_a_sync_that_failed_is_tried_again_and_news_need_not_wait_for_that(world: World) -> None:
    world.queue.call("eu", {"configuration"}, hurry=True)
    later = datetime.now(UTC) + timedelta(hours=1)
    world.asks("UPDATE procrastinate_jobs SET scheduled_at = :at", at=later)
    assert world.queue.length() == 0
    world.queue.call("eu", {"drift"}, hurry=False)
    assert world.queue.length() == 0
    assert world.jobs() == 1
    world.queue.call("eu", {"configuration"}, hurry=True)
    assert world.queue.length() == world.jobs() == 1


def test_a_failure_is_no_end(world: World) -> None:
    world.source.says(version="2")
    reads = iter([StoreError("the disk is full")])

    def read() -> Any:
        for error in reads:
            raise error
        return {"main": world.source.read()}

    stopping = threading.Event()
    step = world.step("eu", stopping)
    step.read = read
    worker = Worker(
        {"eu": step},
        world.store,
        world.queue,
        holder="the worker",
        lease_ttl=TTL,
        slots=1,
        metrics=world.metrics,
        stopping=stopping,
    )
    world.queue.call("eu", {"configuration"}, hurry=True)
    thread = threading.Thread(target=worker.serve, args=["127.0.0.1:0"])
    thread.start()
    until(lambda: world.jobs() == 0)
    stopping.set()
    thread.join()
    assert world.syncs() == 1


def test_the_task_of_a_worker_that_died_is_done_by_another(world: World) -> None:
    world.queue.call("eu", {"configuration"}, hurry=True)
    # As a worker leaves it that took it and was killed.
    world.asks("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1h')")
    world.asks(
        "UPDATE procrastinate_jobs SET status = 'doing',"
        " worker_id = (SELECT id FROM procrastinate_workers)"
    )
    with world.working("eu"):
        until(lambda: world.jobs() == 0)
    assert world.clusters["eu"].nets() == {"pan.web": ["10.0.0.1/32"]}


def test_a_task_that_nobody_does_holds_up_nothing_though_another_one_waits(world: World) -> None:
    world.queue.call("eu", {"configuration"}, hurry=True)
    world.asks("UPDATE procrastinate_jobs SET status = 'doing'")
    world.queue.call("eu", {"drift"}, hurry=False)
    assert world.jobs() == 2
    with world.working("eu"):
        until(lambda: world.jobs() == 0)
    assert world.syncs() == 1


def test_news_that_comes_while_a_sync_fails_is_a_task_of_its_own(world: World) -> None:
    begun, goes = threading.Event(), threading.Event()
    real = world.source.read

    def read() -> Any:
        if not begun.is_set():
            begun.set()
            goes.wait()
            raise StoreError("the disk is full")
        return real()

    world.source.read = read  # type: ignore[method-assign]
    world.queue.call("eu", {"drift"}, hurry=False)
    with world.working("eu"):
        begun.wait()
        world.queue.call("eu", {"configuration"}, hurry=True)
        goes.set()
        until(lambda: world.jobs() == 0)
    assert world.syncs() == 1


def test_a_task_for_a_cluster_that_is_not_configured_ends(world: World) -> None:
    world.queue.call("gone", {"drift"}, hurry=False)
    with world.working("eu"):
        until(lambda: world.jobs() == 0)
    assert world.syncs() == 0


def test_what_a_worker_did_before_its_end_is_done_again_by_whoever_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes on may have another configuration, and the service called before it was there."""
    world.queue.call("eu", {"configuration reloaded"}, hurry=True)
    with world.working("eu", "us"):
        until(lambda: world.jobs() == 0)
    # Not the other one, which it did not touch.
    assert world.asks("SELECT lock FROM procrastinate_jobs") == [("eu",)]
    with world.working("eu"):
        until(lambda: world.jobs() == 0)
        monkeypatch.setattr(tasks, "LATELY_SECONDS", -1.0)
    assert world.syncs() == 2
    # Nothing is done again for ever: workers that rest are taken away without a new rush.
    assert world.jobs() == 0


def test_a_database_that_cannot_be_asked_is_a_failure_of_the_store(world: World) -> None:
    world.asks("DROP TABLE procrastinate_jobs CASCADE")
    with pytest.raises(StoreError, match="does not answer"):
        world.queue.call("eu", {"drift"}, hurry=False)


def test_the_migration_makes_what_the_library_asks_for() -> None:
    _, _, published = SQL.read_text(encoding="utf-8").partition("procrastinate\n")
    assert published == SchemaManager.get_schema()
    assert sha256(published.encode()).hexdigest() == QUEUE_SCHEMA


def test_a_library_with_other_tables_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_SCHEMA", "another")
    with pytest.raises(StoreError, match="install the one in"):
        SyncQueue(world.store.database)

"""How the time that many clusters take falls with workers, as ratios.

    python -m benchmarks.workers [--clusters 200]

A PostgreSQL of its own, and stand-ins for clusters, in the memory of the worker that syncs them,
each of whose reads and writes sleeps as a slow API server would: a sync waits, and hardly works. A
task a cluster lies in the queue before the workers start, each a process with four slots. The clock
starts when every worker is ready and the tasks are laid, and stops when the queue is empty. The
table gives how much less time more workers took than one, beside what would be were nothing shared;
what they share, the database and the processors, is in it.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier, Event

    from sync.service.step import ClusterStep
    from sync.store import Store

WORKERS = (1, 2, 4)
SLOTS = 4
READ_SECONDS = 0.5
WRITE_SECONDS = 0.2
TTL = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Place:
    """The database of one measurement."""

    url: str
    password: str


def step(name: str, store: Store, stopping: threading.Event) -> ClusterStep:
    """What a worker does of a stand-in: eight sets, a tier and a policy to write."""
    from sync.calico.ownership import owner_labels
    from sync.firewall.configuration import Provenance, Snapshot
    from sync.reconcile.desired import Cluster
    from sync.reconcile.device_groups import TierBinding
    from sync.service.metrics import Metrics
    from sync.service.notices import Announcer
    from sync.service.step import ClusterStep
    from sync.translate.compiler import Options
    from tests.memory import MemoryCluster
    from tests.words import address, document, group, read

    words = [address("a", "10.0.0.1"), *(group(f"g{number}", "a") for number in range(8))]
    snapshot = Snapshot(read(document((), {"dg": words})), Provenance("main", "memory", "1"))

    def sleep(_name: str) -> None:
        time.sleep(WRITE_SECONDS)

    made = MemoryCluster(owner_labels("benchmark", store.uuid), before_write=sleep)

    def answers() -> dict[str, Snapshot]:
        time.sleep(READ_SECONDS)
        return {"main": snapshot}

    groups = (TierBinding("main", "dg"),)
    return ClusterStep(
        cluster=Cluster(name, groups, made, made.writer, None, repair_drift=True),
        read=answers,
        store=store,
        options=Options((), registered_known=True, owner=made.owner),
        trigger="a benchmark",
        publish_heads=lambda: None,
        metrics=Metrics(),
        stopping=stopping,
        announcer=Announcer((), math.inf),
    )


def work(place: Place, names: list[str], ready: Barrier, over: Event) -> None:
    """A worker, in a process of its own, until it is `over`."""
    import structlog

    from sync.service.metrics import Metrics
    from sync.service.queue import SyncQueue
    from sync.service.tasks import Worker
    from sync.store import open_store

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    stopping = threading.Event()
    with (
        open_store(place.url, password=place.password) as store,
        SyncQueue(store.database) as queue,
    ):
        worker = Worker(
            {name: step(name, store, stopping) for name in names},
            store,
            queue,
            holder=f"worker {multiprocessing.current_process().pid}",
            lease_ttl=TTL,
            slots=SLOTS,
            metrics=Metrics(),
            stopping=stopping,
        )
        ready.wait()
        serving = threading.Thread(target=worker.serve, args=["127.0.0.1:0"])
        serving.start()
        over.wait()
        stopping.set()
        serving.join()


def measured(place: Place, clusters: int, workers: int) -> float:
    """The seconds until the queue is empty."""
    from sqlalchemy import text

    from sync.service.queue import SyncQueue
    from sync.store import open_store

    names = [f"c{number:03}" for number in range(clusters)]
    context = multiprocessing.get_context("spawn")
    with open_store(place.url, password=place.password) as store, SyncQueue(store.database) as to:
        for name in names:
            to.call(name, {"configuration"}, hurry=False)
        ready, over = context.Barrier(workers + 1), context.Event()
        processes = [
            context.Process(target=work, args=(place, names, ready, over)) for _ in range(workers)
        ]
        for each in processes:
            each.start()
        ready.wait()
        began = time.monotonic()
        with store.database.engine.connect() as connection:
            while connection.scalar(text("SELECT count(*) FROM procrastinate_jobs")):
                connection.rollback()
                time.sleep(0.1)
        took = time.monotonic() - began
        over.set()
        for each in processes:
            each.join()
    return took


def main() -> None:
    from tests.postgresql import PASSWORD, find_binaries, started

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=200)
    clusters = parser.parse_args().clusters
    binaries = find_binaries()
    if binaries is None:
        sys.exit("no PostgreSQL server is installed (initdb and postgres)")
    seconds: dict[int, float] = {}
    with started(binaries) as server:
        for workers in WORKERS:
            with server.connect() as connection:
                connection.execute(f"CREATE DATABASE bench_{workers} TEMPLATE template0")
            place = Place(server.url(f"bench_{workers}"), PASSWORD)
            seconds[workers] = measured(place, clusters, workers)
    print(f"{clusters} clusters that wait, {SLOTS} slots a worker")
    for workers, took in seconds.items():
        ratio = seconds[1] / took
        print(f"{workers} worker(s): {ratio:4.1f} times as fast as one (at most {workers})")


if __name__ == "__main__":
    main()

"""One cluster of a service with workers: it sees what changes, and queues syncs.

    source changed ──┐
    watch: drift ────┼─> reasons ─> a task in the queue ─> zonebridge worker
    watch: missed ───┤
    watch: others ───┤
    resync interval ─┘

It holds no lease and writes nothing. Each replica of the service does this for each cluster: the
queue merges their calls into one task, so that no replica has to take over from another. The queue
retries a task that fails. Once no worker has the cluster, the store shows whether a change that a
watch reports is a worker's own write.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from sync.calico.manifest import Manifest
from sync.clusters.cluster import Key, Selectable, WatchNotice
from sync.errors import StoreError
from sync.reconcile.desired import Cluster
from sync.service.health import Check, logged
from sync.service.metrics import Metrics
from sync.service.sources import PolledSource
from sync.store import Store
from sync.transport.spreading import sooner

SETTLE_SECONDS = 0.5
LOOK_SECONDS = 1.0  # between two checks whether a worker still has the cluster
STORE_SECONDS = 5.0  # until a failed store is tried again
_FIRST_REPAIR = 1.0
_LAST_REPAIR = 60.0
RETURN_SECONDS = 60.0  # between two calls because the cluster answers again


class Queue(Protocol):
    """Queues clusters for a worker to sync."""

    def call(self, cluster: str, reasons: set[str], *, hurry: bool) -> None: ...


@dataclass(slots=True)
class ClusterCaller:
    """Queues syncs of one cluster when its sources change or someone else changes it (`work`)."""

    cluster: Cluster
    sources: Mapping[str, PolledSource]
    store: Store
    queue: Queue
    resync_interval: timedelta
    metrics: Metrics
    stopping: threading.Event
    clock: Callable[[], float] = time.monotonic
    _moved: threading.Condition = field(default_factory=threading.Condition)
    _reasons: set[str] = field(default_factory=set)
    _seen: dict[Key, str] = field(default_factory=dict)
    _look_at: float = -math.inf
    resync_at: float = math.inf
    _return_at: float = -math.inf
    _repair_seconds: float = _FIRST_REPAIR
    _repair_at: float = -math.inf
    _store_error: str = ""

    def checks(self) -> list[Check]:
        """Check whether the store and the queue work for the cluster."""
        name = f"cluster {self.cluster.name}"
        return [Check(name, holds=False, says=self._store_error)] if self._store_error else []

    def wake(self, reason: str) -> None:
        """Have the cluster synced soon; `reason` goes to the trail. From any thread."""
        with self._moved:
            self._reasons.add(reason)
            self._moved.notify()

    def stop(self) -> None:
        """Wake the thread, since `stopping` is set."""
        with self._moved:
            self._moved.notify()

    def work(self) -> None:
        """Queue syncs until `stopping` is set; liveness fails if a bug ends it."""
        logged(self._work, self._log, "caller ended by a bug")

    def _work(self) -> None:
        assert self.cluster.watcher is not None
        self.cluster.watcher.watch(
            self._changed, self._labelled, self._missed, self.stopping, self._noticed
        )
        # Tasks from before the start may have been lost.
        self.wake("start")
        while not self.stopping.is_set():
            self._await()
            try:
                self._look()
                self._call()
            except StoreError as error:
                if str(error) != self._store_error:
                    self._log.error("the store fails", error=str(error))
                self._store_error = str(error)
                self.stopping.wait(STORE_SECONDS)
            else:
                self._store_error = ""

    @property
    def _log(self) -> Any:
        return structlog.get_logger().bind(cluster=self.cluster.name)

    def _await(self) -> None:
        """Wait for something to check or to queue; return at once when stopping."""
        with self._moved:
            while not self.stopping.is_set():
                now = self.clock()
                polled = all(source.attempted for source in self.sources.values())
                looks = self._seen and now >= max(self._look_at, self._repair_at)
                if polled and (self._reasons or looks or now >= self.resync_at):
                    break
                due = [1.0 if not polled else self.resync_at - now]
                if self._seen:
                    due.append(max(self._look_at, self._repair_at) - now)
                wait = max(min(due), 0.01)
                self._moved.wait(wait if wait < math.inf else None)
        # One change often touches many objects: they are checked together.
        self.stopping.wait(SETTLE_SECONDS)

    def _look(self) -> None:
        """Collect the reasons for a sync from the watches and the clock."""
        now = self.clock()
        if self._seen and now >= max(self._look_at, self._repair_at):
            if self._at_work():
                # The trail does not have its outcomes yet.
                self._look_at = now + LOOK_SECONDS
            else:
                with self._moved:
                    seen, self._seen = self._seen, {}
                try:
                    expected = self.store.digests(self.cluster.name)
                except StoreError:
                    with self._moved:
                        self._seen = seen | self._seen
                    raise
                if any(expected.get(key, "") != digest for key, digest in seen.items()):
                    self.wake("drift")
                    # A controller that reverts each of our writes must not fill the trail.
                    quiet = now - self._repair_at > 2 * self._repair_seconds
                    longer = min(2 * self._repair_seconds, _LAST_REPAIR)
                    self._repair_seconds = _FIRST_REPAIR if quiet else longer
                    self._repair_at = now + self._repair_seconds
        if now >= self.resync_at:
            interval = self.resync_interval.total_seconds()
            # Another replica may have queued a sync meanwhile.
            left = sooner(interval) - self._seconds_since_sync()
            self.resync_at = now + max(left, LOOK_SECONDS)
            if left <= 0:
                self.wake("resync")

    def _call(self) -> None:
        with self._moved:
            reasons, self._reasons = self._reasons, set()
        if not reasons or self.stopping.is_set():
            return
        try:
            hurry = not reasons.isdisjoint(("configuration", "cluster answers again"))
            self.queue.call(self.cluster.name, reasons, hurry=hurry)
        except StoreError:
            with self._moved:
                self._reasons |= reasons
            raise
        self._log.info("called for a sync", because=sorted(reasons))
        interval = self.resync_interval.total_seconds()
        # Jitter: several clusters must not be read at the same time.
        self.resync_at = self.clock() + sooner(interval)

    def _at_work(self) -> bool:
        """Return whether a worker has the cluster's lease."""
        held = (each for each in self.store.leases() if each.name == self.cluster.name)
        return any(each.seconds > 0 for each in held)

    def _seconds_since_sync(self) -> float:
        """Return the seconds since any process last synced the cluster, by the machines' clocks."""
        for each in self.store.standings():
            if (each.kind, each.name) == ("cluster", self.cluster.name) and each.attempted:
                attempted = datetime.fromisoformat(each.attempted)
                return (datetime.now(UTC) - attempted).total_seconds()
        return math.inf

    def _changed(self, key: Key, manifest: Manifest | None) -> None:
        with self._moved:
            self._seen[key] = manifest.digest if manifest else ""
            self._moved.notify()

    def _labelled(self, key: Key, found: Selectable | None) -> None:
        # Only the planner knows which labels our selectors use.
        del key, found
        self.wake("labels of others")

    def _noticed(self, kind: str, notice: WatchNotice) -> None:
        self.metrics.watched(self.cluster.name, kind, notice)
        if notice is WatchNotice.BACK and self.clock() >= self._return_at:
            self._return_at = self.clock() + RETURN_SECONDS
            self.wake("cluster answers again")

    def _missed(self) -> None:
        self.wake("watch")

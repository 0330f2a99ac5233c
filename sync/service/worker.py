"""One cluster of the service: it is synced when its sources change or someone else changes it.

source changed ──┐
watch: drift ────┼─> reasons ─> sync under the lease ─> failed or blocked: again later,
watch: missed ───┤                                       or once the cluster answers again
watch: others ───┤
watch: untold ───┤
resync interval ─┘
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from sync.calico.manifest import Manifest
from sync.clusters.cluster import Key, Selectable, WatchNotice
from sync.errors import AuditBrokenError, ClusterError, LeaseError, StoreError
from sync.plan.changes import Cause
from sync.reconcile.cluster_identity import ForeignClusterError
from sync.reconcile.copied_store import CopiedStoreError
from sync.reconcile.desired import Cluster
from sync.reconcile.foreign_selections import Watched
from sync.reconcile.result import ClusterState, Result
from sync.service.health import Check, logged
from sync.service.metrics import Metrics
from sync.service.notices import Announcer
from sync.service.sources import PolledSource
from sync.service.step import ClusterStep
from sync.store import Lease, LeaseHeldError, Store
from sync.translate.compiler import Options
from sync.transport.backoff import grown, jittered
from sync.transport.spreading import sooner

SETTLE_SECONDS = 0.5
_SHORTEST_PAUSE = 0.1  # before the next try to take a lease
FIRST_RETRY = 1.0
# The longest backoff, even after a long outage and even if each try leaves records: if only writes
# fail, no watch reports that they work again, and clusters must be in sync soon after.
LAST_RETRY = 60.0
TOLD_SECONDS = 20.0  # from a sync until the watches must have reported its writes
RETURN_SECONDS = 5.0  # from a failed sync to the next one if the cluster answers again


@dataclass(slots=True)
class ClusterWorker:
    """Keeps one cluster in sync with its sources, from its own thread (`work`).

    If there may be standbys, a worker that cannot read the cluster releases the lease for a while.

    `trigger` and `holder` name us in the trail and in the lease. `publish_heads` is called after
    each sync that recorded something, and retried after later syncs. With `keep_lease` the lease
    is kept at the end, for the next worker in this process.
    """

    cluster: Cluster
    sources: Mapping[str, PolledSource]
    store: Store
    options: Options
    trigger: str
    holder: str
    lease_ttl: timedelta
    resync_interval: timedelta
    publish_heads: Callable[[], None]
    metrics: Metrics
    stopping: threading.Event
    keep_lease: bool = False
    announcer: Announcer = field(default_factory=lambda: Announcer((), math.inf))
    clock: Callable[[], float] = time.monotonic
    _moved: threading.Condition = field(default_factory=threading.Condition)
    _reasons: set[str] = field(default_factory=set)
    _seen: dict[Key, str] = field(default_factory=dict)
    _beside: dict[Key, Selectable | None] = field(default_factory=dict)
    _unseen: bool = False
    _expected: Mapping[Key, str] = field(default_factory=dict)
    retry_seconds: float = FIRST_RETRY
    _retry_at: float = math.inf
    _return_at: float = -math.inf
    _returned: bool = False
    _resync_at: float = math.inf
    _untold: dict[Key, str] = field(default_factory=dict)
    _untold_at: float = math.inf
    repair_seconds: float = FIRST_RETRY
    _repair_at: float = -math.inf
    _watched: Watched = field(default_factory=Watched)
    _waits: tuple[str, float] | None = None
    _store_error: str = ""
    _gives_way: bool = False
    _step: ClusterStep = field(init=False)

    def __post_init__(self) -> None:
        self._step = ClusterStep(
            cluster=self.cluster,
            read=lambda: {name: source.last_good for name, source in self.sources.items()},
            store=self.store,
            options=self.options,
            trigger=self.trigger,
            publish_heads=self.publish_heads,
            metrics=self.metrics,
            stopping=self.stopping,
            announcer=self.announcer,
            clock=self.clock,
        )

    def checks(self) -> list[Check]:
        """Check whether the store works for the cluster; report for which holder we stand by."""
        name = f"cluster {self.cluster.name}"
        checks = [Check(name, holds=False, says=self._store_error)] if self._store_error else []
        if waits := self._waits:
            holder, since = waits
            says = f"standing by for {holder}, for {self.clock() - since:.0f} s"
            checks.append(Check(name, holds=True, says=says))
        return checks

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
        """Hold the lease and sync, until `stopping` is set; liveness fails if a bug ends it."""
        logged(self._work, self._log, "worker ended by a bug")

    def _work(self) -> None:
        assert self.cluster.watcher is not None
        self.cluster.watcher.watch(
            self._changed, self._labelled, self._missed, self.stopping, self._noticed
        )
        while not self.stopping.is_set():
            pause = self.lease_ttl.total_seconds() / 3
            self._gives_way = False
            try:
                with self.store.lease(self.cluster.name, self.holder, self.lease_ttl) as lease:
                    self._waits = None
                    self._log.info("lease taken", epoch=lease.epoch)
                    self.metrics.held(self.cluster.name, held=True)
                    self.wake("lease taken")
                    self._lead(lease)
                    if self.keep_lease:
                        lease.keep()
            except LeaseHeldError as error:
                # If its holder has stopped renewing it, it is ours within its time to live.
                pause = min(pause, max(error.seconds, _SHORTEST_PAUSE))
                if not self._waits or self._waits[0] != error.holder:
                    self._log.info("standing by", reason=str(error))
                    self._waits = error.holder, self.clock()
                if error.holder != self.holder:
                    # The store answers, and the holder continues what failed here.
                    self._store_error = ""
            except (StoreError, AuditBrokenError) as error:
                if str(error) != self._store_error:
                    self._log.error("the store fails", error=str(error))
                self._waits, self._store_error = None, str(error)
            self.metrics.held(self.cluster.name, held=False)
            self.announcer.left(self.cluster.name)
            # Jitter: standbys must not try at the same time.
            pause = sooner(pause)
            if self._gives_way:
                # Long enough for a standby to take the lease; it may reach the cluster.
                self._wait_aside(2 * pause)
            else:
                self.stopping.wait(pause)

    def _wait_aside(self, seconds: float) -> None:
        """Wait, but at most until our own watches reach the cluster again."""
        with self._moved:
            self._returned = False
            self._moved.wait_for(lambda: self.stopping.is_set() or self._returned, seconds)

    @property
    def _log(self) -> Any:
        return structlog.get_logger().bind(cluster=self.cluster.name)

    def _lead(self, lease: Lease) -> None:
        """Sync whenever there is a reason, as long as the lease is ours."""
        while reasons := self._await(lease):
            result = self._sync(lease, reasons)
            # A request that may still be in progress is over once the lease has expired.
            if result.unknown or isinstance(result.error, LeaseError) or self._gives_way:
                return

    def _await(self, lease: Lease) -> set[str]:
        """Wait for reasons to sync; none when stopping, or if the lease is no longer ours."""
        while not self.stopping.is_set() and lease.remaining() > 0:
            with self._moved:
                now = self.clock()
                polled = all(source.attempted for source in self.sources.values())
                self._look_at_clock(now)
                moved = self._seen or self._beside or self._unseen
                if not polled or not (self._reasons or (moved and now >= self._moves_at)):
                    self._moved.wait(self._pause(lease, now))
                    continue
            # One change often touches many objects: they are checked together.
            self.stopping.wait(SETTLE_SECONDS)
            with self._moved:
                if self.clock() >= self._moves_at:
                    seen, self._seen = self._seen, {}
                    if self._unseen:
                        self._reasons.add("watch")
                    self._unseen = False
                    if any(self._expected.get(key, "") != digest for key, digest in seen.items()):
                        self._reasons.add("drift")
                    self._untold = dict(self._untold.items() - seen.items())
                    beside, self._beside = self._beside, {}
                    if any(self._watched.moved(key, found) for key, found in beside.items()):
                        self._reasons.add("labels of others")
                reasons, self._reasons = self._reasons, set()
            if reasons:
                return reasons
        return set()

    def _look_at_clock(self, now: float) -> None:
        """Add the reasons for syncs that are due by the clock."""
        if self._returned:
            self._returned = False
            if self._retry_at < math.inf:
                self._retry_at = min(self._retry_at, self._return_at)
        if now >= self._retry_at:
            self._reasons.add("another try")
        if now >= self._resync_at:
            self._reasons.add("resync")
        if self._untold and now >= self._untold_at:
            # A server, or a proxy before it, may have confirmed a write that it lost.
            self._reasons.add("untold writes")

    @property
    def _moves_at(self) -> float:
        """Return the time from which outside changes are a reason: not before a pending retry."""
        return max(self._repair_at, self._retry_at if self._retry_at < math.inf else -math.inf)

    def _pause(self, lease: Lease, now: float) -> float:
        """Return the longest time to wait for news without missing a lost lease."""
        due = [self._retry_at - now, self._resync_at - now, max(lease.remaining() / 2, 0.1)]
        if self._seen or self._beside or self._unseen:
            due.append(self._moves_at - now)
        if self._untold:
            due.append(self._untold_at - now)
        return max(min(due), 0.01)

    def _sync(self, lease: Lease, reasons: set[str]) -> Result:
        started = self.clock()
        result, recorded = self._step.sync(lease, reasons)
        self._expected = self.store.digests(self.cluster.name)
        self._watched = result.watched or self._watched
        self._untold = {
            (each.kind, each.name): each.after.digest if each.after else ""
            for each in result.applied
        }
        self._step.publish()
        self._store_error = str(result.error) if isinstance(result.error, AuditBrokenError) else ""
        unread = isinstance(result.error, ClusterError) and not recorded
        self._gives_way = unread and self.store.shared
        self._plan_next(result, started, recorded=recorded)
        return result

    def _plan_next(self, result: Result, started: float, *, recorded: bool) -> None:
        """Schedule the next sync: with backoff after failures and repairs, later after a block.

        A controller that reverts each repair must not fill the trail.
        """
        now = self.clock()
        interval = self.resync_interval.total_seconds()
        # Jitter: several clusters must not be read or retried at the same time.
        self._resync_at = now + sooner(interval)
        if any(change.cause is Cause.DRIFT for change in result.applied):
            quiet = started - self._repair_at > 2 * self.repair_seconds
            longer = grown(self.repair_seconds, LAST_RETRY)
            self.repair_seconds = FIRST_RETRY if quiet else longer
            self._repair_at = now + jittered(self.repair_seconds)
        self._untold_at = now + max(TOLD_SECONDS, self.repair_seconds)
        if result.succeeded:
            self._retry_at, self.retry_seconds = math.inf, FIRST_RETRY
            return
        # A blocked plan waits for an operator, as do a cluster with another identity and one that
        # another installation writes with our identity: these tries leave no records.
        waits = isinstance(result.error, ForeignClusterError | CopiedStoreError)
        blocked = result.state is ClusterState.BLOCKED or waits
        self._retry_at = now + (sooner(LAST_RETRY) if blocked else jittered(self.retry_seconds))
        self.retry_seconds = grown(self.retry_seconds, LAST_RETRY)
        # A try that gets as far as writing leaves records of its failure: a flapping cluster must
        # not fill the trail.
        pause = self.retry_seconds if recorded else 0
        self._return_at = now + max(pause, RETURN_SECONDS)

    def _changed(self, key: Key, manifest: Manifest | None) -> None:
        with self._moved:
            self._seen[key] = manifest.digest if manifest else ""
            self._moved.notify()

    def _labelled(self, key: Key, found: Selectable | None) -> None:
        with self._moved:
            self._beside[key] = found
            self._moved.notify()

    def _noticed(self, kind: str, notice: WatchNotice) -> None:
        self.metrics.watched(self.cluster.name, kind, notice)
        if notice is WatchNotice.BACK:
            with self._moved:
                # A sync that fails now may have begun before the cluster came back.
                self._returned = True
                self._moved.notify()

    def _missed(self) -> None:
        with self._moved:
            self._unseen = True
            self._moved.notify()

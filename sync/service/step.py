"""One sync of one cluster: what the service's own threads and the workers of a queue do alike."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from sync.plan.guards import Blocker
from sync.reconcile.cycle import sync_cluster
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import Read
from sync.reconcile.result import Result, note_cluster
from sync.service.metrics import Metrics
from sync.service.notices import Announcer
from sync.store import Lease, Store
from sync.tracing import observed
from sync.translate.compiler import Options


@dataclass(slots=True)
class ClusterStep:
    """Brings one cluster to what `read` gives, under a lease; for one thread at a time.

    `trigger` says who we are in the trail. `publish_heads` is called by `publish` after each sync
    that recorded something, and after the next ones until it has worked. It knows what it logged
    last.
    """

    cluster: Cluster
    read: Callable[[], Read]
    store: Store
    options: Options
    trigger: str
    publish_heads: Callable[[], None]
    metrics: Metrics
    stopping: threading.Event
    announcer: Announcer
    clock: Callable[[], float] = time.monotonic
    _stands: tuple[Blocker, ...] = ()
    _warnings: tuple[str, ...] = ()
    _unpublished: bool = False

    def sync(self, lease: Lease, reasons: set[str]) -> tuple[Result, bool]:
        """What became of it, and whether anything was recorded; `StoreError` where nothing can be.

        `reasons` go to the trail.
        """
        started = self.clock()
        if "resync" in reasons:
            self.metrics.resynced(self.cluster.name)
        run = self.store.run(f"{self.trigger}: {', '.join(sorted(reasons))}")
        try:
            with observed(partial(self.metrics.step, self.cluster.name)):
                result = sync_cluster(
                    self.cluster,
                    self.read(),
                    self.store,
                    self.options,
                    run,
                    lease,
                    self.stopping.is_set,
                )
        finally:
            self._unpublished = self._unpublished or run.begun
        counts = {"applied": len(result.applied), "failed": len(result.failed), "clusters": 1}
        outcome = "done" if result.succeeded else result.state
        run.finish(outcome, counts, str(result.error or ""))
        note_cluster(self.store, result)
        self.metrics.synced(result, self.clock() - started)
        # What fails since it was cut is no news.
        if result.succeeded or not self.stopping.is_set():
            self.announcer.synced(result)
        self._tell(result, reasons)
        return result, run.begun

    def publish(self) -> None:
        """Publish the heads of what was recorded since that last worked; `StoreError` if not."""
        if self._unpublished:
            self.publish_heads()
            self._unpublished = False

    @property
    def _log(self) -> Any:
        return structlog.get_logger().bind(cluster=self.cluster.name)

    def _tell(self, result: Result, reasons: set[str]) -> None:
        tell = self._log.info if result.succeeded else self._log.error
        tell(
            "synced",
            state=result.state,
            because=sorted(reasons),
            applied=len(result.applied),
            failed=len(result.failed),
            detail=result.detail,
        )
        # What nobody could look at is taken to stand as before.
        stands = result.plan.let_through if result.plan else self._stands
        for each in stands:
            if each not in self._stands:
                self._log.warning(
                    "stands in spite of a guard", guard=each.guard, detail=each.message
                )
        self._stands = stands
        warnings = result.plan.warnings if result.plan else self._warnings
        for warning in warnings:
            if warning not in self._warnings:
                self._log.warning("what is written may fail in this cluster", detail=warning)
        self._warnings = warnings

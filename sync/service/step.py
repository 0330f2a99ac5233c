"""One sync of one cluster, as the service's threads and the workers of a queue both run it."""

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
    """Syncs one cluster with the sources that `read` gives; for one thread at a time.

    `trigger` names us in the trail. `publish` calls `publish_heads` after each sync that recorded
    something, and retries after later syncs. Warnings that did not change are logged once.
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
        """Sync under the lease; return the result, and whether anything was recorded.

        `reasons` go to the trail. Raises `StoreError` if nothing can be recorded.
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
        # A failure because the shutdown cut it is not news.
        if result.succeeded or not self.stopping.is_set():
            self.announcer.synced(result)
        self._tell(result, reasons)
        return result, run.begun

    def publish(self) -> None:
        """Publish the heads if records are unpublished; `StoreError` if that fails."""
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
        # A cluster that could not be read is assumed unchanged.
        stands = result.plan.let_through if result.plan else self._stands
        for each in stands:
            if each not in self._stands:
                self._log.warning(
                    "let through in spite of a guard", guard=each.guard, detail=each.message
                )
        self._stands = stands
        warnings = result.plan.warnings if result.plan else self._warnings
        for warning in warnings:
            if warning not in self._warnings:
                self._log.warning("writes may fail in this cluster", detail=warning)
        self._warnings = warnings

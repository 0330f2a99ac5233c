"""What outlives a configuration: the endpoint, the heartbeat, and one service after another.

service ── another configuration ──> finishes its batches, keeps its leases ──> the next service
   └────── stopping ──────────────> finishes its batches, releases its leases
"""

import threading
import time
from collections.abc import Callable

import structlog

from sync.service.configuration import LOOK_SECONDS, ConfigurationFile
from sync.service.health import Check, serving
from sync.service.heartbeat import Heartbeat
from sync.service.metrics import Metrics
from sync.service.service import Service
from sync.store import Store
from sync.transport.stopping import Stopping

RELOADED = "configuration reloaded"
"""The reason for the first sync of a service that follows another one."""

_LAST_BEAT_SECONDS = 2
PAUSE_SECONDS = 1.0  # between two readings of the configuration, even if SIGHUP asks for more
HANDOVER_SECONDS = 300.0  # after which a service that has not ended counts as hanging


class Host:
    """Runs a service and its successors; `serve` does everything.

    `asked` is set to have the configuration read again, `stopping` to shut down.
    """

    def __init__(
        self,
        service: Service,
        configuration: ConfigurationFile,
        store: Store,
        metrics: Metrics,
        *,
        holder: str,
        asked: threading.Event,
        stopping: Stopping,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._configuration = configuration
        self._store = store
        self._metrics = metrics
        self._asked = asked
        self._stopping = stopping
        self._clock = clock
        self._heartbeat = Heartbeat(store, holder)
        metrics.follow_store(lambda: self._heartbeat.check.holds)
        self._ending_since: float | None = None

    def serve(self, bind: str) -> None:
        """Serve until `stopping` is set; then finish the current batches and return."""
        log = structlog.get_logger()
        self._metrics.show(self._service.sources, self._service.clusters)
        self._service.recall()
        with serving(bind, self._live, self._ready, self._metrics.exposition) as port:
            beating = threading.Thread(
                target=self._heartbeat.work, args=[self._stopping], name="heartbeat", daemon=True
            )
            beating.start()
            log.info("serving", port=port, clusters=len(self._service.clusters))
            because = ""
            while following := self._run(because):
                self._turn_over(following)
                because = RELOADED
            # A locked store must not delay the shutdown.
            beating.join(_LAST_BEAT_SECONDS)
        log.info("stopped")

    def _run(self, because: str) -> Service | None:
        """Run the service to its end; return its successor, None when stopping."""
        service = self._service
        # Cuts reads at once, even while this thread is blocked.
        with self._stopping.calling(service.stopping.set):
            service.start(because)
            self._ending_since = None
            following = self._await()
            if following is None:
                structlog.get_logger().info("stopping")
            self._ending_since = self._clock()
            service.stop(keep=following.clusters if following else ())
        if self._stopping.is_set():
            self._store.release_kept()
            return None
        return following

    def _await(self) -> Service | None:
        """Wait for a service that is to follow; None once `stopping` is set."""
        with self._stopping.calling(self._asked.set):
            while not self._stopping.is_set():
                self._asked.wait(LOOK_SECONDS)
                asked = self._asked.is_set() and not self._stopping.is_set()
                self._asked.clear()
                self._service.follow_clock()
                following = self._configuration.look(asked=asked)
                if following and not self._stopping.is_set():
                    return following
                if asked:
                    # Requests may come in bursts, or without end.
                    self._stopping.wait(PAUSE_SECONDS)
        return None

    def _turn_over(self, following: Service) -> None:
        self._metrics.show(following.sources, following.clusters)
        following.recall(self._service)
        self._service = following

    def _live(self) -> list[Check]:
        since = self._ending_since
        if since is None or self._stopping.is_set():
            return self._service.live()
        seconds = self._clock() - since
        says = f"ending for another configuration, for {seconds:.0f} s"
        return [Check("service", holds=seconds <= HANDOVER_SECONDS, says=says)]

    def _ready(self) -> list[Check]:
        return [*self._service.ready(), self._heartbeat.check, self._configuration.check]

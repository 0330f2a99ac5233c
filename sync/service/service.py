"""The service of one configuration: it polls sources on schedule, with a worker per cluster."""

import logging
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from sync.errors import StoreError
from sync.firewall.configuration import Configuration
from sync.reconcile.desired import Cluster
from sync.reconcile.source_status import lagging, note_source, source_detail
from sync.service.caller import ClusterCaller
from sync.service.health import Check
from sync.service.metrics import Metrics
from sync.service.notices import Announcer
from sync.service.queue import SyncQueue
from sync.service.sources import PolledSource
from sync.service.worker import ClusterWorker
from sync.sources import Source
from sync.store import Store
from sync.store.head_file import publish_heads
from sync.tracing import observed
from sync.translate.compiler import Options
from sync.transport.stopping import Stopping

_NOTE_SECONDS = 60
_LAST_NOTICES_SECONDS = 3
_QUEUE_SECONDS = 5.0  # between two measurements of the queue's length


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals and limits; `max_source_age` is the oldest source that readiness accepts."""

    poll_interval: timedelta
    lease_ttl: timedelta
    resync_interval: timedelta
    max_source_age: timedelta


class Service:
    """Everything that one configuration asks for, from `start` to `stop`.

    `trigger` and `holder` name us in the trail and in leases. `stopping` belongs to this service
    only: another one may follow it in the same process. With a `queue`, workers sync the clusters,
    and this service only queues syncs.
    """

    def __init__(  # over 50 lines: it only passes each part what it needs
        self,
        sources: Sequence[Source],
        clusters: Sequence[Cluster],
        store: Store,
        options: Options,
        timing: Timing,
        *,
        trigger: str,
        holder: str,
        head_file: Path | None,
        metrics: Metrics,
        stopping: Stopping,
        announcer: Announcer | None = None,
        queue: SyncQueue | None = None,
    ) -> None:
        self._sources = {
            source.name: PolledSource(source, store.memory(source.name)) for source in sources
        }
        self._store = store
        self._timing = timing
        self._head_file = head_file
        self.stopping = stopping
        self._metrics = metrics
        self._metrics.stale_after(timing.max_source_age.total_seconds())
        self._announcer = announcer or Announcer((), timing.max_source_age.total_seconds())
        self._publishing = threading.Lock()
        self._noted: dict[str, tuple[str, float]] = {}
        # Sources whose last answer could not be stored, and why.
        self._forgotten: dict[str, str] = {}
        self._queue = queue
        self._workers: list[ClusterWorker | ClusterCaller] = [
            ClusterCaller(
                cluster=cluster,
                sources=self._sources_of(cluster),
                store=store,
                queue=queue,
                resync_interval=timing.resync_interval,
                metrics=self._metrics,
                stopping=stopping,
            )
            if queue
            else ClusterWorker(
                cluster=cluster,
                sources=self._sources_of(cluster),
                store=store,
                options=options,
                trigger=trigger,
                holder=holder,
                lease_ttl=timing.lease_ttl,
                resync_interval=timing.resync_interval,
                publish_heads=self._publish_heads,
                metrics=self._metrics,
                stopping=stopping,
                announcer=self._announcer,
            )
            for cluster in clusters
        ]
        self._threads = [
            threading.Thread(target=worker.work, name=f"cluster {worker.cluster.name}")
            for worker in self._workers
        ]
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(len(self._sources) + bool(queue))},
            timezone=UTC,
        )

    def _sources_of(self, cluster: Cluster) -> dict[str, PolledSource]:
        names = {here.source for here in cluster.device_groups}
        return {name: self._sources[name] for name in names}

    @property
    def sources(self) -> frozenset[str]:
        """Return the names of the sources."""
        return frozenset(self._sources)

    @property
    def configurations(self) -> dict[str, Configuration]:
        """Return the last good configuration of each source, if it has one."""
        return {
            name: source.snapshot.configuration
            for name, source in self._sources.items()
            if source.snapshot
        }

    @property
    def clusters(self) -> frozenset[str]:
        """Return the names of the clusters."""
        return frozenset(worker.cluster.name for worker in self._workers)

    def start(self, because: str = "") -> None:
        """Start polling and syncing; `because` goes to the trail as a reason of the first sync."""
        self._schedule()
        for worker, thread in zip(self._workers, self._threads, strict=True):
            if because:
                worker.wake(because)
            thread.start()

    def stop(self, keep: Collection[str] = ()) -> None:
        """Finish the current batches, release the leases except for clusters in `keep`, and end.

        The next service of this process continues with the kept leases.
        """
        for worker in self._workers:
            if isinstance(worker, ClusterWorker):
                worker.keep_lease = worker.cluster.name in keep
        self.stopping.set()
        for worker in self._workers:
            worker.stop()
        # A job that became due during the shutdown would find no executor.
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=True)
        for thread in self._threads:
            thread.join()
        self._announcer.close(_LAST_NOTICES_SECONDS)

    def recall(self, before: "Service | None" = None) -> None:
        """Start from the last good answers, since a source may be down now.

        Those of `before`, which ended in this process, are as new as the store's.
        """
        for source in self._sources.values():
            last = before._sources.get(source.name) if before else None  # noqa: SLF001 - our own class
            if last and last.snapshot:
                source.follow(last)
                continue
            try:
                source.recall()
            except StoreError as error:
                structlog.get_logger().error("the store fails", error=str(error))
            if source.snapshot:
                structlog.get_logger().info(
                    "configuration remembered",
                    source=source.name,
                    version=source.snapshot.provenance.version,
                    seconds_old=round(source.age),
                )

    def _schedule(self) -> None:
        seconds = self._timing.poll_interval.total_seconds()
        for source in self._sources.values():
            self._scheduler.add_job(
                self._poll,
                # Jitter: several installations must not poll one Panorama at the same time.
                IntervalTrigger(seconds=seconds, jitter=seconds / 10, timezone=UTC),
                args=[source],
                name=f"poll {source.name}",
                next_run_time=datetime.now(UTC),
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
        if self._queue:
            self._scheduler.add_job(
                self._measure,
                IntervalTrigger(seconds=_QUEUE_SECONDS, timezone=UTC),
                args=[self._queue],
                name="queue length",
                next_run_time=datetime.now(UTC),
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
        # Its own log lines are not JSON, and a poll longer than its interval is not news.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._scheduler.add_listener(_tell_failure, EVENT_JOB_ERROR)
        self._scheduler.start()

    def follow_clock(self) -> None:
        """Poll at once after the clock was set back: the scheduler would wait until it catches up.

        Also check the age of all sources: a poll that hangs announces nothing.
        """
        now = datetime.now(UTC)
        latest = now + 2 * max(self._timing.poll_interval, timedelta(seconds=_QUEUE_SECONDS))
        for job in self._scheduler.get_jobs():
            if job.next_run_time > latest:
                structlog.get_logger().warning("the clock was set back", job=job.name)
                job.modify(next_run_time=now)
        for source in self._sources.values():
            self._announcer.polled(source)

    def _measure(self, queue: SyncQueue) -> None:
        # A failing database is reported by the callers and the heartbeat.
        with suppress(StoreError):
            self._metrics.queued(queue.length())
            for each in self._store.standings():
                if each.kind == "cluster" and each.name in self.clusters:
                    self._metrics.stands(each.name, each.state)

    def _poll(self, source: PolledSource) -> None:
        first = not source.attempted
        before = str(source.error or "")
        lagged = source.snapshot.not_pushed if source.snapshot else {}
        with observed(lambda _, seconds: self._metrics.took(source.name, seconds)):
            changed = source.poll()
        self._metrics.polled(source)
        self._announcer.polled(source)
        log = structlog.get_logger().bind(source=source.name)
        now = str(source.error or "")
        if now and now != before:
            log.error("source failed", error=now)
        elif before and not now:
            log.info("source answers again")
        if changed and source.snapshot:
            log.info("configuration read", version=source.snapshot.provenance.version)
            if lags := source.snapshot.not_pushed:
                if lags != lagged:
                    log.warning("not pushed to every firewall", detail=lagging(source.snapshot))
            elif lagged:
                log.info("pushed to every firewall")
        self._note(source)
        # Stored before any cluster gets it: the next start must not return to an older one.
        # Workers know the store only, so an answer that is stored late is news to them.
        kept_late = source.name in self._forgotten
        self._remember(source)
        kept_late = kept_late and source.name not in self._forgotten
        if changed or first or kept_late:
            for worker in self._workers:
                if source.name in worker.sources:
                    worker.wake("configuration")

    def _remember(self, source: PolledSource) -> None:
        """Store the last answer for the next start; a failure is retried at each poll."""
        try:
            source.remember()
        except StoreError as error:
            if source.name not in self._forgotten:
                structlog.get_logger().error(
                    "the last answer is not remembered", source=source.name, error=str(error)
                )
            self._forgotten[source.name] = str(error)
        else:
            self._forgotten.pop(source.name, None)

    def _note(self, source: PolledSource) -> None:
        """Store a source's state when it changes, and now and then."""
        found = source.error or source.last_good
        known = source_detail(found)
        noted, at = self._noted.get(source.name, ("", 0.0))
        if known == noted and time.monotonic() - at < _NOTE_SECONDS:
            return
        try:
            note_source(self._store, source.name, found)
        except StoreError as error:
            structlog.get_logger().error("the store fails", error=str(error))
        else:
            self._noted[source.name] = (known, time.monotonic())

    def _publish_heads(self) -> None:
        with self._publishing:
            publish_heads(self._store, self._head_file)

    def live(self) -> list[Check]:
        """Return the checks whose failure only a restart can fix."""
        checks = [Check("scheduler", self._scheduler.running, "polls")]
        for thread in self._threads:
            says = "works" if thread.is_alive() else "has ended with an error, see the log"
            if thread.ident is None:
                says = "starts"
            checks.append(Check(thread.name, thread.is_alive(), says))
        return checks

    def ready(self) -> list[Check]:
        """Check that the clusters are in sync with recent answers of the sources."""
        oldest = self._timing.max_source_age.total_seconds()
        checks = []
        for source in self._sources.values():
            age = source.age
            says = f"read {age:.0f} s ago" if source.succeeded else "not read yet"
            if source.error:
                says += f"; {source.error}"
            checks.append(Check(f"source {source.name}", age <= oldest, says))
        # On a full disk the heartbeat may still fit while an answer does not.
        checks += [
            Check(f"memory of source {name}", holds=False, says=error)
            for name, error in sorted(self._forgotten.copy().items())
        ]
        return [*checks, *(each for worker in self._workers for each in worker.checks())]


def _tell_failure(event: JobExecutionEvent) -> None:
    """Log a poll's internal error; the next poll runs as scheduled."""
    structlog.get_logger().error("poll failed", error=repr(event.exception))

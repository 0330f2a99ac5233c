"""`zonebridge worker`: run the tasks of the queue, each a sync of one cluster under its lease.

A worker has a few slots; a cluster that hangs occupies one of them. Configurations come from the
store, where the service puts the last answers of sources. A worker that is stopped finishes its
batches, returns its tasks, and queues the clusters that it synced lately again, since the remaining
workers may have another configuration or version. If a worker dies its heartbeats stop, and the
others run its tasks as soon as its leases have expired.
"""

import asyncio
import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from procrastinate import App, JobContext, RetryStrategy
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status

from sync.errors import AuditBrokenError, SourceError, StoreError, ZonebridgeError
from sync.firewall.configuration import Snapshot
from sync.reconcile.cluster_identity import ForeignClusterError
from sync.reconcile.copied_store import CopiedStoreError
from sync.reconcile.result import ClusterState, Result
from sync.service.health import Check, serving
from sync.service.metrics import Metrics
from sync.service.queue import QUEUE, TASK, SyncQueue, queue_errors, worker_connector
from sync.service.step import ClusterStep
from sync.sources import Memory
from sync.sources.snapshot_cache import recalled, understood
from sync.store import LeaseHeldError, Store
from sync.store.database import SILENT_SECONDS
from sync.transport.backoff import grown, jittered

_FIRST_RETRY = 1.0
_LAST_RETRY = 60.0
# For a failed task whose retry could not be queued either.
_RETRY = RetryStrategy(wait=5)
_END_SECONDS = 20.0
_AGAIN_SECONDS = 5.0  # until a failed database is tried again
# Longer than a changed configuration takes to reach the service and to replace a worker; shorter
# than an autoscaler waits after a peak, so that the workers it stops do not cause the next one.
LATELY_SECONDS = 180.0
_NOTICED = 0.1  # seconds until it notices a shutdown


@dataclass(slots=True)
class RememberedSource:
    """The last good answer of a source, from the store. Thread-safe."""

    name: str
    memory: Memory
    _raw: bytes | None = field(default=None, repr=False)
    _snapshot: Snapshot | None = field(default=None, repr=False)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def last_good(self) -> Snapshot | SourceError:
        """Return the last good answer, or why there is none; raises what the memory raises."""
        with self._reading:
            raw = recalled(self.memory)
            if raw != self._raw:
                found = understood(raw)
                self._raw, self._snapshot = raw, found and found[1]
            return self._snapshot or SourceError(
                f"the source {self.name} was not read yet; `zonebridge run` of this version reads "
                "it for the workers"
            )


def pause(result: Result | None, error: ZonebridgeError | None, tries: int) -> float:
    """Return the seconds until a cluster is retried: with backoff, at most a minute."""
    if isinstance(error, LeaseHeldError):
        return min(max(error.seconds, _FIRST_RETRY), _LAST_RETRY)
    # A blocked plan waits for an operator, and so does a cluster with another identity.
    waits = result and isinstance(result.error, ForeignClusterError | CopiedStoreError)
    if result and (result.state is ClusterState.BLOCKED or waits):
        return _LAST_RETRY
    return jittered(grown(_FIRST_RETRY, _LAST_RETRY, tries))


class Worker:
    """Runs tasks until it is stopped; `serve` does everything.

    `steps` are the clusters by name; `slots` is how many of them are synced at a time.
    """

    def __init__(
        self,
        steps: Mapping[str, ClusterStep],
        store: Store,
        queue: SyncQueue,
        *,
        holder: str,
        lease_ttl: timedelta,
        slots: int,
        metrics: Metrics,
        stopping: threading.Event,
    ) -> None:
        self._steps = steps
        self._store = store
        self._queue = queue
        self._holder = holder
        self._lease_ttl = lease_ttl
        self._slots = slots
        self._metrics = metrics
        self._stopping = stopping
        self._running: set[int | None] = set()
        self._synced: dict[str, float] = {}
        self._worker_id: int | None = None
        self._ended = False
        self._error = "not asked yet"
        self._asked_at = -math.inf
        metrics.follow_store(lambda: all(each.holds for each in self._ready()))

    def serve(self, bind: str) -> None:
        """Serve until `stopping` is set; then finish the current batches and return."""
        log = structlog.get_logger()
        with serving(bind, self._live, self._ready, self._metrics.exposition) as port:
            log.info("working", port=port, clusters=len(self._steps), slots=self._slots)
            try:
                while not self._stopping.is_set():
                    try:
                        with queue_errors(self._store.database):
                            asyncio.run(self._work())
                    except StoreError as error:
                        self._failed(error)
                    self._stopping.wait(_AGAIN_SECONDS)
                self._hand_on()
            finally:
                self._ended = True
        log.info("stopped")

    def _hand_on(self) -> None:
        """Queue the clusters that this worker synced lately, for the others."""
        since = time.monotonic() - LATELY_SECONDS
        try:
            for cluster, at in [*self._synced.items()]:
                if at >= since:
                    self._queue.call(cluster, {"a worker ended"}, hurry=False)
        except StoreError as error:
            self._failed(error)

    async def _work(self) -> None:
        """Run tasks until stopping, or until the database fails."""
        # Tasks use these threads, and so does the event loop, to resolve names.
        executor = ThreadPoolExecutor(self._slots + 2, thread_name_prefix="task")
        asyncio.get_running_loop().set_default_executor(executor)
        app = App(connector=worker_connector(self._store.database))
        app.task(name=TASK, queue=QUEUE, pass_context=True, retry=_RETRY)(self._sync)
        beat = self._lease_ttl.total_seconds() / 6
        async with app.open_async():
            working = asyncio.create_task(
                app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=self._slots,
                    install_signal_handlers=False,
                    delete_jobs="always",
                    update_heartbeat_interval=beat,
                    stalled_worker_timeout=3 * beat,
                    shutdown_graceful_timeout=_END_SECONDS,
                )
            )
            caring = asyncio.create_task(self._care(app, beat))
            while not (self._stopping.is_set() or working.done() or caring.done()):
                await asyncio.sleep(_NOTICED)
            caring.cancel()
            working.cancel()
            # If cancelled, it ends as on a signal: it waits for its tasks.
            ended = await asyncio.gather(working, caring, return_exceptions=True)
        for each in ended:
            if isinstance(each, Exception):
                raise each

    async def _care(self, app: App, beat: float) -> None:
        """Requeue the tasks of workers that died, and check that the queue answers."""
        seen_lost: set[int | None] = set()
        while True:
            dead = await app.job_manager.get_stalled_jobs(
                queue=QUEUE, seconds_since_heartbeat=3 * beat
            )
            for job in dead:
                structlog.get_logger().warning("worker died", cluster=job.lock, task=job.id)
                await self._redo(app, job)
            # The database may not have received the end of a task.
            doing = await app.job_manager.list_jobs_async(queue=QUEUE, status="doing")
            mine = {each.id: each for each in doing if each.worker_id == self._worker_id}
            lost = mine.keys() - self._running
            for number in lost & seen_lost:
                await self._redo(app, mine[number])
            seen_lost = lost
            self._metrics.queued(await asyncio.to_thread(self._queue.length))
            self._error, self._asked_at = "", time.monotonic()
            await asyncio.sleep(beat)

    async def _redo(self, app: App, job: Job) -> None:
        """Replace a task whose worker died by a new one."""
        cluster = str(job.task_kwargs["cluster"])
        await asyncio.to_thread(self._queue.try_again, cluster, 0, 0.0)
        # Another worker may have been quicker, or its own one was alive and has just ended it.
        with suppress(ConnectorException):
            assert job.id is not None
            await app.job_manager.finish_job_by_id_async(job.id, Status.FAILED, delete_job=True)

    def _sync(self, context: JobContext, cluster: str, reasons: list[str], tries: int) -> None:
        """Run the task: one sync under the cluster's lease; queue a retry if it is needed."""
        self._worker_id, task = context.job.worker_id, context.job.id
        self._running.add(task)
        try:
            pause = self._tried(cluster, set(reasons), tries)
            if pause is not None:
                self._try_again(cluster, tries + 1, pause)
        finally:
            self._running.discard(task)

    def _tried(self, cluster: str, reasons: set[str], tries: int) -> float | None:
        """Sync a cluster; return the seconds until it must be retried, None if all is well."""
        log = structlog.get_logger().bind(cluster=cluster)
        step = self._steps.get(cluster)
        if step is None:
            log.warning("a task for a cluster that is not configured here")
            return None
        if self._stopping.is_set():
            return 0.0
        result: Result | None = None
        error: ZonebridgeError | None = None
        try:
            with self._store.lease(cluster, self._holder, self._lease_ttl) as lease:
                self._metrics.held(cluster, held=True)
                result, _ = step.sync(lease, reasons)
                self._synced[cluster] = time.monotonic()
                step.publish()
        except LeaseHeldError as held:
            error = held
            log.info("waits for its lease", reason=str(held))
        except (StoreError, AuditBrokenError) as failed:
            error = failed
            self._failed(failed)
        except Exception:
            log.exception("task failed because of a bug")
        finally:
            self._metrics.handed_on(cluster)
        if result and result.succeeded:
            return None
        return 0.0 if self._stopping.is_set() else pause(result, error, tries)

    def _try_again(self, cluster: str, tries: int, seconds: float) -> None:
        """Queue a retry, however long the database takes; raises once stopping."""
        while True:
            try:
                self._queue.try_again(cluster, tries, seconds)
            except StoreError as error:
                self._failed(error)
                if self._stopping.wait(_FIRST_RETRY):
                    raise
            else:
                return

    def _failed(self, error: ZonebridgeError) -> None:
        """Log that the store failed, once."""
        if str(error) != self._error:
            structlog.get_logger().error("the store fails", error=str(error))
        self._error = str(error)

    def _live(self) -> list[Check]:
        says = "has ended with an error, see the log" if self._ended else "works"
        age = time.monotonic() - self._asked_at
        # A failing database is reported; if it never answers, only a restart helps.
        hangs = not self._error and age > self._lease_ttl.total_seconds() + 2 * SILENT_SECONDS
        answers = f"has not answered for {age:.0f} s" if hangs else "is polled"
        return [Check("worker", not self._ended, says), Check("queue", not hangs, answers)]

    def _ready(self) -> list[Check]:
        age = time.monotonic() - self._asked_at
        says = self._error or f"answered {age:.0f} s ago"
        lately = self._lease_ttl.total_seconds()
        return [Check("queue", not self._error and age <= lately, says)]

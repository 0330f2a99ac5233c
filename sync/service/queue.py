"""The queue between the service, which sees that a cluster needs a sync, and the workers.

    zonebridge run: polls, watches ──> one task a cluster ──> zonebridge worker: sync, lease, trail
    (any number, all alike)              (PostgreSQL)           (any number)

Tasks are Procrastinate's (`procrastinate_jobs`). A cluster has at most one waiting task
(`queueing_lock`) and at most one running task (`lock`). A failed sync is retried by a new task,
which waits until it is due; `hurry` makes it due at once when there is news. The library's own
retry is not used: it would put the task back into the queue, which fails if another one waits
already, and then neither would ever run.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Self

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job
from procrastinate.schema import SchemaManager
from sqlalchemy import func, select

from sync.errors import StoreError
from sync.store.database import Database, WriterConnection
from sync.store.schema import QUEUE_SCHEMA

QUEUE = "clusters"
TASK = "sync"

_CONNECT_SECONDS = 10.0


class SyncQueue:
    """The queue, to have clusters synced. Thread-safe.

    As a context manager it closes its connections at the end. Every method raises `StoreError` if
    the database fails.
    """

    def __init__(self, database: Database) -> None:
        require_schema()
        self._database = database
        connector = SyncPsycopgConnector(
            kwargs=database.arguments,
            connection_class=WriterConnection,
            min_size=1,
            max_size=4,
            timeout=_CONNECT_SECONDS,
        )
        self._app = App(connector=connector)

    def call(self, cluster: str, reasons: set[str], *, hurry: bool) -> None:
        """Queue a sync of a cluster; `reasons` go to the trail unless a task waits already.

        With `hurry` a waiting retry becomes due at once.
        """
        with self._asked():
            if not self._defer(cluster, reasons) and hurry and self._end_wait(cluster):
                # If another process was quicker its task is due, which is as good.
                self._defer(cluster, reasons)

    def try_again(self, cluster: str, tries: int, seconds: float) -> None:
        """Queue a retry of a cluster's sync, after `tries` tries, due in `seconds`.

        Does nothing if a task waits for the cluster already.
        """
        with self._asked():
            self._defer(cluster, {"another try"}, tries, self._now() + timedelta(seconds=seconds))

    def length(self) -> int:
        """Count the tasks that are due and wait for a worker."""
        with self._asked():
            now = self._now()
            waiting = self._app.job_manager.list_jobs(queue=QUEUE, status="todo")
            return sum(not each.scheduled_at or each.scheduled_at <= now for each in waiting)

    def __enter__(self) -> Self:
        with self._asked():
            self._app.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._app.close()

    def _defer(
        self, cluster: str, reasons: set[str], tries: int = 0, at: datetime | None = None
    ) -> bool:
        """Add a task; return False if one waits already."""
        task = self._app.configure_task(
            TASK, queue=QUEUE, lock=cluster, queueing_lock=cluster, schedule_at=at
        )
        try:
            task.defer(cluster=cluster, reasons=[*sorted(reasons)], tries=tries)
        except AlreadyEnqueued:
            return False
        return True

    def _end_wait(self, cluster: str) -> bool:
        """Remove the waiting retry; return whether there was one."""
        now = self._now()
        jobs: list[Job] = list(
            self._app.job_manager.list_jobs(queue=QUEUE, status="todo", lock=cluster)
        )
        late = [each for each in jobs if each.scheduled_at and each.scheduled_at > now]
        ended = [
            self._app.job_manager.cancel_job_by_id(each.id, delete_job=True)
            for each in late
            if each.id
        ]
        return any(ended)

    def _now(self) -> datetime:
        """Return the database's time: tasks are due by it, so no machine's clock can delay one."""
        with self._database.reading() as connection:
            found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return found

    def _asked(self) -> AbstractContextManager[None]:
        return queue_errors(self._database)


@contextmanager
def queue_errors(database: Database) -> Iterator[None]:
    """Turn database errors of the queue's library into `StoreError`."""
    try:
        yield
    except (ConnectorException, psycopg.Error) as error:
        why = error.__cause__ or error
        raise StoreError(
            f"the queue in {database.place} does not answer: {why}; zonebridge keeps retrying"
        ) from error


def worker_connector(database: Database) -> PsycopgConnector:
    """Build a worker's connection to the queue."""
    return PsycopgConnector(
        kwargs=database.arguments, min_size=1, max_size=4, timeout=_CONNECT_SECONDS
    )


def require_schema() -> None:
    """Require the library's tables to be those of the migrations; `StoreError` if not."""
    found = sha256(SchemaManager.get_schema().encode()).hexdigest()
    if found != QUEUE_SCHEMA:
        raise StoreError(
            "the installed version of the library procrastinate needs other tables than this "
            "version of zonebridge creates; install the one in requirements/runtime.txt"
        )

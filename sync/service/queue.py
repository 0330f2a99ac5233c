"""The queue between those who see that a cluster must be synced and those who do it.

    zonebridge run: polls, watches ──> one task a cluster ──> zonebridge worker: sync, lease, trail
    (any number, all alike)              (PostgreSQL)           (any number)

Tasks are Procrastinate's (`procrastinate_jobs`). A cluster has one task that waits at most, however
many ask for it (`queueing_lock`), and one that is done at a time (`lock`). Of a sync that failed
the next try is a new task, which waits until it is due; who knows of news has it done at once
(`hurry`). The library's own retry would put the task back into the queue, which it cannot where
another one waits already: then neither would ever be done.
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
    """The queue as those see it who have clusters synced. Any thread may ask.

    Used as a context manager it closes its connections at the end. Every method raises
    `StoreError` if the database cannot be asked.
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
        """Have a cluster synced; `reasons` go to the trail unless a task waits for it already.

        With `hurry` one that waits for its next try need not wait any longer.
        """
        with self._asked():
            if not self._defer(cluster, reasons) and hurry and self._end_wait(cluster):
                # Where somebody else was quicker there is one that is due, which is as good.
                self._defer(cluster, reasons)

    def try_again(self, cluster: str, tries: int, seconds: float) -> None:
        """Have a cluster synced after so many tries, so many seconds from now.

        If a task waits for it already, that is enough.
        """
        with self._asked():
            self._defer(cluster, {"another try"}, tries, self._now() + timedelta(seconds=seconds))

    def length(self) -> int:
        """How many tasks are due, and wait for a worker."""
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
        """Whether there was no task that waits yet."""
        task = self._app.configure_task(
            TASK, queue=QUEUE, lock=cluster, queueing_lock=cluster, schedule_at=at
        )
        try:
            task.defer(cluster=cluster, reasons=[*sorted(reasons)], tries=tries)
        except AlreadyEnqueued:
            return False
        return True

    def _end_wait(self, cluster: str) -> bool:
        """Take away the task that waits for its next try; whether there was one."""
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
        """The database's time, by which tasks are due: no machine's clock holds one up."""
        with self._database.reading() as connection:
            found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return found

    def _asked(self) -> AbstractContextManager[None]:
        return queue_errors(self._database)


@contextmanager
def queue_errors(database: Database) -> Iterator[None]:
    """`StoreError` in the place of what the queue's library raises where the database fails."""
    try:
        yield
    except (ConnectorException, psycopg.Error) as error:
        why = error.__cause__ or error
        raise StoreError(
            f"the queue in {database.place} cannot be asked: {why}; it goes on once it can"
        ) from error


def worker_connector(database: Database) -> PsycopgConnector:
    """How a worker reaches the queue."""
    return PsycopgConnector(
        kwargs=database.arguments, min_size=1, max_size=4, timeout=_CONNECT_SECONDS
    )


def require_schema() -> None:
    """Hold the library's tables against those that the migrations made; `StoreError` if not."""
    found = sha256(SchemaManager.get_schema().encode()).hexdigest()
    if found != QUEUE_SCHEMA:
        raise StoreError(
            "the library procrastinate that is installed has other tables than this version of "
            "zonebridge makes; install the one that requirements/runtime.txt names"
        )

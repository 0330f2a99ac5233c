"""One database, SQLite or PostgreSQL, and the transactions that the store is built on."""

import math
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, StaticPool

from sync.errors import StoreError, UsageError
from sync.store.continuity import Continuity
from sync.store.errors import WAIT_SECONDS, explained

SILENT_SECONDS = 45
"""How long a server may send nothing to a writer; lock timeouts are shorter."""

_FROZEN_SECONDS = 10
"""How long a writer may leave a transaction idle: well below a lease's time to live, so that a
frozen process that holds a lock keeps no other one from taking over."""

_PATIENT_SECONDS = 600  # for readers: the server may sort a long trail

_Waited = TypeVar("_Waited")

Password = str | Callable[[], str | None] | None
"""A password, or a function that gives the current one for each connection."""


class _Secret:
    """The password of the last connection; raises what the password's function raises."""

    def __init__(self, password: Password) -> None:
        self._ask = password if callable(password) else lambda: password
        self.known = self._ask()

    def now(self) -> str | None:
        # Keeps the last password while its file is missing for a moment.
        with suppress(UsageError):
            self.known = self._ask()
        return self.known


@dataclass(frozen=True, slots=True)
class Database:
    """An engine, and its name in messages (never with a password).

    `continuity` is what this process knows of the store in it.
    """

    engine: Engine
    place: str
    read_only: bool
    continuity: Continuity
    secret: _Secret | None = field(default=None, repr=False)

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.place, lambda: self.secret.known if self.secret else None)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read-only transaction on one snapshot of the whole database."""
        with self._explained(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is committed at the end; on SQLite it excludes other writers.

        Raises `StoreReplacedError` for a store that has lost records; then nothing is written.
        """
        if self.read_only:
            message = (
                f"the store {self.place} was opened for reading only; this is a bug, report it"
            )
            raise StoreError(message)
        # Read before the transaction begins, which then must see at least these heads.
        expected = self.continuity.expected()
        with self._explained(), self.engine.connect() as connection:
            connection.execution_options(writing=True)
            with connection.begin():
                self.continuity.require(connection, expected)
                yield connection
                seen = self.continuity.seen(connection)
            self.continuity.committed(seen)

    def arguments(self) -> dict[str, Any]:
        """Return psycopg's current connection arguments for a PostgreSQL, password included."""
        _, given = self.engine.dialect.create_connect_args(self.engine.url)
        password = self.secret.now() if self.secret else None
        return {**given} if password is None else {**given, "password": password}

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_database(
    url: str, password: Password = None, *, read_only: bool = False, rebuilding: bool = False
) -> Database:
    """Connect to `sqlite:///path` or `postgresql+psycopg://user@host/name`; creates no tables.

    With `rebuilding`, as migrations do, the server may take any time.
    Raises `UsageError` for any other URL and `StoreError` for a directory that does not exist.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text may contain a password, so it is not quoted.
        parsed = URL.create("")
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        silent = _PATIENT_SECONDS if read_only else SILENT_SECONDS
        return _postgresql(
            parsed, password, math.inf if rebuilding else silent, read_only=read_only
        )
    if parsed.drivername != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise UsageError(
            "store.url names no store; write sqlite:///path or postgresql+psycopg://user@host/name"
        )
    path = Path(str(parsed.database))
    if not os.access(path.absolute().parent, os.F_OK):
        raise StoreError(
            f"the directory {path.parent} of the store {path} does not exist; create it or name "
            "another file in store.url"
        )
    if read_only:
        return _sqlite_read_only(path)
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    continuity = Continuity(str(path), path)
    # A new connection to a missing file would create an empty one.
    event.listen(engine, "do_connect", lambda *_: continuity.require_file())
    return Database(engine, str(path), read_only=False, continuity=continuity)


def _postgresql(url: URL, password: Password, silent: float, *, read_only: bool) -> Database:
    settings = {"lock_timeout": f"{WAIT_SECONDS}s"}
    if not read_only:
        # A process that is frozen in a transaction must not lock the others out permanently.
        settings["idle_in_transaction_session_timeout"] = f"{_FROZEN_SECONDS}s"
    defaults = {
        "application_name": "zonebridge",
        "connect_timeout": "10",
        # A server that vanishes is noticed within a minute, not after a quarter of an hour.
        "keepalives_idle": "20",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }
    url = url.set(drivername="postgresql+psycopg", query={**defaults, **url.query})
    secret = _Secret(url.password if password is None else password)
    engine = create_engine(url.set(password=None), hide_parameters=True, pool_pre_ping=True)

    def connect(_dialect: object, _record: object, _words: object, given: Any) -> _Connection:
        if (found := secret.now()) is not None:
            given["password"] = found
        connection = _Connection.connect(**given)
        connection.silent_seconds = silent
        return connection

    event.listen(engine, "do_connect", connect)
    place = f"{url.host or url.query.get('host', 'localhost')}/{url.database or url.username}"
    return Database(engine, place, read_only, Continuity(place), secret)


class _Connection(psycopg.Connection[Any]):
    """A connection that fails if the server has sent nothing for `silent_seconds`.

    TCP timeouts do not help if a proxy, or the kernel of a server that hangs, still acknowledges
    packets: the client would wait indefinitely.
    """

    silent_seconds = math.inf

    def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        """Wait until `gen` has its answer from the server; `OperationalError` if that is silent.

        `gen` yields what it waits for, and is sent 0 at short intervals until that is ready.
        """
        return super().wait(self._heard(gen), *arguments, **named)

    def _heard(self, gen: Generator[Any, int, _Waited]) -> Generator[Any, int, _Waited]:
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    heard = now
                elif now - heard > self.silent_seconds:
                    self.close()
                    raise psycopg.OperationalError(
                        f"the server has not answered for {self.silent_seconds:.0f} s"
                    )
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # the generator's result


class WriterConnection(_Connection):
    """A connection with a writer's time limit, for callers without an engine."""

    silent_seconds = float(SILENT_SECONDS)


def _sqlite_read_only(path: Path) -> Database:
    """Open a SQLite file without touching it, not even its -wal and -shm."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    except OSError as error:
        raise StoreError(
            f"the store {path} cannot be opened: {error.strerror}; make the file and its "
            "directory readable"
        ) from error
    if not size:
        return nothing(str(path))
    if path.is_dir():
        raise StoreError(f"the store {path} is a directory; name a file in store.url")

    def connect() -> sqlite3.Connection:
        # `mode=ro` alone creates -wal and -shm, and rebuilds -shm after a crash. A write-ahead log
        # is read with `readonly_shm` (SQLite's os_unix.c), also beside a live writer; without a log
        # all pages are in the file, which is read as it is. Checked for each connection, since a
        # writer can start at any time.
        log, index = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))
        how = "readonly_shm=1" if log.is_file() and log.stat().st_size else "immutable=1"
        if how == "readonly_shm=1" and not index.is_file():
            raise StoreError(
                f"the store {path} has a write-ahead log without its index, as a copy has; run "
                "`zonebridge db upgrade`, which brings the log into the file"
            )
        uri = f"{path.absolute().as_uri()}?mode=ro&{how}"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=WAIT_SECONDS)
        connection.isolation_level = None
        connection.text_factory = _text
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", _begin_sqlite)
    return Database(engine, str(path), read_only=True, continuity=Continuity(str(path)))


def nothing(place: str) -> Database:
    """Open an empty database in memory: a dry run reads it if there is no store yet."""
    # One connection for all threads, since each connection has its own database.
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    return Database(engine, place, read_only=True, continuity=Continuity(place))


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Python's driver would begin transactions itself, and only before some statements. That is
    # off; `_begin_sqlite` begins each transaction, so that DDL and reads are inside too.
    connection.isolation_level = None
    connection.text_factory = _text
    connection.execute(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    # Otherwise INSERT OR REPLACE would bypass the triggers against deletion.
    connection.execute("PRAGMA recursive_triggers = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL")


def _text(stored: bytes) -> str:
    # We never write bytes that are not UTF-8; decoded like this, `verify` can name their record.
    return stored.decode(errors="surrogateescape")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins with a read cannot wait for a writer later: SQLite fails it at once.
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

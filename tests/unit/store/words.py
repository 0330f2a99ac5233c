"""The words that the store's tests are written in."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest

from sync.calico.manifest import Manifest
from sync.plan.changes import Cause, Change
from sync.plan.origin import Origin
from sync.store import (
    Clock,
    Conclusion,
    LeaseHeldError,
    Outcome,
    Record,
    Recorder,
    Store,
    open_store,
)
from sync.store.leases import taken
from sync.store.records import now

START = datetime(2026, 3, 3, 12, tzinfo=UTC)
LONG = timedelta(hours=1)
ORIGINS = (Origin("main", "412", ("bob", "alice"), "let the web farm grow"),)


def group(name: str, *networks: str) -> Manifest:
    """A set of networks."""
    return Manifest.of(
        {"kind": "GlobalNetworkSet", "metadata": {"name": name}, "spec": {"nets": list(networks)}}
    )


WEB = group("web", "10.0.0.0/8")
WIDER = group("web", "10.0.0.0/7")
DATABASE = group("db", "10.1.0.0/16")


def create(after: Manifest, *, rules: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> Change:
    return Change(None, after, Cause.CONFIGURATION, rules, groups)


def update(before: Manifest, after: Manifest) -> Change:
    return Change(before, after, Cause.CONFIGURATION)


def delete(before: Manifest) -> Change:
    return Change(before, None, Cause.CONFIGURATION)


def ticking(start: datetime = START) -> Clock:
    """A clock that moves one second each time it is read."""
    seconds = iter(range(1_000_000))
    return lambda: start + timedelta(seconds=next(seconds))


def take(store: Store, holder: str) -> int:
    """Take the lease once it is free, and let it go; its epoch."""
    while True:
        try:
            with store.lease("eu", holder, LONG) as lease:
                return lease.epoch
        except LeaseHeldError:
            time.sleep(0.02)


def intend(
    run: Recorder, cluster: str, changes: Sequence[Change], origins: Sequence[Origin] = ORIGINS
) -> list[Record]:
    """Intend the changes under a lease of their own."""
    with taken(run.database, cluster, "test", LONG) as lease:
        return run.intend(lease, changes, origins)


def recover(run: Recorder, intent: Record, found: Manifest | None) -> Record:
    """Recover one intent under a lease of its own."""
    with taken(run.database, intent.cluster, "test", LONG) as lease:
        [record] = run.recover(lease, [(intent, found)])
        return record


def apply(run: Recorder, cluster: str, *changes: Change) -> list[Record]:
    """Intend the changes and conclude that all were applied; the outcomes."""
    intents = intend(run, cluster, changes)
    return run.conclude([Conclusion(intent, Outcome.APPLIED) for intent in intents])


def exported(line: bytes) -> Record:
    """The record of an exported line."""
    fields = orjson.loads(line)
    held = (fields[name] for name in Record._fields)
    return Record._make(tuple(value) if isinstance(value, list) else value for value in held)


def names(objects: dict[tuple[str, str], Manifest]) -> list[str]:
    return [name for _, name in objects]


@dataclass(frozen=True)
class Place:
    """Where a store is."""

    url: str
    password: str | None

    @classmethod
    def of(cls, request: pytest.FixtureRequest, directory: Path) -> "Place":
        """An empty place on the database that the fixture's parameter names."""
        if request.param == "sqlite":
            return cls(f"sqlite:///{directory}/store.db", None)
        database = request.getfixturevalue("postgresql_database")
        return cls(database.url, database.password)

    def open(self, **options: object) -> Store:
        return open_store(self.url, password=self.password, **options)  # type: ignore[arg-type]  # a clock

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Run a script that opens the store by these words, in a process of its own."""
        words = (
            "import sys, time\n"
            "from sync.store import *\n"
            "from tests.unit.store.words import *\n"
            "store = open_store(sys.argv[1], password=sys.argv[2] or None)\n"
        )
        return subprocess.Popen(
            [sys.executable, "-c", words + script, self.url, self.password or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )


@cache
def empty_store() -> bytes:
    """The file of a store that holds nothing: copied, since the migrations take longer."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "store.db"
        open_store(f"sqlite:///{path}").close()
        return path.read_bytes()


def new_store(path: Path, clock: Clock = now) -> Store:
    """Open the store of a file; one that is not there yet is a copy of `empty_store`.

    So all of them have one UUID: what is about two stores opens them by `open_store`.
    """
    if not path.exists():
        path.write_bytes(empty_store())
    return open_store(f"sqlite:///{path}", clock=clock)


@contextmanager
def tampering(path: Path) -> Iterator[sqlite3.Connection]:
    """The file in the hands of someone who owns it: no triggers, no foreign keys."""
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        connection.commit()

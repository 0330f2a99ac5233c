"""The words that the store's tests are written in."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from sync.calico.manifest import Manifest
from sync.plan.changes import Cause, Change
from sync.plan.plan import Origin
from sync.store import Clock, Conclusion, Outcome, Record, Run
from sync.store.records import FIELDS

START = datetime(2026, 3, 3, 12, tzinfo=UTC)
ORIGINS = (Origin("main", "412", ("bob", "alice"), "let the web farm grow"),)


def group(name: str, *networks: str) -> Manifest:
    """A set of networks."""
    return Manifest.of(
        {"kind": "GlobalNetworkSet", "metadata": {"name": name}, "spec": {"nets": list(networks)}}
    )


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


def apply(run: Run, cluster: str, *changes: Change) -> list[Record]:
    """Intend the changes and conclude that all were applied; the outcomes."""
    intents = run.intend(cluster, changes, ORIGINS)
    return run.conclude([Conclusion(intent, Outcome.APPLIED) for intent in intents])


def exported(line: bytes) -> Record:
    """The record of an exported line."""
    fields = orjson.loads(line)
    held = (fields[name] for name in FIELDS)
    return Record.of(tuple(value) if isinstance(value, list) else value for value in held)


def names(objects: dict[tuple[str, str], Manifest]) -> list[str]:
    return [name for _, name in objects]


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

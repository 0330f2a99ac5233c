"""Read the audit trail: filtered records, objects as they were, exports."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select

from sync.calico.manifest import Manifest
from sync.errors import StoreError
from sync.store import bodies, names
from sync.store.models import Records
from sync.store.records import Record, canonical, effect, stamp
from sync.store.store import Store

Object = tuple[str, str]
"""The kind and the name of an object."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of records; empty fields match all. `since` is included, `until` is not.

    `rule`, `group` and `administrator` match one name in the record's list of them.
    """

    since: datetime | None = None
    until: datetime | None = None
    cluster: str = ""
    kind: str = ""
    object_kind: str = ""
    object_name: str = ""
    rule: str = ""
    group: str = ""
    administrator: str = ""
    outcome: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filter as SQL conditions."""
        equal = (
            (Records.cluster, self.cluster),
            (Records.kind, self.kind),
            (Records.object_kind, self.object_kind),
            (Records.object_name, self.object_name),
            (Records.outcome, self.outcome),
        )
        conditions = [column == value for column, value in equal if value]
        if self.since is not None:
            conditions.append(Records.time >= stamp(self.since))
        if self.until is not None:
            conditions.append(Records.time < stamp(self.until))
        listed = (
            (names.RULE, self.rule),
            (names.GROUP, self.group),
            (names.ADMINISTRATOR, self.administrator),
        )
        return conditions + [names.naming(kind, name) for kind, name in listed if name]


@dataclass(frozen=True, slots=True)
class Shown:
    """A record with the bodies that it names."""

    record: Record
    before: Manifest | None
    after: Manifest | None
    found: Manifest | None


def records(
    store: Store, wanted: Filter, *, newest_first: bool = False, limit: int | None = None
) -> Iterator[Record]:
    """Yield the matching records by time, in constant memory."""
    order = (Records.time, Records.chain, Records.sequence)
    query = (
        select(Records)
        .where(*wanted.conditions())
        .order_by(*(column.desc() if newest_first else column for column in order))
        .limit(limit)
        .execution_options(yield_per=bodies.CHUNK)
    )
    with store.database.reading() as connection:
        for row in connection.execute(query):
            yield Record._make(row)


def export(store: Store, wanted: Filter) -> Iterator[bytes]:
    """Yield the matching records as JSON Lines, oldest first, in constant memory.

    A line is the record's RFC 8785 form with its hash, so that a reader can recompute the hash.
    """
    return (canonical(record) + b"\n" for record in records(store, wanted))


def show(store: Store, chain: str, sequence: int) -> Shown:
    """Return one record with its bodies.

    Raises `StoreError` if there is no such record, `AuditBrokenError` if a body is damaged.
    """
    with store.database.reading() as connection:
        query = select(Records).where(Records.chain == chain, Records.sequence == sequence)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise StoreError(
                f"chain {chain} has no record {sequence}; `zonebridge audit list` shows them all"
            )
        record = Record._make(row)
        # Keyed by the field, not by the object, since one object has up to three bodies.
        wanted = {
            (record.object_kind, field): digest
            for field in ("before", "after", "found")
            if (digest := getattr(record, field))
        }
        held = {
            field: Manifest(body.kind, record.object_name, body.body, body.digest)
            for (_, field), body in bodies.fetch(connection, wanted).items()
        }
    return Shown(record, held.get("before"), held.get("after"), held.get("found"))


def at(store: Store, cluster: str, time: datetime) -> dict[Object, Manifest]:
    """Return our objects as the cluster held them at a time, by the trail, sorted by (kind, name).

    Raises `AuditBrokenError` if a body is damaged.
    """
    query = (
        select(Records)
        .where(Records.chain == cluster, Records.time <= stamp(time))
        .order_by(Records.sequence)
        .execution_options(yield_per=bodies.CHUNK)
    )
    held: dict[Object, str] = {}
    with store.database.reading() as connection:
        for row in connection.execute(query):
            record = Record._make(row)
            digest = effect(record)
            if digest is not None:
                held[record.object_kind, record.object_name] = digest
        present = {key: digest for key, digest in sorted(held.items()) if digest}
        return bodies.fetch(connection, present)

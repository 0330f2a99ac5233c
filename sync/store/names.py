"""The names in each record's lists, indexed: a record is found by the name of a rule.

    record ── rules, groups, administrators ──> names ── SHA-256 ──> a row for each

The rows are written with the records, in the same transaction, and `verify` replays them. They
hold digests, since no index of PostgreSQL holds a name of any length.
"""

import hashlib
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select, tuple_

from sync.store.models import Names, Records
from sync.store.records import Record

RULE, GROUP, ADMINISTRATOR = "rule", "group", "administrator"

Row = tuple[int, str, bytes]
"""A record's sequence, the kind of a name in it, and the name's digest."""

# Built once, as in `chain`.
_ADD = insert(Names)


def add(connection: Connection, chain: str, records: Sequence[Record]) -> None:
    """Index new records of a chain."""
    rows = [
        {"chain": chain, "sequence": sequence, "kind": kind, "digest": digest}
        for sequence, kind, digest in sorted(rows_of(records))
    ]
    if rows:
        connection.execute(_ADD, rows)


def rows_of(records: Iterable[Record]) -> set[Row]:
    """Return the rows that records have."""
    return {
        (record.sequence, kind, digest_of(name))
        for record in records
        for kind, names in (
            (RULE, record.rules),
            (GROUP, record.groups),
            (ADMINISTRATOR, record.administrators),
        )
        for name in names
    }


def rows_between(connection: Connection, chain: str, first: int, last: int) -> set[Row]:
    """Return the rows of a chain's records from one sequence to another."""
    query = select(Names.sequence, Names.kind, Names.digest).where(
        Names.chain == chain, Names.sequence.between(first, last)
    )
    return {(sequence, kind, digest) for sequence, kind, digest in connection.execute(query)}


def stray(connection: Connection, chain: str, last: int) -> int | None:
    """Return the sequence of a row of no record, in a chain with the records 1 to `last`."""
    outside = or_(Names.sequence < 1, Names.sequence > last)
    return connection.scalar(
        select(func.min(Names.sequence)).where(Names.chain == chain).where(outside)
    )


def naming(kind: str, name: str) -> ColumnElement[bool]:
    """Return the SQL condition that a record has a name in its list of that kind."""
    found = select(Names.chain, Names.sequence).where(
        Names.kind == kind, Names.digest == digest_of(name)
    )
    return tuple_(Records.chain, Records.sequence).in_(found)


def digest_of(name: str) -> bytes:
    """Return the SHA-256 of a name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()

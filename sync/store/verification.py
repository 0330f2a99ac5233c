"""`zonebridge audit verify`: recompute the whole trail, and replay the projections from it."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    LargeBinary,
    func,
    literal,
    or_,
    select,
    union,
)

from sync.store import bodies, identities, names
from sync.store.chain import Head, heads
from sync.store.errors import BrokenRecordError
from sync.store.identities import Identity
from sync.store.models import (
    Approvals,
    Bodies,
    Heads,
    Identities,
    Names,
    Objects,
    OpenIntents,
    Records,
)
from sync.store.records import (
    ACCEPT,
    FIRST_PREVIOUS_HASH,
    FORGET,
    IDENTIFY,
    Kind,
    Record,
    closes,
    effect,
    hash_of,
)
from sync.store.store import Store

_DIGEST = re.compile(r"[0-9a-f]{64}")

# The fields that an outcome repeats from its intent.
_REPEATED = ("cluster", "object_kind", "object_name", "action", "cause", "before", "after")


@dataclass(frozen=True, slots=True)
class Verification:
    """A trail that verifies: its heads, the number of records, and the chains without a given head.

    The newest records of a chain in `without_head` may have been cut off: that is unknown.
    """

    heads: tuple[Head, ...]
    records: int
    without_head: tuple[str, ...]

    def __str__(self) -> str:
        whole = f"{self.records} records in {len(self.heads)} chains verify"
        if not self.without_head:
            return f"{whole}, and every chain reaches its published head"
        return (
            f"{whole}; whether newer records of {', '.join(self.without_head)} were cut off only a "
            "published head shows, with --head"
        )


def verify(store: Store, published: Sequence[Head] = ()) -> Verification:
    """Verify every chain, body and projection, and that each chain reaches its published heads.

    Reads one snapshot of the database, in constant memory except for the names and digests of the
    clusters' objects. Raises `BrokenRecordError`, which names the first bad record.
    """
    with store.database.reading() as connection:
        _require_kinds(connection)
        damaged = _damaged_bodies(connection)
        newest = {head.chain: head for head in heads(connection)}
        unreached = set(published)
        without_head: list[str] = []
        count = 0
        for name in _chains(connection):
            chain = _Chain(name, damaged, [head for head in published if head.chain in ("", name)])
            _walk(connection, chain)
            chain.end(newest.get(name))
            _compare(connection, chain)
            count += chain.sequence
            unreached -= chain.reached
            if not chain.reached:
                without_head.append(name)
        for head in unreached:
            reason = f"no chain has the published head {head}"
            raise BrokenRecordError(head.chain, head.sequence, reason)
        if damaged:
            reason = f"the body {min(damaged)}, which does not match its digest"
            raise BrokenRecordError("", 0, reason)
    return Verification(tuple(newest.values()), count, tuple(without_head))


@dataclass(slots=True)
class _Chain:
    """A chain as far as it was read; `sequence`, `hash` and `time` are the last record's."""

    name: str
    damaged: Container[str]
    published: Sequence[Head]
    sequence: int = 0
    hash: str = FIRST_PREVIOUS_HASH
    time: str = ""
    reached: set[Head] = field(default_factory=set)
    intents: dict[int, Record] = field(default_factory=dict)
    objects: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    # By plan: the records that blocked it, approved it and used that.
    approvals: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    # The identity of the cluster, and its record.
    identity: tuple[Identity, int] | None = None

    def add(self, record: Record, kept: Container[str]) -> None:
        """Verify the next record; `kept` are the digests of the stored bodies."""
        expected = self.sequence + 1
        if record.sequence != expected:
            raise self._broken(expected, f"it is missing, the next one is {record.sequence}")
        if record.hash != hash_of(record):
            raise self._broken(expected, "it was changed, its hash is not that of its fields")
        if record.previous_hash != self.hash:
            raise self._broken(expected, "it does not continue the record before it")
        if record.time < self.time:
            raise self._broken(expected, "it is older than the record before it")
        for digest in _digests(record):
            if digest in self.damaged:
                raise self._broken(expected, f"its body {digest} does not match its digest")
            if digest not in kept:
                raise self._broken(expected, f"its body {digest} is missing")
        self._replay(record)
        self.sequence, self.hash, self.time = record.sequence, record.hash, record.time
        self._reach()

    def end(self, newest: Head | None) -> None:
        """Verify that the chain ends at its head and reaches the published heads."""
        beyond = [head for head in self.published if head.chain and head.sequence > self.sequence]
        for head in [*beyond, newest] if newest else beyond:
            if head.sequence > self.sequence:
                raise self._broken(self.sequence + 1, f"it was cut off, the head is {head}")
        if newest is None or (newest.sequence, newest.hash, newest.time) != (
            self.sequence,
            self.hash,
            self.time,
        ):
            raise self._broken(self.sequence, "the table of heads does not name it as the last one")

    def _reach(self) -> None:
        for head in self.published:
            if head.sequence == self.sequence and head.hash == self.hash:
                self.reached.add(head)
            elif head.sequence == self.sequence and head.chain:
                raise self._broken(self.sequence, f"it is not the published one, {head}")

    def _replay(self, record: Record) -> None:
        if record.kind == Kind.INTENT:
            self.intents[record.sequence] = record
        if record.kind in (Kind.OUTCOME, Kind.RECOVERED):
            intent = self.intents.get(record.intent)
            if intent is None:
                raise self._broken(record.sequence, f"its intent {record.intent} is not open")
            if any(getattr(record, name) != getattr(intent, name) for name in _REPEATED):
                raise self._broken(record.sequence, f"its intent {record.intent} is another change")
            if closes(record):
                del self.intents[record.intent]
        if record.plan:
            self._replay_approval(record)
        if record.action in (IDENTIFY, ACCEPT):
            self._replay_identity(record)
        if record.action == FORGET:
            self._replay_forgetting(record)
        digest = effect(record)
        if digest:
            self.objects[record.object_kind, record.object_name] = (digest, record.sequence)
        elif digest is not None:
            self.objects.pop((record.object_kind, record.object_name), None)

    def _replay_identity(self, record: Record) -> None:
        known = self.identity[0] if self.identity else None
        found = identities.after(record, known)
        if found is None:
            raise self._broken(record.sequence, "it accepts a replacement for no cluster")
        if record.action == IDENTIFY and known and known.accepted != found.uid:
            raise self._broken(record.sequence, "no operator accepted the cluster that it names")
        self.identity = (found, record.sequence)

    def _replay_forgetting(self, record: Record) -> None:
        if self.objects or self.intents:
            raise self._broken(
                record.sequence, "it forgets a cluster, but not its objects and intents"
            )
        self.approvals.clear()
        self.identity = None

    def _replay_approval(self, record: Record) -> None:
        blocked, approved, used = self.approvals.get(record.plan, (0, 0, 0))
        if record.kind == Kind.BLOCKED:
            self.approvals[record.plan] = (record.sequence, 0, 0)
        elif record.kind == Kind.APPROVED:
            if not blocked or approved:
                raise self._broken(record.sequence, "it approves a plan that did not wait for it")
            self.approvals[record.plan] = (blocked, record.sequence, 0)
        elif record.kind == Kind.INTENT:
            void = self.identity is not None and approved < self.identity[1] and not used
            if not approved or void:
                raise self._broken(record.sequence, "its plan was not approved")
            self.approvals[record.plan] = (blocked, approved, used or record.sequence)

    def _broken(self, sequence: int, reason: str) -> BrokenRecordError:
        return BrokenRecordError(self.name, sequence, reason)


def _digests(record: Record) -> set[str]:
    return {record.before, record.after, record.found} - {""}


def _is_digest(found: object) -> bool:
    return isinstance(found, str) and _DIGEST.fullmatch(found) is not None


def _require_kinds(connection: Connection) -> None:
    """Raise `BrokenRecordError` if a column holds a value of the wrong type.

    SQLite stores any type in any column. Of records and bodies only the keys are checked here: the
    hashes verify the rest, and name the record.
    """
    if connection.dialect.name != "sqlite":
        return
    for table in (Heads, Records, Names, Objects, OpenIntents, Approvals, Identities, Bodies):
        hashed = table in (Records, Bodies)
        columns = table.__table__.primary_key if hashed else table.__table__.columns
        wrong = or_(*(func.typeof(column) != _kind(column) for column in columns))
        if connection.scalar(select(literal(1)).select_from(table).where(wrong).limit(1)):
            reason = f"the table of {table.__tablename__}, which holds a value of the wrong type"
            raise BrokenRecordError("", 0, reason)


def _kind(column: ColumnElement[Any]) -> str:
    """Return SQLite's name for a column's type."""
    if isinstance(column.type, BigInteger):
        return "integer"
    return "blob" if isinstance(column.type, LargeBinary) else "text"


def _damaged_bodies(connection: Connection) -> set[str]:
    """Return the digests whose stored bodies do not match them."""
    damaged = set()
    query = select(Bodies.sha256, Bodies.zlib).execution_options(yield_per=bodies.CHUNK)
    for digest, packed in connection.execute(query):
        try:
            bodies.unpack(digest, packed)
        except BrokenRecordError:
            damaged.add(digest)
    return damaged


def _chains(connection: Connection) -> list[str]:
    """Return every chain that any table names."""
    named = (
        Heads.chain,
        Records.chain,
        Names.chain,
        Objects.cluster,
        OpenIntents.chain,
        Approvals.cluster,
        Identities.cluster,
    )
    return sorted(connection.scalars(union(*(select(column) for column in named))))


def _walk(connection: Connection, chain: _Chain) -> None:
    query = select(Records).where(Records.chain == chain.name).order_by(Records.sequence)
    # Closed even if a record is bad: PostgreSQL keeps a cursor for it.
    with connection.execute(query.execution_options(yield_per=bodies.CHUNK)) as rows:
        for batch in rows.partitions():
            records = [Record._make(row) for row in batch]
            # The database may refuse other text in a query; the hash finds its record anyway.
            digests = {each for each in set().union(*map(_digests, records)) if _is_digest(each)}
            kept = set(connection.scalars(select(Bodies.sha256).where(Bodies.sha256.in_(digests))))
            for record in records:
                chain.add(record, kept)
            first, last = records[0].sequence, records[-1].sequence
            indexed = names.rows_between(connection, chain.name, first, last)
            for sequence, kind, _ in sorted(indexed ^ names.rows_of(records)):
                reason = f"the table of names differs from the trail in a {kind}"
                raise BrokenRecordError(chain.name, sequence, reason)


def _compare(connection: Connection, chain: _Chain) -> None:
    """Compare the projections with the replay of the trail."""
    stray = names.stray(connection, chain.name, chain.sequence)
    if stray is not None:
        reason = "the table of names has it, and the trail does not"
        raise BrokenRecordError(chain.name, stray, reason)
    query = select(Objects.kind, Objects.name, Objects.digest, Objects.sequence)
    held = {
        (kind, name): (digest, sequence)
        for kind, name, digest, sequence in connection.execute(
            query.where(Objects.cluster == chain.name)
        )
    }
    for key in sorted(held.keys() | chain.objects.keys()):
        if held.get(key) != chain.objects.get(key):
            _, sequence = chain.objects.get(key) or held[key]
            reason = f"the table of objects differs from the trail in {' '.join(key)}"
            raise BrokenRecordError(chain.name, sequence, reason)
    rows = select(Approvals.plan, Approvals.blocked, Approvals.approved, Approvals.used)
    kept = {
        plan: (blocked, approved, used)
        for plan, blocked, approved, used in connection.execute(
            rows.where(Approvals.cluster == chain.name)
        )
    }
    for plan, (blocked, approved, used) in sorted(chain.approvals.items()):
        # Plans without an approval are replaced, and not all of them can be approved.
        if kept.pop(plan, None if approved else (blocked, 0, 0)) != (blocked, approved, used):
            reason = f"the table of approvals differs from the trail in the plan {plan}"
            raise BrokenRecordError(chain.name, used or approved or blocked, reason)
    for plan in kept:
        reason = f"the table of approvals holds the plan {plan}, which is not in the trail"
        raise BrokenRecordError(chain.name, 0, reason)
    columns = select(Identities.uid, Identities.accepted, Identities.sequence)
    row = connection.execute(columns.where(Identities.cluster == chain.name)).one_or_none()
    identity = (Identity(row.uid, row.accepted), row.sequence) if row else None
    if identity != chain.identity:
        sequence = chain.identity[1] if chain.identity else 0
        reason = "the table of identities does not agree with the trail"
        raise BrokenRecordError(chain.name, sequence, reason)
    still_open = select(OpenIntents.sequence).where(OpenIntents.chain == chain.name)
    for sequence in sorted(set(connection.scalars(still_open)) ^ chain.intents.keys()):
        reason = "the table of open intents does not agree with the trail"
        raise BrokenRecordError(chain.name, sequence, reason)

"""Hash chains: append records, and read the heads that vouch for them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, text, update

from sync.errors import UsageError
from sync.store import names
from sync.store.models import Heads, Records
from sync.store.records import FIRST_PREVIOUS_HASH, Clock, Record, seal, stamp, values

_AT_ONCE = 500  # records in one query
_SEQUENCE = re.compile(r"[0-9]{1,18}")
_HASH = re.compile(r"[0-9a-f]{64}")

# Statements of every batch, built once: SQLAlchemy takes longer to build one than SQLite to run it.
_FOUND = text(
    "INSERT INTO heads (chain, sequence, hash, time) VALUES (:chain, 0, :hash, '')"
    " ON CONFLICT DO NOTHING"
)
# SQLite has one writer anyway and ignores FOR UPDATE.
_LOCK = (
    select(Heads.chain, Heads.sequence, Heads.hash, Heads.time)
    .where(Heads.chain == bindparam("of"))
    .with_for_update()
)
_APPEND = insert(Records)
_MOVE = (
    update(Heads)
    .where(Heads.chain == bindparam("of"))
    .values({name: bindparam(name) for name in ("sequence", "hash", "time")})
)


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of a chain. A copy kept elsewhere proves later that nothing was cut off.

    Written `CHAIN SEQUENCE:HASH`. Without a chain (`SEQUENCE:HASH`) it means any chain that has
    that record.
    """

    chain: str
    sequence: int
    hash: str
    time: str = ""

    def __str__(self) -> str:
        return f"{self.chain} {self.sequence}:{self.hash}".strip()

    @classmethod
    def parse(cls, written: str) -> "Head":
        """Parse one head; `UsageError` if it is none."""
        chain, _, place = written.strip().rpartition(" ")
        sequence, _, digest = place.partition(":")
        if not (_SEQUENCE.fullmatch(sequence) and _HASH.fullmatch(digest)):
            raise UsageError(f"{written!r} is neither a file of heads nor a head, SEQUENCE:HASH")
        return cls(chain, int(sequence), digest)

    @classmethod
    def parse_file(cls, written: str) -> tuple["Head", ...]:
        """Parse a head file: one head per line."""
        return tuple(cls.parse(line) for line in written.splitlines() if line.strip())


def heads(connection: Connection) -> tuple[Head, ...]:
    """Return the head of every chain, sorted by chain."""
    query = select(Heads.chain, Heads.sequence, Heads.hash, Heads.time).order_by(Heads.chain)
    return tuple(Head(*row) for row in connection.execute(query))


def lacking(connection: Connection, named: Iterable[Head]) -> set[Head]:
    """Return the named records (chain, sequence and hash) that no chain holds."""
    ends = {head.chain: head.sequence for head in heads(connection)}
    left = set(named)
    # Names may come from outside, with numbers too large for a database.
    asked = defaultdict(list)
    for head in left:
        if 0 < head.sequence <= ends.get(head.chain, 0):
            asked[head.chain].append(head)
    for chain, found in asked.items():
        for start in range(0, len(found), _AT_ONCE):
            some = found[start : start + _AT_ONCE]
            query = select(Records.sequence, Records.hash).where(
                Records.chain == chain, Records.sequence.in_([head.sequence for head in some])
            )
            hashes = {row.sequence: row.hash for row in connection.execute(query)}
            left -= {head for head in some if hashes.get(head.sequence) == head.hash}
    return left


def append(
    connection: Connection, chain: str, drafts: Sequence[Record], clock: Clock
) -> list[Record]:
    """Append drafts to a chain, in a writing transaction, and return the sealed records.

    Locks the chain's head until the transaction ends, so a chain never forks. Time never goes
    backwards in a chain: if the clock does, a record has the time of the one before it.
    """
    head = lock(connection, chain)
    time = max(stamp(clock()), head.time)
    records: list[Record] = []
    previous_hash = head.hash
    for sequence, draft in enumerate(drafts, head.sequence + 1):
        record = seal(draft, chain=chain, sequence=sequence, time=time, previous_hash=previous_hash)
        records.append(record)
        previous_hash = record.hash
    connection.execute(_APPEND, [values(record) for record in records])
    names.add(connection, chain, records)
    moved = {"of": chain, "sequence": records[-1].sequence, "hash": previous_hash, "time": time}
    connection.execute(_MOVE, moved)
    return records


def lock(connection: Connection, chain: str) -> Head:
    """Return a chain's head and lock it: no one else appends until this transaction ends."""
    connection.execute(_FOUND, {"chain": chain, "hash": FIRST_PREVIOUS_HASH})
    row = connection.execute(_LOCK, {"of": chain}).one()
    return Head(*row)

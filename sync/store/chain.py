"""Hash chains: how records are appended, and the heads that vouch for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, text, update

from sync.errors import UsageError
from sync.store.models import Heads, Records
from sync.store.records import FIRST_PREVIOUS_HASH, Clock, Record, seal, stamp, values

# Statements that every batch needs: SQLAlchemy takes longer to build one than SQLite to run it.
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
    """The last record of a chain. Who keeps it elsewhere can tell later that nothing was cut off.

    Written `CHAIN SEQUENCE:HASH`. Without a chain (`SEQUENCE:HASH`) it stands for whichever chain
    has that record.
    """

    chain: str
    sequence: int
    hash: str
    time: str = ""

    def __str__(self) -> str:
        return f"{self.chain} {self.sequence}:{self.hash}".strip()

    @classmethod
    def parse(cls, written: str) -> "Head":
        """Read one head back; `UsageError` if it is none."""
        chain, _, place = written.strip().rpartition(" ")
        sequence, _, digest = place.partition(":")
        if (
            not sequence.isascii()
            or not sequence.isdigit()
            or len(digest) != len(FIRST_PREVIOUS_HASH)
        ):
            raise UsageError(f"{written!r} is neither a file of heads nor a head, SEQUENCE:HASH")
        return cls(chain, int(sequence), digest)

    @classmethod
    def parse_file(cls, written: str) -> tuple["Head", ...]:
        """Read a head file: one head a line."""
        return tuple(cls.parse(line) for line in written.splitlines() if line.strip())


def heads(connection: Connection) -> tuple[Head, ...]:
    """The head of every chain, sorted by chain."""
    query = select(Heads.chain, Heads.sequence, Heads.hash, Heads.time).order_by(Heads.chain)
    return tuple(Head(*row) for row in connection.execute(query))


def append(
    connection: Connection, chain: str, drafts: Sequence[Record], clock: Clock
) -> list[Record]:
    """Append the drafts to a chain, in a writing transaction, and return them as they stand there.

    Locks the chain's head until the transaction ends, so a chain never forks. The clock going
    backwards does not: such a record has the time of the one before it.
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
    moved = {"of": chain, "sequence": records[-1].sequence, "hash": previous_hash, "time": time}
    connection.execute(_MOVE, moved)
    return records


def lock(connection: Connection, chain: str) -> Head:
    """The head of a chain, to which nobody else appends until this writing transaction ends."""
    connection.execute(_FOUND, {"chain": chain, "hash": FIRST_PREVIOUS_HASH})
    row = connection.execute(_LOCK, {"of": chain}).one()
    return Head(*row)

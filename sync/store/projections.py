"""Tables that follow from the trail: the objects that each cluster holds, and open intents.

They are written in the transaction that appends the records, and `verify` replays them.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, text

from sync.errors import StoreError
from sync.store.models import Objects, OpenIntents, Records
from sync.store.records import Record, closes, effect

# Built once, as in `chain`.
_OPEN = insert(OpenIntents)
_STILL_OPEN = select(OpenIntents.sequence).where(OpenIntents.chain == bindparam("of"))
_CLOSE = delete(OpenIntents).where(
    OpenIntents.chain == bindparam("of"), OpenIntents.sequence == bindparam("closed")
)
_HOLD = text(
    "INSERT INTO objects (cluster, kind, name, digest, sequence)"
    " VALUES (:cluster, :kind, :name, :digest, :sequence)"
    " ON CONFLICT (cluster, kind, name)"
    " DO UPDATE SET digest = excluded.digest, sequence = excluded.sequence"
)
_FORGET = delete(Objects).where(
    Objects.cluster == bindparam("of"),
    Objects.kind == bindparam("of_kind"),
    Objects.name == bindparam("of_name"),
)


def open_intents(connection: Connection, cluster: str) -> list[Record]:
    """Return the open intents of a cluster, oldest first."""
    query = (
        select(Records)
        .join(
            OpenIntents,
            (OpenIntents.chain == Records.chain) & (OpenIntents.sequence == Records.sequence),
        )
        .where(OpenIntents.chain == cluster)
        .order_by(Records.sequence)
    )
    return [Record._make(row) for row in connection.execute(query)]


def open_now(connection: Connection, intents: Sequence[Record]) -> None:
    """Add intents to those that are open."""
    connection.execute(
        _OPEN, [{"chain": intent.chain, "sequence": intent.sequence} for intent in intents]
    )


def believed(connection: Connection, cluster: str) -> list[tuple[str, str, str]]:
    """Return the kind, name and digest of each object that a cluster holds, by the trail."""
    query = select(Objects.kind, Objects.name, Objects.digest).where(Objects.cluster == cluster)
    rows = connection.execute(query.order_by(Objects.kind, Objects.name))
    return [(kind, name, digest) for kind, name, digest in rows]


def require_open(connection: Connection, chain: str, sequences: Sequence[int]) -> None:
    """Raise `StoreError` unless each intent is open, and named once."""
    still_open = set(connection.scalars(_STILL_OPEN, {"of": chain}))
    for sequence in sequences:
        if sequence not in still_open:
            raise StoreError(
                f"intent {sequence} of cluster {chain} is closed already; another process syncs "
                "this cluster, let only one of them run"
            )
        still_open.remove(sequence)


def project(connection: Connection, chain: str, records: Sequence[Record]) -> None:
    """Update both tables with new records of a chain."""
    # One by one: a recovery may close too many for the parameters of one statement.
    closed = [{"of": chain, "closed": record.intent} for record in records if closes(record)]
    if closed:
        connection.execute(_CLOSE, closed)
    # Of several records about an object the last one counts.
    moved = {
        (record.object_kind, record.object_name): (digest, record.sequence)
        for record in records
        if (digest := effect(record)) is not None
    }
    held = [
        {"cluster": chain, "kind": kind, "name": name, "digest": digest, "sequence": sequence}
        for (kind, name), (digest, sequence) in moved.items()
        if digest
    ]
    if held:
        connection.execute(_HOLD, held)
    gone = [
        {"of": chain, "of_kind": kind, "of_name": name}
        for (kind, name), (digest, _) in moved.items()
        if not digest
    ]
    if gone:
        connection.execute(_FORGET, gone)

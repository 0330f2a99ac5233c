"""Which cluster each entry of the configuration is: by the UID that the cluster itself tells.

    first contact ──> identify: remembered
    another UID   ──> refused ──> accept (an operator) ──> identify, by the holder of the lease
    removed       ──> forget (an operator): as if never met

Each step is a record, which ends in the UID and, where there was one, that of the cluster before;
the row is a projection of the trail.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, select, text

from sync.store.models import Identities
from sync.store.records import ACCEPT, FORGET, IDENTIFY, Record

_BETWEEN: Final = " in place of "

_KEEP = text(
    "INSERT INTO identities (cluster, uid, accepted, sequence)"
    " VALUES (:cluster, :uid, :accepted, :sequence)"
    " ON CONFLICT (cluster) DO UPDATE SET uid = excluded.uid, accepted = excluded.accepted,"
    " sequence = excluded.sequence"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """The UID of an entry's cluster; `accepted` is the one that may take its place, "" for none."""

    uid: str
    accepted: str = ""


def detail(uid: str, before: str) -> str:
    """What the record of a UID says, in place of that of the cluster before, if there was one."""
    return f"{uid}{_BETWEEN}{before}" if before else uid


def after(record: Record, known: Identity | None) -> Identity | None:
    """What is known of an entry's cluster after one more of its records."""
    uid = record.detail.partition(_BETWEEN)[0]
    if record.action == IDENTIFY:
        return Identity(uid)
    if record.action == ACCEPT and known:
        return Identity(known.uid, uid)
    return None if record.action == FORGET else known


def identities(connection: Connection) -> dict[str, Identity]:
    """What is known of every entry's cluster, by the entry's name."""
    query = select(Identities.cluster, Identities.uid, Identities.accepted)
    return {name: Identity(uid, accepted) for name, uid, accepted in connection.execute(query)}


def keep(connection: Connection, record: Record, known: Identity | None) -> None:
    """Bring the projection to where the record leaves it; `known` is what was known before."""
    found = after(record, known)
    assert found is not None, "a UID is accepted in the place of another"
    row = {"cluster": record.chain, "uid": found.uid, "accepted": found.accepted}
    connection.execute(_KEEP, {**row, "sequence": record.sequence})


def forget(connection: Connection, cluster: str) -> None:
    """Know no more which cluster an entry is."""
    connection.execute(delete(Identities).where(Identities.cluster == cluster))

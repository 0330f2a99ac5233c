"""Identities: which cluster each entry of the configuration is, by the UID that it reports.

    first contact ──> identify: stored
    another UID   ──> refused ──> accept (an operator) ──> identify, by the holder of the lease
    removed       ──> forget (an operator): as if never met

Each step is a record, whose detail ends in the UID and, if there was one, that of the cluster
before. The row is a projection of the trail.
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
    """The UID of an entry's cluster; `accepted` is the one that may replace it, "" for none."""

    uid: str
    accepted: str = ""


def detail(uid: str, before: str) -> str:
    """Return the detail of a UID's record, with the UID of the cluster before, if there was one."""
    return f"{uid}{_BETWEEN}{before}" if before else uid


def after(record: Record, known: Identity | None) -> Identity | None:
    """Return the identity of an entry's cluster after one more of its records."""
    uid = record.detail.partition(_BETWEEN)[0]
    if record.action == IDENTIFY:
        return Identity(uid)
    if record.action == ACCEPT and known:
        return Identity(known.uid, uid)
    return None if record.action == FORGET else known


def identities(connection: Connection) -> dict[str, Identity]:
    """Return the identity of every entry's cluster, by the entry's name."""
    query = select(Identities.cluster, Identities.uid, Identities.accepted)
    return {name: Identity(uid, accepted) for name, uid, accepted in connection.execute(query)}


def keep(connection: Connection, record: Record, known: Identity | None) -> None:
    """Update the projection with a record; `known` is the identity before."""
    found = after(record, known)
    assert found is not None, "a UID is accepted in the place of another"
    row = {"cluster": record.chain, "uid": found.uid, "accepted": found.accepted}
    connection.execute(_KEEP, {**row, "sequence": record.sequence})


def forget(connection: Connection, cluster: str) -> None:
    """Remove the identity of an entry's cluster."""
    connection.execute(delete(Identities).where(Identities.cluster == cluster))

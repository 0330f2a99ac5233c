"""Adoptions: foreign objects that an operator lets us take over, each in the state that was seen.

    adopt (an operator) ──> the next sync, if the object is unchanged: taken over
                        └─> 24 hours: void

They have no table: they are read from the operator's records.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from sync.store.approvals import LIFETIME, expires
from sync.store.models import Records
from sync.store.records import ACCEPT, ADOPT, FORGET, IDENTIFY, Kind, Outcome, stamp

Adoption = tuple[str, str, str]
"""The kind and name of an object, and the digest of the fields that would be overwritten."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An adoption that no sync has used: by which command (`asked_by`), and until when (UTC)."""

    kind: str
    name: str
    before: str
    asked_by: str
    expires: str


def adoptions(connection: Connection, cluster: str, now: datetime) -> frozenset[Adoption]:
    """Return the adoptions that are valid in a cluster now, as `asked` has them."""
    return frozenset(
        (each.kind, each.name, each.before) for each in asked(connection, cluster, now)
    )


def asked(connection: Connection, cluster: str, now: datetime) -> list[Asked]:
    """Return the adoptions that are valid in a cluster now: unused and not expired.

    One is void, too, once another cluster is met or accepted under the name, or the old one is
    forgotten.
    """
    query = (
        select(
            Records.kind,
            Records.action,
            Records.outcome,
            Records.object_kind,
            Records.object_name,
            Records.before,
            Records.time,
            Records.detail,
            Records.trigger,
        )
        .where(
            Records.time > stamp(now - LIFETIME),
            Records.chain == cluster,
            Records.kind.in_((Kind.OPERATOR, Kind.OUTCOME, Kind.RECOVERED, Kind.ADOPTED)),
        )
        .order_by(Records.sequence)
    )
    found: dict[tuple[str, str], Asked] = {}
    for row in connection.execute(query):
        kind, action, outcome, object_kind, name, before, time, detail, by = row
        if action in (IDENTIFY, ACCEPT, FORGET):
            # It was for an object of another cluster.
            found.clear()
        elif kind == Kind.OPERATOR:
            # The record's time may be ahead of the clock that the operator's command used.
            if action == ADOPT and (until := expires(time, detail)) > stamp(now):
                found[object_kind, name] = Asked(object_kind, name, before, by, until)
        elif kind != Kind.OUTCOME or outcome == Outcome.APPLIED:
            # It is used once.
            found.pop((object_kind, name), None)
    return [*found.values()]

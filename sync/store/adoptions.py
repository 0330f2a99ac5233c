"""Adoptions: foreign objects that an operator lets us take over, each in the state that was seen.

    adopt (an operator) ──> the next sync, if the object is unchanged: taken over
                        └─> 24 hours: void

They have no table: they are read from the operator's records.
"""

from datetime import datetime

from sqlalchemy import Connection, select

from sync.store.approvals import LIFETIME, expires
from sync.store.models import Records
from sync.store.records import ACCEPT, ADOPT, FORGET, IDENTIFY, Kind, Outcome, stamp

Adoption = tuple[str, str, str]
"""The kind and name of an object, and the digest of the fields that would be overwritten."""


def adoptions(connection: Connection, cluster: str, now: datetime) -> frozenset[Adoption]:
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
        )
        .where(
            Records.time > stamp(now - LIFETIME),
            Records.chain == cluster,
            Records.kind.in_((Kind.OPERATOR, Kind.OUTCOME, Kind.RECOVERED, Kind.ADOPTED)),
        )
        .order_by(Records.sequence)
    )
    asked: dict[tuple[str, str], str] = {}
    for kind, action, outcome, object_kind, name, before, time, detail in connection.execute(query):
        if action in (IDENTIFY, ACCEPT, FORGET):
            # It was for an object of another cluster.
            asked.clear()
        elif kind == Kind.OPERATOR:
            # The record's time may be ahead of the clock that the operator's command used.
            if action == ADOPT and expires(time, detail) > stamp(now):
                asked[object_kind, name] = before
        elif kind != Kind.OUTCOME or outcome == Outcome.APPLIED:
            # It is used once.
            asked.pop((object_kind, name), None)
    return frozenset((*key, digest) for key, digest in asked.items())

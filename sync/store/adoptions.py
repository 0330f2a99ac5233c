"""Adoptions: foreign objects that an operator lets us take over, each as it was seen.

    adopt (an operator) ──> the next sync, where the object still is what was seen: taken over
                        └─> 24 hours: void

No table has them: they are the operator's records, for as long as they hold.
"""

from datetime import datetime

from sqlalchemy import Connection, select

from sync.store.approvals import LIFETIME, expires
from sync.store.models import Records
from sync.store.records import ACCEPT, ADOPT, FORGET, IDENTIFY, Kind, Outcome, stamp

Adoption = tuple[str, str, str]
"""The kind and the name of an object, and the digest of what of it is to be written over."""


def adoptions(connection: Connection, cluster: str, now: datetime) -> frozenset[Adoption]:
    """What may be taken over in a cluster now: not written or asked too long ago.

    Nor before another cluster was met or accepted under the name, or the old one forgotten.
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
            # It was for what another cluster held.
            asked.clear()
        elif kind == Kind.OPERATOR:
            # Its time may be ahead of the clock that it was asked by.
            if action == ADOPT and expires(time, detail) > stamp(now):
                asked[object_kind, name] = before
        elif kind != Kind.OUTCOME or outcome == Outcome.APPLIED:
            # It holds once.
            asked.pop((object_kind, name), None)
    return frozenset((*key, digest) for key, digest in asked.items())

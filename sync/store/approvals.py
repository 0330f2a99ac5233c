"""Approvals: blocked plans that an operator lets through, once.

    blocked ──> approve (operator) ──> its first intent
       ▲            └─ 24 hours ──> blocked again by the next sync
       └─ anything else happens to the cluster: another plan, another row

An approval is for the cluster that had the name then: it is void once another one is accepted or
met under that name.

Each step is a record; the row names them (0: not yet) and is a projection of the trail. It keeps
the plan, so that an operator can review it before approving it.
"""

import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from sync.errors import UsageError, ZonebridgeError
from sync.store.chain import Head
from sync.store.models import Approvals, Identities, Records
from sync.store.records import Kind, Record, stamp

LIFETIME = timedelta(hours=24)
"""How long an approval waits for the sync that uses it."""

_BY_CLOCK = re.compile(r"(?:^| )\(at (\S+) by the clock\)$")

_PREFIX = re.compile(r"[0-9a-f]{8,64}")


class ApprovalError(ZonebridgeError):
    """A plan cannot be approved, or its approval is not valid; nothing was written."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A plan that waits for an approval, or for the sync that uses its approval.

    `guards` and `because` are what blocks it; times are UTC as in a record, and `approved`,
    `approved_by` and `expires` are "" until it is approved. `document` is the plan.
    """

    cluster: str
    plan: str
    guards: str
    because: str
    blocked: str
    approved: str
    approved_by: str
    expires: str
    document: bytes

    @property
    def summary(self) -> str:
        """Summarize what the plan would change."""
        counts = orjson.loads(self.document)["summary"]
        return ", ".join(
            f"{counts[action]} to {action}" for action in ("create", "update", "delete")
        )


def keep(connection: Connection, blocked: Record, document: bytes | None) -> None:
    """Keep a blocked plan for an operator to approve; it replaces one that was never approved.

    Without a document nothing is kept: no approval can let such a plan through.
    """
    of_cluster = Approvals.cluster == blocked.cluster
    connection.execute(
        delete(Approvals).where(
            of_cluster, (Approvals.approved == 0) | (Approvals.plan == blocked.plan)
        )
    )
    if document is None:
        return
    row = {
        "cluster": blocked.cluster,
        "plan": blocked.plan,
        "blocked": blocked.sequence,
        "approved": 0,
        "used": 0,
        "document": zlib.compress(document),
    }
    connection.execute(insert(Approvals).values(row))


def named(connection: Connection, digest: str) -> tuple[str, str]:
    """Return the cluster and the digest of the one plan whose digest begins with `digest`.

    Raises `UsageError` if it is no digest, is ambiguous, or belongs to no plan that was ever
    blocked; `ApprovalError` for a plan that no approval lets through.
    """
    if not _PREFIX.fullmatch(digest):
        raise UsageError(
            f"{digest!r} is not the digest of a plan; give at least its first 8 digits, as "
            "`zonebridge status` shows them"
        )
    begins = Approvals.plan.startswith(digest)
    found = connection.execute(select(Approvals.cluster, Approvals.plan).where(begins)).all()
    if len(found) > 1:
        raise UsageError(f"{len(found)} digests of plans begin with {digest}; give more digits")
    if found:
        cluster, plan = found[0]
        return cluster, plan
    query = select(Records.cluster, Records.plan, Records.detail).where(
        Records.kind == Kind.BLOCKED, Records.plan.startswith(digest)
    )
    last = connection.execute(
        query.order_by(Records.time.desc(), Records.sequence.desc()).limit(1)
    ).one_or_none()
    if last is None:
        raise UsageError(
            f"no plan with the digest {digest} was blocked; after a sync `zonebridge status` shows "
            "the plans that wait"
        )
    cluster, plan, guards = last
    raise ApprovalError(
        f"the plan {plan[:12]} of cluster {cluster}, blocked by {guards}, cannot be approved: "
        "either another plan has taken its place, or one of those guards can never be let "
        "through; `zonebridge plan` shows what holds the cluster back now"
    )


def require_waiting(connection: Connection, cluster: str, plan: str, head: Head, now: str) -> str:
    """Return the guards that block a plan; `ApprovalError` unless it waits for an approval.

    `head` is the chain's, and locked, so that nothing can happen to the cluster meanwhile.
    """
    blocked, approved, used = _row(connection, cluster, plan)
    said = f"the plan {plan[:12]} of cluster {cluster}"
    if used:
        raise ApprovalError(
            f"{said} was approved and written at {used.time}; an approval holds once, and the next "
            "sync blocks the plan again if its changes are still needed"
        )
    if approved and not _expired(approved, now):
        raise ApprovalError(
            f"{said} was approved at {approved.time} already, by {approved.trigger}; the next sync "
            "lets it through"
        )
    if approved:
        raise ApprovalError(
            f"the approval of {approved.time} for {said} has expired; the next sync blocks the "
            "plan again if its changes are still needed, and then it can be approved"
        )
    assert blocked is not None
    if blocked.sequence != head.sequence:
        raise ApprovalError(
            f"{said} was blocked at {blocked.time}, and the cluster has newer records; approve "
            "the plan that `zonebridge status` shows after the next sync"
        )
    return blocked.detail


def detail(guards: str, head: Head, now: str) -> str:
    """Return the detail of an approval's record: the guards, and the time if it differs.

    If the clock was ahead once, the record has the time of the record before it.
    """
    return f"{guards} (at {now} by the clock)".lstrip() if now < head.time else guards


def approve(connection: Connection, approved: Record) -> None:
    """Note the record that approves a plan in its row."""
    _note(connection, approved.cluster, approved.plan, approved=approved.sequence)


def holds(connection: Connection, cluster: str, plan: str, now: str) -> bool:
    """Return whether a plan was approved and may be written now."""
    _, approved, used = _row(connection, cluster, plan)
    return approved is not None and used is None and not _expired(approved, now)


def use(connection: Connection, intent: Record, now: str) -> None:
    """Use the approval of an intent's plan; repeatable within one run.

    Raises `ApprovalError` if it is not valid. The intent has locked the chain, so that no two runs
    can use it.
    """
    _, approved, used = _row(connection, intent.cluster, intent.plan)
    if used is not None and used.run == intent.run:
        return
    if approved is None or used is not None or _expired(approved, now):
        raise ApprovalError(
            f"the approval of the plan {intent.plan[:12]} of cluster {intent.cluster} was used, "
            "expired or became void meanwhile; nothing was written"
        )
    _note(connection, intent.cluster, intent.plan, used=intent.sequence)


def current(connection: Connection, now: str) -> list[Approval]:
    """Return the last blocked plan of each cluster, and the approved plans, by cluster.

    A blocked plan stays here if the cluster came in sync later without a record.
    """
    found = []
    rows = connection.execute(
        select(Approvals.cluster, Approvals.plan, Approvals.document).order_by(
            Approvals.cluster, Approvals.blocked
        )
    )
    for cluster, plan, document in rows.all():
        blocked, approved, used = _row(connection, cluster, plan)
        if blocked is None or used:
            continue
        if approved is None and _last(connection, cluster) != blocked.sequence:
            continue
        if approved and _expired(approved, now):
            continue
        found.append(
            Approval(
                cluster=cluster,
                plan=plan,
                guards=blocked.detail,
                because=blocked.error,
                blocked=blocked.time,
                approved=approved.time if approved else "",
                approved_by=approved.trigger if approved else "",
                expires=_expires(approved) if approved else "",
                document=zlib.decompress(document),
            )
        )
    return found


def forget(connection: Connection, cluster: str) -> None:
    """Remove the waiting and approved plans of a cluster."""
    connection.execute(delete(Approvals).where(Approvals.cluster == cluster))


def _note(connection: Connection, cluster: str, plan: str, **sequence: int) -> None:
    ours = (Approvals.cluster == cluster) & (Approvals.plan == plan)
    connection.execute(update(Approvals).where(ours).values(**sequence))


def _row(
    connection: Connection, cluster: str, plan: str
) -> tuple[Record | None, Record | None, Record | None]:
    """Return the records that blocked a plan, approved it and used the approval.

    The records decide, not the row. A void approval is omitted, unless it was used before.
    """
    query = select(Approvals.blocked, Approvals.approved, Approvals.used)
    row = connection.execute(
        query.where(Approvals.cluster == cluster, Approvals.plan == plan)
    ).one_or_none()
    kinds = (Kind.BLOCKED, Kind.APPROVED, Kind.INTENT)
    blocked, approved, used = (
        _record(connection, cluster, sequence, kind, plan)
        for sequence, kind in zip(row or (0, 0, 0), kinds, strict=True)
    )
    if approved and not used:
        identified = select(Identities.sequence).where(Identities.cluster == cluster)
        if approved.sequence < (connection.scalar(identified) or 0):
            return blocked, None, None
    return blocked, approved, used


def _record(
    connection: Connection, cluster: str, sequence: int, kind: Kind, plan: str
) -> Record | None:
    if not sequence:
        return None
    query = select(Records).where(Records.chain == cluster, Records.sequence == sequence)
    row = connection.execute(query).one_or_none()
    record = Record._make(row) if row else Record()
    if (record.kind, record.plan) != (kind, plan):
        raise ApprovalError(
            f"record {sequence} of chain {cluster} contradicts the table of approvals; run "
            "`zonebridge audit verify`"
        )
    return record


def _last(connection: Connection, cluster: str) -> int:
    query = select(Records.sequence).where(Records.chain == cluster)
    return connection.scalar(query.order_by(Records.sequence.desc()).limit(1)) or 0


def _expired(approved: Record, now: str) -> bool:
    return _expires(approved) <= now


def _expires(approved: Record) -> str:
    return expires(approved.time, approved.detail)


def expires(time: str, detail: str) -> str:
    """Return when an approval or adoption expires, by its record's time and detail."""
    by_clock = _BY_CLOCK.search(detail)
    return stamp(datetime.fromisoformat(by_clock[1] if by_clock else time) + LIFETIME)

"""Drafts of records of each kind, before a chain numbers and seals them.

`by` is a draft that names the run: its `run` and `trigger` go into each record.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from sync.calico.manifest import Manifest
from sync.plan.changes import Change
from sync.plan.origin import Origin
from sync.store import identities
from sync.store.projections import believed
from sync.store.records import Kind, Outcome, Record


def identity(by: Record, cluster: str, kind: Kind, action: str, uid: str, before: str) -> Record:
    """Draft the record of which cluster an entry is."""
    return Record(
        run=by.run,
        kind=kind,
        trigger=by.trigger,
        cluster=cluster,
        object_kind="Namespace",
        object_name="kube-system",
        action=action,
        detail=identities.detail(uid, before),
    )


def forgotten(by: Record, connection: Connection, cluster: str, why: str) -> list[Record]:
    """Draft the records after which the store assumes no object in a cluster."""
    return [
        Record(
            run=by.run,
            kind=Kind.ADOPTED,
            trigger=by.trigger,
            cluster=cluster,
            object_kind=kind,
            object_name=name,
            before=digest,
            detail=why,
        )
        for kind, name, digest in believed(connection, cluster)
    ]


def intent_of(
    by: Record, cluster: str, change: Change, origins: Sequence[Origin], approved: str = ""
) -> Record:
    """Draft the intent of one change, with the commits behind it."""
    return Record(
        run=by.run,
        kind=Kind.INTENT,
        trigger=by.trigger,
        cluster=cluster,
        object_kind=change.kind,
        object_name=change.name,
        action=change.action,
        cause=change.cause,
        before=digest_of(change.before),
        after=digest_of(change.after),
        plan=approved,
        firewall_version="; ".join(f"{each.source} {each.version}" for each in origins),
        administrators=tuple(sorted({name for each in origins for name in each.administrators})),
        description="; ".join(each.description for each in origins if each.description),
        rules=change.rules,
        groups=change.groups,
        detail=f"found changed by {change.changed_by}" if change.changed_by else "",
    )


def closing(
    by: Record,
    intent: Record,
    kind: Kind,
    found: Manifest | None,
    outcome: Outcome,
    error: str = "",
) -> Record:
    """Draft the record of an intent's outcome."""
    return intent._replace(
        run=by.run,
        trigger=by.trigger,
        kind=kind,
        intent=intent.sequence,
        found=digest_of(found),
        outcome=outcome,
        error=error,
    )


def digest_of(manifest: Manifest | None) -> str:
    """Return the digest for a record: "" for no object."""
    return manifest.digest if manifest else ""

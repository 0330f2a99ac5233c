"""Whether someone else writes to a cluster with a copy of our store.

    objects of ours ── record and writer that each names ──> does our trail hold the record?
                                                             no: nothing is written there

Two services with copies of one store have one identity (the store's UUID), each a lease of its own
and each its own idea of what it wrote: each takes the other's objects for its own that drifted.
What tells them apart is the trail. It has grown on its own in each of them, so that an object
written by one names a record that the other does not hold, by its chain, sequence and hash. A store
that was restored from an older copy, or a standby that was promoted without the last records, is
recognised by its own objects in the same way. The one that reads first stops first: at the latest
at the second sync of two that wrote side by side, both.

The record stands in an annotation of each object, and nothing of it in any object beside them
(a ConfigMap or a Lease that every writer replaces). Those need rights that no installation has
granted, and are none in a directory of manifests; and there are cases in which they are wrong: a
writer that is killed between its claim and its write, or between its write and its claim. An
annotation is written with the object or not at all, and its record was committed before it.
So no restart, kill, or takeover among replicas of one database looks like a copy.

A copy that only deletes is not recognised: it leaves nothing behind to name its records. What it
deleted is missing for the other one, which writes it again, and that the copy sees. Nor does an
object say anything whose annotations were taken off, or which an older version wrote.
"""

from collections.abc import Mapping

from sync.calico.ownership import stamp_of
from sync.clusters.cluster import Key, LiveObject
from sync.errors import AuditBrokenError, ClusterError, UsageError
from sync.reconcile.desired import Cluster
from sync.redaction import redact
from sync.store import Head, Store


class CopiedStoreError(AuditBrokenError, ClusterError):
    """Objects of ours were written under records that our trail does not hold."""


def unrecorded(
    cluster: Cluster, live: Mapping[Key, LiveObject], store: Store, holder: str = ""
) -> frozenset[Key]:
    """The objects of ours that name a record which our trail does not hold, to be written again.

    Raises `CopiedStoreError` if there are any, unless the cluster is to `adopt` what others left.
    `holder` says who we are. What is `live` was read before: what was written by then is recorded.
    """
    named = {key: head for key, found in sorted(live.items()) if (head := _record(found))}
    lacking = store.lacking(named.values())
    strange = [key for key, head in named.items() if head in lacking]
    if not strange or cluster.adopt:
        return frozenset(strange)
    kind, name = strange[0]
    found = live[kind, name]
    more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
    _, writer = stamp_of(found.document)
    writer = redact(writer) or "somebody who does not say"
    hand = f", and last changed by {found.changed_by}" if found.changed_by else ""
    record = f"{named[kind, name].sequence}:{named[kind, name].hash}"
    raise CopiedStoreError(
        f"cluster {cluster.name}: {kind} {name}{more} was written by {writer}{hand}, under record "
        f"{record} of chain {redact(named[kind, name].chain)}, which the store "
        f"{store.database.place} ({store.uuid}) does not hold: that process has a copy of this "
        "store, or this store was restored from an older copy; nothing is written to the cluster"
        f"{f' by {holder}' if holder else ''}; bring the newest copy back and run one process with "
        "it, and let the other one begin with a new store (store.url) instead of a copy; to go on "
        f"with this store, stop both and run `zonebridge sync --adopt --cluster {cluster.name}` "
        "once"
    )


def _record(found: LiveObject) -> Head | None:
    """The record that an object of ours names; None if it names none."""
    if found.manifest is None:
        return None
    record, _ = stamp_of(found.document)
    try:
        head = Head.parse(record)
    except UsageError:
        return None
    return head if head.chain else None

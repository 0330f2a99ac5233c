"""Detect that another process writes to a cluster with a copy of our store.

    objects of ours ── record and writer that each names ──> does our trail hold the record?
                                                             no: nothing is written there

Two services with copies of one store share an identity (the store's UUID), but each has a lease of
its own and its own idea of what it wrote: each takes the other's writes for drift. Only the trail
tells them apart. It has grown separately in each store, so an object written by one names a record
(by chain, sequence and hash) that the other does not hold. The same check recognises a store that
was restored from an older copy, or a standby that was promoted without the last records. The
service that reads first stops first; of two that wrote side by side, both stop at the second sync
at the latest.

The record is named in an annotation of each object, not in a separate object that every writer
replaces (a ConfigMap or a Lease). A separate object needs rights that no installation has granted,
does not exist in a directory of manifests, and would be wrong after a writer is killed between its
claim and its write, or between its write and its claim. An annotation is written with the object or
not at all, after its record was committed. So no restart, kill, or takeover among replicas of one
database looks like a copy.

A copy that only deletes is not recognised: no object is left to name its records. The other service
writes the deleted objects again, and then the copy sees those. An object without annotations, or
one that an older version wrote, shows nothing either. Directories of manifests are not checked.
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
    """Find our objects that name a record which our trail lacks; they are written again.

    Raises `CopiedStoreError` if there are any, unless the cluster is set to `adopt`. `holder` names
    this process. `live` was read earlier, so every write of ours in it is recorded by now. Files of
    a directory may come from any store of the installation: version control tells their history.
    """
    if cluster.directory:
        return frozenset()
    named = {key: head for key, found in sorted(live.items()) if (head := _record(found))}
    lacking = store.lacking(named.values())
    strange = [key for key, head in named.items() if head in lacking]
    if not strange or cluster.adopt:
        return frozenset(strange)
    kind, name = strange[0]
    found = live[kind, name]
    more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
    _, writer = stamp_of(found.document)
    writer = redact(writer) or "an unknown process"
    hand = f", and last changed by {found.changed_by}" if found.changed_by else ""
    record = f"{named[kind, name].sequence}:{named[kind, name].hash}"
    raise CopiedStoreError(
        f"cluster {cluster.name}: {kind} {name}{more} was written by {writer}{hand}, under record "
        f"{record} of chain {redact(named[kind, name].chain)}, which the store "
        f"{store.database.place} ({store.uuid}) does not hold: that process has a copy of this "
        "store, or this store was restored from an older copy; nothing is written to the cluster"
        f"{f' by {holder}' if holder else ''}; bring the newest copy back and run one process with "
        "it, and let the other one begin with a new store (store.url) instead of a copy; to "
        "continue with this store, stop both and run `zonebridge sync --adopt --cluster "
        f"{cluster.name}` once"
    )


def _record(found: LiveObject) -> Head | None:
    """The record that an object names, if any."""
    if found.manifest is None:
        return None
    record, _ = stamp_of(found.document)
    try:
        head = Head.parse(record)
    except UsageError:
        return None
    return head if head.chain else None

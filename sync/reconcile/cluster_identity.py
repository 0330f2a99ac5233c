"""Check that an entry of the configuration still reaches the same cluster, and no other entry's.

    the UID that the cluster reports, the one in the store  ->  refused, or the UID to continue with

An address, a kubeconfig or a context may lead to another cluster at any time. Two entries that
reach one cluster would each delete the other's objects as leftovers of its own. An entry that
reaches another cluster than before would write policies there that were meant for the first one.
"""

from collections.abc import Mapping

from sync.errors import ClusterError, UsageError
from sync.reconcile.desired import Cluster
from sync.store import Identity, Lease, Recorder, Store
from sync.text import shortened


class ForeignClusterError(ClusterError):
    """An entry of the configuration reaches a cluster that it may not write."""


def meet(cluster: Cluster, store: Store, run: Recorder, lease: Lease) -> None:
    """Record the cluster of an entry when it is first reached, or accepted as another one."""
    known = store.identities().get(cluster.name)
    if known is None or known.accepted:
        uid = cluster.reader.identity()
        if uid and _is_new(known, uid):
            run.identify(lease, uid)


def identified(cluster: Cluster, store: Store, run: Recorder, lease: Lease) -> str:
    """Return the UID of the cluster to be written; "" for one that has none (a directory).

    An accepted change of cluster is recorded. Raises `ForeignClusterError` if it is another cluster
    than before or also another entry's, `ClusterError` if the UID is unknown.
    """
    uid = cluster.reader.identity()
    if not uid:
        return ""
    if _is_new(store.identities().get(cluster.name), uid):
        run.identify(lease, uid)
    # Checked after our own is committed: of two entries that reach one cluster, one sees the other.
    _require_own(cluster, uid, store.identities())
    return uid


def require_same(cluster: Cluster, uid: str) -> None:
    """Raise `ForeignClusterError` if the cluster no longer has this UID."""
    if (found := cluster.reader.identity()) != uid:
        raise ForeignClusterError(
            f"cluster {cluster.name} was {_named(uid)} and is {_named(found)} now: another server "
            "has taken its place meanwhile; nothing more was written"
        )


def foreseen(cluster: Cluster, store: Store, met: Mapping[str, str]) -> bool:
    """Whether a sync would treat the cluster as new, without any object of ours.

    `met` has the result of `first_met` for each cluster. Nothing is recorded; raises as
    `identified` does.
    """
    uid = cluster.reader.identity()
    if not uid:
        return False
    stored = store.identities()
    known = stored.get(cluster.name)
    new = _is_new(known, uid, accept=cluster.accept)
    identities = stored | {name: Identity(found) for name, found in met.items() if found}
    if new:
        identities[cluster.name] = Identity(uid)
    _require_own(cluster, uid, identities)
    return new and known is not None


def first_met(cluster: Cluster, store: Store) -> str:
    """The UID that a sync would record for a cluster; "" for none, or if it is unknown."""
    known = store.identities().get(cluster.name)
    if known and not (known.accepted or cluster.accept):
        return ""
    try:
        uid = cluster.reader.identity()
    except ClusterError:
        # The plan reports it.
        return ""
    return uid if _is_new(known, uid, accept=cluster.accept) else ""


def nothing_to_accept(cluster: Cluster, store: Store, uid: str = "") -> str:
    """Say in a sentence that an entry reaches the cluster that it did; "" if it does not.

    Raises `UsageError` for a directory.
    """
    uid = uid or cluster.reader.identity()
    if not uid:
        raise UsageError(
            f"cluster {cluster.name} is a directory, which has no identity; omit "
            "--accept-new-cluster"
        )
    known = store.identities().get(cluster.name)
    if known is None or known.uid == uid:
        return f"Cluster {cluster.name} is {_named(uid)}, as before: there is nothing to accept."
    return ""


def accept(cluster: Cluster, store: Store, run: Recorder, uid: str = "") -> str:
    """Record that an operator accepts the cluster with this UID for an entry; return a sentence.

    By default it is the cluster that the entry reaches now. Raises `ClusterError` if that cluster
    is another entry's, `UsageError` for a directory.
    """
    uid = uid or cluster.reader.identity()
    if said := nothing_to_accept(cluster, store, uid):
        return said
    identities = store.identities()
    known = identities[cluster.name]
    _require_own(cluster, uid, {**identities, cluster.name: Identity(uid)})
    if known.accepted != uid:
        run.accept(cluster.name, uid)
    return (
        f"Cluster {cluster.name} is {_named(uid)} from now on, and was {_named(known.uid)}. What "
        "was written there stays as it is: if that cluster still runs, give it an entry of its own "
        "with `device_groups: []` to have it removed."
    )


def _is_new(known: Identity | None, uid: str, *, accept: bool = False) -> bool:
    """Whether an entry is this cluster from now on, and was not before."""
    return known is None or (known.uid != uid and (accept or known.accepted == uid))


def _require_own(cluster: Cluster, uid: str, identities: Mapping[str, Identity]) -> None:
    """Refuse a cluster that is not the recorded one of an entry, or that another entry has."""
    name = cluster.name
    same = [other for other in cluster.others if other in identities]
    same = [other for other in same if identities[other].uid == uid]
    known = identities[name].uid
    if same:
        entries = shortened([name, *same], " and ")
        remedy = "correct kubeconfig or context of one of them, or remove it from the configuration"
        if known == uid:
            remedy += (
                "; one that is corrected needs `zonebridge sync --cluster NAME "
                "--accept-new-cluster NAME`"
            )
        raise ForeignClusterError(
            f"cluster {name} is the cluster of another entry too: {entries} reach {_named(uid)}, "
            f"and would delete each other's objects; nothing is written; {remedy}"
        )
    if known != uid:
        raise ForeignClusterError(
            f"cluster {name} was {_named(known)} and is {_named(uid)} now; nothing is written to "
            "it: correct kubeconfig or context if they name the wrong cluster; if it was rebuilt, "
            f"or is meant to be another one, run `zonebridge sync --cluster {name} "
            f"--accept-new-cluster {name}`"
        )


def _named(uid: str) -> str:
    return f"the cluster whose kube-system has the UID {uid}" if uid else "one that reports no UID"

"""The desired state of a cluster: from the sources and what it holds to its objects.

    device groups, as the sources have them  ->  targets  ->  translated  ->  rolled out, and valid

Nothing here compares, and nothing writes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sync.calico import limits
from sync.calico.manifest import Manifest
from sync.calico.objects import Pairs
from sync.calico.ownership import Owner
from sync.calico.validator import validate
from sync.clusters.cluster import (
    ClusterFacts,
    ClusterReader,
    ClusterWatcher,
    ClusterWriter,
    EventRecorder,
    FileIndex,
    Key,
    LiveObject,
    Remaining,
)
from sync.errors import ClusterError, ZonebridgeError
from sync.firewall.configuration import Snapshot
from sync.net.addresses import AddressSet
from sync.plan.guards.live_tier import DENY, closed_tiers
from sync.plan.rollout import Rollout, roll_out
from sync.reconcile.device_groups import Read, TierBinding, target_of, whole
from sync.store import Adoption
from sync.translate.compiler import Options, translate
from sync.translate.fidelity import Report
from sync.translate.network_sets import Target


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster: its device groups, and how it is reached.

    `writer` makes a writer for as long as a lease lasts, and until it has to stop; None for a
    dry run. Only the service has a use for `watcher`; None where the cluster is not reached at all.
    `pod_cidrs` hold every pod; None: the cluster is asked. For a `directory`, states between two
    writes do not count, and nothing is known of a cluster that applies it. `others` are the other
    entries of the configuration, none of which may be the same cluster. With `accept` it may be
    another cluster than before: an operator accepts it, if its plan is agreed. `events`
    writes Kubernetes Events there; None: there are none. `owner` is whose the files of a directory
    are; None: the options tell. `index` keeps the list of these files; None: there is none.
    `of_all` are the device groups of all clusters; empty: unknown.
    """

    name: str
    device_groups: tuple[TierBinding, ...]
    reader: ClusterReader
    writer: Callable[[Remaining, Callable[[], bool]], ClusterWriter] | None
    watcher: ClusterWatcher | None
    repair_drift: bool
    pod_cidrs: AddressSet | None = None
    refuse_windows: bool = True
    directory: bool = False
    adopt: bool = False
    others: tuple[str, ...] = ()
    accept: bool = False
    events: EventRecorder | None = None
    owner: Owner | None = None
    index: FileIndex | None = None
    of_all: tuple[TierBinding, ...] = ()


class InvalidObjectError(ZonebridgeError):
    """An object would be refused or misread by some Calico; nothing of its plan is written."""


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired state of a cluster, and its inputs.

    `standing` are our objects that the cluster holds; `options` are those of this cluster, with its
    pod CIDRs. `closed` are sentences about tiers that keep their end Deny, by tier.
    """

    snapshots: Mapping[str, Snapshot]
    facts: ClusterFacts
    targets: Sequence[Target]
    standing: Mapping[Key, Manifest]
    options: Options
    rollout: Rollout
    report: Report
    closed: Mapping[str, str] = field(default_factory=dict)


def read_live(cluster: Cluster, written: Collection[Key], owner: Pairs) -> Mapping[Key, LiveObject]:
    """Read what a cluster holds; raises `ClusterError`.

    An object that the trail has as `written` stays ours if someone removed some labels of `owner`:
    taken for foreign, it would stay permanently and block the whole plan.
    """
    owner = cluster.owner.required if cluster.owner else owner
    found = cluster.reader.read()
    return {key: each.recognised(owner) if key in written else each for key, each in found.items()}


def desired(
    cluster: Cluster,
    read: Read,
    live: Mapping[Key, LiveObject],
    written: Mapping[Key, Manifest],
    options: Options,
    asked: Collection[Adoption] = (),
    *,
    validated: bool = True,
) -> Desired:
    """Translate the sources for a cluster; raises the error of a source that failed.

    `asked` names foreign objects that are taken over, as for `differences`. What may be written is
    `validated`; what is only reported need not be.
    """
    snapshots = {here.source: whole(read[here.source]) for here in cluster.device_groups}
    facts = _facts(cluster, options.zones.label)
    targets = [target_of(here, snapshots[here.source]) for here in cluster.device_groups]
    pods = cluster.pod_cidrs if cluster.pod_cidrs is not None else facts.pod_networks
    standing = _standing(live, written)
    options = replace(_options_of(cluster, options), pod_cidrs=pods)
    rollout, report = rolled_out(
        cluster.name, targets, options, {} if cluster.directory else standing
    )
    closed = _closed(cluster, rollout, live, facts, asked)
    rollout = replace(rollout, manifests=_ended_with_deny(rollout.manifests, closed))
    if validated:
        _require_valid(rollout.manifests)
        if cluster.directory:
            _require_applicable(rollout.manifests)
    return Desired(snapshots, facts, targets, standing, options, rollout, report, closed)


def rolled_out(
    cluster: str, targets: Sequence[Target], options: Options, standing: Mapping[Key, Manifest]
) -> tuple[Rollout, Report]:
    """Translate for a cluster that holds `standing`; raises as `translate` and `roll_out`."""
    translated = translate(cluster, targets, options)
    rollout = roll_out(translated.objects, translated.chains, standing)
    return rollout, translated.report(rollout.policies)


def _options_of(cluster: Cluster, options: Options) -> Options:
    """The options of a cluster: a directory's files have an owner and sizes of their own."""
    if cluster.owner:
        options = replace(options, owner=cluster.owner.labels)
    return replace(options, sizes=limits.APPLIED) if cluster.directory else options


def _closed(
    cluster: Cluster,
    rollout: Rollout,
    live: Mapping[Key, LiveObject],
    facts: ClusterFacts,
    asked: Collection[Adoption],
) -> dict[str, str]:
    """Find the tiers that keep their end Deny, since policies of others stay in them."""
    taken = {
        key
        for key in rollout.manifests.keys() & live.keys()
        if (theirs := live[key].stands) and (cluster.adopt or (*key, theirs.digest) in asked)
    }
    others = {key: each for key, each in live.items() if key not in taken}
    unknown = "" if cluster.directory else facts.foreign_policies_because
    return closed_tiers(rollout.manifests.values(), live, others, facts.foreign_policies, unknown)


def _ended_with_deny(
    manifests: Mapping[Key, Manifest], tiers: Collection[str]
) -> dict[Key, Manifest]:
    """The same objects, in which these tiers end with Deny."""
    found = dict(manifests)
    for name in tiers:
        document = found["Tier", name].document()
        document["spec"]["defaultAction"] = DENY
        found["Tier", name] = Manifest.of(document)
    return found


def _standing(
    live: Mapping[Key, LiveObject], written: Mapping[Key, Manifest]
) -> dict[Key, Manifest]:
    """Find our objects in a cluster: those in the trail, and others with our labels.

    An object whose labels someone else removed is theirs: it must not be restored as it was.
    """
    strays = {
        key: found.manifest
        for key, found in live.items()
        if key not in written and found.manifest and not validate(found.manifest)
    }
    kept = {key: each for key, each in written.items() if key not in live or live[key].manifest}
    return {**strays, **kept}


def _facts(cluster: Cluster, zone_label: str) -> ClusterFacts:
    """Read the other facts of a cluster; `ClusterError` if they forbid writing to it."""
    facts = cluster.reader.facts(zone_label)
    if cluster.refuse_windows and facts.windows_nodes:
        raise ClusterError(
            f"cluster {cluster.name} has Windows nodes ({facts.windows_nodes[0]}), which skip "
            "rules with negations, ICMP types or IPv6; set clusters[].windows: ignore if no zoned "
            "pod runs there"
        )
    return facts


def _require_valid(manifests: Mapping[Key, Manifest]) -> None:
    """Validate every object before it enters a plan; raises `InvalidObjectError`."""
    for manifest in manifests.values():
        for violation in validate(manifest):
            raise InvalidObjectError(
                f"{manifest.kind} {manifest.name} would be rejected or misread by Calico: "
                f"{violation}; nothing was written: correct what exceeds Calico's limits in "
                "Panorama, or report this"
            )


def _require_applicable(manifests: Mapping[Key, Manifest]) -> None:
    """Require that `kubectl apply` takes each object; raises `InvalidObjectError`.

    Sets and chains were cut to fit; what is too large even so cannot be cut.
    """
    for manifest in manifests.values():
        if (size := len(manifest.body)) > limits.APPLIED_BYTES:
            raise InvalidObjectError(
                f"{manifest.kind} {manifest.name} has {size:,} bytes, and `kubectl apply` takes no "
                f"object that is much larger than {limits.APPLIED_BYTES:,}; nothing was written: "
                "take tags off the address group, or shorten the names there in Panorama, or write "
                "to the cluster itself (clusters[].kind: kubernetes)"
            )

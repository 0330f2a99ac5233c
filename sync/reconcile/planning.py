"""Make the plan for one cluster: its changes, their proof, and the guards that block it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sync.calico.manifest import Manifest
from sync.calico.objects import POLICIES
from sync.clusters.cluster import ClusterFacts, Key, LiveObject
from sync.clusters.compatibility import warnings
from sync.firewall.configuration import Snapshot
from sync.plan.changes import Cause, Change
from sync.plan.differences import Differences, differences
from sync.plan.guards import Blocker
from sync.plan.guards.empty_source import Place, empty_rulebases, empty_sources
from sync.plan.guards.foreign import foreign_policies
from sync.plan.guards.live_tier import left_tiers, live_tiers
from sync.plan.guards.taken_over import taken_over
from sync.plan.plan import Plan, make_plan
from sync.plan.precedence import Precedence
from sync.plan.rollout import Rollout
from sync.reconcile.cut_off import cut_off
from sync.reconcile.desired import Cluster, Desired, desired
from sync.reconcile.device_groups import Read
from sync.reconcile.foreign_selections import Watched, foreign_sets
from sync.reconcile.likely_mistakes import FromTemplates, Used, replaced_networks, unknown_names
from sync.reconcile.missing_essentials import missing_essentials
from sync.reconcile.omissions import in_no_zone, inexact_rules, left_out, not_seen
from sync.reconcile.rulebases import rules_of
from sync.reconcile.source_status import not_pushed, origins_of
from sync.reconcile.tier_order import precedence
from sync.reconcile.verification import blockers as unproven
from sync.reconcile.verification import proof_of
from sync.store import Adoption, Store
from sync.tracing import step
from sync.translate.compiler import Options
from sync.translate.fidelity import Report
from sync.verify.proof import Proof


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, its desired state, the proof of that where one was needed, and the foreign sets that
    it saw. `inputs` are what the desired state was made from."""

    plan: Plan
    rollout: Rollout
    report: Report
    proof: Proof | None
    watched: Watched = field(default_factory=Watched)
    inputs: Desired | None = None


def plan_for(
    cluster: Cluster,
    read: Read,
    live: Mapping[Key, LiveObject],
    written: Mapping[Key, Manifest],
    options: Options,
    *,
    rewritten: Collection[Key] = (),
    prove: bool = False,
    asked: Collection[Adoption] = (),
    known: frozenset[str] | None = None,
    filled: Collection[Place] = (),
    let_go: Collection[str] = (),
) -> Planned:
    """Plan one cluster from what was read: its changes and blockers.

    `prove` proves the whole desired state, even if nothing changes. `known` is what was left out
    before, as `omissions.recalled` has it, `filled` the rulebases that had rules, as
    `rulebases.filled_before` has them, `let_go` what may be empty, as `rulebases.let_go` has it.
    Raises as `desired`; writes nothing.
    """
    # over 50 lines: it names every input of a plan once.
    with step("translate", cluster=cluster.name) as here:
        wanted = desired(cluster, read, live, written, options, asked)
        for name, snapshot in sorted(wanted.snapshots.items()):
            here.set(f"source.{name}", snapshot.provenance.version)
    rollout = wanted.rollout
    found = differences(
        rollout.manifests, written, live, adopt=cluster.adopt, rewritten=rewritten, asked=asked
    )
    # An object that is being taken over is no longer foreign.
    ours = rollout.manifests.keys() - {(each.kind, each.name) for each in found.held}
    selected, watched = foreign_sets((wanted.standing, rollout.manifests), live, ours, wanted.facts)
    # A directory reports nothing of a cluster, and never will.
    facts = ClusterFacts() if cluster.directory else wanted.facts
    standing = (key for key, each in live.items() if each.manifest)
    index_warnings = cluster.index.warnings(standing) if cluster.index else ()
    zoned = {(zone.source, zone.target) for zone in wanted.report.zones}
    binding = [here for here in cluster.device_groups if (here.source, here.name) in zoned]
    essential_warnings = missing_essentials(cluster.name, binding, options.zones)
    proof = _proof(cluster.name, wanted, found.changes, prove=prove)
    plan = make_plan(
        cluster.name,
        origins_of(wanted.snapshots),
        found,
        [
            *left_out(wanted.report, wanted.targets, wanted.snapshots),
            *rollout.left_out,
            *in_no_zone(wanted.report, options.zones, wanted.facts.zone_labels),
            *not_seen(facts),
        ],
        repair_drift=cluster.repair_drift,
        live=live,
        blockers=[
            *_foreign_policies(cluster, wanted, found, live, ours, selected),
            *_emptied(wanted, written, filled, let_go),
            *cut_off(found.changes, rollout.manifests, wanted.standing.values(), cluster.reader),
            *(unproven(proof, wanted.report) if proof else ()),
        ],
        not_pushed=[
            each
            for here in cluster.device_groups
            for each in not_pushed(wanted.snapshots[here.source], [here.name])
        ],
        precedence=_precedence(cluster, found.changes, live, wanted),
        warnings=[
            *wanted.closed.values(),
            *warnings(cluster.name, wanted.facts),
            *index_warnings,
            *essential_warnings,
            *_likely_mistakes(cluster, wanted, read, options),
        ],
        closed=wanted.closed,
        directory=cluster.directory,
        rules=inexact_rules(wanted.report),
        known=known,
        modes=[(here.tier, here.mode) for here in cluster.device_groups],
    )
    return Planned(plan, rollout, wanted.report, proof, watched, wanted)


def _proof(
    cluster: str, wanted: Desired, changes: Sequence[Change], *, prove: bool
) -> Proof | None:
    """Prove the desired state; None if nothing new is written.

    Repaired drift was proven when it was first written, and so was the generation that an overtaken
    move returns to.
    """
    changed = any(each.cause is not Cause.DRIFT for each in changes)
    if not (prove or changed) or wanted.rollout.returning:
        return None
    with step("prove", cluster=cluster):
        return proof_of(
            wanted.targets, wanted.rollout.manifests, wanted.report, wanted.options, samples=prove
        )


def _likely_mistakes(cluster: Cluster, wanted: Desired, read: Read, options: Options) -> list[str]:
    given = [FromTemplates(each.device_group.name, each.derived) for each in wanted.targets]
    known = {name: each.configuration for name, each in read.items() if isinstance(each, Snapshot)}
    return [
        *replaced_networks(options.zones, given),
        *unknown_names(options.rules, Used.by(cluster.of_all, known)),
    ]


def _foreign_policies(
    cluster: Cluster,
    wanted: Desired,
    found: Differences,
    live: Mapping[Key, LiveObject],
    ours: Collection[Key],
    selected: Sequence[Blocker],
) -> list[Blocker]:
    """The blockers of policies of others in our tiers, around those of what ours select."""
    others = {key: each for key, each in live.items() if not (each.foreign_because and key in ours)}
    held = {(each.kind, each.name) for each in found.held}
    # Nothing of ours is written into a foreign tier.
    tiers = [here.tier for here in cluster.device_groups if ("Tier", here.tier) not in held]
    written = [
        each for each in found.changes if cluster.repair_drift or each.cause is not Cause.DRIFT
    ]
    namespaced = wanted.facts.foreign_policies
    configured = frozenset(here.tier for here in cluster.device_groups)
    left = left_tiers(written, configured)
    return [
        *foreign_policies(others, tiers, namespaced),
        *selected,
        *live_tiers(written, others, namespaced, left),
        # A tier that is not taken over yet is to be ours.
        *taken_over(written, live, configured | left),
    ]


def _emptied(
    wanted: Desired,
    written: Mapping[Key, Manifest],
    filled: Collection[Place],
    let_go: Collection[str],
) -> list[Blocker]:
    """The blockers for what the firewall has no more, except what an approval has `let_go`."""
    lineages = {target.tier: target.device_group.lineage for target in wanted.targets}
    manifests = wanted.rollout.manifests
    stood = _lost_if_gone(wanted.standing, written)
    now = rules_of(wanted.report)
    found = empty_sources(stood, manifests, lineages, now)
    # A plan that reverts an overtaken move keeps every rule.
    if not wanted.rollout.returning:
        found += empty_rulebases(stood, manifests, now, lineages, filled)
    return [each for each in found if each.covers not in let_go]


def _lost_if_gone(
    standing: Mapping[Key, Manifest], written: Mapping[Key, Manifest]
) -> Mapping[Key, Manifest]:
    """Of our objects in a cluster, those that the firewall's rules have to be compared with.

    What somebody copied, or restored from a backup, says nothing of the firewall: the trail does.
    A trail without policies is a new one, or of another cluster: then the cluster is all there is.
    """
    if not any(kind in POLICIES for kind, _ in written):
        return standing
    return {key: each for key, each in standing.items() if key in written}


def _precedence(
    cluster: Cluster,
    changes: Sequence[Change],
    live: Mapping[Key, LiveObject],
    wanted: Desired,
) -> list[Precedence]:
    """Find which chains are written before which; empty where intermediate states do not count."""
    if cluster.directory or not any(change.kind in POLICIES for change in changes):
        return []
    return precedence(changes, live, wanted.rollout.manifests, wanted.options)


def if_approved(plan: Plan, store: Store) -> Plan:
    """Let a plan through if an operator has approved it."""
    approved = plan.approvable and store.approved(plan.cluster, plan.digest)
    return plan.approved() if approved else plan

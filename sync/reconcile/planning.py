"""The plan for one cluster: what changes, its proof, and what holds it back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sync.calico.manifest import Manifest
from sync.calico.objects import POLICIES
from sync.clusters.cluster import ClusterFacts, Key, LiveObject
from sync.clusters.compatibility import warnings
from sync.plan.changes import Cause, Change
from sync.plan.differences import differences
from sync.plan.guards.empty_source import empty_sources
from sync.plan.guards.foreign import foreign_policies
from sync.plan.guards.live_tier import live_tiers
from sync.plan.plan import Plan, make_plan
from sync.plan.precedence import Precedence
from sync.plan.rollout import Rollout
from sync.reconcile.cut_off import cut_off
from sync.reconcile.desired import Cluster, Desired, desired
from sync.reconcile.device_groups import Read
from sync.reconcile.foreign_selections import Watched, foreign_sets
from sync.reconcile.omissions import in_no_zone, left_out, not_seen
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
    """A plan, what it is made from, the proof of that where one was needed, and what it saw of
    others' sets."""

    plan: Plan
    rollout: Rollout
    report: Report
    proof: Proof | None
    watched: Watched = field(default_factory=Watched)


def plan_for(
    cluster: Cluster,
    read: Read,
    live: Mapping[Key, LiveObject],
    written: Mapping[Key, Manifest],
    options: Options,
    *,
    anew: Collection[Key] = (),
    prove: bool = False,
    asked: Collection[Adoption] = (),
) -> Planned:
    """Plan one cluster from what was read: what changes, and what holds it back.

    `prove` proves all that is desired, whether or not any of it changes. Raises what `desired`
    does; nothing is written.
    """
    with step("translate", cluster=cluster.name) as here:
        shall = desired(cluster, read, live, written, options)
        for name, snapshot in sorted(shall.snapshots.items()):
            here.set(f"source.{name}", snapshot.provenance.version)
    rollout = shall.rollout
    tiers = [here.tier for here in cluster.device_groups]
    found = differences(
        rollout.manifests, written, live, adopt=cluster.adopt, anew=anew, asked=asked
    )
    held = {(each.kind, each.name) for each in found.held}
    # What is about to be taken over is nobody else's any more.
    ours = rollout.manifests.keys() - held
    others = {key: each for key, each in live.items() if not (each.foreign_because and key in ours)}
    # Nothing of ours is written into a tier that is somebody else's.
    tiers = [each for each in tiers if ("Tier", each) not in held]
    beside, watched = foreign_sets(
        (shall.standing, rollout.manifests),
        live,
        ours,
        shall.facts,
    )
    # A directory tells of no cluster, and never will.
    facts = ClusterFacts() if cluster.directory else shall.facts
    # What drifted was proven when it was written, and so was what an overtaken move goes back to.
    proof = None
    changed = any(each.cause is not Cause.DRIFT for each in found.changes)
    if (prove or changed) and not rollout.returning:
        with step("prove", cluster=cluster.name):
            proof = proof_of(
                shall.targets, rollout.manifests, shall.report, shall.options, samples=prove
            )
    plan = make_plan(
        cluster.name,
        origins_of(shall.snapshots),
        found,
        [
            *left_out(shall.report, shall.targets, shall.snapshots),
            *rollout.left_out,
            *in_no_zone(shall.report, options.zones, shall.facts.zone_labels),
            *not_seen(facts),
        ],
        repair_drift=cluster.repair_drift,
        live=live,
        blockers=[
            *foreign_policies(others, tiers, shall.facts.foreign_policies),
            *beside,
            *live_tiers(
                (
                    each
                    for each in found.changes
                    if cluster.repair_drift or each.cause is not Cause.DRIFT
                ),
                others,
                shall.facts.foreign_policies,
                facts.foreign_policies_because,
            ),
            *empty_sources(
                shall.standing,
                rollout.manifests,
                {target.tier: target.device_group.lineage for target in shall.targets},
            ),
            *cut_off(found.changes, rollout.manifests, shall.standing.values(), cluster.reader),
            *(unproven(proof, shall.report) if proof else ()),
        ],
        not_pushed=[
            each
            for here in cluster.device_groups
            for each in not_pushed(shall.snapshots[here.source], [here.name])
        ],
        precedence=_precedence(cluster, found.changes, live, shall),
        warnings=[*warnings(cluster.name, shall.facts)],
    )
    return Planned(plan, rollout, shall.report, proof, watched)


def _precedence(
    cluster: Cluster,
    changes: Sequence[Change],
    live: Mapping[Key, LiveObject],
    shall: Desired,
) -> list[Precedence]:
    """Which chains go before which; nothing where no state between can be seen."""
    if cluster.directory or not any(change.kind in POLICIES for change in changes):
        return []
    standing = {key: found.manifest for key, found in live.items() if found.manifest}
    return precedence(standing, shall.rollout.manifests, shall.options)


def if_approved(plan: Plan, store: Store) -> Plan:
    """The plan, let through if somebody has approved it."""
    approved = plan.approvable and store.approved(plan.cluster, plan.digest)
    return plan.approved() if approved else plan

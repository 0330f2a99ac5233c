"""Find the flows that a plan allows or denies from then on.

what a cluster holds, and the same with the plan's changes  ->  both as Calico reads them
                                                            ->  sync.verify.flow_changes
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sync.calico.names import label_value
from sync.calico.objects import POLICIES
from sync.clusters.cluster import Key, LiveObject
from sync.plan.plan import Plan
from sync.queries.observed import Document, Unseen, judged, namespaced
from sync.reconcile.desired import Cluster, Desired
from sync.reconcile.verification import judged_groups
from sync.text import counted
from sync.verify.calico_documents import STAGED
from sync.verify.flow_changes import ChangedFlows, FlowChanges, changed_flows
from sync.verify.pod_kinds import Zoning
from sync.verify.profiles import Profiles, zones_named

_Live = Mapping[Key, LiveObject]


def flows_of(cluster: Cluster, plan: Plan, live: _Live, wanted: Desired) -> ChangedFlows:
    """Compare what a cluster holds with what it holds once the plan is written."""
    return flows_between(cluster, live, _written(plan, live), wanted, _notes(plan))


def flows_between(
    cluster: Cluster, live: _Live, then: _Live, wanted: Desired, notes: Sequence[str] = ()
) -> ChangedFlows:
    """Compare two states of a cluster, the second one with the inputs of `wanted`.

    Our tiers are judged, with every policy in them; what cannot be is named as unknown.
    """
    policies = [each for each in wanted.standing.values() if each.kind in POLICIES]
    standing = {each.contents.position.tier for each in policies}
    tiers = sorted({target.tier for target in wanted.targets} | standing)
    unseen: list[Unseen] = [*namespaced(tiers, wanted.facts, directory=cluster.directory)]
    before, after = ([*judged(state, tiers, unseen)] for state in (live, then))
    every = {zone for group in judged_groups(wanted.targets) for zone in zones_named(group)}
    zones = Profiles(every | wanted.options.zones.definitions.keys(), wanted.options.zones)
    by_label = frozenset(label_value(each) for each in zones.every if zones.by_label(each))
    zoning = Zoning(wanted.options.zones.label, by_label, zones.zone_of)

    def changed(one: list[Document], other: list[Document], *, staged: bool) -> FlowChanges:
        found = changed_flows(one, other, zoning, wanted.options.pod_cidrs)
        unknown = dict.fromkeys(each.sentence for each in unseen if staged or not each.staged)
        return replace(found, unknown=(*unknown, *found.unknown))

    enforced = changed(_enforced(before), _enforced(after), staged=False)
    one, other = _as_enforced(before, live), _as_enforced(after, then)
    staged = None
    if (one, other) != (_enforced(before), _enforced(after)):
        staged = changed(one, other, staged=True)
    return ChangedFlows(enforced, staged, tuple(notes))


def _written(plan: Plan, live: _Live) -> dict[Key, LiveObject]:
    """What a cluster holds once a plan is written."""
    found = dict(live)
    for change in plan.changes:
        key = (change.kind, change.name)
        if change.after:
            found[key] = LiveObject(change.after, change.after.document())
        else:
            found.pop(key, None)
    return found


def _enforced(documents: list[Document]) -> list[Document]:
    return [each for each in documents if each["kind"] != STAGED]


def _as_enforced(documents: list[Document], state: _Live) -> list[Document]:
    """The policies that decide once ours that are staged are enforced.

    A staged policy takes the place of the enforced one of its name.
    """

    def ours(each: Document) -> bool:
        found = state.get((STAGED, each["metadata"]["name"]))
        return each["kind"] == STAGED and found is not None and found.manifest is not None

    staged = {each["metadata"]["name"] for each in documents if ours(each)}
    return [
        each
        for each in documents
        if ours(each)
        or (
            each["kind"] != STAGED
            and (each["kind"] not in POLICIES or each["metadata"]["name"] not in staged)
        )
    ]


def _notes(plan: Plan) -> list[str]:
    """What the plan does not write, though it differs from the desired state."""
    notes = []
    if plan.blockers:
        notes.append("the plan is blocked: these flows change only once it is written")
    left = (*plan.drift, *plan.held)
    if left:
        notes.append(
            f"{counted(len(left), 'object')} not as desired and left: what would change with "
            f"{'it' if len(left) == 1 else 'them'} is not among these flows"
        )
    return notes

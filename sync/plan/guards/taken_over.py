"""Guard: taking over enforced policies, or changing sets that they select, would open flows.

A policy of others is replaced in one write. Where its tier ends with Deny, the end denies what the
new policies do not say yet. But the pods that it selected must be those of the chain that replaces
it: pods in no policy of a tier skip the tier. Sets lose addresses before policies change and gain
them after, which is safe only for policies of ours.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sync.calico.manifest import Manifest
from sync.calico.names import ORCHESTRATOR_LABEL
from sync.calico.objects import POLICIES
from sync.calico.references import denied_by, mapping
from sync.calico.tigera import is_tigeras
from sync.plan.changes import Change
from sync.plan.growth import addresses
from sync.plan.guards import Blocker, ObservedObject, listed
from sync.plan.guards.foreign import covering
from sync.plan.guards.live_tier import DENY, default_action

Key = tuple[str, str]
Live = Mapping[Key, ObservedObject]

_ENFORCED = "GlobalNetworkPolicy"


def taken_over(changes: Sequence[Change], live: Live, tiers: Collection[str]) -> list[Blocker]:
    """Make a blocker if what is taken over, or selected, opens flows that others deny in `tiers`.

    `live` is the whole cluster before the changes.
    """
    theirs = [
        each
        for each in changes
        if each.before
        and each.after
        and (held := live.get((each.kind, each.name)))
        and held.foreign_because
    ]
    replaced = [each for each in theirs if each.kind == _ENFORCED]
    sets = [each for each in changes if each.kind == "GlobalNetworkSet" and each.before]
    lost = _sets(sets, replaced, live, tiers)
    # An approval covers a policy as it is: one that stays is in no change.
    specs = {**dict.fromkeys(_policies(replaced, changes, live), ""), **dict(lost)}
    if not specs:
        return []
    found = [*specs]
    what = "taking over objects of others" if theirs else "what changes beside policies of others"
    return [
        Blocker(
            "taken-over",
            f"{what} may let flows pass that they deny: {listed(found)}; "
            "name a tier of its own in device_groups[].tier and remove theirs once ours are "
            "enforced, or change theirs first",
            approvable=True,
            covers=covering(specs),
        )
    ]


def _policies(replaced: Iterable[Change], changes: Sequence[Change], live: Live) -> Iterator[str]:
    """Say which policies cannot be replaced in one write."""
    for change in replaced:
        old, new = change.sides
        if mapping(old.document(), "spec") == mapping(new.document(), "spec"):
            continue
        if not _same_pods(old, new):
            yield (
                f"{change.kind} {change.name} selects other pods ({old.contents.selector}) than "
                "what replaces it"
            )
        elif _passes(change.place.tier, live) and _several(change, changes, live):
            yield (
                f"{change.kind} {change.name} is replaced by several policies, in a tier that "
                "ends with Pass"
            )


def _same_pods(old: Manifest, new: Manifest) -> bool:
    theirs, ours = old.contents.selector, new.contents.selector
    return ours in (theirs, f"{ORCHESTRATOR_LABEL} == 'k8s' && ({theirs})")


def _passes(tier: str, live: Live) -> bool:
    held = live.get(("Tier", tier))
    return held is not None and default_action(held.document) != DENY


def _several(change: Change, changes: Sequence[Change], live: Live) -> bool:
    """Whether other policies of a policy's chain are written too, or stand there already."""
    assert change.after
    of = (change.kind, change.place.tier, change.place.chain)
    others = [each.after for each in changes if each.after and each.name != change.name]
    standing = [
        Manifest.of(each.document)
        for key, each in live.items()
        if key[0] in POLICIES and key[1] != change.name and not each.foreign_because
    ]
    return any(
        (each.kind, each.contents.position.tier, each.contents.position.chain) == of
        for each in (*others, *standing)
    )


def _sets(
    sets: Iterable[Change], replaced: Sequence[Change], live: Live, tiers: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Say which sets lose addresses that policies of others deny, or gain some that they allow.

    Each comes with the spec of the policy. Only policies in a tier of ours count, and those of
    Tigera's integration elsewhere: all others select a set for what the firewall says. Sets that
    are ours already, as after a sync that was killed, lose before policies change, too.
    """
    going = {each.name for each in replaced}
    policies = [
        Manifest.of(each.document)
        for (kind, _), each in sorted(live.items())
        if kind == _ENFORCED and each.foreign_because
    ]
    for change in sets:
        held = live.get((change.kind, change.name))
        taken = bool(change.after and held and held.foreign_because)
        old, new = addresses(change.before), addresses(change.after)
        lost, gained = old - new, new - old
        labels = frozenset().union(*(side.contents.labels for side in change.sides))
        for policy in policies:
            inside = policy.contents.position.tier in tiers
            loses = lost and (inside or (taken and is_tigeras(policy.document())))
            if loses and labels & denied_by(policy.document()):
                said = f"{change.kind} {change.name} loses addresses that {policy.name} denies"
                yield said, _spec(policy)
            gains = gained and taken and inside and policy.name not in going
            if gains and labels & policy.contents.allowed:
                said = f"{change.kind} {change.name} gains addresses that {policy.name} allows"
                yield said, _spec(policy)


def _spec(policy: Manifest) -> str:
    return repr(sorted(mapping(policy.document(), "spec").items(), key=str))

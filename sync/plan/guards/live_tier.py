"""Foreign policies in a tier of ours: its default action is kept, its order and removal guarded.

The end of a tier decides flows that match none of its policies. Ours say all that they deny, so a
tier of ours ends with Pass; but what foreign policies leave to a tier that ends with Deny would
pass. The order of a tier decides which other tiers come first. Where ours leave a tier, policies of
others decide what ours denied there, before any other tier does, and select sets of ours that grow.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sync.calico.manifest import Manifest
from sync.calico.references import mapping
from sync.plan.changes import Change
from sync.plan.guards import Blocker, ObservedObject, counted, listed
from sync.plan.guards.foreign import covering, enforced_in

DENY: Final = "Deny"

_ELSEWHERE = "name a tier of its own in device_groups[].tier"
_KEPT = "keep it in device_groups[].tier until they are gone"


def live_tier(
    tier: str,
    change: str,
    policies: Sequence[str],
    covers: str = "",
    *,
    way_out: str = _ELSEWHERE,
) -> Blocker:
    """Block a change to a tier with foreign policies (`kind name`); `change` is a clause."""
    return Blocker(
        "live-tier",
        f"the tier {tier} {change} while {counted(policies, 'foreign policy', 'foreign policies')} "
        f"{'is' if len(policies) == 1 else 'are'} in it ({listed(policies)}): flows "
        f"that the tier stops now may pass; {way_out}, or remove them first",
        approvable=True,
        covers=covers,
    )


def live_tiers(
    changes: Iterable[Change],
    live: Mapping[tuple[str, str], ObservedObject],
    namespaced: Mapping[str, Sequence[str]],
    left: Collection[str] = (),
) -> list[Blocker]:
    """Make a blocker for each tier with foreign policies whose order would change, or that is left.

    `live` and `namespaced` are as for `foreign_policies`; `left` are the `left_tiers`.
    """
    moving = {
        each.name: _moves(each)
        for each in changes
        if each.kind == "Tier" and each.before and each.after
    }
    standing = enforced_in(live, {*moving, *left}, namespaced)
    blockers = []
    for name, said in moving.items():
        if said and (policies := standing[name]):
            covers = covering({**policies, "": said})
            blockers.append(live_tier(name, said, [*policies], covers))
    for name in sorted(left):
        if policies := {each: spec for each, spec in standing[name].items() if _allows(each, live)}:
            said = "would be left to others"
            covers = covering({**policies, "": said})
            blockers.append(live_tier(name, said, [*policies], covers, way_out=_KEPT))
    return blockers


def left_tiers(changes: Iterable[Change], tiers: Collection[str]) -> frozenset[str]:
    """Find the tiers in which something of ours is removed, and that are no longer in `tiers`."""
    gone = {
        each.name if each.kind == "Tier" else each.place.tier
        for each in changes
        if each.after is None and each.kind in ("Tier", "GlobalNetworkPolicy")
    }
    return frozenset(gone - {*tiers})


def _allows(policy: str, live: Mapping[tuple[str, str], ObservedObject]) -> bool:
    """Whether a policy, as `kind name`, may let a flow pass; those that are not known may."""
    kind, _, name = policy.partition(" ")
    held = live.get((kind, name))
    return held is None or Manifest.of(held.document).contents.passes


def closed_tiers(
    desired: Iterable[Manifest],
    live: Mapping[tuple[str, str], ObservedObject],
    others: Mapping[tuple[str, str], ObservedObject],
    namespaced: Mapping[str, Sequence[str]],
    unknown_because: str = "",
) -> dict[str, str]:
    """Find the tiers that keep their end Deny, each with the sentence that says why.

    These are tiers that deny now, and in which one of `others`, the foreign objects that stay, is
    an enforced policy. `namespaced` are the namespaced policies by tier; if `unknown_because` gives
    a reason, not all of them are known, and any tier may hold some.
    """
    denying = [
        each.name
        for each in desired
        if each.kind == "Tier"
        and (held := live.get((each.kind, each.name)))
        and default_action(held.document) == DENY
    ]
    standing = enforced_in(others, denying, namespaced)
    found = {}
    for tier in denying:
        policies = [*standing[tier]]
        if policies:
            many = counted(policies, "enforced policy", "enforced policies")
            why = f"while {many} of others in it ({listed(policies)}) may leave flows to its end"
            until = "these are gone" if len(policies) > 1 else "this is gone"
        elif unknown_because:
            why = f"while it is unknown whether others have policies in it: {unknown_because}"
            until = "it is known that they have none"
        else:
            continue
        found[tier] = (
            f"tier {tier} keeps its default action Deny {why}; it becomes Pass once {until}"
        )
    return found


def default_action(tier: Mapping[str, Any]) -> str:
    """The default action of a tier's document; Calico's own default is Deny."""
    return str(mapping(tier, "spec").get("defaultAction") or DENY)


def _moves(tier: Change) -> str:
    """Say as a clause that the order of a tier changes; "" if it does not."""
    old, new = (mapping(side.document(), "spec") for side in (tier.before, tier.after) if side)
    if old.get("order") == new.get("order"):
        return ""
    return f"would move from order {old.get('order')} to {new.get('order')}"

"""Tiers that would end or be ordered otherwise while policies of others are in them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sync.calico.references import mapping
from sync.plan.changes import Change
from sync.plan.guards import Blocker, ObservedObject, counted, listed
from sync.plan.guards.foreign import covering, enforced_in


def live_tier(tier: str, change: str, policies: Sequence[str], covers: str = "") -> Blocker:
    """A tier in which policies of others stand, as `kind name`; `change` is a clause about it."""
    return Blocker(
        "live-tier",
        f"the tier {tier} {change} while {counted(policies, 'policy', 'policies')} of others "
        f"{'stands' if len(policies) == 1 else 'stand'} in it ({listed(policies)}): flows "
        "that the tier stops now may pass; name a tier of its own in device_groups[].tier, or "
        "remove them first",
        approvable=True,
        covers=covers,
    )


def live_tiers(
    changes: Iterable[Change],
    live: Mapping[tuple[str, str], ObservedObject],
    namespaced: Mapping[str, Sequence[str]],
    unknown_because: str = "",
) -> list[Blocker]:
    """A blocker for each tier that would end or stand otherwise, with policies of others in it.

    What they leave undecided meets the end of their tier: what was denied there would pass. Where
    the tier stands says which other tiers decide before them. `live` and `namespaced` are as for
    `foreign_policies`. Where `unknown_because` says why not all policies are known, some may stand
    in a tier that would no longer deny.
    """
    tiers = [each for each in changes if each.kind == "Tier" and each.before and each.after]
    standing = enforced_in(live, (change.name for change in tiers), namespaced)
    blockers = []
    for change in tiers:
        said, policies = _moves(change), standing[change.name]
        if said and policies:
            covers = covering({**policies, "": said})
            blockers.append(live_tier(change.name, said, [*policies], covers))
        elif unknown_because and _opens(change):
            blockers.append(
                Blocker(
                    "live-tier",
                    f"the tier {change.name} {said}, and whether policies of others stand in it "
                    f"is not known: {unknown_because}",
                    approvable=True,
                    covers=f"{change.name} {unknown_because}",
                )
            )
    return blockers


def _moves(tier: Change) -> str:
    """What a change makes of a tier for those who stand in it, as a clause; "" if nothing."""
    old, new = _specs(tier)
    found = []
    if _opens(tier):
        found.append("end with Pass instead of Deny")
    if old.get("order") != new.get("order"):
        found.append(f"move from order {old.get('order')} to {new.get('order')}")
    return f"would {' and '.join(found)}" if found else ""


def _opens(tier: Change) -> bool:
    """Whether what its policies leave undecided is no longer denied."""
    return [*map(_end, _specs(tier))] == ["Deny", "Pass"]


def _specs(tier: Change) -> list[Mapping[str, Any]]:
    """What a tier is before and after."""
    return [mapping(side.document(), "spec") for side in (tier.before, tier.after) if side]


def _end(tier: Mapping[str, Any]) -> str:
    """What a tier does with what its policies leave undecided; Calico's default is to deny."""
    return str(tier.get("defaultAction") or "Deny")

"""Guard: the end or the order of a tier would change while foreign policies are in it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sync.calico.references import mapping
from sync.plan.changes import Change
from sync.plan.guards import Blocker, ObservedObject, counted, listed
from sync.plan.guards.foreign import covering, enforced_in


def live_tier(tier: str, change: str, policies: Sequence[str], covers: str = "") -> Blocker:
    """Block a change to a tier with foreign policies (`kind name`); `change` is a clause."""
    return Blocker(
        "live-tier",
        f"the tier {tier} {change} while {counted(policies, 'foreign policy', 'foreign policies')} "
        f"{'is' if len(policies) == 1 else 'are'} in it ({listed(policies)}): flows "
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
    """Make a blocker for each tier with foreign policies whose end or order would change.

    The end of a tier decides flows that match none of its policies: denied ones would pass. The
    order of a tier decides which other tiers come first. `live` and `namespaced` are as for
    `foreign_policies`. If `unknown_because` gives a reason, not all policies are known, and a tier
    that would no longer deny may hold some.
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
                    f"the tier {change.name} {said}, and whether foreign policies are in it is "
                    f"unknown: {unknown_because}",
                    approvable=True,
                    covers=f"{change.name} {unknown_because}",
                )
            )
    return blockers


def _moves(tier: Change) -> str:
    """The effect of a change on the policies in a tier, as a clause; "" if there is none."""
    old, new = _specs(tier)
    found = []
    if _opens(tier):
        found.append("end with Pass instead of Deny")
    if old.get("order") != new.get("order"):
        found.append(f"move from order {old.get('order')} to {new.get('order')}")
    return f"would {' and '.join(found)}" if found else ""


def _opens(tier: Change) -> bool:
    """Whether the tier no longer denies flows that match none of its policies."""
    return [*map(_end, _specs(tier))] == ["Deny", "Pass"]


def _specs(tier: Change) -> list[Mapping[str, Any]]:
    """The specs of a tier before and after."""
    return [mapping(side.document(), "spec") for side in (tier.before, tier.after) if side]


def _end(tier: Mapping[str, Any]) -> str:
    """The default action of a tier; Calico's own default is Deny."""
    return str(tier.get("defaultAction") or "Deny")

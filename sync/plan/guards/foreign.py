"""Guards: foreign objects in the place of ours, in our tiers, or selected by our policies."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from sync.calico.references import mapping
from sync.calico.tigera import is_tigeras
from sync.plan.guards import Blocker, ObservedObject, counted, listed

FOREIGN_OBJECT = "foreign-object"

# The names of policies begin with their tier's, those of sets are the address groups'.
_ELSEWHERE = "the configuration names another tier (device_groups[].tier)"
_RENAMED = "the address group is renamed or left out (address_groups.tags)"


def foreign_object(kind: str, name: str, because: str, *, adoptable: bool = True) -> Blocker:
    """Block a desired object with a foreign one in its place; `because` says why it is foreign.

    What another installation claims, or what is not an object at all, is not `adoptable`.
    """
    elsewhere = _RENAMED if kind == "GlobalNetworkSet" else _ELSEWHERE
    way_out = (
        f"until it is removed, taken over with `zonebridge adopt {kind} {name}`, which a running "
        f"service follows, or {elsewhere}"
        if adoptable
        else f"until {elsewhere}, or its owner removes it"
    )
    return Blocker(
        FOREIGN_OBJECT,
        f"{kind} {name} {because}; it is left as it is, and what depends on it is not written "
        f"{way_out}",
        approvable=False,
        subject=f"{kind} {name}",
    )


def foreign_policy(
    tier: str, policies: Sequence[str], covers: str = "", *, tigeras: int = 0
) -> Blocker:
    """Block a plan: foreign policies (`kind name`) in our tier can allow before ours deny.

    Behind ours they decide nothing for the pods of ours, whose chains end every flow.
    `tigeras` of them were written by Tigera's integration.
    """
    named = listed(policies)
    way_out = "move them to a tier of their own"
    if tigeras:
        named += f"; {tigeras} of them by Tigera's Panorama integration"
        way_out = (
            "name a tier of its own in device_groups[].tier until they are removed, as "
            "docs/migration.md describes"
        )
    return Blocker(
        "foreign-policy",
        f"{counted(policies, 'policy', 'policies')} of others in the tier {tier} "
        f"({named}) can decide before ours, or, ordered behind ours, never be reached; {way_out}",
        approvable=True,
        covers=covers,
    )


def foreign_set(sets: Mapping[str, Sequence[str]], covers: str = "") -> Blocker:
    """Block a plan whose policies select foreign sets: `kind name`, with labels as `key: value`."""
    named = [f"{name} ({', '.join(labels)})" for name, labels in sets.items()]
    return Blocker(
        "foreign-set",
        f"{counted(named, 'object of others is', 'objects of others are')} selected by policies "
        f"of ours: {listed(named)}; the addresses there count as those of an address group or of "
        "pods, so allows hold more and negated denies less than the firewall's; take these labels "
        "off, or remove what has them",
        approvable=True,
        covers=covers,
    )


def foreign_policies(
    live: Mapping[tuple[str, str], ObservedObject],
    tiers: Iterable[str],
    namespaced: Mapping[str, Sequence[str]],
) -> list[Blocker]:
    """Make a blocker for each of our `tiers` that holds a foreign policy.

    `namespaced` are the namespaced ones, by tier. Staged policies decide nothing and do not count.
    """
    return [
        foreign_policy(tier, [*policies], covering(policies), tigeras=_tigeras(policies, live))
        for tier, policies in enforced_in(live, tiers, namespaced).items()
        if policies
    ]


def _tigeras(policies: Iterable[str], live: Mapping[tuple[str, str], ObservedObject]) -> int:
    """How many of these policies, as `kind name`, Tigera's integration wrote."""
    found = (live.get((kind, name)) for kind, _, name in (each.partition(" ") for each in policies))
    return sum(each is not None and is_tigeras(each.document) for each in found)


def enforced_in(
    live: Mapping[tuple[str, str], ObservedObject],
    tiers: Iterable[str],
    namespaced: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, str]]:
    """The foreign policies in each tier, as `kind name`, each with its spec as far as known."""
    found = {
        tier: {each: "" for each in namespaced.get(tier, ()) if not each.startswith("Staged")}
        for tier in sorted(set(tiers))
    }
    for (kind, name), held in sorted(live.items()):
        if kind == "GlobalNetworkPolicy" and held.foreign_because:
            spec = mapping(held.document, "spec")
            tier = spec.get("tier")
            if isinstance(tier, str) and tier in found:
                found[tier][f"{kind} {name}"] = repr(sorted(spec.items(), key=str))
    return found


def covering(policies: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(policies.items())).encode()).hexdigest()

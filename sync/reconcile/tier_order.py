"""Find which chains of several tiers are written before which.

observed and desired  ->  flows whose deny moves from one tier to another  ->  precedence
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sync.calico.manifest import Manifest
from sync.calico.names import CHAIN_ANNOTATION
from sync.calico.objects import POLICIES
from sync.calico.references import mapping
from sync.clusters.cluster import LiveObject
from sync.plan.changes import Change
from sync.plan.precedence import Precedence
from sync.plan.selections import ChainKey, chain_key
from sync.reconcile.verification import flow_said
from sync.translate.compiler import Options
from sync.verify.calico_semantics import as_read
from sync.verify.profiles import UnreadableError
from sync.verify.transitions import meetings

Key = tuple[str, str]

_ENFORCED = "GlobalNetworkPolicy"
_ANY_FLOW = "any flow: the current policies cannot be judged"  # words kept


def precedence(
    changes: Sequence[Change],
    live: Mapping[Key, LiveObject],
    desired: Mapping[Key, Manifest],
    options: Options,
) -> list[Precedence]:
    """Find which chains of a cluster's tiers have to be written before others.

    `live` are the objects that the cluster holds, and `desired` those of ours after all `changes`.
    """
    standing = {key: each.manifest.document() for key, each in live.items() if each.manifest}
    after = {key: each.document() for key, each in desired.items()}
    if len({name for kind, name in (*standing, *after) if kind == "Tier"}) < 2:
        return []
    shared = {
        _tier_of(each.document)
        for (kind, _), each in live.items()
        if kind == _ENFORCED and each.foreign_because
    }
    written = {chain_key(each.after) for each in changes if each.kind == _ENFORCED and each.after}
    if shared.isdisjoint(tier for _, tier, _ in written):
        return _met(standing, after, options)
    foreign = _foreign(live, {tier for _, tier, _ in written})
    if foreign is not None:
        # What others left in these tiers decides too, also where it stays.
        known = _met(foreign | standing, foreign | after, options)
        if all(each.flow != _ANY_FLOW for each in known):
            return known
    return [*_met(standing, after, options), *_after_other_tiers(written, shared)]


def _foreign(
    live: Mapping[Key, LiveObject], tiers: Collection[str]
) -> dict[Key, Mapping[str, Any]] | None:
    """What others left that decides in `tiers`; None if some of it cannot be judged."""
    found: dict[Key, Mapping[str, Any]] = {}
    for key, each in live.items():
        kind, name = key
        tier = name if kind == "Tier" else _tier_of(each.document)
        if each.foreign_because and (kind == "GlobalNetworkSet" or tier in tiers):
            try:
                found[key] = as_read(each.document, tier)
            except UnreadableError:
                return None
    return found


def _met(
    standing: Mapping[Key, Mapping[str, Any]],
    desired: Mapping[Key, Mapping[str, Any]],
    options: Options,
) -> list[Precedence]:
    """The order of chains that flows require whose deny moves from one tier to another."""
    before, after = [*standing.values()], [*desired.values()]
    zones = {
        str(zone)
        for each in (*before, *after)
        if each["kind"] in POLICIES
        and (zone := mapping(each, "metadata", "annotations").get(CHAIN_ANNOTATION))
    }
    return [
        Precedence(
            _chain(each.denies),
            _chain(each.passes),
            each.size,
            flow_said(each.flow) if each.flow else _ANY_FLOW,
        )
        for each in meetings(
            before,
            after,
            zones | options.zones.definitions.keys(),
            options.zones,
            options.pod_cidrs,
        )
    ]


def _after_other_tiers(written: Collection[ChainKey], shared: Collection[str]) -> list[Precedence]:
    """Write the chains of `shared` tiers, with policies of others, after those of all other tiers.

    What the others deny is unknown, and another tier may have to deny it from now on.
    """
    return [
        Precedence(other, chain, 0, _ANY_FLOW)
        for chain in sorted(written)
        if chain[1] in shared
        for other in sorted(written)
        if other[1] not in shared
    ]


def _tier_of(document: Mapping[str, Any]) -> str:
    return str(mapping(document, "spec").get("tier"))


def _chain(chain: tuple[str, str]) -> ChainKey:
    tier, zone = chain
    return _ENFORCED, tier, zone

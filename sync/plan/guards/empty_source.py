"""Guard: a tier is no longer made from a scope of the firewall that it was made from."""

from collections.abc import Mapping, Sequence

import orjson

from sync.calico.manifest import Manifest
from sync.calico.names import SCOPES_ANNOTATION
from sync.calico.references import mapping
from sync.plan.guards import Blocker, listed


def empty_source(scope: str, tiers: Sequence[str], *, above: bool) -> Blocker:
    """Block a plan: `tiers` were made from a scope (a device group, or `shared`) and no longer are.

    `above`: the scope is still their device group or an ancestor of it, and is empty.
    """
    one = len(tiers) == 1
    name = "Shared" if scope == "shared" else f"device group {scope}"
    now = (
        " and holds none any more; check that the API key's user may read all of it"
        if above
        else f", and {'its device group is' if one else 'their device groups are'} no longer in it "
        "or below it; see that it was moved on purpose"
    )
    return Blocker(
        "empty-source",
        f"{name} held rules or addresses for the {'tier' if one else 'tiers'} {listed(tiers)}{now}",
        approvable=True,
        covers=scope,
    )


def empty_sources(
    standing: Mapping[tuple[str, str], Manifest],
    desired: Mapping[tuple[str, str], Manifest],
    lineages: Mapping[str, Sequence[str]],
) -> list[Blocker]:
    """Make a blocker for each scope that an observed tier was made from and the desired one is not.

    `lineages` has, by tier, its device group and the scopes above it. A tier that is removed does
    not count: the configuration of zonebridge gave it up, not the firewall.
    """
    lost: dict[tuple[str, bool], list[str]] = {}
    for tier, lineage in sorted(lineages.items()):
        stood, wanted = standing.get(("Tier", tier)), desired.get(("Tier", tier))
        if stood and wanted:
            for scope in _scopes(stood) - _scopes(wanted):
                lost.setdefault((scope, scope in lineage), []).append(tier)
    return [
        empty_source(scope, tiers, above=above) for (scope, above), tiers in sorted(lost.items())
    ]


def _scopes(tier: Manifest) -> frozenset[str]:
    """The scopes that a tier names; none if someone else or an older version wrote it."""
    try:
        said = orjson.loads(mapping(tier.document(), "metadata", "annotations")[SCOPES_ANNOTATION])
    except (KeyError, TypeError, ValueError):
        return frozenset()
    named = isinstance(said, list) and all(isinstance(each, str) for each in said)
    return frozenset(said) if named else frozenset()

"""Scopes of the firewall that a tier was made from and no longer is."""

from collections.abc import Mapping, Sequence

import orjson

from sync.calico.manifest import Manifest
from sync.calico.names import SCOPES_ANNOTATION
from sync.calico.references import mapping
from sync.plan.guards import Blocker, listed


def empty_source(scope: str, tiers: Sequence[str], *, above: bool) -> Blocker:
    """A scope (a device group, or `shared`) that `tiers` were made from and no longer are.

    `above`: it is still their device group or an ancestor of it, and holds nothing.
    """
    one = len(tiers) == 1
    name = "Shared" if scope == "shared" else f"device group {scope}"
    now = (
        " and holds none any more; see that "  # words kept
        "Panorama shows it whole to whoever reads it"
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
    """A blocker for each scope that a standing tier was made from and a desired one is not.

    `lineages` has, by tier, its device group and the scopes above that. A tier that goes was given
    up by the configuration of zonebridge, and nothing that a firewall says.
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
    """What a tier says it is made from; nothing where someone else or an older version wrote it."""
    try:
        said = orjson.loads(mapping(tier.document(), "metadata", "annotations")[SCOPES_ANNOTATION])
    except (KeyError, TypeError, ValueError):
        return frozenset()
    named = isinstance(said, list) and all(isinstance(each, str) for each in said)
    return frozenset(said) if named else frozenset()

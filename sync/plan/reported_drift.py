"""Drift that is only reported, if the configuration asks for that."""

from collections.abc import Sequence

from sync.calico.manifest import Manifest
from sync.calico.objects import POLICIES
from sync.calico.references import Label
from sync.plan.changes import Cause, Change
from sync.plan.order import chain_of
from sync.plan.selections import ChainKey, Selections


def reported_drift(changes: Sequence[Change], beside: Sequence[Manifest]) -> frozenset[Change]:
    """Find the drift that may be left: no write needs it repaired.

    A policy needs its tier, the sets that it selects, the rest of its chain, and the policies
    around the chains of its tier; a set needs the chains that select it.
    """
    selections = Selections(changes, beside)
    left = {change for change in changes if change.cause is Cause.DRIFT}
    written = [change for change in changes if change not in left]
    while written:
        chains: set[ChainKey] = set()
        tiers: set[str] = set()
        labels: set[Label] = set()
        for change in written:
            if change.kind in POLICIES:
                chains.add(chain_of(change))
                tiers.add(change.place.tier)
                labels |= change.after.contents.named if change.after else frozenset()
            elif change.after and change.kind != "Tier":
                chains |= selections.chains(change.after.contents.labels)
        written = [
            change
            for change in left
            if (
                chain_of(change) in chains
                or (not change.place.chain and change.place.tier in tiers)
                if change.kind in POLICIES
                else change.name in tiers
                if change.kind == "Tier"
                else change.after and not labels.isdisjoint(change.after.contents.labels)
            )
        ]
        left.difference_update(written)
    return frozenset(left)

"""Which sets the policies of each chain select, before a plan is written and after it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sync.calico.manifest import Manifest
from sync.calico.objects import POLICIES
from sync.calico.references import Label
from sync.plan.changes import Change

ChainKey = tuple[str, str, str]
"""Kind, tier and zone of a chain. The policies around a tier's chains are one, of zone ""."""


def chain_key(policy: Manifest) -> ChainKey:
    """The chain that a policy is in."""
    place = policy.contents.position
    return policy.kind, place.tier, place.chain


@dataclass(frozen=True)
class Selections:
    """The labels of sets that policies name, by chain, before and after a plan.

    `changes` are those of the plan, and `unchanged` our policies that it does not change.
    """

    changes: Sequence[Change] = ()
    unchanged: Sequence[Manifest] = ()

    @cached_property
    def before(self) -> Mapping[ChainKey, frozenset[Label]]:
        """The labels that the observed policies of each chain name."""
        return self._named(change.before for change in self.changes)

    @cached_property
    def after(self) -> Mapping[ChainKey, frozenset[Label]]:
        """The labels that the desired policies of each chain name."""
        return self._named(change.after for change in self.changes)

    def _named(self, changing: Iterable[Manifest | None]) -> Mapping[ChainKey, frozenset[Label]]:
        found: defaultdict[ChainKey, frozenset[Label]] = defaultdict(frozenset, self._unchanged)
        for manifest in changing:
            if manifest and manifest.kind in POLICIES:
                found[chain_key(manifest)] |= manifest.contents.named
        return found

    @cached_property
    def _unchanged(self) -> Mapping[ChainKey, frozenset[Label]]:
        found: defaultdict[ChainKey, frozenset[Label]] = defaultdict(frozenset)
        for manifest in self.unchanged:
            found[chain_key(manifest)] |= manifest.contents.named
        return found

    def of_chain(self, chain: ChainKey) -> frozenset[Label]:
        """The labels that any policy of a chain names, before or after."""
        return self._of_chains.get(chain, frozenset())

    def of_other_tiers(self, tier: str) -> frozenset[Label]:
        """The labels that the policies of all other tiers name, before or after."""
        others = (labels for chain, labels in self._of_chains.items() if chain[1] != tier)
        return frozenset().union(*others)

    def chains(self, labels: frozenset[Label]) -> set[ChainKey]:
        """The chains that name one of these labels, before or after."""
        return {chain for label in labels for chain in self._naming.get(label, ())}

    @cached_property
    def _of_chains(self) -> Mapping[ChainKey, frozenset[Label]]:
        return {
            chain: self.before.get(chain, frozenset()) | self.after.get(chain, frozenset())
            for chain in self.before.keys() | self.after.keys()
        }

    @cached_property
    def _naming(self) -> Mapping[Label, set[ChainKey]]:
        found: defaultdict[Label, set[ChainKey]] = defaultdict(set)
        for chain, labels in self._of_chains.items():
            for label in labels:
                found[label].add(chain)
        return found

    def allows(self, labels: frozenset[Label]) -> bool:
        """Whether a policy, before or after, allows more if sets with these labels grow."""
        return not self._allowed.isdisjoint(labels)

    @cached_property
    def _allowed(self) -> frozenset[Label]:
        sides = (side for change in self.changes for side in (change.before, change.after))
        return frozenset().union(
            *(
                each.contents.allowed
                for each in (*self.unchanged, *sides)
                if each and each.kind in POLICIES
            )
        )

    def stands(self, manifest: Manifest) -> bool:
        """Whether a policy before the plan selects a set."""
        return not self._before.isdisjoint(manifest.contents.labels)

    def comes(self, manifest: Manifest) -> bool:
        """Whether a policy after the plan selects a set."""
        return not self._after.isdisjoint(manifest.contents.labels)

    @cached_property
    def _before(self) -> frozenset[Label]:
        return frozenset().union(*self.before.values())

    @cached_property
    def _after(self) -> frozenset[Label]:
        return frozenset().union(*self.after.values())

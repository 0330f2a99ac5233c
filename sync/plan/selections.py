"""Which sets the policies of each chain select, before a plan is written and after it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sync.calico.manifest import Manifest
from sync.calico.objects import POLICIES
from sync.plan.changes import Change, Place
from sync.plan.references import Label, carried, named

ChainKey = tuple[str, str, str]
"""Kind, tier and zone of a chain. Policies around the chains of a tier are one, of zone ""."""


def chain_key(policy: Manifest) -> ChainKey:
    """The chain that a policy is in."""
    place = Place.of(policy)
    return policy.kind, place.tier, place.chain


@dataclass(frozen=True)
class Selections:
    """The labels of sets that policies name, by chain: those that stand, and those to come."""

    before: Mapping[ChainKey, frozenset[Label]] = field(default_factory=dict)
    after: Mapping[ChainKey, frozenset[Label]] = field(default_factory=dict)

    @classmethod
    def of(cls, changes: Sequence[Change], unchanged: Iterable[Manifest]) -> "Selections":
        """Those of the changes, and of the policies of ours that stand and do not change."""
        before: defaultdict[ChainKey, set[Label]] = defaultdict(set)
        after: defaultdict[ChainKey, set[Label]] = defaultdict(set)
        policies = [change for change in changes if change.kind in POLICIES]
        for found, manifests in (
            (before, [change.before for change in policies]),
            (after, [change.after for change in policies]),
        ):
            for manifest in manifests:
                if manifest:
                    found[chain_key(manifest)] |= named(manifest.document())
        for manifest in unchanged:
            labels = named(manifest.document())
            before[chain_key(manifest)] |= labels
            after[chain_key(manifest)] |= labels
        return cls(
            {key: frozenset(labels) for key, labels in before.items()},
            {key: frozenset(labels) for key, labels in after.items()},
        )

    def of_chain(self, chain: ChainKey) -> frozenset[Label]:
        """What any policy of a chain names, before or after."""
        return self.before.get(chain, frozenset()) | self.after.get(chain, frozenset())

    def chains(self, labels: frozenset[Label]) -> set[ChainKey]:
        """The chains that name one of some labels, before or after."""
        return {
            chain
            for chain in self.before.keys() | self.after.keys()
            if not labels.isdisjoint(self.of_chain(chain))
        }

    def stands(self, manifest: Manifest) -> bool:
        """Whether a policy that stands selects a set."""
        return not self._before.isdisjoint(carried(manifest.document()))

    def comes(self, manifest: Manifest) -> bool:
        """Whether a policy that is to come, or to stay, selects a set."""
        return not self._after.isdisjoint(carried(manifest.document()))

    @cached_property
    def _before(self) -> frozenset[Label]:
        return frozenset().union(*self.before.values())

    @cached_property
    def _after(self) -> frozenset[Label]:
        return frozenset().union(*self.after.values())

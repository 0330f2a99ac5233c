"""A zone's rules as a chain of policies, one after the other in its tier.

    entries (a rule's Calico rules each way)  ->  parts (what one policy holds)  ->  policies

Parts end where the rules themselves say, so that a rule that comes or goes moves few boundaries.
A chain lives in one of two generations: `a` has the orders from 1 up, `b` those from 0 down, before
it. Written front to back and removed back to front, every flow meets the old chain's verdict or the
new one's and never a third.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from sync.calico import limits, names
from sync.calico.manifest import Manifest
from sync.calico.objects import EntityRule, GlobalNetworkPolicy, Pairs, StagedGlobalNetworkPolicy
from sync.calico.objects import Rule as CalicoRule
from sync.translate.rules import annotated

Generation = Literal["a", "b"]

GAP: Final = 10_000
"""Between the orders of a chain's policies; its zone decides where in the gap."""

# A part ends on average after this many rules of the firewall past the least.
_LEAST_RULES: Final = 96
_ONE_IN: Final = 64
# What a policy holds besides its rules: metadata, selector and spec.
_OVERHEAD: Final = 8 * 1024
# What a rule takes besides its ends and annotations: keys, protocol, rank.
_RULE: Final = 320


@dataclass(frozen=True, slots=True)
class Entry:
    """The Calico rules of one firewall rule (or of a default) in a zone, without their rank.

    `rule` is its index in the effective rulebase, -1 for a default. `identity` says which rule it
    is, whatever the rule says.
    """

    rule: int
    identity: str
    egress: tuple[CalicoRule, ...]
    ingress: tuple[CalicoRule, ...]
    annotations: Pairs


@dataclass(frozen=True, slots=True)
class Part:
    """What one policy of a chain holds."""

    egress: tuple[CalicoRule, ...]
    ingress: tuple[CalicoRule, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """The policies of one zone in one tier, before they are laid into a generation."""

    tier: str
    zone: str
    selector: str
    staged: bool
    place: int
    labels: Pairs
    parts: tuple[Part, ...]

    def laid(self, generation: Generation) -> list[Manifest]:
        """Its manifests in a generation, first to last."""
        first = 1 if generation == "a" else 1 - len(self.parts)
        return [
            self._policy(generation, number, part, first + number - 1).manifest()
            for number, part in enumerate(self.parts, 1)
        ]

    def _policy(
        self, generation: Generation, number: int, part: Part, slot: int
    ) -> GlobalNetworkPolicy | StagedGlobalNetworkPolicy:
        name = names.policy_part_name(self.tier, self.zone, generation, number)
        if generation == "a" and number == 1:
            name = names.policy_name(self.tier, self.zone)
        kind = StagedGlobalNetworkPolicy if self.staged else GlobalNetworkPolicy
        return kind(
            name=name,
            tier=self.tier,
            order=slot * GAP + self.place,
            selector=self.selector,
            egress=part.egress,
            ingress=part.ingress,
            labels=self.labels,
            annotations=((names.CHAIN_ANNOTATION, self.zone),),
        )


def places(zones: Sequence[str]) -> dict[str, int]:
    """Where in the gap between orders each zone's policies stand: no two orders are equal.

    A zone keeps its place when others come and go, unless two want the same one.
    """
    taken: dict[int, str] = {}
    for zone in sorted(zones):
        place = int.from_bytes(hashlib.sha256(zone.encode()).digest()[:4]) % GAP
        while place in taken:
            place = (place + 1) % GAP
        taken[place] = zone
    return {zone: place for place, zone in taken.items()}


def parts_of(entries: Sequence[Entry]) -> tuple[tuple[Part, ...], list[tuple[int, int, str, int]]]:
    """Cut entries into parts, and tell where each rule came to stand.

    A place is (index of the rule, part from 0, `egress` or `ingress`, position there from 0).
    """
    found: list[Part] = []
    at: list[tuple[int, int, str, int]] = []
    open_part = _Open()
    for entry in entries:
        said = sum(len(key) + len(value.encode()) + 6 for key, value in entry.annotations)
        for direction, rules in (("egress", entry.egress), ("ingress", entry.ingress)):
            for rule in rules:
                size = _size(rule.source) + _size(rule.destination) + said + _RULE
                if open_part.is_full(direction, size):
                    found.append(open_part.part())
                    open_part = _Open()
                position = open_part.add(direction, rule, entry.annotations, size)
                at.append((entry.rule, len(found), direction, position))
        if open_part.ends_with(entry.identity):
            found.append(open_part.part())
            open_part = _Open()
    if open_part.rules or not found:
        found.append(open_part.part())
    return tuple(found), at


@lru_cache(1 << 14)
def _size(entity: EntityRule) -> int:
    """Bytes of one end in JSON, rather too many."""
    texts = (entity.selector, entity.not_selector, entity.namespace_selector)
    nets = sum(len(net) + 3 for net in (*entity.nets, *entity.not_nets))
    return sum(map(len, texts)) + nets + 14 * len((*entity.ports, *entity.not_ports)) + 96


class _Open:
    """A part that still takes rules."""

    def __init__(self) -> None:
        self._found: dict[str, list[CalicoRule]] = {"egress": [], "ingress": []}
        self._bytes = _OVERHEAD
        self.rules = 0

    def is_full(self, direction: str, size: int) -> bool:
        return (
            len(self._found[direction]) == limits.RULES_PER_DIRECTION
            or self._bytes + size > limits.POLICY_BYTES
        )

    def add(self, direction: str, rule: CalicoRule, annotations: Pairs, size: int) -> int:
        position = len(self._found[direction])
        self._found[direction].append(annotated(rule, annotations, position))
        self._bytes += size
        self.rules += 1
        return position

    def ends_with(self, identity: str) -> bool:
        return self.rules >= _LEAST_RULES and zlib.crc32(identity.encode()) % _ONE_IN == 0

    def part(self) -> Part:
        return Part(tuple(self._found["egress"]), tuple(self._found["ingress"]))


def lay(chain: Chain, standing: Mapping[tuple[str, str], Manifest]) -> list[Manifest]:
    """The chain's manifests, in the generation in which it can be brought about.

    `standing` is what stands of ours in the cluster, by (kind, name). Where one part changed it is
    replaced; where more did, the whole chain is written anew in the other generation.
    """
    stands = {generation: _standing(chain, generation, standing) for generation in _GENERATIONS}
    if not stands["a"] and not stands["b"]:
        return chain.laid("a")
    if stands["a"] and stands["b"]:
        # Left in the middle: go on with the one that has come further.
        laid = {generation: chain.laid(generation) for generation in _GENERATIONS}
        ahead = {
            generation: sum(each in stands[generation] for each in laid[generation])
            for generation in _GENERATIONS
        }
        return laid["a" if ahead["a"] > ahead["b"] else "b"]
    here: Generation = "a" if stands["a"] else "b"
    there: Generation = "b" if here == "a" else "a"
    old, new = stands[here], chain.laid(here)
    if len(old) == len(new) and sum(each not in old for each in new) <= 1:
        return new
    return chain.laid(there)


_GENERATIONS: Final[tuple[Generation, Generation]] = ("a", "b")


def _standing(
    chain: Chain,
    generation: Generation,
    standing: Mapping[tuple[str, str], Manifest],
) -> list[Manifest]:
    """What stands of one generation of the chain."""
    kind = "StagedGlobalNetworkPolicy" if chain.staged else "GlobalNetworkPolicy"
    first = names.policy_name(chain.tier, chain.zone) if generation == "a" else ""
    prefix = names.policy_part_name(chain.tier, chain.zone, generation, 0).removesuffix("0")
    return [
        manifest
        for (of, name), manifest in standing.items()
        if of == kind
        and (name == first or (name.startswith(prefix) and name.removeprefix(prefix).isdigit()))
    ]

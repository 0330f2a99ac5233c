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
from itertools import pairwise
from typing import Final, Literal

from sync.calico import limits, names
from sync.calico.manifest import Manifest
from sync.calico.objects import EntityRule, GlobalNetworkPolicy, Pairs, StagedGlobalNetworkPolicy
from sync.calico.objects import Rule as CalicoRule
from sync.errors import SourceError

Generation = Literal["a", "b"]

LAST_DEFAULT: Final = "unknown-addresses"
"""What the rule that ends a chain is called."""

GAP: Final = 10_000
"""Between the orders of a chain's policies; its zone decides where in the gap."""

# A part ends on average after this many rules of the firewall past the least.
LEAST_RULES: Final = 96
ONE_IN: Final = 64
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
class ZoneChain:
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

    A zone keeps its place when others come and go, unless two want the same one. `SourceError`
    where there are more zones than places.
    """
    if len(zones) > GAP // 2:
        raise SourceError(
            f"a device group names {len(zones):,} zones, and only {GAP // 2:,} have a place "
            "in a tier; look for what made them in Panorama"
        )
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
    nets = (*entity.nets, *entity.not_nets)
    ports = (*entity.ports, *entity.not_ports)
    return sum(map(len, texts)) + sum(map(len, nets)) + 3 * len(nets) + 14 * len(ports) + 96


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
        self._found[direction].append(
            rule.annotated((*annotations, (names.RANK_ANNOTATION, str(position))))
        )
        self._bytes += size
        self.rules += 1
        return position

    def ends_with(self, identity: str) -> bool:
        return self.rules >= LEAST_RULES and zlib.crc32(identity.encode()) % ONE_IN == 0

    def part(self) -> Part:
        return Part(tuple(self._found["egress"]), tuple(self._found["ingress"]))


def lay(
    chain: ZoneChain, standing: Mapping[tuple[str, str], Manifest]
) -> tuple[list[Manifest], bool]:
    """The chain's manifests, in the generation in which it can be brought about.

    `standing` is what stands of ours in the cluster, by (kind, name). Where one part changed it is
    replaced; where more did, or the choice of pods, the whole chain is written anew in the other
    generation. True beside them if they are only on the way: then another plan has to follow.
    """
    stands = {generation: _standing(chain, generation, standing) for generation in _GENERATIONS}
    if stands["a"] and stands["b"]:
        return _go_on(chain, stands["a"], stands["b"])
    here: Generation = "b" if stands["b"] else "a"
    there: Generation = "a" if here == "b" else "b"
    old, new = stands[here], chain.laid(here)
    if all(each in new for each in old):
        return new, False
    # A pod that another chain takes over stays in this one until that one stands.
    same_pods = all(each.document()["spec"]["selector"] == chain.selector for each in old)
    if same_pods and len(old) == len(new) and sum(each not in old for each in new) == 1:
        return new, False
    return chain.laid(there), False


def _go_on(
    chain: ZoneChain, old_a: Sequence[Manifest], old_b: Sequence[Manifest]
) -> tuple[list[Manifest], bool]:
    """What to do where a move from one generation to the other was left in the middle.

    `b` stands before `a`: while it is whole, whatever `a` says decides nothing.
    """
    new_a, new_b = chain.laid("a"), chain.laid("b")
    if all(each in old_a for each in new_a):
        return new_a, False
    if all(each in new_b for each in old_b):
        return new_b, False
    if _is_whole(old_b):
        return new_a, False
    if _is_whole(old_a):
        # Neither may be rewritten while a part of `b` leads into `a`: back to `a` first.
        return sorted(old_a, key=_order), True
    return new_b, False


def _order(policy: Manifest) -> int:
    order: int = policy.document()["spec"]["order"]
    return order


def _is_whole(policies: Sequence[Manifest]) -> bool:
    """Whether no part is missing: they are numbered without a gap, and the last decides all."""
    specs = [policy.document()["spec"] for policy in sorted(policies, key=_order)]
    orders = [spec["order"] for spec in specs]
    ends = [rules[-1] for rules in (specs[-1].get("egress"), specs[-1].get("ingress")) if rules]
    last = [end.get("metadata", {}).get("annotations", {}) for end in ends]
    return all(second - first == GAP for first, second in pairwise(orders)) and all(
        annotations.get(names.RULE_ANNOTATION) == LAST_DEFAULT for annotations in last
    )


_GENERATIONS: Final[tuple[Generation, Generation]] = ("a", "b")


def standing_of(
    chain: ZoneChain, standing: Mapping[tuple[str, str], Manifest]
) -> set[tuple[str, str]]:
    """What stands of a chain in either generation, by (kind, name)."""
    return {
        (each.kind, each.name)
        for generation in _GENERATIONS
        for each in _standing(chain, generation, standing)
    }


def _standing(
    chain: ZoneChain,
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

"""Cut a zone's rules into the parts of its chain.

    entries (a rule's Calico rules each way)  ->  parts (what one policy holds)

The rules themselves decide where parts end, so that adding or removing one moves few boundaries.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sync.calico import limits, names
from sync.calico.chains import GAP, Origin, Part, RuleId
from sync.calico.objects import EntityRule, Pairs
from sync.calico.objects import Rule as CalicoRule
from sync.errors import SourceError

# A part ends on average this many rules of the firewall after its minimum.
LEAST_RULES: Final = 96
ONE_IN: Final = 64
# Bytes of a policy besides its rules: metadata, selector and spec.
_OVERHEAD: Final = 8 * 1024
# Bytes of a rule besides its ends and annotations: keys, protocol, rank.
_RULE: Final = 320


@dataclass(frozen=True, slots=True)
class Entry:
    """The Calico rules of one firewall rule (or of a default) in a zone, without their rank.

    `rule` is None for a default. `identity` names the rule, and stays when its content or position
    changes.
    """

    rule: RuleId | None
    identity: str
    egress: tuple[CalicoRule, ...]
    ingress: tuple[CalicoRule, ...]
    annotations: Pairs


def places(zones: Sequence[str]) -> dict[str, int]:
    """Assign each zone's policies a place in the gap between orders, so that no two are equal.

    A zone keeps its place when others are added or removed, unless two hash to the same one.
    `SourceError` if there are more zones than places.
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


def parts_of(entries: Sequence[Entry], most: int = limits.POLICY_BYTES) -> tuple[Part, ...]:
    """Cut entries into parts of up to `most` bytes, each with the origins of its rules."""
    parts: list[Part] = []
    open_part = _Open(most)
    for entry in entries:
        annotated = sum(len(key) + len(value.encode()) + 6 for key, value in entry.annotations)
        for direction, rules in (("egress", entry.egress), ("ingress", entry.ingress)):
            for rule in rules:
                size = _size(rule.source) + _size(rule.destination) + annotated + _RULE
                if open_part.is_full(direction, size):
                    parts.append(open_part.part())
                    open_part = _Open(most)
                open_part.add(direction, rule, entry, size)
        if open_part.ends_with(entry.identity):
            parts.append(open_part.part())
            open_part = _Open(most)
    if open_part.rules or not parts:
        parts.append(open_part.part())
    return tuple(parts)


@lru_cache(1 << 14)
def _size(entity: EntityRule) -> int:
    """Bytes of one end in JSON, an upper bound."""
    texts = (entity.selector, entity.not_selector, entity.namespace_selector)
    nets = (*entity.nets, *entity.not_nets)
    ports = (*entity.ports, *entity.not_ports)
    return sum(map(len, texts)) + sum(map(len, nets)) + 3 * len(nets) + 14 * len(ports) + 96


class _Open:
    """A part that still takes rules."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rules: dict[str, list[CalicoRule]] = {"egress": [], "ingress": []}
        self._bytes = _OVERHEAD
        self._origins: list[Origin] = []
        self.rules = 0

    def is_full(self, direction: str, size: int) -> bool:
        return (
            len(self._rules[direction]) == limits.RULES_PER_DIRECTION
            or self._bytes + size > self._most
        )

    def add(self, direction: str, rule: CalicoRule, entry: Entry, size: int) -> None:
        position = len(self._rules[direction])
        rank = (names.RANK_ANNOTATION, str(position))
        self._rules[direction].append(rule.annotated((*entry.annotations, rank)))
        self._bytes += size
        self.rules += 1
        if entry.rule:
            self._origins.append(Origin(entry.rule, direction, position))

    def ends_with(self, identity: str) -> bool:
        return self.rules >= LEAST_RULES and zlib.crc32(identity.encode()) % ONE_IN == 0

    def part(self) -> Part:
        egress, ingress = map(tuple, self._rules.values())
        return Part(egress, ingress, tuple(self._origins))

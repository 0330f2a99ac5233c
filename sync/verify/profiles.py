"""The possible ends of a flow, as the proof reads them: profiles of pods, and zones.

A second reading of the settings, the rules and the templates. Each end of a flow has one
profile: a pod of one zone, a pod whose label names no zone, a pod without a zone, or no pod.
Selectors are evaluated on profiles, whose labels are not all known: an open result is refused and
never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sync.calico.names import label_value
from sync.firewall.effective import EffectiveDeviceGroup
from sync.firewall.zone_networks import Derived
from sync.net.addresses import EVERYWHERE, NOWHERE, AddressSet, network
from sync.options import ZoneDefinition, ZoneOptions
from sync.verify.selectors import Labels, Term, Tree, holds, selector

MULTICAST: Final = "multicast"
_MULTICAST: Final = AddressSet.union(map(network, ("224.0.0.0/4", "ff00::/8")))
_ORCHESTRATOR: Final = "projectcalico.org/orchestrator"
_NAMESPACE: Final = "projectcalico.org/namespace"


class UnreadableError(ValueError):
    """Something that the proof cannot judge; the message is a clause that names it."""


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """A device group of a cluster, and the tier that holds its rulebase."""

    source: str
    seen: EffectiveDeviceGroup
    derived: Derived
    tier: str


def zones_named(group: DeviceGroup) -> frozenset[str]:
    """The zones that a device group's rules and templates name, `multicast` aside."""
    named = set(group.derived.zones)
    for placed in group.seen.rules:
        named.update(placed.rule.from_zones, placed.rule.to_zones)
    return frozenset(named - {"any", MULTICAST})


class Profiles:
    """The profiles of flow ends, one bit each: the zones' pods, then all others.

    The zones are those that any device group of the cluster names, and the configured ones, but
    for those that can have no pods; `every` has these too. `impossible` are
    profiles that no pod can have, since a definition selects all such pods. Pods that are known by
    all their labels have a profile each, `known`, in the same order; they count to their zones.
    """

    def __init__(
        self, zones: Iterable[str], options: ZoneOptions, pods: Sequence[Labels] = ()
    ) -> None:
        """`pods` are the labels of those that are known, as selectors see them."""
        self._defined: dict[Tree, str] = {}
        without_pods = set()
        for name, each in options.definitions.items():
            tree = _definition(each)
            # The first definition that selects a pod has it, so another like it has none.
            if tree is not None and self._defined.setdefault(tree, name) != name:
                without_pods.add(name)
        self.every = frozenset(zones)
        with_pods = sorted(self.every - without_pods)
        self._bits = {name: 1 << number for number, name in enumerate(with_pods)}
        count = len(self._bits)
        self.unknown_label, self.unzoned, self.no_pod = (1 << count + more for more in range(3))
        self._unnamed = (1 << count + 3) - 1 & ~self.no_pod
        self._labels = pods
        self.known = tuple(1 << count + 3 + number for number in range(len(pods)))
        self.everyone = (1 << count + 3 + len(pods)) - 1
        self.pods = self.everyone & ~self.no_pod
        self._label = options.label
        self._values = {label_value(name): name for name in self._bits}
        # A zone with a selector of its own does not depend on the label.
        for name in self._defined.values():
            self._values.pop(label_value(name), None)
        self._asked: dict[str, tuple[int, int]] = {}
        self.impossible = self._impossible()
        self.zones = dict(self._bits)
        for bit, labels in zip(self.known, pods, strict=True):
            zone = self.zone_of(labels)
            if zone in self.zones:
                self.zones[zone] |= bit

    def by_label(self, zone: str) -> bool:
        """Whether a zone's pods are those with its label."""
        return zone in self._values.values()

    def zone_of(self, labels: Labels) -> str | None:
        """The zone of a pod with these labels; "" if it has none, None if its label names none."""
        for tree, name in self._defined.items():
            if holds(tree, labels):
                return name
        value = labels.get(self._label)
        return "" if value is None else self._values.get(value)

    def names(self, bits: int) -> list[str]:
        """Profiles as words for people."""
        said = [f"zone {name}" for name, bit in self._bits.items() if bit & bits]
        others = (
            (self.unknown_label, "a pod whose label names no zone"),
            (self.unzoned, "a pod without a zone"),
            (self.no_pod, "an address outside pods"),
        )
        return said + [word for bit, word in others if bit & bits]

    def asked(self, text: str) -> tuple[int, int]:
        """The profiles of pods that a selector surely and that it may select.

        `UnreadableError` for what is not a selector.
        """
        if text not in self._asked:
            try:
                asked = selector(text)
                surely, maybe = self._judged(asked.tree())
            except (ValueError, RecursionError) as error:
                raise UnreadableError(f"the selector {text[:200]!r} cannot be read") from error
            known = sum(
                bit
                for bit, labels in zip(self.known, self._labels, strict=True)
                if asked.matches(labels)
            )
            self._asked[text] = surely | known, maybe | known
        return self._asked[text]

    def _judged(self, tree: Tree) -> tuple[int, int]:
        """The pods that are surely selected, and those that may be."""
        surely, maybe = self._by_parts(tree)
        if tree in self._defined:
            # Both readings are true: one definition may be another's negation. Where they cannot
            # both be, a zone has no pods.
            own, may = self._by_definition(self._defined[tree])
            return surely & may | own, maybe & may | own
        return surely, maybe

    def _by_parts(self, tree: Tree) -> tuple[int, int]:
        if isinstance(tree, Term):
            return self._by_term(tree)
        if len(tree) == 2:
            surely, maybe = self._judged(tree[1])
            return self._unnamed & ~maybe, self._unnamed & ~surely
        sign, left, right = tree
        (sure, may), (also_sure, also_may) = self._judged(left), self._judged(right)
        if sign == "&&":
            return sure & also_sure, may & also_may
        return sure | also_sure, may | also_may

    def _impossible(self) -> int:
        found = before = 0
        for tree, name in self._defined.items():
            surely, _ = self._by_parts(tree)
            before |= self._bits[name]
            found |= surely & ~before
        return found

    def _by_definition(self, name: str) -> tuple[int, int]:
        """A definition's own selector: those before it do not hold for its zone's pods, and those
        behind it may."""
        ranks = list(self._defined.values())
        behind = ranks[ranks.index(name) + 1 :]
        # Pods of an earlier definition may be of this one too; pods of any later one are not.
        may = sum(self._bits[each] for each in ranks if each not in behind)
        return self._bits[name], may

    def _by_term(self, term: Term) -> tuple[int, int]:
        if term.kind == "all":
            return self._unnamed, self._unnamed
        if term.key in (_ORCHESTRATOR, _NAMESPACE):
            if term.kind == "has":
                return self._unnamed, self._unnamed
            if term == Term("in", _ORCHESTRATOR, frozenset({"k8s"})):
                return self._unnamed, self._unnamed
        if term.key == self._label and term.kind in ("has", "in"):
            defined = sum(self._bits[name] for name in self._defined.values())
            by_label = {self._bits[name]: value for value, name in self._values.items()}
            labelled = sum(by_label)
            if term.kind == "has":
                return labelled | self.unknown_label, labelled | self.unknown_label | defined
            surely = sum(bit for bit, value in by_label.items() if value in term.values)
            open_values = term.values - {*by_label.values()}
            return surely, surely | defined | (self.unknown_label if open_values else 0)
        return 0, self._unnamed


def _definition(definition: ZoneDefinition) -> Tree | None:
    """A definition's selector over its pods' labels; None if it has none."""
    own = selector(definition.selector).tree() if definition.selector else None
    namespaces = None
    if definition.namespace_selector:
        # Calico gives a pod the labels of its namespace with a prefix.
        namespaces = _prefixed(selector(definition.namespace_selector).tree())
    if own is not None and namespaces is not None:
        return ("&&", own, namespaces)
    return own if own is not None else namespaces


def _prefixed(tree: Tree) -> Tree:
    if isinstance(tree, Term):
        return tree if tree.kind == "all" else Term(tree.kind, f"pcns.{tree.key}", tree.values)
    if len(tree) == 2:
        return (tree[0], _prefixed(tree[1]))
    return (tree[0], _prefixed(tree[1]), _prefixed(tree[2]))


@dataclass(frozen=True, slots=True)
class Networks:
    """The addresses outside pods of each zone.

    `of` has every zone whose networks are known. `unclaimed` is what no zone is known to hold.
    """

    of: Mapping[str, AddressSet]
    unclaimed: AddressSet

    def surely(self, zones: Iterable[str]) -> AddressSet:
        """The addresses that surely are in one of these zones."""
        return AddressSet.union(self.of.get(name, NOWHERE) for name in zones)

    def perhaps(self, zones: Collection[str]) -> AddressSet:
        """The addresses that may be in one of these zones."""
        found = self.surely(zones)
        return found if all(name in self.of for name in zones) else found | self.unclaimed


def networks_of(group: DeviceGroup, options: ZoneOptions, elsewhere: Iterable[str]) -> Networks:
    """The networks of a device group's zones: the longest prefix around an address decides.

    What is configured goes before what is derived; a derived default route takes what no other
    prefix holds, and only where every other zone's networks are known. `elsewhere` are zones that
    only other device groups of the cluster name: here they have no networks.
    """
    named = zones_named(group)
    configured = {
        name: each.networks or ()
        for name, each in options.definitions.items()
        if name != MULTICAST and (each.networks is not None or name not in named)
    }
    candidates = named - configured.keys()
    derived = group.derived if options.derive_networks else Derived((), {}, {})
    known = {name for name in candidates if name in derived.networks}
    last = {name: derived.everything_else.get(name, ()) for name in known}
    claims = [(text, name, 0) for name, texts in configured.items() for text in texts]
    claims += [
        (text, name, 1)
        for name in known
        for text in derived.networks[name]
        if text not in last[name]
    ]
    by_length: dict[tuple[int, int], list[tuple[AddressSet, str]]] = {}
    for text, name, rank in claims:
        _, _, length = text.partition("/")
        # IPv4 and IPv6 never meet, so one row may hold the lengths of both; without one it is a
        # host.
        by_length.setdefault((-int(length or 128), rank), []).append((network(text), name))
    held: dict[str, AddressSet] = dict.fromkeys((*configured, *known), NOWHERE)
    claimed = NOWHERE
    for _, found in sorted(by_length.items()):
        for net, name in found:
            held[name] |= net - claimed
        claimed = AddressSet.union([claimed, *(net for net, _ in found)])
    all_known = known == candidates
    for name in known:
        rest = AddressSet.union(map(network, last[name])) - claimed
        held[name] |= rest
        if last[name] and not all_known:
            del held[name]
    found_of = {name: each - _MULTICAST for name, each in held.items()}
    found_of[MULTICAST] = _MULTICAST
    for name in elsewhere:
        found_of.setdefault(name, NOWHERE)
    return Networks(found_of, EVERYWHERE - AddressSet.union(found_of.values()))

"""Flows as people name them: zones, labels and addresses to such, by which traffic."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sync.net.addresses import AddressSet
from sync.net.intervals import Bounds
from sync.verify.flow_boxes import FlowBox
from sync.verify.packet_space import FAMILIES, ON_THE_WIRE, Carried, Ends, TrafficSpace, of_family
from sync.verify.pod_kinds import PodKind, PodKinds
from sync.verify.profiles import Profiles

ANY_POD: Final = "any pod"
_WITHOUT: Final = "pods without a zone"
_NO_SUCH: Final = "pods whose label names no zone"


@dataclass(frozen=True, slots=True)
class Who:
    """One sort of ends: pods that have a name, or, with "", addresses outside pods.

    The name is a zone's, with the labels that tell these pods from others of it. `addresses` are
    None where they have any that such ends can have.
    """

    pods: str
    addresses: AddressSet | None = None


@dataclass(frozen=True, slots=True)
class Flows:
    """All flows from one of the `source` to one of the `destination` ends.

    `traffic` is what is listed or, where `but`, everything but that. `families` are the IP
    versions, both unless the flows are of one alone.
    """

    source: tuple[Who, ...]
    destination: tuple[Who, ...]
    traffic: tuple[Carried, ...]
    but: bool = False
    families: tuple[int, ...] = FAMILIES


class FlowNames:
    """Names of the profiles of a comparison."""

    def __init__(
        self, kinds: PodKinds, profiles: Profiles, space: TrafficSpace, pods: AddressSet | None
    ) -> None:
        """`pods` hold every pod; None: they may be anywhere."""
        self._values, self._made = kinds.values, kinds.made
        self._space = space
        self._no_pod = profiles.no_pod
        self._every_pod = sum(profiles.known)
        self._anywhere = ON_THE_WIRE if pods is None else pods & ON_THE_WIRE
        self._by_zone: dict[str, list[tuple[int, PodKind]]] = {}
        for bit, kind in zip(profiles.known, kinds.kinds, strict=True):
            self._by_zone.setdefault(_zone(kind), []).append((bit, kind))

    def said(self, box: FlowBox) -> Flows:
        """The flows of a box."""
        families = tuple(
            family
            for family in FAMILIES
            if self._space.everything[family] & box.traffic
            and all(
                any(of_family(held, family) for _, held in ends)
                for ends in (box.source, box.destination)
            )
        )
        whole = 0
        for family in families:
            whole |= self._space.everything[family]
        everything = self._space.everything[4] | self._space.everything[6]
        traffic, but = self._space.spelled(box.traffic | (everything & ~whole))
        if not but:
            traffic, _ = self._space.spelled(box.traffic)
        return Flows(
            tuple(self._who(box.source, families)),
            tuple(self._who(box.destination, families)),
            traffic,
            but,
            FAMILIES if len(families) == 2 or self._one(box) else families,
        )

    def _one(self, box: FlowBox) -> bool:
        """Whether the traffic, or where pods are, leaves one IP version only."""
        return sum(
            bool(self._space.everything[family] & box.traffic and of_family(self._anywhere, family))
            for family in FAMILIES
        ) < len(FAMILIES)

    def _who(self, ends: Ends, families: Sequence[int]) -> Iterator[Who]:
        outside: dict[int, Bounds] = {}
        for bits, held in ends:
            if pods := bits & ~self._no_pod:
                addresses = _limited(held, self._anywhere, families)
                for name in self._names(pods):
                    yield Who(name, addresses)
            if bits & self._no_pod:
                outside = {family: of_family(held, family) for family in families}
        if outside:
            held = AddressSet(outside.get(4, ()), outside.get(6, ()))
            yield Who("", _limited(held, ON_THE_WIRE, families))

    def pods(self, bits: int) -> str:
        """The pods of some profiles, in words."""
        return ", ".join(self._names(bits))

    def _names(self, bits: int) -> Iterator[str]:
        if bits == self._every_pod:
            yield ANY_POD
            return
        for zone, kinds in sorted(self._by_zone.items()):
            inside = [kind for bit, kind in kinds if bit & bits]
            if len(inside) == len(kinds):
                yield zone
            elif inside:
                yield f"{zone} ({self._told_by(inside, [kind for _, kind in kinds])})"

    def _told_by(self, inside: Sequence[PodKind], every: Sequence[PodKind]) -> str:
        """What tells some pods of a zone from others of it: labels and their values."""
        some = [labels for kind in inside for labels in kind.labels]
        others = [labels for kind in every if kind not in inside for labels in kind.labels]
        told = []
        for key in self._values:
            found = {labels.get(key) for labels in some}
            if found != found | {labels.get(key) for labels in others}:
                told.append(self._told(key, found))
        if told and _count(self._values, some) == len(some):
            return ", ".join(told)
        keys = sorted({key for each in (*some, *others) for key in each if key in self._values})
        return f"some, by {', '.join(keys)}"

    def _told(self, key: str, found: set[str | None]) -> str:
        """One label and its values; absent or made ones stand for all that no selector names."""
        others = self._made | {None}
        if found <= {None} and self._made & {*self._values[key]}:
            return f"without {key}"
        if not found & others:
            return f"{key} {' or '.join(sorted(map(str, found)))}"
        without = sorted(str(each) for each in {*self._values[key]} - found - others)
        return f"{key} other than {' or '.join(without)}" if without else f"with {key}"


def _count(values: Mapping[str, Sequence[str | None]], some: Sequence[Mapping[str, str]]) -> int:
    """The number of combinations of the values that some pods have."""
    number = 1
    for key in values:
        number *= len({labels.get(key) for labels in some})
    return number


def _zone(kind: PodKind) -> str:
    if kind.zone is None:
        return _NO_SUCH
    return kind.zone or _WITHOUT


def _limited(held: AddressSet, whole: AddressSet, families: Sequence[int]) -> AddressSet | None:
    """The addresses, None where they are all that there can be."""
    if all(of_family(held, family) == of_family(whole, family) for family in families):
        return None
    return AddressSet(
        *(of_family(held, family) if family in families else () for family in FAMILIES)
    )

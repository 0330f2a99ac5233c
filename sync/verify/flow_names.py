"""Flows as people name them: zones, labels and addresses to such, by which traffic."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sync.net.addresses import AddressSet
from sync.net.intervals import Bounds
from sync.verify.flow_boxes import FlowBox
from sync.verify.packet_space import FAMILIES, ON_THE_WIRE, Ends, of_family
from sync.verify.pod_kinds import PodKind, PodKinds
from sync.verify.profiles import Profiles
from sync.verify.traffic_space import Carried, TrafficSpace

_WITHOUT: Final = "unzoned pods"
_ZONED: Final = "zoned pods"
_NO_SUCH: Final = "pods of an unknown zone"


@dataclass(frozen=True, slots=True)
class Who:
    """One sort of ends: `pods` with one of these names or, where `but`, with any other one.

    A name is a zone's, with the labels that tell these pods from others of it where they are not
    all. Without names and `but` they are addresses outside pods. `addresses` are None for any that
    such ends can have.
    """

    pods: tuple[str, ...]
    addresses: AddressSet | None = None
    but: bool = False

    @property
    def outside(self) -> bool:
        """Whether it is no pods."""
        return not (self.pods or self.but)


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
        self._values, self._made, self._alike = kinds.values, kinds.made, kinds.alike
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
                names, others = ((*self._names(each),) for each in (pods, self._every_pod & ~pods))
                but = len(others) < len(names)
                if sorted(others) == sorted((_WITHOUT, _NO_SUCH)):
                    yield Who((_ZONED,), addresses)
                else:
                    yield Who(others if but else names, addresses, but)
            if bits & self._no_pod:
                outside = {family: of_family(held, family) for family in families}
        if outside:
            held = AddressSet(outside.get(4, ()), outside.get(6, ()))
            yield Who((), _limited(held, ON_THE_WIRE, families))

    def pods(self, bits: int) -> str:
        """The pods of some profiles, in words."""
        return ", ".join(self._names(bits))

    def _names(self, bits: int) -> Iterator[str]:
        for zone, kinds in sorted(self._by_zone.items()):
            inside = [kind for bit, kind in kinds if bit & bits]
            if len(inside) == len(kinds):
                yield zone
            elif inside:
                told = self._told_by(inside, [kind for _, kind in kinds])
                yield from (f"{zone} ({each})" for each in told)

    def _told_by(self, inside: Sequence[PodKind], every: Sequence[PodKind]) -> Iterator[str]:
        """What tells some pods of a zone from others of it: labels and their values."""
        some = [labels for kind in inside for labels in kind.labels]
        whole = [labels for kind in every for labels in kind.labels]
        values = {key: {labels.get(key) for labels in whole} for key in self._values}
        found = {key: {labels.get(key) for labels in some} for key in self._values}
        alike = [labels for labels in whole if all(labels.get(key) in found[key] for key in found)]
        if len(alike) == len(some):
            yield self._said(found, values)
            return
        # Single labels are not enough: each combination by itself.
        for labels in some:
            yield self._said({key: {labels.get(key)} for key in values}, values)

    def _said(
        self, found: Mapping[str, set[str | None]], values: Mapping[str, set[str | None]]
    ) -> str:
        return ", ".join(
            self._told(key, some) for key, some in found.items() if some != values[key]
        )

    def _named(self, key: str, some: set[str | None]) -> list[str]:
        """The values, with all others in selectors that no test tells from them."""
        return sorted(
            value for each in some if each is not None for value in self._alike[key, each]
        )

    def _told(self, key: str, found: set[str | None]) -> str:
        """One label and its values; where no value is made, an absent one stands for all others."""
        values = set(self._values[key])
        made = {each for each in values if each is not None and each in self._made}
        named = self._named(key, found - made)
        missing = self._named(key, values - found - made)
        others = found & ({None} | made)
        if len(made) > 1:
            listed = sorted("…" if each is None else _like(each, made) for each in found)
            return f"{key} {' or '.join(listed)}"
        if not others:
            return f"{key} {' or '.join(named)}"
        if others == values & ({None} | made):
            return f"{key} other than {' or '.join(missing)}"
        if None in others:
            return f"without {key}" + (f" or {key} {' or '.join(named)}" if named else "")
        return f"with {key}" + (f" other than {' or '.join(missing)}" if missing else "")


def _like(value: str, made: set[str]) -> str:
    """A value; of a made one what it has to contain."""
    if value not in made:
        return value
    return re.sub("[\u2460-\u2fff]+", "…", value)


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

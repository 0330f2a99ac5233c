"""Compare the verdicts of a firewall and of policies, for one profile and direction.

Two lists that agree rule by rule agree on every flow; so the lists are aligned, by the names that
Calico's rules carry, and only the parts between equal rules are compared flow by flow. The names
are only a hint: a wrong alignment differs, and is compared.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Final, NamedTuple

from sync.firewall.services import Traffic
from sync.net.addresses import EVERYWHERE, AddressSet
from sync.net.intervals import Bounds, from_ranges, intersection, to_ranges
from sync.verify.calico_semantics import Direction
from sync.verify.examples import usual_address
from sync.verify.packet_space import (
    FAMILIES,
    ON_THE_WIRE,
    Box,
    Ends,
    Entry,
    Family,
    Far,
    Place,
    common,
    of_family,
    outside,
    spread,
    to_itself,
)
from sync.verify.profiles import Profiles, UnreadableError
from sync.verify.traffic_space import Packet, TrafficSpace

LOOKS: Final = 1_000_000  # at a box beside another one, for one list; past that nothing is said
_SAMPLE_LOOKS: Final = 100_000  # the same, for the flows that are shown of rules
_SHOWN: Final = 20  # differences of one kind


@dataclass(frozen=True, slots=True)
class Witness:
    """One flow: the addresses as (family, number), the profile at each end, and the packet."""

    direction: Direction
    local: str
    local_address: tuple[int, int]
    far: str
    far_address: tuple[int, int]
    packet: Packet


@dataclass(frozen=True, slots=True)
class Difference:
    """A flow that the firewall and the cluster judge differently, and the rules that decide it.

    `firewall` and `calico` are `allow` or `deny`; `rule` is the firewall's rule or default, `place`
    where it stands, None for a default, and `where` the Calico rule, which names the firewall's
    rule `says`. What the cluster allows and the firewall denies breaks the first promise.
    """

    firewall: str
    rule: str
    calico: str
    where: str
    says: str
    flow: Witness
    place: Place | None = None


class _Row(NamedTuple):
    """Entries of one rule with the same action: the flows that they match, as boxes."""

    hint: tuple[str, str]
    entry: Entry
    boxes: tuple[Box, ...]


class _TooManyError(Exception):
    """The comparison needs more looks than allowed."""


class RuleLists:
    """Two lists for one profile's pods in one direction: the firewall's and the policies'.

    `looks` counts the looks at a box beside another one that were needed.
    """

    def __init__(
        self,
        who: str,
        direction: Direction,
        wanted: Sequence[Entry],
        said: Sequence[Entry],
        profiles: Profiles,
        pods: "Pods",
        space: TrafficSpace | None = None,
    ) -> None:
        """`space` divides traffic as in the lists that are compared with these."""
        self._who = who
        self._direction = direction
        self._profiles = profiles
        self._pods = pods
        self.looks = 0
        spoken = (each for entry in (*wanted, *said) for each in entry.traffic)
        self._space = space or TrafficSpace(set(spoken))
        self._wanted = [*self._rows(wanted)]
        self._said = [*self._rows(said)]

    def differences(self) -> tuple[list[Difference], str]:
        """Flows that the two lists decide differently; a clause if not all could be compared."""
        found: list[Difference] = []
        left = dict.fromkeys(("allow", "deny", ""), _SHOWN)
        try:
            for wanted, said in self._gaps():
                for piece, one, other in self._apart(wanted, said):
                    # Many of one kind must not hide those of another.
                    if left[other.hint[1]]:
                        left[other.hint[1]] -= 1
                        found.append(self._difference(piece, one, other))
        except _TooManyError:
            return found, f"it would take more than {LOOKS:,} looks at two boxes"
        return found, ""

    def apart(self) -> Iterator[tuple[Box, str, str]]:
        """All flows that the two decide differently, as boxes, each with the two actions.

        `UnreadableError` if that would take too many looks.
        """
        try:
            for wanted, said in self._gaps():
                for piece, one, other in self._apart(wanted, said, every=True):
                    yield piece, one.hint[1], other.hint[1]
        except _TooManyError:
            raise UnreadableError(f"it would take more than {LOOKS:,} looks") from None

    def allowed(self, boxes: Sequence[Box], *, second: bool) -> list[Box]:
        """The flows of some boxes that the first list allows, or the second; raises as `apart`."""
        try:
            found = self._first(self._said if second else self._wanted, boxes)
            return [piece for piece, row in found if row and row.hint[1] == "allow"]
        except _TooManyError:
            raise UnreadableError(f"it would take more than {LOOKS:,} looks") from None

    def samples(self, known: Collection[Place]) -> dict[Place, Witness]:
        """A flow for each allow of the firewall that Calico cannot express exactly.

        It is one that no earlier rule decides. Of rules that are `known`, of those that decide none
        here, and of those that it would take too long to find one of, there is none.
        """
        found: dict[Place, Witness] = {}
        looks = _SAMPLE_LOOKS
        for number, row in enumerate(self._wanted):
            place = row.entry.place
            if not place or row.entry.exact or row.entry.action == "deny" or place in known:
                continue
            left = [*row.boxes]
            for earlier in self._wanted[:number]:
                looks -= len(left) * len(earlier.boxes)
                left = [part for box in left for part in outside(box, earlier.boxes)]
                if not left or looks < 0:
                    break
            if looks < 0:
                break
            if left:
                found[place] = self.witness(left[0])
        return found

    # --- boxes ------------------------------------------------------------------------------------

    def _rows(self, entries: Sequence[Entry]) -> Iterator[_Row]:
        """Neighbours of one rule and action together, each with the fewest boxes that are easy."""
        for hint, some in groupby(entries, key=lambda each: (each.rule, each.action)):
            together = [*some]
            if boxes := self.boxes(together):
                yield _Row(hint, together[0], boxes)
            if any(map(self._decides_all, together)):
                return  # no later rule is ever compared

    def boxes(self, entries: Sequence[Entry]) -> tuple[Box, ...]:
        """The flows of some entries of one rule, with the fewest boxes that are easy."""
        return tuple(box for family in FAMILIES for box in self._boxes(entries, family))

    def _decides_all(self, entry: Entry) -> bool:
        return (
            entry.local == EVERYWHERE
            and entry.far == ((self._profiles.everyone, EVERYWHERE),)
            and entry.traffic == (Traffic(),)
            and entry.families == FAMILIES
        )

    def _boxes(self, entries: Sequence[Entry], family: Family) -> Iterator[Box]:
        everything = self._space.everything[family]
        parts = [
            (local, far, traffic)
            for each in entries
            if family in each.families
            for traffic in [self._space.bits(each.traffic) & everything]
            if traffic
            for local in [self._pods.local(each.local, family)]
            if local
            for far in [self._pods.far(each.far, family)]
            if far
        ]
        locals_ = dict.fromkeys(local for local, _, _ in parts)
        fars = dict.fromkeys(far for _, far, _ in parts)
        packets = dict.fromkeys(traffic for _, _, traffic in parts)
        if len(set(parts)) == len(locals_) * len(fars) * len(packets):
            # A product, as one rule of the firewall is: one box a profile and its addresses.
            local = self._pods.united(tuple(locals_))
            traffic = 0
            for each in packets:
                traffic |= each
            parts = [(local, self._pods.joined(tuple(fars)), traffic)]
        for local, far, traffic in parts:
            for profiles, addresses in far:
                yield Box(family, local, profiles, addresses, traffic)

    # --- what differs -----------------------------------------------------------------------------

    def _gaps(self) -> Iterator[tuple[slice, slice]]:
        """The stretches of both lists between rules that are the same."""
        wanted, said = ([row.hint for row in rows] for rows in (self._wanted, self._said))
        matcher = SequenceMatcher(None, wanted, said, autojunk=False)
        start, other = 0, 0
        for block in matcher.get_matching_blocks():
            for offset in range(block.size):
                here, there = block.a + offset, block.b + offset
                if set(self._wanted[here].boxes) == set(self._said[there].boxes):
                    if start < here or other < there:
                        yield slice(start, here), slice(other, there)
                    start, other = here + 1, there + 1
        if start < len(self._wanted) or other < len(self._said):
            yield slice(start, len(self._wanted)), slice(other, len(self._said))

    def _apart(
        self, wanted: slice, said: slice, *, every: bool = False
    ) -> Iterator[tuple[Box, _Row, _Row]]:
        """The flows of two stretches that the two lists decide differently.

        Some of those that the same two rules decide are enough, but where `every` one is asked for.
        """
        ours, theirs = self._wanted[wanted], self._said[said]
        told: set[tuple[int, int]] = set()
        touched = [box for row in (*ours, *theirs) for box in row.boxes]
        for piece, first in self._first(ours, touched):
            for part, second in self._first(theirs, [piece]):
                if first and second and first.hint[1] == second.hint[1]:
                    continue
                if first is None and second is None:
                    continue
                # Flows that an earlier rule decides are not here: only the whole lists have that
                # rule.
                for deep, one in self._first(self._wanted, [part]):
                    for deeper, other in self._first(self._said, [deep]):
                        if one is None or other is None:
                            raise UnreadableError("a list ends before every flow is decided")
                        pair = (id(one), id(other))
                        if one.hint[1] == other.hint[1] or pair in told or to_itself(deeper):
                            continue
                        if not every:
                            told.add(pair)
                        yield deeper, one, other

    def _first(
        self, rows: Sequence[_Row], boxes: Sequence[Box]
    ) -> Iterator[tuple[Box, _Row | None]]:
        """Some flows by the first row that matches them, None for those that none does."""
        for one in boxes:
            left = [one]
            for row in rows:
                for taken in row.boxes:
                    yield from ((both, row) for box in left if (both := common(box, taken)))
                left = self._left(left, row)
                if not left:
                    break
            yield from ((box, None) for box in left)

    def _left(self, boxes: Sequence[Box], row: _Row) -> list[Box]:
        """The part of some boxes that a row does not match."""
        self.looks += len(boxes) * len(row.boxes)
        if self.looks > LOOKS:
            raise _TooManyError
        return [part for box in boxes for part in outside(box, row.boxes)]

    def _difference(self, piece: Box, wanted: _Row, said: _Row) -> Difference:
        return Difference(
            firewall=wanted.hint[1],
            rule=wanted.hint[0],
            calico=said.hint[1],
            where=said.entry.where,
            says=said.hint[0],
            flow=self.witness(piece),
            place=wanted.entry.place,
        )

    def witness(self, piece: Box) -> Witness:
        """One of some flows as an example (`examples`), between two addresses if it can be."""
        bit = piece.profiles & -piece.profiles
        (far,) = self._profiles.names(bit)
        family, pod = piece.family, not bit & self._profiles.no_pod
        local = usual_address(piece.local, family, pod=True)
        there = usual_address(piece.far, family, pod=pod, but=local)
        if there == local:
            local = usual_address(piece.local, family, pod=True, but=there)
        return Witness(
            self._direction,
            self._who,
            (piece.family, local),
            far,
            (piece.family, there),
            self._space.packet(piece.traffic),
        )


class Pods:
    """The addresses that pods can have, with cached results."""

    def __init__(self, profiles: Profiles, pods: AddressSet | None) -> None:
        self._profiles = profiles
        pods = ON_THE_WIRE if pods is None else pods & ON_THE_WIRE
        self._cidrs: dict[Family, Bounds] = {4: pods.v4, 6: pods.v6}
        self._local: dict[tuple[AddressSet, Family], Bounds] = {}
        self._far: dict[tuple[Ends, Family], tuple[tuple[int, Bounds], ...]] = {}
        self._united: dict[tuple[Bounds, ...], Bounds] = {}
        self._joined: dict[tuple[Far, ...], Far] = {}

    def local(self, addresses: AddressSet, family: Family) -> Bounds:
        """The addresses that pods of a policy can have."""
        key = (addresses, family)
        if key not in self._local:
            self._local[key] = self._held(of_family(addresses, family), family)
        return self._local[key]

    def far(self, ends: Ends, family: Family) -> Far:
        """The addresses that far ends can have: pods in pod networks, others anywhere."""
        key = (ends, family)
        if key not in self._far:
            self._far[key] = spread(self._clipped(ends, family))
        return self._far[key]

    def _clipped(self, ends: Ends, family: Family) -> Iterator[tuple[int, Bounds]]:
        for profiles, addresses in ends:
            bounds = of_family(addresses, family)
            others = intersection(bounds, of_family(ON_THE_WIRE, family))
            yield profiles & self._profiles.no_pod, others
            pods = self._profiles.pods & ~self._profiles.impossible
            yield profiles & pods, self._held(bounds, family)

    def _held(self, bounds: Bounds, family: Family) -> Bounds:
        return intersection(bounds, self._cidrs[family])

    def united(self, some: tuple[Bounds, ...]) -> Bounds:
        """The union of some addresses."""
        if len(some) == 1:
            return some[0]
        if some not in self._united:
            ranges = [each for bounds in some for each in to_ranges(bounds)]
            self._united[some] = from_ranges(ranges)
        return self._united[some]

    def joined(self, some: tuple[Far, ...]) -> Far:
        """The union of some far ends."""
        if len(some) == 1:
            return some[0]
        if some not in self._joined:
            self._joined[some] = spread(each for far in some for each in far)
        return self._joined[some]

"""Flows between any two ends as few boxes: who at which addresses, to whom, by which traffic.

The boxes of one place of the comparison have the pods of one kind at their near end; here both ends
may be several kinds of pods, each at addresses of its own, and others.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Final, NamedTuple

from sync.net.addresses import AddressSet
from sync.net.intervals import Bounds, to_ranges
from sync.verify.packet_space import FAMILIES, Box, Ends, Family, spread
from sync.verify.traffic_space import TrafficSpace

_MOST_ORDERED: Final = 2_000  # boxes that are joined in every order, to keep the best


class FlowBox(NamedTuple):
    """All flows from one of `source` to one of `destination`, in each family by its `traffic`."""

    source: Ends
    destination: Ends
    traffic: int


class _Joined(NamedTuple):
    """The same in one family: ends are (profiles, addresses), sorted, no profile in two of them."""

    source: tuple[tuple[int, Bounds], ...]
    destination: tuple[tuple[int, Bounds], ...]
    traffic: int


def sent(box: Box, profile: int) -> tuple[Family, _Joined]:
    """The flows of a box as pods of a profile send them."""
    near, far = ((profile, box.local),), ((box.profiles, box.far),)
    return box.family, _Joined(near, far, box.traffic)


def received(box: Box, profile: int) -> tuple[Family, _Joined]:
    """The flows of a box as pods of a profile receive them."""
    near, far = ((profile, box.local),), ((box.profiles, box.far),)
    return box.family, _Joined(far, near, box.traffic)


def turned(box: Box, near: int) -> Box:
    """The flows of a box as the far ends see them; `near` is the profile of its near ends."""
    return box._replace(local=box.far, profiles=near, far=box.local)


def joined(boxes: Iterable[tuple[Family, _Joined]], space: TrafficSpace) -> list[FlowBox]:
    """The same flows in few boxes; those given must not overlap."""
    by_family: dict[Family, list[_Joined]] = {family: [] for family in FAMILIES}
    for family, box in boxes:
        by_family[family].append(box)
    found = {family: _fewest(some) for family, some in by_family.items()}
    return [*_of_both(found[4], found[6], space)]


def _fewest(boxes: list[_Joined]) -> list[_Joined]:
    orders = [*permutations(range(3))]
    if len(boxes) > _MOST_ORDERED:
        orders = orders[:1]
    return min((_joined_by(boxes, order) for order in orders), key=len)


def _joined_by(boxes: list[_Joined], order: Sequence[int]) -> list[_Joined]:
    """Join boxes that differ in one side only, until there are no more of these."""
    while True:
        before = len(boxes)
        for side in order:
            together: dict[tuple[object, ...], list[_Joined]] = {}
            for box in boxes:
                others = tuple(each for number, each in enumerate(box) if number != side)
                together.setdefault(others, []).append(box)
            boxes = [_united(some, side) for some in together.values()]
        if len(boxes) == before:
            return boxes


def _united(boxes: Sequence[_Joined], side: int) -> _Joined:
    first = boxes[0]
    if len(boxes) == 1:
        return first
    if side == 2:
        traffic = 0
        for box in boxes:
            traffic |= box.traffic
        return first._replace(traffic=traffic)
    ends = [end for box in boxes for end in (box.destination if side else box.source)]
    found = spread(ends)
    return first._replace(destination=found) if side else first._replace(source=found)


def _of_both(
    v4: Sequence[_Joined], v6: Sequence[_Joined], space: TrafficSpace
) -> Iterable[FlowBox]:
    """The boxes of both families, with those of the same ends and traffic as one."""
    common = space.everything[4] & space.everything[6]

    def like(box: _Joined) -> tuple[object, ...]:
        profiles = [tuple(bits for bits, _ in ends) for ends in (box.source, box.destination)]
        return *profiles, box.traffic & common

    left: dict[tuple[object, ...], list[_Joined]] = {}
    for box in v6:
        left.setdefault(like(box), []).append(box)
    for box in v4:
        alike = left.get(like(box), [])
        other = alike.pop() if alike else None
        traffic = box.traffic | (other.traffic if other else 0)
        yield FlowBox(
            _both(box.source, other.source if other else ()),
            _both(box.destination, other.destination if other else ()),
            traffic,
        )
    for some in left.values():
        for box in some:
            yield FlowBox(_both((), box.source), _both((), box.destination), box.traffic)


def _both(v4: Sequence[tuple[int, Bounds]], v6: Sequence[tuple[int, Bounds]]) -> Ends:
    found: dict[int, AddressSet] = {}
    for bits, bounds in v4:
        found[bits] = AddressSet(v4=bounds)
    for bits, bounds in v6:
        found[bits] = AddressSet(found[bits].v4 if bits in found else (), bounds)
    return tuple(sorted(found.items(), key=lambda each: each[0]))


def size_of(box: FlowBox) -> tuple[int, int]:
    """The number of flows between addresses, IPv4 first: all of it is small beside any IPv6."""
    return _count(box, lambda held: held.v4), _count(box, lambda held: held.v6)


def _count(box: FlowBox, of: Callable[[AddressSet], Bounds]) -> int:
    near, far = (
        sum(
            bits.bit_count() * sum(past - first for first, past in to_ranges(of(held)))
            for bits, held in ends
        )
        for ends in (box.source, box.destination)
    )
    return near * far * box.traffic.bit_count()

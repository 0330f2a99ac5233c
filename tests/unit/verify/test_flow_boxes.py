"""Flows of both ends are joined into few boxes, and into the same flows; against brute force."""

from collections.abc import Iterable, Sequence
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from sync.firewall.services import TCP, Traffic
from sync.net.intervals import Bounds, from_ranges, to_ranges
from sync.net.ports import ports
from sync.verify.flow_boxes import FlowBox, joined, received, sent
from sync.verify.packet_space import Box, Ends, Family, without
from sync.verify.traffic_space import TrafficSpace

Flow = tuple[int, int, int, int, int]
"""Profile and address of either end, and a bit of traffic."""

SPACE = TrafficSpace([Traffic(TCP, ports(each)) for each in ("1", "2")])
BITS = (0, 1, 2)
SENDERS = (1, 2)
ADDRESSES = range(4)


def bounds_of(numbers: Iterable[int]) -> Bounds:
    return from_ranges((number, number + 1) for number in numbers)


some = st.sets(st.sampled_from(ADDRESSES), min_size=1).map(bounds_of)
bits = st.integers(1, (1 << len(BITS)) - 1)
rooms = st.tuples(st.sampled_from(SENDERS), st.builds(Box, st.just(4), some, bits, some, bits))


def each_bit(number: int) -> list[int]:
    return [bit for bit in range(number.bit_length()) if number >> bit & 1]


def numbers(bounds: Bounds) -> list[int]:
    return [each for first, past in to_ranges(bounds) for each in range(first, past)]


def flows_of(sender: int, box: Box) -> set[Flow]:
    return set(
        product(
            each_bit(sender),
            numbers(box.local),
            each_bit(box.profiles),
            numbers(box.far),
            each_bit(box.traffic),
        )
    )


def flows_in(box: FlowBox) -> set[Flow]:
    def ends(some: Ends) -> list[tuple[int, int]]:
        return [
            (bit, address)
            for profiles, held in some
            for bit in each_bit(profiles)
            for address in numbers(held.v4)
        ]

    return {
        (*source, *destination, bit)
        for source in ends(box.source)
        for destination in ends(box.destination)
        for bit in each_bit(box.traffic)
    }


def apart(given: Sequence[tuple[int, Box]]) -> list[tuple[int, Box]]:
    """The same flows in boxes of which no two meet."""
    found: list[tuple[int, Box]] = []
    for sender, box in given:
        parts = [box]
        for other, taken in found:
            if other == sender:
                parts = [left for part in parts for left in without(part, taken)]
        found += ((sender, part) for part in parts)
    return found


def crumbs(given: Iterable[tuple[int, Box]]) -> list[tuple[int, Box]]:
    """The same flows, each alone, as the pods of one kind at one address send it."""
    return [
        (1 << from_, Box(4, bounds_of([at]), 1 << to, bounds_of([there]), 1 << bit))
        for sender, box in given
        for from_, at, to, there, bit in sorted(flows_of(sender, box))
    ]


def boxes_of(given: Iterable[tuple[int, Box]]) -> list[FlowBox]:
    return joined((sent(box, sender) for sender, box in given), SPACE)


@given(st.lists(rooms, min_size=1, max_size=4))
def test_joined_boxes_have_the_same_flows_each_once(given: list[tuple[int, Box]]) -> None:
    alone = apart(given)
    found = boxes_of(alone)
    flows = [flow for box in found for flow in flows_in(box)]
    assert len(flows) == len(set(flows))
    assert set(flows) == {flow for sender, box in given for flow in flows_of(sender, box)}
    assert len(found) <= len(alone)


@given(rooms)
def test_what_one_box_can_hold_is_one_box(given: tuple[int, Box]) -> None:
    (found,) = boxes_of(crumbs([given]))
    assert flows_in(found) == flows_of(*given)


@given(rooms, rooms)
def test_what_two_boxes_can_hold_is_never_three(
    one: tuple[int, Box], other: tuple[int, Box]
) -> None:
    alone = apart([one, other])
    assert len(boxes_of(crumbs(alone))) <= max(2, len(alone))


def test_the_order_that_needs_fewest_boxes_is_taken() -> None:
    """Joined by the sources first, these are three boxes; by the destinations first, two."""
    one = Box(4, bounds_of([0]), 0b11, bounds_of([2]), 0b10)
    other = Box(4, bounds_of([2]), 0b10, bounds_of([2]), 0b11)
    assert len(boxes_of(crumbs([(1, one), (1, other)]))) == 2


def test_what_is_alike_in_both_families_is_one_box() -> None:
    def at(family: Family) -> Box:
        return Box(family, bounds_of([1]), 1, bounds_of([2]), 1)

    both = (sent(at(4), 1), received(at(6)._replace(local=bounds_of([2]), far=bounds_of([1])), 1))
    (found,) = joined(both, SPACE)
    assert [(bits, held.v4, held.v6) for bits, held in found.source] == [
        (1, bounds_of([1]), bounds_of([1]))
    ]

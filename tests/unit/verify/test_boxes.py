"""Boxes and traffic against brute force, in universes small enough to write out."""

from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.firewall.services import ICMP, ICMPV6, TCP, UDP, Traffic
from sync.net.intervals import Bounds, from_ranges, to_ranges
from sync.net.ports import PortSet, ports
from sync.verify.packet_space import FAMILIES, Box, Family, common, without
from sync.verify.traffic_space import Carried, Packet, TrafficSpace

ADDRESSES = range(6)
BITS = range(3)
SCTP, GRE = 132, 47
Point = tuple[int, ...]


def bounds_of(numbers: Iterable[int]) -> Bounds:
    return from_ranges((number, number + 1) for number in numbers)


some_bits = st.integers(1, (1 << len(BITS)) - 1)
some_addresses = st.sets(st.sampled_from(ADDRESSES), min_size=1).map(bounds_of)
boxes = st.builds(
    Box, st.sampled_from(FAMILIES), some_addresses, some_bits, some_addresses, some_bits
)


def points(box: Box) -> set[Point]:
    """Every flow of a box."""
    local, far = (
        [number for first, past in to_ranges(bounds) for number in range(first, past)]
        for bounds in (box.local, box.far)
    )
    profiles, traffic = (
        [bit for bit in BITS if bits >> bit & 1] for bits in (box.profiles, box.traffic)
    )
    return set(product([box.family], local, profiles, far, traffic))


# --- boxes ----------------------------------------------------------------------------------------


@given(boxes, boxes)
def test_what_is_common_is_in_both(left: Box, right: Box) -> None:
    both = common(left, right)
    assert (points(both) if both else set()) == points(left) & points(right)


@given(boxes, boxes)
def test_what_is_left_of_a_box_lies_apart_and_is_not_in_the_other(box: Box, taken: Box) -> None:
    left = [points(part) for part in without(box, taken)]
    assert all(left), "no part is empty"
    assert sum(map(len, left)) == len(points(box) - points(taken)), "no two parts meet"
    assert set[Point]().union(*left) == points(box) - points(taken)


# --- traffic --------------------------------------------------------------------------------------

PORTS = [0, 1, 79, 80, 81, 65534, 65535]
TYPES, CODES = [0, 3, 8, 255], [0, 1, 255]
port_sets = st.one_of(
    st.none(),
    st.lists(
        st.tuples(st.sampled_from(PORTS), st.sampled_from([*PORTS, 65536])), min_size=1, max_size=3
    ).map(lambda ranges: PortSet(from_ranges(ranges))),
)
traffic = st.one_of(
    st.just(Traffic()),
    st.builds(Traffic, st.sampled_from([TCP, UDP, SCTP]), port_sets, port_sets),
    st.builds(
        Traffic,
        st.sampled_from([ICMP, ICMPV6]),
        icmp=st.one_of(
            st.none(),
            st.tuples(st.sampled_from(TYPES), st.one_of(st.none(), st.sampled_from(CODES))),
        ),
    ),
    st.builds(Traffic, st.sampled_from([0, GRE, 254])),
)
PACKETS = [
    *(
        Packet(protocol, source, port, None)
        for protocol, source, port in product((TCP, UDP, SCTP), PORTS, PORTS)
    ),
    *(
        Packet(protocol, 0, 0, (kind, code))
        for protocol, kind, code in product((ICMP, ICMPV6), TYPES, CODES)
    ),
    *(Packet(protocol, 0, 0, None) for protocol in (0, GRE, 253, 254)),
]


def holds(said: Traffic, packet: Packet) -> bool:
    """Whether a packet is some traffic, one question at a time."""
    if said.protocol is None:
        return True
    if said.protocol != packet.protocol:
        return False
    if said.icmp is not None:
        assert packet.icmp is not None
        kind, code = said.icmp
        return kind == packet.icmp[0] and code in (None, packet.icmp[1])
    return (said.ports is None or packet.port in said.ports) and (
        said.source_ports is None or packet.source_port in said.source_ports
    )


def pieces(bits: int) -> list[int]:
    return [1 << number for number in range(bits.bit_length()) if bits >> number & 1]


@given(st.lists(traffic, max_size=5))
def test_a_packet_of_a_piece_is_in_the_traffic_that_holds_the_piece(spoken: list[Traffic]) -> None:
    space = TrafficSpace(spoken)
    for piece in pieces((1 << space.size) - 1):
        packet = space.packet(piece)
        for each in spoken:
            assert bool(space.bits([each]) & piece) == holds(each, packet), (each, packet)


@given(st.lists(traffic, max_size=5))
def test_every_packet_is_like_that_of_some_piece(spoken: list[Traffic]) -> None:
    space = TrafficSpace(spoken)
    kinds = {
        tuple(holds(each, space.packet(piece)) for each in spoken)
        for piece in pieces((1 << space.size) - 1)
    }
    for packet in PACKETS:
        assert tuple(holds(each, packet) for each in spoken) in kinds, packet


@given(st.lists(traffic, min_size=1, max_size=5))
def test_the_bits_of_some_traffic_are_those_of_each(spoken: list[Traffic]) -> None:
    space = TrafficSpace(spoken)
    together = 0
    for each in spoken:
        together |= space.bits([each])
    assert space.bits(spoken) == together
    assert space.bits([]) == 0
    assert space.bits([Traffic()]) == (1 << space.size) - 1


@given(st.lists(traffic, max_size=5))
def test_icmp_is_of_one_family_and_all_else_of_both(spoken: list[Traffic]) -> None:
    space = TrafficSpace(spoken)
    families: tuple[tuple[Family, int], ...] = ((4, ICMPV6), (6, ICMP))
    for family, foreign in families:
        for piece in pieces((1 << space.size) - 1):
            allowed = bool(space.everything[family] & piece)
            assert allowed == (space.packet(piece).protocol != foreign)


def test_the_packet_is_a_usual_one_of_the_pieces() -> None:
    web = Traffic(TCP, PortSet((80, 81)))
    space = TrafficSpace([web, Traffic(ICMP, icmp=(8, 0)), Traffic(UDP, None, PortSet((53, 54)))])
    assert space.packet(space.bits([web])) == Packet(TCP, 50_000, 80, None)
    assert space.packet(space.bits([Traffic(ICMP, icmp=(8, 0))])) == Packet(ICMP, 0, 0, (8, 0))
    dns = space.bits([Traffic(UDP, None, PortSet((53, 54)))])
    assert space.packet(dns) == Packet(UDP, 53, 53, None)


def test_a_protocol_that_nobody_speaks_of_stands_for_all_others() -> None:
    space = TrafficSpace([Traffic(254), Traffic(TCP)])
    said = space.bits([Traffic(254), Traffic(TCP)])
    left = space.bits([Traffic()]) & ~said
    assert len(pieces(left)) == 1
    assert space.packet(left).protocol not in (254, TCP)


HTTPS, DNS = Traffic(TCP, ports("443")), Traffic(TCP, ports("53"))


def test_all_but_some_types_is_said_by_what_is_left_out() -> None:
    """Which other types there are, no reader of one text knows."""
    echo, port, kind = (Traffic(ICMP, icmp=each) for each in ((8, None), (3, 3), (3, None)))
    space = TrafficSpace([echo, port, kind, HTTPS])
    rest = space.bits([Traffic(ICMP)]) & ~space.bits([echo, port])
    assert space.said(rest) == ("icmp but type 3 code 3, type 8",)
    assert space.said(rest & ~space.bits([kind])) == ("icmp but type 3, type 8",)
    assert space.said(rest & space.bits([kind])) == ("icmp type 3 but code 3",)


def test_what_goes_from_any_source_port_is_spelled_once() -> None:
    time = Traffic(TCP, ports("123"), ports("123"))
    space = TrafficSpace([DNS, time])
    assert space.spelled(space.bits([DNS, time])) == (
        (Carried(TCP, ports("53")), Carried(TCP, ports("123"), ports("123"))),
        False,
    )


@pytest.mark.parametrize(
    ("spoken", "some", "words"),
    [
        ([HTTPS, Traffic(TCP, ports("8080"))], [HTTPS], ("tcp/443",)),
        ([HTTPS, Traffic(TCP)], [Traffic(TCP)], ("tcp",)),
        ([HTTPS, Traffic()], [Traffic()], ("any traffic",)),
        ([HTTPS], [], ()),
        ([Traffic(GRE), HTTPS], [Traffic(GRE)], ("IP protocol 47",)),
        ([Traffic(1, icmp=(8, None))], [Traffic(1, icmp=(8, None))], ("icmp type 8",)),
        (
            [Traffic(1, icmp=(3, 1)), Traffic(1, icmp=(3, None))],
            [Traffic(1, icmp=(3, 1))],
            ("icmp type 3 code 1",),
        ),
        (
            [Traffic(1, icmp=(3, 1)), Traffic(1, icmp=(8, None)), Traffic(1)],
            [Traffic(1, icmp=(3, 1)), Traffic(1, icmp=(8, None))],
            ("icmp type 3 code 1", "icmp type 8"),
        ),
        (
            [DNS, Traffic(TCP, ports("123"), ports("123"))],
            [DNS, Traffic(TCP, ports("123"), ports("123"))],
            ("tcp/53", "tcp/123 from source ports 123"),
        ),
    ],
)
def test_traffic_is_said_in_words(
    spoken: list[Traffic], some: list[Traffic], words: tuple[str, ...]
) -> None:
    space = TrafficSpace(spoken)
    assert space.said(space.bits(some)) == words

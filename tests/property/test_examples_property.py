"""An example is one of the flows it is of, by a reading of its own, and no odd one without need."""

from collections.abc import Iterator
from ipaddress import ip_address

import hypothesis.strategies as st
from hypothesis import given

from sync.firewall.services import ICMP, ICMPV6, Traffic
from sync.net.addresses import V4_END, V6_END, written
from sync.net.intervals import Bounds, from_ranges, to_ranges
from sync.net.ports import PortSet
from sync.verify.examples import usual_address
from sync.verify.packet_space import Family
from sync.verify.traffic_space import Packet, TrafficSpace

EDGES = (0, 1, 53, 80, 443, 444, 1024, 50_000, 65_535)


def sets_of(numbers: st.SearchStrategy[int], end: int) -> st.SearchStrategy[Bounds]:
    """Some ranges, one at least."""
    ranges = st.tuples(numbers, st.sampled_from((1, 2, 3, 4, 255, 256, 70_000)))
    listed = st.lists(ranges, min_size=1, max_size=4)
    return listed.map(
        lambda some: from_ranges((first, min(first + size, end)) for first, size in some)
    )


PORTS = sets_of(st.sampled_from(EDGES) | st.integers(0, 65_535), 65_536).map(PortSet)
SOME_PORTS = st.none() | PORTS
PORTED = st.builds(Traffic, st.sampled_from((6, 17, 132)), SOME_PORTS, SOME_PORTS)
NUMBER = st.sampled_from((0, 3, 8, 128, 255))
ICMPS = st.builds(
    lambda protocol, icmp: Traffic(protocol, icmp=icmp),
    st.sampled_from((ICMP, ICMPV6)),
    st.none() | st.tuples(NUMBER, st.none() | NUMBER),
)
PLAIN = st.builds(Traffic, st.sampled_from((None, 47, 50, 254)))
TRAFFIC = PORTED | ICMPS | PLAIN


def is_some(traffic: Traffic, packet: Packet) -> bool:
    """Whether a packet is some of this traffic."""
    if traffic.protocol not in (None, packet.protocol):
        return False
    if traffic.icmp:
        kind, code = traffic.icmp
        return packet.icmp is not None and packet.icmp[0] == kind and code in (None, packet.icmp[1])
    pairs = ((traffic.ports, packet.port), (traffic.source_ports, packet.source_port))
    return all(ports is None or inside(ports.bounds, port) for ports, port in pairs)


def inside(bounds: Bounds, number: int) -> bool:
    return any(first <= number < past for first, past in to_ranges(bounds))


@given(
    st.lists(TRAFFIC, min_size=1, max_size=5), st.sets(st.integers(0, 4)), st.sampled_from((4, 6))
)
def test_a_packet_is_in_what_some_rules_match_and_others_do_not(
    spoken: list[Traffic], taken: set[int], family: Family
) -> None:
    space = TrafficSpace(spoken)
    for number, wanted in enumerate(spoken):
        others = [spoken[each] for each in taken if each < len(spoken) and each != number]
        bits = space.bits([wanted]) & ~space.bits(others) & space.everything[family]
        if not bits:
            continue
        packet = space.packet(bits)
        assert packet == space.packet(bits)
        assert is_some(wanted, packet)
        assert not any(is_some(each, packet) for each in others)
        assert packet.protocol != (ICMPV6 if family == 4 else ICMP)
        if not packet.port and packet.protocol in (6, 17, 132) and not others:
            assert wanted.ports == PortSet((0, 1))  # that is all there is


ADDRESSES: dict[Family, st.SearchStrategy[int]] = {
    4: st.integers(0, V4_END - 1)
    | st.integers(0, 255).map(lambda octet: octet << 24)
    | st.integers(0, 255).map(lambda octet: (octet << 24) + 255),
    6: st.integers(0, V6_END - 1) | st.integers(0, 255).map(lambda octet: octet << 120),
}


@given(st.data(), st.sampled_from((4, 6)), st.booleans())
def test_an_address_is_one_of_those_given_and_a_host_if_one_is(
    data: st.DataObject, family: Family, pod: bool
) -> None:
    some = data.draw(sets_of(ADDRESSES[family], V4_END if family == 4 else V6_END))
    found = usual_address(some, family, pod=pod)
    assert inside(some, found)
    if not is_host(family, found):
        assert not any(is_host(family, each) for each in near(some)), written((family, found))
    another = usual_address(some, family, pod=pod, but=found)
    assert inside(some, another)
    assert another != found or sum(past - first for first, past in to_ranges(some)) == 1


def is_host(family: Family, number: int) -> bool:
    """Whether an address may be a host's, as the standard library has it."""
    one = ip_address(number.to_bytes(4 if family == 4 else 16))
    odd = one.is_multicast or one.is_loopback or one.is_unspecified or one.is_link_local
    if family == 4:
        return not (odd or one.is_reserved or number >> 24 == 0)
    return not odd and (number >> 125 == 1 or number >> 121 == 0x7E)


def near(some: Bounds) -> Iterator[int]:
    """Addresses at the ends of each range."""
    for first, past in to_ranges(some):
        yield from {*range(first, min(past, first + 300)), past - 1}

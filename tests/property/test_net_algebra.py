"""Sets of addresses and ports against Python's own sets and `ipaddress`."""

import ipaddress
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync.net import intervals
from sync.net.addresses import (
    V4_END,
    V6_END,
    AddressSet,
    address,
    address_range,
    network,
)
from sync.net.ports import PortSet, ports

Numbers = frozenset[tuple[int, int]]
"""A small set of addresses, each as (family, number)."""

# A handful of neighbours at both ends and in the middle of each family, across aligned blocks.
_WIDTH = 10
UNIVERSE = [
    (family, number)
    for family, end in ((4, V4_END), (6, V6_END))
    for start in (0, end // 2 - _WIDTH // 2, end - _WIDTH)
    for number in range(start, start + _WIDTH)
]

numbers = st.frozensets(st.sampled_from(UNIVERSE))
texts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.sampled_from(UNIVERSE).map(lambda each: str(ip(*each))),
)


def ip(family: int, number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.IPv4Address(number) if family == 4 else ipaddress.IPv6Address(number)


def one(family: int, number: int) -> AddressSet:
    bounds = (number, number + 1)
    return AddressSet(v4=bounds) if family == 4 else AddressSet(v6=bounds)


def of(held: Iterable[tuple[int, int]]) -> AddressSet:
    return AddressSet.union(one(*each) for each in held)


def held_by(found: AddressSet) -> Numbers:
    """Every address of a set that is small enough to write out."""
    return frozenset(
        (family, number)
        for family, bounds in ((4, found.v4), (6, found.v6))
        for first, past in intervals.to_ranges(bounds)
        for number in range(first, past)
    )


@given(numbers)
def test_a_set_holds_what_it_was_made_of(held: Numbers) -> None:
    assert held_by(of(held)) == held
    assert of(held).size == len(held)
    assert bool(of(held)) == bool(held)


@given(numbers, numbers)
def test_algebra_is_that_of_sets(left: Numbers, right: Numbers) -> None:
    assert held_by(of(left) | of(right)) == left | right
    assert held_by(of(left) & of(right)) == left & right
    assert held_by(of(left) - of(right)) == left - right


@given(numbers, numbers)
def test_equal_sets_are_equal_values_however_they_came_about(left: Numbers, right: Numbers) -> None:
    made = of(left) | of(right)
    assert made == of(left | right)
    assert made == of(sorted(left | right, reverse=True))
    assert made == (of(left) - of(right)) | (of(right) - of(left)) | (of(left) & of(right))
    assert hash(made) == hash(of(left | right))


@given(st.lists(numbers))
def test_the_union_of_many_is_the_union_of_each_with_the_next(many: list[Numbers]) -> None:
    folded = AddressSet()
    for each in many:
        folded |= of(each)
    assert AddressSet.union(map(of, many)) == folded


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40))))
def test_boundaries_strictly_rise_and_are_even_in_number(ranges: list[tuple[int, int]]) -> None:
    bounds = intervals.from_ranges(ranges)
    assert len(bounds) % 2 == 0
    assert all(left < right for left, right in pairwise(bounds))
    expected = {number for first, past in ranges for number in range(first, past)}
    assert {n for first, past in intervals.to_ranges(bounds) for n in range(first, past)} == (
        expected
    )


bounds_of = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6).map(
    intervals.from_ranges
)


@given(st.lists(bounds_of, max_size=6))
def test_what_two_of_many_sets_hold_is_what_counting_says(many: list[intervals.Bounds]) -> None:
    counted = Counter(
        number
        for each in many
        for first, past in intervals.to_ranges(each)
        for number in range(first, past)
    )
    made = intervals.twice(many)
    assert made == intervals.from_ranges((n, n + 1) for n, held in counted.items() if held > 1)
    both = [AddressSet(each, each) for each in many]
    assert AddressSet.twice(both) == AddressSet(made, made)


@given(bounds_of, bounds_of)
def test_what_the_algebra_makes_of_boundaries_is_in_the_one_form(
    left: intervals.Bounds, right: intervals.Bounds
) -> None:
    for operation in (intervals.union, intervals.intersection, intervals.difference):
        made = operation(left, right)
        assert made == intervals.from_ranges(intervals.to_ranges(made))


# --- CIDRs ----------------------------------------------------------------------------------------


@given(numbers)
def test_cidrs_are_the_fewest_sorted_and_exact(held: Numbers) -> None:
    v4 = [ipaddress.IPv4Network(number) for family, number in held if family == 4]
    v6 = [ipaddress.IPv6Network(number) for family, number in held if family == 6]
    collapsed = [*ipaddress.collapse_addresses(v4), *ipaddress.collapse_addresses(v6)]
    assert of(held).cidrs() == [str(each) for each in collapsed]


@given(texts, texts)
@example("0.0.0.0", "255.255.255.255")
@example("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
@example("10.0.0.1", "10.0.0.14")
def test_a_range_becomes_what_ipaddress_summarises_it_to(left: str, right: str) -> None:
    first, last = sorted(map(ipaddress.ip_address, (left, right)), key=lambda each: int(each))
    if first.version != last.version:
        with pytest.raises(ValueError, match="two address families"):
            address_range(str(first), str(last))
        return
    found = address_range(str(first), str(last))
    assert found.cidrs() == [str(net) for net in ipaddress.summarize_address_range(first, last)]
    assert found.size == int(last) - int(first) + 1
    if first != last:
        with pytest.raises(ValueError, match="comes before"):
            address_range(str(last), str(first))


@given(numbers)
def test_cidrs_read_back_are_the_same_set(held: Numbers) -> None:
    assert AddressSet.union(map(network, of(held).cidrs())) == of(held)


@given(numbers)
def test_neighbouring_and_repeated_nets_are_merged(held: Numbers) -> None:
    nets = of(held).cidrs()
    halves = [str(half) for net in nets for half in ipaddress.ip_network(net).subnets()] or nets
    assert AddressSet.union(map(network, [*halves, *nets, *reversed(halves)])).cidrs() == nets


def test_everything_is_one_net_of_each_family() -> None:
    assert (network("0.0.0.0/0") | network("::/0")).cidrs() == ["0.0.0.0/0", "::/0"]
    assert network("0.0.0.0/0").size == V4_END
    assert AddressSet().cidrs() == []


# --- reading --------------------------------------------------------------------------------------


@given(texts, st.integers(0, 128))
def test_a_network_is_what_ipaddress_reads(host: str, length: int) -> None:
    expected = ipaddress.ip_address(host)
    assert address(host) == (expected.version, int(expected))
    assert held_by(network(host)) == {(expected.version, int(expected))}
    text = f"{host}/{length}"
    if length > expected.max_prefixlen:
        with pytest.raises(ValueError, match="is not a prefix length"):
            network(text)
    else:
        assert network(text).cidrs() == [str(ipaddress.ip_network(text, strict=False))]


@given(st.ip_addresses(v=6))
def test_an_address_is_read_however_long_it_is_written(found: ipaddress.IPv6Address) -> None:
    for text in (found.exploded, found.compressed, found.exploded.upper()):
        assert address(text) == (6, int(found))


REFUSED = [
    "",
    " ",
    "any",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.-4",
    "01.2.3.4",
    "1.2.3.04",
    "1.2.3.0x4",
    " 1.2.3.4",
    "1.2.3.4 ",
    "1.2.3.4\n",
    "1.2.3.4\0",
    "1.2.3.４",
    "١.2.3.4",
    "1,2.3.4",
    ":",
    ":::",
    "1::2::3",
    "fe80::1%eth0",
    "fe80::1%1",
    "[::1]",
    "::g",
    "12345::",
    "::1.2.3.04",
    "1.2.3.4::",
    "::1 ",
    "::\ud800",
    "$variable",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        address(text)
    with pytest.raises(ValueError, match="is not an IP address"):
        network(text)
    with pytest.raises(ValueError, match="is not an IP address"):
        address_range(text, "1.2.3.4")
    with pytest.raises(ValueError, match="is not an IP address"):
        address_range("1.2.3.4", text)


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3.4/",
        "/24",
        "/",
        "1.2.3.4/033",
        "1.2.3.4/08",
        "1.2.3.4/33",
        "1.2.3.4/-1",
        "1.2.3.4/+8",
        "1.2.3.4/ 8",
        "1.2.3.4/8 ",
        "1.2.3.4 /8",
        "1.2.3.4/8/8",
        "1.2.3.4/８",
        "1.2.3.4/255.255.255.0",
        "1.2.3.4/1e1",
        "::/129",
        "::/00",
        "::1%eth0/64",
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        network(text)


@given(st.text("0123456789.:/% abcdefx", max_size=20))
def test_nothing_is_read_that_ipaddress_refuses(text: str) -> None:
    try:
        found = network(text)
    except ValueError:
        return
    assert found.cidrs() == [str(ipaddress.ip_network(text, strict=False))]


# --- ports ----------------------------------------------------------------------------------------

items = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(
    lambda ends: (min(ends), max(ends))
)


@given(st.lists(items, min_size=1, max_size=8))
def test_ports_are_those_listed(listed: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in listed)
    expected = {port for first, last in listed for port in range(first, last + 1)}
    found = ports(text)
    assert {
        port for first, past in intervals.to_ranges(found.bounds) for port in range(first, past)
    } == expected
    assert found == ports(text.replace(",", " , ").replace("-", " - "))
    assert found == ports(",".join(reversed(text.split(","))))


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("", ""),
        (" ", ""),
        ("any", "any"),
        ("80,", ""),
        ("80,,81", ""),
        ("80;81", "80;81"),
        ("65536", "65536"),
        ("999999", "999999"),
        ("000080", "000080"),
        ("0080", "0080"),
        ("08-9", "08-9"),
        ("80\N{NO-BREAK SPACE}", "80\N{NO-BREAK SPACE}"),
        ("-1", "-1"),
        ("80-", "80-"),
        ("1-2-3", "1-2-3"),
        ("80,http", "http"),
        ("８０", "８０"),
        ("8 0", "8 0"),
        ("1e3", "1e3"),
        ("+80", "+80"),
        ("dynamic", "dynamic"),
    ],
)
def test_what_is_no_port_is_refused_and_named(text: str, item: str) -> None:
    with pytest.raises(ValueError, match="is not a port or a range") as refused:
        ports(text)
    assert repr(item) in str(refused.value)


def test_a_falling_range_is_refused() -> None:
    with pytest.raises(ValueError, match="'90-80' is a range that falls"):
        ports("443,90-80")


def test_an_empty_port_set_is_false_and_a_full_one_is_one_range() -> None:
    assert not PortSet(())
    assert ports("0-65535") == PortSet((0, 65536))

"""Services as traffic: what a list of names serves, and what keeps it open."""

from collections.abc import Iterable

import pytest

from sync.firewall.objects import Service, ServiceGroup
from sync.firewall.services import (
    ANY_TRAFFIC,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Services,
    Traffic,
    merged,
    resolve_services,
    shared,
)
from sync.net.ports import ALL_PORTS, PortSet, ports


def tcp(text: str, source: str = "") -> Traffic:
    return Traffic(TCP, ports(text), ports(source) if source else None)


def udp(text: str, source: str = "") -> Traffic:
    return Traffic(UDP, ports(text), ports(source) if source else None)


def service(name: str, text: str, protocol: str = "tcp", source: str = "") -> Service:
    return Service(name, protocol, ports(text), ports(source) if source else None)


def resolved(names: Iterable[str], *objects: Service | ServiceGroup) -> Services:
    return resolve_services(names, {each.name: each for each in objects})


# --- ports ----------------------------------------------------------------------------------------


def test_ports_are_sets() -> None:
    assert ports("80") | ports("81,443") == ports("80-81,443")
    assert ports("1-100") & ports("50-200,300") == ports("50-100")
    assert ALL_PORTS - ports("1-65535") == ports("0")
    assert not ports("80") & ports("81")
    assert list(ports("443,0,8000-8080").ranges()) == [(0, 1), (443, 444), (8000, 8081)]
    assert [port in ports("0,80-81") for port in (0, 1, 79, 80, 81, 82)] == [
        True,
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("text", ["80", "0", "80,443,8000-8080", "0-65535"])
def test_ports_are_said_as_they_are_written(text: str) -> None:
    assert str(ports(text)) == text


# --- traffic --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        (ANY_TRAFFIC, "any traffic"),
        (Traffic(TCP), "tcp"),
        (tcp("80,8000-8080"), "tcp/80,8000-8080"),
        (udp("53", "1024-65535"), "udp/53 from source ports 1024-65535"),
        (Traffic(47), "IP protocol 47"),
        (Traffic(ICMP), "icmp"),
        (Traffic(ICMP, icmp=(8, None)), "icmp type 8"),
        (Traffic(ICMPV6, icmp=(128, 0)), "icmp6 type 128 code 0"),
    ],
)
def test_traffic_is_said_for_an_engineer(traffic: Traffic, said: str) -> None:
    assert str(traffic) == said


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (ANY_TRAFFIC, ANY_TRAFFIC, ANY_TRAFFIC),
        (ANY_TRAFFIC, tcp("80"), tcp("80")),
        (tcp("80"), udp("80"), None),
        (tcp("80"), tcp("81"), None),
        (tcp("0-80"), tcp("0,80-90"), tcp("0,80")),
        (Traffic(TCP), tcp("80", "1-9"), tcp("80", "1-9")),
        (tcp("80", "1-9"), tcp("80", "5-20"), tcp("80", "5-9")),
        (tcp("80", "1-9"), tcp("80", "10"), None),
        (Traffic(ICMP), Traffic(ICMP, icmp=(8, 0)), Traffic(ICMP, icmp=(8, 0))),
        (Traffic(ICMP, icmp=(8, None)), Traffic(ICMP, icmp=(8, 0)), Traffic(ICMP, icmp=(8, 0))),
        (Traffic(ICMP, icmp=(8, 1)), Traffic(ICMP, icmp=(8, 0)), None),
        (Traffic(ICMP, icmp=(0, None)), Traffic(ICMP, icmp=(8, None)), None),
        (Traffic(ICMP, icmp=(8, None)), Traffic(ICMPV6, icmp=(8, None)), None),
    ],
)
def test_what_is_in_both_is_the_same_from_either_side(
    left: Traffic, right: Traffic, both: Traffic | None
) -> None:
    assert left & right == both
    assert right & left == both


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        ([], []),
        ([tcp("443"), tcp("80")], [tcp("80,443")]),
        ([udp("53"), tcp("53")], [tcp("53"), udp("53")]),
        ([tcp("80", "1-9"), tcp("81", "1-9")], [tcp("80-81", "1-9")]),
        ([tcp("80", "1-9"), tcp("80", "10")], [tcp("80", "1-9"), tcp("80", "10")]),
        ([tcp("80", "0-65535")], [tcp("80")]),
        ([tcp("0-65535")], [Traffic(TCP)]),
        ([tcp("0-79"), tcp("80-65535")], [Traffic(TCP)]),
        ([tcp("1-65535")], [tcp("1-65535")]),
        ([tcp("80-90"), tcp("85", "1-9")], [tcp("80-90")]),
        ([tcp("80"), ANY_TRAFFIC, Traffic(47)], [ANY_TRAFFIC]),
        ([Traffic(ICMP, icmp=(8, 0)), Traffic(ICMP, icmp=(8, None))], [Traffic(1, icmp=(8, None))]),
        ([Traffic(ICMP, icmp=(8, 0)), Traffic(ICMP)], [Traffic(ICMP)]),
        ([Traffic(TCP, PortSet(())), Traffic(TCP, None, PortSet(()))], []),
    ],
)
def test_a_union_has_one_form(traffic: list[Traffic], expected: list[Traffic]) -> None:
    assert merged(traffic) == tuple(expected)
    assert merged(reversed(traffic)) == tuple(expected)
    assert merged(merged(traffic)) == tuple(expected)


def test_what_two_unions_share_is_a_union() -> None:
    left = [tcp("80,443"), udp("53"), Traffic(47)]
    right = [tcp("1-442"), tcp("443", "1-9"), Traffic(UDP), Traffic(ICMP)]
    assert shared(left, right) == (tcp("80"), tcp("443", "1-9"), udp("53"))
    assert shared(left, iter(right)) == shared(right, left)


# --- services -------------------------------------------------------------------------------------


def test_services_are_joined_by_protocol_and_source_ports() -> None:
    objects = (
        service("a", "80"),
        service("b", "443,0"),
        service("c", "53", "udp"),
        service("d", "22", source="1-9"),
    )
    assert resolved(["d", "b", "c", "a"], *objects) == Services(
        (tcp("0,80,443"), tcp("22", "1-9"), udp("53"))
    )


def test_all_ports_are_the_protocol() -> None:
    assert resolved(["a"], service("a", "0-65535")) == Services((Traffic(TCP),))


def test_some_services_are_predefined_and_an_object_takes_their_place() -> None:
    assert resolved(["service-http"]) == Services((tcp("80,8080"),))
    assert resolved(["service-https"]) == Services((tcp("443"),))
    assert resolved(["service-https"], service("service-https", "8443")) == Services((tcp("8443"),))
    group = ServiceGroup("service-http", ("a",))
    assert resolved(["service-http"], group, service("a", "81")) == Services((tcp("81"),))


def test_an_object_that_cannot_be_read_still_hides_a_predefined_one() -> None:
    broken = Service("service-http", "tcp", PortSet(()), problem="has no ports")
    assert resolved(["service-http"], broken) == Services(
        (), ("service 'service-http' has no ports",)
    )


def test_groups_hold_groups_at_any_depth() -> None:
    depth = 5000
    nested = [ServiceGroup(f"g{n}", (f"g{n + 1}", "service-https")) for n in range(depth)]
    found = resolved(["g0"], *nested, ServiceGroup(f"g{depth}", ("a",)), service("a", "1"))
    assert found == Services((tcp("1,443"),))


def test_a_group_that_is_reached_twice_is_no_circle() -> None:
    objects = (
        ServiceGroup("top", ("left", "right")),
        ServiceGroup("left", ("a",)),
        ServiceGroup("right", ("left", "a")),
        service("a", "1"),
    )
    assert resolved(["top", "left"], *objects) == Services((tcp("1"),))


@pytest.mark.parametrize(
    "groups",
    [
        [ServiceGroup("g", ("g", "a"))],
        [ServiceGroup("g", ("a", "h")), ServiceGroup("h", ("g",))],
        [ServiceGroup("g", ("h",)), ServiceGroup("h", ("i", "a")), ServiceGroup("i", ("g",))],
    ],
)
def test_groups_in_a_circle_are_open_and_hold_what_all_of_them_hold(
    groups: list[ServiceGroup],
) -> None:
    found = resolved(["g"], *groups, service("a", "1"))
    assert found == Services((tcp("1"),), ("service group 'g' holds itself",))


def test_what_is_missing_or_unreadable_keeps_a_list_open() -> None:
    objects = (
        service("a", "1"),
        Service("b", "tcp", ports("2"), problem="has <port> more than once"),
        ServiceGroup("g", ("a", "gone")),
        ServiceGroup("h", ("a", "c"), problem="has an unreadable <members>"),
        service("c", "3"),
    )
    assert resolved(["g", "b", "h"], *objects) == Services(
        (tcp("1"),),
        (
            "service 'b' has <port> more than once",
            "service 'gone' does not exist",
            "service group 'h' has an unreadable <members>",
        ),
    )


@pytest.mark.parametrize("name", ["any", "application-default"])
def test_any_is_no_member_of_a_group(name: str) -> None:
    found = resolved(["g"], ServiceGroup("g", (name,)))
    assert found == Services((), (f"service {name!r} does not exist",))


def test_an_empty_group_serves_nothing_and_is_not_open() -> None:
    assert resolved(["g"], ServiceGroup("g")) == Services(())

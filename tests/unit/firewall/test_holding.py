"""What of a device group's objects holds an address, and by which way a group does."""

import pytest

from sync.firewall.membership import HeldGroup, Holding, Holds, holding
from sync.net.addresses import network
from tests.words import Word, address, dynamic, group, seen_by

WEB_1 = address("web-1", "10.1.2.3")
WEB_2 = address("web-2", "10.1.2.4")
NAME = address("name", "www.example.com", kind="fqdn")


def held(asked: str, *words: Word, registered_known: bool = True) -> Holding:
    objects = seen_by("dg", {"dg": words}).objects.addresses
    return holding(objects, network(asked), registered_known=registered_known)


def by_name(found: Holding) -> dict[str, HeldGroup]:
    return {each.name: each for each in found.groups}


def test_a_nested_group_tells_the_way_in() -> None:
    found = held(
        "10.1.2.3",
        WEB_1,
        WEB_2,
        group("web", "web-servers", "web-2"),
        group("web-servers", "web-1"),
        group("others", "web-2"),
    )
    assert [(each.name, each.way) for each in found.groups] == [
        ("web", ("web", "web-servers", "web-1")),
        ("web-servers", ("web-servers", "web-1")),
    ]
    assert {each.value for each in found.groups} == {"10.1.2.3"}
    assert [(each.name, each.kind, each.holds) for each in found.objects] == [
        ("web-1", "ip-netmask", Holds.ALL)
    ]


def test_the_shortest_way_is_told_and_every_member_that_leads_there() -> None:
    found = by_name(
        held(
            "10.1.2.3",
            WEB_1,
            group("a", "b"),
            group("b", "web-1"),
            group("all", "a", "b", "10.1.0.0/16", "10.9.0.0/16"),
        )
    )
    assert found["all"].way == ("all", "10.1.0.0/16")
    assert found["all"].value == "10.1.0.0/16"
    assert found["all"].members == ("10.1.0.0/16", "a", "b")


def test_a_name_that_looks_like_an_address_is_the_object() -> None:
    words = (address("10.1.2.3", "10.9.9.9"), group("web", "10.1.2.3"))
    assert held("10.1.2.3", *words).groups == ()
    assert held("10.9.9.9", *words).groups[0].way == ("web", "10.1.2.3")


def test_a_dynamic_group_says_its_filter() -> None:
    tagged = address("tagged", "10.1.2.3", tags=("web", "prod"))
    found = by_name(
        held(
            "10.1.2.3",
            tagged,
            WEB_2,
            dynamic("both", "'web' and 'prod'"),
            dynamic("neither", "'db'"),
            dynamic("nested", "'tier'"),
            group("in-tier", "both", tags=("tier",)),
        )
    )
    assert {name: each.filter for name, each in found.items()} == {
        "both": "'web' and 'prod'",
        "in-tier": None,
        "nested": "'tier'",
    }
    assert found["nested"].way == ("nested", "in-tier", "both", "tagged")


def test_a_dynamic_group_is_no_member_of_itself() -> None:
    words = (WEB_1, dynamic("all", "not 'db'"))
    assert by_name(held("10.1.2.3", *words))["all"].members == ("web-1",)


def test_an_open_group_that_does_not_surely_hold_it_may() -> None:
    found = by_name(
        held("10.1.2.3", WEB_1, NAME, group("may", "name"), group("does", "web-1", "name"))
    )
    assert (found["may"].holds, found["may"].way) == (Holds.MAYBE, ())
    assert found["may"].open_because == ("its member 'name' is the FQDN www.example.com",)
    assert (found["does"].holds, found["does"].way) == (Holds.ALL, ("does", "web-1"))


def test_without_registered_addresses_a_dynamic_group_may_hold_anything() -> None:
    (only,) = held("10.1.2.3", dynamic("web", "'web'"), registered_known=False).groups
    assert only.holds is Holds.MAYBE
    assert only.open_because == ("it is dynamic, and registered addresses are not known here",)


def test_a_circle_of_groups_holds_what_all_of_it_does() -> None:
    found = by_name(
        held("10.1.2.3", WEB_1, group("a", "b"), group("b", "c"), group("c", "a", "web-1"))
    )
    assert found["a"].way == ("a", "b", "c", "web-1")
    assert {each.holds for each in found.values()} == {Holds.ALL}
    assert all(each.open_because for each in found.values())
    (alone,) = held("10.1.2.3", WEB_1, group("alone", "alone", "web-1")).groups
    assert alone.way == ("alone", "web-1")


def test_a_network_is_held_whole_or_in_part() -> None:
    words = (
        address("low", "10.1.0.0/17"),
        address("high", "10.1.128.0/17"),
        address("wide", "10.0.0.0/8"),
        group("both", "low", "high"),
        group("half", "low"),
        group("a-wide", "low", "wide"),
    )
    found = held("10.1.0.0/16", *words)
    assert {each.name: each.holds for each in found.objects} == {
        "high": Holds.PART,
        "low": Holds.PART,
        "wide": Holds.ALL,
    }
    groups = by_name(found)
    assert {name: each.holds for name, each in groups.items()} == {
        "a-wide": Holds.ALL,
        "both": Holds.ALL,
        "half": Holds.PART,
    }
    # What holds all of it shows more than what holds a part.
    assert groups["a-wide"].way == ("a-wide", "wide")
    assert groups["both"].members == ("high", "low")


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("10.1.2.3", ["all", "low", "mapped"]),
        ("::a01:203", ["all", "low", "mapped"]),
        ("10.1.2.4", ["all", "low"]),
        ("2001:db8::1", ["all", "doc"]),
        ("::ffff:10.1.2.3", ["all"]),
    ],
)
def test_ipv4_is_in_what_ipv6_objects_hold_of_it(asked: str, names: list[str]) -> None:
    found = held(
        asked,
        address("mapped", "::10.1.2.3"),
        address("low", "::/96"),
        address("all", "::/0"),
        address("doc", "2001:db8::/32"),
        address("v4", "192.0.2.1"),
    )
    assert [each.name for each in found.objects] == names


def test_a_range_and_a_wildcard_are_told_as_they_stand() -> None:
    found = held(
        "10.1.2.3",
        address("range", "10.1.2.1-10.1.2.9", kind="ip-range"),
        address("wild", "10.1.0.3/0.0.255.0", kind="ip-wildcard"),
        group("in-range", "range"),
        group("literal", "10.1.2.0-10.1.2.3"),
    )
    assert [each.value for each in found.objects] == ["10.1.2.1-10.1.2.9", "10.1.0.3/0.0.255.0"]
    assert [each.value for each in found.groups] == ["10.1.2.1-10.1.2.9", "10.1.2.0-10.1.2.3"]


def test_a_group_that_cannot_be_read_may_hold_it_and_what_has_it_too() -> None:
    broken = dynamic("broken", "'web' and")
    found = by_name(held("10.1.2.3", WEB_1, broken, group("outer", "broken")))
    assert {name: each.holds for name, each in found.items()} == {
        "broken": Holds.MAYBE,
        "outer": Holds.MAYBE,
    }


def test_groups_nested_deeper_than_python_are_climbed() -> None:
    names = [f"g{number:05}" for number in range(2000)]
    words = [group(name, below) for name, below in zip(names, [*names[1:], "web-1"], strict=True)]
    found = by_name(held("10.1.2.3", WEB_1, *words))
    assert found["g00000"].way == (*names, "web-1")


def test_nothing_is_found_where_nothing_is() -> None:
    found = held("192.0.2.1", WEB_1, group("web", "web-1"), group("empty"))
    assert (found.objects, found.groups, found.held, found.open_because) == ((), (), {}, {})

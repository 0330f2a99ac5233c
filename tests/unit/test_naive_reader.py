"""The naive reader against cases worked out by hand."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.naive.documents import PROBES
from tests.naive.reader import NaiveGroup, ancestry, device_groups, naive_groups, satisfies


def address(name: str, kind: str, value: str, *tags: str) -> str:
    return f'<entry name="{name}"><{kind}>{value}</{kind}>{members("tag", *tags)}</entry>'


def static(name: str, *names: str) -> str:
    return f'<entry name="{name}"><static>{members("", *names)}</static></entry>'


def dynamic(name: str, expression: str, *tags: str) -> str:
    inner = f"<dynamic><filter>{expression}</filter></dynamic>"
    return f'<entry name="{name}">{inner}{members("tag", *tags)}</entry>'


def members(tag: str, *names: str) -> str:
    inner = "".join(f"<member>{name}</member>" for name in names)
    return f"<{tag}>{inner}</{tag}>" if tag and names else inner


def scope(addresses: str = "", groups: str = "") -> str:
    return f"<address>{addresses}</address><address-group>{groups}</address-group>"


def panorama(
    *,
    shared: str = "",
    parent: str = "",
    child: str = "",
    ancestors_first: bool = False,
    old_hierarchy: bool = False,
) -> str:
    """Shared, and under it `parent`, and under that `child`."""
    precedence = "yes" if ancestors_first else "no"
    hierarchy = '<entry name="child"><parent-dg>parent</parent-dg></entry><entry name="parent"/>'
    readonly = (
        f"<dg-meta-data><dginfo>{hierarchy}</dginfo></dg-meta-data>"
        if old_hierarchy
        else f'<devices><entry name="localhost.localdomain"><device-group>{hierarchy}'
        "</device-group></entry></devices>"
    )
    return (
        f'<config version="11.1.0"><shared>{shared}</shared>'
        '<devices><entry name="localhost.localdomain">'
        "<deviceconfig><setting><management><ancestor-objects-take-precedence>"
        f"{precedence}</ancestor-objects-take-precedence></management></setting></deviceconfig>"
        f'<device-group><entry name="child">{child}</entry><entry name="parent">{parent}</entry>'
        f"</device-group></entry></devices><readonly>{readonly}</readonly></config>"
    )


def held(group: NaiveGroup) -> set[str]:
    """The group's addresses as text."""
    few = group.few
    assert few is not None
    return {str(probe) for probe in PROBES if (probe.version, int(probe)) in few}


def one(addresses: str, *names: str) -> NaiveGroup:
    """A static group over these addresses."""
    return naive_groups(panorama(shared=scope(addresses, static("g", *names))), "child")["g"]


def test_a_host_has_no_mask_and_host_bits_are_cleared() -> None:
    group = one(
        address("h", "ip-netmask", "10.0.0.9") + address("n", "ip-netmask", "10.0.0.6/30"), "h", "n"
    )
    assert held(group) == {"10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.9"}
    assert not group.open


def test_a_range_holds_both_ends_and_nothing_more() -> None:
    group = one(address("r", "ip-range", "10.0.0.2-10.0.0.4"), "r")
    assert held(group) == {"10.0.0.2", "10.0.0.3", "10.0.0.4"}


@pytest.mark.parametrize("text", ["10.0.0.4-10.0.0.2", "10.0.0.1-2001:db8::1", "10.0.0.1"])
def test_a_range_that_cannot_be_read_opens_the_group(text: str) -> None:
    group = one(address("r", "ip-range", text), "r")
    assert group.open
    assert group.few == frozenset()


def test_a_wildcard_compares_the_zero_bits_only() -> None:
    group = one(address("w", "ip-wildcard", "10.0.0.7/0.0.0.5"), "w")
    assert held(group) == {"10.0.0.2", "10.0.0.3", "10.0.0.6", "10.0.0.7"}
    assert not group.open


@pytest.mark.parametrize(
    ("mask", "is_open"),
    [("0.1.255.254", False), ("0.3.255.254", True), ("0.255.255.255", False), ("128.0.0.0", True)],
)
def test_a_wildcard_of_too_many_networks_opens_the_group(mask: str, is_open: bool) -> None:
    assert one(address("w", "ip-wildcard", f"10.0.0.0/{mask}"), "w").open is is_open


def test_an_ipv4_address_matches_the_last_32_bits_of_an_ipv6_object() -> None:
    group = one(address("m", "ip-netmask", "::10.0.0.1"), "m")
    assert group.holds(ip_address("10.0.0.1"))
    assert group.holds(ip_address("::10.0.0.1"))
    assert group.few == frozenset({(4, 0x0A000001), (6, 0x0A000001)})
    assert not one(address("m", "ip-netmask", "10.0.0.1"), "m").holds(ip_address("::10.0.0.1"))


@pytest.mark.parametrize(
    ("text", "all_ipv4"),
    [("::/0", True), ("::/96", True), ("::/97", False), ("2001:db8::/32", False)],
)
def test_an_ipv6_network_holds_ipv4_if_it_holds_the_first_96_zeros(
    text: str, all_ipv4: bool
) -> None:
    group = one(address("n", "ip-netmask", text), "n")
    assert all(group.holds(probe) for probe in PROBES if probe.version == 4) is all_ipv4


def test_all_of_ipv4_holds_no_ipv6() -> None:
    group = one(address("n", "ip-netmask", "0.0.0.0/0"), "n")
    assert {probe.version for probe in PROBES if group.holds(probe)} == {4}
    assert group.few is None


def test_an_fqdn_and_a_missing_member_open_a_group_and_leave_its_addresses() -> None:
    addresses = address("h", "ip-netmask", "10.0.0.1") + address("f", "fqdn", "db.example")
    assert one(addresses, "h").open is False
    for name in ("f", "nowhere"):
        group = one(addresses, "h", name)
        assert group.open
        assert held(group) == {"10.0.0.1"}


def test_a_name_that_looks_like_an_address_is_a_name_first() -> None:
    addresses = address("10.0.0.1", "ip-netmask", "10.0.0.9")
    group = one(addresses, "10.0.0.1", "10.0.0.2", "10.0.0.4-10.0.0.5")
    assert held(group) == {"10.0.0.9", "10.0.0.2", "10.0.0.4", "10.0.0.5"}
    assert not group.open


def shadowed(*, ancestors_first: bool) -> str:
    """The name `h` is 1 in Shared, 2 in the parent and 3 in the child."""
    return panorama(
        shared=scope(address("h", "ip-netmask", "10.0.0.1"), static("g", "h")),
        parent=scope(address("h", "ip-netmask", "10.0.0.2")),
        child=scope(address("h", "ip-netmask", "10.0.0.3")),
        ancestors_first=ancestors_first,
    )


@pytest.mark.parametrize(
    ("device_group", "held_by"),
    [("child", "10.0.0.3"), ("parent", "10.0.0.2"), ("shared", "10.0.0.1")],
)
def test_an_inherited_group_means_the_nearest_objects(device_group: str, held_by: str) -> None:
    assert held(naive_groups(shadowed(ancestors_first=False), device_group)["g"]) == {held_by}


@pytest.mark.parametrize("device_group", ["child", "parent", "shared"])
def test_ancestors_can_take_precedence(device_group: str) -> None:
    assert held(naive_groups(shadowed(ancestors_first=True), device_group)["g"]) == {"10.0.0.1"}


def test_a_name_of_an_address_and_of_a_group_is_neither() -> None:
    document = panorama(
        shared=scope("", static("x", "10.0.0.1") + static("g", "x")),
        child=scope(address("x", "ip-netmask", "10.0.0.2")),
    )
    below = naive_groups(document, "child")
    assert set(below) == {"g", "x"}
    assert all(each.open and not held(each) for each in below.values())
    assert held(naive_groups(document, "parent")["g"]) == {"10.0.0.1"}


def test_a_region_is_its_addresses_unless_a_country_has_its_name() -> None:
    region = (
        "<region><entry name='{}'><address><member>10.0.0.3</member></address></entry></region>"
    )
    for name, expected in (("r", {"10.0.0.3"}), ("DE", set())):
        document = panorama(shared=scope("", static("g", name)) + region.format(name))
        found = naive_groups(document, "child")["g"]
        assert (held(found), found.open) == (expected, not expected)


def test_a_member_that_is_a_list_is_not_known_whatever_its_name_looks_like() -> None:
    listed = (
        "<external-list><entry name='10.0.0.3'><type><ip><url>https://lists.example</url></ip>"
        "</type></entry></external-list>"
    )
    document = panorama(shared=scope("", static("g", "10.0.0.3")) + listed)
    found = naive_groups(document, "child")["g"]
    assert (held(found), found.open) == (set(), True)


def test_the_hierarchy_is_read_from_its_older_place_too() -> None:
    for old in (False, True):
        document = panorama(old_hierarchy=old)
        assert ancestry(document, "child") == ["child", "parent"]
        assert ancestry(document, "parent") == ["parent"]
    assert device_groups(panorama()) == ["child", "parent"]
    with pytest.raises(KeyError):
        naive_groups(panorama(), "nobody")


def test_groups_of_the_older_shape_hold_their_members() -> None:
    old = '<entry name="g"><member>10.0.0.1</member><member>10.0.0.2</member></entry>'
    group = naive_groups(panorama(child=scope("", old)), "child")["g"]
    assert held(group) == {"10.0.0.1", "10.0.0.2"}
    assert not group.open


def test_an_empty_static_group_is_exactly_empty() -> None:
    group = one("")
    assert not group.open
    assert group.few == frozenset()


def test_a_group_of_no_known_shape_is_open() -> None:
    document = panorama(child=scope("", '<entry name="g"><new-kind/></entry>'))
    assert naive_groups(document, "child")["g"].open


def test_groups_in_a_circle_all_hold_what_any_of_them_reaches() -> None:
    addresses = address("one", "ip-netmask", "10.0.0.1") + address("two", "ip-netmask", "10.0.0.2")
    groups = (
        static("a", "b", "one") + static("b", "a", "two") + static("c", "a") + static("d", "two")
    )
    found = naive_groups(panorama(child=scope(addresses, groups)), "child")
    assert {name: group.open for name, group in found.items()} == {
        "a": True,
        "b": True,
        "c": True,
        "d": False,
    }
    assert held(found["a"]) == held(found["b"]) == held(found["c"]) == {"10.0.0.1", "10.0.0.2"}


TAGGED = (
    address("w", "ip-netmask", "10.0.0.1", "web", "prod")
    + address("d", "ip-netmask", "10.0.0.2", "db")
    + address("t", "ip-netmask", "10.0.0.3", "Web Tier")
)


def test_a_dynamic_group_holds_the_tagged_objects_its_device_group_sees() -> None:
    document = panorama(
        shared=scope(TAGGED, dynamic("g", "'web' or 'db'")),
        child=scope(address("d", "ip-netmask", "10.0.0.9")),  # hides the tagged one
    )
    assert held(naive_groups(document, "parent")["g"]) == {"10.0.0.1", "10.0.0.2"}
    assert held(naive_groups(document, "child")["g"]) == {"10.0.0.1"}


def test_a_dynamic_group_is_open_unless_registrations_are_optional() -> None:
    document = panorama(child=scope(TAGGED, dynamic("g", "'web'") + static("s", "g")))
    for registered, is_open in (("required", True), ("optional", False)):
        found = naive_groups(document, "child", registered=registered)  # type: ignore[arg-type] # the loop variable is a plain str
        assert (found["g"].open, found["s"].open) == (is_open, is_open)
        assert held(found["s"]) == {"10.0.0.1"}


def test_a_dynamic_group_matches_tagged_groups_and_never_itself() -> None:
    tagged = static("s", "10.0.0.5").replace("</entry>", "<tag><member>web</member></tag></entry>")
    document = panorama(child=scope("", tagged + dynamic("g", "'web'", "web")))
    group = naive_groups(document, "child", registered="optional")["g"]
    assert held(group) == {"10.0.0.5"}
    assert not group.open
    assert group.tags == {"web"}


def test_a_filter_that_cannot_be_read_opens_the_group() -> None:
    document = panorama(child=scope(TAGGED, dynamic("g", "'web' and")))
    group = naive_groups(document, "child", registered="optional")["g"]
    assert group.open
    assert group.few == frozenset()


@pytest.mark.parametrize(
    ("expression", "satisfied"),
    [
        ("'a'", True),
        ("a", True),
        (" a ", True),
        ("'a b'", True),
        ("'and'", False),
        ("'x'", False),
        ("'x' or 'a'", True),
        ("'x' and 'a'", False),
        ("'a' or 'x' and 'x'", True),
        ("'x' and 'x' or 'a'", True),
        ("('a' or 'x') and 'x'", False),
        ("'x' AND ('a' OR 'x') Or a", True),
        ("not 'x'", True),
        ("not 'a' or 'a'", True),
        ("not ('a' or 'x')", False),
        ("not(not a)", True),
        ("a and not x and a", True),
        ("((a))", True),
        ("a and (x or a and (a or x))", True),
        ("x or not (x or (a and x))", True),
        ("", None),
        ("a a", None),
        ("'a", None),
        ("(a", None),
        ("a)", None),
        ("()", None),
        ("a and", None),
        ("or a", None),
        ("a and or a", None),
        ("a not a", None),
        ("not", None),
        ("(a)(a)", None),
    ],
)
def test_a_filter_is_satisfied(expression: str, satisfied: bool | None) -> None:
    assert satisfies(expression, frozenset({"a", "a b"})) is satisfied

"""Address objects and groups as they are read, and what groups resolve to."""

import time

import pytest

from sync.firewall.estimate import Estimate
from sync.firewall.groups import Resolved, resolve_groups
from sync.firewall.objects import Address
from sync.net.addresses import NOWHERE
from tests.words import (
    Word,
    address,
    document,
    dynamic,
    entry,
    group,
    members,
    read,
    remarked,
    shared,
    tag,
    text,
)

SHARED = "/config/shared"
UNSAYABLE = "; anything that uses it is treated as unknown"


def one(word: Word) -> Address:
    (found,) = shared(word).shared.objects.addresses.values()
    assert isinstance(found, Address)
    return found


def resolved(*words: Word, registered_known: bool = True) -> dict[str, Resolved]:
    return resolve_groups(
        shared(*words).shared.objects.addresses, registered_known=registered_known
    )


def nets(found: Resolved) -> list[str]:
    return found.holds.surely.cidrs()


# --- the four kinds of addresses ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("ip-netmask", "10.0.0.1", ["10.0.0.1/32"]),
        ("ip-netmask", "10.0.0.1/24", ["10.0.0.0/24"]),
        ("ip-netmask", " 10.0.0.1/24\n", ["10.0.0.0/24"]),
        ("ip-netmask", "2001:db8::1", ["2001:db8::1/128"]),
        ("ip-netmask", "2001:DB8:0::1/64", ["2001:db8::/64"]),
        ("ip-netmask", "0.0.0.0/0", ["0.0.0.0/0"]),
        ("ip-netmask", "::/0", ["0.0.0.0/0", "::/0"]),
        ("ip-netmask", "::/96", ["0.0.0.0/0", "::/96"]),
        ("ip-netmask", "::10.0.0.0/120", ["10.0.0.0/24", "::a00:0/120"]),
        ("ip-netmask", "::1:0:0/96", ["::1:0:0/96"]),
        ("ip-range", "10.0.0.1-10.0.0.2", ["10.0.0.1/32", "10.0.0.2/32"]),
        ("ip-range", "10.0.0.0 - 10.0.0.255", ["10.0.0.0/24"]),
        ("ip-range", "10.0.0.9-10.0.0.9", ["10.0.0.9/32"]),
        ("ip-range", "2001:db8::-2001:db8::1", ["2001:db8::/127"]),
        (
            "ip-range",
            "::9.255.255.255-::10.0.0.0",
            ["9.255.255.255/32", "10.0.0.0/32", "::9ff:ffff/128", "::a00:0/128"],
        ),
        ("ip-wildcard", "10.0.0.1/0.0.0.255", ["10.0.0.0/24"]),
        ("ip-wildcard", "10.0.0.0/0.0.1.1", ["10.0.0.0/31", "10.0.1.0/31"]),
        ("ip-wildcard", "10.0.0.7/0.0.0.0", ["10.0.0.7/32"]),
    ],
)
def test_a_value_is_its_fewest_nets(kind: str, value: str, expected: list[str]) -> None:
    found = one(address("a", value, kind=kind))
    assert found.addresses is not None
    assert (found.kind, found.problem, found.addresses.cidrs()) == (kind, "", expected)


def test_a_wildcard_is_expanded_as_far_as_65_536_blocks() -> None:
    widest = one(address("a", "10.0.0.0/0.127.255.130", kind="ip-wildcard"))
    assert widest.addresses is None
    assert "131,072 separate blocks, more than 65,536" in widest.problem
    widest = one(address("a", "10.0.0.0/0.127.255.2", kind="ip-wildcard"))
    assert widest.addresses is not None
    assert len(widest.addresses.cidrs()) == 2**16 / 2**15 * 2**15


def test_an_fqdn_has_no_addresses_and_no_problem() -> None:
    assert one(address("a", "db.example", kind="fqdn")) == Address("a", "fqdn", "db.example", None)


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("ip-netmask", "", "'' is not an IP address"),
        ("ip-netmask", "$network", "'$network' is not an IP address"),
        ("ip-netmask", "10.0.0.1/33", "'33' is not a prefix length of IPv4"),
        ("ip-netmask", "10.0.0.1/255.0.0.0", "'255.0.0.0' is not a prefix length of IPv4"),
        ("ip-netmask", "fe80::1%eth0", "'fe80::1%eth0' is not an IP address"),
        ("ip-range", "10.0.0.1", "'10.0.0.1' has no '-' between two addresses"),
        ("ip-range", "10.0.0.9-10.0.0.1", "10.0.0.1 comes before 10.0.0.9"),
        ("ip-range", "10.0.0.9-::1", "10.0.0.9 and ::1 are of two address families"),
        ("ip-range", "10.0.0.0/24-10.0.1.0/24", "'10.0.0.0/24' is not an IP address"),
        ("ip-wildcard", "10.0.0.1", "'' is not an IP address"),
        ("ip-wildcard", "::1/::1", "'::1/::1' is not an IPv4 address and an IPv4 wildcard mask"),
        ("ip-wildcard", "10.0.0.1/255.0.0.0", "the wildcard mask 255.0.0.0 does not begin with 0"),
    ],
)
def test_a_value_that_cannot_be_read_is_remarked(kind: str, value: str, problem: str) -> None:
    configuration = shared(address("a", value, kind=kind), address("b", "10.0.0.2"))
    path = f"{SHARED}/address/entry[@name='a']/{kind}"
    assert remarked(configuration) == {path: problem + UNSAYABLE}
    held = configuration.shared.objects.addresses
    assert held["a"] == Address("a", kind, value, None, (), problem)
    assert held["b"].problem == ""


def test_an_empty_fqdn_has_a_problem() -> None:
    assert one(address("a", "", kind="fqdn")).problem == "has an empty value"


# --- what else may stand in an address ------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "where", "problem"),
    [
        ((), "", "has no value"),
        (
            (text("ip-netmask", "10.0.0.1"), text("fqdn", "x.example")),
            "",
            "has more than one value",
        ),
        (
            (text("ip-netmask", "10.0.0.1"), text("ip-netmask", "10.0.0.2")),
            "/ip-netmask",
            "has <ip-netmask> more than once",
        ),
        (
            (text("ip-netmask", "10.0.0.1"), text("ip-geo", "DE")),
            "/ip-geo",
            "has an element <ip-geo> that is not known here",
        ),
        (
            (tag("ip-netmask", "10.0.0.1", tag("except")),),
            "/ip-netmask",
            "holds elements where text is expected",
        ),
        (
            (text("ip-netmask", "10.0.0.1"), tag("tag", "<member>a</member><x/>")),
            "/tag/x",
            "is not a member with a name; the list counts as unreadable",
        ),
        (
            (text("ip-netmask", "10.0.0.1"), tag("tag", "web")),
            "/tag",
            "holds text where members are expected; the list counts as unreadable",
        ),
    ],
)
def test_what_an_address_cannot_be_makes_it_unsayable_and_nothing_else(
    inner: tuple[str, ...], where: str, problem: str
) -> None:
    configuration = shared(Word("address", entry("a", *inner)), address("b", "10.0.0.2"))
    remarks = remarked(configuration)
    path = f"{SHARED}/address/entry[@name='a']{where}"
    assert remarks.keys() == {path}
    assert remarks[path].startswith(problem)
    held = configuration.shared.objects.addresses
    assert held["a"].problem
    assert held["b"] == one(address("b", "10.0.0.2"))


def test_descriptions_and_override_settings_say_nothing() -> None:
    plain = shared(address("a", "10.0.0.1"))
    silent = text("description", "x") + text("disable-override", "no")
    assert shared(address("a", "10.0.0.1", silent)) == plain


def test_the_marks_of_a_candidate_configuration_say_nothing() -> None:
    data = document([address("a", "10.0.0.1"), group("g", "a")])
    marked = data.replace(b"<static>", b'<static admin="bob" dirtyId="4" time="x">')
    assert marked != data
    assert read(marked) == read(data)


@pytest.mark.parametrize("inner", ["<address/>", "<member>a</member>", "<entry/>", '<x name="a"/>'])
def test_what_is_no_entry_is_left_out_and_remarked(inner: str) -> None:
    configuration = shared(Word("address", inner), address("b", "10.0.0.2"))
    tag_name = inner.strip("<").split(">")[0].split()[0].rstrip("/")
    (path,) = remarked(configuration)
    assert path.startswith(f"{SHARED}/address/{tag_name}")
    found = dict(configuration.shared.objects.addresses)
    # One with a name hides no other of that name, and is of no use itself.
    assert all(found.pop(name).problem for name in list(found) if name != "b")
    assert list(found) == ["b"]


def test_an_object_that_stands_twice_alike_is_one() -> None:
    configuration = shared(address("a", "10.0.0.1"), address("a", "10.0.0.1"))
    assert remarked(configuration) == {
        f"{SHARED}/address/entry[@name='a']": "occurs more than once"
    }
    assert configuration.shared.objects == shared(address("a", "10.0.0.1")).shared.objects


@pytest.mark.parametrize(
    "others",
    [
        [address("a", "10.0.0.1"), address("a", "10.0.0.2")],
        [address("a", "10.0.0.1"), group("a", "b")],
        [group("a", "b"), dynamic("a", "'x'")],
        [address("a", "10.0.0.1"), address("a", "10.0.0.2"), address("a", "10.0.0.3")],
    ],
)
def test_of_two_that_differ_neither_counts_whatever_their_order(others: list[Word]) -> None:
    there = shared(*others)
    back = shared(*reversed(others))
    assert there.shared.objects == back.shared.objects
    held = there.shared.objects.addresses["a"]
    assert held.problem == "is defined more than once, differently"
    assert held.tags is None
    messages = " ".join(remarked(there).values())
    assert "occurs more than once with different contents; none counts" in messages


# --- groups ---------------------------------------------------------------------------------------

A, B, C = address("a", "10.0.0.1"), address("b", "10.0.0.2"), address("c", "10.0.0.4")


def test_a_static_group_holds_its_members() -> None:
    both = resolved(A, B, group("g", "b", "a", "a"))["g"]
    assert resolved(A, B, group("g", "a", "b")) == {
        "g": Resolved(Estimate.exactly(both.holds.surely))
    }


def test_the_old_shape_of_a_group_is_a_static_one() -> None:
    old = Word("address-group", entry("g", text("member", "a"), text("member", "b")))
    assert resolved(A, B, old) == resolved(A, B, group("g", "a", "b"))


def test_nested_groups_hold_what_their_members_hold() -> None:
    found = resolved(A, B, C, group("in", "a", "b"), group("out", "in", "c"))
    assert nets(found["out"]) == ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.4/32"]
    assert found["out"].holds.because == ()


def test_an_empty_group_is_empty_and_not_open() -> None:
    assert resolved(group("g")) == {"g": Resolved(Estimate.exactly(NOWHERE))}


def test_literals_are_members_too_after_names() -> None:
    named = address("10.0.0.9", "172.16.0.1")
    found = resolved(named, group("g", "10.0.0.9", "10.0.0.16/28", "10.0.1.0-10.0.1.1"))
    assert nets(found["g"]) == ["10.0.0.16/28", "10.0.1.0/31", "172.16.0.1/32"]


@pytest.mark.parametrize(
    ("member", "words", "reason"),
    [
        ("nowhere", (), "its member 'nowhere' does not exist"),
        ("no-where", (), "its member 'no-where' does not exist"),
        ("x", (address("x", "x.example", kind="fqdn"),), "its member 'x' is the FQDN x.example"),
        ("x", (address("x", "$v"),), "its member 'x' '$v' is not an IP address"),
        ("x", (dynamic("x", "'y'", tags=("z",)),), ""),
        ("x", (group("x", "nowhere"),), "its member group 'x' is not wholly known"),
        (
            "x",
            (address("x", "10.0.0.8"), address("x", "10.0.0.9")),
            "its member 'x' is defined more than once, differently",
        ),
    ],
)
def test_what_is_unsayable_keeps_a_group_open_and_the_rest_in_it(
    member: str, words: tuple[Word, ...], reason: str
) -> None:
    found = resolved(A, *words, group("g", "a", member))["g"]
    assert nets(found) == ["10.0.0.1/32"]
    assert found.holds.because == ((reason,) if reason else ())


@pytest.mark.parametrize(
    ("inner", "where", "problem"),
    [
        ("", "", "has no members"),
        (
            members("static", ["a"]) + tag("dynamic", text("filter", "x")),
            "",
            "has members in more than one place",
        ),
        (
            members("static", ["a"]) + text("member", "b"),
            "",
            "has members in more than one place",
        ),
        (
            members("static", ["a"]) + members("static", ["b"]),
            "/static",
            "has <static> more than once",
        ),
        (tag("static", "a"), "/static", "holds text where members should stand"),
        (
            tag("static", "<entry name='a'/>"),
            "/static/entry[@name='a']",
            "is not a member with a name",
        ),
        (tag("static", "<member><x/></member>"), "/static/member", "is not a member with a name"),
        (tag("static", "<member> </member>"), "/static/member", "is not a member with a name"),
        ("<member/>", "/member", "has a member without a name"),
        (tag("dynamic"), "/dynamic", "has a filter that cannot be read: it is empty"),
        (
            tag("dynamic", text("filter", "'a")),
            "/dynamic",
            'has a filter that cannot be read: unexpected "\'" at character 1',
        ),
        (
            tag("dynamic", text("filter", "'a'"), text("scope", "x")),
            "/dynamic/scope",
            "has an element <scope> that is not known here",
        ),
        (
            members("static", ["a"]) + text("except", "b"),
            "/except",
            "has an element <except> that is not known here",
        ),
    ],
)
def test_a_group_that_cannot_be_read_is_open_and_nothing_else(
    inner: str, where: str, problem: str
) -> None:
    configuration = shared(A, B, Word("address-group", entry("g", inner)), group("h", "a"))
    remarks = remarked(configuration)
    path = f"{SHARED}/address-group/entry[@name='g']{where}"
    assert remarks.keys() == {path}
    assert remarks[path].startswith(problem)
    found = resolve_groups(configuration.shared.objects.addresses, registered_known=True)
    assert nets(found["g"]) == []
    assert len(found["g"].holds.because) == 1
    assert found["h"].holds.because == ()


def test_a_dynamic_group_holds_the_addresses_and_groups_with_its_tags() -> None:
    found = resolved(
        address("a", "10.0.0.1", tags=("web", "prod")),
        address("b", "10.0.0.2", tags=("web",)),
        address("c", "10.0.0.4"),
        group("in", "c", tags=("prod",)),
        dynamic("g", "'web' and 'prod' or 'prod'"),
        dynamic("n", "not 'web'"),
        dynamic("none", "'nobody'"),
    )
    assert nets(found["g"]) == ["10.0.0.1/32", "10.0.0.4/32"]
    # `n` would be in itself and `g`, `none` in it: their tags are none at all.
    assert nets(found["n"]) == ["10.0.0.1/32", "10.0.0.4/32"]
    assert nets(found["none"]) == []
    assert {each.holds.because for each in found.values()} == {()}


def test_without_registered_addresses_a_dynamic_group_is_open_and_who_holds_it() -> None:
    found = resolved(
        address("a", "10.0.0.1", tags=("web",)),
        dynamic("d", "'web'"),
        group("g", "d"),
        group("h", "a"),
        registered_known=False,
    )
    assert nets(found["d"]) == nets(found["g"]) == ["10.0.0.1/32"]
    assert found["d"].holds.because == (
        "it is dynamic, and registered addresses are not known here",
    )
    assert found["g"].holds.because == ("its member group 'd' is not wholly known",)
    assert found["h"].holds.because == ()


@pytest.mark.parametrize(
    "tags",
    [
        "<tag>web</tag>",
        "<tag><x/></tag>",
        members("tag", ["x"]) + members("tag", ["web"]),
        members("tag", ["web"]) + members("tag", ["x"]),
    ],
)
def test_an_object_with_unreadable_tags_may_be_in_any_dynamic_group(tags: str) -> None:
    found = resolved(address("a", "10.0.0.1", tags), dynamic("g", "'web'"), dynamic("h", "'y'"))
    assert found["g"].holds.because
    assert found["h"].holds.because


# --- depth and circles ----------------------------------------------------------------------------


def test_a_circle_of_groups_holds_what_all_of_it_holds_and_is_open() -> None:
    found = resolved(
        A, B, group("x", "y", "a"), group("y", "z", "b"), group("z", "x"), group("g", "x")
    )
    for name in ("x", "y", "z"):
        assert nets(found[name]) == ["10.0.0.1/32", "10.0.0.2/32"]
        (reason,) = found[name].holds.because
        assert "is in a circle of groups with" in reason
    assert nets(found["g"]) == ["10.0.0.1/32", "10.0.0.2/32"]
    assert found["g"].holds.because == ("its member group 'x' is not wholly known",)


def test_a_group_in_itself_is_open_but_a_dynamic_one_is_not() -> None:
    found = resolved(
        address("a", "10.0.0.1", tags=("t",)),
        group("g", "g", "a"),
        dynamic("d", "'t'", tags=("t",)),
    )
    assert found["g"].holds.because == ("it is in a circle of groups with 'g'",)
    assert found["d"].holds.because == ()
    assert nets(found["g"]) == nets(found["d"]) == ["10.0.0.1/32"]


def test_deep_nesting_and_large_circles_need_no_recursion() -> None:
    depth = 5_000
    words = [
        *(address(f"a{n}", f"10.0.{n >> 8}.{n & 255}") for n in range(depth)),
        *(group(f"g{n}", f"g{n + 1}", f"a{n}") for n in range(depth - 1)),
        group(f"g{depth - 1}", f"a{depth - 1}"),
        *(group(f"c{n}", f"c{(n + 1) % 1_000}", f"a{n}") for n in range(1_000)),
    ]
    objects = shared(*words).shared.objects.addresses
    started = time.process_time()
    found = resolve_groups(objects, registered_known=True)
    assert time.process_time() - started < 20
    assert found["g0"].holds.surely.size == depth
    assert not found["g0"].holds.because
    assert {found[f"c{n}"].holds.surely.size for n in range(1_000)} == {1_000}

"""Applications as their default traffic, and what of it is not known."""

from collections.abc import Iterable

import pytest

from sync.firewall.applications import Applications, beyond_table, resolve_applications
from sync.firewall.objects import Application, ApplicationFilter, ApplicationGroup
from sync.firewall.predefined import DEFAULTS
from sync.firewall.services import ANY_TRAFFIC, ICMP, ICMPV6, TCP, UDP, Traffic
from sync.net.ports import ports


def tcp(text: str) -> Traffic:
    return Traffic(TCP, ports(text))


def udp(text: str) -> Traffic:
    return Traffic(UDP, ports(text))


def resolved(
    names: Iterable[str], *objects: Application | ApplicationGroup | ApplicationFilter
) -> Applications:
    return resolve_applications(names, {each.name: each for each in objects})


def custom(*default: tuple[str, str], name: str = "x", **attributes: str) -> Application:
    return Application(name, default, tuple(sorted(attributes.items())))


# --- predefined -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web-browsing", (tcp("80"),)),
        ("ssl", (tcp("443"),)),
        ("dns", (tcp("53"), udp("53,5353"))),
        ("ping", (Traffic(ICMP, icmp=(8, None)),)),
        ("ping6", (Traffic(ICMPV6, icmp=(128, None)),)),
        ("icmp", (Traffic(ICMP),)),
        ("gre", (Traffic(47),)),
        ("ipsec", (udp("500,4500"), Traffic(50), Traffic(51))),
    ],
)
def test_common_applications_have_their_default_traffic(
    name: str, expected: tuple[Traffic, ...]
) -> None:
    assert resolved([name]) == Applications(expected, bundled=(name,))


@pytest.mark.parametrize(
    ("name", "allowed", "denied"),
    [
        ("bfd", [udp("3784,3785,4784")], [udp("3784,3785,4784")]),
        (
            "google-base",
            [tcp("80,443,5222,5224,5228,5229")],
            [tcp("80,443,5222-5224,5228,5229")],
        ),
        (
            "syslog",
            [tcp("1468,1514,6514"), udp("514,1514")],
            [tcp("514,1468,1514,6514"), udp("514,1514")],
        ),
        ("websocket", [tcp("80,443,8080")], [tcp("80,443,8080")]),
    ],
)
def test_where_sources_differ_an_allow_has_the_fewest_ports_and_a_deny_the_most(
    name: str, allowed: list[Traffic], denied: list[Traffic]
) -> None:
    assert resolve_applications([name], {}).traffic == tuple(allowed)
    assert resolve_applications([name], {}, denied=True).traffic == tuple(denied)


def test_what_is_known_of_the_bundled_table_alone_is_named() -> None:
    objects = (
        ApplicationGroup("g", ("h", "ssl", "x")),
        ApplicationGroup("h", ("dns", "y")),
        custom(("port", "tcp/1")),
        Application("y", (("port", "tcp/2"),), predefined=True),
    )
    assert resolved(["g"], *objects).bundled == ("dns", "ssl")
    assert resolved(["x", "y"], *objects).bundled == ()
    shadow = Application("ssl", (("port", "tcp/443"),), predefined=True)
    assert resolved(["ssl"], shadow).bundled == ()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ssh"], (Traffic(TCP), Traffic(UDP))),
        (["ping", "ntp"], (Traffic(ICMP), Traffic(TCP), Traffic(UDP), Traffic(ICMPV6))),
        (["ipsec", "ssh"], (Traffic(),)),
        ([], ()),
    ],
)
def test_newer_content_may_have_more_of_the_kind_that_the_bundled_table_has(
    names: list[str], expected: tuple[Traffic, ...]
) -> None:
    assert beyond_table(names) == expected


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_every_bundled_application_has_ports_or_dynamic_ones(name: str) -> None:
    found = resolved([name])
    dynamic = "dynamic" in DEFAULTS[name]
    assert found.open_because == ((f"App-ID {name} has dynamic ports",) if dynamic else ())
    assert found.traffic or dynamic


def test_the_bundled_applications_are_many() -> None:
    assert len(DEFAULTS) >= 150


def test_an_application_with_fixed_and_dynamic_ports_has_the_fixed_ones() -> None:
    found = resolved(["sip"])
    assert found.traffic == (tcp("5060-5061"), udp("5060-5061"))
    assert found.open_because == ("App-ID sip has dynamic ports",)


def test_an_application_that_nobody_knows_keeps_the_list_open() -> None:
    assert resolved(["ssl", "new-app"]) == Applications(
        (tcp("443"),), ("App-ID new-app is not known here, so neither are its ports",), ("ssl",)
    )


# --- custom ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ([("port", "tcp/80,443")], [tcp("80,443")]),
        ([("port", "tcp/80, 443"), ("port", "udp/1-9")], [tcp("80,443"), udp("1-9")]),
        ([("port", "tcp/0-1024,10000")], [tcp("0-1024,10000")]),
        ([("port", "tcp/0-65535")], [Traffic(TCP)]),
        ([("ident-by-ip-protocol", "47")], [Traffic(47)]),
        ([("ident-by-ip-protocol", "6")], [Traffic(TCP)]),
        ([("ident-by-ip-protocol", "47, 50-51")], [Traffic(47), Traffic(50), Traffic(51)]),
        ([("ident-by-ip-protocol", "0-255")], [ANY_TRAFFIC]),
        ([("ident-by-icmp-type", "8/0")], [Traffic(ICMP, icmp=(8, 0))]),
        (
            [("ident-by-icmp-type", " 13 , 14 ")],
            [Traffic(ICMP, icmp=(13, None)), Traffic(ICMP, icmp=(14, None))],
        ),
        (
            [("ident-by-icmp6-type", "1,3-4/0-1")],
            [Traffic(ICMPV6, icmp=(kind, code)) for kind in (1, 3, 4) for code in (0, 1)],
        ),
        ([("ident-by-icmp-type", "8/0-255")], [Traffic(ICMP, icmp=(8, None))]),
        ([("ident-by-icmp-type", "0-255")], [Traffic(ICMP)]),
        ([("ident-by-icmp-type", "8")], [Traffic(ICMP, icmp=(8, None))]),
        ([("ident-by-icmp6-type", "128/0")], [Traffic(ICMPV6, icmp=(128, 0))]),
    ],
)
def test_a_custom_application_has_the_defaults_it_states(
    default: list[tuple[str, str]], expected: list[Traffic]
) -> None:
    assert resolved(["x"], custom(*default)) == Applications(tuple(expected))


@pytest.mark.parametrize(
    ("default", "known"),
    [
        (["tcp/dynamic"], []),
        (["tcp/80,dynamic"], [tcp("80")]),
        (["udp/dynamic", "tcp/1"], [tcp("1")]),
    ],
)
def test_dynamic_ports_keep_the_list_open(default: list[str], known: list[Traffic]) -> None:
    found = resolved(["x"], custom(*(("port", each) for each in default)))
    assert found == Applications(tuple(known), ("App-ID x has dynamic ports",))


def test_an_application_without_defaults_is_open() -> None:
    assert resolved(["x"], custom()) == Applications((), ("App-ID x has no default ports",))


@pytest.mark.parametrize(
    "item",
    [
        ("port", ""),
        ("port", "tcp"),
        ("port", "tcp/"),
        ("port", "tcp/90-80"),
        ("port", "tcp/65536"),
        ("port", "sctp/80"),
        ("port", "TCP/80"),
        ("port", "80"),
        ("ident-by-ip-protocol", ""),
        ("ident-by-ip-protocol", "047"),
        ("ident-by-ip-protocol", "50-47"),
        ("ident-by-ip-protocol", "256"),
        ("ident-by-ip-protocol", "gre"),
        ("ident-by-icmp-type", ""),
        ("ident-by-icmp-type", "8,"),
        ("ident-by-icmp-type", "8,256"),
        ("ident-by-icmp-type", "8/"),
        ("ident-by-icmp-type", "/0"),
        ("ident-by-icmp-type", "8/256"),
        ("ident-by-icmp-type", "8/0/1"),
        ("ident-by-icmp6-type", "any"),
    ],
)
def test_a_default_that_cannot_be_read_keeps_the_list_open(item: tuple[str, str]) -> None:
    found = resolved(["x"], custom(("port", "tcp/1"), item))
    reason = f"App-ID x has a default that cannot be read ({item[1]!r})"
    assert found == Applications((tcp("1"),), (reason,))


@pytest.mark.parametrize(
    ("item", "known", "reason"),
    [
        (
            ("ident-by-icmp-type", "254-255"),
            [Traffic(ICMP, icmp=(254, None))],
            "has ICMP type 255, which Calico cannot match",
        ),
        (("ident-by-icmp6-type", "255/0"), [], "has ICMP type 255, which Calico cannot match"),
        (("ident-by-ip-protocol", "0"), [], "has IP protocol 0, which Calico cannot match"),
        (
            ("ident-by-ip-protocol", "0,47"),
            [Traffic(47)],
            "has IP protocol 0, which Calico cannot match",
        ),
        (
            ("ident-by-icmp-type", "0-100/0-100"),
            [],
            "has more than 512 pairs of ICMP types and codes",
        ),
    ],
)
def test_what_calico_cannot_tell_keeps_the_list_open(
    item: tuple[str, str], known: list[Traffic], reason: str
) -> None:
    assert resolved(["x"], custom(item)) == Applications(tuple(known), (f"App-ID x {reason}",))


def test_a_custom_application_takes_the_place_of_a_predefined_one() -> None:
    assert resolved(["ssl"], custom(("port", "tcp/8443"), name="ssl")).traffic == (tcp("8443"),)
    broken = Application("ssl", (("port", "tcp/1"),), problem="has <default> more than once")
    assert resolved(["ssl"], broken) == Applications(
        (), ("App-ID ssl has <default> more than once",)
    )


# --- groups and filters ---------------------------------------------------------------------------


def test_groups_hold_groups_and_applications() -> None:
    objects = (
        ApplicationGroup("g", ("h", "ssl")),
        ApplicationGroup("h", ("x", "dns", "ssl")),
        custom(("port", "tcp/1")),
    )
    assert resolved(["g"], *objects) == Applications(
        (tcp("1,53,443"), udp("53,5353")), bundled=("dns", "ssl")
    )


def test_a_group_deeper_than_the_stack_is_read() -> None:
    nested = [ApplicationGroup(f"g{n}", (f"g{n + 1}",)) for n in range(5000)]
    assert resolved(["g0"], *nested, ApplicationGroup("g5000", ("ssl",))).traffic == (tcp("443"),)


def test_a_circle_of_groups_is_open() -> None:
    objects = (ApplicationGroup("g", ("h", "ssl")), ApplicationGroup("h", ("g",)))
    assert resolved(["g"], *objects) == Applications(
        (tcp("443"),), ("application group 'g' holds itself",), ("ssl",)
    )


def test_a_group_that_cannot_be_read_adds_nothing() -> None:
    group = ApplicationGroup("g", ("ssl",), problem="has an unreadable <members>")
    assert resolved(["g"], group) == Applications(
        (), ("application group 'g' has an unreadable <members>",)
    )


def test_an_empty_group_is_nothing_and_not_open() -> None:
    assert resolved(["g"], ApplicationGroup("g")) == Applications(())


OPEN_FILTER = "application filter 'f' selects by App-IDs that are not known here"


@pytest.mark.parametrize(
    ("attributes", "known"),
    [
        ((("category", ("media", "business")),), [tcp("1")]),
        ((("category", ("media",)), ("risk", ("3", "4"))), [tcp("1")]),
        ((("category", ("media",)), ("risk", ("1",))), []),
        ((("technology", ("p2p",)),), []),
        # Of those that are named otherwise in a filter nothing is sure.
        ((("category", ("media",)), ("evasive", ("yes",))), []),
        ((("category", ("media",)), ("exclude", ("x",))), []),
        ((), []),
    ],
)
def test_a_filter_is_open_and_holds_the_custom_applications_that_match(
    attributes: tuple[tuple[str, tuple[str, ...]], ...], known: list[Traffic]
) -> None:
    chosen = custom(("port", "tcp/1"), category="media", risk="3")
    other = custom(("port", "tcp/2"), name="y", category="networking", risk="3")
    found = resolved(["f"], ApplicationFilter("f", attributes), chosen, other)
    assert found == Applications(tuple(known), (OPEN_FILTER,))


def test_a_filter_that_cannot_be_read_has_no_members() -> None:
    broken = ApplicationFilter("f", (("category", ("media",)),), problem="has an unreadable <risk>")
    found = resolved(["f"], broken, custom(("port", "tcp/1"), category="media"))
    assert found == Applications((), ("application filter 'f' has an unreadable <risk>",))

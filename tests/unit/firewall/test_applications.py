"""Applications as their default traffic, and what of it is not known."""

from collections.abc import Iterable

import pytest

from sync.firewall.applications import Applications, resolve_applications
from sync.firewall.objects import Application, ApplicationFilter, ApplicationGroup
from sync.firewall.predefined import DEFAULTS
from sync.firewall.services import ICMP, ICMPV6, TCP, UDP, Traffic
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
    assert resolved([name]) == Applications(expected)


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
        (tcp("443"),), ("App-ID new-app is not known here, so neither are its ports",)
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
        ([("ident-by-icmp-type", "8,0")], [Traffic(ICMP, icmp=(8, 0))]),
        ([("ident-by-icmp-type", "8")], [Traffic(ICMP, icmp=(8, None))]),
        ([("ident-by-icmp6-type", "128,0")], [Traffic(ICMPV6, icmp=(128, 0))]),
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
        ("ident-by-ip-protocol", "0"),
        ("ident-by-ip-protocol", "256"),
        ("ident-by-ip-protocol", "gre"),
        ("ident-by-icmp-type", ""),
        ("ident-by-icmp-type", "255"),
        ("ident-by-icmp-type", "8,"),
        ("ident-by-icmp-type", "8,256"),
        ("ident-by-icmp-type", "8,0,1"),
        ("ident-by-icmp6-type", "any"),
    ],
)
def test_a_default_that_cannot_be_read_keeps_the_list_open(item: tuple[str, str]) -> None:
    found = resolved(["x"], custom(("port", "tcp/1"), item))
    reason = f"App-ID x has a default that cannot be read ({item[1]!r})"
    assert found == Applications((tcp("1"),), (reason,))


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
    assert resolved(["g"], *objects) == Applications((tcp("1,53,443"), udp("53,5353")))


def test_a_group_deeper_than_the_stack_is_read() -> None:
    nested = [ApplicationGroup(f"g{n}", (f"g{n + 1}",)) for n in range(5000)]
    assert resolved(["g0"], *nested, ApplicationGroup("g5000", ("ssl",))).traffic == (tcp("443"),)


def test_a_circle_of_groups_is_open() -> None:
    objects = (ApplicationGroup("g", ("h", "ssl")), ApplicationGroup("h", ("g",)))
    assert resolved(["g"], *objects) == Applications(
        (tcp("443"),), ("application group 'g' holds itself",)
    )


def test_a_group_that_cannot_be_read_adds_nothing() -> None:
    group = ApplicationGroup("g", ("ssl",), problem="has an unreadable <members>")
    assert resolved(["g"], group) == Applications(
        (), ("application group 'g' has an unreadable <members>",)
    )


def test_an_empty_group_is_nothing_and_not_open() -> None:
    assert resolved(["g"], ApplicationGroup("g")) == Applications(())


OPEN_FILTER = "application filter 'f' asks about App-IDs that are not known here"


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

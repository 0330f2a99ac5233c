"""Every value that the reader takes, held against its type in the vendor's configuration schema.

A row has a value as a document may write it, and what it must mean; None is unsayable. A value that
is read as less than it says would make a deny smaller, one that is read as more an allow larger.

Types, as the schema has them: a *list of ranges* (ports, IP protocols, ICMP types and codes), a
*list of members*, a *word of few*, *yes or no*, a *name*, an *address*. White space around a value
says nothing; case, leading zeros and what is empty do.
"""

import pytest

from sync.firewall.applications import resolve_applications
from sync.firewall.effective import effective
from sync.firewall.objects import (
    Address,
    ApplicationFilter,
    ApplicationGroup,
    Objects,
    Service,
    ServiceGroup,
)
from sync.firewall.rules import ANY, EVERYWHERE, Rule, Target
from tests import words
from tests.words import Word, entry, members, tag, text

NBSP = "\N{NO-BREAK SPACE}"


def objects(place: str, inner: str) -> Objects:
    document = words.document([Word(place, entry("x", inner))])
    return effective(words.read(document), "dg").objects


# --- services -------------------------------------------------------------------------------------

# A list of ranges from 0 to 65535; `any` in older versions.
PORTS: list[tuple[str, str | None]] = [
    ("80", "80"),
    (" 80\n", "80"),
    ("80,443", "80,443"),
    ("443 , 80", "80,443"),
    ("80,80", "80"),
    ("1000-2000,80", "80,1000-2000"),
    ("1000 - 2000", "1000-2000"),
    ("80-80", "80"),
    ("0", "0"),
    ("65535", "65535"),
    ("0-65535", "0-65535"),
    ("any", "0-65535"),
    (" any ", "0-65535"),
    ("80<!-- and -->,443", "80,443"),
    ("<![CDATA[80,443]]>", "80,443"),
    ("Any", None),
    ("ANY", None),
    ("any,80", None),
    ("80,any", None),
    ("any-80", None),
    ("any any", None),
    ("", None),
    (" ", None),
    (",", None),
    ("80,", None),
    ("80 443", None),
    ("80;443", None),
    ("080", None),
    ("0x50", None),
    ("+80", None),
    ("-80", None),
    ("80-", None),
    ("90-80", None),
    ("1-2-3", None),
    ("65536", None),
    ("80.0", None),
    ("http", None),
    ("dynamic", None),
    (f"80{NBSP}", None),
    ("<member>80</member>", None),
    ("80<member>443</member>", None),
]


@pytest.mark.parametrize(("value", "meant"), PORTS)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_of_a_service(value: str, meant: str | None, protocol: str) -> None:
    inner = tag("protocol", tag(protocol, tag("port", value)))
    found = objects("service", inner).services["x"]
    assert isinstance(found, Service)
    assert (None if found.problem else (found.protocol, str(found.ports))) == (
        None if meant is None else (protocol, meant)
    )
    assert found.source_ports is None


@pytest.mark.parametrize(("value", "meant"), PORTS)
def test_a_source_port_of_a_service(value: str, meant: str | None) -> None:
    inner = tag("protocol", tag("tcp", tag("port", "443"), tag("source-port", value)))
    found = objects("service", inner).services["x"]
    assert isinstance(found, Service)
    assert (None if found.problem else str(found.source_ports)) == meant


@pytest.mark.parametrize(
    ("inner", "readable"),
    [
        # What a service says besides: `override` is about timeouts.
        (tag("tcp", text("port", "80"), tag("override", tag("no"))), True),
        (tag("tcp", text("port", "80"), tag("override", tag("yes", text("timeout", "9")))), True),
        (tag("tcp", text("port", "80"), text("protocol", "udp")), False),
        (tag("tcp", text("port", "80"), tag("port", "81")), False),
        (tag("tcp"), False),
        (tag("tcp", text("source-port", "80")), False),
        (tag("TCP", text("port", "80")), False),
        (tag("sctp", text("port", "80")), False),
        ("tcp", False),
        ("", False),
    ],
)
def test_the_protocol_of_a_service(inner: str, readable: bool) -> None:
    found = objects("service", tag("protocol", inner)).services["x"]
    assert bool(found.problem) is not readable


# --- applications ---------------------------------------------------------------------------------

# A list of ranges from 0 to 255. What only Calico cannot tell is unsayable, the rest of it known.
NUMBERS: list[tuple[str, list[int] | None]] = [
    ("13", [13]),
    (" 13 ", [13]),
    ("13,14", [13, 14]),
    (" 13 , 14 ", [13, 14]),
    ("14,13,13", [13, 14]),
    ("13-14", [13, 14]),
    ("8-10,13", [8, 9, 10, 13]),
    ("13<!-- and -->,14", [13, 14]),
    ("any", None),
    ("", None),
    ("13,", None),
    ("13,any", None),
    ("13 14", None),
    ("13/0", None),
    ("013", None),
    ("14-13", None),
    ("256", None),
    ("13,256", None),
    ("-1", None),
    ("echo", None),
]
FAMILIES = [("ident-by-icmp-type", "icmp"), ("ident-by-icmp6-type", "icmp6")]


def default_of(*inner: str) -> tuple[list[str], bool]:
    """The default traffic of an application, and whether that is all of it."""
    held = objects("application", tag("default", *inner)).applications
    found = resolve_applications(["x"], held, denied=True)
    assert found == resolve_applications(["x"], held, denied=False)
    return [str(each) for each in found.traffic], not found.open_because


@pytest.mark.parametrize(("value", "meant"), NUMBERS)
@pytest.mark.parametrize(("element", "name"), FAMILIES)
@pytest.mark.parametrize("spelled", ["text", "elements"])
def test_the_icmp_types_of_an_application(
    value: str, meant: list[int] | None, element: str, name: str, spelled: str
) -> None:
    inner = value if spelled == "text" else tag("type", value)
    expected = [] if meant is None else [f"{name} type {each}" for each in meant]
    assert default_of(tag(element, inner)) == (expected, meant is not None)


@pytest.mark.parametrize(("value", "meant"), NUMBERS)
@pytest.mark.parametrize(("element", "name"), FAMILIES)
def test_the_icmp_codes_of_an_application(
    value: str, meant: list[int] | None, element: str, name: str
) -> None:
    expected = [
        f"{name} type {kind} code {code}"
        for kind in ([3, 5] if meant else [])
        for code in meant or ()
    ]
    types, codes = text("type", "3,5"), tag("code", value)
    for inner in (types + codes, codes + types):
        assert default_of(tag(element, inner)) == (expected, meant is not None)


@pytest.mark.parametrize(
    ("inner", "meant", "whole"),
    [
        (text("type", "0-255"), ["{}"], True),
        (text("type", "8") + text("code", "0-255"), ["{} type 8"], True),
        (text("type", "254-255"), ["{} type 254"], False),
        (text("type", "255"), [], False),
        (text("type", "13") + text("type", "14"), [], False),
        (text("code", "0"), [], False),
        ("13" + text("code", "0"), [], False),
        (text("type", "13") + "14", [], False),
        (text("type", "13") + text("subtype", "1"), [], False),
        (text("Type", "13"), [], False),
        (tag("type", text("member", "13")), [], False),
        (text("member", "13"), [], False),
    ],
)
@pytest.mark.parametrize(("element", "name"), FAMILIES)
def test_the_shape_of_icmp_types(
    inner: str,
    meant: list[str],
    whole: bool,
    element: str,
    name: str,
) -> None:
    assert default_of(tag(element, inner)) == ([each.format(name) for each in meant], whole)


PROTOCOL_NAMES = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    58: "icmp6",
}


@pytest.mark.parametrize(
    ("value", "meant"), [*NUMBERS, ("6", [6]), ("1,58", [1, 58]), ("255", [255])]
)
def test_the_ip_protocols_of_an_application(value: str, meant: list[int] | None) -> None:
    expected = [PROTOCOL_NAMES.get(each, f"IP protocol {each}") for each in meant or ()]
    assert default_of(tag("ident-by-ip-protocol", value)) == (expected, meant is not None)


def test_ip_protocols_that_are_all_or_that_calico_cannot_tell() -> None:
    element = "ident-by-ip-protocol"
    assert default_of(text(element, "0-255")) == (["any traffic"], True)
    assert default_of(text(element, "0,47")) == (["IP protocol 47"], False)
    assert default_of(tag(element, text("member", "47"))) == ([], False)


# A list of members, each a protocol and a list of ranges or `dynamic`.
@pytest.mark.parametrize(
    ("listed", "meant", "whole"),
    [
        (["tcp/80,443"], ["tcp/80,443"], True),
        ([" tcp/80 , 443 "], ["tcp/80,443"], True),
        (["tcp/0-1024,10000"], ["tcp/0-1024,10000"], True),
        (["tcp/80", "tcp/443", "udp/53"], ["tcp/80,443", "udp/53"], True),
        (["tcp/0-65535"], ["tcp"], True),
        (["udp/dynamic"], [], False),
        (["tcp/80,dynamic"], ["tcp/80"], False),
        (["tcp/80", "udp/dynamic"], ["tcp/80"], False),
        (["tcp/any"], [], False),
        (["tcp/Dynamic"], [], False),
        (["TCP/80"], [], False),
        (["tcp/080"], [], False),
        (["tcp/443-80"], [], False),
        (["tcp/80/443"], [], False),
        (["tcp"], [], False),
        (["80"], [], False),
        (["icmp/dynamic"], [], False),
        (["sctp/80"], [], False),
        (["tcp/80 udp/53"], [], False),
        (["tcp/80", "tcp/web"], ["tcp/80"], False),
    ],
)
def test_the_ports_of_an_application(
    listed: list[str],
    meant: list[str],
    whole: bool,
) -> None:
    assert default_of(members("port", listed)) == (meant, whole)


@pytest.mark.parametrize(
    "inner",
    [
        text("port", "tcp/80"),
        tag("port", "tcp/443", text("member", "tcp/80")),
        tag("port", text("member", "tcp/80"), "tcp/443"),
        tag("port", text("member", "")),
        tag("port"),
        members("port", ["tcp/80"]) + members("port", ["tcp/81"]),
        members("port", ["tcp/80"]) + tag("ident-by-luck"),
        "",
    ],
)
def test_ports_of_an_application_that_cannot_be_read(inner: str) -> None:
    assert default_of(inner) == ([], False)


def test_timeouts_and_signatures_say_nothing_of_where_an_application_is() -> None:
    inner = tag("default", members("port", ["tcp/80"]), "") + "".join(
        text(each, "x") for each in ("timeout", "tcp-timeout", "udp-timeout", "evasive-behavior")
    )
    held = objects("application", inner + tag("signature", entry("s"))).applications
    found = resolve_applications(["x"], held)
    assert ([str(each) for each in found.traffic], found.open_because) == (["tcp/80"], ())


@pytest.mark.parametrize(
    "inner", [text("category", "media") + text("category", "business"), tag("category", tag("a"))]
)
def test_an_attribute_that_is_not_one_value_is_asked_for_by_no_filter(inner: str) -> None:
    port = tag("default", members("port", ["tcp/80"]))
    held = objects("application", inner + port).applications
    asked = ApplicationFilter("f", (("category", ("media", "business")),))
    assert not resolve_applications(["f"], {**held, "f": asked}).traffic


# --- lists of members -----------------------------------------------------------------------------

MEMBERS: list[tuple[str, tuple[str, ...] | None]] = [
    (text("member", "a"), ("a",)),
    (text("member", " a "), ("a",)),
    (text("member", "b") + text("member", "a") + text("member", "b"), ("a", "b")),
    # A comma is part of a name, and so is case.
    (text("member", "a,b"), ("a,b",)),
    (text("member", "Any"), ("Any",)),
    (text("member", ""), None),
    (text("member", " "), None),
    ("a", None),
    ("a" + text("member", "b"), None),
    (text("member", "b") + "a", None),
    (text("entry", "a"), None),
    (tag("member", text("member", "a")), None),
]


@pytest.mark.parametrize(
    ("inner", "readable"),
    [
        ("'a'", True),
        (" 'a' and 'b' ", True),
        ("'a'<!-- or --> or 'b'", True),
        ("'a'" + tag("x"), False),
        (text("member", "'a'"), False),
        ("", False),
    ],
)
def test_the_filter_of_a_dynamic_group(inner: str, readable: bool) -> None:
    found = objects("address-group", tag("dynamic", tag("filter", inner))).addresses["x"]
    assert bool(found.problem) is not readable


@pytest.mark.parametrize(("inner", "meant"), MEMBERS)
def test_the_members_of_groups(inner: str, meant: tuple[str, ...] | None) -> None:
    listed = tag("members", inner)
    for place in ("service-group", "application-group"):
        held = objects(place, listed)
        found = held.services.get("x") or held.applications["x"]
        assert isinstance(found, ServiceGroup | ApplicationGroup)
        assert (None if found.problem else found.members) == meant
    found_filter = objects("application-filter", tag("category", inner)).applications["x"]
    assert isinstance(found_filter, ApplicationFilter)
    if meant is None and "<" in inner:
        assert found_filter.problem


# --- rules ----------------------------------------------------------------------------------------


def read(*inner: str) -> Rule:
    document = words.document(groups={"dg": [words.rule("r", *inner)]})
    [placed] = effective(words.read(document), "dg").rules
    return placed.rule


LISTS = {
    "from": "from_zones",
    "to": "to_zones",
    "source": "sources",
    "destination": "destinations",
    "application": "applications",
    "service": "services",
}


@pytest.mark.parametrize("element", LISTS)
@pytest.mark.parametrize(("inner", "meant"), MEMBERS)
def test_a_list_of_a_rule(element: str, inner: str, meant: tuple[str, ...] | None) -> None:
    found = read(tag(element, inner))
    if meant is None:
        # What matches most, for a deny; an allow of it is left out.
        assert found.unreadable
        assert getattr(found, LISTS[element]) == ANY
    else:
        assert not found.unreadable
        assert set(getattr(found, LISTS[element])) == set(meant)


WORDS: list[tuple[str, str, dict[str, str]]] = [
    ("action", "action", {each: each for each in ("allow", "deny", "drop", "reset-both")}),
    ("rule-type", "rule_type", {each: each for each in ("universal", "intrazone", "interzone")}),
]
# What stands for nothing where one of few words should stand.
NO_WORDS = ("", "any", "Allow", "DENY", "Intrazone", "allow,deny", "0", "true", "Yes", "NO", "y")


@pytest.mark.parametrize(("element", "field", "known"), WORDS)
def test_a_word_of_few(element: str, field: str, known: dict[str, str]) -> None:
    for word, meant in known.items():
        for spelled in (word, f"\n {word} "):
            found = read(text(element, spelled))
            assert (getattr(found, field), found.unreadable) == (meant, ())
    for word in (*NO_WORDS, *known):
        inner = text("member", word) if word in known else word
        found = read(tag(element, inner))
        assert found.unreadable
        if element == "action":
            assert found.action == "deny"
        else:
            assert (found.from_zones, found.to_zones) == (ANY, ANY)


@pytest.mark.parametrize("element", ["negate-source", "negate-destination", "disabled"])
def test_yes_or_no(element: str) -> None:
    field = element.replace("-", "_")
    for word, meant in (("yes", True), (" yes ", True), ("no", False), ("\nno\n", False)):
        found = read(text(element, word))
        assert (getattr(found, field), found.unreadable) == (meant, ())
    for word in (*NO_WORDS, "allow"):
        found = read(text(element, word))
        assert found.unreadable
        assert getattr(found, field) is False


CONSTRAINTS = (
    *("source-user", "category", "hip-profiles", "source-hip", "destination-hip"),
    *("source-imsi", "source-imei", "source-nw-slice", "schedule"),
)


@pytest.mark.parametrize("element", CONSTRAINTS)
@pytest.mark.parametrize(
    ("inner", "restricts"),
    [
        ("any", False),
        (" any ", False),
        (text("member", "any"), False),
        ("", False),
        ("Any", True),
        ("x", True),
        (text("member", "x"), True),
        (text("member", "any") + text("member", "x"), True),
        (text("member", "any") + "x", True),
        ("x" + text("member", "any"), True),
        (text("entry", "any"), True),
    ],
)
def test_a_constraint(element: str, inner: str, restricts: bool) -> None:
    found = read(tag(element, inner))
    assert bool(found.constraints or found.unreadable) is restricts


TARGETS: list[tuple[str, Target | None]] = [
    ("", EVERYWHERE),
    (text("negate", "no"), EVERYWHERE),
    (text("negate", " no "), EVERYWHERE),
    (text("negate", "yes"), Target(negate=True)),
    (text("negate", "Yes"), None),
    (text("negate", ""), None),
    (tag("devices", entry("001")), Target((("001", ()),))),
    (tag("devices", entry("001", tag("vsys", entry("vsys1")))), Target((("001", ("vsys1",)),))),
    (tag("devices", text("member", "001")), None),
    (tag("devices", "001"), None),
    (members("tags", ["site"]), Target(tags=("site",))),
    (text("tags", "site"), None),
    (tag("tags", "site", text("member", "other")), None),
    ("001", None),
]


@pytest.mark.parametrize(("inner", "meant"), TARGETS)
def test_a_target(inner: str, meant: Target | None) -> None:
    found = read(tag("target", inner))
    assert (None if found.unreadable else found.target) == meant
    if meant is None:
        assert found.target == EVERYWHERE


@pytest.mark.parametrize(("inner", "meant"), [each for each in MEMBERS if each[1] is None])
def test_tags_that_cannot_be_read_choose_nothing(inner: str, meant: None) -> None:
    found = read(tag("tag", inner))
    assert (found.tags, bool(found.unreadable), meant) == ((), True, None)


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "meant"),
    [
        ("ip-netmask", "10.0.0.1", ["10.0.0.1/32"]),
        ("ip-netmask", " 10.0.0.1/24 ", ["10.0.0.0/24"]),
        ("ip-netmask", "2001:DB8::1", ["2001:db8::1/128"]),
        ("ip-netmask", "10.0.0.1,10.0.0.2", None),
        ("ip-netmask", "10.0.0.1-10.0.0.2", None),
        ("ip-netmask", "10.0.0.010", None),
        ("ip-netmask", "10.0.0.0/255.255.255.0", None),
        ("ip-netmask", "10.0.0.0/024", None),
        ("ip-netmask", "any", None),
        ("ip-netmask", "$variable", None),
        ("ip-netmask", "", None),
        ("ip-range", "10.0.0.1-10.0.0.2", ["10.0.0.1/32", "10.0.0.2/32"]),
        ("ip-range", "10.0.0.1 - 10.0.0.1", ["10.0.0.1/32"]),
        ("ip-range", "10.0.0.2-10.0.0.1", None),
        ("ip-range", "10.0.0.1-2", None),
        ("ip-range", "10.0.0.1-10.0.0.2,10.0.0.9-10.0.0.9", None),
        ("ip-range", "10.0.0.1", None),
        ("ip-wildcard", "10.0.0.0/0.0.0.255", ["10.0.0.0/24"]),
        ("ip-wildcard", "10.0.0.0/24", None),
        ("ip-wildcard", "10.0.0.0/0.0.0.255,10.1.0.0/0.0.0.255", None),
        ("fqdn", "www.example.com", None),
    ],
)
def test_the_value_of_an_address(kind: str, value: str, meant: list[str] | None) -> None:
    found = objects("address", text(kind, value)).addresses["x"]
    assert isinstance(found, Address)
    assert (None if found.addresses is None else found.addresses.cidrs()) == meant

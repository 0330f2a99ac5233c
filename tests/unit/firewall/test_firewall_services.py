"""Services, applications and the smaller kinds of objects as they are read."""

import pytest

from sync.firewall.configuration import Configuration
from sync.firewall.objects import (
    Application,
    ApplicationFilter,
    ApplicationGroup,
    ExternalList,
    Region,
    Service,
    ServiceGroup,
    Tag,
)
from sync.net.addresses import network
from sync.net.ports import PortSet, ports
from tests.words import Word, entry, members, remarked, service, shared, tag, text

NONE = PortSet(())


def problem_at(configuration: Configuration, place: str, where: str) -> str:
    """The one remark there is, which stands at this place of the entry `x`."""
    remarks = remarked(configuration)
    path = f"/config/shared/{place}/entry[@name='x']{where}"
    assert remarks.keys() == {path}
    return remarks[path]


# --- services -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (service("x", "80"), Service("x", "tcp", ports("80"))),
        (service("x", "80", "udp"), Service("x", "udp", ports("80"))),
        (service("x", "80, 443,8000-8080"), Service("x", "tcp", ports("80,443,8000-8080"))),
        (service("x", "0-65535"), Service("x", "tcp", ports("0-65535"))),
        (
            service("x", "53", "udp", source_port="1024-65535"),
            Service("x", "udp", ports("53"), ports("1024-65535")),
        ),
        (
            Word(
                "service",
                entry("x", tag("protocol", tag("tcp", text("port", "80"), tag("override")))),
            ),
            Service("x", "tcp", ports("80")),
        ),
    ],
)
def test_a_service_is_a_protocol_and_its_ports(word: Word, expected: Service) -> None:
    configuration = shared(word)
    assert configuration.shared.objects.services == {"x": expected}
    assert not configuration.remarks


@pytest.mark.parametrize(
    ("inner", "where", "problem"),
    [
        ("", "", "is not a TCP or UDP service"),
        (tag("protocol"), "", "is not a TCP or UDP service"),
        (tag("protocol", tag("sctp", text("port", "80"))), "", "is not a TCP or UDP service"),
        (
            tag("protocol", tag("tcp", text("port", "80")), tag("udp", text("port", "80"))),
            "",
            "is not a TCP or UDP service",
        ),
        (
            2 * tag("protocol", tag("tcp", text("port", "80"))),
            "/protocol",
            "has <protocol> more than once",
        ),
        (tag("protocol", tag("tcp")), "/protocol/tcp", "has a <port> that cannot be read"),
        (
            tag("protocol", tag("tcp", text("port", "90-80"))),
            "/protocol/tcp",
            "has a <port> that cannot be read: '90-80' is a range that falls",
        ),
        (
            tag("protocol", tag("tcp", text("port", "80"), text("source-port", "x"))),
            "/protocol/tcp",
            "has a <source-port> that cannot be read: 'x' is not a port",
        ),
        (
            tag("protocol", tag("tcp", text("port", "80"), text("flags", "syn"))),
            "/protocol/tcp/flags",
            "has an element <flags> that is not known here",
        ),
        (
            tag("protocol", tag("tcp", text("port", "80"), text("port", "81"))),
            "/protocol/tcp/port",
            "has <port> more than once",
        ),
        (
            tag("protocol", tag("tcp", text("port", "80"))) + text("scope", "x"),
            "/scope",
            "has an element <scope> that is not known here",
        ),
    ],
)
def test_a_service_that_cannot_be_read_is_unsayable_and_nothing_else(
    inner: str, where: str, problem: str
) -> None:
    configuration = shared(Word("service", entry("x", inner)), service("y", "443"))
    assert problem_at(configuration, "service", where).startswith(problem)
    held = configuration.shared.objects.services
    assert held["x"].problem.startswith(problem)
    assert held["y"] == Service("y", "tcp", ports("443"))


@pytest.mark.parametrize(
    "inner", [members("members", "ba"), text("member", "b") + text("member", "a")]
)
def test_a_service_group_has_members_in_either_shape(inner: str) -> None:
    held = shared(Word("service-group", entry("x", inner))).shared.objects.services
    assert held == {"x": ServiceGroup("x", ("a", "b"))}


def test_a_service_and_a_service_group_share_their_names() -> None:
    held = shared(
        service("x", "80"), Word("service-group", entry("x", members("members", ["y"])))
    ).shared.objects.services
    assert held["x"].problem == "is defined more than once, differently"


def test_a_service_group_with_an_unknown_element_is_unsayable() -> None:
    inner = members("members", ["a"]) + tag("except")
    configuration = shared(Word("service-group", entry("x", inner)))
    assert "<except> that is not known" in problem_at(configuration, "service-group", "/except")
    assert configuration.shared.objects.services["x"].problem


# --- applications ---------------------------------------------------------------------------------


def application(*inner: str) -> Word:
    return Word("application", entry("x", *inner))


def only_application(word: Word) -> Application | ApplicationGroup | ApplicationFilter:
    return shared(word).shared.objects.applications["x"]


def test_an_application_has_default_ports_and_attributes() -> None:
    word = application(
        tag("default", members("port", ["tcp/80,443", "udp/dynamic"])),
        text("category", "business-systems"),
        text("risk", "3"),
        text("description", "x"),
        tag("signature", entry("s")),
    )
    assert only_application(word) == Application(
        "x",
        (("port", "tcp/80,443"), ("port", "udp/dynamic")),
        (("category", "business-systems"), ("risk", "3")),
    )


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (text("ident-by-ip-protocol", "47"), ("ident-by-ip-protocol", "47")),
        (
            tag("ident-by-icmp-type", text("type", "8"), text("code", "0")),
            ("ident-by-icmp-type", "8/0"),
        ),
        (
            tag("ident-by-icmp-type", text("code", "0"), text("type", "8")),
            ("ident-by-icmp-type", "8/0"),
        ),
        (tag("ident-by-icmp6-type", text("type", "128")), ("ident-by-icmp6-type", "128")),
        (tag("ident-by-icmp-type", text("type", "13,14")), ("ident-by-icmp-type", "13,14")),
        (text("ident-by-icmp-type", "13,14"), ("ident-by-icmp-type", "13,14")),
    ],
)
def test_an_application_may_be_known_by_protocol_or_icmp_type(
    inner: str, expected: tuple[str, str]
) -> None:
    found = only_application(application(tag("default", inner)))
    assert found == Application("x", (expected,))


@pytest.mark.parametrize(
    "inner",
    [
        tag("default", tag("ident-by-signature")),
        tag("default", tag("ident-by-icmp-type", text("code", "0"))),
        tag("default", tag("ident-by-icmp-type", "13", text("type", "14"))),
        tag("default", tag("ident-by-icmp-type", text("type", "13"), text("type", "14"))),
        tag("default", tag("ident-by-icmp-type", text("type", "13"), text("subtype", "1"))),
        tag("default", tag("ident-by-icmp-type", text("type", "13/0"))),
        tag("default", tag("ident-by-icmp-type", tag("type", text("member", "13")))),
        tag("default", tag("ident-by-ip-protocol", text("member", "47"))),
        tag("default", tag("port", "tcp/80")),
        tag("default", members("port", ["tcp/80"]), members("port", ["tcp/81"])),
        tag("default", members("port", ["tcp/80"])) + tag("default", members("port", ["tcp/81"])),
    ],
)
def test_defaults_that_cannot_be_read_make_an_application_unsayable(inner: str) -> None:
    assert only_application(application(inner)).problem


def test_an_application_group_and_a_filter_are_read() -> None:
    group = Word("application-group", entry("x", members("members", ["ssl", "dns"])))
    assert only_application(group) == ApplicationGroup("x", ("dns", "ssl"))
    found = only_application(
        Word(
            "application-filter",
            entry(
                "x",
                members("category", ["media"]),
                text("evasive", "yes"),
                text("description", "d"),
            ),
        )
    )
    assert found == ApplicationFilter("x", (("category", ("media",)), ("evasive", ("yes",))))


@pytest.mark.parametrize(
    "inner", [tag("category", "<x/>"), members("category", ["a"]) + members("category", ["b"])]
)
def test_a_filter_that_cannot_be_read_has_a_problem(inner: str) -> None:
    assert only_application(Word("application-filter", entry("x", inner))).problem


# --- lists, regions, tags -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (
            tag("type", tag("ip", text("url", "https://x.example"), tag("recurring"))),
            ExternalList("x", "ip", "https://x.example"),
        ),
        (
            tag("type", tag("predefined-ip", text("url", "panw-known-ip-list"))),
            ExternalList("x", "predefined-ip", "panw-known-ip-list"),
        ),
        (tag("type", tag("domain")), ExternalList("x", "domain")),
    ],
)
def test_an_external_list_has_one_type(inner: str, expected: ExternalList) -> None:
    configuration = shared(Word("external-list", entry("x", inner)))
    assert configuration.shared.objects.external_lists == {"x": expected}
    assert not configuration.remarks


@pytest.mark.parametrize(
    "inner", ["", tag("type"), tag("type", tag("ip"), tag("url")), 2 * tag("type", tag("ip"))]
)
def test_an_external_list_without_one_type_is_unsayable(inner: str) -> None:
    configuration = shared(Word("external-list", entry("x", inner)))
    assert "no single type" in problem_at(configuration, "external-list", "")
    assert configuration.shared.objects.external_lists["x"].problem == "has no single type"


def test_a_region_has_addresses_and_a_tag_its_words() -> None:
    objects = shared(
        Word(
            "region", entry("x", tag("geo-location"), members("address", ["10.0.0.0/8", "1.1.1.1"]))
        ),
        Word("tag", entry("x", text("color", "color1"), text("comments", "hot"))),
    ).shared.objects
    held = network("1.1.1.1") | network("10.0.0.0/8")
    assert objects.regions == {"x": Region("x", ("1.1.1.1", "10.0.0.0/8"), held)}
    assert objects.tags == {"x": Tag("x", "color1", "hot")}


@pytest.mark.parametrize(
    ("inner", "problem"),
    [
        (tag("geo-location"), "is a region without addresses"),
        (members("address", ["10.0.0.1", "$x"]), "is a region with a member that is no address"),
        (tag("address", "10.0.0.1"), "has an unreadable <address>"),
        (members("address", ["10.0.0.1"]) * 2, "has <address> more than once"),
        (members("address", ["10.0.0.1"]) + tag("new"), "has an element <new>"),
    ],
)
def test_a_region_that_cannot_be_read_whole_has_no_addresses(inner: str, problem: str) -> None:
    region = shared(Word("region", entry("x", inner))).shared.objects.regions["x"]
    assert region.problem.startswith(problem)
    assert region.addresses is None


def test_unknown_kinds_of_objects_are_none_of_ours() -> None:
    configuration = shared(Word("log-settings", entry("x", tag("whatever"))))
    assert not configuration.remarks

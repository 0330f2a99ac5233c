"""What becomes of a rule's applications and services, allow by allow and deny by deny."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from sync.firewall.objects import (
    Application,
    ApplicationFilter,
    ApplicationGroup,
    Objects,
    Service,
    ServiceGroup,
)
from sync.firewall.rules import Rule
from sync.firewall.services import ANY_TRAFFIC, ICMP, ICMPV6, TCP, UDP, Traffic, shared
from sync.net.ports import PortSet, ports
from sync.options import RuleOptions
from sync.translate.fidelity import Status, worst
from sync.translate.traffic import traffic_of

EXACT, NARROWED, WIDENED = Status.EXACT, Status.NARROWED, Status.WIDENED
LEFT_OUT, MORE_PERMISSIVE = Status.LEFT_OUT, Status.MORE_PERMISSIVE

OBJECTS = Objects(
    services={
        each.name: each
        for each in (
            Service("http", "tcp", ports("80")),
            Service("https", "tcp", ports("443")),
            Service("alt", "tcp", ports("8080")),
            Service("dns-udp", "udp", ports("53")),
            Service("zero", "tcp", ports("0,80")),
            Service("all-tcp", "tcp", ports("0-65535")),
            Service("high", "tcp", ports("443"), ports("1024-65535")),
            Service("broken", "", PortSet(()), problem="is not a TCP or UDP service"),
            ServiceGroup("web", ("http", "https")),
            ServiceGroup("empty", ()),
        )
    },
    applications={
        each.name: each
        for each in (
            Application("ours", (("port", "tcp/443"),)),
            Application("half", (("port", "tcp/443,dynamic"),)),
            Application("theirs", (("port", "udp/9"),), predefined=True),
            Application(
                "timestamps", (("ident-by-icmp-type", "13,14"), ("ident-by-icmp6-type", "1/0"))
            ),
            Application("reserved", (("ident-by-icmp-type", "254,255"),)),
            ApplicationGroup("known", ("ours", "theirs")),
            ApplicationGroup("mixed", ("known", "bfd")),
            ApplicationGroup("browsing", ("web-browsing", "ssl")),
            ApplicationGroup("no-apps", ()),
            ApplicationFilter("media", (("category", ("media",)),)),
        )
    },
)


def tcp(text: str, source: str = "") -> Traffic:
    return Traffic(TCP, ports(text), ports(source) if source else None)


def udp(text: str) -> Traffic:
    return Traffic(UDP, ports(text))


ALL = (ANY_TRAFFIC,)
WEB = (tcp("80,443"),)
NOTHING: tuple[Traffic, ...] = ()
PING = Traffic(ICMP, icmp=(8, None))
STAMPS = (
    Traffic(ICMP, icmp=(13, None)),
    Traffic(ICMP, icmp=(14, None)),
    Traffic(ICMPV6, icmp=(1, 0)),
)

# Applications, services, what is left of them, and how the rule fares.
Row = tuple[str, str, tuple[Traffic, ...], list[Status]]


def of(
    applications: str,
    services: str,
    action: str,
    options: Mapping[str, Any] | None = None,
    *,
    accepted: bool = False,
) -> tuple[tuple[Traffic, ...], list[Status], list[str]]:
    rule = Rule(
        "r",
        applications=tuple(applications.split()),
        services=tuple(services.split()),
        action=action,
    )
    traffic, losses = traffic_of(rule, OBJECTS, RuleOptions(**(options or {})), accepted=accepted)
    return traffic, [loss.status for loss in losses], [loss.reason for loss in losses]


# --- any application ------------------------------------------------------------------------------

EXACT_SERVICES: list[tuple[str, tuple[Traffic, ...]]] = [
    ("any", ALL),
    ("any any", ALL),
    ("http", (tcp("80"),)),
    ("http https dns-udp", (tcp("80,443"), udp("53"))),
    ("web", WEB),
    ("service-http", (tcp("80,8080"),)),
    ("zero", (tcp("0,80"),)),
    ("all-tcp", (Traffic(TCP),)),
    ("http high", (tcp("80"), tcp("443", "1024-65535"))),
    ("empty", NOTHING),
]


@pytest.mark.parametrize(("services", "expected"), EXACT_SERVICES)
@pytest.mark.parametrize("action", ["allow", "deny", "drop", "reset-both"])
@pytest.mark.parametrize("applications", ["ports", "strict"])
def test_services_of_any_application_are_exact(
    services: str, expected: tuple[Traffic, ...], action: str, applications: str
) -> None:
    options = {"applications": applications, "deny_applications": "ports"}
    assert of("any", services, action, options) == (expected, [], [])


@pytest.mark.parametrize(
    ("services", "allowed", "status"),
    [
        ("http broken", (tcp("80"),), NARROWED),
        ("http gone", (tcp("80"),), NARROWED),
        ("broken", NOTHING, LEFT_OUT),
        ("gone", NOTHING, LEFT_OUT),
    ],
)
def test_open_services_shrink_an_allow_and_make_a_deny_one_of_any_traffic(
    services: str, allowed: tuple[Traffic, ...], status: Status
) -> None:
    assert of("any", services, "allow")[:2] == (allowed, [status])
    assert of("any", services, "deny")[:2] == (ALL, [WIDENED])


def test_open_services_of_a_deny_can_be_accepted() -> None:
    assert of("any", "http gone", "deny", accepted=True) == (
        (tcp("80"),),
        [MORE_PERMISSIVE],
        ["service 'gone' does not exist, and only tcp/80 is denied"],
    )
    assert of("any", "gone", "deny", accepted=True)[:2] == (NOTHING, [MORE_PERMISSIVE])
    assert of("any", "http gone", "allow", accepted=True)[:2] == ((tcp("80"),), [NARROWED])
    assert of("ssl", "http gone", "deny", accepted=True)[:2] == (
        (tcp("80"),),
        [WIDENED, MORE_PERMISSIVE],
    )


def test_application_default_of_any_application_is_any_traffic() -> None:
    assert of("any", "application-default", "allow")[:2] == (ALL, [MORE_PERMISSIVE])
    strict = {"applications": "strict"}
    assert of("any", "application-default", "allow", strict)[:2] == (NOTHING, [LEFT_OUT])
    for deny in ("widen", "ports"):
        found = of("any", "application-default", "deny", {"deny_applications": deny})
        assert found[:2] == (ALL, [WIDENED])


# --- an allow of named applications ---------------------------------------------------------------

ALLOWED: list[Row] = [
    # By default ports.
    ("ssl", "application-default", (tcp("443"),), [MORE_PERMISSIVE]),
    ("browsing", "application-default", WEB, [MORE_PERMISSIVE]),
    ("ours", "application-default", (tcp("443"),), [MORE_PERMISSIVE]),
    ("dns ping", "application-default", (PING, tcp("53"), udp("53,5353")), [MORE_PERMISSIVE]),
    ("ssl", "any", (tcp("443"),), [NARROWED, MORE_PERMISSIVE]),
    ("timestamps", "application-default", STAMPS, [MORE_PERMISSIVE]),
    ("mixed", "application-default", (tcp("443"), udp("9,3784,3785,4784")), [MORE_PERMISSIVE]),
    # Not all of them are known.
    ("ssl new-app", "application-default", (tcp("443"),), [NARROWED, MORE_PERMISSIVE]),
    ("half", "application-default", (tcp("443"),), [NARROWED, MORE_PERMISSIVE]),
    ("ssl media", "any", (tcp("443"),), [NARROWED, NARROWED, MORE_PERMISSIVE]),
    (
        "reserved",
        "application-default",
        (Traffic(ICMP, icmp=(254, None)),),
        [NARROWED, MORE_PERMISSIVE],
    ),
    ("new-app", "application-default", NOTHING, [LEFT_OUT]),
    ("msrpc", "any", NOTHING, [LEFT_OUT]),
    ("media", "http", NOTHING, [LEFT_OUT]),
    # On services of the rule's own.
    ("ssl", "https", (tcp("443"),), [MORE_PERMISSIVE]),
    ("browsing", "web", WEB, [MORE_PERMISSIVE]),
    ("ssl", "web", (tcp("443"),), [NARROWED, MORE_PERMISSIVE]),
    ("ssl", "high", (tcp("443", "1024-65535"),), [MORE_PERMISSIVE]),
    ("ssl", "all-tcp", (tcp("443"),), [NARROWED, MORE_PERMISSIVE]),
    ("dns", "dns-udp", (udp("53"),), [MORE_PERMISSIVE]),
    ("ssl", "http", NOTHING, [LEFT_OUT]),
    ("ping", "web", NOTHING, [LEFT_OUT]),
    ("half", "alt", NOTHING, [LEFT_OUT, LEFT_OUT]),
    ("ssl", "https gone", (tcp("443"),), [NARROWED, MORE_PERMISSIVE]),
    ("ssl", "http gone", NOTHING, [LEFT_OUT, LEFT_OUT]),
    ("ssl", "gone", NOTHING, [LEFT_OUT, LEFT_OUT]),
    ("new-app", "gone", NOTHING, [LEFT_OUT, LEFT_OUT]),
    # Nothing on the firewall either.
    ("ssl", "empty", NOTHING, []),
    ("no-apps", "any", NOTHING, []),
    ("no-apps", "http", NOTHING, []),
]


@pytest.mark.parametrize(("applications", "services", "expected", "statuses"), ALLOWED)
def test_an_allow_of_applications_is_their_default_ports(
    applications: str, services: str, expected: tuple[Traffic, ...], statuses: list[Status]
) -> None:
    assert of(applications, services, "allow")[:2] == (expected, statuses)


@pytest.mark.parametrize("applications", ["ssl", "ssl new-app", "ping", "media"])
@pytest.mark.parametrize("services", ["any", "application-default", "https", "https gone"])
def test_a_strict_allow_of_applications_is_left_out(applications: str, services: str) -> None:
    found = of(applications, services, "allow", {"applications": "strict"})
    assert found[0] == NOTHING
    assert set(found[1]) == {LEFT_OUT}


# --- a deny of named applications -----------------------------------------------------------------

DENIED: list[Row] = [
    ("ssl", "https", (tcp("443"),), [WIDENED]),
    ("ssl", "http", (tcp("80"),), [WIDENED]),
    ("ping", "web", WEB, [WIDENED]),
    ("new-app", "zero", (tcp("0,80"),), [WIDENED]),
    ("ssl", "http gone", ALL, [WIDENED, WIDENED]),
    ("ssl", "gone", ALL, [WIDENED, WIDENED]),
    ("ssl", "empty", NOTHING, []),
    ("no-apps", "any", NOTHING, []),
    ("mixed", "http", (tcp("80"),), [WIDENED]),
    ("ours", "application-default", (tcp("443"),), [WIDENED]),
    ("known", "application-default", (tcp("443"), udp("9")), [WIDENED]),
    ("timestamps", "application-default", STAMPS, [WIDENED]),
]
# Where `rules.deny_applications: ports` accepts less: what is left then.
DENIED_BY_PORTS: list[tuple[str, str, tuple[Traffic, ...]]] = [
    ("ssl", "any", (tcp("443"),)),
    ("dns ping", "any", (PING, tcp("53"), udp("53,5353"))),
    ("half", "any", (tcp("443"),)),
    ("half", "application-default", (tcp("443"),)),
    # What only the bundled table knows, alone and among others.
    ("ssl", "application-default", (tcp("443"),)),
    ("dns ping", "application-default", (PING, tcp("53"), udp("53,5353"))),
    ("bfd", "application-default", (udp("3784,3785,4784"),)),
    ("mixed", "application-default", (tcp("443"), udp("9,3784,3785,4784"))),
    ("reserved", "application-default", (Traffic(ICMP, icmp=(254, None)),)),
    ("ssl new-app", "application-default", (tcp("443"),)),
    ("ssl media", "application-default", (tcp("443"),)),
    ("new-app", "application-default", NOTHING),
    ("msrpc", "any", NOTHING),
]


@pytest.mark.parametrize(("applications", "services", "expected", "statuses"), DENIED)
@pytest.mark.parametrize("deny_applications", ["widen", "ports"])
@pytest.mark.parametrize("allow_applications", ["ports", "strict"])
def test_a_deny_of_applications_holds_all_they_can_be_on(
    applications: str,
    services: str,
    expected: tuple[Traffic, ...],
    statuses: list[Status],
    deny_applications: str,
    allow_applications: str,
) -> None:
    options = {"deny_applications": deny_applications, "applications": allow_applications}
    assert of(applications, services, "deny", options)[:2] == (expected, statuses)


@pytest.mark.parametrize(("applications", "services", "left"), DENIED_BY_PORTS)
def test_a_deny_of_applications_on_ports_nobody_knows_is_any_traffic(
    applications: str, services: str, left: tuple[Traffic, ...]
) -> None:
    assert of(applications, services, "reset-client")[:2] == (ALL, [WIDENED])
    found = of(applications, services, "reset-client", {"deny_applications": "ports"})
    assert found[:2] == (left, [MORE_PERMISSIVE])


# --- nothing is allowed that the rule does not ----------------------------------------------------


@pytest.mark.parametrize("services", [names for names, _ in EXACT_SERVICES])
@pytest.mark.parametrize("applications", ["any", "ssl", "new-app", "half", "media", "ping dns"])
def test_an_allow_is_within_its_services_and_a_deny_is_around_them(
    services: str, applications: str
) -> None:
    served = dict(EXACT_SERVICES)[services]
    for accepted, applied in product(["widen", "ports"], ["ports", "strict"]):
        options = {"deny_applications": accepted, "applications": applied}
        allowed, _, _ = of(applications, services, "allow", options)
        assert shared(allowed, served) == allowed
        denied, statuses, _ = of(applications, services, "deny", options)
        if MORE_PERMISSIVE not in statuses:
            assert shared(denied, served) == served


def test_no_traffic_without_a_loss_means_that_the_firewall_has_none_either() -> None:
    for applications, services, traffic, statuses in ALLOWED:
        if not traffic:
            nothing = "no-apps" in applications or services == "empty"
            assert bool(statuses) is not nothing
        assert of(applications, services, "allow")[1] == statuses


def test_a_rule_that_is_left_out_is_reported_so() -> None:
    for applications, services, traffic, _ in ALLOWED:
        rule = Rule("r", applications=(*applications.split(),), services=(*services.split(),))
        _, losses = traffic_of(rule, OBJECTS, RuleOptions(), accepted=False)
        if not traffic and losses:
            assert worst(losses) is LEFT_OUT
        elif traffic:
            assert worst(losses) is MORE_PERMISSIVE


# --- reasons --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("applications", "services", "action", "reasons"),
    [
        (
            "web-browsing",
            "application-default",
            "allow",
            ["App-ID web-browsing is matched by its default ports alone (tcp/80)"],
        ),
        (
            "ssl dns",
            "any",
            "allow",
            [
                "App-IDs dns, ssl are not allowed on other than their default ports",
                (
                    "App-IDs dns, ssl are matched by their default ports alone (tcp/53,443, "
                    "udp/53,5353)"
                ),
            ],
        ),
        (
            "ssl",
            "web",
            "allow",
            [
                "of its services only tcp/443 is among the default ports of App-ID ssl",
                "App-ID ssl is matched by its default ports alone (tcp/443)",
            ],
        ),
        (
            "ssl",
            "http",
            "allow",
            ["the default ports of App-ID ssl (tcp/443) are not among its services"],
        ),
        (
            "any",
            "http gone",
            "deny",
            ["service 'gone' does not exist, so any traffic is denied"],
        ),
        ("ssl", "any", "deny", ["App-ID ssl may be on any port, so any traffic is denied"]),
        ("sip", "any", "deny", ["App-ID sip has dynamic ports, so any traffic is denied"]),
        (
            "mixed",
            "application-default",
            "deny",
            [
                (
                    "the ports of App-ID bfd are from a table that zonebridge brings, which may "
                    "lack some, so any traffic is denied"
                )
            ],
        ),
        (
            "ssl dns sip",
            "application-default",
            "deny",
            [
                (
                    "App-ID sip has dynamic ports, the ports of App-IDs dns, sip, ssl are from a "
                    "table that zonebridge brings, which may lack some, so any traffic is denied"
                )
            ],
        ),
        (
            "known",
            "application-default",
            "deny",
            ["App-ID known is matched by its default ports alone (tcp/443, udp/9)"],
        ),
        ("ssl", "http", "deny", ["App-ID ssl cannot be told from others on its services"]),
    ],
)
def test_reasons_are_clauses_for_an_engineer(
    applications: str, services: str, action: str, reasons: list[str]
) -> None:
    assert of(applications, services, action)[2] == reasons


@pytest.mark.parametrize("action", ["allow", "deny"])
@pytest.mark.parametrize("options", [{}, {"applications": "strict", "deny_applications": "ports"}])
def test_reasons_stay_short_however_much_there_is_to_say(
    action: str, options: dict[str, str]
) -> None:
    many = " ".join(f"{'x' * 60}-{n}" for n in range(1000))
    ssl = f"ssl sip {many}"
    gone = f"https {many}"
    for applications, services in product(["any", ssl], ["any", "application-default", gone]):
        for reason in of(applications, services, action, options)[2]:
            assert len(reason) < 2000
    objects = Objects(
        services={
            f"s{n}": Service(f"s{n}", "tcp", ports(str(n)), ports(str(n))) for n in range(2, 400, 2)
        },
        applications={
            "a": Application("a", tuple(("port", f"tcp/{n}") for n in range(0, 2000, 2)))
        },
    )
    rule = Rule("r", applications=("a",), services=tuple(objects.services), action=action)
    for loss in traffic_of(rule, objects, RuleOptions(), accepted=False)[1]:
        assert len(loss.reason) < 2000


def test_the_order_of_names_does_not_show() -> None:
    for action in ("allow", "deny"):
        assert of("dns ssl sip", "any", action) == of("sip ssl dns ssl", "any", action)
        assert of("ssl", "gone web high", action) == of("ssl", "high gone web", action)


def test_a_deny_by_the_bundled_table_that_is_accepted_says_what_it_denies() -> None:
    found = of("bfd", "application-default", "deny", {"deny_applications": "ports"})
    assert found[2] == [
        (
            "the ports of App-ID bfd are from a table that zonebridge brings, which may lack some, "
            "and only udp/3784-3785,4784 is denied"
        )
    ]


@pytest.mark.parametrize(
    ("action", "expected"), [("allow", (tcp("80"),)), ("deny", (tcp("80,443"),))]
)
@pytest.mark.parametrize("predefined", [True, False])
def test_a_deny_takes_the_secure_ports_along_that_decryption_adds(
    action: str, expected: tuple[Traffic, ...], *, predefined: bool
) -> None:
    rule = Rule("r", action=action, applications=("web-browsing",))
    web = Application("web-browsing", (("port", "tcp/80"),), predefined=True)
    objects = Objects(applications={"web-browsing": web} if predefined else {})
    options = RuleOptions(deny_applications="ports")
    traffic, losses = traffic_of(rule, objects, options, accepted=False)
    assert traffic == expected
    by_table = action == "allow" or not predefined
    assert worst(losses) is (MORE_PERMISSIVE if by_table else WIDENED)

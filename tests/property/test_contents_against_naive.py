"""Services and applications in every spelling, as a naive reader of the document has them.

An allow has no packet that they surely have not, a deny all that they may have.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync.firewall.effective import effective
from sync.firewall.objects import Objects
from sync.firewall.rules import Rule
from sync.firewall.services import Traffic
from sync.options import RuleOptions
from sync.translate.traffic import traffic_of
from tests import words
from tests.naive.contents import (
    default_holds,
    service_holds,
    written_default,
    written_service,
)
from tests.naive.flows import ICMP, ICMP6, TCP, UDP, End, Flow
from tests.words import Word

ENDS = (End(1, 4), End(2, 4))
PORTS = (0, 1, 79, 80, 81, 442, 443, 444, 1023, 1024, 5000, 65534, 65535)
CODES = (0, 1, 2, 3, 14, 254, 255)
PACKETS = [
    *(
        Flow(*ENDS, protocol, source, port)
        for protocol in (TCP, UDP)
        for source in (53, 40000)
        for port in PORTS
    ),
    *(
        Flow(*ENDS, protocol, icmp=(kind, code))
        for protocol in (ICMP, ICMP6)
        for kind in range(256)
        for code in CODES
    ),
    *(Flow(*ENDS, protocol) for protocol in range(256) if protocol not in (1, 6, 17, 58)),
]

spaces = st.sampled_from(("", "", "", " ", "\n  "))
strange = st.sampled_from(
    ("", "any", "Any", "-", "1-", "-1", "x", "07", "256", "65536", "9-3", "1/0")
)


@st.composite
def listed(draw: st.DrawFn, last: int) -> str:
    """A list of numbers and ranges, now and then with something strange in it."""
    edges = st.sampled_from([each for each in (*PORTS, *CODES, 8, 13, 128) if each <= last])
    numbers = edges | st.integers(0, last)
    items = []
    for _ in range(draw(st.integers(1, 3))):
        first, end = sorted((draw(numbers), draw(numbers)))
        item = str(first) if draw(st.booleans()) else f"{first}{draw(spaces)}-{draw(spaces)}{end}"
        if draw(st.integers(0, 11)) == 0:
            item = draw(strange)
        items.append(draw(spaces) + item + draw(spaces))
    return ",".join(items)


@st.composite
def services(draw: st.DrawFn) -> str:
    ports = words.text("port", draw(listed(65535) | st.sampled_from(("any", " any ", "any,80"))))
    if draw(st.integers(0, 3)) == 0:
        ports += words.text("source-port", draw(listed(65535) | st.sampled_from(("any", ""))))
    return words.tag("protocol", words.tag(draw(st.sampled_from(("tcp", "udp"))), ports))


@st.composite
def defaults(draw: st.DrawFn) -> str:
    """What an application says of its default traffic: one to three things, in either spelling."""
    found: dict[str, str] = {}
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.sampled_from(("port", "protocol", "icmp", "icmp", "icmp6"))):
            case "port":
                kinds = draw(st.sampled_from(("tcp", "udp", "sctp")))
                ports = draw(listed(65535) | st.sampled_from(("dynamic", "80,dynamic", "any")))
                found["port"] = words.members("port", [f"{kinds}/{ports}"])
            case "protocol":
                tag = "ident-by-ip-protocol"
                found[tag] = words.text(tag, draw(listed(255)))
            case kind:
                tag = f"ident-by-{kind}-type"
                found[tag] = words.tag(tag, draw(icmp()))
    return words.tag("default", *found.values())


@st.composite
def icmp(draw: st.DrawFn) -> str:
    types = draw(listed(255))
    if draw(st.booleans()):
        return types
    parts = [words.text("type", types)]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, 1)), words.text("code", draw(listed(255))))
    return "".join(draw(st.sampled_from((parts, parts, parts, parts[1:]))))


def objects_of(word: Word) -> Objects:
    return effective(words.read(words.document([word])), "dg").objects


def entry_of(word: Word) -> ET.Element:
    return ET.fromstring(word.xml)


def carried(traffic: tuple[Traffic, ...], flow: Flow) -> bool:
    return any(
        each.protocol in (None, flow.protocol)
        and (each.ports is None or flow.port in each.ports)
        and (each.source_ports is None or flow.source_port in each.source_ports)
        and (
            each.icmp is None
            or (flow.icmp is not None and each.icmp in (flow.icmp, (flow.icmp[0], None)))
        )
        for each in traffic
    )


def wrong(word: Word, rule: Rule, answers: list[bool | None]) -> Iterator[str]:
    """Packets that an allow has too many, and a deny too few."""
    objects = objects_of(word)
    for action in ("allow", "deny"):
        named = Rule(
            rule.name, applications=rule.applications, services=rule.services, action=action
        )
        traffic, _ = traffic_of(named, objects, RuleOptions(), accepted=False)
        for flow, answer in zip(PACKETS, answers, strict=True):
            has = carried(traffic, flow)
            if (
                (has and answer is not True)
                if action == "allow"
                else (answer is not False and not has)
            ):
                yield f"{action}: {flow}"


def as_service(inner: str) -> Word:
    return Word("service", words.entry("x", inner))


def as_application(inner: str) -> Word:
    return Word("application", words.entry("x", inner))


@given(services())
def test_a_service_has_the_packets_that_its_ports_say(inner: str) -> None:
    word = as_service(inner)
    service = written_service(entry_of(word))
    answers = [None if service is None else service_holds(service, flow) for flow in PACKETS]
    rule = Rule("r", services=("x",))
    assert next(wrong(word, rule, answers), None) is None
    if None not in answers:
        found = traffic_of(rule, objects_of(word), RuleOptions(), accepted=False)
        assert found[1] == ()
        assert [carried(found[0], flow) for flow in PACKETS] == answers


ICMP_LIST = words.tag("ident-by-icmp-type", words.text("type", "13,14"))


@given(defaults())
@example(words.tag("default", ICMP_LIST))
@example(words.tag("default", words.tag("ident-by-icmp-type", "13,14")))
@example(words.tag("default", words.tag("ident-by-ip-protocol", "0-255")))
def test_an_application_is_where_its_default_says(inner: str) -> None:
    word = as_application(inner)
    default = written_default(entry_of(word))
    answers = [None if default is None else default_holds(default, flow) for flow in PACKETS]
    rule = Rule("r", applications=("x",), services=("application-default",))
    assert next(wrong(word, rule, answers), None) is None


@pytest.mark.parametrize("types", ["13,14", "13-14", " 13 , 14 ", "14,13", "13,13,14"])
@pytest.mark.parametrize("family", ["icmp", "icmp6"])
@pytest.mark.parametrize("spelled", ["text", "element"])
def test_a_deny_of_two_types_is_both_with_any_code_and_nothing_else(
    types: str, family: str, spelled: str
) -> None:
    inner = types if spelled == "text" else words.text("type", types)
    word = as_application(words.tag("default", words.tag(f"ident-by-{family}-type", inner)))
    rule = Rule("r", applications=("x",), services=("application-default",), action="deny")
    traffic, _ = traffic_of(rule, objects_of(word), RuleOptions(), accepted=False)
    protocol = {"icmp": ICMP, "icmp6": ICMP6}[family]
    assert [flow for flow in PACKETS if carried(traffic, flow)] == [
        flow
        for flow in PACKETS
        if flow.protocol == protocol and flow.icmp and flow.icmp[0] in (13, 14)
    ]

"""The naive verdicts themselves, on cases whose answer is plain."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from sync.firewall.configuration import Configuration
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from tests.naive.calico_verdict import Calico, labels_of, selector
from tests.naive.firewall_verdict import Derived, Firewall, cluster_verdict
from tests.naive.flows import ICMP, TCP, UDP, End, Flow, Oracle, Pod, edges, span
from tests.naive.routers import Router, routing
from tests.naive.rulebases import case
from tests.words import (
    Word,
    address,
    default_rule,
    document,
    dynamic,
    entry,
    group,
    members,
    read,
    rule,
    service,
    tag,
    text,
)

LABEL = "firewall.tigera.io/zone"
NO, YES = Oracle(0, "no"), Oracle(0, "yes")


def pod(at: str, zone: str = "", **labels: str) -> End:
    found = ip_address(at)
    zoned = {LABEL: zone} if zone else {}
    return End(int(found), found.version, Pod({**zoned, **labels}))


def host(at: str) -> End:
    found = ip_address(at)
    return End(int(found), found.version)


def flow(source: End, destination: End, port: int = 80, protocol: int = TCP, **more: Any) -> Flow:
    return Flow(source, destination, protocol, 40000, port, **more)


# --- flows ----------------------------------------------------------------------------------------


def test_a_span_has_no_host_bits() -> None:
    assert span("10.0.0.9/30") == (4, 0x0A000008, 0x0A00000B)


def test_edges_lie_on_both_sides_of_both_ends() -> None:
    assert edges("0.0.0.0-0.0.0.9") == [(4, 0), (4, 9), (4, 10)]


def test_an_oracle_always_says_the_same() -> None:
    answers = {Oracle(seed).says("x", 1) for seed in range(20)}
    assert answers == {True, False}
    assert Oracle(3).says("x", 1) == Oracle(3).says("x", 1)
    assert (NO.picks("abc", "q"), YES.picks("abc", "q")) == ("a", "c")


def test_a_case_is_the_same_each_time() -> None:
    one, other = case(7), case(7)
    assert one.document == other.document
    assert list(map(str, one.flows)) == list(map(str, other.flows))


# --- selectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("all()", {}, True),
        ("a == 'b'", {"a": "b"}, True),
        ("a == 'b'", {}, False),
        ("a != 'b'", {}, True),
        ("a not in {'b', 'c'}", {}, True),
        ("a in {'b', 'c'}", {"a": "c"}, True),
        ("a in {}", {"a": ""}, False),
        ("has(a) && !has(b)", {"a": ""}, True),
        ("! ! has(a)", {"a": ""}, True),
        ("a contains 'x' || b starts with \"y\"", {"b": "yz"}, True),
        ("a ends with 'x'", {}, False),
        # `&&` binds tighter than `||`.
        ("has(a) || has(b) && has(c)", {"a": ""}, True),
        ("(has(a) || has(b)) && has(c)", {"a": ""}, False),
        ("!has(a) || has(a)", {}, True),
    ],
)
def test_selectors(text: str, labels: Mapping[str, str], expected: bool) -> None:
    assert selector(text)(labels) is expected


@pytest.mark.parametrize("text", ["", "a", "a ==", "has(a", "(has(a)", "has(a) has(b)", "a = 'b'"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="selector"):
        selector(text)


def test_a_pod_has_its_namespaces_labels_behind_a_prefix() -> None:
    found = labels_of(Pod({"app": "web"}, "shop", {"env": "prod"}))
    assert found["pcns.env"] == "prod"
    assert found["projectcalico.org/namespace"] == "shop"
    assert found["projectcalico.org/orchestrator"] == "k8s"


# --- Calico ---------------------------------------------------------------------------------------


def tier(name: str, order: int, action: str = "Pass") -> dict[str, Any]:
    spec = {"order": order, "defaultAction": action}
    return {"kind": "Tier", "metadata": {"name": name}, "spec": spec}


def network_set(name: str, labels: Mapping[str, str], *nets: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels}
    return {"kind": "GlobalNetworkSet", "metadata": metadata, "spec": {"nets": list(nets)}}


def policy(
    name: str,
    *rules: Mapping[str, Any],
    direction: str = "egress",
    order: int = 1,
    selects: str = "all()",
    kind: str = "GlobalNetworkPolicy",
) -> dict[str, Any]:
    spec = {
        "tier": name.partition(".")[0],
        "order": order,
        "selector": selects,
        "types": [direction.capitalize()],
        direction: list(rules),
    }
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


ONE, TWO = pod("10.0.0.1", app="one"), pod("10.0.0.2", app="two")
WORLD = (ONE, TWO)


def allows(*documents: Mapping[str, Any], to: End = TWO, **more: Any) -> bool:
    return Calico(documents, WORLD).verdict(flow(ONE, to, **more)).allow


def test_tiers_and_policies_go_by_order_and_then_by_name() -> None:
    deny, allow = {"action": "Deny"}, {"action": "Allow"}
    tiers = tier("a", 2), tier("b", 1)
    assert allows(*tiers, policy("a.p", deny), policy("b.p", allow))
    assert not allows(*tiers, policy("a.p", allow), policy("b.p", deny))
    assert allows(tier("a", 1), policy("a.q", deny), policy("a.p", allow))
    assert allows(tier("a", 1), policy("a.p", deny, order=2), policy("a.q", allow))


def test_pass_goes_to_the_next_tier() -> None:
    tiers = tier("a", 1), tier("b", 2)
    first = policy("a.p", {"action": "Pass"}), policy("a.q", {"action": "Allow"}, order=2)
    assert not allows(*tiers, *first, policy("b.p", {"action": "Deny"}))


def test_the_end_of_a_tier_counts_only_where_a_policy_of_it_applies() -> None:
    never = {"action": "Allow", "protocol": 99}
    assert not allows(tier("a", 1, "Deny"), policy("a.p", never))
    assert allows(tier("a", 1, "Pass"), policy("a.p", never))
    assert allows(tier("a", 1, "Deny"), policy("a.p", never, selects="app == 'two'"))
    assert allows(tier("a", 1, "Deny"), policy("a.p", never, direction="ingress", selects="has(x)"))


def test_both_ends_have_a_say() -> None:
    deny = policy("a.p", {"action": "Deny"}, direction="ingress", selects="app == 'two'")
    assert not allows(tier("a", 1), deny)
    assert allows(tier("a", 1), deny, to=host("10.0.0.2"))


def test_staged_policies_count_as_if_enforced_or_not_at_all() -> None:
    staged = policy("a.p", {"action": "Deny"}, kind="StagedGlobalNetworkPolicy")
    documents = [tier("a", 1), staged]
    assert not Calico(documents, WORLD).verdict(flow(ONE, TWO)).allow
    assert Calico(documents, WORLD, staged=False).verdict(flow(ONE, TWO)).allow


def denied(entity: Mapping[str, Any], *documents: Mapping[str, Any], to: End = TWO) -> bool:
    rule = {"action": "Deny", "destination": entity}
    return not allows(tier("a", 1), policy("a.p", rule), *documents, to=to)


NETS = network_set("s", {"group": "x"}, "10.0.0.0/30")
ORCHESTRATOR = "projectcalico.org/orchestrator == 'k8s'"


def test_a_set_holds_a_pod_by_its_address() -> None:
    entity = {"selector": "group == 'x'", "namespaceSelector": "global()"}
    assert denied(entity, NETS)
    assert denied(entity, NETS, to=host("10.0.0.3"))
    assert not denied(entity, NETS, to=host("10.0.0.4"))
    assert not denied(entity)


def test_a_selector_with_nets_needs_both() -> None:
    assert denied({"selector": "app == 'two'", "nets": ["10.0.0.2/32"]})
    assert not denied({"selector": "app == 'two'", "nets": ["10.0.0.3/32"]})
    assert not denied({"selector": "app == 'two'"}, to=host("10.0.0.3"))


def test_a_negated_selector_alone_matches_what_is_in_no_set() -> None:
    entity = {"notSelector": "group == 'x' && !has(projectcalico.org/namespace)"}
    assert not denied(entity, NETS)
    assert denied(entity, NETS, to=host("10.0.0.9"))
    assert denied(entity)
    assert not denied({"notSelector": ORCHESTRATOR})
    assert denied({"notSelector": ORCHESTRATOR}, to=host("10.0.0.9"))


def test_a_negated_selector_beside_another_is_folded_into_it() -> None:
    # The set is no pod, so it stays, and its address counts although a pod has it.
    folded = {"selector": "group == 'x'", "notSelector": ORCHESTRATOR}
    assert denied(folded, NETS)
    outside = {"notSelector": "group == 'x'", "namespaceSelector": "global()"}
    assert not denied(outside, NETS, to=host("10.0.0.9"))


def test_namespace_selectors_ask_about_labels_behind_a_prefix() -> None:
    prod = End(int(ip_address("10.0.0.7")), 4, Pod({"env": "dev"}, "shop", {"env": "prod"}))
    for asked, expected in (("env == 'prod'", True), ("env == 'dev'", False), ("all()", True)):
        rule = {"action": "Deny", "destination": {"namespaceSelector": asked}}
        calico = Calico([tier("a", 1), policy("a.p", rule)], (ONE, prod))
        assert calico.verdict(flow(ONE, prod)).allow is not expected


def test_families_ports_and_protocols_all_count() -> None:
    def hit(rule: Mapping[str, Any], **more: Any) -> bool:
        return not allows(tier("a", 1), policy("a.p", {"action": "Deny", **rule}), **more)

    assert hit({"protocol": "TCP", "destination": {"ports": [79, "80:81"]}})
    assert not hit({"protocol": "TCP", "destination": {"ports": [79, "81:82"]}})
    assert not hit({"protocol": "TCP", "destination": {"notPorts": ["1:65535"]}})
    assert hit({"protocol": "TCP", "source": {"ports": [40000]}})
    assert not hit({"protocol": "UDP"})
    assert hit({"protocol": 17}, protocol=UDP)
    assert not hit({"ipVersion": 6})
    assert not hit({"destination": {"notNets": ["2001:db8::/32"]}})
    assert hit({"destination": {"notNets": ["10.0.0.3/32"]}})
    ping = {"protocol": "ICMP", "ipVersion": 4, "icmp": {"type": 8}}
    assert hit(ping, protocol=ICMP, icmp=(8, 0))
    assert not hit(ping, protocol=ICMP, icmp=(0, 0))


@pytest.mark.parametrize(
    "rule",
    [
        {"notProtocol": "TCP"},
        {"destination": {"services": {}}},
        {"destination": {"ports": [80]}},
        {"icmp": {"type": 8}},
    ],
)
def test_what_we_never_write_is_refused(rule: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not judged here|protocol"):
        allows(tier("a", 1), policy("a.p", {"action": "Deny", **rule}))


# --- the firewall ---------------------------------------------------------------------------------


def configured(*words: Word, shared: Sequence[Word] = ()) -> Configuration:
    by_place = sorted(words, key=lambda word: word.place)
    return read(document(shared, {"dg": by_place}))


def firewall(*words: Word, shared: Sequence[Word] = (), **more: Any) -> Firewall:
    return Firewall(configured(*words, shared=shared), "dg", **more)


TRUST, DMZ = pod("10.0.0.1", "trust"), pod("10.0.0.2", "dmz")
ALLOW: dict[str, Any] = {"from_": ["trust"], "to": ["dmz"], "service": ["any"]}


def allowed(
    found: Firewall, oracle: Oracle = NO, source: End = TRUST, to: End = DMZ, **more: Any
) -> bool:
    return found.verdict(flow(source, to, **more), oracle).allow


def test_the_first_rule_that_matches_decides() -> None:
    deny = rule("first", action="deny", from_=["trust"], to=["any"], service=["any"])
    allow = rule("second", **ALLOW)
    assert allowed(firewall(allow))
    assert not allowed(firewall(deny, allow))
    assert allowed(firewall(allow, deny))
    assert allowed(firewall(rule("off", disabled="yes", action="deny"), allow))


def test_without_a_rule_the_defaults_decide() -> None:
    named = rule("names zones", from_=["trust"], to=["dmz"], disabled="yes")
    assert not allowed(firewall(named))
    assert allowed(firewall(named), to=pod("10.0.0.3", "trust"))
    turned = default_rule("interzone-default", text("action", "allow"))
    assert allowed(firewall(named, turned))


def test_names_go_before_literals_and_groups_are_resolved_where_they_are_seen() -> None:
    inherited = [rule("r", **ALLOW, destination=["g"]), address("a", "10.0.0.2")]
    assert allowed(firewall(group("g", "a"), shared=inherited))
    assert not allowed(firewall(group("g", "a"), address("a", "10.0.0.9"), shared=inherited))
    named = rule("r", **ALLOW, destination=["10.0.0.2"])
    assert allowed(firewall(named))
    assert not allowed(firewall(named, address("10.0.0.2", "10.0.0.9")))


def test_circles_and_dynamic_groups_hold_what_they_reach() -> None:
    circle = group("g", "h"), group("h", "g", "a"), address("a", "10.0.0.2")
    assert allowed(firewall(rule("r", **ALLOW, destination=["g"]), *circle))
    found = dynamic("d", "'x' and not 'y'"), address("a", "10.0.0.2", tags=["x"])
    by_tag = firewall(rule("r", **ALLOW, destination=["d"]), *found)
    assert allowed(by_tag)
    assert not allowed(by_tag, to=pod("10.0.0.3", "dmz"))


def test_negation_turns_a_list_round() -> None:
    negated = rule("r", **ALLOW, destination=["10.0.0.2"], negate_destination="yes")
    assert not allowed(firewall(negated))
    assert allowed(firewall(negated), to=pod("10.0.0.3", "dmz"))


def test_an_ipv4_address_is_in_an_ipv6_object_that_holds_it_as_ipv6() -> None:
    for value, expected in (("::/0", True), ("::a00:0/120", True), ("2001:db8::/32", False)):
        found = firewall(rule("r", **ALLOW, destination=["o"]), address("o", value))
        assert allowed(found) is expected


def test_what_is_not_known_is_for_the_oracle() -> None:
    for name in ("name", "nowhere", "DE"):
        found = firewall(
            rule("r", **ALLOW, destination=[name]), address("name", "example.com", kind="fqdn")
        )
        assert (allowed(found, NO), allowed(found, YES)) == (False, True)
    constrained = firewall(rule("r", members("source-user", ["someone"]), **ALLOW))
    assert (allowed(constrained, NO), allowed(constrained, YES)) == (False, True)
    strange = firewall(rule("r", tag("strange"), **ALLOW))
    assert (allowed(strange, NO), allowed(strange, YES)) == (False, True)


def test_rule_types() -> None:
    both: dict[str, Any] = {"from_": ["trust", "dmz"], "to": ["dmz"], "service": ["any"]}
    other = pod("10.0.0.3", "trust")
    turned = default_rule("intrazone-default", text("action", "deny"))
    intrazone = firewall(rule("r", **both, rule_type="intrazone"), turned)
    assert not allowed(intrazone)
    # `to` is ignored.
    assert allowed(intrazone, to=other)
    interzone = firewall(rule("r", **both, rule_type="interzone"), turned)
    assert allowed(interzone)
    assert not allowed(interzone, source=DMZ, to=pod("10.0.0.4", "dmz"))


def test_services() -> None:
    def says(*words: Word, names: Sequence[str] = ("s",), **more: Any) -> bool:
        return allowed(firewall(rule("r", **{**ALLOW, "service": names}), *words), **more)

    assert says(service("s", "79,80-81"))
    assert not says(service("s", "81"))
    assert not says(service("s", "80", "udp"))
    assert says(service("s", "80", source_port="40000"))
    assert not says(service("s", "80", source_port="1-1023"))
    assert says(names=["service-http"], port=8080)
    assert not says(service("service-http", "8888"), names=["service-http"], port=8080)
    nested = Word("service-group", entry("g", members("members", ["s"])))
    assert says(service("s", "80"), nested, names=["g"])


def test_applications_and_their_default_ports() -> None:
    web = rule("r", **{**ALLOW, "service": ["application-default"]}, application=["web-browsing"])
    assert allowed(firewall(web), application="web-browsing")
    assert not allowed(firewall(web), application="web-browsing", port=8080)
    assert not allowed(firewall(web), application="ssl", port=443)
    anything = rule("r", **{**ALLOW, "service": ["application-default"]})
    assert allowed(firewall(anything), application="ssl", port=443)
    assert not allowed(firewall(anything), application="ssl", port=80)


def test_targets() -> None:
    def says(inner: str, devices: Sequence[str], oracle: Oracle = NO) -> bool:
        options = RuleOptions(devices=tuple(devices))
        found = firewall(rule("r", tag("target", inner), **ALLOW), rule_options=options)
        return allowed(found, oracle)

    named = tag("devices", entry("001"))
    assert says(named, ["001"])
    assert not says(named, ["002"])
    assert says(named, []) is False
    assert says(named, [], YES)
    assert not says(text("negate", "yes"), ["001"])
    assert says(named + text("negate", "yes"), ["002"])


SSH = {**ALLOW, "service": ["ssh"]}
WILDCARDS = (
    service("ssh", "22"),
    # 10.0.0.2 is in all but the last two, which are in the prefixes of those before them.
    address("broad", "10.0.0.0/0.0.255.254", kind="ip-wildcard"),
    address("narrow", "10.0.0.2/0.0.0.252", kind="ip-wildcard"),
    address("huge", "10.0.0.0/0.127.255.254", kind="ip-wildcard"),
    address("odd", "10.0.0.1/0.0.0.254", kind="ip-wildcard"),
    address("other", "10.1.0.1/0.0.0.254", kind="ip-wildcard"),
    group("grouped", "narrow"),
)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # An allow of all services at one list, and one of ssh alone at another: is http allowed?
        (["broad"], ["narrow"], False),
        (["narrow"], ["broad"], True),
        (["narrow"], ["narrow"], False),
        (["broad"], ["grouped"], False),
        (["grouped"], ["broad"], True),
        (["broad"], ["huge"], True),
        (["huge"], ["broad"], False),
        (["broad", "narrow"], ["narrow"], False),
        # The longest prefix around the address is of a wildcard that does not hold it.
        (["broad"], ["odd"], False),
        (["broad", "odd"], ["other"], False),
        (["narrow"], ["odd"], True),
        (["broad"], ["other"], True),
        # What has no wildcard has no prefix.
        (["any"], ["narrow"], False),
        (["10.0.0.2"], ["narrow"], False),
        (["any"], ["other"], True),
    ],
)
def test_of_overlapping_wildcards_the_longest_prefix_alone_decides(
    first: Sequence[str], second: Sequence[str], expected: bool
) -> None:
    rules = [rule("all", **ALLOW, destination=first), rule("ssh", **SSH, destination=second)]
    for order in (rules, rules[::-1]):
        found = firewall(*order, *WILDCARDS)
        assert allowed(found, port=80) is expected
        in_order = firewall(*order, *WILDCARDS, top_down_wildcards=True)
        assert allowed(in_order, port=80)


@pytest.mark.parametrize("negated", [False, True])
def test_a_wildcard_deny_may_decide_before_its_turn(negated: bool) -> None:
    listed: dict[str, Any] = {"destination": ["other" if negated else "narrow"]}
    listed |= {"negate_destination": "yes"} if negated else {}
    deny = rule("deny", action="deny", service=["any"], **listed)
    found = firewall(rule("allow", **ALLOW), deny, *WILDCARDS)
    assert not allowed(found)
    assert allowed(firewall(rule("allow", **ALLOW), deny, *WILDCARDS, top_down_wildcards=True))


def test_what_the_deciding_wildcard_rule_does_not_match_no_default_allows() -> None:
    within: dict[str, Sequence[str]] = {"from_": ["dmz"], "to": ["dmz"], "service": ["ssh"]}
    broad = rule("broad", **within, destination=["broad"])
    narrow = rule("narrow", **within, destination=["narrow"])
    there = pod("10.0.0.4", "dmz")
    assert allowed(firewall(broad, *WILDCARDS), source=there)
    assert not allowed(firewall(broad, narrow, *WILDCARDS), source=there)


# --- zones ----------------------------------------------------------------------------------------


def test_the_longest_prefix_says_the_zone_of_an_address() -> None:
    options = ZoneOptions(
        definitions={
            "trust": ZoneDefinition(networks=("192.0.2.0/24",)),
            "dmz": ZoneDefinition(networks=("192.0.2.128/25", "0.0.0.0/0")),
        }
    )
    found = firewall(rule("r", **ALLOW), zone_options=options)
    assert found.zone_of_address(host("192.0.2.1"), NO) == "trust"
    assert found.zone_of_address(host("192.0.2.200"), NO) == "dmz"
    assert found.zone_of_address(host("8.8.8.8"), NO) == "dmz"
    assert found.zone_of_address(host("2001:db8::1"), NO) is None
    assert found.zone_of_address(host("224.0.0.5"), NO) == "multicast"
    assert found.knows_all_networks


def test_an_address_is_where_the_router_says_that_a_packet_comes_in_by() -> None:
    web, db = frozenset({"web"}), frozenset({"db"})
    routers = (
        Router(True, (("10.0.0.0/24", web, False), ("10.9.0.0/24", web, True))),
        Router(True, (("0.0.0.0/0", db, False), ("10.8.0.0/16", frozenset({None}), False))),
    )
    named = rule("r", **(ALLOW | {"from_": ["web"], "to": ["db"]}))
    found = firewall(named, derived=Derived(("db", "web"), routers=routers))

    def places(address: str) -> set[str | None]:
        oracles = (NO, YES, *map(Oracle, range(20)))
        return {found.zone_of_address(host(address), oracle) for oracle in oracles}

    assert places("10.0.0.5") == {"web", "db"}
    assert places("10.9.0.5") == {"web", "db"}
    assert places("10.8.0.5") == {None}
    assert places("8.8.8.8") == {"db"}
    assert places("2001:db8::1") == {None}
    unread = Derived(("db", "web"), routers=(*routers, Router(readable=False)))
    found = firewall(named, derived=unread)
    assert places("10.8.0.5") == {"web", "db", None}


def test_each_router_of_a_template_is_read_by_itself() -> None:
    def interface(name: str, address: str) -> str:
        return entry(name, tag("layer3", tag("ip", entry(address))))

    def zone(name: str, out: str) -> str:
        return entry(name, tag("network", members("layer3", [out])))

    hop = tag("nexthop", text("ip-address", "10.9.0.254"))
    default = entry("default", text("destination", "0.0.0.0/0"), hop)
    table = tag("routing-table", tag("ip", tag("static-route", default)))
    routers = tag(
        "virtual-router",
        entry("vr-a", members("interface", ["e1"])),
        entry("vr-b", members("interface", ["e2"]), table),
        entry("vr-c", members("interface", ["e3"]), tag("protocol", tag("bgp"))),
    )
    ethernet = tag("ethernet", interface("e1", "10.0.0.1/24"), interface("e2", "10.9.0.1/24"))
    network = tag("network", tag("interface", ethernet), routers)
    vsys = tag("vsys", entry("vsys1", tag("zone", zone("web", "e1"), zone("db", "e2"))))
    config = tag("config", tag("devices", entry("localhost.localdomain", network, vsys)))
    words = {"dg": [Word("reference-templates", text("member", "t"))]}
    found = routing(document((), words, devices=tag("template", entry("t", config))), "dg")
    web, db = frozenset({"web"}), frozenset({"db"})
    assert found.zones == ("db", "web")
    assert found.routers == (
        Router(True, (("10.0.0.0/24", web, False),)),
        Router(True, (("10.9.0.0/24", db, False), ("0.0.0.0/0", db, False))),
    )
    assert not found.without_addresses


def test_an_address_may_be_in_any_zone_of_unknown_networks() -> None:
    options = ZoneOptions(definitions={"trust": ZoneDefinition(networks=("192.0.2.0/24",))})
    found = firewall(rule("r", **ALLOW), zone_options=options)
    places = {found.zone_of_address(host("8.8.8.8"), Oracle(seed)) for seed in range(20)}
    assert places == {None, "dmz"}
    assert not found.knows_all_networks


def test_a_derived_default_route_may_be_of_a_zone_of_unknown_networks() -> None:
    derived = Derived(("trust",), {"trust": ("192.0.2.0/24",)}, {"trust": ("0.0.0.0/0",)})
    found = firewall(rule("r", **ALLOW), derived=derived)
    places = {found.zone_of_address(host("8.8.8.8"), Oracle(seed)) for seed in range(40)}
    assert places == {None, "dmz", "trust"}
    assert found.zone_of_address(host("192.0.2.1"), NO) == "trust"


def test_a_default_route_is_last_however_it_is_cut() -> None:
    derived = Derived(("trust",), {"trust": ()}, {"trust": ("192.0.2.0/28", "128.0.0.0/1")})
    options = ZoneOptions(definitions={"dmz": ZoneDefinition(networks=("192.0.2.0/24",))})
    found = firewall(rule("r", **ALLOW), zone_options=options, derived=derived)
    assert found.zone_of_address(host("192.0.2.1"), NO) == "dmz"
    assert found.zone_of_address(host("192.0.3.1"), NO) == "trust"


def test_a_pod_is_in_one_zone_whatever_its_address() -> None:
    options = ZoneOptions(
        definitions={
            "dmz": ZoneDefinition("app == 'web'", "env == 'prod'", ("10.0.0.0/24",)),
            "trust": ZoneDefinition(networks=()),
        }
    )
    found = firewall(rule("r", **ALLOW), zone_options=options)
    web = End(
        int(ip_address("10.0.0.1")), 4, Pod({"app": "web", LABEL: "trust"}, "a", {"env": "prod"})
    )
    assert found.zone_of_pod(web) == "dmz"
    assert found.zone_of_pod(pod("10.0.0.1", "trust", app="web")) == "trust"
    # Its selector is its own, so the label of that zone says nothing.
    assert found.zone_of_pod(pod("10.0.0.1", "dmz")) is None


def test_ends_in_no_zone_match_any_and_are_left_to_the_settings() -> None:
    unzoned = pod("10.0.0.9")
    named = rule("r", **ALLOW)
    assert allowed(firewall(named), to=unzoned)
    denying = ZoneOptions(unzoned_pods="deny", definitions=_known("trust", "dmz"))
    assert not allowed(firewall(named, zone_options=denying), to=unzoned)
    anything = rule("any", action="deny", service=["any"])
    assert not allowed(firewall(named, anything), to=unzoned)
    passing = ZoneOptions(unknown_addresses="pass", definitions=_known("trust", "dmz"))
    assert allowed(firewall(named, zone_options=passing), to=host("8.8.8.8"))
    strict = ZoneOptions(definitions=_known("trust", "dmz"))
    assert not allowed(firewall(named, zone_options=strict), to=host("8.8.8.8"))


def _known(*zones: str) -> dict[str, ZoneDefinition]:
    return {zone: ZoneDefinition(networks=()) for zone in zones}


# --- clusters -------------------------------------------------------------------------------------


def test_a_cluster_denies_what_one_of_its_firewalls_denies() -> None:
    names = ("dmz", "trust")
    allow = firewall(rule("r", **ALLOW), names=names)
    deny = firewall(rule("r", action="deny", from_=["any"], to=["dmz"]), names=names)
    one = flow(TRUST, DMZ)
    assert cluster_verdict([allow], one, NO).allow
    assert not cluster_verdict([allow, deny], one, NO).allow
    # A group that knows neither zone has no say.
    silent = firewall(rule("r", action="deny"), names=names)
    assert cluster_verdict([allow, silent], one, NO).allow


def test_a_label_of_no_zone_is_denied_and_no_label_is_not_judged() -> None:
    found = [firewall(rule("r", **ALLOW))]
    stray, unzoned = pod("10.0.0.5", "tursted"), pod("10.0.0.6")
    assert not cluster_verdict(found, flow(stray, unzoned), NO).allow
    assert not cluster_verdict(found, flow(unzoned, stray), NO).allow
    assert cluster_verdict(found, flow(unzoned, host("8.8.8.8")), NO).allow


def test_a_configured_zone_that_no_group_names_is_a_zone_to_others_only() -> None:
    options = ZoneOptions(definitions={"lab": ZoneDefinition()})
    found = [firewall(rule("r", **ALLOW), zone_options=options)]
    lab = pod("10.0.0.5", "lab")
    assert found[0].verdict(flow(TRUST, lab), NO).by == "interzone-default"
    assert not cluster_verdict(found, flow(lab, host("8.8.8.8")), NO).allow


def test_essentials_come_before_all_rules_in_their_direction() -> None:
    essential = Essential("egress", "all()", "role == 'dns'", (), ("53/udp",))
    options = ZoneOptions(essentials=(essential,))
    deny = rule("r", action="deny", from_=["trust"], service=["any"])
    found = [firewall(deny, zone_options=options)]
    dns = pod("10.0.0.53", role="dns")
    assert cluster_verdict(found, flow(TRUST, dns, 53, UDP), NO).allow
    assert not cluster_verdict(found, flow(TRUST, dns, 53, TCP), NO).allow
    assert not cluster_verdict(found, flow(TRUST, host("10.0.0.53"), 53, UDP), NO).allow

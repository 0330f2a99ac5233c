"""What Calico makes of written policies, as the proof reads them, and what it refuses to read."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sync.calico.names import RULE_ANNOTATION
from sync.firewall.services import ICMP, TCP, UDP, Traffic
from sync.net.addresses import EVERYWHERE, NOWHERE, AddressSet, network
from sync.net.ports import PortSet, ports
from sync.options import ZoneDefinition, ZoneOptions
from sync.verify.calico_documents import nets_of
from sync.verify.calico_semantics import Direction, Policies
from sync.verify.packet_space import Entry
from sync.verify.profiles import Profiles, UnreadableError

Document = dict[str, Any]

LABEL = "firewall.tigera.io/zone"
GROUP = "firewall.tigera.io/address-group"
PODS = "projectcalico.org/orchestrator == 'k8s'"
OWN = "app == 'own'"
WEB = f"{PODS} && {LABEL} == 'web' && !({OWN})"
DB = f"{PODS} && {LABEL} == 'db' && !({OWN})"
SCTP = 132
V4, V6 = network("0.0.0.0/0"), network("::/0")
KNOWN = Profiles({"web", "db", "own"}, ZoneOptions(definitions={"own": ZoneDefinition(OWN)}))
ZONE = KNOWN.zones["web"]


def nets(*texts: str) -> AddressSet:
    return AddressSet.union(map(network, texts))


def rule(action: str = "Pass", **more: Any) -> Document:
    return {"action": action, "source": {}, "destination": {}, **more}


def policy(
    *egress: Document,
    name: str = "fw.one",
    ingress: Sequence[Document] = (),
    order: float = 1,
    selector: str = WEB,
    kind: str = "GlobalNetworkPolicy",
    tier: str = "fw",
    types: Sequence[str] = ("Ingress", "Egress"),
) -> Document:
    spec = {"tier": tier, "order": order, "selector": selector, "types": [*types]}
    spec |= {"egress": [*egress], "ingress": [*ingress]}
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def tier(default: str, name: str = "fw") -> Document:
    return {
        "kind": "Tier",
        "metadata": {"name": name},
        "spec": {"order": 1, "defaultAction": default},
    }


def address_group(name: str, *held: str, **labels: str) -> Document:
    return {
        "kind": "GlobalNetworkSet",
        "metadata": {"name": f"pan.{name}", "labels": {GROUP: name, **labels}},
        "spec": {"nets": [*held]},
    }


def said(
    *documents: Document,
    profile: int = ZONE,
    direction: Direction = "egress",
    skipping: frozenset[str] = frozenset(),
    last: bool = True,
) -> list[Entry] | None:
    return Policies("fw", documents, KNOWN, last=last).said_to(profile, direction, skipping)


def first(*documents: Document, **more: Any) -> Entry:
    found = said(*documents, **more)
    assert found
    return found[0]


def towards(*sets: Document, **end: Any) -> dict[int, AddressSet]:
    """Who and where the far end of one rule may be, profile by profile."""
    far = first(*sets, policy(rule(destination=end))).far
    bits = [1 << number for number in range(KNOWN.everyone.bit_length())]
    found = {bit: held for profiles, held in far for bit in bits if profiles & bit}
    assert sum(profiles.bit_count() for profiles, _ in far) == len(found), "no profile twice"
    return found


def everyone(where: AddressSet) -> dict[int, AddressSet]:
    return {1 << number: where for number in range(KNOWN.everyone.bit_length())}


# --- the list -------------------------------------------------------------------------------------


def test_rules_come_by_order_then_name_and_after_them_the_tiers_default() -> None:
    listed = said(
        policy(rule(protocol="UDP"), name="fw.c", order=2),
        policy(rule(protocol="TCP"), rule("Deny", protocol="SCTP"), name="fw.b"),
        policy(rule(protocol="ICMP"), name="fw.a"),
        policy(rule("Deny"), name="fw.other", selector=DB),
        policy(rule("Deny"), name="elsewhere.one", tier="elsewhere", order=0),
        tier("Pass"),
    )
    assert listed
    assert [(each.where, each.traffic[0].protocol, each.action) for each in listed] == [
        ("fw.a[egress 0]", ICMP, "allow"),
        ("fw.b[egress 0]", TCP, "allow"),
        ("fw.b[egress 1]", SCTP, "deny"),
        ("fw.c[egress 0]", UDP, "allow"),
        ("the default of tier fw", None, "allow"),
    ]


@pytest.mark.parametrize(("default", "action"), [("Pass", "allow"), ("Deny", "deny")])
def test_the_tiers_default_decides_what_is_left(default: str, action: str) -> None:
    found = said(policy(), tier(default), tier("Deny", "other"))
    assert found == [
        Entry(
            EVERYWHERE,
            ((KNOWN.everyone, EVERYWHERE),),
            (Traffic(),),
            action,  # type: ignore[arg-type]
            "",
            "the default of tier fw",
        )
    ]


def test_nothing_is_said_to_pods_that_no_policy_selects() -> None:
    assert said(policy(rule("Deny")), profile=KNOWN.zones["db"]) is None
    assert said(policy(rule("Deny"), types=["Ingress"])) is None
    assert said(policy(rule("Deny")), skipping=frozenset({"fw.one"})) is None


def test_policies_that_do_not_count_leave_their_pods_to_the_tiers_default() -> None:
    """What is essential to some pods selects them, and what it does not pass ends there."""
    (unknown,) = said(policy(), tier("Deny"), skipping=frozenset({"fw.one"})) or []
    assert unknown.action == ""


def test_a_staged_and_an_enforced_policy_of_one_name_keep_their_rules() -> None:
    staged = policy(rule("Deny", protocol="TCP"), kind="StagedGlobalNetworkPolicy", order=2)
    listed = said(policy(rule(protocol="UDP")), staged)
    assert listed
    assert [each.traffic[0].protocol for each in listed] == [UDP, TCP, None]


def test_a_staged_policy_is_as_good_as_enforced() -> None:
    one = [policy(rule("Deny", protocol="TCP"))]
    staged = [policy(rule("Deny", protocol="TCP"), kind="StagedGlobalNetworkPolicy")]
    assert said(*one) == said(*staged)


def test_a_policy_that_may_select_pods_or_not_is_not_judged() -> None:
    perhaps = f"{PODS} && (has(vip) || {LABEL} == 'db')"
    documents = [
        policy(rule(protocol="TCP"), name="fw.a"),
        policy(rule(protocol="UDP"), name="fw.b", selector=perhaps),
        policy(rule("Deny"), name="fw.c"),
    ]
    listed = said(*documents)
    assert listed
    assert [(each.where, each.action) for each in listed] == [
        ("fw.a[egress 0]", "allow"),
        ("fw.b[egress]", ""),
    ]
    surely = said(*documents, profile=KNOWN.zones["db"])
    assert surely
    assert surely[0].where == "fw.b[egress 0]", "it selects pods of this zone whatever they are"


# --- a rule ---------------------------------------------------------------------------------------


def test_ends_and_ports_are_of_the_direction() -> None:
    one = rule(
        protocol="TCP",
        source={"nets": ["10.0.0.0/8"], "ports": ["1024:65535"]},
        destination={"nets": ["192.0.2.0/24"], "ports": [80, "8000:8080"]},
        metadata={"annotations": {RULE_ANNOTATION: "web"}},
    )
    both = policy(one, ingress=[one])
    traffic = (Traffic(TCP, ports("80,8000-8080"), ports("1024-65535")),)
    assert first(both) == Entry(
        nets("10.0.0.0/8"),
        ((KNOWN.everyone, nets("192.0.2.0/24")),),
        traffic,
        "allow",
        "web",
        "fw.one[egress 0]",
    )
    assert first(both, direction="ingress") == Entry(
        nets("192.0.2.0/24"),
        ((KNOWN.everyone, nets("10.0.0.0/8")),),
        traffic,
        "allow",
        "web",
        "fw.one[ingress 0]",
    )


@pytest.mark.parametrize(
    ("more", "traffic"),
    [
        ({}, Traffic()),
        ({"protocol": 47}, Traffic(47)),
        ({"protocol": "ICMPv6"}, Traffic(58)),
        ({"protocol": "ICMP", "icmp": {"type": 3}}, Traffic(ICMP, icmp=(3, None))),
        ({"protocol": "ICMP", "icmp": {"type": 3, "code": 0}}, Traffic(ICMP, icmp=(3, 0))),
        (
            {"protocol": "UDP", "destination": {"notPorts": ["1:65535"]}},
            Traffic(UDP, PortSet((0, 1))),
        ),
    ],
)
def test_traffic(more: Mapping[str, Any], traffic: Traffic) -> None:
    assert first(policy(rule(**more))).traffic == (traffic,)


def test_a_version_is_a_family() -> None:
    assert first(policy(rule(ipVersion=6))).families == (6,)
    assert first(policy(rule())).families == (4, 6)


def test_what_matches_nothing_is_no_rule() -> None:
    empty = [
        rule(
            "Deny", destination={"selector": f"{GROUP} == 'none'", "namespaceSelector": "global()"}
        ),
        rule("Deny", source={"selector": f"{GROUP} == 'none'", "namespaceSelector": "global()"}),
        rule("Deny", destination={"notSelector": "all() || !has(x)", "nets": ["10.0.0.0/8"]}),
    ]
    listed = said(policy(*empty[:2]))
    assert listed
    assert [each.where for each in listed] == ["the default of tier fw"]
    # Whoever is no pod has no labels and is in no set.
    assert towards(**empty[2]["destination"]) == {KNOWN.no_pod: nets("10.0.0.0/8")}


# --- ends -----------------------------------------------------------------------------------------

SETS = (
    address_group("a", "10.0.0.0/24", "2001:db8::/64", prod=""),
    address_group("b", "10.0.1.0/24", prod=""),
    address_group("c", "10.0.2.0/24"),
)


def test_nets_are_where_anyone_is() -> None:
    assert towards() == everyone(EVERYWHERE)
    assert towards(nets=["10.0.0.0/8", "::/0"]) == everyone(nets("10.0.0.0/8", "::/0"))


def test_not_nets_of_one_family_leave_nothing_of_the_other() -> None:
    assert towards(notNets=["10.0.0.0/8"]) == everyone(V4 - nets("10.0.0.0/8"))
    assert towards(notNets=["2001:db8::/32"]) == everyone(V6 - nets("2001:db8::/32"))
    both = ["10.0.0.0/8", "2001:db8::/32"]
    assert towards(notNets=both) == everyone(EVERYWHERE - nets(*both))
    assert nets_of({"notNets": ["0.0.0.0/0"]}) == NOWHERE


def test_pods_of_a_zone_are_anywhere_and_sets_with_its_label_where_they_are() -> None:
    assert towards(*SETS, selector=WEB, nets=["10.0.0.0/8"]) == {ZONE: nets("10.0.0.0/8")}
    forged = address_group("forged", "10.9.0.0/16", **{LABEL: "web"})
    found = towards(*SETS, forged, selector=f"{LABEL} == 'web' && !({OWN})")
    assert found == {**everyone(nets("10.9.0.0/16")), ZONE: EVERYWHERE}


@pytest.mark.parametrize(
    ("selector", "held"),
    [
        (f"{GROUP} == 'a'", ("10.0.0.0/24", "2001:db8::/64")),
        (f"{GROUP} in {{'b', 'c', 'none'}}", ("10.0.1.0/24", "10.0.2.0/24")),
        (f"has(prod) && {GROUP} != 'a'", ("10.0.1.0/24",)),
        (f"{GROUP} == 'c' || has(prod)", ("10.0.0.0/23", "10.0.2.0/24", "2001:db8::/64")),
        (f"{GROUP} in {{'a', 'b'}} && {GROUP} in {{'b', 'c'}}", ("10.0.1.0/24",)),
        (f"{GROUP} starts with 'c'", ("10.0.2.0/24",)),
    ],
)
def test_a_global_selector_is_the_addresses_of_sets(selector: str, held: Sequence[str]) -> None:
    end = {"selector": selector, "namespaceSelector": "global()"}
    assert towards(*SETS, **end) == everyone(nets(*held))
    within = towards(*SETS, **end, nets=["10.0.0.0/8"])
    assert within == everyone(nets(*held) & nets("10.0.0.0/8"))
    near = first(*SETS, policy(rule(source=end))).local
    assert near == nets(*held)


def test_all_but_sets_are_all_addresses_but_theirs() -> None:
    end = {"notSelector": f"{GROUP} == 'a' && !has(projectcalico.org/namespace)"}
    rest = EVERYWHERE - nets("10.0.0.0/24", "2001:db8::/64")
    assert towards(*SETS, **end) == everyone(rest)
    assert towards(*SETS, **end, nets=["10.0.0.0/8"]) == everyone(rest & nets("10.0.0.0/8"))
    assert first(*SETS, policy(rule(source=end))).local == rest


def test_all_but_pods_is_whoever_is_none() -> None:
    found = towards(*SETS, notSelector=PODS, nets=["10.0.0.0/8"])
    assert found == {KNOWN.no_pod: nets("10.0.0.0/8")}
    rest = towards(*SETS, notSelector=WEB)
    assert rest == {bit: EVERYWHERE for bit in everyone(EVERYWHERE) if bit != ZONE}


def test_empty_lists_say_nothing_as_calico_has_it() -> None:
    empty: dict[str, Any] = {"nets": [], "notNets": [], "ports": [], "notPorts": []}
    assert towards(**empty) == everyone(EVERYWHERE)
    assert first(policy(rule(source=empty))).local == EVERYWHERE
    assert first(policy(rule(protocol="TCP", destination=empty))).traffic == (Traffic(TCP),)


def test_negated_lists_count_beside_the_others() -> None:
    end = {"nets": ["10.0.0.0/8"], "notNets": ["10.1.0.0/16"]}
    assert towards(**end) == everyone(nets("10.0.0.0/8") - nets("10.1.0.0/16"))
    both = rule(protocol="TCP", destination={"ports": ["1:100"], "notPorts": [80]})
    assert first(policy(both)).traffic == (Traffic(TCP, ports("1-79,81-100")),)


def test_labels_that_no_zone_says_are_the_most_for_an_allow_and_the_least_for_a_deny() -> None:
    open_ = {"selector": f"{PODS} && has(vip)"}
    pods = {bit: EVERYWHERE for bit in everyone(EVERYWHERE) if bit != KNOWN.no_pod}
    assert towards(**open_) == pods
    denied, passed, _ = said(policy(rule("Deny", destination=open_), rule())) or []
    assert (denied.far, denied.rough) == ((), True), "it may deny nobody, and may deny pods"
    assert passed.where == "fw.one[egress 1]"
    spared = first(policy(rule("Deny", destination={"notSelector": f"{PODS} && has(vip)"})))
    assert (spared.far, spared.rough) == (((KNOWN.no_pod, EVERYWHERE),), True)
    assert not first(policy(rule(destination={"selector": WEB}))).rough


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        {"selector": f"{GROUP} == 'a'", "notSelector": PODS},
        {"selector": WEB, "namespaceSelector": "all()"},
        {"selector": WEB, "namespaceSelector": "team == 'a'"},
        {"namespaceSelector": "global()"},
        {"notSelector": PODS, "namespaceSelector": "global()"},
        {"selector": ""},
        {"selector": "app =="},
        {"serviceAccounts": {"names": ["x"]}},
        {"domains": ["example.com"]},
        {"ports": [80]},  # without a protocol that has them
    ],
)
def test_ends_that_cannot_be_judged_are_refused(end: Document) -> None:
    for one in (rule(destination=end), rule(source=end)):
        with pytest.raises(UnreadableError):
            said(policy(one))
        with pytest.raises(UnreadableError):
            said(policy(ingress=[one]), direction="ingress")


@pytest.mark.parametrize(
    "more",
    [
        {"action": "Log"},
        {"notProtocol": "TCP"},
        {"http": {"methods": ["GET"]}},
        {"protocol": "QUIC"},
        {"protocol": 47, "destination": {"ports": [80]}},
        {"protocol": "TCP", "icmp": {"type": 3}},
        {"protocol": "ICMP", "icmp": {"code": 3}},
    ],
)
def test_rules_that_say_something_else_are_refused(more: Document) -> None:
    with pytest.raises(UnreadableError):
        said(policy(rule(**more)))


@pytest.mark.parametrize("own", [PODS, WEB, DB])
def test_labels_of_the_pods_that_a_policy_is_about_are_refused_in_its_rules(own: str) -> None:
    for near in ({"selector": own}, {"notSelector": own}):
        with pytest.raises(UnreadableError, match="labels of its own pods"):
            said(policy(rule(source=near)))
        with pytest.raises(UnreadableError, match="labels of its own pods"):
            said(policy(ingress=[rule(destination=near)]), direction="ingress")


def test_to_allow_for_good_is_refused_where_a_later_tier_is_skipped() -> None:
    assert first(policy(rule("Allow"))).action == "allow"
    with pytest.raises(UnreadableError):
        said(policy(rule("Allow")), last=False)


def test_a_policy_with_a_selector_that_is_none_is_refused() -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        Policies("fw", [policy(selector="app ==")], KNOWN, last=True)


def test_what_no_pod_of_the_zone_meets_may_say_anything() -> None:
    strange = policy(rule("Log"), name="fw.z", selector=DB)
    assert first(policy(rule("Deny")), strange).action == "deny"


@pytest.mark.parametrize(
    "more",
    [
        {"namespaceSelector": "team == 'a'"},
        {"serviceAccountSelector": "all()"},
        {"preDNAT": True},
        {"applyOnForward": True},
        {"stagedAction": "Delete"},
    ],
)
def test_policies_that_say_something_else_are_refused(more: Document) -> None:
    one = policy(rule("Deny"))
    one["spec"] |= more
    with pytest.raises(UnreadableError, match="is not judged"):
        said(one)


@pytest.mark.parametrize("key", ["order", "selector", "types"])
def test_policies_that_do_not_say_enough_are_refused(key: str) -> None:
    one = policy(rule("Deny"))
    del one["spec"][key]
    with pytest.raises(UnreadableError, match="or lacks something"):
        said(one)

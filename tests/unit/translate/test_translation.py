"""What a rule becomes, sentence by sentence: the documents as they are written, and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest

from sync.calico import names
from sync.calico.cidrs import of_set
from sync.calico.validator import validate
from sync.errors import SourceError, UsageError
from sync.firewall.zone_networks import Derived
from sync.net.addresses import AddressSet, network
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.translate.compiler import Options
from sync.translate.fidelity import RuleFidelity, Status
from sync.translate.network_sets import Target
from tests.translation import Translated, translate
from tests.words import (
    Word,
    address,
    default_rule,
    entry,
    group,
    members,
    nat_rule,
    rule,
    seen_by,
    service,
    tag,
    text,
    to_server,
)

Document = dict[str, Any]

PODS = "projectcalico.org/orchestrator == 'k8s'"
NOBODY = Derived((), {}, {})
# trust has a network, dmz is pods only, and nobody knows the networks of untrust.
DEFINED = {"trust": ZoneDefinition(networks=("10.1.0.0/16",)), "dmz": ZoneDefinition(networks=())}
WORDS = (
    address("web-1", "10.1.0.1"),
    address("web-2", "10.2.0.0/24"),
    address("web-3", "10.3.0.9"),
    address("name", "www.example.com", kind="fqdn"),
    address("six", "2001:db8::/64"),
    address("wild", "10.1.0.0/0.0.0.5", kind="ip-wildcard"),
    group("web", "web-1", "web-2"),
    group("far", "web-2"),
    group("other", "web-3"),
    group("none"),
    group("open", "web-1", "name"),
    group("unsayable", "name"),
    service("https", "443"),
)


def translated(
    *words: Word,
    rules: RuleOptions | None = None,
    definitions: Mapping[str, ZoneDefinition] | None = None,
    pod_cidrs: Sequence[str] | None = None,
    mode: Literal["enforced", "staged"] = "enforced",
    trust_addresses: bool = False,
    unzoned_pods: Literal["pass", "deny"] = "pass",
    unknown_addresses: Literal["deny", "pass"] = "deny",
) -> Translated:
    """The translation of one device group; whatever it writes is valid."""
    found = translate(
        "cluster",
        [Target("main", seen_by("dg", {"dg": [*WORDS, *words]}), "fw", 100, mode, NOBODY)],
        Options(
            tags=("none",),
            registered_known=True,
            owner=(("owner", "us"),),
            rules=rules or RuleOptions(),
            zones=ZoneOptions(
                definitions=DEFINED if definitions is None else definitions,
                trust_addresses=trust_addresses,
                unzoned_pods=unzoned_pods,
                unknown_addresses=unknown_addresses,
            ),
            pod_cidrs=None
            if pod_cidrs is None
            else AddressSet.union(network(each) for each in pod_cidrs),
        ),
        {},
    )
    assert not [problem for each in found.manifests.values() for problem in validate(each)]
    return found


def one(name: str = "it", *extra: str, **lists: Sequence[str] | str) -> Word:
    """A rule from trust to any zone on any service, unless its lists say otherwise."""
    usual: dict[str, Sequence[str] | str] = {
        "from_": ["trust"],
        "to": ["any"],
        "service": ["any"],
        "action": "allow",
    }
    return rule(name, *extra, rulebase="pre", **(usual | lists))


def written(
    found: Translated,
    zone: str,
    direction: str,
    name: str = "it",
    kind: str = "GlobalNetworkPolicy",
) -> list[Document]:
    """The Calico rules of a firewall rule in a zone, without their annotations."""
    policy = found.manifests[kind, names.policy_name("fw", zone)].document()
    return [
        {key: value for key, value in each.items() if key != "metadata"}
        for each in policy["spec"].get(direction, ())
        if each["metadata"]["annotations"]["firewall.tigera.io/rule"] == name
    ]


def line(found: Translated, name: str = "it") -> RuleFidelity:
    (only,) = (each for each in found.report.rules if each.name == name)
    return only


def says(
    action: str = "Pass",
    source: Document | None = None,
    destination: Document | None = None,
    **fields: Any,
) -> Document:
    return {"action": action, "source": source or {}, "destination": destination or {}, **fields}


def of_group(*groups: str) -> Document:
    """The sets of address groups."""
    key = "firewall.tigera.io/address-group"
    listed = ", ".join(f"'{each}'" for each in groups)
    selector = f"{key} == {listed}" if len(groups) == 1 else f"{key} in {{{listed}}}"
    return {"selector": selector, "namespaceSelector": "global()"}


def but_group(*names: str) -> Document:
    """Every address but those of some groups' sets."""
    of_it = of_group(*names)["selector"]
    return {"notSelector": f"({of_it}) && !has(projectcalico.org/namespace)"}


def pods_of(zone: str, *nets: str) -> Document:
    """A zone's pods, with some addresses only."""
    found: Document = {"selector": f"{PODS} && (firewall.tigera.io/zone == '{zone}')"}
    return found | ({"nets": list(nets)} if nets else {})


def no_pods(*nets: str) -> Document:
    """Addresses outside the pods."""
    return {"notSelector": PODS} | ({"nets": list(nets)} if nets else {})


# --- sides ----------------------------------------------------------------------------------------


def test_a_rule_stands_where_its_zones_are_and_each_side_has_the_whole_match() -> None:
    found = translated(
        one(to=["dmz"], source=["10.1.0.7"], destination=["10.9.0.1"], service=["https"])
    )
    tcp = {"protocol": "TCP", "ipVersion": 4}
    assert written(found, "trust", "egress") == [
        says(
            "Pass",
            {"nets": ["10.1.0.7/32"]},
            pods_of("dmz", "10.9.0.1/32") | {"ports": [443]},
            **tcp,
        )
    ]
    assert written(found, "trust", "ingress") == []
    assert written(found, "dmz", "egress") == []
    to = {"nets": ["10.9.0.1/32"], "ports": [443]}
    assert written(found, "dmz", "ingress") == [
        says("Pass", pods_of("trust", "10.1.0.7/32"), to, **tcp),
        says("Pass", no_pods("10.1.0.7/32"), to, **tcp),
    ]


@pytest.mark.parametrize(
    ("lists", "stands"),
    [
        ({"from_": ["trust"], "to": ["dmz"]}, {("trust", "egress"), ("dmz", "ingress")}),
        (
            {"from_": ["trust"], "to": ["any"]},
            {("trust", "egress"), ("trust", "ingress"), ("dmz", "ingress")},
        ),
        (
            {"from_": ["any"], "to": ["trust"]},
            {("trust", "egress"), ("trust", "ingress"), ("dmz", "egress")},
        ),
        (
            {"from_": ["any"], "to": ["any"]},
            {(zone, side) for zone in ("trust", "dmz") for side in ("egress", "ingress")},
        ),
        ({"from_": ["trust"], "to": ["multicast"]}, {("trust", "egress")}),
        (
            {"from_": ["trust"], "to": ["dmz"], "rule_type": "intrazone"},
            {("trust", "egress"), ("trust", "ingress")},
        ),
        ({"from_": ["trust"], "to": ["trust"], "rule_type": "interzone"}, set()),
        (
            {"from_": ["trust", "dmz"], "to": ["trust"], "rule_type": "interzone"},
            {("dmz", "egress"), ("trust", "ingress")},
        ),
    ],
)
def test_the_chains_a_rule_stands_in(
    lists: dict[str, Sequence[str] | str], stands: set[tuple[str, str]]
) -> None:
    found = translated(one("it", **lists), one("other", from_=["trust", "dmz"]))
    assert {
        (zone, side)
        for zone in ("trust", "dmz")
        for side in ("egress", "ingress")
        if written(found, zone, side)
    } == stands


@pytest.mark.parametrize(
    ("destination", "negated", "ends"),
    [
        (["any"], "no", [{}]),
        (["web"], "no", [of_group("web")]),
        (["web", "other"], "no", [of_group("other", "web")]),
        # One selector covers disjoint nets: groups that overlap stand by content.
        (
            ["web", "far", "other"],
            "no",
            [of_group("other"), {"nets": ["10.1.0.1/32", "10.2.0.0/24"]}],
        ),
        (["web", "10.3.0.1"], "no", [of_group("web"), {"nets": ["10.3.0.1/32"]}]),
        (["none"], "no", [of_group("none")]),
        (["10.3.0.1-10.3.0.2"], "no", [{"nets": ["10.3.0.1/32", "10.3.0.2/32"]}]),
        (["10.3.0.1", "six"], "no", [{"nets": ["10.3.0.1/32"]}, {"nets": ["2001:db8::/64"]}]),
        (["0.0.0.0/0"], "no", [{}]),
        (["::/0"], "no", [{}]),
        (["10.3.0.1"], "yes", [{"notNets": ["10.3.0.1/32"]}, {}]),
        (["six"], "yes", [{}, {"notNets": ["2001:db8::/64"]}]),
        (["0.0.0.0/0"], "yes", [{}]),
        (["::/0"], "yes", []),
        # A set that grows would let an allow of all but it shrink, and old policies allow on.
        (["web"], "yes", [{"notNets": ["10.1.0.1/32", "10.2.0.0/24"]}, {}]),
        (["any"], "yes", []),
    ],
)
def test_addresses_of_any_zone(
    destination: Sequence[str], negated: str, ends: Sequence[Document]
) -> None:
    found = translated(one(destination=destination, negate_destination=negated))
    remote = written(found, "trust", "egress")
    assert [each["destination"] for each in remote] == ends
    # The local side of the other direction says the same.
    local = [each["destination"] for each in written(found, "trust", "ingress")]
    assert all(each in ends for each in local)
    assert all(each in local for each in ends)
    assert line(found).status.without_loss


@pytest.mark.parametrize(
    ("destination", "negated", "ends"),
    [
        # A set that grows would deny more before its policy says so.
        (["web"], "no", [{"nets": ["10.1.0.1/32", "10.2.0.0/24"]}]),
        (["web"], "yes", [but_group("web")]),
        (["web", "other"], "yes", [but_group("other", "web")]),
        (
            ["web", "10.3.0.1"],
            "yes",
            [but_group("web") | {"notNets": ["10.3.0.1/32"]}, but_group("web")],
        ),
        # All that is spared stands in one selector, so it does not overlap.
        (["web", "far"], "yes", [{"notNets": ["10.1.0.1/32", "10.2.0.0/24"]}, {}]),
        (["web", "10.1.0.1"], "yes", [{"notNets": ["10.1.0.1/32", "10.2.0.0/24"]}, {}]),
        (["none"], "no", []),
    ],
)
def test_addresses_that_are_denied(
    destination: Sequence[str], negated: str, ends: Sequence[Document]
) -> None:
    found = translated(one(destination=destination, negate_destination=negated, action="deny"))
    remote = written(found, "trust", "egress")
    assert [each["destination"] for each in remote] == ends
    assert line(found).status.without_loss


@pytest.mark.parametrize(
    ("destination", "negated", "families"),
    [
        (["10.3.0.1"], "no", [4]),
        (["six"], "no", [6]),
        (["0.0.0.0/0"], "no", [4]),
        (["any"], "no", [None]),
        (["web"], "no", [None]),
        (["10.3.0.1"], "yes", [4, 6]),
        (["0.0.0.0/0"], "yes", [6]),
    ],
)
def test_a_rule_with_nets_says_its_family(
    destination: Sequence[str], negated: str, families: Sequence[int | None]
) -> None:
    found = translated(one(destination=destination, negate_destination=negated))
    egress = written(found, "trust", "egress")
    assert [each.get("ipVersion") for each in egress] == families


def test_ends_of_two_families_are_no_rule() -> None:
    found = translated(one(source=["10.1.0.1"], destination=["six"]))
    assert written(found, "trust", "egress") == []
    assert line(found).calico == ()


@pytest.mark.parametrize("negated", ["no", "yes"])
@pytest.mark.parametrize("count", [256, 257])
def test_a_list_of_more_than_256_nets_gets_a_set_of_its_own(count: int, negated: str) -> None:
    nets = [f"10.{3 + number // 128}.0.{number % 128 * 2}" for number in range(count)]
    found = translated(one(destination=nets, negate_destination=negated))
    (end, *rest) = (each["destination"] for each in written(found, "trust", "egress"))
    sets = {name: each for (_, name), each in found.manifests.items() if "pan-list" in name}
    if count == 256:
        assert not sets
        assert len(end["notNets" if negated == "yes" else "nets"]) == count
        return
    canonical = of_set(AddressSet.union(map(network, nets)))
    name = names.list_name(canonical)
    label = name.removeprefix("pan-list.")
    assert list(sets) == [name]
    document = sets[name].document()
    assert document["spec"]["nets"] == canonical
    assert document["metadata"]["labels"] == {"firewall.tigera.io/list": label, "owner": "us"}
    selector = f"firewall.tigera.io/list == '{label}'"
    assert not rest
    assert end == (
        {"notSelector": f"({selector}) && !has(projectcalico.org/namespace)"}
        if negated == "yes"
        else {"selector": selector, "namespaceSelector": "global()"}
    )


def test_groups_too_many_for_one_selector_are_several_rules_with_one_action() -> None:
    many = [f"group-{number:02}-{'x' * 40}" for number in range(40)]
    groups = [
        word
        for number, name in enumerate(many)
        for word in (address(f"h-{number}", f"10.3.1.{number}"), group(name, f"h-{number}"))
    ]
    found = translated(*groups, one(destination=many))
    egress = written(found, "trust", "egress")
    assert len(egress) > 1
    named = [name for name in many if any(name in str(each) for each in egress)]
    assert named == many
    negated = translated(*groups, one(destination=many, negate_destination="yes", action="deny"))
    (rule_,) = written(negated, "trust", "egress")
    assert "firewall.tigera.io/list" in rule_["destination"]["notSelector"]


# --- a zone at the other end ----------------------------------------------------------------------


@pytest.mark.parametrize("action", ["allow", "deny"])
@pytest.mark.parametrize(
    ("members_", "ends"),
    [
        (["any"], [pods_of("trust"), no_pods("10.1.0.0/16")]),
        (["web"], [pods_of("trust", "10.1.0.1/32", "10.2.0.0/24"), no_pods("10.1.0.1/32")]),
        (["far"], [pods_of("trust", "10.2.0.0/24")]),
        (["none"], []),
    ],
)
def test_a_zone_is_its_pods_and_its_networks_with_addresses_inline(
    members_: Sequence[str], ends: Sequence[Document], action: str
) -> None:
    found = translated(one(from_=["dmz"], to=["trust"], destination=members_, action=action))
    assert [each["destination"] for each in written(found, "dmz", "egress")] == ends


@pytest.mark.parametrize(
    ("pod_cidrs", "action", "ends"),
    [
        # Pods where the addresses may be, and networks that may hold pods: inline.
        (["10.1.0.0/24"], "allow", [pods_of("trust", "10.1.0.1/32"), no_pods("10.1.0.1/32")]),
        # No pod has the addresses: the group keeps its set, with the zone's networks.
        (["10.8.0.0/16"], "allow", [of_group("web") | {"nets": ["10.1.0.0/16"]}]),
        # A deny never trusts where pods are said to be.
        (
            ["10.8.0.0/16"],
            "deny",
            [pods_of("trust", "10.1.0.1/32", "10.2.0.0/24"), no_pods("10.1.0.1/32")],
        ),
        (
            ["10.2.0.0/24"],
            "allow",
            [pods_of("trust", "10.2.0.0/24"), of_group("web") | {"nets": ["10.1.0.0/16"]}],
        ),
    ],
)
def test_where_pods_are_known_to_be(
    pod_cidrs: Sequence[str], action: str, ends: Sequence[Document]
) -> None:
    found = translated(
        one(from_=["dmz"], to=["trust"], destination=["web"], action=action), pod_cidrs=pod_cidrs
    )
    assert [each["destination"] for each in written(found, "dmz", "egress")] == ends


def test_selector_and_not_selector_never_stand_together() -> None:
    found = translated(
        *(
            one(f"{to} {negate} {kind}", to=[to], destination=["web", "open"], rule_type=kind,
                negate_destination=negate, action="deny")
            for to in ("any", "trust", "dmz", "untrust")
            for negate in ("yes", "no")
            for kind in ("universal", "interzone", "intrazone")
        ),
        pod_cidrs=["10.8.0.0/16"],
    )  # fmt: skip
    ends = [
        each[end]
        for manifest in found.manifests.values()
        for side in ("egress", "ingress")
        for each in manifest.document()["spec"].get(side, ())
        for end in ("source", "destination")
    ]
    assert any("notSelector" in end for end in ends)
    assert not [end for end in ends if "selector" in end and "notSelector" in end]


def test_an_intrazone_rule_is_about_its_own_zone() -> None:
    found = translated(one(rule_type="intrazone", to=["dmz"]), one("other", from_=["dmz"]))
    both = [pods_of("trust"), no_pods("10.1.0.0/16")]
    assert [each["destination"] for each in written(found, "trust", "egress")] == both
    assert [each["source"] for each in written(found, "trust", "ingress")] == both
    assert written(found, "dmz", "ingress") == []


def test_an_interzone_rule_to_any_zone_is_the_pods_that_are_not_in_it_and_the_rest() -> None:
    found = translated(one(rule_type="interzone"))
    assert [each["destination"] for each in written(found, "trust", "egress")] == [
        {"selector": f"{PODS} && !(firewall.tigera.io/zone == 'trust')"},
        {"notSelector": PODS, "notNets": ["10.1.0.0/16"]},
        {"notSelector": PODS},
    ]


def test_multicast_is_no_zone_of_pods() -> None:
    found = translated(one(to=["multicast"]))
    assert [each["destination"] for each in written(found, "trust", "egress")] == [
        no_pods("224.0.0.0/4"),
        no_pods("ff00::/8"),
    ]
    assert ("GlobalNetworkPolicy", "fw.pan-zone-multicast") not in found.manifests


@pytest.mark.parametrize(
    ("action", "trust", "status", "ends"),
    [
        ("allow", False, Status.NARROWED, [pods_of("untrust", "10.0.0.0/15")]),
        (
            "deny",
            False,
            Status.WIDENED,
            [pods_of("untrust", "10.0.0.0/15"), no_pods("10.0.0.0/16")],
        ),
        (
            "allow",
            True,
            Status.MORE_PERMISSIVE,
            [pods_of("untrust", "10.0.0.0/15"), no_pods("10.0.0.0/16")],
        ),
    ],
)
def test_networks_that_nobody_knows(
    action: str, trust: bool, status: Status, ends: Sequence[Document]
) -> None:
    found = translated(
        one(to=["untrust"], destination=["10.0.0.0/15"], action=action), trust_addresses=trust
    )
    assert [each["destination"] for each in written(found, "trust", "egress")] == ends
    assert line(found).status is status
    assert "the networks of zone 'untrust' are not known" in line(found).reasons[0]


# --- open lists -----------------------------------------------------------------------------------


# Fails for an allow of nothing that is known: it is left out and written all the same.
@pytest.mark.parametrize(
    ("action", "negated", "group_", "ends", "status"),
    [
        ("allow", "no", "open", [of_group("open")], Status.NARROWED),
        ("allow", "no", "unsayable", [], Status.LEFT_OUT),
        ("allow", "yes", "open", [], Status.LEFT_OUT),
        ("allow", "yes", "unsayable", [], Status.LEFT_OUT),
        ("deny", "no", "open", [{}], Status.WIDENED),
        ("deny", "no", "unsayable", [{}], Status.WIDENED),
        ("deny", "yes", "open", [but_group("open")], Status.WIDENED),
        ("deny", "yes", "unsayable", [but_group("unsayable")], Status.WIDENED),
    ],
)
def test_an_open_list(
    action: str, negated: str, group_: str, ends: Sequence[Document], status: Status
) -> None:
    found = translated(one(destination=[group_], negate_destination=negated, action=action))
    assert [each["destination"] for each in written(found, "trust", "egress")] == ends
    assert line(found).status is status
    assert "www.example.com" in " ".join(line(found).reasons)
    document = found.manifests["GlobalNetworkSet", f"pan.{group_}"].document()
    assert document["spec"] == ({"nets": ["10.1.0.1/32"]} if group_ == "open" else {})


@pytest.mark.parametrize("negated", ["no", "yes"])
def test_an_open_list_of_a_deny_that_is_accepted(negated: str) -> None:
    found = translated(
        one(destination=["open"], negate_destination=negated, action="deny"),
        rules=RuleOptions(accept_dropped_members=("it",)),
    )
    expected = [but_group("open")] if negated == "yes" else [{"nets": ["10.1.0.1/32"]}]
    assert [each["destination"] for each in written(found, "trust", "egress")] == expected
    # All but what is known is what a deny says anyway.
    assert line(found).status is Status.MORE_PERMISSIVE


def test_an_allow_of_an_open_list_is_not_what_accepting_is_for() -> None:
    found = translated(
        one(destination=["open"], negate_destination="yes"),
        rules=RuleOptions(accept_dropped_members=("it",)),
    )
    assert written(found, "trust", "egress") == []
    assert line(found).status is Status.LEFT_OUT


# --- what cannot be said --------------------------------------------------------------------------

CONSTRAINTS = (
    members("source-user", ["corp\\alice"]),
    members("source-hip", ["managed"]),
    members("category", ["gambling"]),
    text("schedule", "nights"),
    members("saas-user-list", ["staff"]),
    members("saas-tenant-list", ["ours"]),
    members("from-the-future", ["x"]),
    # What nobody knows the meaning of.
    members("source-user", ["any", "corp\\alice"]),
)
NO_CONSTRAINTS = (
    "source-user",
    "category",
    "hip-profiles",
    "source-hip",
    "destination-hip",
    "source-imsi",
    "source-imei",
    "source-nw-slice",
    "saas-user-list",
    "saas-tenant-list",
)


@pytest.mark.parametrize("tag_", NO_CONSTRAINTS)
@pytest.mark.parametrize("action", ["allow", "deny"])
def test_a_constraint_that_says_any_or_nothing_restricts_nothing(tag_: str, action: str) -> None:
    for inner in (members(tag_, ["any"]), members(tag_, ["any", "any"]), tag(tag_)):
        found = translated(one("it", inner, action=action, source=["10.0.0.1"]))
        assert line(found).status is Status.EXACT
        assert line(found).calico


@pytest.mark.parametrize(
    "field", ["from_", "to", "source", "destination", "application", "service"]
)
def test_any_beside_others_leaves_out_an_allow_and_is_any_for_a_deny(field: str) -> None:
    listed = {
        "from_": ["trust", "any"],
        "to": ["any", "dmz"],
        "application": ["ssl", "any"],
        "service": ["service-http", "any"],
    }.get(field, ["10.0.0.1", "any"])
    found = translated(
        one("named", from_=["trust"], to=["dmz"], disabled="yes"),
        one("it", **{field: listed}),
        one("deny", action="deny", **{field: listed}),
    )
    assert (line(found).status, line(found).calico) == (Status.LEFT_OUT, ())
    assert line(found, "deny").status is Status.WIDENED
    assert written(found, "trust", "egress", "deny") == [says("Deny")]


REGION = Word(
    "region",
    entry("branch", members("address", ["10.7.0.0/24", "10.8.0.0-10.8.0.1"])),
)


@pytest.mark.parametrize("action", ["allow", "deny"])
@pytest.mark.parametrize("negated", ["no", "yes"])
def test_a_custom_region_is_its_addresses(action: str, negated: str) -> None:
    found = translated(REGION, one("it", source=["branch"], negate_source=negated, action=action))
    assert line(found).status is Status.EXACT
    literals = one("it", source=list(REGION_NETS), negate_source=negated, action=action)
    assert written(found, "trust", "egress") == written(translated(literals), "trust", "egress")


REGION_NETS = ("10.7.0.0/24", "10.8.0.0/31")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "'DE' is a predefined region"),
        ([address("DE", "10.0.0.1")], "'DE' is the name of a predefined region and of an address"),
        (
            [group("DE", "10.0.0.1")],
            "group 'DE' is the name of a predefined region and of an address group",
        ),
    ],
)
def test_what_a_country_is_called_is_not_sayable(words: list[Word], said: str) -> None:
    found = translated(*words, one("it", source=["DE"]), one("deny", source=["DE"], action="deny"))
    assert line(found).status is Status.LEFT_OUT
    assert said in "".join(line(found).reasons)
    assert line(found, "deny").status is Status.WIDENED
    assert written(found, "trust", "egress", "deny") == [says("Deny")]


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_constraint_leaves_out_an_allow_and_widens_a_deny(constraint: str) -> None:
    found = translated(one("it", constraint), one("deny", constraint, action="deny"))
    assert line(found).status is Status.LEFT_OUT
    assert line(found).calico == ()
    assert line(found, "deny").status is Status.WIDENED
    assert written(found, "trust", "egress", "deny") == [says("Deny")]


@pytest.mark.parametrize("accepted", ["it", "chatty"])
def test_an_unsayable_deny_can_be_dropped_by_name_or_tag(accepted: str) -> None:
    denies = one("it", members("source-user", ["bob"]), action="deny", tag=["chatty"])
    found = translated(denies, rules=RuleOptions(accept_dropped_denies=(accepted,)))
    assert written(found, "trust", "egress") == []
    assert line(found).status is Status.MORE_PERMISSIVE
    assert "rules.accept_dropped_denies" in line(found).reasons[0]


def test_a_deny_that_can_be_said_is_not_dropped() -> None:
    found = translated(one("it", action="deny"), rules=RuleOptions(accept_dropped_denies=("it",)))
    assert written(found, "trust", "egress") == [says("Deny")]
    assert line(found).status is Status.EXACT


def test_a_disabled_rule_is_called_disabled_and_is_no_rule() -> None:
    found = translated(one(disabled="yes"), one("other"))
    assert line(found).status is Status.DISABLED
    assert (line(found).disabled, line(found).calico, line(found).reasons) == (True, (), ())


@pytest.mark.parametrize(
    ("tags", "action", "denies", "status", "count"),
    [
        (["k8s"], "allow", False, Status.EXACT, 1),
        (["other"], "allow", False, Status.LEFT_OUT, 0),
        (["other"], "deny", False, Status.EXACT, 1),
        (["other"], "deny", True, Status.MORE_PERMISSIVE, 0),
        (["k8s"], "deny", True, Status.EXACT, 1),
    ],
)
def test_a_filter_leaves_out_allows(
    tags: Sequence[str], action: str, denies: bool, status: Status, count: int
) -> None:
    options = RuleOptions(filter="k8s", filter_denies=denies)
    found = translated(one(tag=tags, action=action), rules=options)
    assert line(found).status is status
    assert len(written(found, "trust", "egress")) == count


def test_a_filter_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"rules\.filter"):
        translated(one(), rules=RuleOptions(filter="k8s and"))


def target(*devices: str, negate: str = "no", tags: Sequence[str] = ()) -> str:
    inner = tag("devices", *map(entry, devices)) if devices else ""
    return tag("target", text("negate", negate), inner, members("tags", tags))


@pytest.mark.parametrize(
    ("xml", "devices", "allow", "deny"),
    [
        (target(), ("1",), Status.EXACT, Status.EXACT),
        (target("1", "2"), ("1", "2"), Status.EXACT, Status.EXACT),
        (target("1"), ("1", "2"), Status.LEFT_OUT, Status.WIDENED),
        (target("1"), (), Status.LEFT_OUT, Status.WIDENED),
        (target(tags=["site"]), ("1",), Status.LEFT_OUT, Status.WIDENED),
        (target("3", negate="yes"), ("1", "2"), Status.EXACT, Status.EXACT),
        (target("1", negate="yes"), ("1", "2"), Status.LEFT_OUT, Status.WIDENED),
    ],
)
def test_a_target_counts_as_far_as_it_is_known(
    xml: str, devices: tuple[str, ...], allow: Status, deny: Status
) -> None:
    found = translated(
        one("allow", xml), one("deny", xml, action="deny"), rules=RuleOptions(devices=devices)
    )
    assert (line(found, "allow").status, line(found, "deny").status) == (allow, deny)
    assert bool(line(found, "allow").calico) == (allow is Status.EXACT)
    assert written(found, "trust", "egress", "deny") == [says("Deny")]


@pytest.mark.parametrize("devices", [("1", "2"), ("1",)])
def test_a_target_that_is_another_firewall_s_alone_is_no_rule(devices: tuple[str, ...]) -> None:
    found = translated(
        one("allow", target("9")),
        one("deny", target("9"), action="deny"),
        rules=RuleOptions(devices=devices),
    )
    for name in ("allow", "deny"):
        assert (line(found, name).status, line(found, name).calico) == (Status.NOT_TARGETED, ())


@pytest.mark.parametrize(
    ("listed", "named", "status"),
    [
        # The firewalls of another device group say nothing of this one.
        ("1", ("2",), Status.WIDENED),
        ("1", ("1", "2"), Status.EXACT),
        ("12", ("1", "2"), Status.WIDENED),
        ("2", ("1",), Status.WIDENED),
        ("2", ("2", "1"), Status.NOT_TARGETED),
        # A configuration that lists no firewalls leaves the setting as it is.
        ("", ("1",), Status.EXACT),
        ("", ("2",), Status.NOT_TARGETED),
    ],
)
def test_of_the_firewalls_in_the_settings_those_of_the_device_group_count(
    listed: str, named: tuple[str, ...], status: Status
) -> None:
    here = Word("devices", "".join(map(entry, listed)))
    found = translated(
        one("deny", target("1"), action="deny"), here, rules=RuleOptions(devices=named)
    )
    assert line(found, "deny").status is status


def test_an_allow_loses_what_it_shares_with_wildcards() -> None:
    found = translated(
        one(destination=["10.1.0.0/30"]),
        one("below", destination=["wild"], action="deny"),
    )
    # 10.1.0.0/0.0.0.5 is 10.1.0.0, .1, .4 and .5.
    (kept,) = written(found, "trust", "egress")
    assert kept["destination"] == {"nets": ["10.1.0.2/31"]}
    assert line(found).status is Status.NARROWED


# --- traffic --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        (["service-http"], [("TCP", {"ports": [80, 8080]})]),
        (["service-https"], [("TCP", {"ports": [443]})]),
        (["all-tcp"], [("TCP", {})]),
        (["web-udp"], [("UDP", {"ports": ["8000:8080"]})]),
        (["https", "web-udp"], [("TCP", {"ports": [443]}), ("UDP", {"ports": ["8000:8080"]})]),
        (["zero"], [("TCP", {"notPorts": ["1:65535"]})]),
        (["zero-on"], [("TCP", {"ports": ["1:100"]}), ("TCP", {"notPorts": ["1:65535"]})]),
    ],
)
def test_services(services: Sequence[str], expected: Sequence[tuple[str, Document]]) -> None:
    found = translated(
        service("all-tcp", "0-65535"),
        service("web-udp", "8000-8080", "udp"),
        service("zero", "0"),
        service("zero-on", "0-100"),
        one(service=services, action="deny"),
    )
    egress = written(found, "trust", "egress")
    assert [(each["protocol"], each["destination"]) for each in egress] == expected


def test_source_ports_stand_at_the_source() -> None:
    found = translated(service("from-high", "443", "tcp", "1024-65535"), one(service=["from-high"]))
    expected = says("Pass", {"ports": ["1024:65535"]}, {"ports": [443]}, protocol="TCP")
    assert written(found, "trust", "egress") == [expected]


@pytest.mark.parametrize(("count", "sizes"), [(50, [50]), (51, [50, 1]), (120, [50, 50, 20])])
def test_more_than_50_ports_are_several_rules(count: int, sizes: Sequence[int]) -> None:
    listed = ",".join(str(1000 + 2 * number) for number in range(count))
    found = translated(service("many", listed), one(service=["many"], action="deny"))
    egress = written(found, "trust", "egress")
    assert [len(each["destination"]["ports"]) for each in egress] == sizes
    assert {each["action"] for each in egress} == {"Deny"}


def test_ping_is_icmp_of_a_type_and_a_family() -> None:
    found = translated(one(application=["ping"], service=["application-default"]))
    expected = says(protocol="ICMP", ipVersion=4, icmp={"type": 8})
    assert written(found, "trust", "egress") == [expected]


def test_icmp_to_addresses_of_the_other_family_is_no_rule() -> None:
    found = translated(
        one(application=["ping"], service=["application-default"], destination=["six"])
    )
    assert written(found, "trust", "egress") == []


# --- actions and ends -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["deny", "drop", "reset-client", "reset-server", "reset-both"])
def test_everything_but_allow_denies(action: str) -> None:
    assert written(translated(one(action=action)), "trust", "egress") == [says("Deny")]


@pytest.mark.parametrize("allow_as", ["Pass", "Allow"])
def test_an_allow_passes_or_allows(allow_as: Literal["Pass", "Allow"]) -> None:
    found = translated(one(), rules=RuleOptions(allow_as=allow_as))
    assert written(found, "trust", "egress") == [says(allow_as)]
    within = written(found, "trust", "egress", "intrazone-default")
    assert {each["action"] for each in within} == {allow_as}
    (pods,) = written(found, "trust", "egress", "unzoned-pods")
    assert pods["action"] == "Pass"


def test_a_chain_ends_in_the_defaults() -> None:
    found = translated(one("it", from_=["trust"], to=["dmz"]))
    policy = found.manifests["GlobalNetworkPolicy", "fw.pan-zone-trust"].document()
    ends = [
        (
            each["metadata"]["annotations"]["firewall.tigera.io/rule"],
            each["action"],
            each["destination"],
        )
        for each in policy["spec"]["egress"][1:]
    ]
    assert ends == [
        ("intrazone-default", "Pass", pods_of("trust")),
        ("intrazone-default", "Pass", no_pods("10.1.0.0/16")),
        ("interzone-default", "Deny", pods_of("dmz")),
        ("interzone-default", "Deny", no_pods("224.0.0.0/4")),
        ("interzone-default", "Deny", no_pods("ff00::/8")),
        ("unzoned-pods", "Pass", {"selector": PODS}),
        ("unknown-addresses", "Deny", {}),
    ]


def test_the_defaults_can_be_overridden() -> None:
    found = translated(
        one(to=["dmz"]),
        default_rule("intrazone-default", text("action", "deny")),
        default_rule("interzone-default", text("action", "allow")),
    )
    within = written(found, "trust", "egress", "intrazone-default")
    between = written(found, "trust", "egress", "interzone-default")
    assert {each["action"] for each in within} == {"Deny"}
    assert {each["action"] for each in between} == {"Pass"}


@pytest.mark.parametrize(
    ("unzoned", "unknown", "actions"),
    [("pass", "deny", ("Pass", "Deny")), ("deny", "pass", ("Deny", "Pass"))],
)
def test_what_is_in_no_zone(
    unzoned: Literal["pass", "deny"], unknown: Literal["deny", "pass"], actions: tuple[str, str]
) -> None:
    found = translated(one(), unzoned_pods=unzoned, unknown_addresses=unknown)
    for direction in ("egress", "ingress"):
        (pods,) = written(found, "trust", direction, "unzoned-pods")
        (rest,) = written(found, "trust", direction, "unknown-addresses")
        assert (pods["action"], rest["action"]) == actions


def test_the_interzone_default_denies_where_a_zone_of_unknown_networks_may_be() -> None:
    found = translated(one(from_=["trust", "dmz"], to=["untrust"]))
    between = written(found, "trust", "egress", "interzone-default")
    nets = [each["destination"].get("notNets") for each in between]
    # All but the known: the networks of trust (multicast is another zone anyway).
    assert nets == [None, ["10.1.0.0/16"], None]


@pytest.mark.parametrize("mode", ["enforced", "staged"])
def test_a_mode_is_a_kind_and_nothing_else(mode: Literal["enforced", "staged"]) -> None:
    found = translated(one(), mode=mode)
    kinds = {kind for kind, _ in found.manifests if kind.endswith("Policy")}
    kind = "StagedGlobalNetworkPolicy" if mode == "staged" else "GlobalNetworkPolicy"
    assert kinds == {kind}
    assert written(found, "trust", "egress", kind=kind) == [says("Pass")]


def test_the_tier_passes_what_no_chain_speaks_of() -> None:
    tier = translated(one()).manifests["Tier", "fw"].document()
    assert tier["spec"] == {"order": 100, "defaultAction": "Pass"}


def test_the_tier_says_which_device_groups_it_is_made_from() -> None:
    annotations = translated(one()).manifests["Tier", "fw"].document()["metadata"]["annotations"]
    assert annotations == {"zonebridge.io/device-groups": '["dg"]'}


# --- annotations and the report -------------------------------------------------------------------


def test_a_set_in_a_zone_s_networks_never_matches_a_pod_whatever_it_will_hold() -> None:
    """It may gain a pod's address before the policy is written anew."""
    found = translated(
        one(to=["dmz"], destination=["web"]),
        definitions={"dmz": ZoneDefinition(networks=("10.0.0.0/8",))},
        pod_cidrs=["10.128.0.0/9"],
    )
    (networks,) = (
        rule["destination"]
        for rule in found.manifests["GlobalNetworkPolicy", "fw.pan-zone-trust"].document()["spec"][
            "egress"
        ]
        if rule["destination"].get("namespaceSelector") == "global()"
        and rule["metadata"]["annotations"]["firewall.tigera.io/rule"] == "it"
    )
    assert networks["nets"] == ["10.0.0.0/9"]


def test_a_rule_carries_the_firewall_s_side_of_it() -> None:
    found = translated(one(source=["web-1", "far"], destination=["web"], negate_destination="yes"))
    policy = found.manifests["GlobalNetworkPolicy", "fw.pan-zone-trust"].document()
    assert policy["spec"]["egress"][0]["metadata"]["annotations"] == {
        "firewall.tigera.io/rule": "it",
        "firewall.tigera.io/rank": "0",
        "firewall.tigera.io/source": "far,web-1",
        "firewall.tigera.io/destination": "not web",
        "firewall.tigera.io/device-group": "dg",
    }
    ranks = [
        each["metadata"]["annotations"]["firewall.tigera.io/rank"]
        for each in policy["spec"]["egress"]
    ]
    assert ranks == [str(number) for number in range(len(ranks))]


def test_the_report_names_every_place_that_holds_the_rule() -> None:
    found = translated(
        one("first", to=["dmz"], service=["https"]),
        one("it", to=["any"], source=["web"], destination=["web", "10.3.0.1"]),
        one("last", from_=["dmz"], to=["trust"]),
    )
    for name in ("first", "it", "last"):
        held = {
            f"{policy}[{side} {number}]"
            for (kind, policy), manifest in found.manifests.items()
            if kind == "GlobalNetworkPolicy"
            for side in ("egress", "ingress")
            for number, each in enumerate(manifest.document()["spec"].get(side, ()))
            if each.get("metadata", {}).get("annotations", {}).get("firewall.tigera.io/rule")
            == name
        }
        assert held
        assert set(line(found, name).calico) == held
        assert len(line(found, name).calico) == len(held)


def test_every_rule_has_one_line_in_the_order_of_evaluation() -> None:
    pre, post = one("pre"), rule("post", rulebase="post", from_=["trust"], service=["any"])
    lines = translated(post, pre, one("off", disabled="yes")).report.rules
    assert [(each.rulebase, each.position, each.name) for each in lines] == [
        ("pre", 1, "pre"),
        ("pre", 2, "off"),
        ("post", 1, "post"),
    ]


def test_a_mark_for_nat_changes_nothing_but_the_report() -> None:
    # A group that only the NAT rule names gets no set.
    translating = nat_rule("shop", members("destination", ["far"]), to_server("10.1.0.1"))
    word = one(destination=["web-2"])
    plain, marked = translated(word), translated(translating, word)
    assert marked.manifests == plain.manifests
    assert line(marked) == replace(line(plain), nat=("shop",))


def test_the_worst_loss_gives_the_status_and_all_reasons_stand() -> None:
    found = translated(
        one(destination=["open"], to=["untrust"], application=["ssl"], service=["any"])
    )
    assert line(found).status is Status.MORE_PERMISSIVE
    assert len(line(found).reasons) >= 3


# --- names ----------------------------------------------------------------------------------------


def test_a_name_that_kubernetes_does_not_take_is_mapped() -> None:
    definitions = {"Untrust Zone": ZoneDefinition(networks=())}
    found = translated(
        group("Web Servers", "web-1"),
        one(from_=["Untrust Zone"], destination=["Web Servers"]),
        definitions=definitions,
    )
    policy = found.manifests["GlobalNetworkPolicy", "fw.pan-zone-untrust-zone-220c5f21"].document()
    value = "firewall.tigera.io/zone == 'untrust-zone-220c5f21'"
    assert policy["spec"]["selector"] == f"{PODS} && ({value})"
    assert policy["metadata"]["annotations"] == {"zonebridge.io/chain": "Untrust Zone"}
    (only,) = written(found, "Untrust Zone", "egress")
    mapped = names.mapped("Web Servers")
    assert only["destination"] == of_group(mapped)
    document = found.manifests["GlobalNetworkSet", f"pan.{mapped}"].document()
    assert document["metadata"]["labels"]["firewall.tigera.io/address-group"] == mapped
    assert document["metadata"]["annotations"]["firewall.tigera.io/name"] == "Web Servers"


def test_two_zones_never_share_a_label_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "mapped", lambda original: "same-01234567")
    with pytest.raises((UsageError, SourceError), match="same-01234567"):
        translated(one(from_=["Zone A", "Zone B"]), definitions={})

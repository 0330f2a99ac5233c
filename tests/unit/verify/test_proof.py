"""Whole proofs: definitions of every shape, and what cannot be decided."""

from collections.abc import Iterable
from typing import Any

import pytest

from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import AddressSet, network
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from sync.verify.profiles import DeviceGroup
from sync.verify.proof import Proof, prove
from sync.verify.settings import Settings
from tests.translation import translate
from tests.words import Word, entry, members, rule, seen_by, tag, text

LABEL = "firewall.tigera.io/zone"
RULES = (
    rule("r1", from_=["web"], to=["db"], service=["service-https"]),
    rule("r2", from_=["k8s", "web"], to=["any"], destination=["10.0.0.0/8"], action="deny"),
    rule("r3", from_=["any"], to=["k8s"]),
    rule("r4", rule_type="interzone", from_=["web"], to=["any"]),
    rule("r5", rule_type="intrazone", from_=["any"], to=["any"]),
)
OTHERS = (rule("x", from_=["other"], to=["web"]),)
ESSENTIALS = (
    Essential("egress", "all()", "k8s-app == 'kube-dns'", (), ("53/udp",)),
    Essential("ingress", f"has({LABEL})", "", ("10.1.0.0/16",), ()),
)
Documents = list[dict[str, Any]]


def targets(*groups: Iterable[Word]) -> list[Target]:
    return [
        Target("main", seen_by(f"dg{at}", {f"dg{at}": [*words]}), f"fw{at}", at, "staged", NOTHING)
        for at, words in enumerate(groups, 1)
    ]


def written(of: list[Target], zones: ZoneOptions, pods: AddressSet | None = None) -> Documents:
    options = Options((), True, (), zones=zones, pod_cidrs=pods)
    return [each.document() for each in translate("c", of, options, {}).manifests.values()]


def proof(
    of: list[Target], documents: Documents, zones: ZoneOptions, pods: AddressSet | None = None
) -> Proof:
    groups = [DeviceGroup(each.source, each.device_group, NOTHING, each.tier) for each in of]
    return prove(groups, documents, Settings(zones=zones, pods=pods))


@pytest.mark.parametrize("label", [LABEL, "pcns.firewall-zone"])
@pytest.mark.parametrize(
    "definitions",
    [
        {"k8s": ZoneDefinition("all()")},
        {"k8s": ZoneDefinition("", "all()")},
        {"db": ZoneDefinition("app == 'db'"), "k8s": ZoneDefinition("all()")},
        {"k8s": ZoneDefinition(f"has({LABEL})")},
        {"k8s": ZoneDefinition(f"!has({LABEL})")},
        {"web": ZoneDefinition(f"{LABEL} == 'web'")},
        {"web": ZoneDefinition(f"{LABEL} in {{'web', 'www'}}")},
        {"web": ZoneDefinition("app contains 'w'"), "db": ZoneDefinition("", "t starts with 'd'")},
        {"web": ZoneDefinition("projectcalico.org/namespace in {'a', 'b'}")},
        {"web": ZoneDefinition("app == 'x' && has(z)", "team == 'a' && env != 'prod'")},
        {"web": ZoneDefinition("app == 'x'"), "db": ZoneDefinition("app == 'x' && tier == 'y'")},
        {"web": ZoneDefinition("app == 'x'"), "db": ZoneDefinition("app != 'x'")},
        {"web": ZoneDefinition("app == 'x'"), "db": ZoneDefinition("app == 'x'")},
    ],
)
def test_definitions_of_every_shape_are_proven(
    definitions: dict[str, ZoneDefinition], label: str
) -> None:
    of = targets(RULES, OTHERS)
    for essentials in ((), ESSENTIALS):
        zones = ZoneOptions(label=label, definitions=definitions, essentials=essentials)
        for pods in (None, network("100.64.0.0/10")):
            found = proof(of, written(of, zones, pods), zones, pods)
            assert found.holds, found
            assert found.lists > 0


def test_a_label_that_no_zone_says_leaves_a_difference_undecided() -> None:
    of, zones = targets(RULES), ZoneOptions()
    documents = written(of, zones)
    chain = next(each for each in documents if each["metadata"]["name"] == "fw1.pan-zone-web")
    (first, *_) = chain["spec"]["egress"]
    first["destination"]["selector"] += " && has(vip)"
    found = proof(of, documents, zones)
    # What it allows at most is what the firewall allows, so it is proven all the same.
    assert found.holds
    first["destination"]["selector"] = "projectcalico.org/orchestrator == 'k8s' && has(vip)"
    found = proof(of, documents, zones)
    assert (found.allowed, found.denied) == ((), ())
    (undecided,) = found.undecided
    assert undecided == (
        "tier fw1: egress of a pod of zone web: selectors use labels that no zone has"
    )


def test_a_policy_that_may_select_pods_before_all_else_leaves_them_undecided() -> None:
    of, zones = targets(RULES), ZoneOptions()
    documents = written(of, zones)
    chain = next(each for each in documents if each["metadata"]["name"] == "fw1.pan-zone-web")
    strange = {**chain, "metadata": {**chain["metadata"], "name": "fw1.strange"}}
    strange["spec"] = {**chain["spec"], "selector": "has(vip)", "order": -5}
    found = proof(of, [*documents, strange], zones)
    assert found.allowed == found.denied == ()
    assert any("fw1.strange[egress] cannot be judged" in each for each in found.undecided)


def test_allow_for_good_is_undecided_where_it_would_skip_a_later_tier() -> None:
    of, zones = targets(RULES, OTHERS), ZoneOptions()
    documents = written(of, zones)
    for name, holds in (("fw2.pan-zone-web", True), ("fw1.pan-zone-web", False)):
        chain = next(each for each in documents if each["metadata"]["name"] == name)
        for each in chain["spec"]["egress"]:
            each["action"] = each["action"].replace("Pass", "Allow")
        assert proof(of, documents, zones).holds is holds


def test_the_flow_that_is_shown_of_a_rule_is_one_that_no_earlier_rule_decides() -> None:
    app = {"from_": ["web"], "to": ["db"], "application": ["ssl"], "service": ["service-https"]}
    of = targets(
        [
            rule(
                "no",
                from_=["web"],
                to=["db"],
                source=["10.0.0.0/8"],
                service=["any"],
                action="deny",
            ),
            rule("tls", source=["10.0.0.0/7"], action="allow", **app),
            rule("shadowed", source=["10.1.0.0/16"], action="allow", **app),
        ]
    )
    zones = ZoneOptions()
    groups = [DeviceGroup(each.source, each.device_group, NOTHING, each.tier) for each in of]
    documents = written(of, zones)
    found = prove(groups, documents, Settings(zones=zones), samples=True).samples
    ((place, flow),) = found.items()
    assert place[-1] == 2
    assert flow.local_address[1] >> 24 == 11 or flow.far_address[1] >> 24 == 11
    assert not prove(groups, documents, Settings(zones=zones)).samples


def test_pods_labelled_with_a_zone_that_no_device_group_names_are_denied_everything() -> None:
    of = targets(RULES)
    zones = ZoneOptions(definitions={"lab": ZoneDefinition(networks=("10.9.0.0/16",))})
    documents = written(of, zones)
    assert proof(of, documents, zones).holds
    last = next(each for each in documents if each["metadata"]["name"] == "fw1.pan-unknown-zone")
    last["spec"]["selector"] += f" && {LABEL} != 'lab'"
    (egress, ingress) = proof(of, documents, zones).allowed
    assert {egress.flow.direction, ingress.flow.direction} == {"egress", "ingress"}
    assert egress.flow.local == "a pod of zone lab"
    assert egress.rule == "a zone that no device group names"


APPLICATION_RULES = {
    "the bundled table": rule("d", from_=["web"], application=["bfd"], action="deny"),
    "among known ones": rule("d", from_=["web"], application=["mixed"], action="deny"),
    "ICMP types": rule("d", from_=["web"], application=["stamps"], action="deny"),
}
OWN = (
    Word(
        "application",
        entry("stamps", tag("default", tag("ident-by-icmp-type", text("type", "13,14"))), ""),
    ),
    Word("application-group", entry("mixed", members("members", ["stamps", "websocket"]))),
)


@pytest.mark.parametrize(
    ("name", "rests_on_the_table"),
    [("the bundled table", True), ("among known ones", True), ("ICMP types", False)],
)
def test_a_deny_by_the_bundled_table_is_proven_only_where_that_is_accepted(
    name: str, *, rests_on_the_table: bool
) -> None:
    allow = rule("a", from_=["web"], to=["db"], service=["any"])
    of = targets((*OWN, APPLICATION_RULES[name], allow))
    zones = ZoneOptions(definitions={each: ZoneDefinition(networks=()) for each in ("web", "db")})
    groups = [DeviceGroup(each.source, each.device_group, NOTHING, each.tier) for each in of]

    def holds(written_with: RuleOptions, proven_with: RuleOptions) -> bool:
        options = Options((), True, (), zones=zones, rules=written_with)
        manifests = translate("c", of, options, {}).manifests.values()
        documents = [each.document() for each in manifests]
        return prove(groups, documents, Settings(zones=zones, rules=proven_with)).holds

    widened, by_ports = RuleOptions(), RuleOptions(deny_applications="ports")
    assert holds(widened, widened)
    assert holds(by_ports, by_ports)
    assert holds(by_ports, widened) is not rests_on_the_table

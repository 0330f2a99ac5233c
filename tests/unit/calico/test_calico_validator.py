"""What may not be written, each with the place where it is said."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from sync.calico.manifest import Manifest
from sync.calico.objects import (
    EntityRule,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    Icmp,
    Rule,
    StagedGlobalNetworkPolicy,
    Tier,
)
from sync.calico.validator import BUILT_IN_TIERS, Violation, validate

Document = dict[str, Any]
Edit = Callable[[Document], object]

TIER = Tier("fw", 101)
SET = GlobalNetworkSet(
    "pan.web",
    ("10.0.0.0/8", "192.168.0.0/24", "2001:db8::/32"),
    labels=(("firewall.tigera.io/address-group", "web"), ("firewall.tigera.io/dmz", "")),
    annotations=(("firewall.tigera.io/name", "Web servers, Zürich"),),
)
WEB = Rule(
    "Pass",
    "TCP",
    4,
    source=EntityRule(nets=("10.0.0.0/8", "10.0.0.0/16"), not_nets=("10.1.0.0/16",)),
    destination=EntityRule(
        selector="firewall.tigera.io/address-group == 'web'",
        namespace_selector="global()",
        ports=(443, "8000:8080"),
        not_ports=(8001,),
    ),
    annotations=(("firewall.tigera.io/rule", "Web, Zürich"),),
)
PING = Rule("Deny", "ICMPv6", 6, EntityRule(not_selector="has(app)"), icmp=Icmp(128, 0))
POLICY = GlobalNetworkPolicy(
    "fw.pan-zone-web",
    "fw",
    10,
    "projectcalico.org/orchestrator == 'k8s' && zone == 'web'",
    ingress=(WEB,),
    egress=(PING, Rule("Allow", 47), Rule("Deny")),
)
STAGED = StagedGlobalNetworkPolicy("fw.pan-zone-web", "fw", 10, "all()", ("Egress",))


def violations(document: object) -> tuple[Violation, ...]:
    return validate(Manifest("", "", orjson.dumps(document), ""))


def paths_after(edit: Edit, document: Document) -> list[str]:
    edit(document)
    return [violation.path for violation in violations(document)]


def put(path: str, value: object) -> Edit:
    """An edit that sets a place such as `spec/ingress/0/action`."""

    def edit(document: Document) -> None:
        *parents, last = path.split("/")
        place: Any = document
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place[key]
        place[int(last) if isinstance(place, list) else last] = value

    return edit


def drop(path: str) -> Edit:
    def edit(document: Document) -> None:
        *parents, last = path.split("/")
        place: Any = document
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place[key]
        del place[last]

    return edit


@pytest.mark.parametrize(
    "written", [TIER, SET, GlobalNetworkSet("pan.empty", ()), POLICY, STAGED], ids=repr
)
def test_what_we_write_passes(
    written: Tier | GlobalNetworkSet | GlobalNetworkPolicy | StagedGlobalNetworkPolicy,
) -> None:
    assert validate(written.manifest()) == ()


def test_a_violation_reads_as_place_and_reason() -> None:
    found = violations(SET.manifest().document() | {"apiVersion": "projectcalico.org/v1"})
    assert [str(violation) for violation in found] == ["apiVersion: must be projectcalico.org/v3"]


@pytest.mark.parametrize("document", [None, [], "x", {}, {"kind": []}, {"kind": "NetworkPolicy"}])
def test_what_is_no_object_of_ours_is_refused(document: object) -> None:
    assert violations(document)


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (put("status", {}), "status"),
        (put("apiVersion", "crd.projectcalico.org/v1"), "apiVersion"),
        (drop("apiVersion"), "apiVersion"),
        (drop("spec"), "spec"),
        (put("spec", []), "spec"),
        (put("spec", None), "spec"),
        (put("metadata", "x"), "metadata"),
        (drop("metadata/name"), "metadata.name"),
        (put("metadata/name", 1), "metadata.name"),
        (put("metadata/name", "Pan.web"), "metadata.name"),
        (put("metadata/name", "pan..web"), "metadata.name"),
        (put("metadata/name", "pan.web\n"), "metadata.name"),
        (put("metadata/name", "a." * 126 + "ab"), "metadata.name"),
        (put("metadata/name", "pan." + "a" * 64), "metadata.name"),
        (put("metadata/namespace", "default"), "metadata.namespace"),
        (put("metadata/resourceVersion", "1"), "metadata.resourceVersion"),
        (put("metadata/labels", []), "metadata.labels"),
        (put("metadata/labels", {"a b": "x"}), "metadata.labels[a b]"),
        (put("metadata/labels", {"a": "Web servers"}), "metadata.labels[a]"),
        (put("metadata/labels", {"a": "x" * 64}), "metadata.labels[a]"),
        (put("metadata/labels", {"a": 1}), "metadata.labels[a]"),
        (put("metadata/labels", {"a": None}), "metadata.labels[a]"),
        (
            put("metadata/labels", {"projectcalico.org/namespace": "x"}),
            "metadata.labels[projectcalico.org/namespace]",
        ),
        (
            put("metadata/labels", {"projectcalico.org/orchestrator": "k8s"}),
            "metadata.labels[projectcalico.org/orchestrator]",
        ),
        (put("metadata/annotations", {"a/b/c": "x"}), "metadata.annotations[a/b/c]"),
        (put("metadata/annotations", {"a": True}), "metadata.annotations[a]"),
        (put("metadata/annotations", {"a": "ü" * 128 * 1024}), "metadata.annotations"),
        (put("spec/nets", []), "spec.nets"),
        (put("spec/nets", None), "spec.nets"),
        (put("spec/nets", "10.0.0.0/8"), "spec.nets"),
        (put("spec/nets", {"0": "10.0.0.0/8"}), "spec.nets"),
        (put("spec/nets/0", 10), "spec.nets[0]"),
        (put("spec/nets/0", "10.0.0.1"), "spec.nets[0]"),
        (put("spec/nets/0", "10.0.0.1/8"), "spec.nets[0]"),
        (put("spec/nets/0", "10.0.0.0-10.0.0.9"), "spec.nets[0]"),
        (put("spec/nets/2", "::ffff:a00:0/104"), "spec.nets[2]"),
        (put("spec/nets/1", "10.0.0.0/8"), "spec.nets[1]"),
        (put("spec/nets/1", "9.0.0.0/8"), "spec.nets[1]"),
        (put("spec/allowedEgressDomains", ["example.com"]), "spec.allowedEgressDomains"),
    ],
)
def test_a_set_is_refused(edit: Edit, path: str) -> None:
    assert path in paths_after(edit, SET.manifest().document())


def test_a_set_holds_at_most_ten_thousand_nets_and_half_a_mebibyte() -> None:
    nets = tuple(f"10.{i >> 8}.{i & 255}.0/24" for i in range(10_001))
    assert validate(GlobalNetworkSet("pan.web", nets[:-1]).manifest()) == ()
    [many] = validate(GlobalNetworkSet("pan.web", nets).manifest())
    assert (many.path, many.message) == (
        "spec.nets",
        "has 10,001 members; at most 10,000 may be written",
    )
    note = (("firewall.tigera.io/errors", "x" * 100_000),)
    long = tuple(f"2001:db8:aaaa:aaaa:aaaa:aaaa:aaaa:{i:x}/128" for i in range(0x1000, 0x3700))
    [large] = validate(GlobalNetworkSet("pan.web", long, annotations=note).manifest())
    assert "524,288" in large.message


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (put("metadata/name", "fw.x"), "metadata.name"),
        (put("metadata/name", "a" * 64), "metadata.name"),
        (put("spec/order", 1.5), "spec.order"),
        (put("spec/order", 1.0), "spec.order"),
        (put("spec/order", True), "spec.order"),
        (put("spec/order", "1"), "spec.order"),
        (put("spec/order", 2**53), "spec.order"),
        (put("spec/order", -(2**53)), "spec.order"),
        (drop("spec/order"), "spec.order"),
        (put("spec/defaultAction", "Allow"), "spec.defaultAction"),
        (put("spec/defaultAction", []), "spec.defaultAction"),
        (drop("spec/defaultAction"), "spec.defaultAction"),
        (put("spec/other", 1), "spec.other"),
        *((put("metadata/name", name), "metadata.name") for name in BUILT_IN_TIERS),
    ],
)
def test_a_tier_is_refused(edit: Edit, path: str) -> None:
    assert path in paths_after(edit, TIER.manifest().document())


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (put("metadata/name", "pan-zone-web"), "metadata.name"),
        (put("metadata/name", "other.pan-zone-web"), "metadata.name"),
        (put("metadata/name", "fw.pan.web"), "metadata.name"),
        (put("metadata/name", "fw."), "metadata.name"),
        (put("metadata/name", "fw.Web"), "metadata.name"),
        (put("metadata/name", "fw." + "a" * 251), "metadata.name"),
        (drop("metadata/labels"), "metadata.labels[projectcalico.org/tier]"),
        (
            put("metadata/labels", {"projectcalico.org/tier": "other"}),
            "metadata.labels[projectcalico.org/tier]",
        ),
        (drop("spec/tier"), "spec.tier"),
        (put("spec/tier", "default"), "spec.tier"),
        (put("spec/tier", []), "spec.tier"),
        (put("spec/order", 10.5), "spec.order"),
        (drop("spec/selector"), "spec.selector"),
        (put("spec/selector", ""), "spec.selector"),
        (put("spec/selector", ["all()"]), "spec.selector"),
        (put("spec/selector", "app = 'web'"), "spec.selector"),
        (put("spec/selector", "global()"), "spec.selector"),
        (put("spec/selector", "app == 'global('"), "spec.selector"),
        (put("spec/selector", f"app == '{'ü' * 510}'"), "spec.selector"),
        (drop("spec/types"), "spec.types"),
        (put("spec/types", []), "spec.types"),
        (put("spec/types", ["Ingress", "Ingress"]), "spec.types[1]"),
        (put("spec/types", ["Ingress", "egress"]), "spec.types[1]"),
        (put("spec/types", ["Ingress", []]), "spec.types[1]"),
        (put("spec/types", ["Ingress"]), "spec.egress"),
        (put("spec/types", ["Egress"]), "spec.ingress"),
        (put("spec/ingress", []), "spec.ingress"),
        (put("spec/ingress", {}), "spec.ingress"),
        (put("spec/stagedAction", "Set"), "spec.stagedAction"),
        (put("spec/doNotTrack", False), "spec.doNotTrack"),
        (put("spec/namespaceSelector", "all()"), "spec.namespaceSelector"),
    ],
)
def test_a_policy_is_refused(edit: Edit, path: str) -> None:
    assert path in paths_after(edit, POLICY.manifest().document())


@pytest.mark.parametrize("action", [None, "Delete", "Learn", "Ignore", "set"])
def test_a_staged_policy_is_only_ever_set(action: str | None) -> None:
    assert "spec.stagedAction" in paths_after(
        put("spec/stagedAction", action), STAGED.manifest().document()
    )
    assert "spec.stagedAction" in paths_after(
        drop("spec/stagedAction"), STAGED.manifest().document()
    )


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (put("spec/ingress/0", "x"), ""),
        (put("spec/ingress/0/http", {}), ".http"),
        (put("spec/ingress/0/notProtocol", "UDP"), ".notProtocol"),
        (drop("spec/ingress/0/action"), ".action"),
        (put("spec/ingress/0/action", "Log"), ".action"),
        (put("spec/ingress/0/action", "allow"), ".action"),
        (put("spec/ingress/0/action", ["Allow"]), ".action"),
        (put("spec/ingress/0/metadata", {"labels": {}}), ".metadata.labels"),
        (put("spec/ingress/0/metadata/annotations", {"a b": ""}), ".metadata.annotations[a b]"),
        (put("spec/ingress/0/metadata/annotations", {"a": 1}), ".metadata.annotations[a]"),
        (put("spec/ingress/0/protocol", "tcp"), ".protocol"),
        (put("spec/ingress/0/protocol", "6"), ".protocol"),
        (put("spec/ingress/0/protocol", 0), ".protocol"),
        (put("spec/ingress/0/protocol", 256), ".protocol"),
        (put("spec/ingress/0/protocol", 6.0), ".protocol"),
        (put("spec/ingress/0/protocol", True), ".protocol"),
        (put("spec/ingress/0/protocol", ["TCP"]), ".protocol"),
        (put("spec/ingress/0/protocol", "UDPLite"), ".destination.ports"),
        (drop("spec/ingress/0/protocol"), ".destination.notPorts"),
        (put("spec/ingress/0/ipVersion", 6), ".ipVersion"),
        (put("spec/ingress/0/ipVersion", 5), ".ipVersion"),
        (put("spec/ingress/0/ipVersion", 4.0), ".ipVersion"),
        (put("spec/ingress/0/ipVersion", "4"), ".ipVersion"),
        (drop("spec/ingress/0/ipVersion"), ".ipVersion"),
        (put("spec/ingress/0/destination/notNets", ["2001:db8::/32"]), ""),
        (put("spec/ingress/0/source/nets/1", "10.0.0.1/8"), ".source.nets[1]"),
        (put("spec/ingress/0/source/nets/1", "10.0.0.1"), ".source.nets[1]"),
        (put("spec/ingress/0/source/nets/1", "010.0.0.0/8"), ".source.nets[1]"),
        (put("spec/ingress/0/source/nets/1", "::ffff:0:0/96"), ".source.nets[1]"),
        (put("spec/ingress/0/source/nets/1", 8), ".source.nets[1]"),
        (put("spec/ingress/0/source/nets/1", "10.0.0.0/8"), ".source.nets[1]"),
        (put("spec/ingress/0/source/nets", []), ".source.nets"),
        (put("spec/ingress/0/source/notNets", []), ".source.notNets"),
        (put("spec/ingress/0/source/notNets", ["0.0.0.0/0"]), ".source.notNets[0]"),
        (put("spec/ingress/0/source/services", {"name": "x"}), ".source.services"),
        (put("spec/ingress/0/source", []), ".source"),
        (put("spec/ingress/0/source", None), ".source"),
        (put("spec/ingress/0/destination/ports", []), ".destination.ports"),
        (put("spec/ingress/0/destination/notPorts", []), ".destination.notPorts"),
        *(
            (put("spec/ingress/0/destination/ports/1", port), ".destination.ports[1]")
            for port in (
                0,
                65536,
                80.0,
                True,
                None,
                "80",
                "http",
                "80-90",
                "90:80",
                "0:80",
                "80:65536",
                "080:90",
                "80:90:100",
                "80:",
                " 80:90",
                "80:9९",
            )
        ),
        (put("spec/ingress/0/destination/selector", ""), ".destination.selector"),
        (put("spec/ingress/0/destination/selector", "app =="), ".destination.selector"),
        (put("spec/ingress/0/destination/selector", "global()"), ".destination.selector"),
        (put("spec/ingress/0/destination/notSelector", "all()"), ".destination.notSelector"),
        (drop("spec/ingress/0/destination/selector"), ".destination.namespaceSelector"),
        (
            put("spec/ingress/0/destination/namespaceSelector", "global( )"),
            ".destination.namespaceSelector",
        ),
        (
            put("spec/ingress/0/destination/namespaceSelector", "global() || has(a)"),
            ".destination.namespaceSelector",
        ),
        (
            put(
                "spec/ingress/0/destination", {"namespaceSelector": "global()", "notSelector": "a"}
            ),
            ".destination.namespaceSelector",
        ),
        (put("spec/ingress/0/source/notSelector", "global()"), ".source.notSelector"),
        (put("spec/ingress/0/icmp", {"type": 8}), ".icmp"),
    ],
)
def test_a_rule_is_refused(edit: Edit, path: str) -> None:
    assert f"spec.ingress[0]{path}" in paths_after(edit, POLICY.manifest().document())


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (put("spec/egress/0/icmp", {}), ".icmp.type"),
        (put("spec/egress/0/icmp", {"code": 0}), ".icmp.type"),
        (put("spec/egress/0/icmp/type", 255), ".icmp.type"),
        (put("spec/egress/0/icmp/type", -1), ".icmp.type"),
        (put("spec/egress/0/icmp/type", False), ".icmp.type"),
        (put("spec/egress/0/icmp/code", 256), ".icmp.code"),
        (put("spec/egress/0/icmp/name", "ping"), ".icmp.name"),
        (put("spec/egress/0/protocol", "ICMP"), ".ipVersion"),
        (put("spec/egress/0/protocol", 1), ".ipVersion"),
        (put("spec/egress/0/protocol", 58), ".icmp"),
        (put("spec/egress/0/protocol", "TCP"), ".icmp"),
        (put("spec/egress/0/ipVersion", 4), ".ipVersion"),
        (drop("spec/egress/0/ipVersion"), ".icmp"),
        (drop("spec/egress/0/protocol"), ".icmp"),
    ],
)
def test_an_icmp_rule_is_refused(edit: Edit, path: str) -> None:
    assert f"spec.egress[0]{path}" in paths_after(edit, POLICY.manifest().document())


def sixteens(count: int) -> tuple[str, ...]:
    return tuple(f"{10 + i // 256}.{i % 256}.0.0/16" for i in range(count))


@pytest.mark.parametrize(
    ("entity", "refused"),
    [
        (EntityRule(nets=sixteens(256)), []),
        (EntityRule(nets=sixteens(257)), ["spec.egress[0].source.nets"]),
        (EntityRule(not_nets=sixteens(257)), ["spec.egress[0].source.notNets"]),
        (EntityRule(ports=tuple(range(1, 51))), []),
        (EntityRule(ports=tuple(range(1, 52))), ["spec.egress[0].source.ports"]),
        (EntityRule(not_ports=tuple(range(1, 52))), ["spec.egress[0].source.notPorts"]),
    ],
    ids=["256 nets", "257 nets", "257 not nets", "50 ports", "51 ports", "51 not ports"],
)
def test_an_entity_is_bounded(entity: EntityRule, refused: list[str]) -> None:
    rule = Rule("Deny", "SCTP", 4, entity)
    policy = GlobalNetworkPolicy("fw.a", "fw", 1, "all()", egress=(rule,))
    assert [violation.path for violation in validate(policy.manifest())] == refused


def test_a_direction_holds_at_most_1024_rules() -> None:
    rules = (Rule("Deny"),) * 1025
    full = GlobalNetworkPolicy("fw.a", "fw", 1, "all()", ingress=rules[1:], egress=rules[1:])
    assert validate(full.manifest()) == ()
    over = GlobalNetworkPolicy("fw.a", "fw", 1, "all()", ingress=rules)
    assert [violation.path for violation in validate(over.manifest())] == ["spec.ingress"]


def test_a_policy_holds_at_most_half_a_mebibyte() -> None:
    rule = Rule("Deny", annotations=(("firewall.tigera.io/rule", "x" * 1000),))
    policy = GlobalNetworkPolicy("fw.a", "fw", 1, "all()", egress=(rule,) * 600)
    [large] = validate(policy.manifest())
    assert "524,288" in large.message


def test_a_policy_name_may_be_longer_than_a_dns_label_after_its_dot() -> None:
    policy = GlobalNetworkPolicy("fw.pan-zone-" + "a" * 63, "fw", 1, "all()")
    assert validate(policy.manifest()) == ()

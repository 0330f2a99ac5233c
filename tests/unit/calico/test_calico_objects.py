"""The documents of the objects that we write."""

from sync.calico.objects import (
    KINDS,
    EntityRule,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    Icmp,
    Rule,
    StagedGlobalNetworkPolicy,
    Tier,
)


def test_a_tier_states_its_order_and_default_action() -> None:
    assert Tier("firewallpolicy", 101).manifest().document() == {
        "apiVersion": "projectcalico.org/v3",
        "kind": "Tier",
        "metadata": {"name": "firewallpolicy"},
        "spec": {"order": 101, "defaultAction": "Pass"},
    }


def test_a_set_carries_its_labels_and_annotations() -> None:
    written = GlobalNetworkSet(
        "pan.web",
        ("10.0.0.0/8",),
        labels=(("firewall.tigera.io/address-group", "web"),),
        annotations=(("firewall.tigera.io/name", "web"),),
    )
    assert written.manifest().document() == {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkSet",
        "metadata": {
            "name": "pan.web",
            "labels": {"firewall.tigera.io/address-group": "web"},
            "annotations": {"firewall.tigera.io/name": "web"},
        },
        "spec": {"nets": ["10.0.0.0/8"]},
    }


def test_an_empty_set_leaves_out_its_nets() -> None:
    assert GlobalNetworkSet("pan.web", ()).manifest().document()["spec"] == {}


def test_a_policy_states_tier_types_and_the_tier_label() -> None:
    document = GlobalNetworkPolicy("fw.pan-zone-web", "fw", 10, "all()").manifest().document()
    assert document["metadata"] == {
        "name": "fw.pan-zone-web",
        "labels": {"projectcalico.org/tier": "fw"},
    }
    assert document["spec"] == {
        "tier": "fw",
        "order": 10,
        "selector": "all()",
        "types": ["Ingress", "Egress"],
    }


def test_a_rule_writes_what_constrains_and_both_ends() -> None:
    rule = Rule(
        "Deny",
        "TCP",
        4,
        source=EntityRule(nets=("10.0.0.0/8",)),
        destination=EntityRule(
            selector="has(a)",
            namespace_selector="global()",
            not_nets=("10.1.0.0/16",),
            ports=(80, "1000:2000"),
        ),
        annotations=(("firewall.tigera.io/rule", "web"),),
    )
    assert rule.document() == {
        "action": "Deny",
        "protocol": "TCP",
        "ipVersion": 4,
        "source": {"nets": ("10.0.0.0/8",)},
        "destination": {
            "selector": "has(a)",
            "namespaceSelector": "global()",
            "notNets": ("10.1.0.0/16",),
            "ports": (80, "1000:2000"),
        },
        "metadata": {"annotations": {"firewall.tigera.io/rule": "web"}},
    }
    assert Rule("Pass").document() == {"action": "Pass", "source": {}, "destination": {}}


def test_zeroes_are_written_and_not_taken_for_absence() -> None:
    rule = Rule("Deny", "ICMP", 4, icmp=Icmp(0, 0)).document()
    assert rule["icmp"] == {"type": 0, "code": 0}
    assert Rule("Deny", 0).document()["protocol"] == 0


def test_a_staged_policy_is_the_same_document_of_another_kind() -> None:
    rules = (Rule("Deny"),)
    enforced = GlobalNetworkPolicy("fw.a", "fw", 1, "all()", ("Egress",), egress=rules)
    staged = StagedGlobalNetworkPolicy("fw.a", "fw", 1, "all()", ("Egress",), egress=rules)
    expected = enforced.manifest().document() | {"kind": "StagedGlobalNetworkPolicy"}
    expected["spec"]["stagedAction"] = "Set"
    assert staged.manifest().document() == expected


def test_every_kind_has_its_resource_name() -> None:
    assert KINDS == {
        "Tier": "tiers",
        "GlobalNetworkSet": "globalnetworksets",
        "GlobalNetworkPolicy": "globalnetworkpolicies",
        "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
    }

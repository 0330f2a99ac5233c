"""What is granted, by configuration alone: `tests/e2e/test_e2e_rights.py` holds what it does."""

from typing import Any

import pytest

from sync.clusters.kubernetes.rights import admission_policies, rights
from tests.kubernetes_words import grantee, rights_by_kind

CALICO = "projectcalico.org"


def granted(*tiers: str, writes: bool = True) -> dict[tuple[str, str, str], set[str]]:
    found: dict[tuple[str, str, str], set[str]] = {}
    for rule in rights_by_kind(grantee(tiers=tiers, writes=writes))["ClusterRole"]["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    found.setdefault((group, resource, name), set()).update(rule["verbs"])
    return found


def test_what_is_granted_is_known_by_heart() -> None:
    look, write = {"get", "list", "watch"}, {"create", "update", "delete"}
    ours = ("globalnetworkpolicies", "stagedglobalnetworkpolicies")
    others = ("networkpolicies", "stagednetworkpolicies")
    labelled = ("networksets", "hostendpoints")
    tiers = ("firewallpolicy", "perimeter")
    assert granted(*tiers) == {
        (CALICO, "globalnetworksets", ""): look | write,
        **{(CALICO, resource, ""): look | write for resource in ours},
        **{(CALICO, resource, ""): {"list"} for resource in others},
        **{(CALICO, resource, ""): {"list", "watch"} for resource in labelled},
        # A right to create cannot be held to names.
        (CALICO, "tiers", ""): look | {"create"},
        **{(CALICO, "tiers", tier): {"update", "delete"} for tier in tiers},
        **{(CALICO, f"tier.{resource}", ""): look for resource in ours},
        **{(CALICO, f"tier.{resource}", ""): {"list"} for resource in others},
        **{(CALICO, f"tier.{resource}", f"{tier}.*"): write for resource in ours for tier in tiers},
        (CALICO, "ippools", ""): {"list"},
        (CALICO, "clusterinformations", ""): {"list"},
        (CALICO, "felixconfigurations", ""): {"list"},
        ("migration.projectcalico.org", "datastoremigrations", ""): {"list"},
        ("", "pods", ""): {"list"},
        ("", "nodes", ""): {"list"},
        ("", "namespaces", ""): {"list"},
        ("", "namespaces", "kube-system"): {"get"},
        ("", "serviceaccounts", ""): {"list"},
        ("discovery.k8s.io", "endpointslices", ""): {"list"},
    }


def test_without_a_tier_none_may_be_changed() -> None:
    """To RBAC no names are all names."""
    found = granted()
    assert found[CALICO, "tiers", ""] == {"get", "list", "watch", "create"}
    assert found[CALICO, "tier.globalnetworkpolicies", ""] == {"get", "list", "watch"}


def test_who_only_reads_is_granted_what_is_read_and_no_more() -> None:
    tiers = ("firewallpolicy", "perimeter")
    reads = {key: verbs & {"list", "watch"} for key, verbs in granted(*tiers).items() if not key[2]}
    reads["", "namespaces", "kube-system"] = {"get"}
    assert granted(*tiers, writes=False) == reads
    reader = grantee(writes=False)
    assert [each["kind"] for each in rights(reader)] == [
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
    ]
    assert admission_policies(reader) == []


def test_events_are_written_where_those_of_tiers_are() -> None:
    role = rights_by_kind(grantee())["Role"]
    assert role["metadata"]["namespace"] == "default"
    assert role["rules"] == [
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "update"]}
    ]


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_a_role_is_bound_to_the_account_alone(kind: str) -> None:
    found = rights_by_kind(grantee(namespace="net", account="zb"))
    account = {"name": "zb", "namespace": "net"}
    role, binding = found[kind], found[f"{kind}Binding"]
    assert found["ServiceAccount"]["metadata"] == account
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account}]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (
        kind,
        role["metadata"]["name"],
    )
    assert binding["metadata"].get("namespace") == role["metadata"].get("namespace")


def test_no_two_accounts_share_a_name() -> None:
    names = {
        document["metadata"]["name"]
        for namespace, account in (("a", "b-c"), ("a-b", "c"), ("a", "b.c"))
        for whose in (grantee(namespace=namespace, account=account),)
        for document in (*rights(whose)[1:], *admission_policies(whose))
    }
    assert len(names) == 3 * 3


@pytest.mark.parametrize("policy", ["account", "labels"])
def test_what_a_policy_cannot_judge_it_refuses(policy: str) -> None:
    found: list[Any] = admission_policies(grantee())
    made = {
        document["kind"]: document
        for document in found
        if document["metadata"]["name"].endswith(policy)
    }
    assert made["ValidatingAdmissionPolicy"]["spec"]["failurePolicy"] == "Fail"
    assert made["ValidatingAdmissionPolicyBinding"]["spec"] == {
        "policyName": f"zonebridge.zonebridge-{policy}",
        "validationActions": ["Deny"],
    }


def test_a_name_in_an_expression_stays_one() -> None:
    """Whatever a directory calls its groups."""
    policies: list[Any] = admission_policies(grantee(exempt_groups=('cn="x"]) || true //\\', "ü")))
    [expression] = [
        each["expression"]
        for document in policies
        for each in document["spec"].get("matchConditions", ())
        if each["name"] == "groups"
    ]
    assert r'each in ["cn=\"x\"]) || true //\\","ü"]' in expression

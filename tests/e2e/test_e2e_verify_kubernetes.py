"""`zonebridge verify --live` and `status` against a real API server that refuses a write."""

import pytest

from tests.e2e.installation import Installation, kubernetes
from tests.e2e.test_e2e_explain_kubernetes import DB, RULES, ZONES, edited, explain
from tests.e2e.test_e2e_kubernetes import GUEST_SUBJECT, RBAC, rights
from tests.kubernetes_cluster import GROUP, GUEST, ControlPlane
from tests.words import Word, document

WEB_CHAIN, DB_CHAIN = (f"firewallpolicy.pan-zone-{zone}" for zone in ("web", "db"))


@pytest.fixture
def eu(place: Installation, calico: ControlPlane) -> ControlPlane:
    """The one cluster of the installation, written as the firewall has it."""
    place.configure(kubernetes("eu", calico.kubeconfig(), pod_cidrs=["10.244.0.0/16"]), zones=ZONES)
    place.export(document(groups={"dg-eu": RULES}))
    place.done("sync")
    return calico


def test_what_stands_is_proven_with_what_other_hands_did(
    place: Installation, eu: ControlPlane
) -> None:
    assert "as the cluster holds it: the proof holds: " in place.done("verify", "--live").out
    edited(eu, "pan-zone-db", lambda it: it["spec"]["ingress"].insert(0, {"action": "Pass"}))
    done = place.run("verify", "--live")
    assert done.code == 6
    assert f"Calico allows it ({DB_CHAIN}[ingress 0])\n" in done.out
    assert f"  Drift: 1 object: GlobalNetworkPolicy {DB_CHAIN}\n" in done.out


def test_a_refused_write_leaves_a_cluster_half_written_and_it_is_shown_so(
    place: Installation, eu: ControlPlane
) -> None:
    role = rights()["ClusterRole"]
    for rule in role["rules"]:
        if "globalnetworkpolicies" in rule["resources"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != "update"]
    role["rules"].append(
        {
            "apiGroups": [GROUP],
            "resources": ["globalnetworkpolicies"],
            "resourceNames": [WEB_CHAIN],
            "verbs": ["update"],
        }
    )
    eu.request("POST", f"{RBAC}/clusterroles", role)
    binding = rights()["ClusterRoleBinding"] | {"subjects": [GUEST_SUBJECT]}
    eu.request("POST", f"{RBAC}/clusterrolebindings", binding)
    guest = kubernetes("eu", eu.kubeconfig(user=GUEST), pod_cidrs=["10.244.0.0/16"])
    place.configure(guest, zones=ZONES)
    denied = [
        Word(each.place, each.xml.replace("allow</action>", "deny</action>")) for each in RULES
    ]
    place.export(document(groups={"dg-eu": denied}))
    assert place.run("sync").code == 5

    (cluster,) = place.done("status", "--output", "json").json["clusters"]
    assert cluster["state"] == "half-written"
    begins = f"1 of 2 changes not written: GlobalNetworkPolicy {DB_CHAIN}: cluster eu refuses"
    assert cluster["detail"].startswith(begins)
    assert cluster["half_written"]["written"] == 1
    assert [each["name"] for each in cluster["half_written"]["unwritten"]] == [DB_CHAIN]

    done = place.run("verify", "--live", "--output", "json")
    assert done.code == 6
    (found,) = done.json["clusters"]
    assert {(each["zone"], each["state"]) for each in found["chains"]} == {
        ("web", "new"),
        ("db", "old"),
    }
    pending = f"; not written yet: update GlobalNetworkPolicy {DB_CHAIN}"
    assert found["opened"]
    assert all(each.endswith(pending) for each in found["opened"])
    assert found["half_written"] == cluster["half_written"]

    done = explain(place, "web", f"db@{DB}", "--live")
    since = cluster["half_written"]["since"]
    assert f"  half-written since {since}: 1 change pending, and of what decides here: " in done.out

    place.configure(kubernetes("eu", eu.kubeconfig(), pod_cidrs=["10.244.0.0/16"]), zones=ZONES)
    place.done("sync")
    assert place.done("status").out.startswith("Cluster eu: in sync: ")
    place.done("verify", "--live")

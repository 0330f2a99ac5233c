"""A plan that a guard holds back, from the block to the approval that lets it through."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import Installation, kubernetes, sentences
from tests.kubernetes_cluster import ControlPlane
from tests.words import address, document, rule

THEIRS: dict[str, Any] = {
    "apiVersion": "projectcalico.org/v3",
    "kind": "GlobalNetworkPolicy",
    "metadata": {"name": "firewallpolicy.theirs"},
    "spec": {"tier": "firewallpolicy", "order": 1, "selector": "all()", "types": ["Egress"]},
}


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    """One cluster, in whose tier a policy of somebody else stands."""
    made = Installation.in_directory(tmp_path / "here")
    made.configure("eu")
    made.put("eu", THEIRS)
    return made


def digest(place: Installation) -> str:
    """The digest of the plan that a sync, which must be blocked, has met."""
    done = place.run("sync", "--output", "json")
    assert done.code == 3, done.err
    found: str = done.json["clusters"][0]["plan"]["digest"]
    return found


def test_a_blocked_plan_is_shown_approved_and_written_once(place: Installation) -> None:
    plan = digest(place)
    assert place.files("eu") == []
    planned = place.run("plan")
    assert planned.code == 3
    assert "! foreign-policy: 1 policy of others in the tier firewallpolicy" in planned.out
    assert f"zonebridge approve {plan[:12]}" in planned.out
    assert f"waits for approval: {plan[:12]} (" in place.done("status").out

    approved = place.done("approve", plan[:12])
    assert approved.out.startswith(f"Approved plan {plan} of cluster eu (")
    assert "  approved: " in place.done("status").out
    assert place.run("plan").code == 0
    synced = place.done("sync")
    assert "let through by an approval" in synced.out
    assert place.files("eu") == ["pan.db.yaml", "pan.web.yaml"]
    [cluster] = place.done("status", "--output", "json").json["clusters"]
    assert (cluster["state"], cluster["approvals"]) == ("in sync", [])
    assert "4 written, 0 unchanged; 1 policy of others in the tier" in cluster["detail"]

    # Nothing is held back any more, and every sync still names what stands there.
    for command in ("plan", "sync"):
        said = place.done(command).out
        assert "  ! foreign-policy: 1 policy of others in the tier firewallpolicy" in said
    [cluster] = place.done("status", "--output", "json").json["clusters"]
    assert cluster["state"] == "in sync"
    line = place.done("status").out.splitlines()[0]
    assert line == f"Cluster eu: in sync: {cluster['detail']}"
    assert "no changes; 4 unchanged; 1 policy of others in the tier firewallpolicy" in line
    assert "GlobalNetworkPolicy firewallpolicy.theirs" in line

    # What comes next is another plan.
    place.panorama(eu={"web": ["10.9.0.0/16"]})
    assert place.run("sync").code == 3
    assert place.run("approve", plan).code == 1
    place.done("audit", "verify")


def test_the_trail_names_who_approved_what(place: Installation) -> None:
    plan = digest(place)
    place.done("approve", plan)
    place.done("sync")
    [record] = place.records("--kind", "approved")
    assert (record["cluster"], record["plan"], record["detail"]) == ("eu", plan, "foreign-policy")
    assert record["trigger"].startswith("zonebridge approve by ")
    assert {each["plan"] for each in place.records("--kind", "intent")} == {plan}


def test_status_says_what_waits(place: Installation) -> None:
    plan = digest(place)
    [cluster] = place.done("status", "--output", "json").json["clusters"]
    [waiting] = cluster["approvals"]
    assert (waiting["plan"], waiting["guards"]) == (plan, ["foreign-policy"])
    assert (waiting["approved"], waiting["approved_by"], waiting["expires"]) == (None, None, None)
    place.done("approve", plan)
    [cluster] = place.done("status", "--output", "json").json["clusters"]
    [approved] = cluster["approvals"]
    assert approved["approved"] < approved["expires"]
    (place.directory / "eu" / "globalnetworkpolicy" / "firewallpolicy.theirs.yaml").unlink()
    place.done("sync")


def test_status_says_that_another_plan_came_after_the_approved_one(place: Installation) -> None:
    plan = digest(place)
    place.done("approve", plan)
    place.put("eu", THEIRS | {"spec": THEIRS["spec"] | {"order": 2}})
    other = digest(place)
    shown = place.done("status").out
    [line] = [each for each in shown.splitlines() if each.startswith(f"  approved: {plan[:12]} ")]
    assert line.endswith("; another plan is blocked now")
    assert f"  waits for approval: {other[:12]} (" in shown


def test_a_plan_that_waits_no_longer_is_not_shown(place: Installation) -> None:
    digest(place)
    (place.directory / "eu" / "globalnetworkpolicy" / "firewallpolicy.theirs.yaml").unlink()
    place.done("sync")
    assert "approval" not in place.done("status").out


@pytest.mark.parametrize("wrong", ["", "abc", "xyzxyzxyz", "0" * 64, "0" * 8])
def test_what_names_no_plan_is_64(place: Installation, wrong: str) -> None:
    digest(place)
    done = place.run("approve", wrong)
    assert done.code == 64
    [sentence] = sentences(done)
    assert "zonebridge status" in sentence
    assert place.records("--kind", "approved") == []


def test_what_cannot_be_approved_is_1(place: Installation) -> None:
    plan = digest(place)
    place.done("approve", plan)
    again = place.run("approve", plan)
    assert again.code == 1
    assert "already" in again.err
    place.done("sync")
    used = place.run("approve", plan)
    assert used.code == 1
    assert "holds once" in used.err


def test_a_guard_that_is_never_let_through_is_1(place: Installation) -> None:
    theirs = place.directory / "eu" / "globalnetworkset" / "pan.web.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("kind: GlobalNetworkSet\nmetadata: {name: pan.web}\n")
    plan = digest(place)
    assert "zonebridge approve" not in place.run("plan").out
    assert "approval" not in place.done("status").out
    done = place.run("approve", plan)
    assert done.code == 1
    assert "foreign-object, foreign-policy, cannot be approved" in done.err


def test_without_a_store_nothing_waits_and_none_is_made(place: Installation) -> None:
    done = place.run("approve", "0" * 64)
    assert done.code == 1
    assert "there is no store" in done.err
    assert not (place.directory / "zonebridge.db").exists()


def test_an_approval_is_published_with_the_heads(place: Installation) -> None:
    place.configure("eu", audit={"head_file": "heads.txt"})
    place.done("approve", digest(place))
    verified = place.done("audit", "verify", "--head", "heads.txt")
    assert "every chain reaches its published head" in verified.out


# --- a source that holds less ---------------------------------------------------------------------


def test_a_device_group_that_comes_back_empty_deletes_nothing_unasked(tmp_path: Path) -> None:
    place = Installation.in_directory(tmp_path / "here")
    place.configure("eu")
    place.done("sync")
    before = place.files("eu")
    shared = [address("left", "10.1.0.1")]
    place.export(document(shared, {"dg-eu": (), "dg-us": ()}))
    plan = digest(place)
    assert place.files("eu") == before
    said = place.run("plan").out
    assert "! empty-source: device group dg-eu held rules or addresses for the tier" in said
    place.done("verify")

    place.done("approve", plan)
    place.done("sync")
    assert place.files("eu") == []
    assert "empty-source" not in place.done("sync").out
    place.done("audit", "verify")


# --- what pods cannot do without ------------------------------------------------------------------


def test_pods_are_not_cut_off_from_dns_unasked(tmp_path: Path, calico: ControlPlane) -> None:
    """Until an essential keeps it for them, or somebody lets the plan through."""
    place = Installation.in_directory(tmp_path / "here")
    zone = {"firewall.tigera.io/zone": "web"}
    pods = "/api/v1/namespaces/default/pods"
    slices = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
    with calico.connected() as connection:
        container = {"name": "web", "image": "web"}
        web = {"metadata": {"name": "web", "labels": zone}, "spec": {"containers": [container]}}
        connection.request("POST", pods, web)
        status = {"phase": "Running", "podIP": "10.244.0.7", "podIPs": [{"ip": "10.244.0.7"}]}
        connection.request("PATCH", f"{pods}/web/status", {"status": status})
        slice_ = {
            "metadata": {"name": "dns", "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.96.7.7"]}],
            "ports": [{"name": "dns", "protocol": "UDP", "port": 53}],
        }
        connection.request("POST", slices.format("kube-system"), slice_)
        # This server listens on loopback, where it makes no slice of itself.
        itself = {
            **slice_,
            "metadata": {
                "name": "of-the-server",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "endpoints": [{"addresses": ["192.0.2.10"]}],
            "ports": [{"name": "https", "protocol": "TCP", "port": 6443}],
        }
        connection.request("POST", slices.format("default"), itself)
    try:
        out = rule("out", from_=["web"], to=["db"], service=["any"])
        place.panorama(eu={"web": ["10.1.0.0/24"]}, rules=[out])
        eu = kubernetes("eu", calico.kubeconfig())
        place.configure(eu)
        blocked = place.run("sync")
        assert blocked.code == 3
        assert "essentials: 1 workload would lose cluster DNS" in blocked.out
        assert "default/web to 10.96.7.7 port 53: firewallpolicy.pan-zone-web[egress" in blocked.out
        assert "essentials: 1 workload would lose the API server" in blocked.out
        cidrs = ["10.96.7.7/32", "192.0.2.0/24"]
        essential = {"direction": "egress", "on": "all()", "cidrs": cidrs}
        place.configure(eu, zones={"essentials": [essential]})
        place.done("sync")
        # What was accepted once, by whatever way, is not asked again.
        place.configure(eu)
        place.done("sync")
    finally:
        with calico.connected() as connection:
            connection.request("DELETE", f"{pods}?gracePeriodSeconds=0")
            connection.request("DELETE", slices.format("kube-system"))
            connection.request("DELETE", f"{slices.format('default')}/of-the-server")

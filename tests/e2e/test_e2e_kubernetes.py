"""`zonebridge sync` and `zonebridge plan` against real API servers."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.installation import (
    Done,
    Installation,
    cluster,
    kubernetes,
    objects,
    sentences,
    until,
)
from tests.kubernetes_cluster import GUEST, ControlPlane
from tests.kubernetes_words import (
    edit,
    grantee,
    nets,
    policies,
    put,
    remove,
    rights_by_kind,
    sets,
)

WEB = ["10.1.0.1/32", "10.1.0.2/32"]
BOTH = {"pan.db": ["10.2.0.0/24"], "pan.web": WEB}
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
def eu(place: Installation, calico: ControlPlane) -> ControlPlane:
    """The one cluster of the installation."""
    place.configure(kubernetes("eu", calico.kubeconfig()))
    return calico


def versions(plane: ControlPlane) -> dict[str, str]:
    return {name: each["metadata"]["resourceVersion"] for name, each in sets(plane).items()}


def same(place: Installation) -> bool:
    """Whether the clusters are as they shall be."""
    return place.run("plan", "--detailed-exitcode").code == 0


def failed(done: Done, *clusters: str) -> list[str]:
    """The errors of a command that could not reach these clusters."""
    assert done.code == 5, done.err
    found = list(sentences(done))
    # "cluster eu: …", or "cluster eu refuses …": once, not twice.
    assert [each.split()[1].rstrip(":") for each in found] == list(clusters)
    assert not any(": cluster" in each for each in found)
    return found


# --- the way of a change --------------------------------------------------------------------------


def test_a_first_sync_creates_every_set_and_a_second_one_nothing(
    place: Installation, eu: ControlPlane
) -> None:
    assert f"Written: {objects(2)}; failed: 0." in place.done("sync").out
    assert nets(eu) == BOTH
    before, recorded = versions(eu), place.records("--cluster", "eu")
    assert same(place)
    place.done("sync")
    assert versions(eu) == before
    assert place.records("--cluster", "eu") == recorded


def test_an_edit_changes_what_it_must_and_nothing_else(
    place: Installation, eu: ControlPlane
) -> None:
    place.panorama(eu={"web": WEB, "db": ["10.2.0.0/24"], "old": ["10.3.0.0/24"]})
    put(eu, "by-hand", "192.0.2.0/24")
    place.done("sync")
    before = versions(eu)
    place.panorama(eu={"web": [*WEB, "10.1.0.5/32"], "db": ["10.2.0.0/24"], "mail": []})
    shown = place.run("sync", "--detailed-exitcode")
    assert shown.code == 2
    assert f"1 to create, 1 to update, 1 to delete; {objects(1)} unchanged." in shown.out
    assert nets(eu) == {
        "by-hand": ["192.0.2.0/24"],
        "pan.db": ["10.2.0.0/24"],
        "pan.mail": [],
        "pan.web": [*WEB, "10.1.0.5/32"],
    }
    after = versions(eu)
    assert {name for name in before if after.get(name) == before[name]} == {"by-hand", "pan.db"}


def test_what_others_put_on_a_set_of_ours_is_kept(place: Installation, eu: ControlPlane) -> None:
    place.done("sync")
    foreign: Mapping[str, Any] = {
        "labels": {"team": "blue"},
        "annotations": {"example.com/note": "keep"},
        "finalizers": ["example.com/wait"],
    }
    edit(eu, "pan.web", {"metadata": foreign})
    assert same(place)
    place.panorama(eu={"web": ["10.1.0.9/32"], "db": ["10.2.0.0/24"]})
    place.done("sync")
    metadata = sets(eu)["pan.web"]["metadata"]
    assert nets(eu)["pan.web"] == ["10.1.0.9/32"]
    assert metadata["finalizers"] == foreign["finalizers"]
    for part in ("labels", "annotations"):
        assert foreign[part].items() <= metadata[part].items()


def test_a_set_of_others_in_our_place_stays_and_is_told_until_it_is_gone(
    place: Installation, eu: ControlPlane
) -> None:
    put(eu, "pan.web", "192.0.2.0/24")
    assert place.run("sync").code == 3
    # What does not depend on it is written.
    assert nets(eu) == {**BOTH, "pan.web": ["192.0.2.0/24"]}
    remove(eu, "pan.web")
    place.done("sync")
    assert nets(eu) == BOTH


def test_a_host_endpoint_of_others_that_counts_as_a_pod_is_named_until_it_is_gone(
    place: Installation, eu: ControlPlane
) -> None:
    hosts = "/apis/projectcalico.org/v3/hostendpoints"
    labels = {"projectcalico.org/orchestrator": "k8s", "firewall.tigera.io/zone": "web"}
    document = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "HostEndpoint",
        "metadata": {"name": "node-1", "labels": labels},
        "spec": {"node": "node-1", "expectedIPs": ["192.0.2.1"]},
    }
    eu.request("POST", hosts, document)
    planned = place.run("plan")
    assert planned.code == 3
    assert "! foreign-set: 1 object of others is selected by policies of ours: " in planned.out
    assert "HostEndpoint node-1 (firewall.tigera.io/zone: web, projectcalico" in planned.out
    done = place.run("sync", "--output", "json")
    place.done("approve", done.json["clusters"][0]["plan"]["digest"])
    place.done("sync")
    assert nets(eu) == BOTH
    place.done("sync")
    assert "HostEndpoint node-1 (" in place.done("status").out
    eu.request("DELETE", f"{hosts}/node-1")
    place.done("sync")
    assert "HostEndpoint" not in place.done("status").out


# --- other hands ----------------------------------------------------------------------------------


def test_a_hand_edit_is_shown_with_the_hand_put_back_and_recorded(
    place: Installation, eu: ControlPlane
) -> None:
    place.done("sync")
    edit(eu, "pan.web", {"spec": {"nets": ["0.0.0.0/0"]}})
    assert "drift by kubectl-edit at 20" in place.done("plan").out
    [change] = place.done("plan", "--output", "json").json["clusters"][0]["plan"]["changes"]
    assert (change["cause"], change["name"]) == ("drift", "pan.web")
    assert re.fullmatch(r"kubectl-edit at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", change["changed_by"])
    place.done("sync")
    assert nets(eu) == BOTH
    intent, outcome = place.records("--cluster", "eu")[-2:]
    assert (intent["kind"], intent["cause"]) == ("intent", "drift")
    assert intent["detail"] == f"found changed by {change['changed_by']}"
    assert outcome["outcome"] == "applied"
    assert same(place)
    place.done("audit", "verify")


def test_a_deletion_by_hand_is_put_back_and_recorded(place: Installation, eu: ControlPlane) -> None:
    place.done("sync")
    remove(eu, "pan.web")
    assert "+ GlobalNetworkSet pan.web (2 nets; drift)" in place.done("plan").out
    place.done("sync")
    assert nets(eu) == BOTH
    intent, outcome = place.records("--cluster", "eu")[-2:]
    assert (intent["action"], intent["cause"], intent["before"]) == ("create", "drift", "")
    assert outcome["outcome"] == "applied"
    place.done("audit", "verify")


# --- outages --------------------------------------------------------------------------------------


def test_a_cluster_that_is_down_holds_up_no_other_and_gets_the_newest_state_later(
    place: Installation, calico: ControlPlane, second_calico: ControlPlane
) -> None:
    place.configure(
        kubernetes("eu", calico.kubeconfig()), kubernetes("us", second_calico.kubeconfig())
    )
    place.done("sync")
    assert nets(calico) == nets(second_calico) == BOTH
    second_calico.stop()
    for mail in ("10.4.0.1/32", "10.4.0.2/32"):
        place.panorama(eu={"web": WEB, "mail": [mail]})
        done = place.run("sync")
        [error] = failed(done, "us")
        assert "does not answer" in error
        assert "check that it is up" in error
        assert nets(calico) == {"pan.mail": [mail], "pan.web": WEB}
    recorded = len(place.records("--cluster", "us"))
    second_calico.start()
    place.done("sync")
    assert nets(second_calico) == {"pan.mail": ["10.4.0.2/32"], "pan.web": WEB}
    # Not through the state between: one new set and one that goes.
    assert len(place.records("--cluster", "us")) == recorded + 4
    assert same(place)
    place.done("audit", "verify")


# --- rights ---------------------------------------------------------------------------------------


def rights() -> dict[str, Any]:
    """What `zonebridge rbac` prints, by kind."""
    return rights_by_kind(grantee())


def grant(plane: ControlPlane, *, subjects: list[dict[str, str]]) -> None:
    """Give somebody exactly the rights that are printed."""
    found = rights()
    plane.request("POST", f"{RBAC}/clusterroles", found["ClusterRole"])
    binding = found["ClusterRoleBinding"] | {"subjects": subjects}
    plane.request("POST", f"{RBAC}/clusterrolebindings", binding)


GUEST_SUBJECT = {"kind": "User", "name": GUEST, "apiGroup": "rbac.authorization.k8s.io"}


def test_the_printed_rights_are_enough(place: Installation, calico: ControlPlane) -> None:
    guest = calico.kubeconfig(user=GUEST)
    staged = [{"name": "dg-eu", "mode": "staged"}]
    place.configure(kubernetes("eu", guest, device_groups=staged))
    grant(calico, subjects=[GUEST_SUBJECT])
    place.done("sync")
    last = "firewallpolicy.pan-unknown-zone"
    assert policies(calico) == {last: "StagedGlobalNetworkPolicy"}
    place.configure(kubernetes("eu", guest))
    place.panorama(eu={"web": ["10.1.0.9/32"], "mail": []})
    place.done("sync")
    assert nets(calico) == {"pan.mail": [], "pan.web": ["10.1.0.9/32"]}
    assert policies(calico) == {last: "GlobalNetworkPolicy"}
    assert same(place)


def test_without_rights_nothing_is_changed_and_the_message_says_what_to_grant(
    place: Installation, calico: ControlPlane
) -> None:
    place.configure(kubernetes("eu", calico.kubeconfig(user=GUEST)), "us")
    [error] = failed(place.run("sync"), "eu")
    assert "403" in error
    assert f'User "{GUEST}" cannot get resource "namespaces"' in error
    assert "grant the user this in the cluster" in error
    assert nets(calico) == {}
    assert len(place.files("us")) == 2
    assert {each["cluster"] for each in place.records("--kind", "intent")} == {"us"}


def test_rights_to_read_alone_are_enough_for_a_plan_and_a_sync_says_what_lacks(
    place: Installation, calico: ControlPlane
) -> None:
    place.configure(kubernetes("eu", calico.kubeconfig(user=GUEST)))
    role = rights()["ClusterRole"]
    for rule in role["rules"]:
        rule["verbs"] = ["get", "list", "watch"]
    calico.request("POST", f"{RBAC}/clusterroles", role)
    binding = rights()["ClusterRoleBinding"] | {"subjects": [GUEST_SUBJECT]}
    calico.request("POST", f"{RBAC}/clusterrolebindings", binding)
    assert place.run("plan", "--detailed-exitcode").code == 2
    done = place.run("sync")
    assert done.code == 5
    *refused, left = sentences(done)
    for error, resource in zip(refused, ("tiers", *2 * ("globalnetworksets",)), strict=True):
        assert f'cannot create resource "{resource}"' in error
        assert "grant the user this in the cluster" in error
    assert "its tier was not written" in left
    assert nets(calico) == {}
    assert policies(calico) == {}
    outcomes = place.records("--kind", "outcome")
    assert {each["outcome"] for each in outcomes} == {"failed"}
    place.done("audit", "verify")


# --- which cluster it is --------------------------------------------------------------------------


def test_two_entries_of_one_server_delete_nothing_of_each_other(
    place: Installation, calico: ControlPlane
) -> None:
    file = calico.kubeconfig()
    place.panorama(eu={"web": WEB}, us={"db": ["10.2.0.0/24"]})
    place.configure(kubernetes("eu", file))
    place.done("sync")
    before = versions(calico)
    place.configure(kubernetes("eu", file), kubernetes("us", file))
    for arguments in (("sync", "--cluster", "us"), ("sync", "--cluster", "eu")):
        done = place.run(*arguments)
        assert done.code == 5
        assert "delete each other's objects" in done.err
    for command in ("plan", "sync"):
        for error in failed(place.run(command), "eu", "us"):
            assert "is the cluster of another entry too" in error
    assert versions(calico) == before
    place.configure(kubernetes("eu", file))
    assert same(place)
    place.done("audit", "verify")


def test_another_server_behind_a_kubeconfig_is_refused_until_it_is_accepted(
    place: Installation, calico: ControlPlane, second_calico: ControlPlane
) -> None:
    place.configure(kubernetes("eu", calico.kubeconfig()))
    place.done("sync")
    place.configure(kubernetes("eu", second_calico.kubeconfig()))
    for command in ("plan", "sync"):
        [error] = failed(place.run(command), "eu")
        assert "zonebridge sync --cluster eu --accept-new-cluster eu" in error
    assert nets(second_calico) == {}
    foreseen = place.done("sync", "--dry-run", "--accept-new-cluster", "eu")
    assert f"{objects(2)} to create" in foreseen.out
    assert nets(second_calico) == {}
    assert place.run("sync", "--accept-new-cluster", "us").code == 64
    # A plan that is refused accepts nothing.
    refused = place.run("sync", "--accept-new-cluster", "eu", "--plan", "a" * 64)
    assert (refused.code, place.records("--kind", "operator")) == (3, [])
    assert "from now on" not in refused.err
    digest = re.search(r"Plan digest ([0-9a-f]{64})", foreseen.out)
    assert digest
    done = place.done("sync", "--accept-new-cluster", "eu", "--plan", digest[1])
    assert "Cluster eu is the cluster whose kube-system" in done.err
    assert nets(second_calico) == nets(calico) == BOTH
    [accepted] = place.records("--kind", "operator")
    assert accepted["action"] == "accept-cluster"
    assert " in place of " in accepted["detail"]
    assert same(place)
    place.done("audit", "verify")


def test_a_service_goes_on_in_an_accepted_cluster_by_itself(
    place: Installation, calico: ControlPlane, second_calico: ControlPlane
) -> None:
    file = place.directory / "kubeconfig"
    file.write_bytes(Path(calico.kubeconfig()).read_bytes())
    place.configure(kubernetes("eu", file))
    place.done("sync")
    file.write_bytes(Path(second_calico.kubeconfig()).read_bytes())
    with place.running() as service:
        until(lambda: "--accept-new-cluster" in str(service.logged()), "it is refused")
        assert nets(second_calico) == {}
        # The service would write whatever it plans.
        assert place.run("sync", "--accept-new-cluster", "eu", "--plan", "a" * 64).code == 7
        assert place.records("--kind", "operator") == []
        done = place.done("sync", "--accept-new-cluster", "eu")
        assert "continues with it" in done.err
        place.panorama(eu={"web": WEB})
        until(lambda: nets(second_calico) == {"pan.web": WEB}, "the service goes on")


def test_a_name_that_another_installation_has_is_told_with_a_remedy_that_works(
    place: Installation, eu: ControlPlane
) -> None:
    place.done("sync")
    place.configure(
        kubernetes("eu", eu.kubeconfig()), instance="second", store={"url": "sqlite:///second.db"}
    )
    blocked = place.run("plan")
    assert blocked.code == 3
    assert "belongs to another installation (zonebridge.io/instance: " in blocked.out
    assert "the configuration names another tier (device_groups[].tier)" in blocked.out
    assert "the address group is renamed or left out" in blocked.out
    assert "--adopt" not in blocked.out


# --- clusters that cannot be written --------------------------------------------------------------


def test_a_cluster_with_the_old_definitions_alone_is_refused_with_what_to_do(
    place: Installation, old_calico: ControlPlane
) -> None:
    place.configure(kubernetes("eu", old_calico.kubeconfig()))
    [error] = failed(place.run("sync"), "eu")
    assert "only as crd.projectcalico.org/v1" in error
    assert "install Calico's API server, or its native v3 definitions" in error


def test_kubeconfigs_that_cannot_be_used_name_the_place_and_hold_up_no_other(
    place: Installation, calico: ControlPlane
) -> None:
    good = calico.kubeconfig(path=place.directory / "good.kubeconfig")
    insecure = yaml.safe_load(good.read_text())
    reached = insecure["clusters"][0]["cluster"]
    del reached["certificate-authority-data"]
    reached["insecure-skip-tls-verify"] = True
    (place.directory / "insecure.kubeconfig").write_text(yaml.safe_dump(insecure))
    place.configure(
        kubernetes("missing", "none.kubeconfig", "dg-eu"),
        kubernetes("unknown", "good.kubeconfig", "dg-eu", context="production"),
        kubernetes("insecure", "insecure.kubeconfig", "dg-eu"),
        cluster("beside", "dg-eu"),
    )
    done = place.run("sync")
    missing, unknown, unsafe = failed(done, "missing", "unknown", "insecure")
    assert f"there is no file {place.directory}/none.kubeconfig" in missing
    assert "correct clusters[].kubeconfig" in missing
    assert f"{good}: has no context production, only test" in unknown
    assert f"{place.directory}/insecure.kubeconfig: insecure-skip-tls-verify is refused" in unsafe
    assert len(place.files("beside")) == 2
    assert nets(calico) == {}
    assert calico.admin_token not in done.out + done.err

    place.configure(
        kubernetes("insecure", "insecure.kubeconfig", "dg-eu", insecure_skip_tls_verify=True)
    )
    place.done("sync")
    assert nets(calico) == BOTH


# --- exec plugins ---------------------------------------------------------------------------------


def with_plugin(place: Installation, plane: ControlPlane) -> Path:
    """A kubeconfig whose token comes from a program, `./login` beside it."""
    kubeconfig = plane.kubeconfig(path=place.directory / "exec.kubeconfig")
    version = "client.authentication.k8s.io/v1"
    credential = {
        "apiVersion": version,
        "kind": "ExecCredential",
        "status": {"token": plane.admin_token},
    }
    program = place.directory / "login"
    program.write_text(f"#!{sys.executable} -IS\nprint({json.dumps(credential)!r})\n")
    program.chmod(0o700)
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"] = {
        "exec": {"apiVersion": version, "command": "./login", "interactiveMode": "Never"}
    }
    kubeconfig.write_text(yaml.safe_dump(document))
    return kubeconfig


def test_an_exec_plugin_runs_if_it_is_allowed_and_else_the_key_to_set_is_said(
    place: Installation, calico: ControlPlane
) -> None:
    kubeconfig = with_plugin(place, calico)
    place.configure(kubernetes("eu", kubeconfig))
    [error] = failed(place.run("sync"), "eu")
    assert "exec command ./login may not run" in error
    assert "clusters[].exec_plugins" in error
    assert nets(calico) == {}

    place.configure(kubernetes("eu", kubeconfig, exec_plugins=["./login"]))
    done = place.done("sync")
    assert nets(calico) == BOTH
    assert calico.admin_token not in done.out + done.err
    assert same(place)

"""What the chart deploys with workers, run here: on PostgreSQL, against a real API server.

Each process has the arguments, the configuration and the account of its pod; the API server holds
these to the roles and the admission policies of the chart.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chart import NAMESPACE, Rendered, example, path_of, render, settings
from tests.e2e.installation import COMMAND, Installation, environment, until
from tests.e2e.test_e2e_explain_kubernetes import DB, RULES, WEB, ZONES, pod
from tests.e2e.test_e2e_rights import (
    GROUP_LABEL,
    INSTANCE,
    OURS,
    SETS,
    TIER,
    Guarded,
    labelled,
    stored,
)
from tests.kubelet import answer
from tests.kubernetes_cluster import NATIVE, ApiError, ControlPlane, free_ports
from tests.kubernetes_words import nets, put
from tests.postgresql import Database
from tests.words import address, document, group

CHAIN = f"/apis/{NATIVE}/stagedglobalnetworkpolicies/{TIER}.pan-zone-web"
SERVICE, WORKERS = "zb-zonebridge", "zb-zonebridge-workers"
APPLIED = (
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the chart: its objects in the cluster, and what its pods run from `root`."""

    rendered: Rendered
    plane: ControlPlane
    root: Path

    def token(self, account: str) -> str:
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
        token: str = self.plane.request("POST", path, {"spec": {}})["status"]["token"]
        return token

    def pod(self, name: str) -> dict[str, Any]:
        """What the pods of a deployment run, and as whom."""
        (found,) = (e for e in self.rendered.of("Deployment") if e["metadata"]["name"] == name)
        spec: dict[str, Any] = found["spec"]["template"]["spec"]
        return spec

    def variables(self, name: str) -> dict[str, str]:
        """The environment of a pod, with its account in a file in place of a mount."""
        spec = self.pod(name)
        account = spec["serviceAccountName"]
        env = spec["containers"][0]["env"]
        return {
            **{each["name"]: here(self.root, each["value"]) for each in env if "value" in each},
            "ZONEBRIDGE_CLUSTERS__0__KUBECONFIG": str(
                self.plane.kubeconfig(self.token(account), user=account)
            ),
        }


def here(root: Path, text: str) -> str:
    return text.replace("/etc/zonebridge/", f"{root}/etc/zonebridge/")


@pytest.fixture
def release(
    place: Installation, calico: ControlPlane, postgresql_database: Database
) -> Iterator[Release]:
    (port,) = free_ports(1)
    path = "/etc/zonebridge/files/export/panorama.xml"
    values = {
        "config.sources": [{"name": "main", "kind": "file", "path": path}],
        "config.clusters": [
            {
                "name": "here",
                "kind": "kubernetes",
                "device_groups": [{"name": "dg-eu", "mode": "staged"}],
            }
        ],
        "config.zones": ZONES,
        "zoneOrder": [*ZONES["definitions"]],
        "config.poll_interval": "1s",
        "config.health": {"bind": f"0.0.0.0:{port}"},
        "files": {"export": {"configMap": "export"}},
        "store.postgresql.url": postgresql_database.url,
        "workers.autoscaling.enabled": False,
        "workers.replicas": 1,
    }
    given = settings([f"{key}={json.dumps(value)}" for key, value in values.items()])
    root = place.directory
    found = Release(render(example("workers"), *given), calico, root)
    for directory in ("config", "database", "files"):
        (root / "etc/zonebridge" / directory).mkdir(parents=True)
    (root / "etc/zonebridge/files/export").symlink_to(root)
    config = root / "etc/zonebridge/config/zonebridge.yaml"
    config.write_text(here(root, found.rendered.configuration))
    (root / "etc/zonebridge/database/password").write_text(postgresql_database.password)
    stored(calico, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    pod(calico, "web-1", WEB, zone="web")
    pod(calico, "db-1", DB, zone="db")
    try:
        apply(found)
        yield found
    finally:
        calico.request("DELETE", "/api/v1/namespaces/default/pods?gracePeriodSeconds=0")
        for each in found.rendered.of("ValidatingAdmissionPolicyBinding"):
            calico.request("DELETE", f"{POLICIES}/{each['metadata']['name']}")
        forged = labelled("forged", **{GROUP_LABEL: "p"})
        until(lambda: not Guarded(place, calico).refusal("POST", SETS, forged), "they are gone")
        for each in found.rendered.objects:
            if each["kind"] in APPLIED:
                # Bindings of policies are gone already.
                with suppress(ApiError):
                    calico.request("DELETE", f"{path_of(each)}/{each['metadata']['name']}")


def apply(release: Release) -> None:
    """Give the accounts what the chart grants, and wait until it holds."""
    plane = release.plane
    for found in release.rendered.objects:
        if found["kind"] in APPLIED:
            stored(plane, path_of(found), found)
    guarded = Guarded(Installation(release.root), plane)
    workers, service = release.token(WORKERS), release.token(SERVICE)
    put(plane, "by-hand", "192.0.2.0/24")
    forged = labelled("forged", **{GROUP_LABEL: "p"})

    def held() -> bool:
        return (
            "-labels'" in guarded.refusal("POST", SETS, forged)
            and "-account'" in guarded.refusal("DELETE", f"{SETS}/by-hand", token=workers)
            and guarded.refusal("POST", SETS, labelled("x", **OURS), token=workers) == ""
            and guarded.refusal("GET", SETS, token=service) == ""
        )

    until(held, "rights and policies hold")


@contextmanager
def running(release: Release, name: str, **more: str) -> "Iterator[subprocess.Popen[bytes]]":
    """The main process of a pod, for as long as the context lasts."""
    (container,) = release.pod(name)["containers"]
    log = release.root / f"{name}.log"
    with log.open("wb") as opened:
        process = subprocess.Popen(
            [COMMAND, *container["args"]],
            cwd=release.root,
            env=environment(**release.variables(name), **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=opened,
        )
    try:
        yield process
        assert process.poll() is None, log.read_text()
        process.terminate()
        assert process.wait() == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def answers_probes(release: Release, name: str, process: "subprocess.Popen[bytes]") -> None:
    (container,) = release.pod(name)["containers"]
    port = container["ports"][0]["containerPort"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]
        while answer(port, container[probe]["httpGet"]["path"]) != 200:
            assert process.poll() is None, (release.root / f"{name}.log").read_text()
            time.sleep(0.1)


def test_workers_write_and_the_service_watches_each_under_its_own_account(
    release: Release, place: Installation
) -> None:
    plane = release.plane
    before = len(plane.asked_by_accounts())
    place.export(document(groups={"dg-eu": [*RULES, address("web-1", WEB), group("web", "web-1")]}))
    (upgrade,) = release.pod(WORKERS)["initContainers"]
    as_worker, as_service = release.variables(WORKERS), release.variables(SERVICE)
    place.done(*upgrade["args"], **as_worker)
    # Two pods have an address each, here they share one.
    (port,) = free_ports(1)
    bind = {"ZONEBRIDGE_HEALTH__BIND": f"127.0.0.1:{port}"}
    with running(release, WORKERS) as workers, running(release, SERVICE, **bind):
        answers_probes(release, WORKERS, workers)
        until(lambda: nets(plane).get("pan.web") == [f"{WEB}/32"], "a worker has written")
        until(lambda: answer(port, "/readyz") == 200, "the service is ready")
        place.export(document(groups={"dg-eu": RULES}))
        until(lambda: "pan.web" not in nets(plane), "what changed at the source is written")
        place.done("status", **as_service)
        # A hand moves what no policy keeps: the service sees it, a worker puts it back and tells.
        plane.request("PATCH", CHAIN, {"metadata": {"labels": {INSTANCE: None}}})
        until(lambda: INSTANCE in plane.request("GET", CHAIN)["metadata"]["labels"], "it is back")
        until(lambda: told(plane), "an Event tells of it")
        # In the pod of the service, `kubectl exec` gives all answers, and writes nothing.
        place.done("plan", **as_service)
        enforced = {"ZONEBRIDGE_CLUSTERS__0__DEVICE_GROUPS__0__MODE": "enforced"}
        assert "essentials" in place.run("plan", **as_service, **enforced).out
        place.done("verify", "--live", **as_service)
        asked = ("--from", WEB, "--to", DB, "--port", "443/tcp", "--live")
        place.done("explain", *asked, **as_service)
    place.done("audit", "verify", **as_service)
    events = [each for each in plane.asked_by_accounts()[before:] if "objectRef" in each]
    assert [each for each in events if each["responseStatus"]["code"] == 403] == []
    used = {name: rights(events, name) for name in (SERVICE, WORKERS)}
    assert {verb for *_, verb in used[SERVICE]} == {"get", "list", "watch"}
    assert {verb for *_, verb in used[WORKERS]} >= {"create", "update", "delete"}
    # Not served here, and what Calico itself asks for.
    assert {
        each
        for each in granted(release, SERVICE)
        if each[0] != "migration.projectcalico.org" and not each[1].startswith("tier.")
    } == used[SERVICE]


def test_the_account_of_the_service_writes_nothing(release: Release, place: Installation) -> None:
    place.done("db", "upgrade", **release.variables(SERVICE))
    done = place.run("sync", **release.variables(SERVICE))
    assert done.code == 5
    assert "(create on tiers.projectcalico.org)" in done.err
    assert nets(release.plane) == {"by-hand": ["192.0.2.0/24"]}


def told(plane: ControlPlane) -> bool:
    events = plane.request("GET", "/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    return any(each["regarding"]["name"] == TIER and "rift" in each["reason"] for each in events)


def rights(events: list[dict[str, Any]], account: str) -> set[tuple[str, str, str]]:
    """What an account asked for: API group, resource and verb."""
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    return {
        (each["objectRef"].get("apiGroup", ""), each["objectRef"]["resource"], each["verb"])
        for each in events
        if each["user"]["username"] == user
    }


def granted(release: Release, account: str) -> set[tuple[str, str, str]]:
    """The same of what it is granted in the whole cluster."""
    role = release.rendered.one("ClusterRole", f"{NAMESPACE}.{account}")
    return {
        (api_group, resource, verb)
        for rule in role["rules"]
        for api_group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

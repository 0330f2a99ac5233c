"""The image's own files as the chart deploys them: on a real API server, from a Panorama.

Helm installs the release as docs/install.md has it; its pods are those of its Deployment, each with
its account, its files and no rights on the machine. A replica that is killed is the leader.
"""

import base64
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.chart import CHART, helm
from tests.e2e.installation import Installation, until
from tests.e2e.simulation import Simulator, simulator
from tests.e2e.test_e2e_explain_kubernetes import RULES, ZONES
from tests.e2e.test_e2e_rights import GROUP_LABEL, SETS, TIER, Guarded, labelled, stored
from tests.image.unpacked import Image, main_process
from tests.kubelet import Pod, scheduled
from tests.kubernetes_cluster import GROUP, NATIVE, ControlPlane, free_ports
from tests.kubernetes_words import nets
from tests.postgresql import Database, Server
from tests.tcp_proxy import database_proxy
from tests.words import Word, address, document, group

FILES = "/etc/zonebridge/files/panorama"
NAME = "zonebridge"
PASSWORD = "zonebridge-database"
STAGED = f"/apis/{NATIVE}/stagedglobalnetworkpolicies"
DENIED = [Word(each.place, each.xml.replace("allow</", "deny</")) for each in RULES]
FIRST, SECOND = ["10.1.0.1/32"], ["10.1.0.1/32", "10.1.0.7/32"]
CHANGED = ("pan.web", f"{TIER}.pan-zone-db", f"{TIER}.pan-zone-web")
ALL = (TIER, f"{TIER}.pan-unknown-zone", *CHANGED)
WRITES = {"create", "update", "patch", "delete"}
WRITER = re.compile("^zonebridge run by uid 65532 on ([^:]+): ")
SYNCED = '"event": "synced"'


@dataclass(frozen=True, slots=True)
class Release:
    """What Helm has installed in a namespace, and a node for its pods."""

    plane: ControlPlane
    image: Image
    namespace: str
    kubeconfig: Path
    node: Path

    def helm(self, *arguments: str | Path) -> str:
        place = ("--namespace", self.namespace, "--kubeconfig", self.kubeconfig)
        done = helm(*arguments, *place)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def secret(self, name: str, data: Mapping[str, bytes]) -> None:
        """`kubectl create secret generic`."""
        coded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        path = f"/api/v1/namespaces/{self.namespace}/secrets"
        self.plane.request("POST", path, {"metadata": {"name": name}, "data": coded})

    def pod(self, address: str = "") -> Pod:
        """Another pod of its Deployment."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{NAME}"
        deployment = self.plane.request("GET", path)
        return scheduled(self.plane, self.image, self.node, deployment, address)

    def test(self) -> Pod:
        """The pod that `helm test` makes and then waits for."""
        (made,) = yaml.safe_load_all(self.helm("get", "hooks", NAME))
        return scheduled(self.plane, self.image, self.node, made)

    def asked(self) -> list[dict[str, Any]]:
        """What its account has asked of the API server, which says of each who it was."""
        user = f"system:serviceaccount:{self.namespace}:{NAME}"
        asked = self.plane.asked_by_accounts()
        return [each for each in asked if each["user"]["username"] == user]

    def refused(self) -> list[dict[str, Any]]:
        return [each for each in self.asked() if each["responseStatus"]["code"] == 403]

    def written(self) -> Counter[tuple[str, str, str]]:
        """How often each pod wrote each of Calico's objects."""
        found: Counter[tuple[str, str, str]] = Counter()
        for each in self.asked():
            of = each.get("objectRef", {})
            done = each["verb"] in WRITES and each["responseStatus"]["code"] < 300
            if done and of.get("apiGroup") == GROUP:
                (pod,) = each["user"]["extra"]["authentication.kubernetes.io/pod-name"]
                found[pod, each["verb"], of["name"]] += 1
        return found


def action(plane: ControlPlane) -> str:
    """What pods of the zone `db` do with what the rule is about."""
    found = plane.request("GET", f"{STAGED}/{TIER}.pan-zone-db")["spec"]["ingress"][0]
    assert found["metadata"]["annotations"]["firewall.tigera.io/rule"] == "web to db"
    acts: str = found["action"]
    return acts


@pytest.fixture
def panorama(place: Installation) -> Iterator[Simulator]:
    says(place, RULES, *FIRST)
    with simulator(place) as started:
        yield started


def says(place: Installation, rules: list[Word], *networks: str) -> None:
    """Let the firewall have these rules, and a group `web` of these networks."""
    words = [*(address(net, net) for net in networks), group("web", *networks)]
    place.export(document(groups={"dg-eu": [*rules, *words]}))


@contextmanager
def installed(
    plane: ControlPlane, image: Image, panorama: Simulator, values: Mapping[str, Any]
) -> Iterator[Release]:
    """A release with these values beside those that each has."""
    directory = panorama.place.directory
    (port,) = free_ports(1)
    node = directory / "node"
    node.mkdir()
    kubeconfig = plane.kubeconfig(path=directory / "kubeconfig")
    release = Release(plane, image, f"zb-{uuid4().hex[:8]}", kubeconfig, node)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"metadata": {"name": release.namespace, "labels": labels}}
    stored(plane, "/api/v1/namespaces", namespace)
    keys = {name: (panorama.directory / name).read_bytes() for name in ("api-key", "ca.pem")}
    release.secret("zonebridge-panorama", keys)
    (source,) = panorama.source["sources"]
    files = {"api_key_file": f"{FILES}/api-key", "ca_file": f"{FILES}/ca.pem"}
    groups = [{"name": "dg-eu", "mode": "staged"}]
    written = directory / "values.yaml"
    config = {
        "sources": [{**source, **files}],
        "clusters": [{"name": "here", "kind": "kubernetes", "device_groups": groups}],
        "zones": ZONES,
        "poll_interval": "1s",
        "lease_ttl": "4s",
        "health": {"bind": f"0.0.0.0:{port}"},
    }
    common = {
        "config": config,
        "zoneOrder": [*ZONES["definitions"]],
        "files": {"panorama": {"secret": "zonebridge-panorama"}},
    }
    written.write_text(yaml.safe_dump({**common, **values}))
    guarded = Guarded(panorama.place, plane)
    forged = labelled("forged", **{GROUP_LABEL: "p"})
    release.helm("install", NAME, CHART, "--values", written)
    try:
        until(lambda: guarded.refusal("POST", SETS, forged), "the policies hold")
        yield release
    finally:
        release.helm("uninstall", NAME)
        # A namespace stays, and zonebridge sees the pods of all.
        plane.request("DELETE", f"/api/v1/namespaces/{release.namespace}/pods")
        until(lambda: not guarded.refusal("POST", SETS, forged), "the policies are gone")


def recorded(pod: Pod) -> Counter[tuple[str, str, str]]:
    """How often each pod wrote each object by the trail, which has to verify."""
    verified = pod.execute("audit", "verify")
    assert verified.returncode == 0, verified.stderr
    listed = pod.execute("audit", "list", "--output", "json")
    assert listed.returncode == 0, listed.stderr
    return Counter(
        (WRITER.findall(each["trigger"])[0], each["action"], each["object_name"])
        for each in json.loads(listed.stdout)
        if each["outcome"] == "applied"
    )


def writes(pod: Pod, action: str, *names: str) -> Counter[tuple[str, str, str]]:
    """One write of each object."""
    return Counter((pod.name, action, name) for name in names)


def test_a_commit_arrives_as_objects(
    calico: ControlPlane, image: Image, panorama: Simulator
) -> None:
    with installed(calico, image, panorama, {}) as release:
        test, pod = release.test(), release.pod()
        for container in test.spec["containers"]:
            test.end(container)
        with pod.running() as process:
            until(lambda: release.written() == writes(pod, "create", *ALL), "all is written")
            assert nets(calico) == {"pan.web": FIRST}
            assert action(calico) == "Pass"
            says(panorama.place, DENIED, *SECOND)
            wanted = writes(pod, "create", *ALL) + writes(pod, "update", *CHANGED)
            until(lambda: release.written() == wanted, "the commit is written")
            assert nets(calico) == {"pan.web": SECOND}
            assert action(calico) == "Deny"
            # As `kubectl exec` runs it, beside the service on the one volume.
            until(lambda: recorded(pod) == wanted, "every write is on record")
            assert pod.terminate(process) == 0, pod.log.read_text()
        assert release.refused() == []


def test_of_two_replicas_the_leader_is_killed_and_the_other_goes_on(
    calico: ControlPlane,
    image: Image,
    panorama: Simulator,
    postgresql_server: Server,
    postgresql_database: Database,
) -> None:
    name = postgresql_database.url.split("@/")[1].split("?")[0]
    with database_proxy(postgresql_server) as proxy:
        postgresql = {"url": proxy.url(name), "passwordSecret": {"name": PASSWORD}}
        store = {"kind": "postgresql", "postgresql": postgresql}
        with installed(calico, image, panorama, {"replicas": 2, "store": store}) as release:
            release.secret(PASSWORD, {"password": postgresql_database.password.encode()})
            first, second = release.pod("127.0.0.2"), release.pod("127.0.0.3")
            with first.running() as leader:
                made = writes(first, "create", *ALL)
                until(lambda: release.written() == made, "all is written")
                until(lambda: SYNCED in first.log.read_text(), "every write is on record")
                with second.running() as other:
                    # It is ready before it has asked for the lease.
                    held = f" on {first.name}, process 1, whose lease "
                    until(lambda: held in second.log.read_text(), "it stands by for the first")
                    os.kill(main_process(leader), signal.SIGKILL)
                    leader.wait()
                    says(panorama.place, DENIED, *SECOND)
                    wanted = made + writes(second, "update", *CHANGED)
                    until(lambda: release.written() == wanted, "the other goes on")
                    assert nets(calico) == {"pan.web": SECOND}
                    assert action(calico) == "Deny"
                    until(lambda: recorded(second) == wanted, "every write is on record")
                    assert second.terminate(other) == 0, second.log.read_text()
            # Nothing was written twice until the end.
            assert release.written() == wanted
            assert release.refused() == []

"""What the kubelet of a node makes of a pod, with the image's own files for containers.

It is told what the API server holds and nothing else: the pod's spec, its account, the ConfigMaps,
Secrets and claims that it mounts. A mount, a variable or a user that this cannot give fails.

Pods share the network of the test, so they reach servers on its loopback addresses. There are no
limits of resources, no seccomp profiles and no restarts here, and a volume stays as it was laid.
"""

import base64
import http.client
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.installation import until
from tests.image.unpacked import USER, Image, main_process
from tests.kubernetes_cluster import ControlPlane

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that the API server has. Its volumes are laid out in `volumes`, and claims in `node`.

    With an `address` (of a loopback) it answers there alone: each pod has its own in a cluster.
    """

    plane: ControlPlane
    image: Image
    found: Mapping[str, Any]
    node: Path
    address: str

    @property
    def name(self) -> str:
        name: str = self.found["metadata"]["name"]
        return name

    @property
    def spec(self) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self.found["spec"]
        return spec

    @property
    def log(self) -> Path:
        """What its one container has said."""
        return self.node / f"{self.name}.log"

    def end(self, container: Mapping[str, Any]) -> None:
        """Run a container that has to end with 0."""
        done = self.image.run(*container["args"], **self._given(container))
        assert done.returncode == 0, done.stderr

    def execute(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`kubectl exec POD -- zonebridge ARGUMENTS`."""
        return self.image.run(*arguments, **self._given(self.spec["containers"][0]))

    @contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        """Run its init containers, then its one container as long as the context lasts.

        The context begins when every probe has succeeded.
        """
        for each in self.spec["initContainers"]:
            self.end(each)
        (container,) = self.spec["containers"]
        with (
            self.log.open("wb") as log,
            self.image.running(*container["args"], log=log, **self._given(container)) as process,
        ):
            for probe in PROBES:
                until(partial(self._succeeds, container, probe, process), probe)
            yield process

    def terminate(self, process: "subprocess.Popen[bytes]") -> int:
        """Ask it to end; its exit code, 137 if it had to be killed after its grace period."""
        os.kill(main_process(process), signal.SIGTERM)
        try:
            return process.wait(self.spec["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            return 128 + signal.SIGKILL

    def _succeeds(
        self, container: Mapping[str, Any], probe: str, process: "subprocess.Popen[bytes]"
    ) -> bool:
        assert process.poll() is None, self.log.read_text()
        asked = container[probe]["httpGet"]
        assert asked["scheme"] == "HTTP"
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        return answer(ports[asked["port"]], asked["path"], self.address or "127.0.0.1") == 200

    def _given(self, container: Mapping[str, Any]) -> dict[str, Any]:
        """How the image is started for a container."""
        context = {**self.spec["securityContext"], **container["securityContext"]}
        # All that the image can be started as.
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == USER
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not {"command", "envFrom", "workingDir"} & container.keys()
        version = self.image.config["Labels"]["org.opencontainers.image.version"]
        assert container["image"].endswith(f"zonebridge:{version}")
        readable: dict[str, Path] = {}
        writable: dict[str, Path] = {}
        if self.spec["automountServiceAccountToken"]:
            readable[ACCOUNT] = self._volume(ACCOUNT)
        for mount in container["volumeMounts"]:
            assert mount.keys() <= {"name", "mountPath", "readOnly"}
            of_kind = readable if mount.get("readOnly") else writable
            of_kind[mount["mountPath"]] = self._volume(mount["name"])
        return {
            "hostname": self.name,
            "readable": readable,
            "writable": writable,
            "variables": self._variables(container),
        }

    def _variables(self, container: Mapping[str, Any]) -> dict[str, str]:
        server = urlsplit(self.plane.url)
        # The first two are the container runtime's.
        variables = {
            "HOME": "/",
            "HOSTNAME": self.name,
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
        }
        assert not self.spec["enableServiceLinks"]
        for each in container["env"]:
            variables[each["name"]] = each["value"] if "value" in each else self._field(each)
        if self.address:
            (port,) = self.spec["containers"][0]["ports"]
            variables["ZONEBRIDGE_HEALTH__BIND"] = f"{self.address}:{port['containerPort']}"
        return variables

    def _field(self, variable: Mapping[str, Any]) -> str:
        metadata, _, key = variable["valueFrom"]["fieldRef"]["fieldPath"].partition(".")
        value: str = self.found[metadata][key]
        return value

    def _volume(self, name: str) -> Path:
        """Where a volume is; made when it is first asked for."""
        place = self.node / f"{self.name}-{name.strip('/').replace('/', '-')}"
        if name == ACCOUNT:
            return place if place.exists() else _laid(place, self._account(), 0o600)
        (volume,) = (each for each in self.spec["volumes"] if each["name"] == name)
        if claim := volume.get("persistentVolumeClaim"):
            self._get("persistentvolumeclaims", claim["claimName"])
            place = self.node / claim["claimName"]
        if place.exists():
            return place
        if "configMap" in volume:
            of = volume["configMap"]
            data = self._get("configmaps", of["name"])["data"]
            files = {key: text.encode() for key, text in data.items()}
        elif "secret" in volume:
            of = volume["secret"]
            data = self._get("secrets", of["secretName"])["data"]
            files = {key: base64.b64decode(coded) for key, coded in data.items()}
        else:
            assert volume.keys() & {"emptyDir", "persistentVolumeClaim"}, volume
            place.mkdir()
            return place
        if "items" in of:
            files = {each["path"]: files[each["key"]] for each in of["items"]}
        return _laid(place, files, of["defaultMode"])

    def _account(self) -> dict[str, bytes]:
        """What admission would have mounted: a token of its account that ends with the pod."""
        metadata = self.found["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": metadata["uid"]}
        asked = {"expirationSeconds": 3607, "boundObjectRef": bound}
        place = f"{_place(metadata)}/serviceaccounts/{self.spec['serviceAccountName']}/token"
        token = self.plane.request("POST", place, {"spec": asked})["status"]["token"]
        return {
            "token": token.encode(),
            "ca.crt": self.plane.ca_file.read_bytes(),
            "namespace": metadata["namespace"].encode(),
        }

    def _get(self, plural: str, name: str) -> Any:
        return self.plane.request("GET", f"{_place(self.found['metadata'])}/{plural}/{name}")


def scheduled(
    plane: ControlPlane,
    image: Image,
    node: Path,
    made: Mapping[str, Any],
    address: str = "",
) -> Pod:
    """A new pod, of a Deployment or as it is given, stored in the API server."""
    metadata = made["metadata"]
    if made["kind"] == "Deployment":
        template = made["spec"]["template"]
        named = {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"]}
        made = {"metadata": {**template["metadata"], **named}, "spec": template["spec"]}
    found = plane.request("POST", f"{_place(metadata)}/pods", made)
    return Pod(plane, image, found, node, address)


def answer(port: int, path: str, address: str = "127.0.0.1") -> int:
    """The status that a probe is answered with, 0 while nobody listens."""
    connection = http.client.HTTPConnection(address, port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _place(metadata: Mapping[str, Any]) -> str:
    return f"/api/v1/namespaces/{metadata['namespace']}"


def _laid(place: Path, files: Mapping[str, bytes], mode: int) -> Path:
    """Files behind two links, so that all change at once; the group of fsGroup may read them.

    As `pkg/volume/util/atomic_writer.go` and `volume_linux.go` of Kubernetes do it.
    """
    versioned = place / "..2026_01_01_00_00_00.0"
    versioned.mkdir(parents=True)
    (place / "..data").symlink_to(versioned.name)
    for name, content in files.items():
        file = versioned / name
        file.write_bytes(content)
        file.chmod(mode | 0o440)
        (place / name).symlink_to(f"..data/{name}")
    for each in (place, versioned, *versioned.iterdir()):
        os.chown(each, 0, USER)
    for each in (place, versioned):
        each.chmod(0o2750)
    return place

"""Throw-away Kubernetes control planes for tests: a real kube-apiserver and etcd, with Calico.

A pytest plugin. `control_plane` and `second_control_plane` are servers, one of each a session and
worker, started when a test first asks. `calico` and `second_calico` are the same servers as a
cluster fresh from installing Calico, for each test anew; `old_calico` is the second with nothing
but the older `crd.projectcalico.org` definitions. Nodes, controllers and Calico itself there are
none: what is stored stays as it is, and a namespace once deleted never goes.

`tests/controlplane/build.py` provides the programs. Where it could not, tests that ask for a
cluster are skipped; in CI they fail.
"""

import base64
import contextlib
import csv
import http.client
import json
import os
import random
import secrets
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
import yaml

from tests.controlplane.build import FOLDER, NoProgramsError, find

if TYPE_CHECKING:
    # Half a second to import, which only tests with a cluster should take.
    from kubernetes.client import ApiClient

ADMIN = "admin"
GUEST = "guest"
START_SECONDS = 90
SETTLE_SECONDS = 30
PORT_TRIES = 5

OWN_DEFINITIONS = FOLDER / "schema"
GROUP = "projectcalico.org"
NATIVE = "projectcalico.org/v3"
OLD = "crd.projectcalico.org/v1"
BUILT_IN_TIERS = {
    "kube-admin": {"order": 1_000, "defaultAction": "Pass"},
    "default": {"order": 1_000_000, "defaultAction": "Deny"},
    "kube-baseline": {"order": 10_000_000, "defaultAction": "Pass"},
}
"""The tiers of every Calico, in their order (`libcalico-go/lib/clientv3/client.go`)."""

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_ADMISSION_KINDS = {
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

# Whoever else asks is not logged: that would take time of every test.
_AUDITED = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Request",
            "userGroups": ["system:serviceaccounts"],
            "verbs": ["create", "update"],
            "resources": [{"group": "projectcalico.org"}],
        },
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}

# Reads one word a line: a process to watch, `forget` those, or `done`. If this process ends in any
# other way the input just ends, and then the servers and their directory must go too.
_GUARD = """
while read -r word; do
    case $word in
        done) exit ;;
        forget) watched= ;;
        *) watched="$watched $word" ;;
    esac
done
[ -z "$watched" ] || kill -KILL $watched
rm -rf "$1"
"""


class ApiError(Exception):
    """The API server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class _PortTakenError(Exception):
    """Another program took the port between our look and the server's start."""


@dataclass(slots=True)
class _Servers:
    """The two processes over one directory; they come and go, data and ports stay."""

    directory: Path
    port: int
    etcd_port: int
    guard: subprocess.Popen[bytes]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start what `stop` ended; the servers are not ready yet."""
        certificates = self.directory / "certificates"
        # The server makes this key with its certificate, before it needs one to sign tokens.
        key = certificates / "apiserver.key"
        etcd = f"http://127.0.0.1:{self.etcd_port}"
        self._run(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--log-level=warn",
            "--unsafe-no-fsync",
        )
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={certificates}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            "--delete-collection-workers=8",
            f"--audit-policy-file={self.directory / 'audit.yaml'}",
            f"--audit-log-path={self.directory / 'audit.log'}",
        )

    def stop(self) -> None:
        """End both at once, as a power cut does."""
        for process in reversed(self.running):
            process.kill()
        for process in self.running:
            process.wait()
        self.running.clear()
        self._tell("forget")

    def check(self) -> None:
        """Fail if a server has ended by itself."""
        for process in self.running:
            if process.poll() is None:
                continue
            log = self._log(Path(process.args[0]).name)  # type: ignore[index, arg-type]  # a list
            text = log.read_text(errors="replace")
            if "address already in use" in text:
                raise _PortTakenError
            pytest.fail(f"the cluster does not start, {log.stem} ended:\n{text[-4000:]}")

    def tail(self) -> str:
        """The ends of both logs."""
        logs = [self._log(name) for name in ("etcd", "kube-apiserver")]
        return "\n".join(log.read_text(errors="replace")[-2000:] for log in logs)

    def _run(self, name: str, *arguments: str) -> None:
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                [program(name), *arguments],
                cwd=self.directory,
                env={"PATH": os.environ["PATH"], "HOME": str(self.directory), "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C in the terminal is for pytest, which then stops us in order.
                start_new_session=True,
            )
        self._tell(str(process.pid))
        self.running.append(process)

    def _tell(self, word: str) -> None:
        assert self.guard.stdin is not None
        self.guard.stdin.write(f"{word}\n".encode())
        self.guard.stdin.flush()

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


@dataclass(frozen=True, slots=True)
class Connection:
    """The plain way to an API server, beside every client under test. For one thread."""

    opened: http.client.HTTPSConnection
    token: str

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        accept: str = "application/json",
    ) -> Any:
        """What the API server answers, parsed if it is JSON; a PATCH is a merge patch.

        Raises `ApiError`; `OSError` in an outage.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": accept,
            "Content-Type": kind,
        }
        self.opened.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.opened.getresponse()
        content = response.read()
        # The health checks answer in plain text, also when they fail.
        plain = "json" not in response.headers.get("Content-Type", "")
        answer: Any = content.decode() if plain else json.loads(content)
        if response.status >= 400:
            raise ApiError(response.status, answer if plain else answer["message"])
        return answer


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running API server. `admin_token` may do all, `guest_token` only what anybody may."""

    url: str
    directory: Path
    ca_file: Path
    admin_token: str
    guest_token: str
    servers: _Servers = field(repr=False)

    @property
    def running(self) -> bool:
        return bool(self.servers.running)

    def stop(self) -> None:
        """An outage: nothing answers at `url` until `start`."""
        self.servers.stop()

    def start(self, *, settle: bool = True) -> None:
        """End the outage: the same objects are back at the same URL, with the same certificate.

        A server that is ready still refuses Calico's objects for a few seconds: lists with 429,
        writes with 503. That is over when this returns, unless it should not `settle`.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.servers.start()
            try:
                self.wait_ready()
            except _PortTakenError:
                self.servers.stop()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                break
        if settle:
            with self.connected() as api:
                if _defined(api, NATIVE):
                    _settle(api)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.servers.check()
            # The certificate is not there yet, nobody listens, or a start hook is not done.
            with (
                contextlib.suppress(OSError, http.client.HTTPException, ApiError),
                self.connected(timeout=5) as api,
            ):
                api.request("GET", "/readyz")
                return
            if time.monotonic() > deadline:
                pytest.fail(
                    f"the cluster is not ready after {START_SECONDS} s:\n{self.servers.tail()}"
                )
            time.sleep(0.05)

    def kubeconfig(
        self,
        token: str | None = None,
        *,
        user: str = ADMIN,
        context: str = "test",
        path: Path | None = None,
    ) -> Path:
        """Write a kubeconfig with this one cluster, current context `context`, and all inline.

        The token is that of `user` where none is given. Without a path it is a new file in
        `directory`.
        """
        tokens = {ADMIN: self.admin_token, GUEST: self.guest_token}
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": context,
                    "cluster": {"server": self.url, "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": user, "user": {"token": token or tokens[user]}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
            "current-context": context,
        }
        path = path or self.directory / f"{context}-{secrets.token_hex(4)}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))
        return path

    def client(self, token: str | None = None) -> "ApiClient":
        """A client of its own for the administrator, or whoever has `token`."""
        from kubernetes.client import ApiClient, Configuration

        configuration = Configuration(host=self.url)
        configuration.ssl_ca_cert = str(self.ca_file)
        configuration.api_key = {"authorization": f"Bearer {token or self.admin_token}"}
        # The machine's own may not go to a loopback address.
        configuration.proxy = None
        return ApiClient(configuration)

    @contextlib.contextmanager
    def connected(self, token: str | None = None, timeout: float = 60) -> Iterator[Connection]:
        """One connection for many requests, as the administrator or whoever has `token`."""
        address = urlsplit(self.url)
        assert address.hostname is not None
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        opened = http.client.HTTPSConnection(
            address.hostname, address.port, context=trust, timeout=timeout
        )
        try:
            yield Connection(opened, token or self.admin_token)
        finally:
            opened.close()

    def asked_by_accounts(self) -> list[dict[str, Any]]:
        """What service accounts have asked for since the server was made, as its audit log has it.

        https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/ (`Event`)
        """
        log = self.directory / "audit.log"
        # What follows the last end of a line is still being written.
        return [json.loads(line) for line in log.read_text().split("\n")[:-1]]

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
    ) -> Any:
        """One request with a connection of its own, from any thread: `Connection.request`."""
        with self.connected(token) as api:
            return api.request(method, path, body)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    with started() as plane:
        yield plane


@pytest.fixture(scope="session")
def second_control_plane() -> Iterator[ControlPlane]:
    with started() as plane:
        yield plane


@pytest.fixture
def calico(control_plane: ControlPlane) -> ControlPlane:
    """A cluster with Calico's v3 definitions and built-in tiers, and nothing else of Calico's."""
    install(control_plane)
    return control_plane


@pytest.fixture
def second_calico(second_control_plane: ControlPlane) -> ControlPlane:
    """A second cluster, like `calico`."""
    install(second_control_plane)
    return second_control_plane


@pytest.fixture
def old_calico(second_control_plane: ControlPlane) -> ControlPlane:
    """The second cluster with the v1 definitions alone: it serves no `projectcalico.org/v3`."""
    install_old(second_control_plane)
    return second_control_plane


def definitions() -> Path:
    """Calico's definitions: those of `CALICO_CRDS`, else `OWN_DEFINITIONS`, which say little.

    A folder with `v3`, `v1` and `admission` in it. A test of what only Calico's own schema
    refuses is for other folders than `OWN_DEFINITIONS`.
    """
    given = os.environ.get("CALICO_CRDS")
    folder = Path(given) if given else FOLDER.parent.parent.parent / "shared" / "calico"
    if given and not (folder / "v3").is_dir():
        pytest.fail(f"CALICO_CRDS names {given}, which holds no v3 definitions")
    return folder if (folder / "v3").is_dir() else OWN_DEFINITIONS


def install(plane: ControlPlane) -> None:
    """Make `plane` a cluster with native v3 definitions, as new."""
    _end_outage(plane)
    with plane.connected() as api:
        if _defined(api, OLD):
            _remove(api)
        if not _defined(api, NATIVE):
            _create_definitions(api, NATIVE)
            _create_policies(api)
        _wait("Calico's admission policies", lambda: _policies_hold(api))
        _clean(api)


def install_old(plane: ControlPlane) -> None:
    """Make `plane` a cluster with v1 definitions alone, as new."""
    _end_outage(plane)
    with plane.connected() as api:
        _remove(api)
        _create_definitions(api, OLD)


@contextlib.contextmanager
def started() -> Iterator[ControlPlane]:
    """A control plane of its own, for as long as the context lasts."""
    for name in ("etcd", "kube-apiserver"):
        program(name)
    for _ in range(PORT_TRIES):
        with contextlib.suppress(_PortTakenError), _directory() as (directory, guard):
            plane = _prepare(directory, guard)
            try:
                plane.servers.start()
                plane.wait_ready()
                yield plane
                return
            finally:
                plane.servers.stop()
    pytest.fail(f"no free port in {PORT_TRIES} tries")


@contextlib.contextmanager
def _directory() -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A directory and a guard that removes it, and the servers, should this process be killed."""
    with tempfile.TemporaryDirectory(prefix="zb-k8s-", ignore_cleanup_errors=True) as made:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", made],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield Path(made), guard
        finally:
            guard.communicate(b"done\n")


def _prepare(directory: Path, guard: subprocess.Popen[bytes]) -> ControlPlane:
    admin, guest = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    with (directory / "tokens.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows(
            [(admin, ADMIN, "uid-admin", "system:masters"), (guest, GUEST, "uid-guest")]
        )
    (directory / "audit.yaml").write_text(yaml.safe_dump(_AUDITED))
    port, etcd_port = free_ports(2)
    return ControlPlane(
        url=f"https://127.0.0.1:{port}",
        directory=directory,
        # Holds the certificate and the authority that signed it, which the server made for it.
        ca_file=directory / "certificates" / "apiserver.crt",
        admin_token=admin,
        guest_token=guest,
        servers=_Servers(directory, port, etcd_port, guard),
    )


def program(name: str) -> str:
    try:
        path = find(name)
        reason = f"{name} is not built: run `python tests/controlplane/build.py`"
    except NoProgramsError as error:
        path, reason = None, str(error)
    if path is not None:
        return str(path)
    if os.environ.get("CI"):
        pytest.fail(f"there is no cluster to test with: {reason}")
    pytest.skip(f"cluster tests are skipped: {reason}")


def free_ports(count: int) -> list[int]:
    """Ports below those that systems hand out, so that no connection takes one in an outage."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    pytest.fail("1,000 ports of this machine are taken")


def _end_outage(plane: ControlPlane) -> None:
    """A test that failed in an outage leaves one."""
    if not plane.running:
        plane.start()


def _documents(part: str) -> list[dict[str, Any]]:
    """The documents of a part; kinds that a folder of Calico's lacks are there as in our own."""
    found = {
        (document["kind"], document["metadata"]["name"]): document
        for folder in ((OWN_DEFINITIONS, definitions()) if part == "v3" else (definitions(),))
        for file in sorted((folder / part).glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    }
    return list(found.values())


def _defined(api: Connection, group_version: str) -> set[str]:
    """The names of the definitions that a cluster has of the group."""
    group, _ = group_version.split("/")
    names = {item["metadata"]["name"] for item in _metadata(api, _CRDS)}
    return {name for name in names if name.partition(".")[2] == group}


def _metadata(api: Connection, path: str) -> list[dict[str, Any]]:
    """What a list holds, of each object the metadata alone."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            # Such a list says null for empty.
            return api.request("GET", path, accept=_METADATA)["items"] or []
        except ApiError as error:
            # After a start the server reads all objects once before it lists any.
            if error.status != 429 or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _resources(api: Connection, group_version: str) -> list[dict[str, Any]]:
    """What discovery tells of the group version: names, kinds and whether they are namespaced."""
    found = api.request("GET", f"/apis/{group_version}")["resources"]
    return [resource for resource in found if "/" not in resource["name"]]


def _create_definitions(api: Connection, group_version: str) -> None:
    group, version = group_version.split("/")
    documents = _documents(version)
    for document in documents:
        api.request("POST", _CRDS, document)
    expected = {document["spec"]["names"]["plural"] for document in documents}

    def served() -> bool:
        try:
            found = {resource["name"] for resource in _resources(api, group_version)}
            api.request("GET", f"/apis/apiregistration.k8s.io/v1/apiservices/{version}.{group}")
            for plural in expected:
                api.request("GET", f"/apis/{group_version}/{plural}?limit=1")
        except ApiError:
            return False
        return found == expected

    _wait(f"the definitions of {group_version}", served)


def _create_policies(api: Connection) -> None:
    for document in _documents("admission"):
        # Calico states the oldest version that would do.
        document["apiVersion"] = "admissionregistration.k8s.io/v1"
        # One of Calico's names a kind of parameters that it never reads. A server looks for new
        # kinds every 30 seconds, and until it knows this one it refuses all policies with 403,
        # after a new definition as after a start.
        document["spec"].pop("paramKind", None)
        api.request("POST", f"{_ADMISSION}/{_ADMISSION_KINDS[document['kind']]}", document)


def _settle(api: Connection) -> None:
    """Wait until the cluster takes and lists Calico's objects."""
    _wait("Calico's admission policies", lambda: _policies_hold(api))
    for resource in _resources(api, NATIVE):
        _metadata(api, f"/apis/{NATIVE}/{resource['name']}?limit=1")


def _policies_hold(api: Connection) -> bool:
    """Whether admission already does what the policies say, for every kind that they are about.

    Admission looks for new schemas every five seconds; until it knows that of an object, it
    refuses it with 503.
    """
    for resource in _resources(api, NATIVE):
        if not resource["name"].endswith("networkpolicies"):
            continue
        probe = {
            "apiVersion": NATIVE,
            "kind": resource["kind"],
            "metadata": {"name": "zonebridge-test-probe"},
            "spec": {"selector": "all()"},
        }
        place = "namespaces/default/" if resource["namespaced"] else ""
        try:
            # Created for the answer alone: `dryRun` stores nothing.
            path = f"/apis/{NATIVE}/{place}{resource['name']}?dryRun=All"
            made = api.request("POST", path, probe)
        except ApiError as error:
            if error.status == 503:
                return False
            raise
        labels = made["metadata"].get("labels", {})
        if labels.get(f"{GROUP}/tier") != "default" or made["spec"].get("types") != ["Ingress"]:
            return False
    _restore_tier(api, "default")
    try:
        api.request("DELETE", f"/apis/{NATIVE}/tiers/default?dryRun=All")
    except ApiError as error:
        return error.status == 422
    return False


def _remove(api: Connection) -> None:
    """Leave nothing of Calico's in the cluster, whichever definitions it has."""
    for plural in _ADMISSION_KINDS.values():
        api.request("DELETE", f"{_ADMISSION}/{plural}")
    for group_version in (NATIVE, OLD):
        names = _defined(api, group_version)
        if names:
            _delete_all(api, group_version)
        for name in names:
            api.request("DELETE", f"{_CRDS}/{name}")

    def gone() -> bool:
        served = {group["name"] for group in api.request("GET", "/apis")["groups"]}
        groups = {group_version.split("/")[0] for group_version in (NATIVE, OLD)}
        return not (served & groups or _defined(api, NATIVE) or _defined(api, OLD))

    _wait("the end of Calico's definitions", gone)


def _clean(api: Connection) -> None:
    """Only the built-in tiers of Calico's objects, and none of the rights that tests gave."""
    _delete_all(api, NATIVE)
    for tier in BUILT_IN_TIERS:
        _restore_tier(api, tier)
    given = quote("!kubernetes.io/bootstrapping")
    for plural in ("clusterrolebindings", "clusterroles"):
        api.request("DELETE", f"{_RBAC}/{plural}?labelSelector={given}")


def _delete_all(api: Connection, group_version: str) -> None:
    """Delete all objects but the built-in tiers, whatever finalizers they have."""
    for resource in _resources(api, group_version):
        plural = resource["name"]
        keep = sorted(BUILT_IN_TIERS) if plural == "tiers" else []
        places = set()
        for item in _metadata(api, f"/apis/{group_version}/{plural}"):
            metadata = item["metadata"]
            if metadata["name"] in keep:
                continue
            within = f"namespaces/{metadata['namespace']}/" if resource["namespaced"] else ""
            place = f"/apis/{group_version}/{within}{plural}"
            places.add(place)
            if metadata.get("finalizers"):
                released = {"metadata": {"finalizers": None}}
                api.request("PATCH", f"{place}/{metadata['name']}", released)
        kept = quote(",".join(f"metadata.name!={name}" for name in keep))
        for place in places:
            api.request("DELETE", f"{place}?fieldSelector={kept}")


def _restore_tier(api: Connection, name: str) -> None:
    path = f"/apis/{NATIVE}/tiers"
    tier: dict[str, Any] = {
        "apiVersion": NATIVE,
        "kind": "Tier",
        "metadata": {"name": name},
        "spec": BUILT_IN_TIERS[name],
    }
    try:
        found = api.request("GET", f"{path}/{name}")
    except ApiError:
        api.request("POST", path, tier)
        return
    metadata = found["metadata"]
    foreign = [key for key in ("labels", "annotations", "finalizers") if metadata.get(key)]
    if foreign or found["spec"] != tier["spec"]:
        tier["metadata"]["resourceVersion"] = metadata["resourceVersion"]
        api.request("PUT", f"{path}/{name}", tier)


def _wait(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(f"the cluster did not take {what} in {SETTLE_SECONDS} s")
        time.sleep(0.05)

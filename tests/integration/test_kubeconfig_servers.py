"""Clients made from kubeconfigs, against real API servers and servers that tell what they saw."""

import base64
import contextlib
import logging
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from urllib3.exceptions import InsecureRequestWarning, SSLError

from sync.clusters.kubernetes.auth import kubeconfig
from sync.clusters.kubernetes.auth.exec_plugin import Credentials
from sync.clusters.kubernetes.auth.kubeconfig import PARALLEL, Access, Connection, connect
from sync.clusters.kubernetes.auth.kubeconfig_file import SERVICE_ACCOUNT
from sync.errors import ClusterError
from tests.kubernetes_cluster import GUEST, ControlPlane
from tests.kubernetes_words import api, made, reader, writer

SETS = "/apis/projectcalico.org/v3/globalnetworksets"
SECRET = "s3cr3t-t0ken"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextlib.contextmanager
def connected(
    file: Path | None,
    *plugins: str,
    insecure: bool = False,
    service_account: Path = SERVICE_ACCOUNT,
) -> Iterator[Connection]:
    access = Access("prod", file, None, plugins, timedelta(seconds=60), insecure)
    connection = connect(access, service_account)
    try:
        yield connection
    finally:
        connection.client.rest_client.close()


def get(connection: Connection, path: str) -> urllib3.BaseHTTPResponse:
    """A request as the cluster writers send it."""
    client = connection.client
    headers = dict(client.default_headers)
    if token := client.configuration.auth_settings().get("BearerToken"):
        headers["Authorization"] = str(token["value"])
    return client.rest_client.pool_manager.request(
        "GET", f"{client.configuration.host}{path}", headers=headers, retries=False
    )


def status(file: Path | None, *plugins: str, service_account: Path = SERVICE_ACCOUNT) -> int:
    """How a new client is answered that asks for the sets."""
    with connected(file, *plugins, service_account=service_account) as connection:
        return get(connection, SETS).status


def with_user(file: Path, user: dict[str, Any]) -> Path:
    """The same kubeconfig with another user."""
    document = yaml.safe_load(file.read_text())
    document["users"][0]["user"] = user
    file.write_text(yaml.safe_dump(document))
    return file


def test_a_token_is_taken_by_a_cluster(calico: ControlPlane, tmp_path: Path) -> None:
    assert status(calico.kubeconfig(path=tmp_path / "admin")) == 200
    assert status(calico.kubeconfig(user=GUEST, path=tmp_path / "guest")) == 403
    assert status(calico.kubeconfig("wrong", path=tmp_path / "wrong")) == 401


def test_a_user_without_credentials_is_anonymous(calico: ControlPlane, tmp_path: Path) -> None:
    with connected(with_user(calico.kubeconfig(path=tmp_path / "k"), {})) as connection:
        answer = get(connection, SETS)
    assert answer.status == 403
    assert b"system:anonymous" in answer.data


def test_a_new_token_in_the_token_file_is_followed(calico: ControlPlane, tmp_path: Path) -> None:
    file = with_user(calico.kubeconfig(path=tmp_path / "k"), {"tokenFile": "token"})
    (tmp_path / "token").write_text(calico.guest_token)
    assert status(file) == 403
    (tmp_path / "token").write_text(f"{calico.admin_token}\n")
    assert status(file) == 200


def test_a_token_of_an_exec_plugin_is_taken(calico: ControlPlane, tmp_path: Path) -> None:
    version = "client.authentication.k8s.io/v1"
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!{sys.executable} -IS\n"
        "import json, sys\n"
        f"credential = {{'apiVersion': {version!r}, 'kind': 'ExecCredential',\n"
        "              'status': {'token': sys.argv[1]}}\n"
        "print(json.dumps(credential))\n"
    )
    plugin.chmod(0o700)
    user = {"exec": {"command": "./plugin", "apiVersion": version, "args": [calico.admin_token]}}
    file = with_user(calico.kubeconfig(path=tmp_path / "k"), user)
    assert status(file, "./plugin") == 200


def test_one_user_acts_as_another(calico: ControlPlane, tmp_path: Path) -> None:
    file = calico.kubeconfig(path=tmp_path / "k")
    user = {"token": calico.admin_token, "as": GUEST}
    assert status(with_user(file, user)) == 403
    assert status(with_user(file, {**user, "as-groups": ["system:masters"]})) == 200


def test_a_pod_reaches_its_own_cluster(
    calico: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = calico.url.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    (tmp_path / "ca.crt").write_bytes(calico.ca_file.read_bytes())
    (tmp_path / "token").write_text(calico.guest_token)
    assert status(None, service_account=tmp_path) == 403
    (tmp_path / "token").write_text(calico.admin_token)
    assert status(None, service_account=tmp_path) == 200
    with connected(None, service_account=tmp_path) as connection:
        assert set(connection.files) == {tmp_path / "ca.crt", tmp_path / "token"}


def test_the_authority_of_another_cluster_is_not_believed(
    calico: ControlPlane, authority: "Authority", tmp_path: Path
) -> None:
    document = yaml.safe_load(calico.kubeconfig(path=tmp_path / "k").read_text())
    other = base64.b64encode(authority.certificate).decode()
    document["clusters"][0]["cluster"]["certificate-authority-data"] = other
    (tmp_path / "k").write_text(yaml.safe_dump(document))
    with connected(tmp_path / "k") as connection, pytest.raises(SSLError):
        get(connection, SETS)


@dataclass(frozen=True)
class Authority:
    """Signs certificates with openssl."""

    folder: Path

    @property
    def certificate(self) -> bytes:
        return (self.folder / "ca.pem").read_bytes()

    def create(self) -> None:
        self._openssl(
            *self._request("ca"),
            "-x509",
            "-days=2",
            "-addext=basicConstraints=critical,CA:TRUE",
            "-out=ca.pem",
        )

    def sign(self, name: str, usage: str = "serverAuth", host: str = "IP:127.0.0.1") -> None:
        """A certificate `<name>.pem` and its key `<name>.key`."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={host}\nextendedKeyUsage={usage}")
        self._openssl(*self._request(name), f"-out={name}.csr")
        self._openssl(
            "x509", "-req", f"-in={name}.csr", "-CA=ca.pem", "-CAkey=ca.key", "-CAcreateserial",
            "-days=2", f"-extfile={name}.ext", f"-out={name}.pem",
        )  # fmt: skip

    def _request(self, name: str) -> list[str]:
        return [
            "req", "-new", "-newkey=ec", "-pkeyopt=ec_paramgen_curve:P-256", "-nodes",
            f"-subj=/CN={name}", f"-keyout={name}.key",
        ]  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        # openssl wants an option's value as an argument of its own.
        split = [part for each in arguments for part in each.split("=", 1)]
        subprocess.run(["openssl", *split], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.create()
    made.sign("server")
    made.sign("named", host="DNS:api.internal")
    made.sign("sync", "clientAuth")
    return made


@dataclass
class Server:
    """A TLS server on loopback, and what it has seen of its clients."""

    url: str
    headers: list[dict[str, str]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    subjects: list[Any] = field(default_factory=list)
    together: threading.Barrier | None = None


@contextlib.contextmanager
def serving(authority: Authority, certificate: str = "server") -> Iterator[Server]:
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate.decode()
    )
    folder = authority.folder
    context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
    context.verify_mode = ssl.CERT_OPTIONAL

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            assert isinstance(self.connection, ssl.SSLSocket)
            server.headers.append(dict(self.headers))
            server.subjects.append((self.connection.getpeercert() or {}).get("subject"))
            if server.together:
                server.together.wait(60)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: object) -> None:
            pass

    class TlsServer(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = False

        def get_request(self) -> tuple[socket.socket, Any]:
            accepted, address = super().get_request()
            wrapped = context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
            return wrapped, address

        def handle_error(self, *arguments: object) -> None:
            """A client that does not like our certificate is no error here."""

    with TlsServer(("127.0.0.1", 0), Handler) as listening:
        server = Server(f"https://127.0.0.1:{listening.server_port}")
        context.sni_callback = lambda _socket, name, _context: server.names.append(name)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def written(
    file: Path, server: Server, authority: Authority | None, user: dict[str, Any], **cluster: Any
) -> Path:
    entry = {
        "server": server.url,
        **{key.replace("_", "-"): value for key, value in cluster.items()},
    }
    if authority:
        entry["certificate-authority"] = str(authority.folder / "ca.pem")
    document = {
        "clusters": [{"name": "c", "cluster": entry}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(yaml.safe_dump(document))
    return file


def test_nothing_is_sent_to_a_server_that_nobody_vouches_for(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    other.create()
    file = tmp_path / "k"
    with serving(authority) as server:
        for vouching in (other, None):  # another authority, and those of the system
            written(file, server, vouching, {"token": SECRET})
            with connected(file) as connection, pytest.raises(SSLError, match="verify failed"):
                get(connection, "/")
            # The setting alone changes nothing.
            with connected(file, insecure=True) as connection, pytest.raises(SSLError):
                get(connection, "/")
        assert server.headers == []
        written(file, server, authority, {"token": SECRET})
        with connected(file) as connection:
            assert get(connection, "/").status == 200
        assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {SECRET}"]


def test_a_certificate_that_is_trusted_itself_is_enough(
    authority: Authority, tmp_path: Path
) -> None:
    leaf = base64.b64encode("Größe:\n".encode() + (authority.folder / "server.pem").read_bytes())
    data = {"certificate-authority-data": leaf.decode()}
    with serving(authority) as server:
        file = written(tmp_path / "k", server, None, {}, **data)
        with connected(file) as connection:
            assert get(connection, "/").status == 200


def test_verification_is_left_out_with_leave_only(authority: Authority, tmp_path: Path) -> None:
    with serving(authority) as server:
        file = written(tmp_path / "k", server, None, {}, insecure_skip_tls_verify=True)
        with connected(file, insecure=True) as connection, pytest.warns(InsecureRequestWarning):
            assert get(connection, "/").status == 200


def test_a_server_is_asked_for_by_its_tls_name(authority: Authority, tmp_path: Path) -> None:
    with serving(authority, "named") as server:
        file = written(tmp_path / "k", server, authority, {"token": SECRET})
        with connected(file) as connection, pytest.raises(SSLError, match="IP address mismatch"):
            get(connection, "/")
        written(file, server, authority, {}, tls_server_name="other.internal")
        with connected(file) as connection, pytest.raises(SSLError, match="Hostname mismatch"):
            get(connection, "/")
        assert server.headers == []
        written(file, server, authority, {}, tls_server_name="api.internal")
        with connected(file) as connection:
            assert get(connection, "/").status == 200
        assert server.names == [None, "other.internal", "api.internal"]


@pytest.mark.parametrize("form", ["files", "data", "plugin"])
def test_a_client_certificate_is_shown_and_its_key_is_left_nowhere(
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    folder = authority.folder
    temporary = tmp_path / "tmp"
    # In a container there may be no place to write: on Linux the key is in memory alone.
    if sys.platform != "linux":
        temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    names = {"client-certificate": "sync.pem", "client-key": "sync.key"}
    users: dict[str, dict[str, Any]] = {
        "files": {key: str(folder / name) for key, name in names.items()},
        "data": {
            f"{key}-data": base64.b64encode((folder / name).read_bytes()).decode()
            for key, name in names.items()
        },
        "plugin": {"exec": {"command": "zb", "apiVersion": "client.authentication.k8s.io/v1"}},
    }
    both = b"".join((folder / name).read_bytes() for name in names.values())
    monkeypatch.setattr(kubeconfig, "ask", lambda *_: Credentials(None, both, None))
    with serving(authority) as server:
        file = written(tmp_path / "k", server, authority, users[form])
        for _ in range(3):
            with connected(file, "zb") as connection:
                assert not list(temporary.glob("*"))
                assert get(connection, "/").status == 200
    assert server.subjects == [((("commonName", "sync"),),)] * 3


def test_a_key_of_another_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    folder = authority.folder
    user = {
        "client-certificate": str(folder / "sync.pem"),
        "client-key": str(folder / "server.key"),
    }
    file = written(tmp_path / "k", Server("https://127.0.0.1:1"), authority, user)
    with pytest.raises(ClusterError, match="are not a PEM pair"), connected(file):
        pass


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(
    authority: Authority, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", authority.folder / "sync.key",
         "-out", locked],
        check=True,
        capture_output=True,
    )  # fmt: skip
    user = {"client-certificate": str(authority.folder / "sync.pem"), "client-key": str(locked)}
    file = written(tmp_path / "k", Server("https://127.0.0.1:1"), authority, user)
    with pytest.raises(ClusterError, match="without a password"), connected(file):
        pass


def test_as_many_requests_as_are_sent_at_once_keep_their_connections(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(authority) as server:
        # Each request waits for all others: they are under way at the same time.
        server.together = threading.Barrier(PARALLEL)
        file = written(tmp_path / "k", server, authority, {"token": SECRET})
        with (
            caplog.at_level(logging.WARNING, "urllib3"),
            connected(file) as connection,
            ThreadPoolExecutor(PARALLEL) as threads,
        ):
            for _ in range(2):
                answers = threads.map(lambda _: get(connection, "/").status, range(PARALLEL))
                assert list(answers) == [200] * PARALLEL
    assert len(server.headers) == 2 * PARALLEL
    assert len(server.names) == PARALLEL  # one handshake a connection
    assert not caplog.records


@contextlib.contextmanager
def proxying(*, passes_on: bool) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A proxy for what is encrypted: host and port, and what it was asked for and by whom."""
    asked: list[tuple[str, str | None]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append((self.path, self.headers["Proxy-Authorization"]))
            if not passes_on:
                self.send_error(407)
                return
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as there:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: there, there: self.connection}
                # Not `select`, which knows no descriptor above 1,023.
                with selectors.DefaultSelector() as waiting:
                    for end in ends:
                        waiting.register(end, selectors.EVENT_READ)
                    while all(
                        self.pass_on(end, ends[end])
                        for end in (each.fileobj for each, _ in waiting.select())
                        if isinstance(end, socket.socket)
                    ):
                        pass
            self.close_connection = True

        def pass_on(self, end: socket.socket, other: socket.socket) -> bool:
            data = end.recv(65536)
            other.sendall(data)
            return bool(data)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{listening.server_port}", asked
        finally:
            listening.shutdown()
            thread.join()


def test_a_cluster_is_reached_through_the_proxy_of_its_kubeconfig(
    authority: Authority, tmp_path: Path
) -> None:
    with proxying(passes_on=False) as (address, asked):
        elsewhere = Server("https://api.invalid:6443")
        proxy = f"http://me:secret@{address}"
        file = written(tmp_path / "k", elsewhere, authority, {}, proxy_url=proxy)
        with connected(file) as connection, pytest.raises(urllib3.exceptions.ProxyError):
            get(connection, "/")
    password = base64.b64encode(b"me:secret").decode()
    assert asked == [("api.invalid:6443", f"Basic {password}")]


def test_a_cluster_is_written_through_a_proxy(calico: ControlPlane, tmp_path: Path) -> None:
    document = yaml.safe_load(calico.kubeconfig(path=tmp_path / "k").read_text())
    web = made("pan.web", "10.0.0.1/32")
    with proxying(passes_on=True) as (address, asked):
        document["clusters"][0]["cluster"]["proxy-url"] = f"http://{address}"
        (tmp_path / "k").write_text(yaml.safe_dump(document))
        proxied = api(calico, kubeconfig=tmp_path / "k")
        try:
            writer(proxied).create(web)
            assert reader(proxied).read()["GlobalNetworkSet", "pan.web"].manifest == web
        finally:
            proxied.close()
    assert asked == [(calico.url.removeprefix("https://"), None)]

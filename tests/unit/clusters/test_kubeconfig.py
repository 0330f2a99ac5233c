"""What a kubeconfig may say, and that everything else is refused in one clear sentence."""

import base64
import contextlib
import copy
import dataclasses
import json
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sync.clusters.kubernetes.auth.kubeconfig import Access, Connection, Connector, connect
from sync.errors import ClusterError

SECRET = "s3cr3t-t0ken"
ACCESS = Access("prod", None, None, (), timedelta(seconds=30), insecure_skip_tls_verify=False)

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kubeconfig"


def document(
    user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A kubeconfig with two contexts, of which `test` is the current one."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [
            {"name": "east", "cluster": {"server": "https://east.example:6443", **(cluster or {})}},
            {"name": "west", "cluster": {"server": "https://west.example/k8s/c-1/"}},
        ],
        "users": [{"name": "sync", "user": {"token": SECRET} if user is None else user}],
        "contexts": [
            {"name": "test", "context": {"cluster": "east", "user": "sync"}},
            {"name": "other", "context": {"cluster": "west", "user": "", "namespace": "x"}},
        ],
        "current-context": "test",
    }


def reached(file: Path, content: dict[str, Any] | str | bytes, **access: Any) -> Connection:
    """Connected with a kubeconfig of this content, and closed again."""
    if isinstance(content, dict):
        content = yaml.safe_dump(content)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    connection = connect(dataclasses.replace(ACCESS, kubeconfig=file, **access))
    connection.client.rest_client.close()
    return connection


def refused(file: Path, content: dict[str, Any] | str | bytes, **access: Any) -> str:
    """The message that such a kubeconfig is refused with."""
    with pytest.raises(ClusterError) as caught:
        reached(file, content, **access)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.exit_code == 5
    message = str(caught.value)
    assert message.startswith(f"cluster prod: {file}: ")
    assert "\n" not in message
    return message


def authorization(connection: Connection) -> str | None:
    setting = connection.client.configuration.auth_settings().get("BearerToken")
    return setting["value"] if setting else None


def test_the_current_context_is_used(file: Path) -> None:
    connection = reached(file, document())
    assert connection.client.configuration.host == "https://east.example:6443"
    assert authorization(connection) == f"Bearer {SECRET}"


def test_a_context_can_be_chosen_and_need_not_have_a_user(file: Path) -> None:
    connection = reached(file, document(), context="other")
    assert connection.client.configuration.host == "https://west.example/k8s/c-1"
    assert authorization(connection) is None


def test_the_context_that_was_current_at_first_stays_in_use(file: Path) -> None:
    connector = Connector(dataclasses.replace(ACCESS, kubeconfig=file))
    # A file that comes later is settled by the first that connects.
    with pytest.raises(ClusterError):
        connector.pin()
    with pytest.raises(ClusterError):
        connector()
    assert connector.context is None
    file.write_text(yaml.safe_dump(document()))
    for current in ("test", "other"):
        file.write_text(yaml.safe_dump({**document(), "current-context": current}))
        connection = connector()
        connection.client.rest_client.close()
        assert connection.client.configuration.host == "https://east.example:6443"
    assert connector.context == "test"


def test_several_contexts_are_told_where_none_is_named(file: Path) -> None:
    file.write_text(yaml.safe_dump(document()))
    access = dataclasses.replace(ACCESS, kubeconfig=file)
    assert Connector(access).pin() == ("other", "test")
    assert Connector(dataclasses.replace(access, context="other")).pin() == ()
    assert Connector(ACCESS).pin() == ()
    file.write_text(yaml.safe_dump({**document(), "contexts": document()["contexts"][:1]}))
    assert Connector(access).pin() == ()


def test_json_is_read_too(file: Path) -> None:
    assert authorization(reached(file, json.dumps(document()))) == f"Bearer {SECRET}"


def test_what_is_not_chosen_does_not_matter(file: Path) -> None:
    content = document()
    content["clusters"] += [{"name": "bad", "cluster": 3}, {}]
    content["users"] += [{"name": "bad", "user": {"auth-provider": {"name": "gcp"}}}]
    assert reached(file, content)


def test_null_is_as_good_as_missing(file: Path) -> None:
    content = document({"token": None, "exec": None, "as-groups": None})
    content["preferences"] = None
    assert authorization(reached(file, content)) is None
    content["users"][0]["user"] = None
    assert authorization(reached(file, content)) is None


def test_objects_are_written_under_our_name(file: Path) -> None:
    assert reached(file, document()).client.default_headers["User-Agent"] == "zonebridge"


def test_nothing_in_the_client_renews_or_retries(file: Path) -> None:
    configuration = reached(file, document()).client.configuration
    assert configuration.refresh_api_key_hook is None
    assert configuration.retries is False


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(ClusterError, match=r"correct clusters\[\]\.kubeconfig"):
            connect(dataclasses.replace(ACCESS, kubeconfig=path))


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("", "it is no kubeconfig"),
        ("[]", "it is no kubeconfig"),
        ("a: [", "is not one YAML document (line 2)"),
        (f"{SECRET}: '{SECRET}\nx", "is not one YAML document"),
        (b"\xff\xfe\x00", "holds a control character"),
        ("a: b\n---\na: b", "is not one YAML document (line 2)"),
        ("a: &x 1\nb: *x", "is not one YAML document (line 2): aliases"),
        ("a: {}\na: {}", "is not one YAML document (line 2): this key is given twice"),
        ("[" * 100, "64 levels"),
        (f"a: !!int {SECRET}", "not of its tag's type"),
        ("a: " + ":".join("1" * 400) + ".5", "not of its tag's type"),
        ("#" * 1_048_577, "larger than 1048576 bytes"),
        ("a: b", "has no current-context; set clusters[].context to one of its contexts: none"),
        ("current-context: 3", "current-context: Input should be a valid string"),
        ("contexts: {}", "contexts: Input should be a valid list"),
        ("contexts: [3]", "contexts[0]: Input should be a valid dictionary"),
    ],
)
def test_what_is_no_kubeconfig_is_refused(file: Path, content: str | bytes, fragment: str) -> None:
    assert fragment in refused(file, content)


def in_cluster(content: dict[str, Any], **values: Any) -> None:
    content["clusters"][0]["cluster"].update(values)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda it: it.pop("current-context"), "to one of its contexts: other, test"),
        (lambda it: it.update({"current-context": "x"}), "has no context x, only other, test;"),
        (lambda it: it["contexts"].append({"name": "test"}), "more than one context test"),
        (lambda it: it["contexts"][0].pop("context"), "contexts[test].context: cluster: Field req"),
        (lambda it: it["contexts"][0].update(context=[]), "contexts[test].context: Input should"),
        (lambda it: it["contexts"][0]["context"].update(user=7), "user: Input should be a valid s"),
        (lambda it: it["contexts"][0]["context"].update(user="x"), "has no user x, only sync; cor"),
        (lambda it: it.pop("users"), "has no user sync, only none; correct context test"),
        (lambda it: it["clusters"].pop(0), "has no cluster east, only west"),
        (
            lambda it: it["clusters"][0]["cluster"].pop("server"),
            "clusters[east].cluster: server: F",
        ),
        (lambda it: it["users"][0].update(user=3), "users[sync].user: Input should be"),
        (
            lambda it: it["users"][0]["user"].update(token=3),
            "users[sync].user: token: Input should",
        ),
        (
            lambda it: in_cluster(it, **{"insecure-skip-tls-verify": "no"}),
            "insecure-skip-tls-verif",
        ),
        (lambda it: in_cluster(it, **{"certificate-authority": "ca"}), "there is no file"),
        (lambda it: in_cluster(it, **{"certificate-authority-data": "ä"}), "-data is not base64"),
        (lambda it: in_cluster(it, **{"certificate-authority-data": "YQ=="}), "no PEM certificate"),
        (lambda it: in_cluster(it, **{"tls-server-name": "a..b"}), "server or tls-server-name"),
        (lambda it: in_cluster(it, **{"proxy-url": "ftp://x"}), "proxy-url of the cluster is no"),
        (
            lambda it: in_cluster(it, **{"proxy-url": "http://[:1"}),
            "proxy-url of the cluster is no",
        ),
    ],
)
def test_a_wrong_part_is_refused_by_its_place(file: Path, change: Change, fragment: str) -> None:
    content = document()
    change(content)
    assert fragment in refused(file, content)


@pytest.mark.parametrize(
    "server",
    [
        "",
        "east.example",
        "east.example:6443",
        "ftp://east.example",
        "https://",
        "https://[",
        "https://a:99999",
        "https://a b",
        "https://a/\nx",
        "https://a?x",
        "https://a#x",
        f"https://me:{SECRET}@a",
        f"https://{'a' * 64}",
    ],
)
def test_a_server_that_is_no_url_is_refused(file: Path, server: str) -> None:
    message = refused(file, document(cluster={"server": server}), insecure_skip_tls_verify=True)
    assert "https://api.example.com:6443" in message


@pytest.mark.parametrize(
    "cluster", [{"insecure-skip-tls-verify": True}, {"server": "HTTP://east.example"}]
)
def test_what_is_not_verified_needs_leave(file: Path, cluster: dict[str, Any]) -> None:
    message = refused(file, document(cluster=cluster))
    assert "clusters[].insecure_skip_tls_verify: true" in message
    assert reached(file, document(cluster=cluster), insecure_skip_tls_verify=True)


def test_leave_alone_switches_no_verification_off(file: Path) -> None:
    connection = reached(file, document(), insecure_skip_tls_verify=True)
    assert connection.client.configuration.verify_ssl
    context = connection.client.rest_client.pool_manager.connection_pool_kw["ssl_context"]
    assert context.check_hostname


@pytest.mark.parametrize(
    ("user", "fragment"),
    [
        ({"auth-provider": {"name": "gcp"}}, "use exec with your provider's plugin"),
        ({"username": "me", "password": SECRET}, "no API server accepts"),
        ({"password": SECRET}, "no API server accepts"),
        ({"token": f"{SECRET}\nx: y"}, "characters that no token has"),
        ({"token": f"{SECRET}é"}, "characters that no token has"),
        ({"tokenFile": "missing"}, "correct tokenFile"),
        ({"tokenFile": "a\0b"}, "correct tokenFile"),
        ({"client-certificate-data": "YQ=="}, "only one of client-certificate and client-key"),
        ({"client-key-data": "YQ=="}, "only one of client-certificate and client-key"),
        ({"client-key-data": SECRET}, "client-key-data is not base64"),
        ({"client-key": "missing"}, "correct client-key"),
        (
            {"client-certificate-data": "YQ==", "client-key-data": "YQ=="},
            "not a PEM pair without a password",
        ),
        ({"as-groups": ["x"]}, "need as; add it"),
        ({"as": "me", "as-groups": ["x", "y"]}, "may have one value here"),
        ({"as": "me", "as-user-extra": {"k": ["x", "y"]}}, "may have one value here"),
        ({"as": "me\nX: y"}, "printable ASCII"),
        ({"as": "me", "as-uid": " "}, "printable ASCII"),
        ({"as": "me", "as-groups": "x"}, "as-groups: Input should be a valid list"),
        ({"exec": {"command": "x"}}, "exec.apiVersion: Field required"),
        ({"exec": {"command": "x", "apiVersion": "v1"}}, "exec.apiVersion: Input should be"),
    ],
)
def test_a_wrong_user_is_refused(file: Path, user: dict[str, Any], fragment: str) -> None:
    assert fragment in refused(file, document(user))


def test_impersonation_is_asked_for(file: Path) -> None:
    extra = {"Scopes/ü": ["x y"], "none": []}
    user = {"as": "system:me", "as-uid": "7", "as-groups": ["ops"], "as-user-extra": extra}
    headers = reached(file, document(user)).client.default_headers
    del headers["User-Agent"]
    assert headers == {
        "Impersonate-User": "system:me",
        "Impersonate-Uid": "7",
        "Impersonate-Group": "ops",
        "Impersonate-Extra-Scopes%2F%C3%BC": "x y",
    }


def test_a_token_file_lies_beside_the_kubeconfig_and_goes_before_a_token(file: Path) -> None:
    file.with_name("token").write_text(f" {SECRET}\n")
    connection = reached(file, document({"tokenFile": "token", "token": "old"}))
    assert authorization(connection) == f"Bearer {SECRET}"
    assert set(connection.files) >= {file, file.with_name("token")}
    file.with_name("token").write_text("\n")
    assert "is empty; renew it" in refused(file, document({"tokenFile": "token"}))


def test_a_proxy_of_the_kubeconfig_is_used_with_its_password(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    content = document(cluster={"proxy-url": "http://me:a%20b@proxy.example:3128"})
    manager = reached(file, content).client.rest_client.pool_manager
    assert isinstance(manager, urllib3.ProxyManager)
    assert manager.proxy is not None
    assert manager.proxy.host == "proxy.example"
    password = base64.b64encode(b"me:a b").decode()
    assert manager.proxy_headers == {"proxy-authorization": f"Basic {password}"}


def test_a_proxy_of_the_environment_is_used_unless_no_proxy_says_otherwise(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    manager = reached(file, document()).client.rest_client.pool_manager
    assert isinstance(manager, urllib3.ProxyManager)
    monkeypatch.setenv("NO_PROXY", ".example")
    manager = reached(file, document()).client.rest_client.pool_manager
    assert not isinstance(manager, urllib3.ProxyManager)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy.example")
    assert "HTTPS_PROXY or ALL_PROXY is not a usable proxy" in refused(file, document())


def test_outside_a_pod_the_message_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    remedy = r"name clusters\[\]\.kubeconfig, or run in a pod"
    with pytest.raises(ClusterError, match=remedy):
        connect(ACCESS, service_account_in=tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ClusterError, match=remedy):
        connect(ACCESS, service_account_in=tmp_path)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["east", "sync", "test", "https://x", "/", "YQ==", "token", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "cluster", "user", "context", "server", "token", "exec", "command", "as"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
EVERYTHING = document(
    {
        "token": "x",
        "tokenFile": "x",
        "client-certificate": "x",
        "client-certificate-data": "YQ==",
        "client-key": "x",
        "client-key-data": "YQ==",
        "exec": {
            "command": "x",
            "apiVersion": "client.authentication.k8s.io/v1",
            "args": ["x"],
            "env": [{"name": "x", "value": "y"}],
        },
        "as": "x",
        "as-uid": "x",
        "as-groups": ["x"],
        "as-user-extra": {"x": ["y"]},
    },
    {
        "certificate-authority": "x",
        "certificate-authority-data": "YQ==",
        "tls-server-name": "x",
        "proxy-url": "http://x",
        "insecure-skip-tls-verify": True,
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {}}],
    },
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps: list[Any] = []
    if isinstance(value, dict):
        steps = list(value)
    elif isinstance(value, list):
        steps = list(range(len(value)))
    return [path, *(found for step in steps for found in places(value[step], (*path, step)))]


PLACES = [path for path in places(EVERYTHING) if path]


@given(
    drops=st.sets(st.sampled_from(PLACES), max_size=12),
    changes=st.dictionaries(st.sampled_from(PLACES), VALUES, max_size=4),
    insecure=st.booleans(),
)
def test_a_broken_kubeconfig_is_refused_and_never_crashes(
    drops: set[tuple[Any, ...]], changes: dict[tuple[Any, ...], Any], insecure: bool
) -> None:
    content = copy.deepcopy(EVERYTHING)
    for path in (*sorted(drops, key=str), *changes):
        inner: Any = content
        try:
            for step in path[:-1]:
                inner = inner[step]
            if path in changes:
                inner[path[-1]] = changes[path]
            else:
                del inner[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # another change has taken the place away
    only_cluster_errors(json.dumps(content).encode(), insecure_skip_tls_verify=insecure)


@given(VALUES)
def test_any_structure_is_refused_and_never_crashes(value: Any) -> None:
    only_cluster_errors(yaml.safe_dump(value).encode())


@given(st.binary(max_size=64) | st.text("!&*-:[]{}'\"|>%@`a1.=<? \n\t", max_size=64))
def test_any_bytes_are_refused_and_never_crash(content: bytes | str) -> None:
    only_cluster_errors(content.encode() if isinstance(content, str) else content)


def only_cluster_errors(content: bytes, **access: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ClusterError):
        reached(Path(folder) / "kubeconfig", content, **access)

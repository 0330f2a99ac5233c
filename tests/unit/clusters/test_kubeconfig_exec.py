"""Exec plugins: which run, with what, for how long, and what is taken of their answers."""

import json
import os
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from sync.clusters.kubernetes.auth.kubeconfig import Access, Connection, connect
from sync.errors import ClusterError

SECRET = "s3cr3t-t0ken"
V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
COMMAND = "./bin/plugin"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the kubeconfig and its plugin, with nothing of the test's environment."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    return tmp_path


def install(home: Path, body: str, name: str = COMMAND) -> None:
    """A plugin in Python."""
    program = home / name
    program.write_text(f"#!{sys.executable} -IS\nimport json, os, sys, time\n{body}\n")
    program.chmod(0o700)


def answer(status: dict[str, Any] | None = None, **changes: Any) -> str:
    """What a plugin prints, as a plugin."""
    status = {"token": SECRET} if status is None else status
    credential = {"apiVersion": V1, "kind": "ExecCredential", "status": status, **changes}
    return f"print({json.dumps(credential)!r})"


def ask(
    home: Path,
    *,
    allowed: tuple[str, ...] = (COMMAND,),
    seconds: float = 60,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    **changes: Any,
) -> Connection:
    plugin = {"command": COMMAND, "apiVersion": V1, "interactiveMode": "Never", **changes}
    cluster = {"server": "https://x", **(cluster or {})}
    document = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"exec": plugin, **(user or {})}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = home / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    timeout = timedelta(seconds=seconds)
    found = connect(Access("prod", file, None, allowed, timeout, insecure_skip_tls_verify=False))
    found.client.rest_client.close()
    return found


def refused(home: Path, **options: Any) -> str:
    with pytest.raises(ClusterError) as caught:
        ask(home, **options)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def token(connection: Connection) -> str | None:
    found: str | None = connection.client.configuration.auth_settings()["BearerToken"]["value"]
    return found


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_plugin_gives_a_token(home: Path, version: str) -> None:
    install(home, answer(apiVersion=version))
    connection = ask(home, apiVersion=version)
    assert token(connection) == f"Bearer {SECRET}"


@pytest.mark.parametrize("allowed", [(), ("plugin",), ("bin/plugin",), ("./bin",)])
def test_a_plugin_that_is_not_listed_does_not_run(home: Path, allowed: tuple[str, ...]) -> None:
    install(home, "open('ran', 'w')")
    message = refused(home, allowed=allowed)
    assert COMMAND in message
    assert "clusters[].exec_plugins" in message
    assert not (home / "ran").exists()


def test_a_plugin_is_told_what_the_contract_says(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEBRIDGE_SOURCES__0__API_KEY", SECRET)
    monkeypatch.setenv("AWS_PROFILE", "ours")
    said = home / "said"
    install(
        home,
        f"open({str(said)!r}, 'w').write(json.dumps("
        "[sys.argv[1:], dict(os.environ), sys.stdin.read(), os.getpgid(0) == os.getpid()]))\n"
        + answer(),
    )
    ask(home, args=["get", "a b"], env=[{"name": "REGION", "value": "x"}])
    arguments, environment, given, own_group = json.loads(said.read_text())
    assert arguments == ["get", "a b"]
    assert (environment["REGION"], environment["AWS_PROFILE"]) == ("x", "ours")
    assert SECRET not in environment.values()
    assert given == ""
    assert own_group
    assert json.loads(environment["KUBERNETES_EXEC_INFO"]) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }


def test_a_plugin_is_told_of_the_cluster_if_it_asks(home: Path) -> None:
    said = home / "said"
    record = f"open({str(said)!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'])\n"
    install(home, record + answer())
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": ["x"]}}
    others = {"name": "other", "extension": 3}
    ask(
        home,
        provideClusterInfo=True,
        cluster={"tls-server-name": "api", "extensions": [others, extension]},
    )
    assert json.loads(said.read_text())["spec"] == {
        "interactive": False,
        "cluster": {
            "server": "https://x",
            "tls-server-name": "api",
            "config": {"audience": ["x"]},
        },
    }


def test_an_extension_without_json_form_is_refused(home: Path) -> None:
    install(home, answer())
    for value in (datetime(2026, 1, 1, tzinfo=UTC), float("nan"), b"x"):
        extension = {"name": "client.authentication.k8s.io/exec", "extension": value}
        message = refused(home, provideClusterInfo=True, cluster={"extensions": [extension]})
        assert "no JSON form" in message


def test_a_bare_name_is_found_in_our_path_and_not_in_that_of_the_kubeconfig(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "evil").mkdir()
    install(home, answer({"token": "evil"}), "evil/zb-plugin")
    install(home, answer(), "bin/zb-plugin")
    elsewhere = [{"name": "PATH", "value": str(home / "evil")}]
    options: dict[str, Any] = {"command": "zb-plugin", "allowed": ("zb-plugin",)}
    assert "no program in PATH" in refused(home, env=elsewhere, **options)
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert token(ask(home, env=elsewhere, **options)) == f"Bearer {SECRET}"


def test_a_command_with_a_slash_is_relative_to_the_kubeconfig(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert f"no program at {home / COMMAND}" in refused(home)
    install(home, answer())
    assert token(ask(home)) == f"Bearer {SECRET}"


def test_a_plugin_that_takes_too_long_is_killed_with_its_children(home: Path) -> None:
    pipe = home / "pipe"
    os.mkfifo(pipe)
    child = "pipe = open('pipe', 'w'); pipe.write('x'); pipe.flush(); time.sleep(3600)"
    install(home, f"os.chdir({str(home)!r})\nos.fork()\n{child}")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        # However slow the machine is, one of these suffices for both to start.
        for seconds in (0.5, 4, 32):
            message = refused(home, seconds=seconds)
            assert f"within {seconds:g} s and was killed" in message
            assert "clusters[].exec_timeout" in message
            os.set_blocking(reader, True)  # the end comes once nobody is left who could write
            read = b""
            while part := os.read(reader, 10):
                read += part
            os.set_blocking(reader, False)
            if read == b"xx":
                return
        pytest.fail("the plugin never got to run")
    finally:
        os.close(reader)


def test_a_plugin_that_only_closes_its_output_is_killed_too(home: Path) -> None:
    install(home, "sys.stdout.close()\nos.close(2)\ntime.sleep(3600)")
    assert "was killed" in refused(home, seconds=1)


def test_a_plugin_that_talks_without_end_is_killed(home: Path) -> None:
    install(home, f"while True: print('{SECRET}' * 1000)")
    assert "wrote more than 1048576 bytes" in refused(home)


def test_a_plugin_may_complain_at_length(home: Path) -> None:
    install(home, f"sys.stderr.write('warning ' * 500000)\n{answer()}")
    assert token(ask(home)) == f"Bearer {SECRET}"


def test_what_a_plugin_says_when_it_fails_is_logged_and_in_no_error(home: Path) -> None:
    complaint = "print('first\\nlog in \\x1b[31magain\\n', file=sys.stderr)"
    install(home, f"print('{SECRET}')\n{complaint}\nsys.exit(3)")
    with capture_logs() as logs:
        message = refused(home)
    assert "failed with 3, and the log has what it said; run it by hand" in message
    assert "log in" not in message
    assert [each["said"] for each in logs] == ["log in [31magain"]
    install(home, "sys.exit(1)")
    with capture_logs() as logs:
        refused(home)
    assert [each["said"] for each in logs] == ["it writes nothing"]


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        ("pass", "Invalid JSON"),
        (f"print('{SECRET}')", "Invalid JSON"),
        (f"print('\"{SECRET}\"')", "did not answer with an ExecCredential"),
        ("print('{}')", "apiVersion: Field required"),
        (answer(kind="TokenReview"), "kind: Input should be 'ExecCredential'"),
        (answer(apiVersion=V1BETA1), "does not answer in the asked"),
        (answer({}), "answered without credentials"),
        (answer({"token": ""}), "answered without credentials"),
        (answer({"token": [SECRET]}), "status.token: Input should be a valid string"),
        (answer({"token": f"{SECRET}\n"}), "characters that no token has"),
        (answer({"clientCertificateData": SECRET}), "only one of clientCertificateData"),
        (answer({"token": "x", "clientKeyData": SECRET}), "only one of clientCertificateData"),
        (
            answer({"clientCertificateData": SECRET, "clientKeyData": SECRET}),
            "no pair in PEM without a password",
        ),
        (
            answer({"token": "x", "expirationTimestamp": SECRET}),
            "status.expirationTimestamp: Input should be a valid datetime",
        ),
        (answer({"token": "x", "expirationTimestamp": "2026-01-01T00:00:00"}), "timezone"),
    ],
)
def test_a_wrong_answer_is_refused_without_its_text(home: Path, body: str, fragment: str) -> None:
    install(home, body)
    assert fragment in refused(home)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"interactiveMode": "Always"}, "interactiveMode: Always"),
        ({"interactiveMode": "x"}, "exec.interactiveMode: Input should be"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "exec.apiVersion: Input should"),
        ({"args": ["a\0b"]}, "its args or env hold what no command line can"),
        ({"env": [{"name": "a=b", "value": ""}]}, "its args or env hold what no command line can"),
        ({"env": [{"name": "a"}]}, "exec.env[0].value: Field required"),
        ({"args": "get"}, "exec.args: Input should be a valid list"),
        ({"args": ["x" * 200_000]}, "cannot run exec plugin ./bin/plugin: Argument list too long"),
        ({"user": {"token": "x"}}, "exec and a token or client certificate; leave one"),
    ],
)
def test_a_wrong_exec_section_is_refused(
    home: Path, changes: dict[str, Any], fragment: str
) -> None:
    install(home, answer())
    assert fragment in refused(home, **changes)


@pytest.mark.parametrize(
    ("expires", "renews"),
    [(timedelta(hours=1), 3570), (timedelta(seconds=35), 10), (timedelta(hours=-1), 10)],
)
def test_credentials_are_renewed_a_little_before_they_expire(
    home: Path, expires: timedelta, renews: int
) -> None:
    stamp = (datetime.now(UTC) + expires).isoformat().replace("+00:00", "Z")
    install(home, answer({"token": SECRET, "expirationTimestamp": stamp}))
    before = time.monotonic()
    renew_at = ask(home).renew_at
    after = time.monotonic()
    assert renew_at is not None
    # The plugin's own time is taken off where it counts at all.
    assert before + renews - (after - before) - 1 <= renew_at <= after + renews + 1

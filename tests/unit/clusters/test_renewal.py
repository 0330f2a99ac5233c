"""Files and plugins that credentials come from change: when that is followed, and when not."""

import itertools
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from structlog.testing import capture_logs

from sync.clusters.kubernetes.auth import renewal
from sync.clusters.kubernetes.auth.kubeconfig import Access, Connection, connect
from sync.clusters.kubernetes.auth.renewal import Renewal
from sync.clusters.kubernetes.client import Api
from tests.clock import Clock

MINUTE = 60


@dataclass
class Place:
    """A kubeconfig with files beside it, and a connection that is asked for once a second."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    user: dict[str, Any] = field(default_factory=lambda: {"tokenFile": "token"})
    plugins: tuple[str, ...] = ()
    connects: int = 0

    def __post_init__(self) -> None:
        self.authority = trustme.CA().cert_pem.bytes()
        (self.folder / "ca.pem").write_bytes(self.authority)
        (self.folder / "token").write_text("first")
        self.write()
        self.renewal = Renewal("prod", self.connect, self.clock)
        self.known = self.renewal.connect()

    def text(self, server: str = "https://one.example") -> str:
        document = {
            "clusters": [
                {"name": "c", "cluster": {"server": server, "certificate-authority": "ca.pem"}}
            ],
            "users": [{"name": "u", "user": self.user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        return yaml.safe_dump(document)

    def write(self, server: str = "https://one.example") -> None:
        (self.folder / "kubeconfig").write_text(self.text(server))

    def connect(self) -> Connection:
        self.connects += 1
        access = Access(
            "prod",
            self.folder / "kubeconfig",
            None,
            self.plugins,
            timedelta(seconds=60),
            insecure_skip_tls_verify=False,
        )
        return connect(access)

    def after(self, seconds: int) -> Connection:
        """What is used after so many seconds, with a request in each of them."""
        for _ in range(seconds):
            self.clock.now += 1
            self.known = self.renewal.renewed(self.known)
        return self.known


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return Place(tmp_path)


def token(connection: Connection) -> str:
    return str(connection.client.configuration.auth_settings()["BearerToken"]["value"])


def test_nothing_is_made_anew_while_nothing_changes(place: Place) -> None:
    before = place.known
    (place.folder / "token").touch()
    (place.folder / "token").write_text("first")
    assert place.after(10 * MINUTE) is before
    assert place.connects == 1


def test_another_token_in_the_file_is_followed_within_a_minute(place: Place) -> None:
    (place.folder / "token").write_text("other")
    assert token(place.after(MINUTE)) == "Bearer other"
    assert place.connects == 2


def test_another_authority_is_followed_within_a_minute(place: Place) -> None:
    before = place.known
    (place.folder / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    assert place.after(MINUTE) is not before


def test_another_kubeconfig_is_followed_within_a_minute_also_by_a_rename(place: Place) -> None:
    (place.folder / "new").write_text(place.text("https://two.example"))
    (place.folder / "new").rename(place.folder / "kubeconfig")
    assert place.after(MINUTE).client.configuration.host == "https://two.example"


def test_files_of_a_new_kubeconfig_are_followed_too(place: Place) -> None:
    (place.folder / "other").write_text("other")
    place.user = {"tokenFile": "other"}
    place.write()
    assert token(place.after(MINUTE)) == "Bearer other"
    (place.folder / "other").write_text("another")
    assert token(place.after(MINUTE)) == "Bearer another"


def break_kubeconfig(place: Place) -> None:
    whole = place.text("https://two.example")
    (place.folder / "kubeconfig").write_text(whole[: len(whole) // 2])


BREAKS: dict[str, Callable[[Place], object]] = {
    "half a kubeconfig": break_kubeconfig,
    "an empty kubeconfig": lambda place: (place.folder / "kubeconfig").write_text(""),
    "no kubeconfig": lambda place: (place.folder / "kubeconfig").unlink(),
    "an empty token": lambda place: (place.folder / "token").write_text(""),
    "no token": lambda place: (place.folder / "token").unlink(),
    "an empty authority": lambda place: (place.folder / "ca.pem").write_bytes(b""),
    "half an authority": lambda place: (place.folder / "ca.pem").write_bytes(
        place.authority[: len(place.authority) // 2]
    ),
}


@pytest.mark.parametrize("how", BREAKS)
def test_what_cannot_be_used_is_told_once_and_the_old_connection_kept(
    place: Place, how: str
) -> None:
    before = place.known
    BREAKS[how](place)
    with capture_logs() as log:
        assert place.after(5 * MINUTE) is before
        [warned] = log
        assert warned["event"] == "new credentials cannot be used; keeping the old ones"
        assert "cluster prod" in warned["error"]
        place.write("https://two.example")
        (place.folder / "token").write_text("other")
        (place.folder / "ca.pem").write_bytes(place.authority)
        assert token(place.after(MINUTE)) == "Bearer other"
        assert [each["event"] for each in log[1:]] == ["new credentials in use"]


def test_a_file_that_is_being_written_is_not_used_before_it_stays_as_it_is(place: Place) -> None:
    seen = set()
    for length in range(1, 30):
        (place.folder / "token").write_text("x" * length)
        seen.add(token(place.after(1)))
    assert seen == {"Bearer first"}
    assert token(place.after(MINUTE)) == "Bearer " + "x" * 29


def test_the_right_file_back_in_time_is_no_change(place: Place) -> None:
    before = place.known
    (place.folder / "token").write_text("")
    place.after(1)
    (place.folder / "token").write_text("first")
    assert place.after(5 * MINUTE) is before


def answer(home: Path, text: str) -> None:
    """A plugin that says this token, without an expiry."""
    version = "client.authentication.k8s.io/v1"
    credential = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": text}}
    program = home / "plugin"
    program.write_text(f"#!{sys.executable} -IS\nimport json\nprint(json.dumps({credential!r}))\n")
    program.chmod(0o700)


def test_a_plugin_that_tells_no_expiry_is_asked_each_minute_and_kept_to_while_it_fails(
    tmp_path: Path,
) -> None:
    answer(tmp_path, "first")
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"command": "./plugin", "apiVersion": version}}
    place = Place(tmp_path, Clock(time.monotonic()), user, ("./plugin",))
    assert token(place.known) == "Bearer first"
    answer(tmp_path, "other")
    assert token(place.after(MINUTE // 2)) == "Bearer first"
    assert token(place.after(MINUTE // 2 + 20)) == "Bearer other"
    (tmp_path / "plugin").write_text("#!/bin/false\n")
    with capture_logs() as log:
        assert token(place.after(2 * MINUTE)) == "Bearer other"
    event = "new credentials cannot be used; keeping the old ones"
    assert [each["event"] for each in log].count(event) == 1
    assert place.connects < 20


def test_a_thread_that_renews_keeps_no_other_waiting(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds another at it goes on with what there is."""
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.0)
    renewing, go = threading.Event(), threading.Event()
    calls = itertools.count()

    def slow() -> Connection:
        if next(calls):
            renewing.set()
            assert go.wait(60)
            return Connection(place.known.client, renew_at=None)
        return Connection(place.known.client, renew_at=0)

    api = Api("prod", slow)
    first = api._current()
    second: list[object] = []
    thread = threading.Thread(target=lambda: second.append(api._current()))
    thread.start()
    assert renewing.wait(60)
    assert api._current() is first
    go.set()
    thread.join()
    assert second[0] is not first
    assert api._current() is second[0]

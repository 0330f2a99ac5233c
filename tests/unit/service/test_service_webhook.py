"""The webhook: what it is told, how it is signed, and that it holds nothing up."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook as Receiver
from standardwebhooks import WebhookVerificationError
from structlog.testing import capture_logs

from sync.errors import StoreError, UsageError
from sync.service import webhook, webhook_call
from sync.service.metrics import Metrics
from sync.service.notices import Notice, NoticeKind
from sync.service.webhook import Webhook, body_of
from sync.service.webhook_call import Call, CallError, RefusedError, caller, trust
from sync.transport.deadline import cut_after
from tests.memory import HeldMemory
from tests.unit.service.words import until

KEY = bytes(range(32))
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
DIGEST = "d" * 64

FAILED = Notice(NoticeKind.FAILED, "cluster", "prod", "no answer", 1_700_000_000.5)
RECOVERED = replace(FAILED, kind=NoticeKind.RECOVERED, detail="3 unchanged")
BLOCKED = replace(
    FAILED,
    kind=NoticeKind.BLOCKED,
    detail="9 of 10 sets would go",
    guards=("mass-delete",),
    digest=DIGEST,
    approvable=True,
)


# --- what is told, and how often ------------------------------------------------------------------


@dataclass
class Calls:
    """A receiver in memory: `types` are what it was told; it may fail, and take its time."""

    types: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    documents: list[Any] = field(default_factory=list)
    error: Exception | None = None
    tries: int = 0
    goes: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.goes.set()

    def __call__(self, identity: str, body: bytes, seconds: float) -> None:
        self.tries += 1
        self.identities.append(identity)
        assert self.goes.wait(60)
        if self.error:
            raise self.error
        self.documents.append(json.loads(body))
        self.types.append(f"{self.documents[-1]['data']['name']} {self.documents[-1]['type']}")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "GRACE_SECONDS", 0)
    monkeypatch.setattr(webhook, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(webhook, "LAST_RETRY", 0.02)


@contextmanager
def told(calls: Calls, memory: Any = None) -> Iterator[Webhook]:
    made = Webhook(calls, "test", HeldMemory() if memory is None else memory, Metrics())
    try:
        yield made
    finally:
        calls.goes.set()
        made.close(60)


def test_each_state_is_told_once_and_the_end_of_it() -> None:
    calls = Calls()
    with told(calls) as made:
        for notice in (BLOCKED, FAILED, RECOVERED):
            made.tell(notice)
            until(lambda: not made._waiting)
    assert calls.types == [
        "prod cluster.blocked",
        "prod cluster.failed",
        "prod cluster.recovered",
    ]
    assert len({*calls.identities}) == 3


def test_that_all_is_well_from_the_start_is_no_news() -> None:
    calls = Calls()
    with told(calls) as made:
        made.tell(replace(RECOVERED, first=True))
    assert not calls.tries


def test_what_is_over_before_it_was_told_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "GRACE_SECONDS", 3600)
    calls = Calls()
    with told(calls) as made:
        made.tell(FAILED)
        made.tell(RECOVERED)
        until(lambda: not made._waiting)
    assert not calls.tries


def test_the_next_process_neither_repeats_nor_forgets() -> None:
    memory = HeldMemory()
    calls = Calls()
    with told(calls, memory) as made:
        made.tell(FAILED)
    with told(calls, memory) as made:
        made.tell(replace(FAILED, first=True, detail="no answer, another word"))
    with told(calls, memory) as made:
        made.tell(replace(RECOVERED, first=True))
    assert calls.types == ["prod cluster.failed", "prod cluster.recovered"]


def test_a_store_that_fails_does_not_silence_it() -> None:
    class Broken(HeldMemory):
        def recall(self, kind: str, name: str) -> bytes | None:
            raise StoreError("locked")

        def remember(self, kind: str, name: str, value: bytes) -> None:
            raise StoreError("locked")

    calls = Calls()
    with told(calls, Broken()) as made, capture_logs():
        made.tell(FAILED)
    assert calls.types == ["prod cluster.failed"]


def test_a_call_that_fails_is_repeated_as_the_same_message_and_logged_once() -> None:
    calls = Calls(error=CallError("it is down"))
    with capture_logs() as log, told(calls) as made:
        made.tell(FAILED)
        until(lambda: calls.tries >= 4)
        calls.error = None
        until(lambda: calls.types)
    assert len({*calls.identities}) == 1
    events = [each["event"] for each in log]
    assert events == ["webhook failed", "webhook answers again"]


def test_a_failure_that_may_have_arrived_is_followed_by_its_end() -> None:
    calls = Calls(error=CallError("it takes too long"))
    with capture_logs(), told(calls) as made:
        made.tell(FAILED)
        until(lambda: calls.tries)
        calls.goes.clear()
        made.tell(RECOVERED)
        calls.error = None
        calls.goes.set()
        until(lambda: not made._waiting)
    assert calls.types[-1] == "prod cluster.recovered"


def test_a_message_that_is_refused_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "LAST_RETRY", 3600)

    class Picky(Calls):
        def __call__(self, identity: str, body: bytes, seconds: float) -> None:
            self.error = RefusedError("HTTP 400", 3600) if b"prod" in body else None
            super().__call__(identity, body, seconds)

    calls = Picky()
    with capture_logs() as log, told(calls) as made:
        made.tell(FAILED)
        until(lambda: calls.tries == 1)

        def tried(message: str) -> bool:
            return message in calls.types

        for name in ("a", "b"):
            made.tell(replace(FAILED, name=name))
            until(partial(tried, f"{name} cluster.failed"))
    # At the end it is tried once more and then let go.
    assert calls.tries == 4
    assert [each["event"] for each in log].count("webhook not told") == 0


def test_what_asks_to_be_left_alone_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(error=CallError("too many", 3600))
    with capture_logs(), told(calls) as made:
        made.tell(FAILED)
        until(lambda: made._retry_at > 0)
        calls.error = None
        made.tell(replace(FAILED, name="other"))
        assert calls.tries == 1
    # At the end each is tried once more all the same.
    assert calls.types == ["prod cluster.failed", "other cluster.failed"]


def test_a_cluster_that_flaps_is_bounded_and_others_are_not() -> None:
    calls = Calls()
    with told(calls) as made:
        for number in range(50):
            made.tell((FAILED, RECOVERED)[number % 2])
            until(lambda: not made._waiting or made._waiting["cluster prod"].tokens < 1)
        made.tell(replace(FAILED, name="other"))
        until(lambda: "other cluster.failed" in calls.types)
        assert sum(each.startswith("prod") for each in calls.types) <= 6
        made.tell(FAILED)
    # What stands at the end is told at the end, with how often it changed.
    assert calls.types[-1] == "prod cluster.failed"
    assert calls.documents[-1]["data"]["changes"] > 40


def test_nobody_waits_for_it_and_the_newest_of_each_is_all_that_waits() -> None:
    calls = Calls()
    calls.goes.clear()
    with told(calls) as made:
        for number in range(10_000):
            made.tell(replace(BLOCKED, digest=f"{number:064}", name=f"c{number % 10}"))
        assert len(made._waiting) == 10
        assert calls.tries <= 1


def test_the_end_waits_for_a_quick_one_and_for_no_slow_one(monkeypatch: Any) -> None:
    monkeypatch.setattr(webhook, "GRACE_SECONDS", 3600)
    quick, slow = Calls(), Calls()
    with told(quick) as made:
        made.tell(FAILED)
    assert quick.types == ["prod cluster.failed"]
    slow.goes.clear()
    hanging = Webhook(slow, "test", HeldMemory(), Metrics())
    hanging.tell(BLOCKED)
    with capture_logs() as log:
        hanging.close(0.01)
    assert log[-1]["event"] == "webhook not told"
    slow.goes.set()


def test_a_bug_in_a_call_does_not_end_it() -> None:
    calls = Calls(error=RuntimeError("surprise token=abc"))
    with capture_logs() as log, told(calls) as made:
        made.tell(FAILED)
        until(lambda: calls.tries >= 2)
        calls.error = None
        until(lambda: calls.types)
    assert "abc" not in str(log)


# --- what is said ---------------------------------------------------------------------------------


def test_the_body_is_as_documented() -> None:
    assert json.loads(body_of(BLOCKED, "zonebridge", 1)) == {
        "type": "cluster.blocked",
        "timestamp": "2023-11-14T22:13:20.500Z",
        "text": "zonebridge zonebridge: cluster prod is blocked by mass-delete\n"
        "9 of 10 sets would go\nShow it with: zonebridge plan --cluster prod; let it through "
        f"with: zonebridge approve {DIGEST}",
        "data": {
            "instance": "zonebridge",
            "subject": "cluster",
            "name": "prod",
            "state": "blocked",
            "detail": "9 of 10 sets would go",
            "guards": ["mass-delete"],
            "plan": DIGEST,
            "approvable": True,
            "changes": 1,
        },
    }


def test_what_cannot_be_approved_is_not_offered() -> None:
    assert "approve" not in json.loads(body_of(replace(BLOCKED, approvable=False), "z", 1))["text"]


def test_no_name_of_a_firewall_mentions_a_channel_or_is_a_link() -> None:
    said = replace(FAILED, detail="<!channel> <https://evil|click> & more")
    document = json.loads(body_of(said, "z", 1))
    assert "<" not in document["text"]
    assert "&lt;!channel&gt;" in document["text"]
    assert document["data"]["detail"] == said.detail


# --- one call -------------------------------------------------------------------------------------


@dataclass
class Server:
    """A real receiver: what it got, and what it answers."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    said: bytes = b"ok"
    hangs: threading.Event | None = None
    trickle: bytes = b"x"


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            raise AssertionError("nothing is got")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.got.append((dict(self.headers), body))
            if server.hangs:
                # A byte now and then, which no read's own time limit ends.
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while not server.hangs.wait(0.02):
                    try:
                        self.wfile.write(server.trickle)
                    except OSError:
                        return
                return
            self.send_response(server.status)
            for key, value in server.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(server.said)))
            self.end_headers()
            self.wfile.write(server.said)

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *arguments: Any) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as listening:
        scheme = "http"
        if context:
            scheme = "https"
            listening.socket = context.wrap_socket(listening.socket, server_side=True)
        server.url = f"{scheme}://localhost:{listening.server_port}/hook/T0KEN-of-the-url?x=1"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            if server.hangs:
                server.hangs.set()
            listening.shutdown()
            thread.join()


def call(server: Server, key: bytes | None = KEY, authority: bytes | None = None) -> Call:
    return caller(lambda: server.url, lambda: key, lambda: trust(authority))


def test_a_call_is_signed_as_standard_webhooks_says() -> None:
    with serving() as server:
        call(server)("msg_1", body_of(FAILED, "test", 1), 60)
    ((headers, body),) = server.got
    assert headers["Content-Type"] == "application/json"
    verified = Receiver(SECRET).verify(body, headers)
    assert (verified["type"], headers["webhook-id"]) == ("cluster.failed", "msg_1")
    with pytest.raises(WebhookVerificationError):
        Receiver(SECRET).verify(body.replace(b"prod", b"test"), headers)


def test_without_a_secret_a_call_is_not_signed() -> None:
    with serving() as server:
        call(server, None)("msg_1", b"{}", 60)
    assert "webhook-signature" not in server.got[0][0]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_tls_is_verified(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(context) as server:
        call(server, authority=authority.cert_pem.bytes())("msg_1", b"{}", 60)
        assert len(server.got) == 1
        with pytest.raises(CallError, match=r"certificate is refused.*webhook_ca_file"):
            call(server)("msg_2", b"{}", 60)
        server.url = server.url.replace("localhost", "127.0.0.1")
        with pytest.raises(CallError, match="certificate is refused"):
            call(server, authority=authority.cert_pem.bytes())("msg_3", b"{}", 60)
    assert len(server.got) == 1


def test_a_redirect_is_not_followed() -> None:
    with serving() as other, serving() as server:
        server.status, server.headers = 307, {"Location": other.url}
        with pytest.raises(CallError, match=r"HTTP 307.*not followed"):
            call(server)("msg_1", b"{}", 60)
        assert not other.got


def test_a_server_that_trickles_is_cut() -> None:
    with serving() as server:
        server.hangs = threading.Event()
        with pytest.raises(CallError, match="more than 0 s"):
            call(server)("msg_1", b"{}", 0.3)


def test_a_read_that_ends_before_its_call_does_is_told_as_one_that_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Both have the same time; the call's own end is late on a machine that is busy.
    monkeypatch.setattr(webhook_call, "cut_after", lambda seconds: cut_after(seconds + 600))
    with serving() as server:
        server.hangs, server.trickle = threading.Event(), b""
        with pytest.raises(CallError, match="more than 0 s"):
            call(server)("msg_1", b"{}", 0.3)


def test_what_a_server_asks_for_is_told_and_what_it_echoes_is_not() -> None:
    with serving() as server:
        server.status, server.headers = 429, {"Retry-After": "0.01"}
        server.said = f"slow down, {server.url}".encode()
        with pytest.raises(CallError, match=r"HTTP 429: slow down") as refused:
            call(server)("msg_1", b"{}", 60)
    assert refused.value.after == 0.01
    assert not isinstance(refused.value, RefusedError)
    assert "T0KEN" not in str(refused.value)


def test_a_server_that_is_not_there_is_named_without_the_url() -> None:
    with serving() as server:
        pass
    with pytest.raises(CallError, match="does not answer") as refused:
        call(server)("msg_1", b"{}", 60)
    assert "T0KEN" not in str(refused.value)


def test_a_secret_that_cannot_be_read_is_a_failure_of_the_call(tmp_path: Path) -> None:
    def gone() -> bytes:
        raise UsageError("The secret file x does not exist; create it.")

    with serving() as server, pytest.raises(CallError, match="secret file x"):
        caller(lambda: server.url, gone, lambda: trust(None))("msg_1", b"{}", 60)
    assert not server.got

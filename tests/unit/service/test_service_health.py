"""The endpoint for probes and metrics, over real sockets."""

import http.client
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from sync.errors import UsageError
from sync.service import health
from sync.service.health import Check, serving
from tests.unit.service.words import until

GOOD = Check("scheduler", True, "polls")
BAD = Check("source main", False, "not read yet; the disk is on fire")


@pytest.fixture
def port() -> Iterator[int]:
    with serving("127.0.0.1:0", lambda: [GOOD], lambda: [GOOD, BAD], lambda: b"a 1\n") as found:
        yield found


def ask(
    port: int, path: str, method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, bytes, str]:
    with closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Content-Type"]


def test_checks_that_hold_are_listed_with_200(port: int) -> None:
    status, body, kind = ask(port, "/livez")
    assert (status, body) == (200, b"[+] scheduler: polls\n")
    assert kind.startswith("text/plain")


def test_one_check_that_does_not_hold_is_503_and_all_are_listed(port: int) -> None:
    status, body, _ = ask(port, "/readyz?verbose")
    assert status == 503
    assert body.decode().splitlines() == [
        "[+] scheduler: polls",
        "[-] source main: not read yet; the disk is on fire",
    ]


def test_metrics_say_what_they_are(port: int) -> None:
    status, body, kind = ask(port, "/metrics")
    assert (status, body) == (200, b"a 1\n")
    assert "version=" in kind


@pytest.mark.parametrize("path", ["/", "/livez/", "/metrics/x", "/%2e%2e/etc/passwd"])
def test_any_other_path_is_404(port: int, path: str) -> None:
    status, body, _ = ask(port, path)
    assert (status, body) == (404, b"there are /livez, /readyz and /metrics\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_any_other_method_is_405(port: int, method: str) -> None:
    assert ask(port, "/livez", method)[0] == 405


def test_a_head_request_has_the_status_and_no_body(port: int) -> None:
    assert ask(port, "/livez", "HEAD")[:2] == (200, b"")
    assert ask(port, "/readyz", "HEAD")[:2] == (503, b"")


def test_a_taken_port_is_a_usage_error_that_names_the_key(port: int) -> None:
    with (
        pytest.raises(UsageError, match=rf"127\.0\.0\.1:{port}.*health\.bind") as raised,
        serving(f"127.0.0.1:{port}", list, list, bytes),
    ):
        pass
    assert raised.value.exit_code == 64


def test_an_address_that_is_not_ours_is_a_usage_error() -> None:
    with (
        pytest.raises(UsageError, match=r"health\.bind"),
        serving("192.0.2.1:0", list, list, bytes),
    ):
        pass


def test_it_listens_on_ipv6_too() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("there is no IPv6 here")
    with serving("[::1]:0", lambda: [GOOD], list, bytes) as port:
        assert ask(port, "/livez", host="::1")[0] == 200


def test_the_port_is_free_again_after_it() -> None:
    with serving("127.0.0.1:0", list, list, bytes) as port:
        assert ask(port, "/livez")[0] == 200
    with serving(f"127.0.0.1:{port}", list, list, bytes):
        assert ask(port, "/livez")[0] == 200


def test_clients_that_leave_or_say_nothing_leave_no_mark_and_hold_up_nobody(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log is JSON, line by line: no traceback may come between."""
    monkeypatch.setattr(health.Handler, "timeout", 0.2)
    with serving("127.0.0.1:0", lambda: [GOOD], list, lambda: b"x" * 10_000_000) as port:
        address = ("127.0.0.1", port)
        silent = socket.create_connection(address)
        half = socket.create_connection(address)
        half.sendall(b"GET /livez HT")
        for said in (b"", b"GET /livez HT", b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n"):
            with socket.create_connection(address) as rude:
                rude.sendall(said)
                # Closed so, the connection is reset.
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert ask(port, "/livez")[0] == 200
        for each in (silent, half):
            # Whoever says nothing is let go.
            until(lambda each=each: each.recv(1) == b"")
            each.close()
    assert capfd.readouterr().err == ""


def test_a_check_that_fails_is_500_and_one_line_of_the_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken() -> list[Check]:
        raise RuntimeError("a bug")

    with serving("127.0.0.1:0", broken, lambda: [GOOD], bytes) as port:
        assert ask(port, "/livez")[0] == 500
        assert ask(port, "/readyz")[0] == 200
    out, err = capfd.readouterr()
    assert "endpoint failed" in out
    assert "RuntimeError: a bug" in out
    assert "Traceback" not in out + err

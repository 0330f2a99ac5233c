"""External dynamic lists from a real HTTPS server on loopback; time passes when a test says so."""

import gzip
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sync.firewall.estimate import Estimate
from sync.firewall.objects import ExternalList
from sync.net.addresses import NOWHERE, AddressSet, network
from sync.sources import Memory
from sync.sources.edl.client import EdlClient
from sync.sources.panorama.connection import tls_context
from sync.transport.deadline import cut_after
from tests.clock import Clock
from tests.memory import HeldMemory
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import Drip, Fault, Huge, Redirect, Reset, Silence, Truncated
from zonebridge_simulator.request import Request
from zonebridge_simulator.server import Answer, Exchange, Server

PLAIN = "text/plain"
Reply = Callable[[Exchange], None]


@dataclass
class ListServer:
    """Serves what stands at a path; `etags` are compared, as a web server does."""

    certificate: tuple[Path, Path]
    pages: dict[str, bytes | Reply] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = Server(("127.0.0.1", 0), self.certificate, self._handle, self.failures.append)
        self.server.start()

    def url(self, path: str = "/list.txt") -> str:
        return f"https://127.0.0.1:{self.server.server_port}{path}"

    def _handle(self, request: Request, exchange: Exchange) -> None:
        headers = dict(exchange._handler.headers.items())
        path = request.path.partition("?")[0]
        self.asked.append(request.path)
        self.heads.append(headers)
        page = self.pages.get(path, sends(Answer(b"no", 404, PLAIN)))
        if not isinstance(page, bytes):
            page(exchange)
            return
        etag = self.etags.get(path)
        tagged = (("ETag", etag),) if etag else ()
        if etag and headers.get("If-None-Match") == etag:
            # Without a length: a 304 has no body.
            exchange.last(f"HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n".encode())
        else:
            exchange.send(Answer(page, 200, PLAIN, tagged))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> tuple[Path, Path]:
    return authority.certificate()


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[ListServer]:
    running = ListServer(certificate)
    yield running
    running.server.stop()
    assert running.failures == []


@pytest.fixture(scope="module")
def trusted(authority: Authority) -> ssl.SSLContext:
    return tls_context("main", authority.ca_file.read_bytes(), verify=True)


@dataclass
class Reader:
    """The lists of one source, as several processes one after the other may read them."""

    server: ListServer
    clock: Clock
    context: ssl.SSLContext
    memory: Memory = field(default_factory=HeldMemory)
    max_bytes: int = 1000
    seconds: float = 60.0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.lists = EdlClient(
            self.memory,
            self.context,
            max_bytes=self.max_bytes,
            shortest=(8, 16),
            now=self.clock,
            round_seconds=self.seconds,
        )

    def read(self, *lists: ExternalList) -> Estimate:
        """What the one list holds."""
        listed = lists or (edl(self.server.url()),)
        return self.lists.answers(listed)[listed[0].url]

    def later(self, seconds: float = 3600.0) -> Estimate:
        self.clock.now += seconds
        assert self.lists.due()
        return self.read()


@pytest.fixture
def reader(server: ListServer, clock: Clock, trusted: ssl.SSLContext) -> Reader:
    return Reader(server, clock, trusted)


def edl(url: str, refresh: str = "hourly", **rest: str) -> ExternalList:
    return ExternalList("bad", rest.get("type", "ip"), url, rest.get("problem", ""), refresh)


def holding(*texts: str) -> AddressSet:
    return AddressSet.union(map(network, texts))


def sends(answer: Answer) -> Reply:
    return lambda exchange: exchange.send(answer)


def says(head: bytes) -> Reply:
    """Answers with this to the letter and closes the connection."""

    def reply(exchange: Exchange) -> None:
        exchange.close()
        exchange.last(head)

    return reply


def faulty(fault: Fault, body: bytes = b"10.0.0.1\n10.0.0.2\n") -> Reply:
    return lambda exchange: fault.send(exchange, lambda: Answer(body, 200, PLAIN))


def test_a_list_is_what_its_server_sends(reader: Reader, server: ListServer) -> None:
    server.pages["/list.txt"] = b"10.0.0.1\n10.1.0.0/16 # theirs\n"
    assert reader.read() == Estimate.exactly(holding("10.0.0.1", "10.1.0.0/16"))
    assert server.heads[0]["Accept-Encoding"] == "identity"


def test_it_is_fetched_by_its_whole_url(reader: Reader, server: ListServer) -> None:
    server.pages["/a%20b"] = b"10.0.0.1"
    assert reader.read(edl(server.url("/a b?x=1&y=2#z"))) == Estimate.exactly(holding("10.0.0.1"))
    assert server.asked == ["/a%20b?x=1&y=2"]


@pytest.mark.parametrize(
    ("refresh", "seconds"), [("five-minute", 300), ("hourly", 3600), ("", 3600), ("weekly", 3600)]
)
def test_it_is_fetched_as_often_as_the_configuration_says_at_least_each_hour(
    refresh: str, seconds: int, reader: Reader, server: ListServer, clock: Clock
) -> None:
    server.pages["/list.txt"] = b"10.0.0.1"
    listed = edl(server.url(), refresh)
    reader.read(listed)
    clock.now += seconds - 1
    assert not reader.lists.due()
    reader.read(listed)
    assert len(server.asked) == 1
    clock.now += 1
    assert reader.lists.due()
    server.pages["/list.txt"] = b"10.0.0.2"
    assert reader.read(listed) == Estimate.exactly(holding("10.0.0.2"))


def test_two_lists_of_one_url_are_fetched_once_by_the_shorter_time(
    reader: Reader, server: ListServer, clock: Clock
) -> None:
    server.pages["/list.txt"] = b"10.0.0.1"
    reader.read(edl(server.url(), "five-minute"), edl(server.url(), "daily"))
    assert len(server.asked) == 1
    clock.now += 300
    assert reader.lists.due()


@pytest.mark.parametrize("again", [False, True])
def test_a_version_that_is_known_is_not_sent_again(
    again: bool, reader: Reader, server: ListServer
) -> None:
    server.pages["/list.txt"] = b"10.0.0.1"
    server.etags["/list.txt"] = '"v1"'
    reader.read()
    if again:
        reader.restart()
    assert reader.later() == Estimate.exactly(holding("10.0.0.1"))
    assert server.heads[1]["If-None-Match"] == '"v1"'
    server.pages["/list.txt"] = b"10.0.0.2"
    server.etags["/list.txt"] = '"v2"'
    assert reader.later() == Estimate.exactly(holding("10.0.0.2"))


@pytest.mark.parametrize("etag", ["", 'W/"v1"', '"\xe9"', '"' + "v" * 1000 + '"'])
def test_what_does_not_name_exactly_these_bytes_is_not_sent_back(
    etag: str, reader: Reader, server: ListServer
) -> None:
    # A list may change twice in a second, or come back from a copy with an older time.
    when = ("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT")
    answer = Answer(b"10.0.0.1", 200, PLAIN, (when, *([("ETag", etag)] if etag else [])))
    server.pages["/list.txt"] = sends(answer)
    reader.read()
    reader.later()
    assert not [name for name in server.heads[1] if name.startswith("If-")]


def test_other_lists_are_not_fetched(reader: Reader, server: ListServer) -> None:
    others = [
        edl(server.url(), type="domain"),
        edl(server.url(), problem="needs a user and password that Panorama does not show"),
    ]
    assert reader.lists.answers(others) == {}
    assert server.asked == []


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("http://127.0.0.1/list.txt", "its source is not https"),
        ("ftp://127.0.0.1/list.txt", "its source is not https"),
        ("https://user:hunter2@127.0.0.1/", "its source holds a user or password"),
        ("https://hunter2@127.0.0.1/", "its source holds a user or password"),
        ("", "its source is no URL"),
        ("https://", "its source is no URL"),
        ("https://[::1", "its source is no URL"),
        ("https://127.0.0.1:x/", "its source is no URL"),
        ("https://127.0.0.1:0/", "its source is no URL"),
    ],
)
def test_what_may_not_be_fetched_is_open_and_says_why(
    url: str, because: str, reader: Reader
) -> None:
    problem = f"could not be fetched ({because})"
    with capture_logs() as logs:
        assert reader.read(edl(url)) == Estimate.unknown(problem)
    assert [each["because"] for each in logs] == [problem]
    assert "hunter2" not in repr(logs)


FAILURES: dict[str, tuple[Reply, str]] = {
    "404": (sends(Answer(b"no", 404, PLAIN)), "HTTP 404"),
    "500": (sends(Answer(b"no", 500, PLAIN)), "HTTP 500"),
    "204": (sends(Answer(b"", 204, PLAIN)), "HTTP 204"),
    "304 unasked": (sends(Answer(b"", 304, PLAIN)), "HTTP 304"),
    "cut": (faulty(Truncated()), "IncompleteRead"),
    "reset": (faulty(Reset()), "could not be fetched"),
    "more than the limit": (sends(Answer(b"10.0.0.1\n" * 112, 200, PLAIN)), "1,000 bytes"),
    "huge": (faulty(Huge(1 << 24, length=False)), "1,000 bytes"),
    "gzip": (
        sends(Answer(gzip.compress(b"#" * 10**6), 200, PLAIN, (("Content-Encoding", "gzip"),))),
        "compresses it",
    ),
    "to http": (faulty(Redirect("http://127.0.0.1/")), "redirects to is not https"),
    "to a user": (faulty(Redirect("https://a:hunter2@127.0.0.1/")), "holds a user or password"),
    "to no URL": (faulty(Redirect("https://[x")), "redirects to is no URL"),
    "to no URL either": (faulty(Redirect("//[")), "redirects to is no URL"),
    "in circles": (faulty(Redirect("/list.txt")), "more than 3 redirects"),
    "no list": (sends(Answer(b"<html>\n", 200, "text/html")), "its line 1 is no address"),
    "too wide": (sends(Answer(b"10.0.0.1\n0.0.0.0/0\n", 200, PLAIN)), "line 2 is wider than"),
    "of no length": (
        says(b"HTTP/1.1 200 OK\r\n\r\n10.0.0.1\n10.0.0.1"),
        "does not say how long it is",
    ),
    "of a length that is none": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n10.0.0.0/2"),
        "does not say how long it is",
    ),
    "of a coding that says no length": (
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n10.0.0.0/2"),
        "does not say how long it is",
    ),
    "with a line that is no status": (
        says(b"GET /list.txt?token=hunter2\r\n\r\n"),
        "could not be fetched (BadStatusLine)",
    ),
}


# Firewalls may well have what is not taken here.
DOUBTED = frozenset({"more than the limit", "huge", "no list", "too wide"})


@pytest.mark.parametrize("failure", FAILURES)
def test_what_fails_keeps_the_last_good_list_or_is_open(
    failure: str, reader: Reader, server: ListServer
) -> None:
    reply, because = FAILURES[failure]
    server.pages["/list.txt"] = reply
    with capture_logs() as logs:
        found = reader.read(edl(server.url("/list.txt?token=hunter2")))
    assert because in "".join(found.because)
    assert found.surely == NOWHERE
    assert "hunter2" not in repr(logs)
    assert logs[0]["list"] == server.url()

    server.pages["/list.txt"] = b"10.0.0.1\n"
    reader.read()
    server.pages["/list.txt"] = reply
    with capture_logs() as logs:
        found = reader.later()
        assert found.surely == holding("10.0.0.1")
        assert found.at_most == (None if found.open else found.surely)
        assert (because in "".join(found.because)) == (failure in DOUBTED)
        assert reader.later(300) == found
        reader.restart()
        assert reader.read() == found, "another process keeps it too"
    with capture_logs():
        server.pages["/list.txt"] = sends(Answer(b"no", 500, PLAIN))
        assert reader.later(300) == found, "that it cannot be had takes no doubt away"
        reader.restart()
        assert reader.read() == found
    assert [because in each["because"] for each in logs] == [True, True], "once in a process"
    server.pages["/list.txt"] = b"10.0.0.2\n"
    assert reader.later(300) == Estimate.exactly(holding("10.0.0.2"))


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize(
    "fault",
    [Drip(0.1), Drip(0.1, headers=True), Drip(0.1, chunked=True), Silence(600)],
    ids=repr,
)
def test_a_list_that_takes_too_long_is_given_up(
    fault: Fault, connection: str, clock: Clock, server: ListServer, trusted: ssl.SSLContext
) -> None:
    # Nobody waits for the end of it, be it dripped.
    endless = (("Connection", connection), ("X-Endless", "x" * 60_000))
    answer = Answer(b"10.0.0.1\n" * 100, 200, PLAIN, endless)
    server.pages["/list.txt"] = lambda exchange: fault.send(exchange, lambda: answer)
    for seconds in (0.5, 4, 32):  # one of them suffices to begin, however slow the machine is
        found = Reader(server, clock, trusted, seconds=seconds).read()
        if found.because != ("was not fetched yet",):
            break
    assert found == Estimate.unknown("could not be fetched (it takes too long)")


def test_a_read_that_ends_before_its_call_does_is_told_as_what_takes_too_long(
    clock: Clock, server: ListServer, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both have the same time; the call's own end is late on a machine that is busy.
    monkeypatch.setattr(
        "sync.sources.edl.fetch.cut_after", lambda seconds, stop: cut_after(seconds + 600, stop)
    )
    server.pages["/list.txt"] = faulty(Silence(600))
    found = Reader(server, clock, trusted, seconds=0.5).read()
    assert found == Estimate.unknown("could not be fetched (it takes too long)")


def test_a_list_with_a_line_that_cannot_be_read_is_open_beside_what_is_sure(
    reader: Reader, server: ListServer
) -> None:
    server.pages["/list.txt"] = b"10.0.0.1\nbad\n"
    problem = "its line 2 is no address, network or range"
    expected = Estimate(holding("10.0.0.1"), None, because=(problem,))
    assert reader.read() == expected
    server.pages.clear()
    assert reader.later() == expected


@pytest.mark.parametrize("nothing", [b"", b"\n \n", b"\xef\xbb\xbf\r\n"])
def test_a_list_that_is_empty_all_at_once_keeps_what_it_held(
    nothing: bytes, reader: Reader, server: ListServer
) -> None:
    server.pages["/list.txt"] = b"10.0.0.1"
    reader.read()
    server.pages["/list.txt"] = nothing
    with capture_logs() as logs:
        found = reader.later()
        server.pages["/list.txt"] = sends(Answer(b"no", 500, PLAIN))
        assert reader.later(300) == found
        reader.restart()
        assert reader.read() == found
    assert (found.surely, found.at_most) == (NOWHERE, holding("10.0.0.1"))
    assert isinstance(reader.memory, HeldMemory)
    # Stores of every version have it so: without it the last good copy would count as certain.
    assert any(
        value.startswith(b'{"addresses":{"v4":[],"v6":[]},"problem":"is empty now; ')
        and value.endswith(b',"at_most":{"v4":[167772161,167772162],"v6":[]}}')
        for value in reader.memory.values()
    )
    assert found.because == (logs[0]["because"],)
    assert "a line of comment would say" in found.because[0]
    server.pages["/list.txt"] = b"# none today\n"
    assert reader.later() == Estimate.exactly(NOWHERE)


@pytest.mark.parametrize(
    "versions",
    [
        pytest.param([b"10.0.0.1\nno address"], id="a line that firewalls may read"),
        pytest.param([b"10.0.0.1", b"0.0.0.0/0"], id="a version that firewalls may have taken"),
    ],
)
def test_a_list_that_is_empty_all_at_once_may_hold_all_that_firewalls_may_have_of_it(
    versions: list[bytes], reader: Reader, server: ListServer
) -> None:
    for version in versions:
        server.pages["/list.txt"] = version
        reader.later()
    server.pages["/list.txt"] = b""
    for _ in range(2):
        found = reader.later()
        assert (found.surely, found.at_most) == (NOWHERE, None)
    reader.restart()
    assert reader.read() == found


def test_the_version_that_was_taken_last_ends_all_doubt(reader: Reader, server: ListServer) -> None:
    server.pages["/list.txt"] = b"10.0.0.1"
    taken = reader.read()
    server.pages["/list.txt"] = b"0.0.0.0/0"
    assert reader.later().open
    server.pages["/list.txt"] = b"10.0.0.1"
    assert reader.later(300) == taken
    reader.restart()
    assert reader.read() == taken


def test_a_list_that_was_always_empty_is_empty(reader: Reader, server: ListServer) -> None:
    server.pages["/list.txt"] = b""
    assert reader.read() == Estimate.exactly(NOWHERE)
    server.pages["/list.txt"] = b"\n"
    with capture_logs() as logs:
        assert reader.later() == Estimate.exactly(NOWHERE)
    assert logs == []


def test_a_server_that_wants_to_know_who_asks_ends_a_list(
    reader: Reader, server: ListServer
) -> None:
    # Firewalls stop using it too: what it held must not be allowed any longer.
    server.pages["/list.txt"] = b"10.0.0.1"
    reader.read()
    server.pages["/list.txt"] = sends(Answer(b"who?", 401, PLAIN))
    assert reader.later() == Estimate.unknown("could not be fetched (HTTP 401)")
    server.pages["/list.txt"] = sends(Answer(b"no", 500, PLAIN))
    assert reader.later(300).surely == NOWHERE, "what it had is forgotten"
    reader.restart()
    assert reader.read().surely == NOWHERE
    server.pages["/list.txt"] = b"10.0.0.1"
    assert reader.later(300) == Estimate.exactly(holding("10.0.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "https:/user:s3cret@lists.example/l",
        "user:s3cret@lists.example/l",
        "//lists.example/user:s3cret@elsewhere",
        "https://user:s3cret@lists.example/l",
        "https://[user:s3cret@lists.example/l",
        "http://lists.example/l?token=s3cret",
    ],
)
def test_a_url_that_is_no_use_is_logged_without_its_secrets(url: str, reader: Reader) -> None:
    with capture_logs() as logs:
        found = reader.read(edl(url))
    assert found.because[0].startswith("could not be fetched")
    assert len(logs) == 1
    assert "s3cret" not in f"{logs} {found.because}"


def test_redirects_are_followed_to_https(reader: Reader, server: ListServer) -> None:
    server.pages["/list.txt"] = faulty(Redirect("/a"))
    server.pages["/a"] = faulty(Redirect(server.url("/b"), status=307))
    server.pages["/b"] = faulty(Redirect("c", status=308))
    server.pages["/c"] = b"10.0.0.1"
    assert reader.read() == Estimate.exactly(holding("10.0.0.1"))


@pytest.mark.parametrize("whose", ["another host", "another authority", "expired"])
def test_a_certificate_that_is_refused_is_no_list(
    whose: str, clock: Clock, trusted: ssl.SSLContext, authority: Authority
) -> None:
    certificate = authority.certificate(
        "elsewhere.example" if whose == "another host" else "127.0.0.1",
        days=-1 if whose == "expired" else 2,
    )
    server = ListServer(certificate, {"/list.txt": b"10.0.0.1"})
    context = tls_context("main", None, verify=True) if whose == "another authority" else trusted
    try:
        found = Reader(server, clock, context).read()
    finally:
        server.server.stop()
    assert "the certificate of its server is refused" in found.because[0]
    assert server.asked == []


def test_a_server_that_is_not_there_is_named_by_what_the_system_says(
    reader: Reader, server: ListServer
) -> None:
    server.server.stop()
    assert reader.read().because == ("could not be fetched (Connection refused)",)


def test_a_proxy_of_the_environment_is_used(
    reader: Reader, server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert "through the proxy of HTTPS_PROXY" in reader.read().because[0]
    monkeypatch.setenv("HTTPS_PROXY", "http://a:hunter2@[")
    assert "HTTPS_PROXY is no URL" in reader.later(300).because[0]
    assert server.asked == []


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"\xff\xff",
        b"[]\n10.0.0.9",
        b"{}\n10.0.0.9",
        b'{"etag": 1}\n10.0.0.9',
        b'{"etag": ""}\n0.0.0.0/0',
        b'{"etag": ""}\n<html>',
    ],
)
def test_what_is_remembered_wrongly_is_not_believed(spoilt: bytes, reader: Reader) -> None:
    class Spoilt(HeldMemory):
        def recall(self, kind: str, name: str) -> bytes | None:
            return spoilt

    reader.memory = Spoilt()
    reader.restart()
    assert reader.read() == Estimate.unknown("could not be fetched (HTTP 404)")


def test_no_url_is_remembered(reader: Reader, server: ListServer) -> None:
    server.pages["/list.txt"] = b"10.0.0.1"
    reader.read(edl(server.url("/list.txt?token=hunter2")))
    assert isinstance(reader.memory, HeldMemory)
    assert len(reader.memory) == 1
    assert "hunter2" not in repr(reader.memory)

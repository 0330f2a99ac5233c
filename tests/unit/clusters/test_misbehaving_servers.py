"""An API server that misbehaves, over real TLS: what a client waits for, reads and believes."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from sync.clusters.cluster import NotWrittenError, OutOfReachError
from sync.clusters.kubernetes import client, lists
from sync.clusters.kubernetes.auth.kubeconfig import connect
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ApiError, GoneError, TooLargeError
from sync.clusters.kubernetes.reader import KubernetesReader
from sync.clusters.kubernetes.writer import KubernetesWriter
from sync.errors import ClusterError
from sync.transport.deadline import cut_after
from sync.transport.errors import TimedOut
from sync.transport.stopping import Stopping
from tests.kubernetes_words import OWNER, made
from tests.scripted_api import TOKEN, access_to, serving
from zonebridge_simulator.authority import Authority

SETS = "/apis/projectcalico.org/v3/globalnetworksets"
WEB = made("pan.web", "10.0.0.1/32")

Answer = Callable[[BaseHTTPRequestHandler], None]


class Misbehaving:
    """Answers each request as `answer` says."""

    def __init__(self) -> None:
        self.answer: Answer = lambda asked: None
        self.asked: list[str] = []
        self.over = threading.Event()

    def respond(self, asked: BaseHTTPRequestHandler) -> None:
        asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
        self.asked.append(asked.command)
        self.answer(asked)

    def json(self, document: Any, status: int = 200, **headers: str) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()

        def answer(asked: BaseHTTPRequestHandler) -> None:
            asked.send_response(status)
            for name, value in headers.items():
                asked.send_header(name.replace("_", "-"), value)
            asked.send_header("Content-Length", str(len(body)))
            asked.end_headers()
            asked.wfile.write(body)

        self.answer = answer

    def drip(self, head: bytes, byte: bytes) -> None:
        """Answer with `head`, and then byte by byte until the client has gone."""

        def answer(asked: BaseHTTPRequestHandler) -> None:
            asked.wfile.write(head)
            while not self.over.wait(0.02):
                asked.wfile.write(byte)

        self.answer = answer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Misbehaving, Callable[..., Api]]]:
    monkeypatch.setenv("no_proxy", "*")
    told = Misbehaving()
    with serving(told.respond, authority) as url:
        access = access_to(url, authority, tmp_path)
        opened: list[Api] = []

        def api(**options: Any) -> Api:
            opened.append(Api("prod", lambda: connect(access), **options))
            return opened[-1]

        yield told, api
        told.over.set()
        for each in opened:
            each.close()


Given = tuple[Misbehaving, Callable[..., Api]]

# Seconds; however slow the machine is, one of them suffices to be connected and ask.
PATIENCE = (0.3, 4.0, 32.0)
DRIPS = {
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
    "head": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "chunk's length": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "error": (b"HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\n", b" "),
    "unauthorized": (b"HTTP/1.1 401 No\r\nContent-Length: 1000000\r\n\r\n", b" "),
}


def test_a_read_that_ends_before_its_request_does_is_told_as_one_that_takes_too_long(
    server: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both have the same time; the request's own end is late on a machine that is busy.
    monkeypatch.setattr(client, "cut_after", lambda seconds, stop: cut_after(seconds + 600, stop))
    told, api = server
    told.drip(b"", b"")
    with pytest.raises(ApiError, match=r"takes more than 0\.3 s to answer GET"):
        api(seconds=0.3).request("GET", SETS)


@pytest.mark.parametrize("drips", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_trickles_ends_with_the_time_of_its_request(
    server: Given, drips: tuple[bytes, bytes]
) -> None:
    told, api = server
    told.drip(*drips)
    for seconds in PATIENCE:
        with pytest.raises(ApiError) as raised:
            api(seconds=seconds).request("GET", SETS)
        if told.asked:
            break
    assert f"takes more than {seconds:g} s to answer GET" in str(raised.value)
    assert isinstance(raised.value, TimedOut)


def test_a_write_that_is_answered_by_a_trickle_may_have_arrived(server: Given) -> None:
    told, api = server
    told.drip(*DRIPS["body"])
    for seconds in PATIENCE:
        writer = KubernetesWriter(
            api(), OWNER, remaining=lambda: 600, seconds=seconds, stopping=lambda: True
        )
        with pytest.raises(ClusterError) as raised:
            writer.create(WEB)
        if told.asked:
            break
    assert "may have arrived" in str(raised.value)
    assert told.asked == ["POST"]


def test_who_is_asked_to_end_waits_for_no_answer_and_asks_nothing_more(server: Given) -> None:
    told, api = server
    stopping = Stopping()
    told.drip(*DRIPS["body"])
    drip = told.answer

    def answer(asked: BaseHTTPRequestHandler) -> None:
        stopping.set()
        drip(asked)

    told.answer = answer
    prod = api(seconds=600, stopping=stopping)
    with pytest.raises(ApiError, match="is shutting down"):
        prod.patiently("GET", SETS)
    with pytest.raises(ApiError, match="is shutting down"):
        prod.collected(SETS, "GlobalNetworkSet", lambda each: [each], page=500)
    assert told.asked == ["GET"]


def test_who_is_asked_to_end_does_not_sit_out_a_wait(server: Given) -> None:
    told, api = server
    stopping = Stopping()
    told.json({"message": "busy"}, 429, Retry_After="10")
    busy = told.answer

    def answer(asked: BaseHTTPRequestHandler) -> None:
        busy(asked)
        stopping.set()

    told.answer = answer
    with pytest.raises(ApiError, match="is shutting down"):
        api(stopping=stopping).patiently("GET", SETS)
    assert told.asked == ["GET"]


def test_an_answer_without_an_end_is_read_up_to_a_limit(
    server: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_BYTES", 1_000_000)
    told, api = server

    def endless(asked: BaseHTTPRequestHandler) -> None:
        asked.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            asked.wfile.write(b" " * 65_536)

    told.answer = endless
    with pytest.raises(TooLargeError, match="more than 1,000,000 bytes"):
        api().patiently("GET", SETS)
    assert told.asked == ["GET"]


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "deflate", "br"])
def test_what_is_compressed_is_not_unpacked(server: Given, coding: str) -> None:
    told, api = server
    told.json(gzip.compress(b" " * 1_000_000), Content_Encoding=coding)
    with pytest.raises(ApiError, match="compressed although that was not requested"):
        api().request("GET", SETS)


def test_a_compressed_refusal_is_not_unpacked_either(server: Given) -> None:
    """What is small may be huge; two million bytes of an error would be too many."""
    told, api = server
    told.json(gzip.compress(b"unpacked" * 250_000), 422, Content_Encoding="gzip")
    with pytest.raises(ApiError, match="with 422") as raised:
        api().request("GET", SETS)
    assert "unpacked" not in str(raised.value)


def listing(kind: str = "GlobalNetworkSetList", version: str = "v3", **changes: Any) -> Any:
    return {
        "apiVersion": f"projectcalico.org/{version}",
        "kind": kind,
        "metadata": {},
        "items": [],
        **changes,
    }


@pytest.mark.parametrize(
    "answer",
    [
        listing("TierList"),
        listing(version="v4"),
        listing(kind="GlobalNetworkSet"),
        listing(items=[{"kind": "Tier", "metadata": {"name": "a"}}]),
        listing(items=[{"apiVersion": "v1", "metadata": {"name": "a"}}]),
        listing(items=[{"metadata": {}}]),
        listing(items=["a"]),
        listing(items={}),
        listing(metadata=None),
        listing(metadata={"continue": ["a"]}),
        {"kind": "Status", "status": "Success"},
    ],
)
def test_a_list_of_another_kind_is_not_taken_for_the_one_asked_for(
    server: Given, answer: Any
) -> None:
    told, api = server
    told.json(answer)
    with pytest.raises(ApiError, match="no list of Kubernetes objects of kind GlobalNetworkSet"):
        api().collected(SETS, "GlobalNetworkSet", lambda each: [each], page=500)


FRAMES = {
    "chunk's length": (b"", b"0"),
    "chunk's extension": (b"1;", b"x"),
    "trailer": (b"0\r\nX: ", b"x"),
}


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
def test_a_watch_that_trickles_between_its_parts_ends_with_its_time(
    server: Given, frames: tuple[bytes, bytes]
) -> None:
    told, api = server
    begun, byte = frames
    told.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + begun, byte)
    with api().stream(SETS, {"watch": "true"}, silence=600, longest=0.5) as answer:
        assert answer.read1(100) == b"{}"
        with suppress(urllib3.exceptions.HTTPError):
            assert answer.read1(100) == b""


class Paged:
    """Answers for a list of `count` sets, each `size` bytes long, in pages.

    `limits` are those of the pages that were asked for. `spoil` is given the number of a request,
    from 1, and the page; it gives what is answered, with a status.
    """

    def __init__(self, told: Misbehaving, count: int, size: int = 100) -> None:
        self.told = told
        self.count = count
        self.size = size
        self.spoil: Callable[[int, dict[str, Any]], tuple[Any, int]] = lambda _, found: (found, 200)
        self.limits: list[int] = []
        told.answer = self.answer

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        query = {key: each[0] for key, each in parse_qs(urlsplit(asked.path).query).items()}
        first, limit = int(query.get("continue", 0)), int(query["limit"])
        self.limits.append(limit)
        after = min(first + limit, self.count)
        metadata: dict[str, Any] = {"resourceVersion": "7"}
        if after < self.count:
            metadata |= {"continue": str(after), "remainingItemCount": self.count - after}
        items = [
            {"metadata": {"name": f"pan.{number}"}, "filling": "x" * self.size}
            for number in range(first, after)
        ]
        found, status = self.spoil(len(self.limits), listing(metadata=metadata, items=items))
        self.told.json(found, status)
        answer, self.told.answer = self.told.answer, self.answer
        answer(asked)


def names(api: Api, page: int = 500) -> list[str]:
    """The names of all sets, as a list in pages gives them."""
    return api.collected(
        SETS, "GlobalNetworkSet", lambda each: [each["metadata"]["name"]], page=page
    )


def numbered(count: int) -> list[str]:
    return [f"pan.{number}" for number in range(count)]


def test_pages_that_are_too_large_are_asked_for_in_smaller_ones(
    server: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_BYTES", 20_000)
    told, api = server
    paged = Paged(told, 20, size=5_000)
    assert names(api(), page=100) == numbered(20)
    # None is left out or read twice, and those that follow are small at once.
    assert paged.limits == [100, 12, *[1] * 20]


def test_a_page_grows_too_large_in_the_middle_of_a_list(
    server: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_BYTES", 20_000)
    told, api = server
    paged = Paged(told, 40)
    large = {"filling": "x" * 30_000}
    paged.spoil = lambda time, found: (found | large if time == 2 else found, 200)
    assert names(api(), page=16) == numbered(40)
    assert paged.limits == [16, 16, *[2] * 12]


def test_one_object_that_is_too_large_is_told(
    server: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_BYTES", 20_000)
    told, api = server
    paged = Paged(told, 20, size=30_000)
    with pytest.raises(TooLargeError, match="more than 20,000 bytes"):
        names(api())
    assert paged.limits == [500, 62, 7, 1]


def test_a_list_whose_moment_is_forgotten_in_the_middle_begins_anew(server: Given) -> None:
    told, api = server
    paged = Paged(told, 5)
    gone = {"kind": "Status", "code": 410, "message": "the provided continue parameter is too old"}
    paged.spoil = lambda time, found: (gone, 410) if time in (2, 5) else (found, 200)
    assert names(api(), page=2) == numbered(5)
    paged.limits.clear()
    paged.spoil = lambda time, found: (gone, 410) if time % 2 == 0 else (found, 200)
    with pytest.raises(GoneError, match="410"):
        names(api(), page=2)
    assert len(paged.limits) == 2 * 6


ENDLESS: dict[str, tuple[Callable[[int], str], int]] = {
    "the same": (lambda time: "3", 2),
    "two in turn": (lambda time: str(time % 2), 3),
    "ever new ones": (str, 11),
}


@pytest.mark.parametrize("how", ENDLESS)
def test_pages_without_an_end_are_an_error(
    server: Given, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(lists, "MOST_OBJECTS", 50)
    told, api = server
    paged = Paged(told, 1_000)
    token, requests = ENDLESS[how]

    def again(time: int, found: dict[str, Any]) -> tuple[Any, int]:
        return found | {"metadata": {"continue": token(time)}}, 200

    paged.spoil = again
    with pytest.raises(ApiError, match="without an end"):
        names(api(), page=5)
    assert len(paged.limits) == requests


def test_empty_pages_without_an_end_are_an_error(
    server: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_PAGES", 20)
    told, api = server
    paged = Paged(told, 0)
    paged.spoil = lambda time, found: (found | {"metadata": {"continue": str(time)}}, 200)
    with pytest.raises(ApiError, match="without an end"):
        names(api())
    assert len(paged.limits) == 20


def test_a_page_of_another_kind_in_the_middle_ends_the_list(server: Given) -> None:
    told, api = server
    paged = Paged(told, 5)
    tier = {"kind": "Tier", "metadata": {"name": "pan.2"}}
    paged.spoil = lambda time, found: (found | {"items": [tier]} if time == 2 else found, 200)
    with pytest.raises(ApiError, match="no list of Kubernetes objects of kind GlobalNetworkSet"):
        names(api(), page=2)


@pytest.mark.parametrize("lie", [0, 1, -1, 10**12, "many", None])
def test_what_is_said_to_remain_decides_nothing_while_there_is_a_way_on(
    server: Given, lie: Any
) -> None:
    told, api = server
    paged = Paged(told, 5)

    def lies(time: int, found: dict[str, Any]) -> tuple[Any, int]:
        return found | {"metadata": found["metadata"] | {"remainingItemCount": lie}}, 200

    paged.spoil = lambda time, found: lies(time, found) if time < 3 else (found, 200)
    assert names(api(), page=2) == numbered(5)


def test_a_list_that_ends_before_its_end_is_not_taken_for_the_whole(server: Given) -> None:
    told, api = server
    paged = Paged(told, 5)
    cut = {"metadata": {"remainingItemCount": 3}}
    paged.spoil = lambda time, found: (found | cut, 200)
    with pytest.raises(ApiError, match="says that more is in it"):
        names(api(), page=2)


ECHOES = {
    "header": f"forbidden for Authorization: Bearer {TOKEN}",
    "quoted": json.dumps({"headers": {"Authorization": [f"Bearer {TOKEN}"]}}),
    "page": f"<html><head><title>403</title></head><body>{TOKEN}<script>x()</script></body>",
    "colours": f"\x1b[31mno\x9b1m \u202e{TOKEN}",
    "long": f"{'no ' * 60}{TOKEN} {'no ' * 9000}",
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("as_status", [True, False])
def test_no_error_quotes_a_token_a_page_or_what_a_terminal_obeys(
    server: Given, echo: str, as_status: bool
) -> None:
    told, api = server
    told.json({"message": echo} if as_status else echo.encode(), 403)
    with pytest.raises(ApiError, match="with 403") as raised:
        api().request("GET", SETS)
    said = str(raised.value)
    assert TOKEN not in said
    assert "<" not in said
    assert said.isprintable()
    assert len(said) < 500


def test_a_connection_that_breaks_is_told_in_the_systems_words(server: Given) -> None:
    told, api = server
    told.over.set()

    def gone(asked: BaseHTTPRequestHandler) -> None:
        asked.close_connection = True

    told.answer = gone
    with pytest.raises(ApiError, match="does not answer") as raised:
        api().request("GET", SETS)
    assert "0x" not in str(raised.value)
    assert "<" not in str(raised.value)


def test_a_default_of_the_definition_is_no_failure_and_what_is_changed_is_named(
    server: Given,
) -> None:
    told, api = server
    writer = KubernetesWriter(api(), OWNER, remaining=lambda: 600, seconds=120)
    document = WEB.document()
    document["spec"]["newer"] = {"mode": "Auto"}
    told.json(document)
    writer.create(WEB)
    document["spec"]["nets"] = ["0.0.0.0/0"]
    told.json(document)
    with pytest.raises(ClusterError, match=r"something other than was sent \(spec\.nets\[0\]\)"):
        writer.create(WEB)


def as_of(*versions: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers with an empty list as of each of these versions, the last one for ever."""
    left = list(versions)

    def answer(asked: BaseHTTPRequestHandler) -> None:
        version = left.pop(0) if len(left) > 1 else left[0]
        body = json.dumps(listing(metadata={"resourceVersion": version})).encode()
        asked.send_response(200)
        asked.send_header("Content-Length", str(len(body)))
        asked.end_headers()
        asked.wfile.write(body)

    return answer


def sets_of(api: Api) -> list[Any]:
    return api.collected(SETS, "GlobalNetworkSet", lambda each: [each], page=500)


def test_a_list_from_before_what_was_seen_is_asked_for_again(server: Given) -> None:
    told, api = server
    prod = api(sleep=lambda seconds: None)
    told.answer = as_of("99", "7", "98", "100")
    sets_of(prod)
    assert told.asked == ["GET"]
    sets_of(prod)
    assert told.asked == 4 * ["GET"]
    prod.ages.seen(SETS, {"resourceVersion": "101"})
    with pytest.raises(ApiError, match="in an older state than it reported before"):
        sets_of(prod)


def test_a_cluster_that_went_back_for_good_is_believed_after_a_while(
    server: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, api = server
    prod = api(sleep=lambda seconds: None)
    told.answer = as_of("99", "7")
    sets_of(prod)
    with pytest.raises(ApiError, match="that lags"):
        sets_of(prod)
    prod.ages.seen("/apis/projectcalico.org/v3/tiers", {"resourceVersion": "99"})
    monkeypatch.setattr(lists, "LAG_SECONDS", 0)
    sets_of(prod)
    monkeypatch.undo()
    sets_of(prod)
    # Not kind by kind: the whole cluster went back.
    prod.request("GET", "/apis/projectcalico.org/v3/tiers")


@pytest.mark.parametrize("version", ["", "0", "a/7", "9" * 5000, None, 7, {}])
def test_versions_that_are_no_numbers_are_not_compared(server: Given, version: Any) -> None:
    told, api = server
    prod = api(sleep=lambda seconds: None)
    prod.ages.seen(SETS, {"resourceVersion": "99"})
    told.json(listing(metadata={"resourceVersion": version}))
    sets_of(prod)


def test_what_is_small_and_would_be_huge_when_parsed_is_too_large(server: Given) -> None:
    told, api = server
    told.json(b'{"items":[' + b"{}," * (6 * 1024 * 1024) + b"{}]}")
    with pytest.raises(TooLargeError):
        api().request("GET", SETS)


def test_a_write_goes_over_no_connection_that_reaches_another_cluster(server: Given) -> None:
    told, api = server
    asked_by: list[tuple[str, int]] = []

    def answer(asked: BaseHTTPRequestHandler) -> None:
        port = asked.client_address[1]
        asked_by.append((asked.command, port))
        namespace = {"metadata": {"uid": "a" if port == asked_by[0][1] else "b"}}
        body = json.dumps(namespace if asked.command == "GET" else WEB.document()).encode()
        asked.send_response(200)
        asked.send_header("Content-Length", str(len(body)))
        asked.end_headers()
        asked.wfile.write(body)

    told.answer = answer
    prod = api()
    reader = KubernetesReader(prod, OWNER)
    assert reader.identity() == "a"
    first = asked_by[0][1]
    made = KubernetesWriter(prod, OWNER, remaining=lambda: 60, seconds=5, uid=reader.uid)
    made.create(WEB)
    made.create(WEB)
    # Once it is known whom a connection reaches nobody is asked again.
    assert asked_by == [("GET", first), ("GET", first), ("POST", first), ("POST", first)]
    # Whatever ended the connection, the next one leads elsewhere.
    prod.close()
    with pytest.raises(OutOfReachError, match="reaches another cluster"):
        made.create(WEB)
    assert {port for command, port in asked_by if command == "POST"} == {first}


@pytest.mark.parametrize("status", [403, 500])
def test_a_connection_that_does_not_say_whom_it_reaches_is_not_written_over(
    server: Given, status: int
) -> None:
    told, api = server
    told.json({"message": "no"}, status)
    made = KubernetesWriter(
        api(sleep=lambda seconds: None), OWNER, remaining=lambda: 60, seconds=5, uid="a"
    )
    with pytest.raises(NotWrittenError):
        made.create(WEB)
    assert "POST" not in told.asked

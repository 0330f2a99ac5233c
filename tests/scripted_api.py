"""An API server within the process that plays given answers in their order, over real TLS.

    script.plays(status(409, "exists"), given(web))
    writer(api).create(WEB)
    assert script.asked == ["POST …", "GET …"]

What is asked for beyond the script is answered with 599, which no client expects; a test ends only
when everything was asked for (`script.finish`).
"""

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from sync.clusters.kubernetes.auth.kubeconfig import Access
from zonebridge_simulator.authority import Authority

TOKEN = "s3cr3t-t0ken"
UID = "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True, slots=True)
class Request:
    """A request: method and path as one text, its query and its JSON body."""

    line: str
    query: Mapping[str, str]
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Given:
    """An answer: a status and a body, sent whole, or cut after so many bytes of the body.

    `cut` 0 or more: the connection is closed then, with what would follow promised.
    """

    code: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


Answer = Given | None
"""None: the connection is closed without a word."""


def given(document: Any, code: int = 200, **headers: str) -> Given:
    """A document as the answer; `Retry_After=…` is a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Given(code, json.dumps(document).encode(), named)


def status(code: int, message: str = "", **headers: str) -> Given:
    """A refusal in Kubernetes' own form."""
    document = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    return given(document, code, **headers)


def cut(answer: Given, after: int) -> Given:
    """The same answer, of which only so many bytes of the body arrive."""
    return Given(answer.code, answer.body, answer.headers, after)


def events(*lines: Mapping[str, Any] | bytes) -> Given:
    """What a watch sends until the server ends it."""
    parts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines]
    return Given(200, b"".join(part + b"\n" for part in parts))


class Script:
    """The answers that are still to be played, and what was asked for.

    `uid` is what kube-system says of itself whenever it is asked for, or the next of `uids`, where
    there is any: that is not part of the script.
    """

    def __init__(self) -> None:
        self.uid: str | None = None
        self.uids: Iterator[str] = iter(())
        self.requests: list[Request] = []
        self.met = 0  # how often kube-system was asked for
        self._answers: deque[Answer] = deque()
        self._beyond: list[str] = []
        self._lock = threading.Lock()

    def plays(self, *answers: Answer) -> None:
        """Play these next, after those that were not asked for yet."""
        self._answers.extend(answers)

    @property
    def asked(self) -> list[str]:
        return [each.line for each in self.requests]

    @property
    def last(self) -> Request:
        return self.requests[-1]

    @property
    def left(self) -> int:
        """How many answers are still to be asked for."""
        return len(self._answers)

    def finish(self) -> None:
        """Hold the test to having asked for all that was given, and for nothing more."""
        assert not self._beyond, f"asked for beyond the script: {self._beyond}"
        assert not self._answers, f"never asked for: {len(self._answers)} answers"

    def _uid(self, path: str) -> str | None:
        asked = path == "/api/v1/namespaces/kube-system"
        return next(self.uids, self.uid) if asked else self.uid

    def respond(self, asked: BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
        url = urlsplit(asked.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        line = f"{asked.command} {url.path}"
        with self._lock:
            self.uid = self._uid(url.path)
            if self.uid is not None and url.path == "/api/v1/namespaces/kube-system":
                self.met += 1
                answer: Answer = given({"metadata": {"uid": self.uid}})
            else:
                self.requests.append(Request(line, query, json.loads(body) if body else None))
                if self._answers:
                    answer = self._answers.popleft()
                else:
                    self._beyond.append(line)
                    answer = status(599, "the script is over")
        if answer is None:
            asked.close_connection = True
            return
        asked.send_response(answer.code)
        for name, value in answer.headers.items():
            asked.send_header(name, value)
        asked.send_header("Content-Length", str(len(answer.body)))
        asked.end_headers()
        asked.wfile.write(answer.body[: answer.cut])
        if answer.cut is not None:
            asked.close_connection = True


@contextmanager
def serving(
    respond: Callable[[BaseHTTPRequestHandler], None], authority: Authority
) -> Iterator[str]:
    """A server on loopback whose requests are answered by `respond`; its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

        def answer(self) -> None:
            respond(self)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server names them

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *arguments: object) -> None:
            """A client that has gone is no error here."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certificate())
    with Server(("127.0.0.1", 0), Handler) as listening:
        # A handshake is for the request's own thread.
        listening.socket = context.wrap_socket(
            listening.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


def access_to(url: str, authority: Authority, directory: Path) -> Access:
    """How the configuration reaches such a server, by a kubeconfig in the directory."""
    file = directory / "kubeconfig"
    cluster = {"server": url, "certificate-authority": str(authority.ca_file)}
    document = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(yaml.safe_dump(document))
    return Access("prod", file, None, (), timedelta(seconds=5), insecure_skip_tls_verify=False)

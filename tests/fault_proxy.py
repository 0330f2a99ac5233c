"""A proxy in front of a real API server that misbehaves as it is told to.

It ends TLS, with a certificate of an authority that the kubeconfig names, and passes requests on to
the API server over TLS of its own; so it can alter what either side says.

    with fault_proxy(plane, authority) as proxy:
        proxy.fail(watches, Status(403))     # from now on, for as long as nothing else is said
        ...
        proxy.heal()                         # what is silent goes on, what is new is passed on
"""

import base64
import http.client
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
import yaml

from tests.kubernetes_cluster import ControlPlane
from zonebridge_simulator.authority import Authority

_PART = 64 * 1024
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its method, the path with the query, its body."""

    method: str
    target: str
    body: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def watch(self) -> bool:
        return "watch=true" in self.target


Matching = Callable[[Asked], bool]


def everything(asked: Asked) -> bool:
    """Every request."""
    del asked
    return True


def watches(asked: Asked) -> bool:
    """Every watch."""
    return asked.watch


def lists(asked: Asked) -> bool:
    """Every read that is no watch."""
    return asked.method == "GET" and not asked.watch


def writes(asked: Asked) -> bool:
    """Every write."""
    return asked.method != "GET"


class Fault(Protocol):
    """A way to answer other than the API server does."""

    def answer(self, exchange: "Exchange") -> None: ...


@dataclass(frozen=True, slots=True)
class Status:
    """A status with an error of the API, or with a `page` of a proxy's."""

    status: int
    page: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def answer(self, exchange: "Exchange") -> None:
        said = {"kind": "Status", "code": self.status, "message": f"told to say {self.status}"}
        body = orjson.dumps(said) if self.page is None else self.page
        exchange.whole(self.status, body, self.headers)


@dataclass(frozen=True, slots=True)
class Body:
    """A success with this body, in one piece."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def answer(self, exchange: "Exchange") -> None:
        exchange.whole(200, self.body, self.headers)


@dataclass(frozen=True, slots=True)
class EndsAtOnce:
    """A success that ends cleanly with nothing in it."""

    def answer(self, exchange: "Exchange") -> None:
        exchange.begin(200)
        exchange.end()


@dataclass(frozen=True, slots=True)
class Silence:
    """A success of which nothing comes but its head, and not even that without `head`.

    So a proxy that buffers looks, or a connection that a firewall has forgotten. With `blank`
    something comes, again and again, but nothing that says anything. It ends with `heal`.
    """

    head: bool = True
    blank: bytes = b""

    def answer(self, exchange: "Exchange") -> None:
        if self.head:
            exchange.begin(200)
        while not exchange.healed.wait(0.05 if self.blank else None):
            exchange.part(self.blank)
        if not self.head:
            exchange.begin(200)
        exchange.end()


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is cut: before the API server is asked, or after it has done what it was."""

    after: bool = False

    def answer(self, exchange: "Exchange") -> None:
        if self.after:
            with exchange.forwarded() as found:
                found.read()
        exchange.cut()


@dataclass(frozen=True, slots=True)
class Trickle:
    """The API server's answer, `size` bytes at a time, with `seconds` in between until healed."""

    seconds: float
    size: int = 1

    def answer(self, exchange: "Exchange") -> None:
        with exchange.forwarded() as found:
            status, body = found.status, found.read()
        exchange.begin(status)
        for start in range(0, len(body), self.size):
            exchange.part(body[start : start + self.size])
            exchange.healed.wait(self.seconds)
        exchange.end()


@dataclass(frozen=True, slots=True)
class Altered:
    """The API server's answer, changed by `change`."""

    change: Callable[[Any], Any]

    def answer(self, exchange: "Exchange") -> None:
        with exchange.forwarded() as found:
            status, body = found.status, found.read()
        exchange.whole(status, orjson.dumps(self.change(orjson.loads(body))))


class Exchange:
    """One request and the answer to it; `healed` is set once its fault is over."""

    def __init__(self, proxy: "FaultProxy", handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        self.asked = asked
        self.healed = proxy.healed
        self._proxy = proxy
        self._handler = handler

    def whole(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """An answer of known length."""
        self._head(status, (("Content-Length", str(len(body))), *headers))
        self._write(body)

    def begin(self, status: int, content_type: str = "application/json") -> None:
        """The head of an answer that comes in parts."""
        self._head(status, (("Transfer-Encoding", "chunked"),), content_type)

    def part(self, content: bytes) -> None:
        if content:
            self._write(b"%x\r\n%b\r\n" % (len(content), content))

    def end(self) -> None:
        self._write(b"0\r\n\r\n")

    def cut(self) -> None:
        """End the connection in the middle of whatever it was."""
        self._handler.close_connection = True
        with suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)

    def pass_on(self) -> None:
        """Answer as the API server does, as it comes."""
        with self.forwarded() as found:
            if self.asked.watch:
                self.begin(found.status, found.headers.get("Content-Type", ""))
                while part := found.read1(_PART):
                    self.part(part)
                self.end()
                return
            headers = tuple((k, v) for k, v in found.headers.items() if k.lower() not in _HOP)
            self.whole(found.status, found.read(), headers)

    @contextmanager
    def forwarded(self) -> Iterator[http.client.HTTPResponse]:
        """What the API server answers."""
        plane = self._proxy.plane
        url = urlsplit(plane.url)
        assert url.hostname
        context = ssl.create_default_context(cafile=str(plane.ca_file))
        opened = http.client.HTTPSConnection(url.hostname, url.port, context=context)
        headers = {k: v for k, v in self._handler.headers.items() if k.lower() not in _HOP}
        with self._proxy.holding(opened):
            opened.request(self.asked.method, self.asked.target, self.asked.body or None, headers)
            with opened.getresponse() as found:
                yield found

    def _head(
        self,
        status: int,
        headers: tuple[tuple[str, str], ...],
        content_type: str = "application/json",
    ) -> None:
        self._handler.send_response(status)
        if "content-type" not in {name.lower() for name, _ in headers}:
            headers = (("Content-Type", content_type), *headers)
        for name, value in headers:
            self._handler.send_header(name, value)
        self._handler.end_headers()
        self._handler.wfile.flush()

    def _write(self, content: bytes) -> None:
        self._handler.wfile.write(content)
        self._handler.wfile.flush()


@dataclass
class FaultProxy:
    """A proxy in front of `plane`; `asked` are the requests that came, in their order."""

    plane: ControlPlane
    url: str
    ca_file: Path
    asked: list[Asked] = field(default_factory=list)
    healed: threading.Event = field(default_factory=threading.Event)
    _faults: list[tuple[Matching, Fault, int | None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: set[Any] = field(default_factory=set)

    def fail(self, matching: Matching, fault: Fault, *, times: int | None = None) -> None:
        """Answer such requests so from now on, the next `times` alone where that is given."""
        with self._lock:
            self._faults.append((matching, fault, times))

    def heal(self) -> None:
        """End every fault, and what is under way by one."""
        with self._lock:
            self._faults.clear()
            healed, self.healed = self.healed, threading.Event()
        healed.set()

    def cut(self) -> None:
        """Cut what is passed on now; what comes after it is passed on."""
        with self._lock:
            opened = list(self._open)
        for each in opened:
            with suppress(OSError, AttributeError):
                each.sock.shutdown(socket.SHUT_RDWR)

    def count(self, matching: Matching) -> int:
        """How many such requests came."""
        return sum(map(matching, list(self.asked)))

    def kubeconfig(self) -> Path:
        """A kubeconfig of the administrator that reaches the API server through the proxy."""
        path = self.plane.directory / f"proxied-{secrets.token_hex(4)}.kubeconfig"
        document = yaml.safe_load(self.plane.kubeconfig(path=path).read_text())
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        document["clusters"][0]["cluster"] = {
            "server": self.url,
            "certificate-authority-data": authority,
        }
        path.write_text(yaml.safe_dump(document))
        return path

    @contextmanager
    def holding(self, opened: http.client.HTTPSConnection) -> Iterator[None]:
        """Have a connection to the API server cut when the proxy ends."""
        with self._lock:
            self._open.add(opened)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(opened)
            opened.close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        asked = Asked(handler.command, handler.path, handler.rfile.read(length))
        with self._lock:
            self.asked.append(asked)
            exchange = Exchange(self, handler, asked)
            fault = self._next(asked)
        try:
            if fault:
                fault.answer(exchange)
            else:
                exchange.pass_on()
        except (OSError, http.client.HTTPException):
            # Either side has gone: so has the other.
            exchange.cut()

    def _next(self, asked: Asked) -> Fault | None:
        for number, (matching, fault, times) in enumerate(self._faults):
            if matching(asked):
                if times == 1:
                    del self._faults[number]
                elif times:
                    self._faults[number] = (matching, fault, times - 1)
                return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In a thread of its own: who does not speak TLS keeps nobody waiting.
        with suppress(OSError):
            secured = self.context.wrap_socket(request, server_side=True)
            with secured:
                super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news here."""


@contextmanager
def fault_proxy(plane: ControlPlane, authority: Authority) -> Iterator[FaultProxy]:
    """A proxy in front of `plane` that behaves until told otherwise."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            """Tests read what was asked, not lines."""

        def _any(self) -> None:
            proxy.answer(self)

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._any)
    server = _Server(("127.0.0.1", 0), Handler)
    certificate, key = authority.certificate()
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(certificate, key)
    proxy = FaultProxy(plane, f"https://127.0.0.1:{server.server_port}", authority.ca_file)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="fault proxy")
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        proxy.heal()
        proxy.cut()
        server.server_close()

"""The endpoint for probes and metrics: `/livez`, `/readyz`, `/metrics`."""

import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from socket import AF_INET6, SHUT_RDWR, socket
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from sync.errors import UsageError

_SECONDS = 10  # after which a slow client is disconnected
_CLIENTS = 32
_NOTICED = 0.1  # seconds until it notices a shutdown


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a probe, whether it holds, and its state in words."""

    name: str
    holds: bool
    says: str


Checks = Callable[[], Sequence[Check]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._free = threading.BoundedSemaphore(_CLIENTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve each client in its own thread, up to a limit; refuse more."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer within a deadline that starts with the connection, even for slow clients."""
        end = threading.Timer(_SECONDS, _shut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def server_bind(self) -> None:
        # Python's version looks up the machine's name in DNS, which may hang.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a client that disconnected or sent nothing; Python would print a traceback."""
        del request, client_address
        structlog.get_logger().debug("client let go", error=repr(sys.exception()))


def _shut(request: socket) -> None:
    with suppress(OSError):
        request.shutdown(SHUT_RDWR)


class _ServerIPv6(_Server):
    address_family = AF_INET6


class _Errors(io.StringIO):
    """Receives the traceback of an internal error, and logs its last line."""

    def flush(self) -> None:
        if said := self.getvalue().strip():
            structlog.get_logger().error("endpoint failed", error=said.splitlines()[-1])
        self.seek(0)
        self.truncate()


def logged(work: Callable[[], None], log: Any, ended: str) -> None:
    """Run a thread's work; log a bug that ends it as `ended`. Liveness fails then."""
    try:
        work()
    except Exception:
        log.exception(ended)
        raise


class Handler(WSGIRequestHandler):
    timeout = _SECONDS

    def get_stderr(self) -> Any:
        return _Errors()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Log nothing: there is a probe every few seconds."""


@contextmanager
def serving(bind: str, live: Checks, ready: Checks, metrics: Callable[[], bytes]) -> Iterator[int]:
    """Serve at `bind` (address:port) within the context; yields the port.

    `/livez` and `/readyz` list their checks, with status 503 if one fails. Raises `UsageError` if
    the address cannot be bound.
    """
    written, _, port = bind.rpartition(":")
    host = written.strip("[]")
    family = _ServerIPv6 if ":" in host else _Server
    try:
        application = _application(live, ready, metrics)
        server = make_server(host, int(port), application, family, Handler)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {bind}: {error.strerror}; correct health.bind, or stop what "
            "listens there"
        ) from error
    serve = partial(server.serve_forever, poll_interval=_NOTICED)
    thread = threading.Thread(target=serve, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _application(live: Checks, ready: Checks, metrics: Callable[[], bytes]) -> Any:
    def application(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        kind = "text/plain; charset=utf-8"
        match environment["PATH_INFO"]:
            case _ if environment["REQUEST_METHOD"] not in ("GET", "HEAD"):
                status, body = HTTPStatus.METHOD_NOT_ALLOWED, b"only GET is answered\n"
            case "/livez":
                status, body = _told(live())
            case "/readyz":
                status, body = _told(ready())
            case "/metrics":
                status, body, kind = HTTPStatus.OK, metrics(), CONTENT_TYPE_LATEST
            case _:
                status, body = HTTPStatus.NOT_FOUND, b"there are /livez, /readyz and /metrics\n"
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start(f"{status.value} {status.phrase}", headers)
        return [] if environment["REQUEST_METHOD"] == "HEAD" else [body]

    return application


def _told(checks: Sequence[Check]) -> tuple[HTTPStatus, bytes]:
    lines = [f"[{'+' if each.holds else '-'}] {each.name}: {each.says}\n" for each in checks]
    holds = all(each.holds for each in checks)
    status = HTTPStatus.OK if holds else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "".join(lines).encode()

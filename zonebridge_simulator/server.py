"""The HTTPS server under the simulator, whose connections can be broken in every way."""

import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .request import Request, read_request

XML = "application/xml; charset=UTF-8"
HTML = "text/html; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"

MOST = 5 * 1024 * 1024
"""The largest request that PAN-OS accepts, in bytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of HTTP."""

    body: bytes
    status: int = 200
    content_type: str = XML
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, length: int | None) -> bytes:
        """The status line and the headers; without a length the body comes in chunks."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        headers = [("Date", formatdate(usegmt=True)), *self.headers]
        # A length without a body would be that of what was not sent.
        if self.status != HTTPStatus.NOT_MODIFIED:
            headers += [
                ("Content-Type", self.content_type),
                ("Transfer-Encoding", "chunked")
                if length is None
                else ("Content-Length", str(length)),
            ]
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{name}: {text}" for name, text in headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def whole(self) -> bytes:
        return self.head(len(self.body)) + self.body


class Exchange:
    """One request's way back to its client."""

    def __init__(self, handler: "_Handler") -> None:
        self._handler = handler
        self._under_way = True
        handler.server.enter()

    def leave(self) -> None:
        """The request has been answered."""
        if self._under_way:
            self._under_way = False
            self._handler.server.leave()

    def send(self, answer: Answer) -> None:
        self.last(answer.whole())

    def write(self, data: bytes) -> None:
        """Some bytes, with more to come."""
        self._handler.connection.sendall(data)

    def last(self, data: bytes) -> None:
        """The last bytes. The request is over before the client can notice."""
        self.leave()
        self._handler.connection.sendall(data)

    def close(self) -> None:
        """End the connection after this request, without announcing it."""
        self.leave()
        self._handler.close_connection = True

    def reset(self) -> None:
        """End the connection at once with an RST."""
        self.close()
        connection = self._handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A socket that is closed properly would say goodbye first.
        os.close(connection.detach())

    def wait(self, seconds: float) -> bool:
        """Wait; true if the server ends meanwhile."""
        return self._handler.server.stopping.wait(seconds)


class Server(ThreadingHTTPServer):
    """Passes every request to `handle`, in a thread of its connection.

    What `handle` raises comes to `failed`, unless it says that the client is gone.
    """

    request_queue_size = 64
    daemon_threads = False

    def __init__(
        self,
        address: tuple[str, int],
        certificate: tuple[Path, Path],
        handle: Callable[[Request, Exchange], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.stopping = threading.Event()
        self.accepted = 0
        self.in_flight = 0
        self.in_flight_peak = 0
        self.handle = handle
        self.failed = failed
        self._open: set[ssl.SSLSocket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), name=f"panorama-{self.server_port}"
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End every connection and every thread, whatever they do."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                # The way of SSLSocket itself would take TLS away under a thread that is reading.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()

    def enter(self) -> None:
        with self._lock:
            self.in_flight += 1
            self.in_flight_peak = max(self.in_flight_peak, self.in_flight)

    def leave(self) -> None:
        with self._lock:
            self.in_flight -= 1

    def get_request(self) -> tuple[socket.socket, Any]:
        accepted, address = super().get_request()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped = self.context.wrap_socket(
            accepted, server_side=True, do_handshake_on_connect=False
        )
        with self._lock:
            self._open.add(wrapped)
            self.accepted += 1
        return wrapped, address

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that disconnect, or that reject our certificate, are no errors here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST:
            self.close_connection = True
            self.connection.sendall(Answer(b"", 413, HTML).whole())
            return
        self._serve(self.rfile.read(length))

    def _serve(self, body: bytes) -> None:
        request = read_request(self.command, self.path, self.headers, body)
        exchange = Exchange(self)
        try:
            self.server.handle(request, exchange)
        except OSError:
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - the test hears of it
            self.close_connection = True
            self.server.failed(error)
        finally:
            exchange.leave()

    def log_message(self, *arguments: object) -> None:
        pass

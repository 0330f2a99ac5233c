"""A way to a PostgreSQL server over TCP that can be cut: in silence, or with every end told.

with database_proxy(server) as proxy:
    url = proxy.url(name)
    proxy.silence()      # nothing arrives any more, nobody is told
    proxy.refuse()       # connections end, new ones are refused
    proxy.heal()
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.postgresql import USER, Server

_PART = 64 * 1024


@dataclass
class DatabaseProxy:
    """A listener on `port` that passes what comes on to the socket of `server`."""

    server: Server
    listener: socket.socket
    _passes: threading.Event = field(default_factory=threading.Event)
    _refuses: bool = False
    _open: list[socket.socket] = field(default_factory=list)

    def url(self, name: str) -> str:
        port = self.listener.getsockname()[1]
        # Names that stand in the way of nothing: the server itself asks for no TLS here.
        return f"postgresql+psycopg://{USER}@127.0.0.1:{port}/{name}?sslmode=disable"

    def silence(self) -> None:
        """Keep what is sent, on connections that are there and on new ones."""
        self._passes.clear()

    def refuse(self) -> None:
        """End what is there, and whatever comes."""
        self._refuses = True
        self._end()

    def heal(self) -> None:
        """Pass everything on again, also what was kept."""
        self._refuses = False
        self._passes.set()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self._refuses:
                client.close()
                continue
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(str(self.server.directory / ".s.PGSQL.5432"))
            self._open += [client, upstream]
            for ends in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def close(self) -> None:
        self._passes.set()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._end()

    def _pass_on(self, reading: socket.socket, writing: socket.socket) -> None:
        with suppress(OSError):
            while part := reading.recv(_PART):
                self._passes.wait()
                writing.sendall(part)
        # Of what is silent nobody learns that the other end has gone.
        self._passes.wait()
        for each in (reading, writing):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        reading.close()

    def _end(self) -> None:
        ended, self._open = self._open, []
        for each in ended:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def database_proxy(server: Server) -> Iterator[DatabaseProxy]:
    """A proxy in front of `server` that passes everything on until told otherwise."""
    proxy = DatabaseProxy(server, socket.create_server(("127.0.0.1", 0)))
    proxy.heal()
    thread = threading.Thread(target=proxy.serve, name="database proxy")
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()

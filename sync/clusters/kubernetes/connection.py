"""Connections to an API server, and a check which cluster each one reaches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from socket import socket
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from sync.clusters.cluster import OutOfReachError
from sync.clusters.kubernetes.auth.kubeconfig import Connection
from sync.clusters.kubernetes.errors import NotSentError, error_of
from sync.transport.deadline import WatchedConnection, WatchedPlainConnection

MAX_ERROR_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ApiConnection:
    """The parts that all requests over one connection share, computed once.

    A first sync sends thousands of requests, and is bound by the CPU.
    """

    connection: Connection
    pool: urllib3.HTTPConnectionPool
    prefix: str
    headers: Mapping[str, str]
    secrets: Sequence[str] = field(repr=False)

    @classmethod
    def of(cls, connection: Connection) -> "ApiConnection":
        client = connection.client
        host = client.configuration.host
        pool = client.rest_client.pool_manager.connection_from_url(host)
        # Any other pool speaks another protocol below.
        if pool.ConnectionCls is HTTPSConnection:
            pool.ConnectionCls = _InOnePiece
        elif pool.ConnectionCls is HTTPConnection:
            pool.ConnectionCls = WatchedPlainConnection
        headers = {
            **client.default_headers,
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        secrets = []
        if token := client.configuration.auth_settings().get("BearerToken"):
            headers["Authorization"] = token["value"]
            secrets = [token["value"].removeprefix("Bearer ")]
        # A proxy receives the whole URL, unless it only tunnels TLS.
        whole = pool.proxy is not None and pool.scheme == "http"
        return cls(connection, pool, host if whole else urlsplit(host).path, headers, secrets)


@dataclass(frozen=True, slots=True)
class IntendedCluster:
    """The cluster that a write is meant for, and the request that asks for its identity."""

    uid: str
    cluster: str
    url: str
    headers: Mapping[str, str] = field(repr=False)


meant_for: Final[ContextVar[IntendedCluster | None]] = ContextVar("meant", default=None)


class _InOnePiece(WatchedConnection):
    """A connection that sends the head of a request together with its body.

    urllib3 sends them separately, each with a round through TLS and the kernel of both sides.
    """

    _pieces: list[bytes] | None = None
    _reaches = ""  # the UID of the cluster at its other end, once known

    def _new_conn(self) -> socket:
        self._reaches = ""
        return super()._new_conn()

    def request(self, *arguments: Any, **options: Any) -> None:
        if (meant := meant_for.get()) and self._reaches != meant.uid:
            self._meet(meant)
        pieces: list[bytes] = []
        self._pieces = pieces
        try:
            super().request(*arguments, **options)
        finally:
            self._pieces = None
        self.send(b"".join(pieces))

    def _meet(self, meant: "IntendedCluster") -> None:
        """Ask over this connection which cluster it reaches."""
        super().request("GET", meant.url, headers=meant.headers, preload_content=False)
        answer = self.getresponse()
        body = answer.read(MAX_ERROR_BYTES)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # The request itself will be refused the same way, and then credentials are renewed.
            return
        try:
            self._reaches = str(orjson.loads(body)["metadata"]["uid"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            message = (
                f"cluster {meant.cluster} does not report over a new connection which one it is, "
                "so nothing was sent over it; check which server is at its address"
            )
            if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise error_of(answer.status, message) from None
            raise NotSentError(message) from None
        if self._reaches != meant.uid:
            raise OutOfReachError(
                f"a new connection to cluster {meant.cluster} reaches another cluster than the one "
                "that was planned for; nothing was sent over it: look for an address that leads "
                "to two clusters"
            )

    def send(self, data: Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


NEVER_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
)


def fenced(content: bytes, fence: Callable[[], None]) -> Iterator[bytes]:
    # Called when the connection is open: DNS, connecting and the TLS handshake may have taken
    # long. If the head was sent before it, a request without its body has no effect.
    fence()
    yield content

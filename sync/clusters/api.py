"""Requests to a Kubernetes API server, and its errors by what can be done about them.

The official client brings TLS, proxies and connections. Requests and answers are JSON as it
stands: what is written was frozen as bytes long before.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import orjson
import urllib3
from urllib3.connection import HTTPSConnection

from sync.clusters.kubeconfig import Connection
from sync.clusters.renewal import Renewal
from sync.errors import ClusterError

_CONNECT_SECONDS = 10
_READ_SECONDS = 30
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 10.0
_TRIES = 4
_UNPREPARED = "failed to configure policy"
_STARTS = 6
_SAID = 1_000  # characters of an error: records keep it for ever

_Kept = TypeVar("_Kept")


class ApiError(ClusterError):
    """The API server answered with an error; `status` is its HTTP status, 0 where none came.

    `retry_after` is how many seconds it asked to be left alone, 0 if it did not; `sent` is False
    where it surely never got the request.
    """

    def __init__(
        self, message: str, status: int, retry_after: float = 0, *, sent: bool = True
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.sent = sent

    @property
    def may_arrive(self) -> bool:
        """Whether a request that was answered so may have been done all the same, or still be."""
        return self.sent and (self.status == 0 or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR)

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed later."""
        # A server that has just started may not have found yet what admission policies refer to.
        unprepared = self.status == HTTPStatus.FORBIDDEN and _UNPREPARED in str(self)
        return unprepared or self.status in (0, HTTPStatus.TOO_MANY_REQUESTS) or self.status >= 500


class Pause:
    """Waits between tries: each about twice as long as the one before, and no two clients alike."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep
        self._next = _FIRST_WAIT

    def after(self, error: ApiError) -> None:
        """Wait after an error, at least as long as the server asked for."""
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._sleep(max(error.retry_after, self._next * spread))
        self._next = min(self._next * 2, _LONGEST_WAIT)


class Api:
    """One API server; `name` is the cluster's, for messages. Threads may share it.

    `connect` is asked for a connection before the first request, and again when its files change,
    its credentials run out or the server does not take them any more.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.sleep = sleep
        self._renewal = Renewal(name, connect)
        self._line: _Line | None = None
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        seconds: float = _READ_SECONDS,
        fence: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """One request, which neither side works on longer than `seconds`.

        It is sent once, and again only if the server did not know the credentials; `fence` is
        called once the connection stands, before the body goes out, and may raise. Raises
        `ApiError` for any answer but a success, `ClusterError` if there are no credentials.
        """
        asked = _Request(
            method,
            path,
            urlencode({**(query or {}), "timeout": f"{max(1, int(seconds))}s"}),
            orjson.dumps(body) if isinstance(body, Mapping) else body,
            urllib3.Timeout(connect=min(_CONNECT_SECONDS, seconds), total=seconds),
            fence,
        )
        answer = self._send(asked)
        try:
            found: Any = orjson.loads(answer.data)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise ApiError(
                f"cluster {self.name} answers {method} {path} with something that is no JSON "
                "object; check that the kubeconfig names an API server and no proxy's page",
                0,
            )
        return found

    def patiently(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """A request that may be repeated without harm: what passes is waited for."""
        pause = Pause(self.sleep)
        for tries_left in reversed(range(_TRIES)):
            try:
                return self.request(method, path, **options)
            except ApiError as error:
                if not error.passing or not tries_left:
                    raise
                pause.after(error)
        raise AssertionError("unreachable")

    def collected(
        self,
        path: str,
        keep: Callable[[dict[str, Any]], Iterable[_Kept]],
        *,
        page: int,
        selector: str = "",
    ) -> list[_Kept]:
        """What `keep` takes from each object of a list, as of one moment.

        The list is read in pages of `page` objects, and only one page is held at a time.
        `selector` is a field selector.
        """
        first: dict[str, str | int] = {"limit": page}
        if selector:
            first["fieldSelector"] = selector
        kept: list[_Kept] = []
        query = first
        starts_left = _STARTS
        while True:
            try:
                found = self.patiently("GET", path, query=query)
            except ApiError as error:
                starts_left -= 1
                if error.status != HTTPStatus.GONE or not starts_left:
                    raise
                # The list took so long that its moment is forgotten: begin anew, from now.
                kept, query = [], first
                continue
            for each in found["items"] or ():
                kept += keep(each)
            token = found["metadata"].get("continue")
            if not token:
                return kept
            query = {**first, "continue": token}

    @contextmanager
    def stream(
        self, path: str, query: Mapping[str, str | int], silence: float
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """An answer that comes line by line; one that is silent for `silence` seconds has ended."""
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=silence)
        answer = self._send(_Request("GET", path, urlencode(query), None, timeout), stream=True)
        try:
            yield answer
        finally:
            answer.close()

    def close(self) -> None:
        """Close every connection; a later request opens new ones."""
        with self._lock:
            if self._line:
                self._line.connection.client.close()
                self._line = None

    def _send(self, asked: "_Request", *, stream: bool = False) -> urllib3.BaseHTTPResponse:
        line = self._current()
        answer = self._once(line, asked, stream=stream)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            answer.drain_conn()
            line = self._current(instead_of=line)
            answer = self._once(line, asked, stream=stream)
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._error(asked.method, asked.path, answer)
        return answer

    def _once(self, line: "_Line", asked: "_Request", *, stream: bool) -> urllib3.BaseHTTPResponse:
        headers = line.headers
        body: bytes | Iterator[bytes] | None = asked.body
        if asked.body is not None:
            headers = {**headers, "Content-Length": str(len(asked.body))}
            if asked.fence:
                body = _fenced(asked.body, asked.fence)
        try:
            answer: urllib3.BaseHTTPResponse = line.pool.urlopen(
                asked.method,
                f"{line.prefix}{asked.path}?{asked.query}",
                body=body,
                headers=headers,
                timeout=asked.timeout,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=not stream,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(
                f"the API server of cluster {self.name} at "
                f"{line.connection.client.configuration.host} does not answer "
                f"({_reason(error)}); {_remedy(error)}",
                0,
                sent=not isinstance(error, _NEVER_SENT),
            ) from error
        return answer

    def _current(self, instead_of: "_Line | None" = None) -> "_Line":
        known = self._line
        needed = known is None or known is instead_of
        # To renew one may take long, a plugin may run: meanwhile other threads use what there is.
        if not self._lock.acquire(blocking=needed):
            assert known is not None
            return known
        try:
            known = self._line
            # Another thread may still use the old one: it is left to the garbage collector.
            if known is None or known is instead_of:
                known = _Line.of(self._renewal.connect())
            else:
                connection = self._renewal.renewed(known.connection)
                if connection is not known.connection:
                    known = _Line.of(connection)
            self._line = known
            return known
        finally:
            self._lock.release()

    def _error(self, method: str, path: str, answer: urllib3.BaseHTTPResponse) -> ApiError:
        try:
            said = str(orjson.loads(answer.data)["message"])[:_SAID]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            said = answer.data[:_SAID].decode(errors="replace").strip()
        remedy = {
            401: "; renew the credentials that it is reached with",
            403: "; grant the user this in the cluster, and what else docs/clusters.md lists",
        }.get(answer.status, "")
        try:
            asked = float(answer.headers.get("Retry-After", 0))
        except ValueError:
            asked = 0
        retry_after = min(max(asked, 0), _LONGEST_WAIT) if math.isfinite(asked) else 0
        return ApiError(
            f"cluster {self.name} refuses {method} {path} with {answer.status}: {said}{remedy}",
            answer.status,
            retry_after,
        )


@dataclass(frozen=True, slots=True)
class _Request:
    """One request; `query` is encoded."""

    method: str
    path: str
    query: str
    body: bytes | None
    timeout: urllib3.Timeout
    fence: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """What all requests over one connection share, worked out once.

    A first sync sends thousands of them, and the processor's time is what it waits for.
    """

    connection: Connection
    pool: urllib3.HTTPConnectionPool
    prefix: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, connection: Connection) -> "_Line":
        client = connection.client
        host = client.configuration.host
        pool = client.rest_client.pool_manager.connection_from_url(host)
        # Whatever else stands there speaks another protocol below.
        if pool.ConnectionCls is HTTPSConnection:
            pool.ConnectionCls = _InOnePiece
        headers = {
            **client.default_headers,
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        if token := client.configuration.auth_settings().get("BearerToken"):
            headers["Authorization"] = token["value"]
        # A proxy is told the whole URL, unless it only passes on what is encrypted.
        whole = pool.proxy is not None and pool.scheme == "http"
        return cls(connection, pool, host if whole else urlsplit(host).path, headers)


class _InOnePiece(HTTPSConnection):
    """A connection that sends the head of a request together with its body.

    urllib3 sends two pieces, each with a round through TLS and the kernel of both sides.
    """

    _pieces: list[bytes] | None = None

    def request(self, *arguments: Any, **options: Any) -> None:
        pieces: list[bytes] = []
        self._pieces = pieces
        try:
            super().request(*arguments, **options)
        finally:
            self._pieces = None
        self.send(b"".join(pieces))

    def send(self, data: Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


_NEVER_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
)


def _fenced(content: bytes, fence: Callable[[], None]) -> Iterator[bytes]:
    # Asked for when the connection stands: looking up a name, connecting and agreeing on keys may
    # have taken long. Where the head has gone out before it, a request without its body does
    # nothing.
    fence()
    yield content


def _remedy(error: Exception) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "name the authority of its certificate in the kubeconfig (certificate-authority)"
    return "check that it is up and can be reached from here"


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).splitlines()[0] if str(reason) else type(reason).__name__

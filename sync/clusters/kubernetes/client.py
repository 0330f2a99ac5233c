"""Requests to a Kubernetes API server.

The official client brings TLS, proxies and connections. Requests and answers are plain
JSON: what is written was frozen as bytes long before.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson
import urllib3

from sync.clusters.kubernetes.auth.kubeconfig import Connection
from sync.clusters.kubernetes.auth.renewal import Renewal
from sync.clusters.kubernetes.connection import (
    MAX_ERROR_BYTES,
    NEVER_SENT,
    ApiConnection,
    IntendedCluster,
    fenced,
    meant_for,
)
from sync.clusters.kubernetes.errors import (
    LONGEST_WAIT,
    ApiError,
    GoneError,
    LateError,
    NotSentError,
    TooLargeError,
    UnansweredError,
    refusal,
)
from sync.clusters.kubernetes.lists import ListAges, pages
from sync.transport.backoff import Backoff
from sync.transport.body import is_compressed, read_body
from sync.transport.deadline import Call, cut_after
from sync.transport.errors import Retryable
from sync.transport.failures import deepest, own_words, silent
from sync.transport.stopping import Stopping

LONGEST_SECONDS = 30.0
"""The default time limit of a request, the whole answer included."""

LONGEST_WRITE_SECONDS = 20.0
"""The same for a write, which is completed when the process is stopped: Kubernetes gives 30 s."""

_CONNECT_SECONDS = 10
FIRST_WAIT = 0.2
"""Seconds from a failed request to the next try."""

_TRIES = 4
_STARTS = 6
# Etcd stores no object above 1.5 MiB, and pages of large objects are requested in smaller ones.
# JSON of only `{}` needs thirty times its size when it is parsed, and parsing blocks all threads.
MAX_BYTES = 16 * 1024 * 1024
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
_Kept = TypeVar("_Kept")


class Api:
    """One API server; `name` is the cluster's, for messages. Threads may share it.

    `connect` makes a connection before the first request, and again when its files change, its
    credentials expire or the server refuses them. No request takes longer than `seconds`, the whole
    answer included. Once `stopping`, nothing more is read, and waits end; a write in progress keeps
    its time.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        sleep: Callable[[float], object] | None = None,
        *,
        seconds: float = LONGEST_SECONDS,
        stopping: Stopping | None = None,
    ) -> None:
        self.name = name
        self._stopping = stopping or Stopping()
        self.sleep = sleep or self._stopping.wait
        self._renewal = Renewal(name, connect)
        self._seconds = seconds
        self._line: ApiConnection | None = None
        self._lock = threading.Lock()
        self.ages = ListAges(name)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        seconds: float | None = None,
        fence: Callable[[], None] | None = None,
        uid: str = "",
    ) -> dict[str, Any]:
        """Send one request, which ends on both sides within `seconds`.

        With `uid` it is sent only over a connection to the cluster whose kube-system has that UID,
        else `OutOfReachError`: one address may lead to two clusters.

        It is sent once, and again only if the server refused the credentials. `fence` is called
        when the connection is open, before the body is sent, and may raise. Raises `ApiError` for
        any answer but a success, and for a list that is older than what `ages` has seen of the kind
        at `path`; `ClusterError` if there are no credentials.
        """
        limit = min(seconds or self._seconds, self._seconds)
        asked = _Request(
            method,
            path,
            urlencode({**(query or {}), "timeout": f"{max(1, int(limit))}s"}),
            orjson.dumps(body) if isinstance(body, Mapping) else body,
            limit,
            fence,
            uid,
        )
        try:
            found: Any = orjson.loads(self._answered(asked))
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise UnansweredError(
                f"cluster {self.name} answers {method} {path} with something that is not a JSON "
                "object; check that the kubeconfig names an API server and no proxy's page"
            )
        if method == "GET" and "continue" not in (query or {}):
            self.ages.require_new(path, found)
        return found

    def patiently(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request that is safe to repeat: retried after failures that may pass."""
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        for tries_left in reversed(range(_TRIES)):
            try:
                return self.request(method, path, **options)
            except ApiError as error:
                if not isinstance(error, Retryable) or not tries_left:
                    raise
                self.sleep(backoff.wait(error.after))
        raise AssertionError("unreachable")

    def collected(
        self,
        path: str,
        kind: str,
        keep: Callable[[dict[str, Any]], Iterable[_Kept]],
        *,
        page: int,
        selector: str = "",
    ) -> list[_Kept]:
        """Return what `keep` yields for each object of a list, as of one moment.

        The list is read in pages of `page` objects, one page in memory at a time; pages that are
        too large are requested in smaller ones. The list has to declare objects of `kind`, in the
        version of `path`. `selector` is a field selector.
        """
        ask = partial(self.patiently, "GET", path)
        first = {"fieldSelector": selector} if selector else {}
        for starts_left in reversed(range(_STARTS)):
            kept: list[_Kept] = []
            try:
                for page_of_it in pages(ask, self.name, path, kind, first, page=page):
                    for each in page_of_it.objects:
                        kept += keep(each)
            except GoneError:
                # The server has forgotten the resource version of the list: begin again, from now.
                if not starts_left:
                    raise
            else:
                return kept
        raise AssertionError("unreachable")

    @contextmanager
    def stream(
        self, path: str, query: Mapping[str, str | int], silence: float, longest: float
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Stream an answer line by line; it ends after `silence` seconds without data.

        It also ends after `longest` seconds, even if data still trickles in.
        """
        asked = _Request("GET", path, urlencode(query), None, silence)
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=silence)
        with cut_after(longest) as whole:
            # Only its head has to arrive in time.
            with self._begun(asked, timeout) as begun:
                answer = begun.answer
                whole.hear(begun.call)
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

    def _answered(self, asked: "_Request") -> bytes:
        """The body of a success, whole."""
        timeout = urllib3.Timeout(connect=min(_CONNECT_SECONDS, asked.seconds), total=asked.seconds)
        with self._begun(asked, timeout) as begun:
            body = self._read(begun, MAX_BYTES)
        if body is None:
            raise TooLargeError(
                f"cluster {self.name} answers {asked.method} {asked.path} with more than "
                f"{MAX_BYTES:,} bytes; check which server is at its address"
            )
        return body

    @contextmanager
    def _begun(self, asked: "_Request", timeout: urllib3.Timeout) -> Iterator["_Begun"]:
        """Begin a request: a success whose body is not read yet."""
        line = self._current()
        spent = 0.0
        for may_renew in (True, False):
            began = time.monotonic()
            # A write that was cut off may have arrived, and the process would not wait to check.
            stopping = self._stopping if asked.method == "GET" else None
            if stopping and stopping.is_set():
                raise self._stopped(asked, sent=False)
            with cut_after(max(asked.seconds - spent, 0.0), stopping) as call:
                begun = self._begin(line, asked, timeout, call)
                if begun.answer.status < HTTPStatus.MULTIPLE_CHOICES:
                    self._require_plain(begun)
                    yield begun
                    return
                said = self._read(begun, MAX_ERROR_BYTES) or b""
            if begun.answer.status != HTTPStatus.UNAUTHORIZED or not may_renew:
                break
            # The time that a plugin takes for new credentials does not count against the server.
            spent = time.monotonic() - began
            line = self._current(instead_of=line)
        raise refusal(
            self.name,
            asked.method,
            asked.path,
            asked.query,
            begun.answer,
            said,
            line.secrets,
        )

    def _begin(
        self, line: ApiConnection, asked: "_Request", timeout: urllib3.Timeout, call: Call
    ) -> "_Begun":
        headers = line.headers
        body: bytes | Iterator[bytes] | None = asked.body
        if asked.body is not None:
            headers = {**headers, "Content-Length": str(len(asked.body))}
            if asked.fence:
                body = fenced(asked.body, asked.fence)
        meant = IntendedCluster(asked.uid, self.name, f"{line.prefix}{KUBE_SYSTEM}", line.headers)
        before = meant_for.set(meant if asked.uid else None)
        try:
            answer: urllib3.BaseHTTPResponse = line.pool.urlopen(
                asked.method,
                f"{line.prefix}{asked.path}?{asked.query}",
                body=body,
                headers=headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._failed(line, asked, call, error) from error
        finally:
            meant_for.reset(before)
        if call.cut:
            # A truncated head looks like a complete one.
            answer.close()
            raise self._late(asked)
        return _Begun(line, asked, call, answer)

    def _read(self, begun: "_Begun", most: int) -> bytes | None:
        """A whole body, None if it is larger than `most`."""

        def require_whole() -> None:
            if begun.call.cut:
                raise self._late(begun.asked)

        try:
            return read_body(begun.answer, most, require_whole)
        except urllib3.exceptions.HTTPError as error:
            raise self._failed(begun.line, begun.asked, begun.call, error) from error
        finally:
            # A connection whose answer was not read to its end cannot serve another request.
            begun.answer.close()

    def _require_plain(self, begun: "_Begun") -> None:
        if is_compressed(begun.answer):
            begun.answer.close()
            raise UnansweredError(
                f"cluster {self.name} answers {begun.asked.method} {begun.asked.path} compressed "
                "although that was not requested; find the proxy that compresses, and stop it"
            )

    def _failed(
        self,
        line: ApiConnection,
        asked: "_Request",
        call: Call,
        error: urllib3.exceptions.HTTPError,
    ) -> ApiError:
        if call.cut or silent(error):
            return self._late(asked)
        reason = deepest(error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            said = f"its certificate is refused: {reason.verify_message.rstrip('.')}"
            remedy = "name the authority of its certificate in the kubeconfig"
            remedy += " (certificate-authority)"
        else:
            said = own_words(reason)
            remedy = "check that it is up and can be reached from here"
        return (NotSentError if isinstance(error, NEVER_SENT) else UnansweredError)(
            f"the API server of cluster {self.name} at "
            f"{line.connection.client.configuration.host} does not answer ({said}); {remedy}"
        )

    def _late(self, asked: "_Request") -> ApiError:
        if asked.method == "GET" and self._stopping.is_set():
            return self._stopped(asked)
        return LateError(
            f"the API server of cluster {self.name} takes more than {asked.seconds:g} s to answer "
            f"{asked.method} {asked.path}; check that it is up, and any proxy before it"
        )

    def _stopped(self, asked: "_Request", *, sent: bool = True) -> ApiError:
        return (UnansweredError if sent else NotSentError)(
            f"cluster {self.name}: {asked.method} {asked.path} was cut off, since zonebridge is "
            "shutting down"
        )

    def _current(self, instead_of: ApiConnection | None = None) -> ApiConnection:
        known = self._line
        needed = known is None or known is instead_of
        # Renewal may run a slow plugin: other threads use the old connection until then.
        if not self._lock.acquire(blocking=needed):
            assert known is not None
            return known
        try:
            known = self._line
            # Another thread may still use the old one, so it is left to the garbage collector.
            if known is None or known is instead_of:
                known = ApiConnection.of(self._renewal.connect())
            else:
                connection = self._renewal.renewed(known.connection)
                if connection is not known.connection:
                    known = ApiConnection.of(connection)
            self._line = known
            return known
        finally:
            self._lock.release()


@dataclass(frozen=True, slots=True)
class _Request:
    """One request; `query` is encoded."""

    method: str
    path: str
    query: str
    body: bytes | None
    seconds: float
    fence: Callable[[], None] | None = None
    uid: str = ""


@dataclass(frozen=True, slots=True)
class _Begun:
    """An answer whose head has arrived, with its request, connection and call."""

    line: ApiConnection
    asked: _Request
    call: Call
    answer: urllib3.BaseHTTPResponse

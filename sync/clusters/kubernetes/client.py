"""Requests to a Kubernetes API server, and its errors by what can be done about them.

The official client brings TLS, proxies and connections. Requests and answers are JSON as it
stands: what is written was frozen as bytes long before.
"""

import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from socket import socket
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlencode, urlsplit

import orjson
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from sync.clusters.cluster import OutOfReachError
from sync.clusters.kubernetes.auth.kubeconfig import Connection
from sync.clusters.kubernetes.auth.renewal import Renewal
from sync.errors import ClusterError
from sync.redaction import redact
from sync.transport.deadline import Call, WatchedConnection, WatchedPlainConnection, cut_after
from sync.transport.failures import deepest, own_words, retry_after, silent
from sync.transport.stopping import Stopping

LONGEST_SECONDS = 30.0
"""How long a request takes at most, the whole answer included, where nothing says less."""

LONGEST_WRITE_SECONDS = 20.0
"""The same of a write, which is not cut when the process is asked to end: Kubernetes gives 30 s."""

_CONNECT_SECONDS = 10
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 10.0
_TRIES = 4
_UNPREPARED = "failed to configure policy"
# `k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go`
_DENIED = re.compile(
    r"ValidatingAdmissionPolicy '([^']*)' with binding '[^']*' denied request: (.*)"
)
_STARTS = 6
_CHUNK = 1 << 18
# Etcd takes no object above 1.5 MiB, and pages of large ones are asked for in smaller ones. JSON of
# nothing but `{}` takes thirty times its size when it is parsed, and parsing holds up all threads.
_MAX_BYTES = 16 * 1024 * 1024
_MAX_ERROR_BYTES = 1024 * 1024
# More than any cluster is built for (https://kubernetes.io/docs/setup/best-practices/cluster-large/).
_MOST_OBJECTS = 1_000_000
_MOST_PAGES = 100_000
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
_VERSION_DIGITS = 20
_LAG_SECONDS = 30.0  # that lists from before what was seen are not believed

_Kept = TypeVar("_Kept")


class ApiError(ClusterError):
    """The API server answered with an error; `status` is its HTTP status, 0 where none came.

    `retry_after` is how many seconds it asked to be left alone, 0 if it did not; `sent` is False
    where it surely never got the request. `words` are its own, to look into and never to be shown.
    """

    def __init__(
        self,
        message: str,
        status: int,
        retry_after: float = 0,
        *,
        sent: bool = True,
        words: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.sent = sent
        self.words = words or message

    @property
    def may_arrive(self) -> bool:
        """Whether a request that was answered so may have been done all the same, or still be."""
        return self.sent and (self.status == 0 or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR)

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed later."""
        # A server that has just started may not have found yet what admission policies refer to.
        unprepared = self.status == HTTPStatus.FORBIDDEN and _UNPREPARED in self.words
        return unprepared or self.status in (0, HTTPStatus.TOO_MANY_REQUESTS) or self.status >= 500


class TooLargeError(ApiError):
    """The API server answered with more than anything that was asked for can be."""

    @property
    def passing(self) -> bool:
        return False


class Pause:
    """Waits between tries: each about twice as long as the one before, and no two clients alike."""

    def __init__(self, sleep: Callable[[float], object]) -> None:
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
    its credentials run out or the server does not take them any more. No request takes longer than
    `seconds`, the whole answer included. Once `stopping`, nothing is read any more, and waits end;
    a write that is under way keeps its time.
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
        self._line: _Line | None = None
        self._lock = threading.Lock()
        # By the path of a kind: the newest resource version that was seen, and since when lists are
        # older.
        self._newest: dict[str, int] = {}
        self._lags: dict[str, float] = {}

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
        """One request, which neither side works on longer than `seconds`.

        With `uid` it goes over no connection that reaches another cluster than the one whose
        kube-system has that: `OutOfReachError`. An address may lead to two of them.

        It is sent once, and again only if the server did not know the credentials; `fence` is
        called once the connection stands, before the body goes out, and may raise. Raises
        `ApiError` for any answer but a success, and for a list from before what was `seen` of the
        kind at `path`; `ClusterError` if there are no credentials.
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
            raise ApiError(
                f"cluster {self.name} answers {method} {path} with something that is no JSON "
                "object; check that the kubeconfig names an API server and no proxy's page",
                0,
            )
        if method == "GET" and "continue" not in (query or {}):
            self._require_new(path, found)
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
        kind: str,
        keep: Callable[[dict[str, Any]], Iterable[_Kept]],
        *,
        page: int,
        selector: str = "",
    ) -> list[_Kept]:
        """What `keep` takes from each object of a list, as of one moment.

        The list is read in pages of `page` objects, and only one page is held at a time; pages
        that are too large are asked for in smaller ones. It is believed only if it says that it
        holds objects of `kind`, in the version of `path`. `selector` is a field selector.
        """
        ask = partial(self.patiently, "GET", path)
        first = {"fieldSelector": selector} if selector else {}
        for starts_left in reversed(range(_STARTS)):
            kept: list[_Kept] = []
            try:
                for page_of_it in pages(ask, self.name, path, kind, first, page=page):
                    for each in page_of_it.objects:
                        kept += keep(each)
            except ApiError as error:
                # The list took so long that its moment is forgotten: begin anew, from now.
                if error.status != HTTPStatus.GONE or not starts_left:
                    raise
            else:
                return kept
        raise AssertionError("unreachable")

    def seen(self, path: str, metadata: Mapping[str, Any]) -> None:
        """Remember how new the kind at `path` is, by the metadata of an object or of a list of it.

        Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
        """
        if version := _number(metadata):
            self._newest[path] = max(version, self._newest.get(path, 0))

    def _require_new(self, path: str, found: Mapping[str, Any]) -> None:
        """Refuse a list that is older than what was seen, unless for a while nothing newer comes.

        A cluster that was restored from a backup has gone back for good.
        """
        metadata = found.get("metadata")
        if not (isinstance(metadata, dict) and str(found.get("kind")).endswith("List")):
            return
        version, now = _number(metadata), time.monotonic()
        if version and version < self._newest.get(path, 0):
            if now - self._lags.setdefault(path, now) < _LAG_SECONDS:
                raise ApiError(
                    f"cluster {self.name} lists {path} as it was before what it has told already; "
                    "look for a member of its control plane, or a cache before it, that lags",
                    0,
                )
            # All of it has, not this kind alone: the others shall not be waited for one by one.
            self._newest.clear()
            self._lags.clear()
        self._lags.pop(path, None)
        self.seen(path, metadata)

    @contextmanager
    def stream(
        self, path: str, query: Mapping[str, str | int], silence: float, longest: float
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """An answer that comes line by line; one that is silent for `silence` seconds has ended.

        So has one that lasts for `longest`: what trickles between its parts says nothing either.
        """
        asked = _Request("GET", path, urlencode(query), None, silence)
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=silence)
        with cut_after(longest) as whole:
            # Its head alone has to be there in time.
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
            body = self._read(begun, _MAX_BYTES)
        if body is None:
            raise TooLargeError(
                f"cluster {self.name} answers {asked.method} {asked.path} with more than "
                f"{_MAX_BYTES:,} bytes; check what stands at its address",
                0,
            )
        return body

    @contextmanager
    def _begun(self, asked: "_Request", timeout: urllib3.Timeout) -> Iterator["_Begun"]:
        """A success whose body is still to be read."""
        line = self._current()
        spent = 0.0
        for may_renew in (True, False):
            began = time.monotonic()
            # A write that was cut may have arrived, and nobody would stay to look.
            stopping = self._stopping if asked.method == "GET" else None
            if stopping and stopping.is_set():
                raise self._stopped(asked, sent=False)
            with cut_after(max(asked.seconds - spent, 0.0), stopping) as call:
                begun = self._begin(line, asked, timeout, call)
                if begun.answer.status < HTTPStatus.MULTIPLE_CHOICES:
                    self._require_plain(begun)
                    yield begun
                    return
                said = self._read(begun, _MAX_ERROR_BYTES) or b""
            if begun.answer.status != HTTPStatus.UNAUTHORIZED or not may_renew:
                break
            # What a plugin takes to give new credentials is not the server's.
            spent = time.monotonic() - began
            line = self._current(instead_of=line)
        raise self._error(begun, said)

    def _begin(
        self, line: "_Line", asked: "_Request", timeout: urllib3.Timeout, call: Call
    ) -> "_Begun":
        headers = line.headers
        body: bytes | Iterator[bytes] | None = asked.body
        if asked.body is not None:
            headers = {**headers, "Content-Length": str(len(asked.body))}
            if asked.fence:
                body = _fenced(asked.body, asked.fence)
        meant = _Meant(asked.uid, self.name, f"{line.prefix}{KUBE_SYSTEM}", line.headers)
        before = _meant.set(meant if asked.uid else None)
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
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._failed(line, asked, call, error) from error
        finally:
            _meant.reset(before)
        if call.cut:
            # A head that was cut looks like a whole one.
            answer.close()
            raise self._late(asked)
        return _Begun(line, asked, call, answer)

    def _read(self, begun: "_Begun", most: int) -> bytes | None:
        """A whole body, None if it is larger than `most`."""
        answer = begun.answer
        parts, size = [], 0
        try:
            while part := answer.read1(_CHUNK, decode_content=False):
                parts.append(part)
                size += len(part)
                if size > most:
                    return None
        except urllib3.exceptions.HTTPError as error:
            raise self._failed(begun.line, begun.asked, begun.call, error) from error
        finally:
            # What was not read to its end is of no use to the next request.
            answer.close()
        # A chunk's length that was cut may look like the last one's.
        if begun.call.cut:
            raise self._late(begun.asked)
        return b"".join(parts)

    def _require_plain(self, begun: "_Begun") -> None:
        # Nothing compressed is asked for, and what is small when compressed may be huge.
        encoding = begun.answer.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() != "identity":
            begun.answer.close()
            raise ApiError(
                f"cluster {self.name} answers {begun.asked.method} {begun.asked.path} compressed "
                "although nobody asked it to; look for a proxy before it, and switch that off",
                0,
            )

    def _failed(
        self, line: "_Line", asked: "_Request", call: Call, error: urllib3.exceptions.HTTPError
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
        return ApiError(
            f"the API server of cluster {self.name} at "
            f"{line.connection.client.configuration.host} does not answer ({said}); {remedy}",
            0,
            sent=not isinstance(error, _NEVER_SENT),
        )

    def _late(self, asked: "_Request") -> ApiError:
        if asked.method == "GET" and self._stopping.is_set():
            return self._stopped(asked)
        return ApiError(
            f"the API server of cluster {self.name} takes more than {asked.seconds:g} s to answer "
            f"{asked.method} {asked.path}; check that it is up and what stands before it",
            0,
        )

    def _stopped(self, asked: "_Request", *, sent: bool = True) -> ApiError:
        return ApiError(
            f"cluster {self.name} was not waited for ({asked.method} {asked.path}): zonebridge was "
            "asked to end",
            0,
            sent=sent,
        )

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

    def _error(self, begun: "_Begun", body: bytes) -> ApiError:
        asked, status, secrets = begun.asked, begun.answer.status, begun.line.secrets
        try:
            words = str(orjson.loads(body)["message"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            words = body.decode(errors="replace")
        if denied := _DENIED.search(words):
            said = f"admission policy {redact(denied[1], secrets)}: {redact(denied[2], secrets)}"
            remedy = ""
        else:
            said = redact(words, secrets)
            remedy = {
                401: "; renew the credentials that it is reached with",
                403: (
                    f"; grant the user this in the cluster ({_right(asked)}): `zonebridge rbac "
                    f"--cluster {self.name}` prints all that is needed there"
                ),
            }.get(status, "")
        return ApiError(
            f"cluster {self.name} refuses {asked.method} {asked.path} with {status}"
            f"{': ' if said else ''}{said}{remedy}",
            status,
            retry_after(begun.answer.headers.get("Retry-After", ""), _LONGEST_WAIT),
            words=words,
        )


def _right(asked: "_Request") -> str:
    """The right that a request needs: a verb, on a resource, in a namespace if it is in one.

    Paths are `/api/v1/…` or `/apis/group/version/…`, then `[namespaces/name/]resource[/name]`.
    """
    path = asked.path.strip("/").split("/")
    group, parts = ("", path[2:]) if path[0] == "api" else (path[1:2], path[3:])
    if not parts:
        return f"get on {asked.path}"
    within = f" in namespace {unquote(parts[1])}" if len(parts) > 2 else ""
    resource, *name = parts[2:] if within else parts
    reads = "get" if name else "watch" if "watch=" in asked.query else "list"
    verb = {"GET": reads, "POST": "create", "PUT": "update", "DELETE": "delete"}[asked.method]
    named = f" {unquote(name[0])}" if name else ""
    return f"{verb} on {'.'.join([resource, *group])}{named}{within}"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: its objects, and the version of the whole, "" where it has none."""

    objects: Iterable[dict[str, Any]]
    version: str


def pages(
    ask: Callable[..., Mapping[str, Any]],
    cluster: str,
    path: str,
    kind: str,
    first: Mapping[str, str | int],
    *,
    page: int,
) -> Iterator[Page]:
    """A list of `kind`, as `ask(query=...)` answers for it, in pages of `page` objects.

    `first` is asked for with each of them. Pages that are too large are asked for in smaller ones.
    `ApiError` for whatever is no such list or has no end, and where `ask` raises it: with 410 if
    the server has forgotten the moment that the list is of.
    """
    query = {**first, "limit": page}
    tokens: set[str] = set()
    objects = 0
    for _ in range(_MOST_PAGES):
        try:
            found = ask(query=query)
        except TooLargeError:
            if page == 1:
                raise
            page = max(page // 8, 1)
            query = {**query, "limit": page}
            continue
        part = _listed(found, cluster, path, kind)
        objects += len(part)
        if objects > _MOST_OBJECTS:
            break
        metadata = found["metadata"]
        yield Page(part, str(metadata.get("resourceVersion") or ""))
        token = metadata.get("continue")
        if not token:
            if metadata.get("remainingItemCount"):
                raise ApiError(
                    f"cluster {cluster} ends a list of {path} and says that more is in it; check "
                    "what stands at its address",
                    0,
                )
            return
        if token in tokens:
            break
        tokens.add(token)
        query = {**first, "limit": page, "continue": token}
    raise ApiError(
        f"cluster {cluster} lists {path} without an end; check what stands at its address", 0
    )


def _listed(
    found: Mapping[str, Any], cluster: str, path: str, kind: str
) -> Sequence[dict[str, Any]]:
    """The objects of a list that was asked for at `path`, which must say that they are of `kind`.

    Items may leave out what the list says of them. `ApiError` if it is anything else: an empty
    list of another kind would look as if nothing were there.
    """
    version = "/".join(path.split("/")[2:4] if path.startswith("/apis/") else path.split("/")[2:3])
    wanted = {"apiVersion": version, "kind": f"{kind}List"}
    items = found.get("items", ())
    objects = () if items is None else items
    metadata = found.get("metadata")
    sound = (
        all(found.get(key) == value for key, value in wanted.items())
        and isinstance(metadata, dict)
        and isinstance(metadata.get("continue") or "", str)
        and "items" in found
        and isinstance(objects, list | tuple)
        and all(is_object(each, version, kind) for each in objects)
    )
    if not sound:
        told = redact(f"{found.get('apiVersion')} {found.get('kind')}")
        raise ApiError(
            f"cluster {cluster} answers GET {path} with something that is no list of Kubernetes "
            f"objects of kind {kind} in {version} ({told}); check what stands at its address",
            0,
        )
    return objects


def _number(metadata: Mapping[str, Any]) -> int:
    """The resource version, as far as it is a number, which Kubernetes' are; else 0."""
    version = metadata.get("resourceVersion")
    if isinstance(version, str) and len(version) < _VERSION_DIGITS and version.isdecimal():
        return int(version)
    return 0


def is_object(found: object, version: str, kind: str) -> bool:
    """Whether this is an object of a kind, as far as it says; one in a list may not say it."""
    return (
        isinstance(found, dict)
        and is_of_kind(found, version, kind)
        and isinstance(found["metadata"].get("name"), str)
    )


def is_of_kind(found: object, version: str, kind: str) -> bool:
    """The same for what needs no name, as a bookmark of a watch has none."""
    return (
        isinstance(found, dict)
        and found.get("kind", kind) == kind
        and found.get("apiVersion", version) == version
        and isinstance(found.get("metadata"), dict)
    )


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
    """An answer whose head has come: what it answers, over which line, and in which call."""

    line: "_Line"
    asked: _Request
    call: Call
    answer: urllib3.BaseHTTPResponse


@dataclass(frozen=True, slots=True)
class _Line:
    """What all requests over one connection share, worked out once.

    A first sync sends thousands of them, and the processor's time is what it waits for.
    """

    connection: Connection
    pool: urllib3.HTTPConnectionPool
    prefix: str
    headers: Mapping[str, str]
    secrets: Sequence[str] = field(repr=False)

    @classmethod
    def of(cls, connection: Connection) -> "_Line":
        client = connection.client
        host = client.configuration.host
        pool = client.rest_client.pool_manager.connection_from_url(host)
        # Whatever else stands there speaks another protocol below.
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
        # A proxy is told the whole URL, unless it only passes on what is encrypted.
        whole = pool.proxy is not None and pool.scheme == "http"
        return cls(connection, pool, host if whole else urlsplit(host).path, headers, secrets)


@dataclass(frozen=True, slots=True)
class _Meant:
    """The cluster that a write is meant for, and how it is asked who it is."""

    uid: str
    cluster: str
    url: str
    headers: Mapping[str, str] = field(repr=False)


_meant: Final[ContextVar[_Meant | None]] = ContextVar("meant", default=None)


class _InOnePiece(WatchedConnection):
    """A connection that sends the head of a request together with its body.

    urllib3 sends two pieces, each with a round through TLS and the kernel of both sides.
    """

    _pieces: list[bytes] | None = None
    _reaches = ""  # the UID of the cluster at its other end, once that was asked

    def _new_conn(self) -> socket:
        self._reaches = ""
        return super()._new_conn()

    def request(self, *arguments: Any, **options: Any) -> None:
        if (meant := _meant.get()) and self._reaches != meant.uid:
            self._meet(meant)
        pieces: list[bytes] = []
        self._pieces = pieces
        try:
            super().request(*arguments, **options)
        finally:
            self._pieces = None
        self.send(b"".join(pieces))

    def _meet(self, meant: "_Meant") -> None:
        """Ask over this connection which cluster it reaches."""
        super().request("GET", meant.url, headers=meant.headers, preload_content=False)
        answer = self.getresponse()
        body = answer.read(_MAX_ERROR_BYTES)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # What is to be sent will be refused the same way, and then credentials are renewed.
            return
        try:
            self._reaches = str(orjson.loads(body)["metadata"]["uid"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            status = answer.status if answer.status >= HTTPStatus.BAD_REQUEST else 0
            raise ApiError(
                f"cluster {meant.cluster} does not say over a new connection which one it is, so "
                "nothing was sent over it; check what stands at its address",
                status,
                sent=False,
            ) from None
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

"""One external dynamic list over HTTPS: verified TLS, redirects, one deadline, a bounded body."""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ProxyError

from sync.errors import UsageError
from sync.transport.body import is_compressed, read_body
from sync.transport.deadline import Call, cut_after
from sync.transport.errors import Unauthenticated
from sync.transport.failures import certificate_refusal, deepest, own_words, silent
from sync.transport.https import pool, request_target
from sync.transport.stopping import Stopping

_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 20.0
_REDIRECTS: Final = 3
_LATE: Final = "it takes too long"
_LONGEST_ETAG: Final = 1000  # characters
_MOVED: Final = frozenset({301, 302, 303, 307, 308})


class FetchError(Exception):
    """A list could not be fetched: a clause that says why."""


class UnauthenticatedError(FetchError, Unauthenticated):
    """The list's server asks for credentials.

    Firewalls stop using such a list, the entries that they had of it included ("External Dynamic
    List", PAN-OS administrator's guide).
    """


class TooLargeError(FetchError):
    """The list has more bytes than are accepted here; firewalls may use it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body with its ETag, which is empty if its server gives no strong one.

    The body is None where the version that was asked about is still the current one.
    """

    body: bytes | None
    etag: str = ""


def fetch(
    url: str,
    context: ssl.SSLContext,
    *,
    max_bytes: int,
    seconds: float,
    etag: str = "",
    stopping: Stopping | None = None,
) -> Fetched:
    """Fetch a URL, unless `etag` still names its current version.

    HTTPS with a verified certificate, redirects included; `FetchError` for everything else.
    """
    headers = {"Accept-Encoding": "identity"}
    if etag:
        headers["If-None-Match"] = etag
    deadline = time.monotonic() + seconds
    place = "its source"
    for _ in range(_REDIRECTS + 1):
        parts = _https(url, place)
        with _answered(parts, context, headers, deadline, stopping) as (response, call):
            location = response.headers.get("Location")
            if response.status not in _MOVED or not location:
                return _taken(response, max_bytes, call, known=len(headers) > 1)
        try:
            url = urljoin(url, location)
        except ValueError:
            raise _failed("the place it redirects to is no URL") from None
        place = "the place it redirects to"
    raise _failed(f"more than {_REDIRECTS} redirects")


def _https(url: str, place: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _failed(f"{place} is no URL")
    if parts.scheme != "https":
        raise _failed(f"{place} is not https")
    if "@" in parts.netloc:
        raise _failed(f"{place} holds a user or password")
    return parts


@contextmanager
def _answered(
    parts: SplitResult,
    context: ssl.SSLContext,
    headers: Mapping[str, str],
    deadline: float,
    stopping: Stopping | None,
) -> Iterator[tuple[urllib3.BaseHTTPResponse, Call]]:
    """Yield an answer whose body is not read yet; errors of both become `FetchError`."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise _failed(_LATE)
    try:
        with (
            cut_after(left, stopping) as call,
            pool(parts.hostname or "", parts.port or 443, context) as connections,
        ):
            response = connections.urlopen(
                "GET",
                request_target(parts),
                headers=headers,
                timeout=urllib3.Timeout(
                    connect=min(_CONNECT_SECONDS, left), read=min(_READ_SECONDS, left)
                ),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                yield response, call
            finally:
                response.close()
    except HTTPError as error:
        _require_whole(call)
        raise _failed(_LATE if silent(error) else _reason(error)) from error
    except UsageError:
        raise _failed("HTTPS_PROXY is no URL of an HTTP proxy") from None
    except ValueError:
        raise _failed("its source cannot be asked for as it is written") from None


def _taken(
    response: urllib3.BaseHTTPResponse,
    max_bytes: int,
    call: Call,
    *,
    known: bool,
) -> Fetched:
    if response.status == HTTPStatus.NOT_MODIFIED and known:
        return Fetched(None)
    if response.status != HTTPStatus.OK:
        denied = response.status == HTTPStatus.UNAUTHORIZED
        kind = UnauthenticatedError if denied else FetchError
        raise kind(f"could not be fetched (HTTP {response.status})")
    if is_compressed(response):
        raise _failed("its server compresses it although asked not to")
    if response.length_remaining is None and not response.chunked:
        raise _failed("its server does not say how long it is, and it may be cut")
    body = read_body(response, max_bytes, lambda: _require_whole(call))
    if body is None:
        raise TooLargeError(f"could not be fetched (more than edl_max_bytes, {max_bytes:,} bytes)")
    return Fetched(body, _etag(response))


def _etag(response: urllib3.BaseHTTPResponse) -> str:
    """The strong ETag of an answer; empty if it has none that can be sent back.

    A weak one, like a time, does not change with every byte: a conditional request with it may
    return the old list forever (RFC 9110, sections 8.8.1 and 8.8.2.2).
    """
    etag = response.headers.get("ETag", "")
    usable = len(etag) <= _LONGEST_ETAG and etag.isascii() and etag.isprintable()
    return etag if usable and etag.startswith('"') else ""


def _require_whole(call: Call) -> None:
    if call.cut:
        raise _failed(_LATE)


def _failed(because: str) -> FetchError:
    return FetchError(f"could not be fetched ({because})")


def _reason(error: HTTPError) -> str:
    reason = deepest(error)
    if refusal := certificate_refusal(reason):
        return f"the certificate of its server is refused: {refusal}"
    through = "through the proxy of HTTPS_PROXY: " if isinstance(error, ProxyError) else ""
    return f"{through}{own_words(reason)}"

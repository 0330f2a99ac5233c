"""External dynamic lists of addresses, fetched from where the configuration says.

URL  ->  HTTPS, if what was fetched last is old by now  ->  lines  ->  what the list holds

A list that cannot be had keeps what it last held, as on a firewall ("External Dynamic List", PAN-OS
administrator's guide).
"""

import hashlib
import math
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

import orjson
import structlog
import urllib3
from pydantic import TypeAdapter
from urllib3.exceptions import HTTPError, ProxyError

from sync.errors import UsageError
from sync.firewall.addressing import literal
from sync.firewall.estimate import Estimate
from sync.firewall.objects import ExternalList
from sync.net import intervals
from sync.net.addresses import NOWHERE, AddressSet
from sync.sources import Memory
from sync.sources.panorama.connection import pool
from sync.transport.body import is_compressed, read_body
from sync.transport.deadline import Call, cut_after
from sync.transport.failures import deepest, own_words, silent
from sync.transport.stopping import Stopping

_KIND: Final = "list"
_DOUBT: Final = "list in doubt"
_AT_ONCE: Final = 8
_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 20.0
_ROUND_SECONDS: Final = 60.0
_FIVE_MINUTES: Final = 300.0
_HOUR: Final = 3600.0
_REDIRECTS: Final = 3
_LATE: Final = "it takes too long"
_LONGEST_TOKEN: Final = 1000  # characters of an ETag

_NO_ENTRY: Final = ("#", ";", "/", "*")
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_MARK: Final = b"\xef\xbb\xbf"


class ContentError(ValueError):
    """What was fetched is not to be used as a list: a clause that says why."""


class EmptyError(ValueError):
    """What was fetched is empty, and was not before: a clause."""


class FetchError(Exception):
    """A list could not be fetched: a clause that says why.

    `refused`: its server wants to know who asks. Firewalls stop using a list then, what they had
    of it too ("External Dynamic List", PAN-OS administrator's guide). `there`: it is there, and
    firewalls may well take it.
    """

    def __init__(self, clause: str, *, refused: bool = False, there: bool = False) -> None:
        super().__init__(clause)
        self.refused, self.there = refused, there


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body, and what its server calls exactly these bytes, empty if it does not.

    The body is None where it is still that of the version that was asked about.
    """

    body: bytes | None
    etag: str = ""


# --- what a list says -----------------------------------------------------------------------------


def entries(body: bytes, shortest: tuple[int, int]) -> Estimate:
    """What the lines of a list hold.

    One entry a line: an address, one with a prefix length, or a range; after a space a comment.
    Lines that are empty or begin with `#`, `;`, `/` or `*` say nothing, since no entry begins so
    ("Formatting Guidelines for an External Dynamic List", PAN-OS administrator's guide). Of a line
    that is not read here nobody knows whether firewalls read it: with one, the list has a problem
    beside the addresses that are surely in it.

    `ContentError` if there are lines and none is an entry, or if an entry is wider than the prefix
    lengths `shortest` of IPv4 and IPv6.
    """
    found: list[AddressSet] = []
    unreadable = 0
    lines = body.removeprefix(_MARK).decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines, 1):
        said = line.strip(" \t\r")
        if not said or (said.startswith(_NO_ENTRY) and "\r" not in said):
            continue
        held = _entry(said)
        if held is None:
            unreadable = unreadable or number
        elif _wide(held, shortest):
            raise ContentError(f"its line {number} is wider than guard.min_prefix_length")
        else:
            found.append(held)
    if not unreadable:
        return Estimate.exactly(AddressSet.union(found))
    problem = f"its line {unreadable} is no address, network or range"
    if not found:
        raise ContentError(problem)
    return Estimate(AddressSet.union(found), None, because=(problem,))


def _entry(said: str) -> AddressSet | None:
    written, _, comment = said.replace("\t", " ").partition(" ")
    # `a - b` may be a range or one address with a comment, and a lone CR a line's end or not.
    doubtful = comment.lstrip().startswith("-") or "\r" in said
    # What is about to be split and stripped must not hold blanks of other kinds.
    return (
        None if doubtful or not (written.isascii() and written.isprintable()) else literal(written)
    )


def _wide(held: AddressSet, shortest: tuple[int, int]) -> bool:
    return any(
        past - first > 1 << (bits - length)
        for bounds, bits, length in zip((held.v4, held.v6), (32, 128), shortest, strict=True)
        for first, past in intervals.to_ranges(bounds)
    )


# --- fetching one ---------------------------------------------------------------------------------


def fetch(
    url: str,
    context: ssl.SSLContext,
    *,
    max_bytes: int,
    seconds: float,
    etag: str = "",
    stopping: Stopping | None = None,
) -> Fetched:
    """What stands at a URL, if it is not the version that `etag` names.

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
    """The head of an answer, with its body still to be read; errors of both become ours."""
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
                f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}",
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
        refused = response.status == HTTPStatus.UNAUTHORIZED
        raise FetchError(f"could not be fetched (HTTP {response.status})", refused=refused)
    if is_compressed(response):
        raise _failed("its server compresses it although asked not to")
    if response.length_remaining is None and not response.chunked:
        raise _failed("its server does not say how long it is, and it may be cut")
    body = read_body(response, max_bytes, lambda: _require_whole(call))
    if body is None:
        more = f"could not be fetched (more than edl_max_bytes, {max_bytes:,} bytes)"
        raise FetchError(more, there=True)
    return Fetched(body, _etag(response))


def _etag(response: urllib3.BaseHTTPResponse) -> str:
    """An ETag that can be sent back as it is; empty if there is none.

    A weak one, like a time, does not change with every byte: what is asked for with it may stay
    the old list for ever (RFC 9110, sections 8.8.1 and 8.8.2.2).
    """
    found = response.headers.get("ETag", "")
    usable = len(found) <= _LONGEST_TOKEN and found.isascii() and found.isprintable()
    return found if usable and found.startswith('"') else ""


def _require_whole(call: Call) -> None:
    if call.cut:
        raise _failed(_LATE)


def _failed(because: str) -> FetchError:
    return FetchError(f"could not be fetched ({because})")


def _reason(error: HTTPError) -> str:
    reason = deepest(error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the certificate of its server is refused: {reason.verify_message.rstrip('.')}"
    through = "through the proxy of HTTPS_PROXY: " if isinstance(error, ProxyError) else ""
    return f"{through}{own_words(reason)}"


# --- all of them ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Copy:
    """A list as it was last fetched and found to be one; `digest` is that of what is remembered."""

    held: Estimate
    etag: str
    digest: bytes


@dataclass(slots=True)
class _Asked:
    """A list by its URL: its last good copy, and when it was fetched and is due.

    `doubt` is what it is taken for since something else stood there that was not taken, until that
    is over. `clause` says why there is nothing newer.
    """

    copy: _Copy | None
    doubt: Estimate | None = None
    at: float = 0.0
    due: float = 0.0
    clause: str = "was not fetched yet"

    @property
    def held(self) -> Estimate:
        if self.doubt:
            return self.doubt
        return self.copy.held if self.copy else Estimate.unknown(self.clause)


@dataclass(frozen=True, slots=True)
class _StoredDoubt:
    """A doubt as stores hold it, those of earlier versions too."""

    addresses: AddressSet
    problem: str
    at_most: AddressSet | None = None

    def estimate(self) -> Estimate:
        return Estimate(self.addresses, self.at_most, because=(self.problem,))


_DOUBTED: Final = TypeAdapter[_StoredDoubt | None](_StoredDoubt | None)


def _stored(doubt: Estimate | None) -> _StoredDoubt | None:
    if doubt is None:
        return None
    return _StoredDoubt(doubt.surely, "; ".join(doubt.because), doubt.at_most)


class EdlClient:
    """The external dynamic lists of one source; for one thread.

    A list is fetched every five minutes where firewalls do so, else every hour.
    """

    def __init__(
        self,
        memory: Memory,
        trust: ssl.SSLContext | Callable[[], ssl.SSLContext],
        *,
        max_bytes: int,
        shortest: tuple[int, int],
        now: Callable[[], float] = time.time,
        round_seconds: float = _ROUND_SECONDS,
        stopping: Stopping | None = None,
    ) -> None:
        """`shortest` are the shortest prefix lengths of IPv4 and IPv6 that a list may hold.

        Once `stopping`, nothing is fetched: lists keep what they last held.
        """
        self._memory = memory
        self._trust = trust if callable(trust) else lambda: trust
        self._max_bytes = max_bytes
        self._shortest = shortest
        self._now = now
        self.round_seconds = round_seconds
        self._stopping = stopping or Stopping()
        self._asked: dict[str, _Asked] = {}
        self._last_round, self._next_due = 0.0, 0.0

    def due(self) -> bool:
        """Whether `answers` may say something else by now."""
        # A clock that was set back says nothing of what is due.
        return not self._last_round <= self._now() < self._next_due

    def answers(self, lists: Iterable[ExternalList]) -> dict[str, Estimate]:
        """What lists of addresses hold, by URL, after fetching those that are due."""
        intervals_of: dict[str, float] = {}
        for each in lists:
            if each.type == "ip" and not each.problem:
                seconds = _FIVE_MINUTES if each.refresh == "five-minute" else _HOUR
                intervals_of[each.url] = min(seconds, intervals_of.get(each.url, seconds))
        self._asked = {url: self._asked.get(url) or self._recalled(url) for url in intervals_of}
        now = self._now()
        due = [url for url, each in self._asked.items() if not each.at <= now < each.due]
        for url, found in zip(due, self._fetched(due), strict=True):
            if found is not None:
                self._note(url, found, intervals_of[url])
        self._last_round = self._now()
        self._next_due = min((each.due for each in self._asked.values()), default=math.inf)
        return {url: each.held for url, each in self._asked.items()}

    def _fetched(self, due: Sequence[str]) -> Sequence[Fetched | FetchError | None]:
        """What came of each; None if there was no time left for it: the next round fetches it."""
        if not due:
            return []
        deadline = time.monotonic() + self.round_seconds

        def one(url: str) -> Fetched | FetchError | None:
            seconds = deadline - time.monotonic()
            # With little time left it would fail for no reason of its own.
            if seconds < self.round_seconds / 2 or self._stopping.is_set():
                return None
            copy = self._asked[url].copy
            try:
                return fetch(
                    url,
                    self._trust(),
                    max_bytes=self._max_bytes,
                    seconds=seconds,
                    etag=copy.etag if copy else "",
                    stopping=self._stopping,
                )
            except FetchError as error:
                # What was cut says nothing of the list.
                return None if self._stopping.is_set() else error

        with ThreadPoolExecutor(_AT_ONCE, "lists") as threads:
            return list(threads.map(one, due))

    def _note(self, url: str, found: Fetched | FetchError, seconds: float) -> None:
        """Make of a list what was fetched, or keep what there was."""
        asked = self._asked[url]
        asked.at = self._now()
        before, clause = asked.clause, ""
        try:
            if isinstance(found, FetchError):
                raise found
            # What is still that of a version is good again, whatever stood there in between.
            asked.copy = self._copied(url, found, asked.copy)
            self._doubt(url, None)
        except EmptyError as error:
            clause = str(error)
            assert asked.copy, "it was not empty before"
            self._doubt(url, Estimate(NOWHERE, asked.copy.held.surely, because=(clause,)))
        except ContentError as error:
            clause = f"cannot be used: {error}"
            self._may_be_another(url, clause)
        except FetchError as error:
            clause = str(error)
            if error.refused:
                asked.copy = None
                self._memory.remember(_KIND, _key(url), b"")
                self._doubt(url, None)
            elif error.there:
                self._may_be_another(url, clause)
        asked.due = asked.at + (min(seconds, _FIVE_MINUTES) if clause else seconds)
        asked.clause = clause
        if clause and clause != before:
            structlog.get_logger().warning(
                "an external dynamic list cannot be had",
                list=_shown(url),
                because=clause,
                instead="what it last held" if asked.copy else "nothing: what uses it is open",
            )

    def _may_be_another(self, url: str, clause: str) -> None:
        """Firewalls may well use what is not taken here."""
        if copy := self._asked[url].copy:
            self._doubt(url, Estimate(copy.held.surely, None, because=(clause,)))

    def _doubt(self, url: str, doubt: Estimate | None) -> None:
        """Note what a list is taken for instead of its last good copy, for the next process too."""
        asked = self._asked[url]
        if doubt != asked.doubt:
            self._memory.remember(_DOUBT, _key(url), _DOUBTED.dump_json(_stored(doubt)))
            asked.doubt = doubt

    def _copied(self, url: str, found: Fetched, before: _Copy | None) -> _Copy:
        """What was fetched as a list, remembered; `ContentError` or `EmptyError` if it is none."""
        if found.body is None:
            assert before, "only a version that there is can be the same"
            return before
        if before and before.held.surely and not found.body.removeprefix(_MARK).strip():
            # An accident of its server would open what the list denies.
            raise EmptyError("is empty now; a line of comment would say that this is meant")
        document = _document(found.body, found.etag)
        digest = hashlib.sha256(document).digest()
        if before and before.digest == digest:
            return before
        held = entries(found.body, self._shortest)
        self._memory.remember(_KIND, _key(url), document)
        return _Copy(held, found.etag, digest)

    def _recalled(self, url: str) -> _Asked:
        kept = self._memory.recall(_KIND, _key(url))
        copy = None if kept is None else _copy(kept, self._shortest)
        try:
            stored = _DOUBTED.validate_json(self._memory.recall(_DOUBT, _key(url)) or b"null")
            doubt = stored.estimate() if stored else None
        except ValueError:
            doubt = None
        return _Asked(copy, doubt if copy else None)


def _key(url: str) -> str:
    # What comes after a `?` may be a secret.
    return hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()


def _document(body: bytes, etag: str) -> bytes:
    return orjson.dumps({"etag": etag}) + b"\n" + body


def _copy(kept: bytes, shortest: tuple[int, int]) -> _Copy | None:
    """A remembered list; None if it is none of ours, or would not be taken today."""
    head, _, body = kept.partition(b"\n")
    try:
        etag = orjson.loads(head)["etag"]
        held = entries(body, shortest)
    except (ValueError, TypeError, KeyError):
        return None
    if not isinstance(etag, str):
        return None
    return _Copy(held, etag, hashlib.sha256(kept).digest())


def _shown(url: str) -> str:
    """A URL as a log may hold it: without a user and without what comes after a `?`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no URL"
    # Where the host is missing, a user and a password may stand anywhere.
    if not parts.netloc or "@" in parts.path:
        return "no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

"""The external dynamic lists of one source, and what each of them holds.

URL  ->  HTTPS, if the last fetch is too old  ->  lines  ->  what the list holds

A list that cannot be fetched keeps what it last held, as on a firewall ("External Dynamic List",
PAN-OS administrator's guide).
"""

import hashlib
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import orjson
import structlog
from pydantic import TypeAdapter

from sync.firewall.estimate import Estimate
from sync.firewall.objects import ExternalList
from sync.net.addresses import NOWHERE, AddressSet
from sync.sources import Memory
from sync.sources.answer_cache import AnswerCache
from sync.sources.edl.fetch import (
    Fetched,
    FetchError,
    TooLargeError,
    UnauthenticatedError,
    fetch,
)
from sync.sources.edl.parse import BYTE_ORDER_MARK, ContentError, entries
from sync.transport.stopping import Stopping

_KIND: Final = "list"
_DOUBT: Final = "list in doubt"
_AT_ONCE: Final = 8
_ROUND_SECONDS: Final = 60.0
_FIVE_MINUTES: Final = 300.0
_HOUR: Final = 3600.0


class EmptyError(ValueError):
    """A list is empty now and was not before: a clause."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A list as it was last fetched and accepted; `digest` is that of the remembered document."""

    content: Estimate
    etag: str
    digest: bytes


@dataclass(slots=True)
class _ListState:
    """A list by its URL: its last good copy, and when it was fetched and is due.

    `doubt` replaces the copy while its server gives something else that is not accepted. `clause`
    is why there is no newer copy.
    """

    copy: _Copy | None
    doubt: Estimate | None = None
    asked_at: float = 0.0
    due_at: float = 0.0
    clause: str = "was not fetched yet"

    @property
    def content(self) -> Estimate:
        if self.doubt:
            return self.doubt
        return self.copy.content if self.copy else Estimate.unknown(self.clause)


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
        self._cache = AnswerCache(
            self._recalled,
            at_once=_AT_ONCE,
            round_seconds=round_seconds,
            least_seconds=round_seconds / 2,
            now=now,
            stopping=stopping or Stopping(),
        )

    def due(self) -> bool:
        """Whether `answers` may differ by now."""
        return self._cache.due()

    def answers(self, lists: Iterable[ExternalList]) -> dict[str, Estimate]:
        """Return what lists of addresses hold, by URL, after fetching those that are due."""
        intervals: dict[str, float] = {}
        for each in lists:
            if each.type == "ip" and not each.problem:
                seconds = _FIVE_MINUTES if each.refresh == "five-minute" else _HOUR
                intervals[each.url] = min(seconds, intervals.get(each.url, seconds))
        due = self._cache.keep(intervals)
        replies: list[tuple[str, Fetched | FetchError]] = self._cache.replies(due, self._fetched)
        for url, reply in replies:
            self._note(url, reply, intervals[url])
        self._cache.end_round(lambda state, _: state.due_at)
        return {url: state.content for url, state in self._cache.entries.items()}

    def _fetched(self, url: str, seconds: float) -> Fetched | FetchError | None:
        copy = self._cache.entries[url].copy
        try:
            return fetch(
                url,
                self._trust(),
                max_bytes=self._max_bytes,
                seconds=seconds,
                etag=copy.etag if copy else "",
                stopping=self._cache.stopping,
            )
        except FetchError as error:
            # A fetch that was cut shows nothing of the list.
            return None if self._cache.stopping.is_set() else error

    def _note(self, url: str, reply: Fetched | FetchError, seconds: float) -> None:
        """Take over what was fetched of a list, or keep what there was."""
        state = self._cache.entries[url]
        state.asked_at = self._cache.now()
        before, clause = state.clause, ""
        try:
            if isinstance(reply, FetchError):
                raise reply
            # A version that is still the current one is good again, whatever came in between.
            state.copy = self._copied(url, reply, state.copy)
            self._doubt(url, None)
        except EmptyError as error:
            clause = str(error)
            # Firewalls may keep what they had: also lines that are unreadable here, and a version
            # since the last good copy.
            self._doubt(url, Estimate(NOWHERE, state.content.at_most, because=(clause,)))
        except ContentError as error:
            clause = f"cannot be used: {error}"
            self._may_have_changed(url, clause)
        except UnauthenticatedError as error:
            clause = str(error)
            state.copy = None
            self._memory.remember(_KIND, _key(url), b"")
            self._doubt(url, None)
        except TooLargeError as error:
            clause = str(error)
            self._may_have_changed(url, clause)
        except FetchError as error:
            clause = str(error)
        state.due_at = state.asked_at + (min(seconds, _FIVE_MINUTES) if clause else seconds)
        state.clause = clause
        if clause and clause != before:
            structlog.get_logger().warning(
                "external dynamic list unavailable",
                list=_shown(url),
                because=clause,
                instead="what it last held" if state.copy else "nothing: what uses it is open",
            )

    def _may_have_changed(self, url: str, clause: str) -> None:
        """Keep the copy as a lower bound: firewalls may use what is not accepted here."""
        if copy := self._cache.entries[url].copy:
            self._doubt(url, Estimate(copy.content.surely, None, because=(clause,)))

    def _doubt(self, url: str, doubt: Estimate | None) -> None:
        """Note what replaces a list's last good copy, for the next process too."""
        state = self._cache.entries[url]
        if doubt != state.doubt:
            self._memory.remember(_DOUBT, _key(url), _DOUBTED.dump_json(_stored(doubt)))
            state.doubt = doubt

    def _copied(self, url: str, fetched: Fetched, before: _Copy | None) -> _Copy:
        """The fetched list, remembered; `ContentError` or `EmptyError` if it is not accepted."""
        if fetched.body is None:
            assert before, "only a version that exists can still be the current one"
            return before
        empty = not fetched.body.removeprefix(BYTE_ORDER_MARK).strip()
        if empty and before and before.content.surely:
            # An accident on its server would open what the list denies.
            raise EmptyError("is empty now; a line of comment would say that this is meant")
        document = _document(fetched.body, fetched.etag)
        digest = hashlib.sha256(document).digest()
        if before and before.digest == digest:
            return before
        content = entries(fetched.body, self._shortest)
        self._memory.remember(_KIND, _key(url), document)
        return _Copy(content, fetched.etag, digest)

    def _recalled(self, url: str) -> _ListState:
        remembered = self._memory.recall(_KIND, _key(url))
        copy = None if remembered is None else _copy(remembered, self._shortest)
        try:
            stored = _DOUBTED.validate_json(self._memory.recall(_DOUBT, _key(url)) or b"null")
            doubt = stored.estimate() if stored else None
        except ValueError:
            doubt = None
        return _ListState(copy, doubt if copy else None)


def _key(url: str) -> str:
    # What comes after a `?` may be a secret.
    return hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()


def _document(body: bytes, etag: str) -> bytes:
    return orjson.dumps({"etag": etag}) + b"\n" + body


def _copy(document: bytes, shortest: tuple[int, int]) -> _Copy | None:
    """A remembered list; None if it cannot be read, or would not be accepted today."""
    head, _, body = document.partition(b"\n")
    try:
        etag = orjson.loads(head)["etag"]
        content = entries(body, shortest)
    except (ValueError, TypeError, KeyError):
        return None
    if not isinstance(etag, str):
        return None
    return _Copy(content, etag, hashlib.sha256(document).digest())


def _shown(url: str) -> str:
    """A URL without a user and without its query, as it may be logged."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no URL"
    # Where the host is missing, a user and a password may be anywhere.
    if not parts.netloc or "@" in parts.path:
        return "no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

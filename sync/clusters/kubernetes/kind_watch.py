"""The watch of one kind in one cluster, from one resource version to the next.

    list ──> watch ──> lasted ────────────────> watch again from where it was
     ^                 ended early, refused ──> pause, longer each time, then the same
     └──────────────── version forgotten, or nothing heard for `Pace.silence`

While events or bookmarks arrive, nothing is read. Changes during a silence are found by listing the
kind: only objects that differ from their last reported version are reported, and the whole cluster
is not read again.
"""

import math
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
import structlog
import urllib3

from sync.calico.objects import API_VERSION
from sync.clusters.cluster import Noticed, WatchNotice
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ApiError, GoneError, UnansweredError, error_of
from sync.clusters.kubernetes.lists import is_of_kind, pages
from sync.clusters.kubernetes.objects import MALFORMED
from sync.clusters.kubernetes.reader import KubernetesReader
from sync.errors import ClusterError
from sync.redaction import redact
from sync.transport.backoff import Backoff
from sync.transport.errors import Refused, Retryable
from sync.transport.failures import deepest, own_words

_NEWS = 3  # failures in a row before the log has a warning
_SEEN_LATE = "cluster not watched; changes made outside zonebridge are seen late"  # words kept
_PAGE = 500
_LEAST_SECONDS = 0.1  # for which a watch is read, at least
_PART_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How long watches last and rest, in seconds.

    A server is asked to end a watch after a random time within `lasts`. One that ended before
    `lived` is opened again after a pause, from `first_pause` to `longest_pause`, which doubles each
    time. A kind of which nothing was heard for `silence` is listed: servers send a bookmark once a
    minute (`bookmarkFrequency` in `k8s.io/apiserver/pkg/storage/cacher/cacher.go`). Lists of one
    kind begin at least `between_lists` apart, whatever its watch does. An event has
    `longest_event` bytes at most: an object has 1.5 MiB, by etcd's default, its JSON may be longer.
    """

    lasts: tuple[int, int] = (240, 300)
    lived: float = 30
    first_pause: float = 0.5
    longest_pause: float = 15
    silence: float = 90
    between_lists: float = 60
    longest_event: int = 16 * 1024 * 1024


GONE = "DELETED"
"""The type of an event about a deleted object."""

_BOOKMARK, _FAILED = "BOOKMARK", "ERROR"
_TYPES = ("ADDED", "MODIFIED", GONE, _BOOKMARK, _FAILED)

_Name = tuple[str, str]  # namespace, "" without one, and name
Tell = Callable[[str, str, dict[str, Any]], None]
"""Receives an event: the object's kind, the event's type, the object; its name alone if gone."""


PACE = Pace()
"""That of production."""


class KindWatch:
    """One kind in one cluster, followed from one resource version to the next."""

    def __init__(
        self,
        api: Api,
        kind: str,
        resource: str,
        selector: str,
        tell: Tell,
        missed: Callable[[], None],
        noticed: Noticed,
        stopping: threading.Event,
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._kind = kind
        self._tell = tell
        self._missed = missed
        self._noticed = noticed
        self._stopping = stopping
        self._pace = pace
        self._clock = clock
        self._identify = KubernetesReader(api, ()).identity
        self._identity = ""  # of the last watched cluster, "" for none
        self._path = f"/apis/{API_VERSION}/{resource}"
        self._selector = selector
        self._version = ""  # "": none, or one that the server has forgotten
        # The reported versions; None: there was no list yet.
        self._told: dict[_Name, str] | None = None
        self._listed_at = -math.inf
        self._heard_at = -math.inf
        self._opened_at: float | None = None
        self._failures = 0  # in a row
        self._silent = False  # whether the last watch was
        self._deaf = False  # whether a list showed changes that a watch had missed
        self._backoff = Backoff(pace.first_pause, pace.longest_pause)
        self._away = False  # whether the last try did not reach the server
        self._answer: urllib3.BaseHTTPResponse | None = None
        self._log = structlog.get_logger().bind(cluster=api.name, kind=kind)

    def follow(self) -> None:
        """Watch until the end, whatever happens in between."""
        while not self._stopping.is_set():
            self._opened_at = None
            failed: ApiError | None = None
            try:
                if not self._version or self._clock() - self._heard_at >= self._pace.silence:
                    self._list()
                for event in self._events():
                    self._take(event)
            except ApiError as error:
                failed = error
                if isinstance(error, GoneError):
                    self._version = ""
            except (ClusterError, *MALFORMED) as error:
                # No credentials, or an answer that is none: what happened since is unknown.
                failed = UnansweredError(str(error))
                self._version = ""
            if not self._stopping.is_set():
                self._rest(failed)

    def break_off(self) -> None:
        """End a read that waits for data."""
        answer = self._answer
        if answer:
            # It may just have ended.
            with suppress(OSError, RuntimeError, ValueError):
                answer.shutdown()

    def _rest(self, failed: ApiError | None) -> None:
        """Wait after a watch that did not last, longer each time until one does."""
        now = self._clock()
        opened = self._opened_at
        self._away = opened is None and isinstance(failed, Retryable)
        lived = 0.0 if opened is None else now - opened
        silent = opened is not None and now - self._heard_at >= self._pace.silence
        lasted = lived >= self._pace.lived and not silent
        self._noticed(self._kind, _ended(failed, lasted=lasted, silent=silent))
        if silent:
            # Perhaps nothing changed: a server sends no bookmarks for a kind that has not changed
            # since its start. A list shows it.
            self._silent = True
            return
        if lasted:
            self._calm()
            if failed is None:
                return
        self._failures += 1
        # One broken connection is not worth a warning; repeated failures are.
        if self._failures == _NEWS:
            error = str(failed or f"the server ended the watch after {lived:.1f} s")
            self._log.warning(_SEEN_LATE, error=error)
        after = failed.after if isinstance(failed, Retryable) else 0.0
        self._stopping.wait(self._backoff.wait(after))

    def _reached(self) -> None:
        if self._away:
            self._noticed(self._kind, WatchNotice.BACK)
        self._away = False

    def _calm(self) -> None:
        if self._failures >= _NEWS or self._deaf:
            self._log.info("cluster watched again")
        self._failures = 0
        self._deaf = False
        self._backoff.reset()

    def _list(self) -> None:
        """List the kind, report what differs from the last report, and continue from there."""
        while (early := self._listed_at + self._pace.between_lists - self._clock()) > 0:
            if self._stopping.wait(early):
                return
        before = self._told
        listed: dict[_Name, str] = {}
        strange = False
        # The version of the first page: the watch repeats changes since then.
        version = ""
        ask = partial(self._api.request, "GET", self._path)
        first = {"labelSelector": self._selector}
        for part in pages(ask, self._api.name, self._path, self._kind, first, page=_PAGE):
            self._reached()
            version = version or part.version
            for document in part.objects:
                name, newest = _identity(document)
                listed[name] = newest
                if before is not None and before.get(name) != newest:
                    try:
                        self._tell(self._kind, "MODIFIED", document)
                    except MALFORMED:
                        strange = True
        if not version:
            raise ValueError("a list without a resource version, so it cannot be watched")
        if self._silent and before is not None and listed != before and not self._deaf:
            self._deaf = True
            self._log.warning(_SEEN_LATE, error="the watch does not report changes")
        self._silent = False
        for namespace, gone in (before or {}).keys() - listed.keys():
            metadata = {"namespace": namespace, "name": gone}
            self._tell(self._kind, GONE, {"metadata": metadata})
        self._told = listed
        self._version = version
        self._heard_at = self._listed_at = self._clock()
        self._noticed(self._kind, WatchNotice.LISTED)
        if before is None or strange:
            self._missed()

    def _events(self) -> Iterator[Any]:
        if not self._version:
            return
        query: dict[str, str | int] = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": self._selector,
            "resourceVersion": self._version,
            "timeoutSeconds": random.randint(*self._pace.lasts),  # noqa: S311 - no secret
        }
        left = self._heard_at + self._pace.silence - self._clock()
        longest = self._pace.lasts[1] + self._pace.silence
        with self._api.stream(self._path, query, max(left, _LEAST_SECONDS), longest) as answer:
            self._answer = answer
            self._opened_at = self._clock()
            self._reached()
            line = bytearray()
            try:
                self._require_same()
                # Checked after `break_off` can see the answer: one of the two notices the end. Data
                # is passed on immediately, without waiting for a buffer to fill.
                while not self._stopping.is_set() and (part := answer.read1(_PART_BYTES)):
                    *ends, begun = part.split(b"\n")
                    for end in ends:
                        line += end
                        if line:
                            yield orjson.loads(line)
                        line.clear()
                    line += begun
                    self._require_news(len(line))
            except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError, OSError) as error:
                raise self._broken(f"broke off: {own_words(deepest(error))}") from error
            finally:
                self._answer = None

    def _require_same(self) -> None:
        """Require the same cluster: in another one, versions mean nothing, and it must be read.

        Checked while the watch is open, so the watch is of this cluster, or of an earlier one.
        """
        known, self._identity = self._identity, self._identify()
        if known not in ("", self._identity):
            self._told = None
            self._missed()
            raise self._broken("is that of another cluster now", HTTPStatus.GONE)

    def _require_news(self, unfinished: int) -> None:
        """Require events: bytes alone, such as blank lines, do not count."""
        if self._clock() - self._heard_at >= self._pace.silence:
            raise self._broken("sends no events and no bookmarks")
        if unfinished > self._pace.longest_event:
            raise self._broken("sends an event that is too long")

    def _take(self, event: Any) -> None:
        if not (isinstance(event, dict) and event.get("type") in _TYPES and "object" in event):
            raise self._broken("sends something that is not an event")
        what, document = event["type"], event["object"]
        if what == _FAILED:
            code = int(document.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR)
            raise self._broken(f"ended: {redact(document.get('message'))}", code)
        if not is_of_kind(document, API_VERSION, self._kind):
            raise self._broken(f"sends something that is not a {self._kind}")
        version = _version(document)
        earlier = _earlier(version, self._version)
        # A server that was restored from a backup reports nothing up to the version asked for. An
        # object that no selector selects any more may be reported as it was when one did.
        if earlier and what != GONE:
            raise self._broken(f"goes back to version {redact(version)}", HTTPStatus.GONE)
        if what != _BOOKMARK:
            self._note(what, document)
        self._api.ages.seen(self._path, document["metadata"])
        if not earlier:
            self._version = version
        self._heard_at = self._clock()
        self._noticed(self._kind, WatchNotice.HEARD)
        assert self._opened_at is not None
        if self._deaf or self._heard_at - self._opened_at >= self._pace.lived:
            self._calm()

    def _note(self, event: str, document: dict[str, Any]) -> None:
        assert self._told is not None
        name, version = _identity(document)
        self._tell(self._kind, event, document)
        if event == GONE:
            self._told.pop(name, None)
        else:
            self._told[name] = version

    def _broken(self, how: str, status: int = 0) -> ApiError:
        return error_of(status, f"the watch of cluster {self._api.name} {how}")


def _identity(document: dict[str, Any]) -> tuple[_Name, str]:
    metadata = document["metadata"]
    name = metadata.get("namespace") or "", metadata["name"]
    if not all(isinstance(each, str) for each in name):
        raise ValueError("a name that is not text")
    return name, _version(document)


def _version(document: dict[str, Any]) -> str:
    version = document["metadata"]["resourceVersion"]
    if not (isinstance(version, str) and version):
        raise ValueError("a version that is not valid")
    return version


def _earlier(version: str, other: str) -> bool:
    """Whether a version is before another; Kubernetes' are numbers, others do not compare."""
    return version.isdecimal() and other.isdecimal() and int(version) < int(other)


def _ended(failed: ApiError | None, *, lasted: bool, silent: bool) -> WatchNotice:
    if silent:
        return WatchNotice.SILENT
    if failed is None:
        return WatchNotice.LASTED if lasted else WatchNotice.SHORT
    if isinstance(failed, GoneError):
        return WatchNotice.GONE
    return WatchNotice.REFUSED if isinstance(failed, Refused) else WatchNotice.BROKEN

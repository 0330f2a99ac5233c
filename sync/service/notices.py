"""Notices: a plan is blocked, a cluster or source fails or recovers, drift is repaired.

results, polls -> news in them -> each channel: the webhook, Events of a cluster, Events of our pod

A state is announced once, when it changes. A channel accepts a notice without waiting, and its
failure is not an error of a sync.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal, Protocol

from sync.plan.changes import Cause
from sync.plan.plan import Plan
from sync.reconcile.omissions import unknown_zones
from sync.reconcile.result import ClusterState, Result
from sync.redaction import redact_lines
from sync.service.sources import PolledSource

_LONGEST: Final = 900
"""Characters of a notice's detail: an Event's whole note may have at most 1,024."""

_SHOWN: Final = 3  # objects that are named


class NoticeKind(StrEnum):
    """What a notice is about."""

    BLOCKED = "blocked"
    FAILED = "failed"
    RECOVERED = "recovered"
    STALE = "stale"
    DRIFT_REPAIRED = "drift repaired"
    UNKNOWN_ZONES = "unknown zones"


STATES: Final = (NoticeKind.BLOCKED, NoticeKind.FAILED, NoticeKind.RECOVERED, NoticeKind.STALE)
"""The kinds that describe a lasting state; the others describe single incidents."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One piece of news about a cluster or a source, `name`.

    `detail` is one line without anything that looks like a credential. `guards`, `digest` and
    `approvable` are those of a blocked plan, and `blocked_by` is a digest of its guards' messages.
    `time` is Unix time. `first`: this process does not know the state before.
    """

    kind: NoticeKind
    about: Literal["cluster", "source"]
    name: str
    detail: str
    time: float
    guards: tuple[str, ...] = ()
    digest: str = ""
    approvable: bool = False
    blocked_by: str = ""
    first: bool = False

    @property
    def condition(self) -> str:
        """Identify the state of the subject: notices with one condition are duplicates."""
        # If no approval is possible the guards stay the same while the other changes are written.
        same = self.digest if self.approvable else self.blocked_by
        return f"{self.kind} {same}" if same else str(self.kind)


class Channel(Protocol):
    """Delivers notices to people, from its own thread."""

    def tell(self, notice: Notice) -> None:
        """Accept a notice; never waits and never fails."""

    def close(self, seconds: float) -> None:
        """Deliver the waiting notices, for at most `seconds`; accept no more."""


@dataclass(slots=True)
class Announcer:
    """Finds what is news; any thread may call it.

    `oldest` is the age in seconds at which a source counts as stale.
    """

    channels: Sequence[Channel]
    oldest: float
    clock: Callable[[], float] = time.time
    _conditions: dict[tuple[str, str], str] = field(default_factory=dict)
    _zones: dict[str, frozenset[str]] = field(default_factory=dict)
    _began: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def synced(self, result: Result) -> None:
        """Announce the result of a sync that was not cut short by a shutdown."""
        cluster = result.cluster
        match result.state:
            case ClusterState.HELD_ELSEWHERE:
                return
            case ClusterState.FAILED:
                self._stands(NoticeKind.FAILED, "cluster", cluster, result.detail)
            case ClusterState.BLOCKED:
                assert result.plan is not None
                self._stands(NoticeKind.BLOCKED, "cluster", cluster, result.detail, result.plan)
            case _:
                self._stands(NoticeKind.RECOVERED, "cluster", cluster, result.detail)
        self._happened(result)

    def polled(self, source: PolledSource) -> None:
        """Announce that a source fails, is stale or recovered; also called if a poll is overdue."""
        # The age of a source that never answered is that of this process.
        age = source.age if source.succeeded else self.clock() - self._began
        if age > self.oldest:
            why = f": {source.error}" if source.error else ""
            told = f"no good answer for {age:.0f} s; clusters keep what they have{why}"
            self._stands(NoticeKind.STALE, "source", source.name, told)
        elif source.attempted and source.succeeded and not source.error:
            self._stands(NoticeKind.RECOVERED, "source", source.name, "answers again")

    def left(self, cluster: str) -> None:
        """Forget a cluster's state: another process may sync it, and announce it, from now on."""
        with self._lock:
            self._conditions.pop(("cluster", cluster), None)

    def close(self, seconds: float) -> None:
        """Deliver the waiting notices, for at most `seconds`."""
        ends = time.monotonic() + seconds
        for channel in self.channels:
            channel.close(max(ends - time.monotonic(), 0))

    def _stands(
        self,
        kind: NoticeKind,
        about: Literal["cluster", "source"],
        name: str,
        detail: str,
        blocked: Plan | None = None,
    ) -> None:
        notice = Notice(kind, about, name, _line(detail), self.clock())
        if blocked:
            guards = tuple(sorted({each.guard for each in blocked.blockers}))
            said = sorted({f"{each.guard} {each.message}" for each in blocked.blockers})
            notice = replace(
                notice,
                guards=guards,
                digest=blocked.digest,
                approvable=blocked.approvable,
                blocked_by=hashlib.sha256("\n".join(said).encode()).hexdigest(),
            )
        with self._lock:
            before = self._conditions.get((about, name), "")
            if before == notice.condition:
                return
            self._conditions[about, name] = notice.condition
        notice = replace(notice, first=not before)
        self._tell(notice)

    def _happened(self, result: Result) -> None:
        repaired = [change for change in result.applied if change.cause is Cause.DRIFT]
        if repaired:
            shown = [
                # Without the time, so that repeated drift stays one Event.
                f"{change.kind} {change.name}{_by(change.changed_by)}"
                for change in repaired[:_SHOWN]
            ]
            more = f" and {len(repaired) - _SHOWN} more" if len(repaired) > _SHOWN else ""
            detail = f"reverted changes made outside zonebridge: {', '.join(shown)}{more}"
            self._once(NoticeKind.DRIFT_REPAIRED, result.cluster, detail)
        if result.plan is None:
            return
        found = {each.subject: each.reason for each in unknown_zones(result.plan)}
        with self._lock:
            new = found.keys() - self._zones.get(result.cluster, frozenset())
            self._zones[result.cluster] = frozenset(found)
        if new:
            shown = [f"{subject}: {found[subject]}" for subject in sorted(new)[:_SHOWN]]
            more = f"; and {len(new) - _SHOWN} more labels" if len(new) > _SHOWN else ""
            self._once(NoticeKind.UNKNOWN_ZONES, result.cluster, f"{'; '.join(shown)}{more}")

    def _once(self, kind: NoticeKind, cluster: str, detail: str) -> None:
        self._tell(Notice(kind, "cluster", cluster, _line(detail), self.clock()))

    def _tell(self, notice: Notice) -> None:
        for channel in self.channels:
            channel.tell(notice)


def _by(changed_by: str) -> str:
    manager, _, _ = changed_by.partition(" at ")
    return f" ({manager})" if manager else ""


def _line(text: str) -> str:
    line = " ".join(redact_lines(text).split())
    line = "".join(each if each.isprintable() else "?" for each in line)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"

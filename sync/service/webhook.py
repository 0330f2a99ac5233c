"""The webhook: one POST when a plan is blocked, or a cluster or source fails or recovers.

notice -> newest for each subject -> delivered already? -> POST, signed -> delivered, and stored
                     ^                                       └─ failed ─> retried with backoff
                     └── a subject that flaps is limited in rate

The store keeps the last state that the receiver knows: another process continues from there, and
neither repeats a notice nor loses one.
"""

import math
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import orjson
import structlog

from sync.errors import StoreError
from sync.redaction import redact
from sync.service.metrics import Metrics
from sync.service.notices import STATES, Notice, NoticeKind
from sync.service.webhook_call import LAST_RETRY, Call, CallError, RefusedError
from sync.sources import Memory
from sync.transport.backoff import grown, jittered

_SECONDS: Final = 10.0
"""The deadline of one call, the answer included."""

FIRST_RETRY: Final = 1.0
_BURST: Final = 6.0
_REFILL_SECONDS: Final = 600.0
"""Each subject may have a burst of so many calls, and then one call in so many seconds."""

GRACE_SECONDS: Final = 10.0
"""A failure that is over within this time is not reported: the next try often succeeds."""

_KIND: Final = "told"


_SAID: Final = {
    NoticeKind.BLOCKED: "blocked",
    NoticeKind.FAILED: "failed",
    NoticeKind.STALE: "stale",
    NoticeKind.RECOVERED: "recovered",
}


def body_of(notice: Notice, instance: str, changes: int) -> bytes:
    """Return the JSON of a call; `changes` counts its subject's changes since the last one."""
    kind = _SAID[notice.kind]
    at = datetime.fromtimestamp(notice.time, UTC).isoformat(timespec="milliseconds")
    headline = f"zonebridge {instance}: {notice.about} {notice.name} {_verb(notice)}"
    lines = [headline, *([notice.detail] if notice.detail else [])]
    if notice.approvable:
        lines.append(
            f"Show it with: zonebridge plan --cluster {notice.name}; let it through with: "
            f"zonebridge approve {notice.digest}"
        )
    if changes > 1:
        lines.append(f"It changed {changes} times since the last notice.")
    document = {
        "type": f"{notice.about}.{kind}",
        "timestamp": at.replace("+00:00", "Z"),
        "text": _slack("\n".join(lines)),
        "data": {
            "instance": instance,
            "subject": notice.about,
            "name": notice.name,
            "state": kind,
            "detail": notice.detail,
            "guards": list(notice.guards),
            "plan": notice.digest,
            "approvable": notice.approvable,
            "changes": changes,
        },
    }
    return orjson.dumps(document)


def _verb(notice: Notice) -> str:
    match notice.kind:
        case NoticeKind.BLOCKED:
            return f"is blocked by {', '.join(notice.guards)}"
        case NoticeKind.STALE:
            return "is stale"
        case NoticeKind.FAILED:
            return "failed"
        case _:
            return "recovered"


def _slack(text: str) -> str:
    """Escape a text so that nothing in it is a mention or a link.

    https://api.slack.com/reference/surfaces/formatting#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(slots=True)
class _Subject:
    notice: Notice
    identity: str
    since: float  # when the notice came, by the monotonic clock
    changes: int = 1
    in_doubt: bool = False  # whether a call that failed may have arrived
    tokens: float = _BURST
    refilled: float = 0.0
    retry_at: float = -math.inf
    retry_seconds: float = FIRST_RETRY


class Webhook:
    """Calls a webhook, from its own thread, which starts with the first notice.

    `memory` has the state of each subject that the receiver knows.
    """

    def __init__(
        self,
        call: Call,
        instance: str,
        memory: Memory,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._instance = instance
        self._memory = memory
        self._metrics = metrics
        self._clock = clock
        self._moved = threading.Condition()
        self._waiting: dict[str, _Subject] = {}
        # The calls that each subject may still have, and since when that counts.
        self._spent: dict[str, tuple[float, float]] = {}
        self._thread: threading.Thread | None = None
        self._retry_at = -math.inf
        self._retry_seconds = FIRST_RETRY
        self._ends: float | None = None
        self._error = ""

    def tell(self, notice: Notice) -> None:
        """Accept a notice; it replaces a waiting one of the same subject."""
        if notice.kind not in STATES:
            return
        key = f"{notice.about} {notice.name}"
        with self._moved:
            if self._ends is not None:
                return
            identity = f"msg_{uuid.uuid4().hex}"
            if waits := self._waiting.get(key):
                waits.notice, waits.identity, waits.since = notice, identity, self._clock()
                waits.changes += 1
            else:
                now = self._clock()
                tokens, refilled = self._spent.get(key, (_BURST, now))
                self._waiting[key] = _Subject(
                    notice, identity, now, tokens=tokens, refilled=refilled
                )
            self._metrics.webhook_waits(len(self._waiting))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
                self._thread.start()
            self._moved.notify_all()

    def close(self, seconds: float) -> None:
        """Try each waiting notice once more, for at most `seconds`."""
        with self._moved:
            self._ends = self._clock() + seconds
            self._moved.notify_all()
            thread = self._thread
        if thread:
            thread.join(seconds)
        if self._waiting:
            structlog.get_logger().warning("webhook not told", subjects=sorted(self._waiting))

    def _work(self) -> None:
        while due := self._await():
            for key in due:
                if not self._deliver(key):
                    break

    def _await(self) -> list[str]:
        """Wait for subjects that are due and return them; none at the end."""
        with self._moved:
            while self._ends is None:
                now = self._clock()
                wakes = {
                    key: max(self._due(each, now), self._retry_at)
                    for key, each in self._waiting.items()
                }
                if due := [key for key, at in wakes.items() if at <= now]:
                    return due
                self._moved.wait(min((at - now for at in wakes.values()), default=None))
            # At the end each is tried once more, without its backoff.
            return [] if self._ends <= self._clock() else [*self._waiting]

    def _due(self, subject: _Subject, now: float) -> float:
        """Return the time at which a subject's notice is due; refill its tokens."""
        gained = (now - subject.refilled) / _REFILL_SECONDS
        subject.tokens = min(subject.tokens + gained, _BURST)
        subject.refilled = now
        due = (
            max(now, subject.retry_at)
            if subject.tokens >= 1
            else now + (1 - subject.tokens) * _REFILL_SECONDS
        )
        failed = subject.notice.kind is NoticeKind.FAILED
        return max(due, subject.since + GRACE_SECONDS) if failed else due

    def _deliver(self, key: str) -> bool:
        """Deliver one subject's notice; False if others would fail too now."""
        with self._moved:
            subject = self._waiting[key]
            notice, identity, changes = subject.notice, subject.identity, subject.changes
            left = _SECONDS if self._ends is None else self._ends - self._clock()
            doubt = subject.in_doubt
        known = self._known(key)
        if notice.condition == known and not doubt:
            self._settle(key, notice)
            return True
        if left <= 0:
            return False
        try:
            self._call(identity, body_of(notice, self._instance, changes), min(left, _SECONDS))
        except CallError as error:
            return self._fail(subject, error)
        except Exception as error:  # noqa: BLE001 - a bug here must not stop later notices
            return self._fail(subject, RefusedError(redact(repr(error))))
        self._remember(key, notice)
        self._metrics.webhook_called(delivered=True)
        if self._error:
            structlog.get_logger().info("webhook answers again")
        with self._moved:
            self._error, self._retry_at, self._retry_seconds = "", -math.inf, FIRST_RETRY
            subject.tokens -= 1
            subject.in_doubt = False
            subject.retry_at, subject.retry_seconds = -math.inf, FIRST_RETRY
        self._settle(key, notice)
        return True

    def _settle(self, key: str, notice: Notice) -> None:
        """Remove a delivered notice, unless a newer one has replaced it."""
        with self._moved:
            subject = self._waiting[key]
            self._spent[key] = subject.tokens, subject.refilled
            if subject.notice is notice:
                del self._waiting[key]
            else:
                subject.changes = 1
            self._metrics.webhook_waits(len(self._waiting))

    def _fail(self, subject: _Subject, error: CallError) -> bool:
        """Schedule a retry; False if others would fail too now."""
        self._metrics.webhook_called(delivered=False)
        if str(error) != self._error:
            structlog.get_logger().error("webhook failed", error=str(error))
        with self._moved:
            self._error = str(error)
            if isinstance(error, RefusedError):
                pause = jittered(subject.retry_seconds, error.after)
                subject.retry_at = self._clock() + pause
                subject.retry_seconds = grown(subject.retry_seconds, LAST_RETRY)
                # A notice that the receiver refuses must not delay the shutdown.
                if self._ends is not None:
                    self._waiting = {k: v for k, v in self._waiting.items() if v is not subject}
                return True
            subject.in_doubt = True
            pause = jittered(self._retry_seconds, error.after)
            self._retry_at = self._clock() + pause
            self._retry_seconds = grown(self._retry_seconds, LAST_RETRY)
            if self._ends is not None:
                self._ends = self._clock()
        return False

    def _known(self, key: str) -> str:
        """Return the state of a subject that the receiver knows; without any, that all is well."""
        try:
            found = self._memory.recall(_KIND, key)
        except StoreError:
            found = None
        return found.decode() if found else str(NoticeKind.RECOVERED)

    def _remember(self, key: str, notice: Notice) -> None:
        try:
            self._memory.remember(_KIND, key, notice.condition.encode())
        except StoreError as error:
            structlog.get_logger().error("the store fails", error=str(error))

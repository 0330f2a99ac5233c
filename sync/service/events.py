"""Notices as Kubernetes Events: on the service's own pod, and on a cluster's tiers.

They are best effort: a failure is logged once, and is not retried.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from sync.clusters.cluster import EventRecorder, EventText
from sync.errors import ZonebridgeError
from sync.redaction import redact
from sync.service.metrics import Metrics
from sync.service.notices import Notice, NoticeKind

BLOCKED: Final = "PlanBlocked"
FAILED: Final = "SyncFailed"
RECOVERED: Final = "SyncRecovered"
SOURCE_STALE: Final = "SourceStale"
SOURCE_RECOVERED: Final = "SourceRecovered"
DRIFT_REPAIRED: Final = "DriftRepaired"
UNKNOWN_ZONES: Final = "UnknownZoneLabels"

_WAITING: Final = 64  # notices; beyond this the oldest are dropped

_REASONS: Final[Mapping[tuple[str, NoticeKind], str]] = {
    ("cluster", NoticeKind.BLOCKED): BLOCKED,
    ("cluster", NoticeKind.FAILED): FAILED,
    ("cluster", NoticeKind.RECOVERED): RECOVERED,
    ("cluster", NoticeKind.DRIFT_REPAIRED): DRIFT_REPAIRED,
    ("cluster", NoticeKind.UNKNOWN_ZONES): UNKNOWN_ZONES,
    ("source", NoticeKind.STALE): SOURCE_STALE,
    ("source", NoticeKind.RECOVERED): SOURCE_RECOVERED,
}

Regarding = Callable[[EventRecorder], Iterable[Mapping[str, str]]]
"""Returns the objects that Events are written about; raises `ClusterError`."""


def on_pod(pod: Mapping[str, str]) -> Regarding:
    """Regard the pod."""
    return lambda _: (pod,)


def on_tiers(names: Iterable[str]) -> Regarding:
    """Regard those of the tiers that exist."""
    tiers = tuple(dict.fromkeys(names))
    return lambda recorder: (found for name in tiers if (found := recorder.tier(name)))


class Events:
    """Writes notices as Events, from its own thread, which starts with the first one.

    `cluster` is the cluster whose notices are written; None: those of all clusters and sources.
    """

    def __init__(
        self,
        recorder: EventRecorder,
        regarding: Regarding,
        metrics: Metrics,
        *,
        cluster: str | None,
    ) -> None:
        self._recorder = recorder
        self._regarding = regarding
        self._metrics = metrics
        self._cluster = cluster
        self._where = f"cluster {cluster}" if cluster else "pod"
        self._moved = threading.Condition()
        self._waiting: deque[Notice] = deque(maxlen=_WAITING)
        self._thread: threading.Thread | None = None
        self._ends: float | None = None
        self._error = ""

    def tell(self, notice: Notice) -> None:
        """Take a notice."""
        if self._cluster and (notice.about, notice.name) != ("cluster", self._cluster):
            return
        # A cluster that is well at the start is not news.
        if notice.kind is NoticeKind.RECOVERED and notice.first:
            return
        with self._moved:
            if self._ends is not None:
                return
            self._waiting.append(notice)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"events of {self._where}", daemon=True
                )
                self._thread.start()
            self._moved.notify_all()

    def close(self, seconds: float) -> None:
        """Write the waiting notices, for at most `seconds`."""
        with self._moved:
            self._ends = time.monotonic() + seconds
            self._moved.notify_all()
            thread = self._thread
        if thread:
            thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._moved:
                while not self._waiting:
                    if self._ends is not None:
                        return
                    self._moved.wait()
                if self._ends is not None and time.monotonic() >= self._ends:
                    return
                notice = self._waiting.popleft()
            self._write(notice)

    def _write(self, notice: Notice) -> None:
        said = EventText(
            _REASONS[notice.about, notice.kind],
            f"{notice.about} {notice.name}: {notice.detail or 'all is well'}",
            notice.kind is not NoticeKind.RECOVERED,
        )
        try:
            written = [
                self._recorder.record(each, said) for each in self._regarding(self._recorder)
            ]
        except ZonebridgeError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - a bug here must not stop later notices
            self._fail(redact(repr(error)))
        else:
            self._error = ""
            for each in written:
                result = "written" if each else "dropped"
                self._metrics.event(self._cluster or "", result)

    def _fail(self, error: str) -> None:
        self._metrics.event(self._cluster or "", "failed")
        if error != self._error:
            structlog.get_logger().warning("event not written", on=self._where, error=error)
        self._error = error

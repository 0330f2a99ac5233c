"""A source that is polled, with its last good answer for when it fails."""

import math
import time
from dataclasses import dataclass, field

from sync.errors import SourceError
from sync.firewall.configuration import Snapshot
from sync.sources import Memory, Source
from sync.sources.snapshot_cache import keep, kept
from sync.tracing import step

_KEPT_ANEW_SECONDS = 600.0  # after which an unchanged answer is stored again, with a new time


@dataclass(slots=True)
class PolledSource:
    """A source and its last good answer. All but the properties is for one thread at a time.

    `attempted` and `succeeded` are Unix times of the last poll and of the last good one, 0.0 if
    there was none. For an answer from before the start, `succeeded` is when the source gave it.
    `error` is why the last poll failed.
    """

    source: Source
    memory: Memory
    attempted: float = 0.0
    succeeded: float = 0.0
    error: SourceError | None = None
    snapshot: Snapshot | None = None
    succeeded_at: float = field(default=-math.inf, repr=False)  # by `time.monotonic()`
    _revision: str | None = field(default=None, repr=False)
    _kept: Snapshot | None = field(default=None, repr=False)
    _kept_at: float = field(default=0.0, repr=False)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def age(self) -> float:
        """Return the seconds since the last good answer, right even if the clock was set back."""
        by_clock = time.time() - self.succeeded
        if self.succeeded_at == -math.inf:
            return by_clock
        return max(by_clock, time.monotonic() - self.succeeded_at)

    @property
    def last_good(self) -> Snapshot | SourceError:
        """Return what clusters are synced to: the last good answer, or why there is none."""
        if self.snapshot:
            return self.snapshot
        return self.error or SourceError(f"the source {self.name} was not read yet")

    def recall(self) -> None:
        """Start with the stored answer, if there is one; raises what the memory raises."""
        if found := kept(self.memory):
            given, self.snapshot = found
            self._kept = self.snapshot
            # The clock may have been set back since.
            self.succeeded = min(given, time.time())
            self.succeeded_at = time.monotonic() - (time.time() - self.succeeded)

    def follow(self, before: "PolledSource") -> None:
        """Start with the last answer of the same source in the service before."""
        self.snapshot, self.succeeded = before.snapshot, before.succeeded
        self.succeeded_at = before.succeeded_at

    def remember(self) -> None:
        """Store the last answer for the next start, once; raises what the memory raises."""
        if self.snapshot and self.snapshot is not self._kept:
            keep(self.memory, self.snapshot, self.succeeded)
            self._kept, self._kept_at = self.snapshot, time.time()

    def poll(self) -> bool:
        """Poll the source, and read it if it may have changed; return whether it has.

        A failure changes only `error`.
        """
        try:
            with step("read", source=self.name):
                revision = self.source.revision()
                read = self.source.read() if revision != self._revision else self.snapshot
        except SourceError as error:
            self.error = error
            self.attempted = time.time()
            return False
        assert read is not None, "a revision is known only after a reading"
        # A full reading is there to find changes that the version does not show.
        changed = read is not self.snapshot and read != self.snapshot
        if changed or time.time() - self._kept_at > _KEPT_ANEW_SECONDS:
            self.snapshot = read
        self._revision = revision
        self.error = None
        # Last, so that a thread that waits for the first attempt finds its result.
        self.succeeded_at = time.monotonic()
        self.attempted = self.succeeded = time.time()
        return changed

"""Reload the configuration file when it changes, and report the result.

the file ── changed ──> still being written? ── the same twice ──> read again
SIGHUP ──────────────────────────────────────────────────────────> read again
refused, perhaps for a file that it names ── retry later ────────> read again
                                                 refused ──> the old one stays, logged once
"""

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from sync.errors import ZonebridgeError
from sync.redaction import redact
from sync.service.health import Check
from sync.service.metrics import Metrics
from sync.service.service import Service

LOOK_SECONDS = 2.0
"""Interval of checks; the file must stay unchanged for one interval before it is read."""

_RETRY_SECONDS = 30.0  # after a refusal: a Secret may be updated after its ConfigMap
_LONGEST = 2 * 1024 * 1024  # bytes; a longer file is not a configuration


class ConfigurationFile:
    """Builds another service when the configuration file changes; for one thread at a time.

    `read` loads the file and builds the service that it asks for, or returns None if the running
    one has that configuration already; it raises `ZonebridgeError` for an unusable configuration.
    The file may be replaced, written in place, missing for a while, or behind symbolic links that
    change: what counts is the content found under its name.
    """

    def __init__(
        self,
        file: Path,
        read: Callable[[], Service | None],
        metrics: Metrics,
        held: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`held` is the `digest` of the file, taken before it was first read."""
        self._file = file
        self._read = read
        self._metrics = metrics
        self._clock = clock
        self._known = self._seen = held
        self._refused = ""
        self._retry_at = math.inf
        self._taken_up = clock()
        metrics.configured(taken_up=True)

    @property
    def check(self) -> Check:
        """Report the configuration's state; a refused one does not make the service unready."""
        since = self._clock() - self._taken_up
        says = f"loaded {since:.0f} s ago"
        if self._refused:
            says = f"the one of {since:.0f} s ago stays: {' '.join(self._refused.split())}"
        return Check("configuration", holds=True, says=says)

    def look(self, *, asked: bool = False) -> Service | None:
        """Return another service if the file was to be read and its configuration differs.

        With `asked`, by SIGHUP, the file is read at once, and an unchanged one is logged too.
        """
        # Taken before the file is read, so that later writes count as changes.
        found = digest(self._file)
        settled, self._seen = found == self._seen, found
        changed = found != self._known and settled
        again = self._clock() >= self._retry_at
        if not (asked or changed or again):
            return None
        self._known = found
        log = structlog.get_logger()
        try:
            service = self._read()
        except ZonebridgeError as error:
            self._refuse(str(error), told=asked or changed)
            return None
        except Exception as error:  # noqa: BLE001 - a bug here must not end the running service
            what = redact(f"{type(error).__name__}: {error}")
            self._refuse(f"an internal error, {what}", told=True)
            return None
        self._refused, self._retry_at = "", math.inf
        self._taken_up = self._clock()
        self._metrics.configured(taken_up=True)
        if service is None:
            log.info("configuration unchanged")
        return service

    def _refuse(self, reason: str, *, told: bool) -> None:
        self._retry_at = self._clock() + _RETRY_SECONDS
        self._metrics.configured(taken_up=False)
        if told or reason != self._refused:
            structlog.get_logger().error(
                "configuration rejected; the previous one stays in use", error=reason
            )
        self._refused = reason


def digest(file: Path) -> str:
    """Return a digest of a file's content; "" if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.sha256(opened.read(_LONGEST)).hexdigest()
    except (OSError, ValueError):
        return ""

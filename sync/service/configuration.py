"""The configuration file as it changes: when it is read again, and what came of that.

the file ── changed ──> still being written? ── the same twice ──> read again
SIGHUP ──────────────────────────────────────────────────────────> read again
refused, perhaps for a file that it names ── again later ────────> read again
                                                 refused ──> the old one stays, told once
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
"""Between two looks at the file, and so for how long it must stay as it is to be believed."""

_RETRY_SECONDS = 30.0  # from a refusal to the next try: a Secret may come after its ConfigMap
_LONGEST = 2 * 1024 * 1024  # bytes; what is longer is no configuration


class ConfigurationFile:
    """Says when a configuration file holds another service; for one thread at a time.

    `read` reads it whole and builds the service that it asks for, or None if that is the one that
    runs; it raises `ZonebridgeError` for a configuration that cannot be used. The file may be
    replaced, written in place, gone for a while, or reached by links that move: what counts is
    what is read by its name.
    """

    def __init__(
        self,
        file: Path,
        read: Callable[[], Service | None],
        metrics: Metrics,
        held: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`held` is the `digest` of the file from before it was read for the first time."""
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
        """How the configuration stands; that one is refused makes the service no less ready."""
        since = self._clock() - self._taken_up
        says = f"taken up {since:.0f} s ago"
        if self._refused:
            says = f"the one of {since:.0f} s ago stays: {' '.join(self._refused.split())}"
        return Check("configuration", holds=True, says=says)

    def look(self, *, asked: bool = False) -> Service | None:
        """Another service, if there is a reason to read the file and it asks for one.

        `asked`: somebody says that it is whole, and wants to know.
        """
        # Before it is read: whatever is written from now on is a change.
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
        except Exception as error:  # noqa: BLE001 - a bug here must not end what runs
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
                "configuration refused, the one before stays", error=reason
            )
        self._refused = reason


def digest(file: Path) -> str:
    """Tells what a file holds from anything else; "" where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.sha256(opened.read(_LONGEST)).hexdigest()
    except (OSError, ValueError):
        return ""

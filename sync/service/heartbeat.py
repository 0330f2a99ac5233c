"""The service's heartbeat: a small write to the store every few seconds.

Reads would succeed on a store that is full, locked or read-only. But a service that cannot write to
the store can record nothing, and so changes no cluster: it is not ready.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from sync.errors import StoreError
from sync.service.health import Check
from sync.store import Store
from sync.transport.spreading import sooner

BEAT_SECONDS = 10.0
_LATELY = 30.0
"""Seconds; as long as writers wait for a lock."""

_LASTS = timedelta(minutes=1)
"""How long other processes take the service for alive after a heartbeat."""


class Heartbeat:
    """Writes heartbeats from its own thread (`work`); any thread may call `check`."""

    def __init__(
        self, store: Store, holder: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._holder = holder
        self._monotonic = monotonic
        self._at: float | None = None
        self._error = ""

    def work(self, stopping: threading.Event) -> None:
        """Write heartbeats until `stopping` is set; then record that the service has ended."""
        while not stopping.is_set():
            self.beat()
            # Jitter: replicas that start together must not write at the same time.
            stopping.wait(sooner(BEAT_SECONDS))
        with suppress(StoreError):
            self._store.end_service()

    def beat(self) -> None:
        """Write one heartbeat, and remember whether that worked."""
        try:
            self._store.beat(self._holder, _LASTS)
        except StoreError as error:
            if str(error) != self._error:
                structlog.get_logger().error("the store fails", error=str(error))
            self._error = str(error)
        else:
            self._at, self._error = self._monotonic(), ""

    @property
    def check(self) -> Check:
        """Check that the last write worked, and recently."""
        age = None if self._at is None else self._monotonic() - self._at
        says = "not written yet" if age is None else f"written {age:.0f} s ago"
        holds = age is not None and age <= _LATELY and not self._error
        return Check("store", holds, f"{says}; {self._error}" if self._error else says)

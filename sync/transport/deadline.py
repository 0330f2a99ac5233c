"""One deadline over a whole call: looking for the host, the request, and each byte of the answer.

A read's own time limit restarts with each byte that trickles, of a head as of a chunk's length
or a trailer. So another thread cuts the connection when the call's time is up, or when the process
is asked to end. Only the look-up of a name is out of its reach: the system's resolver bounds that.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from socket import AF_INET, SHUT_RDWR, SOCK_STREAM, fromfd, socket
from threading import Condition, Lock, Thread
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection

from sync.transport.stopping import Stopping


class Call:
    """A call under way. `cut`: it was ended, so its answer may be incomplete."""

    def __init__(self) -> None:
        self.cut = False
        self._heard: socket | None = None
        self._lock = Lock()

    def hear(self, connection: Any) -> None:
        """This connection (anything with a `fileno`) is the one to be cut."""
        # A descriptor of our own: the connection may forget its socket with the head of an answer,
        # and give it to TLS before a handshake. What it is of a kind does not matter to a cut.
        own = fromfd(connection.fileno(), AF_INET, SOCK_STREAM)
        with self._lock:
            self._forget()
            self._heard = own
            if self.cut:
                self._shut()

    def fileno(self) -> int:
        """The descriptor of what is heard, for another call that continues with it."""
        assert self._heard is not None
        return self._heard.fileno()

    def end(self) -> None:
        """Cut the call."""
        with self._lock:
            self.cut = True
            self._shut()

    def close(self) -> None:
        """Leave the connection alone: others continue with it."""
        with self._lock:
            self._forget()

    def _shut(self) -> None:
        if self._heard is not None:
            # Not TLS's own way to end it: a thread is reading.
            with suppress(OSError):
                self._heard.shutdown(SHUT_RDWR)

    def _forget(self) -> None:
        if self._heard is not None:
            self._heard.close()
            self._heard = None


class _Watchdog:
    """Ends calls when their time is up, all of them from one thread.

    A timer for each call would be a thread for each, and a first sync sends thousands of calls.
    """

    def __init__(self) -> None:
        self._ends: dict[Call, float] = {}  # by `time.monotonic()`
        self._moved = Condition()
        self._next = float("inf")  # when the thread wakes by itself
        self._thread: Thread | None = None

    @contextmanager
    def watching(self, call: Call, seconds: float) -> Iterator[None]:
        end = time.monotonic() + seconds
        with self._moved:
            self._ends[call] = end
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            elif end < self._next:
                self._moved.notify()
        try:
            yield
        finally:
            with self._moved:
                self._ends.pop(call, None)

    def _watch(self) -> None:
        while True:
            with self._moved:
                now = time.monotonic()
                late = [call for call, end in self._ends.items() if end <= now]
                for call in late:
                    del self._ends[call]
                if not late:
                    self._next = min(self._ends.values(), default=float("inf"))
                    self._moved.wait(None if self._next == float("inf") else self._next - now)
            for call in late:
                call.end()


_WATCHDOG: Final = _Watchdog()
_call: Final[ContextVar[Call | None]] = ContextVar("call", default=None)


@contextmanager
def cut_after(seconds: float, stopping: Stopping | None = None) -> Iterator[Call]:
    """Cut what this thread hears an answer by if the block takes longer, or once `stopping`."""
    call = Call()
    before = _call.set(call)
    try:
        with (
            _WATCHDOG.watching(call, seconds),
            stopping.calling(call.end) if stopping else nullcontext(),
        ):
            yield call
    finally:
        _call.reset(before)
        call.close()


def _hear(connection: Any) -> None:
    if (call := _call.get()) and connection is not None:
        call.hear(connection)


class WatchedPlainConnection(HTTPConnection):
    """A connection without TLS that is cut when its `cut_after` ends."""

    def _new_conn(self) -> socket:
        # At once: a proxy or a handshake may be slow too.
        found = super()._new_conn()
        _hear(found)
        return found

    def request(self, *arguments: Any, **options: Any) -> None:
        _hear(self.sock)
        super().request(*arguments, **options)


class WatchedConnection(WatchedPlainConnection, HTTPSConnection):
    """The same with TLS."""

"""SIGTERM and SIGINT: the first one shuts down gracefully, a second one at once.

Work that does not end in time, because a disk or a server hangs, is abandoned.
SIGHUP has the service read its configuration again.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from socket import socket, socketpair
from threading import Thread, Timer

import structlog

from sync.cli.exit_codes import of_signal
from sync.transport.stopping import Stopping

END_SECONDS = 25.0
"""How long a graceful shutdown may take: Kubernetes kills after 30."""


@dataclass(slots=True)
class Signals:
    """The signals of this process: `received` is the first one's number, 0 for none."""

    stopping: Stopping
    received: int = 0

    @property
    def exit_code(self) -> int:
        """Return the exit code that shells give to a process ended by the signal; 0 for none."""
        return of_signal(self.received) if self.received else 0


@contextmanager
def signals(hangup: Callable[[], None] | None = None) -> Iterator[Signals]:
    """Handle SIGTERM and SIGINT within the context, even while the main thread is blocked.

    With `hangup`, SIGHUP calls that and ends nothing. The first process of a container receives
    only the signals that it has a handler for.

    The system may deliver a signal to any thread, but Python runs handlers in the main one only,
    which may be blocked. So signal numbers go through a wakeup descriptor to a separate thread.
    """
    found = Signals(Stopping())
    ends = (signal.SIGTERM, signal.SIGINT)
    noted = (*ends, signal.SIGHUP) if hangup else ends
    usual = {number: signal.getsignal(number) for number in noted}
    reading, writing = socketpair()
    writing.settimeout(0)
    thread = Thread(target=_note, args=[reading, found, frozenset(ends), hangup], name="signals")
    with reading:
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        thread.start()
        try:
            for number in usual:
                signal.signal(number, lambda *_: None)
            yield found
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            writing.close()
            thread.join()


def _note(
    reading: socket, found: Signals, numbers: frozenset[int], hangup: Callable[[], None] | None
) -> None:
    """Read signal numbers from `numbers` until the other end is closed."""
    end: Timer | None = None
    for (number,) in iter(partial(reading.recv, 1), b""):
        if number == signal.SIGHUP and hangup:
            hangup()
        if number not in numbers:
            continue
        if found.received:
            # Threads may be waiting for a server: exit without them. No record is lost.
            os._exit(of_signal(number))
        found.received = number
        end = Timer(END_SECONDS, _leave, [number])
        end.daemon = True
        end.start()
        found.stopping.set()
    if end:
        end.cancel()


def _leave(number: int) -> None:
    """Exit at once, as a second signal does."""
    structlog.get_logger().error(
        "shutdown was cut short: the store or a server did not answer; the next sync continues"
    )
    os._exit(of_signal(number))

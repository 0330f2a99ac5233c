"""SIGTERM and SIGINT: the first one ends the work in hand in good order, a second one at once.

What does not come to its end, because a disk or a server hangs, is left after a while.
SIGHUP asks who can for a look at the configuration.
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
"""How long an end in good order may take: Kubernetes kills after 30."""


@dataclass(slots=True)
class Signals:
    """What a user or the system asked of this process: `received` is the signal, 0 for none."""

    stopping: Stopping
    received: int = 0

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that ended by the signal; 0 for none."""
        return of_signal(self.received) if self.received else 0


@contextmanager
def signals(hangup: Callable[[], None] | None = None) -> Iterator[Signals]:
    """Note SIGTERM and SIGINT as long as the context lasts, whatever the main thread waits for.

    With `hangup` SIGHUP ends nothing: it calls that. The first process of a container too gets only
    the signals that it has a handler for.

    The system may give a signal to any thread, and Python's handlers run in the main one alone,
    which sleeps on meanwhile. So the numbers go through a wakeup descriptor to a thread of its own.
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
    """Note the signals of `numbers` until the other end is closed."""
    end: Timer | None = None
    for (number,) in iter(partial(reading.recv, 1), b""):
        if number == signal.SIGHUP and hangup:
            hangup()
        if number not in numbers:
            continue
        if found.received:
            # Threads may wait for a server; this does not wait for them. No record is lost by it.
            os._exit(of_signal(number))
        found.received = number
        end = Timer(END_SECONDS, _leave, [number])
        end.daemon = True
        end.start()
        found.stopping.set()
    if end:
        end.cancel()


def _leave(number: int) -> None:
    """End as a second signal does."""
    structlog.get_logger().error(
        "ended in the middle: the store or a server did not answer; the next sync goes on"
    )
    os._exit(of_signal(number))

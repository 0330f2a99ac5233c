"""A line on the terminal that names what is under way, while a command takes its time.

Only on a terminal: nothing of it reaches a file or a pipe. Whatever else is printed clears the line
first (`sync.cli.context.Terminal`); the next step draws it again. A thread of its own draws it: a
terminal that was stopped (Ctrl-S) must not stop a sync.
"""

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Lock, RLock, Thread
from typing import TextIO

from sync.cli.context import Terminal
from sync.text import printable
from sync.tracing import Progress, watched

_END_SECONDS = 1.0  # for a terminal that was stopped
_CLEAR = "\r\x1b[K"
_WORDS = {
    "read": "reading",
    "live": "reading",
    "translate": "translating",
    "prove": "proving",
    "write": "writing",
}


@contextmanager
def progress() -> Iterator[None]:
    """Show the steps of a sync on stderr within the block, if that is a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    line = ProgressLine(sys.stderr, lambda: shutil.get_terminal_size().columns)
    before, Terminal.line = Terminal.line, line
    try:
        with watched(line):
            yield
    finally:
        Terminal.line = before
        line.end()


class ProgressLine:
    """The line; threads may share it. `columns` gives the width of the terminal."""

    def __init__(self, stream: TextIO, columns: Callable[[], int]) -> None:
        self._stream, self._columns = stream, columns
        self._lock = Lock()
        self._under_way: dict[tuple[str, str], Progress] = {}
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._drawing = RLock()
        self._drawn = ""
        self._drawer = Thread(target=self._draw, name="progress", daemon=True)
        self._drawer.start()

    def __call__(self, progress: Progress) -> None:
        """Draw the line again after a step began, got on or ended."""
        if progress.step not in _WORDS:
            return
        with self._lock:
            key = progress.step, progress.about
            self._under_way.pop(key, None)
            if not progress.ended:
                self._under_way[key] = progress
            self._lines.put("; ".join(map(_said, self._under_way.values())))

    @contextmanager
    def cleared(self) -> Iterator[None]:
        """Keep the line away within the block, for what else is printed."""
        with self._drawing:
            self._erase()
            yield

    def end(self) -> None:
        """Remove the line, once all of it was drawn."""
        self._lines.put(None)
        self._drawer.join(_END_SECONDS)

    def _draw(self) -> None:
        for line in iter(self._lines.get, None):
            text = cut(line, self._columns() - 1)
            with self._drawing:
                if text != self._drawn:
                    self._write(f"{_CLEAR}{text}")
                    self._drawn = text
        with self._drawing:
            self._erase()

    def _erase(self) -> None:
        if self._drawn:
            self._write(_CLEAR)
            self._drawn = ""

    def _write(self, text: str) -> None:
        # A terminal that is gone must not end a sync, and at one that was stopped no lock is held.
        with suppress(OSError, ValueError):
            self._stream.flush()
            os.write(self._stream.fileno(), text.encode(self._stream.encoding, "replace"))


def _said(progress: Progress) -> str:
    counted = f" {progress.done:,} of {progress.total:,}" if progress.total else ""
    return printable(f"{progress.about}: {_WORDS[progress.step]}{counted}")


def cut(text: str, cells: int) -> str:
    """Cut a text to so many cells of a terminal: a line that wraps could not be cleared."""
    used = 0
    for place, letter in enumerate(text):
        used += 0 if unicodedata.combining(letter) else _cells(letter)
        if used > cells:
            return text[:place]
    return text


def _cells(letter: str) -> int:
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1

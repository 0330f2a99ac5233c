"""What a source's host is verified by, as the file of its authorities changes."""

import ssl
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import structlog

from sync.errors import UsageError


class Trust:
    """Gives the context of now: made anew once the file holds something else. Any thread may ask.

    `file` is None for the system's authorities, whose file is looked at where there is one. A file
    that is gone changes nothing, and one that holds no authority only the log: it may be half
    written. `make` raises `UsageError`, here too where it does at the start.
    """

    def __init__(self, source: str, file: Path | None, make: Callable[[], ssl.SSLContext]) -> None:
        system = ssl.get_default_verify_paths().cafile
        self._file = file or (Path(system) if system else None)
        self._make = make
        self._log = structlog.get_logger().bind(source=source)
        self._looking = Lock()
        self._warned = ""
        # Before it is read: whatever is written from now on is a change.
        self._known = self._state()
        self._context = make()

    def __call__(self) -> ssl.SSLContext:
        with self._looking:
            found = self._state()
            if found is None or found == self._known:
                return self._context
            try:
                self._context = self._make()
            except UsageError as error:
                if str(error) != self._warned:
                    self._log.warning("authorities kept, new ones cannot be used", error=str(error))
                self._warned = str(error)
            else:
                self._known, self._warned = found, ""
                self._log.info("authorities read anew")
            return self._context

    def _state(self) -> tuple[int, int, int, int] | None:
        """What changes whenever a file does, links on the way to it included; None: not there."""
        try:
            status = self._file.stat() if self._file else None
        except OSError:
            return None
        return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

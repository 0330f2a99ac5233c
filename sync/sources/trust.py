"""The TLS context that verifies a source's host, as the file of its authorities changes."""

import ssl
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import structlog

from sync.errors import UsageError


class Trust:
    """Returns the current context, made again once the file has changed. Any thread may call it.

    `file` is None for the system's authorities, whose file is checked if there is one. A file
    that is gone changes nothing, and one without an authority is only logged: it may be half
    written. `make` raises `UsageError`; an error of the first call is raised here.
    """

    def __init__(self, source: str, file: Path | None, make: Callable[[], ssl.SSLContext]) -> None:
        system = ssl.get_default_verify_paths().cafile
        self._file = file or (Path(system) if system else None)
        self._make = make
        self._log = structlog.get_logger().bind(source=source)
        self._looking = Lock()
        self._warned = ""
        # Before it is read: each write from now on is a change.
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
                    self._log.warning(
                        "new authorities cannot be used; keeping the old ones", error=str(error)
                    )
                self._warned = str(error)
            else:
                self._known, self._warned = found, ""
                self._log.info("authorities read again")
            return self._context

    def _state(self) -> tuple[int, int, int, int] | None:
        """A value that changes whenever the file does, or a link to it; None: it does not exist."""
        try:
            status = self._file.stat() if self._file else None
        except OSError:
            return None
        return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

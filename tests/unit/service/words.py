"""The words that the service's tests are written in."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sync.errors import SourceError
from sync.firewall.configuration import Configuration, Provenance, Snapshot
from tests.words import Word, document, read

SECONDS = 60


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class SaidSource:
    """A source that says what it is told to: words of the device group `dg`, or an error."""

    name: str = "main"
    version: str = "1"
    reads: int = 0
    error: str = ""
    revision_error: str = ""
    _revision: int = 0
    _configuration: Configuration = field(default_factory=lambda: read(document()))

    def says(self, *words: Word, version: str) -> None:
        self._configuration = read(document((), {"dg": words}))
        self.version = version
        self.moves()

    def moves(self) -> None:
        """Another revision."""
        self._revision += 1

    def revision(self) -> str:
        if self.revision_error:
            raise SourceError(self.revision_error)
        return str(self._revision)

    def read(self) -> Snapshot:
        self.reads += 1
        if self.error:
            raise SourceError(self.error)
        return Snapshot(self._configuration, Provenance(self.name, "memory", self.version))

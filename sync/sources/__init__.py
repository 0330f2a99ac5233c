"""Sources of snapshots of the firewalls' configuration."""

from typing import Protocol

from sync.firewall.configuration import Snapshot


class Source(Protocol):
    """One Panorama, however it is reached."""

    @property
    def name(self) -> str: ...

    def revision(self) -> str:
        """Return a text that changes whenever `read` may return something else; cheap to call.

        `SourceError` if the source does not report it.
        """

    def read(self) -> Snapshot:
        """Return one consistent view of the source; `SourceError` if it is unavailable."""


class Memory(Protocol):
    """Earlier answers that a source may need again; they outlive the process.

    Each pair of `kind` and `name` has one value, the last one remembered.
    """

    def recall(self, kind: str, name: str) -> bytes | None: ...

    def remember(self, kind: str, name: str, value: bytes) -> None: ...


class NoMemory:
    """The memory of a read-only command: it is empty, and keeps nothing."""

    def recall(self, kind: str, name: str) -> bytes | None:  # noqa: ARG002 - of a Memory
        return None

    def remember(self, kind: str, name: str, value: bytes) -> None:
        pass

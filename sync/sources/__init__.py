"""Where a snapshot of the firewalls' configuration comes from."""

from typing import Protocol

from sync.firewall.configuration import Snapshot


class Source(Protocol):
    """One Panorama, however it is reached."""

    @property
    def name(self) -> str: ...

    def revision(self) -> str:
        """A text that is another one if `read` may give something else; cheap to ask for.

        `SourceError` if the source cannot tell.
        """

    def read(self) -> Snapshot:
        """One consistent view of it; `SourceError` if there is none to be had."""


class Memory(Protocol):
    """What a source was told earlier and may need again; it outlives the process.

    A text of `kind` and `name` has one value, the last one remembered.
    """

    def recall(self, kind: str, name: str) -> bytes | None: ...

    def remember(self, kind: str, name: str, value: bytes) -> None: ...


class NoMemory:
    """The memory of somebody who only looks: nothing was told, and nothing is kept."""

    def recall(self, kind: str, name: str) -> bytes | None:  # noqa: ARG002 - of a Memory
        return None

    def remember(self, kind: str, name: str, value: bytes) -> None:
        pass

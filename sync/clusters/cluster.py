"""What the cycle needs of a cluster: one Protocol to read it, one to write it.

A dry run is built without a writer, so there is nothing in it that could write.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sync.calico.manifest import Manifest
from sync.errors import ClusterError

Key = tuple[str, str]
"""The kind and the name of an object."""


@dataclass(frozen=True, slots=True)
class LiveObject:
    """One object of one of our kinds as a cluster holds it.

    `manifest` is what of it is ours, None if the object is foreign; then `foreign_because` is a
    clause that says why. `document` is the whole, which a writer needs to keep what is foreign.
    """

    manifest: Manifest | None
    document: Mapping[str, Any]
    foreign_because: str = ""


class ClusterReader(Protocol):
    """Reads a cluster."""

    def read(self) -> Mapping[Key, LiveObject]:
        """Every object of our kinds, foreign ones included; `ClusterError` if that fails."""


class ClusterWriter(Protocol):
    """Writes a cluster, one object at a time.

    Each method either did all of it or raises: `NotWrittenError` if the cluster surely stayed as
    it was, any other `ClusterError` if nobody knows.
    """

    def create(self, manifest: Manifest) -> None:
        """Write a new object."""

    def replace(self, manifest: Manifest, live: LiveObject) -> None:
        """Write over `live`, keeping what is foreign on it."""

    def delete(self, manifest: Manifest) -> None:
        """Remove an object of ours; one that is gone already is done."""


class NotWrittenError(ClusterError):
    """A write was refused or failed, and the cluster holds what it held before."""

"""What the cycle needs of a cluster: Protocols to read, write and watch it.

A dry run is built without a writer, so there is nothing in it that could write.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol

from sync.calico.manifest import Manifest
from sync.errors import ClusterError

Key = tuple[str, str]
"""The kind and the name of an object."""

Remaining = Callable[[], float]
"""For how many seconds nobody else may write this cluster; a writer asks before each request."""


@dataclass(frozen=True, slots=True)
class LiveObject:
    """One object of one of our kinds as a cluster holds it.

    `manifest` is what of it is ours, None if the object is foreign; then `foreign_because` is a
    clause that says why. `document` is the whole, which a writer needs to keep what is foreign.
    `changed_by` is who else wrote it last, "" where that was us or nobody can tell.
    """

    manifest: Manifest | None
    document: Mapping[str, Any]
    foreign_because: str = ""
    changed_by: str = ""


class ClusterReader(Protocol):
    """Reads a cluster."""

    def read(self) -> Mapping[Key, LiveObject]:
        """Every object of our kinds, foreign ones included; `ClusterError` if that fails."""


class ClusterWriter(Protocol):
    """Writes a cluster, one object at a time; any number of threads may share it.

    Each method either did all of it or raises: `NotWrittenError` if the cluster surely stayed as
    it was, any other `ClusterError` if nobody knows.
    """

    def create(self, manifest: Manifest) -> None:
        """Write a new object."""

    def replace(self, manifest: Manifest, live: LiveObject) -> None:
        """Write over `live`, keeping what is foreign on it."""

    def delete(self, live: LiveObject) -> None:
        """Remove an object of ours; one that is gone already is done."""


Changed = Callable[[Key, Manifest | None], None]
"""Told of an object that carried our labels: what of it is ours now, None if nothing is."""


class ClusterWatcher(Protocol):
    """Watches a cluster for what other hands do to objects of ours."""

    def watch(self, changed: Changed, missed: Callable[[], None], stopping: Event) -> None:
        """Watch until `stopping` is set, from threads of its own; returns at once.

        `changed` is told of our own writes too. `missed` is called when the watch begins, and
        whenever changes may have gone unseen: then the cluster must be read.
        """


class NotWrittenError(ClusterError):
    """A write was refused or failed, and the cluster holds what it held before."""


class OutOfReachError(NotWrittenError):
    """A write found nobody to take it, or was not tried since those before it did not."""

"""The words that the service's tests are written in."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sync.calico.manifest import Manifest
from sync.calico.objects import Pairs
from sync.calico.ownership import ours_of
from sync.clusters.cluster import Changed, Labelled, LiveObject, Noticed, ignore_notice
from sync.errors import SourceError
from sync.firewall.configuration import Configuration, Provenance, Snapshot
from tests.memory import MemoryCluster
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
    not_pushed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
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
        provenance = Provenance(self.name, "memory", self.version)
        return Snapshot(self._configuration, provenance, not_pushed=self.not_pushed)


@dataclass
class WatchedCluster(MemoryCluster):
    """A cluster in memory that tells of its own writes, as a real one does, and of what it is told.

    `reads` counts how often it was read. While it `fights`, another hand changes back at once what
    we put back.
    """

    changed: Changed = lambda key, manifest: None
    labelled: Labelled = lambda key, found: None
    missed: Callable[[], None] = lambda: None
    noticed: Noticed = ignore_notice
    reads: int = 0
    fights: bool = False

    def watch(
        self, changed: Any, labelled: Any, missed: Any, stopping: Any, noticed: Any = None
    ) -> None:
        self.changed, self.labelled, self.missed = changed, labelled, missed
        self.noticed = noticed
        missed()

    def read(self) -> Any:
        self.reads += 1
        return super().read()

    def create(self, manifest: Manifest, stamp: Pairs = ()) -> None:
        super().create(manifest, stamp)
        self.changed((manifest.kind, manifest.name), manifest)

    def replace(self, manifest: Manifest, live: LiveObject, stamp: Pairs = ()) -> None:
        super().replace(manifest, live, stamp)
        self.changed((manifest.kind, manifest.name), manifest)
        if self.fights:
            self.by_hand((manifest.kind, manifest.name), "192.0.2.0/24")

    def delete(self, live: LiveObject) -> None:
        super().delete(live)
        assert live.manifest
        self.changed((live.manifest.kind, live.manifest.name), None)

    def nets(self) -> dict[str, list[str]]:
        """What its sets hold, by name."""
        held = dict(self.documents)
        return {
            name: each["spec"].get("nets", [])
            for (kind, name), each in held.items()
            if kind == "GlobalNetworkSet"
        }

    def by_hand(self, key: tuple[str, str], *nets: str) -> None:
        """Another hand writes to an object of ours."""
        document = Manifest.of(self.documents[key]).document() | {"spec": {"nets": list(nets)}}
        self.documents[key] = document
        self.changed(key, ours_of(document))

    def removed_by_hand(self, key: tuple[str, str]) -> None:
        del self.documents[key]
        self.changed(key, None)

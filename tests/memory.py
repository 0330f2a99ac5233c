"""A cluster in memory, the twin of the real ones, and a source's memory that ends with it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sync.calico.manifest import Manifest
from sync.calico.objects import Pairs
from sync.calico.ownership import merged, stamped
from sync.clusters.cluster import (
    ClusterFacts,
    CriticalEndpoints,
    Key,
    LiveObject,
    NotWrittenError,
    OutOfReachError,
    Remaining,
    Workload,
)


class HeldMemory(dict[tuple[str, str], bytes]):
    """What a source was told, for as long as the process lasts."""

    def recall(self, kind: str, name: str) -> bytes | None:
        return self.get((kind, name))

    def remember(self, kind: str, name: str, value: bytes) -> None:
        self[kind, name] = value


@dataclass
class MemoryCluster:
    """A reader and a writer over a mapping of documents by (kind, name).

    `before_write` is called with the object's name ahead of each write, and may raise.
    `writes` are what was written, as (verb, name).
    """

    owner: Pairs
    documents: dict[Key, dict[str, Any]] = field(default_factory=dict)
    before_write: Callable[[str], None] = lambda name: None
    writes: list[tuple[str, str]] = field(default_factory=list)
    pods: Sequence[Workload] = ()
    uid: str = ""

    def writer(self, remaining: Remaining, stopping: Callable[[], bool]) -> "MemoryCluster":
        if remaining() <= 0:
            raise OutOfReachError("the lease could not be renewed in time")
        return self

    def watch(
        self, changed: Any, labelled: Any, missed: Any, stopping: Any, noticed: Any = None
    ) -> None:
        raise NotImplementedError

    def identity(self) -> str:
        return self.uid

    def facts(self, zone_label: str) -> ClusterFacts:
        del zone_label
        return ClusterFacts()

    def lifelines(self) -> CriticalEndpoints:
        return CriticalEndpoints()

    def pods_at(self, addresses: Collection[tuple[int, int]]) -> Sequence[Workload]:
        return [pod for pod in self.pods if not set(addresses).isdisjoint(pod.addresses)]

    def read(self) -> Mapping[Key, LiveObject]:
        return {key: self._live(found) for key, found in self.documents.items()}

    def _live(self, found: dict[str, Any]) -> LiveObject:
        return LiveObject.of(found, self.owner)

    def create(self, manifest: Manifest, stamp: Pairs = ()) -> None:
        self._begin("create", manifest)
        if (manifest.kind, manifest.name) in self.documents:
            raise NotWrittenError("it exists already")
        self.documents[manifest.kind, manifest.name] = stamped(manifest, stamp)

    def replace(self, manifest: Manifest, live: LiveObject, stamp: Pairs = ()) -> None:
        self._begin("replace", manifest)
        if self.documents.get((manifest.kind, manifest.name)) != live.document:
            raise NotWrittenError("it was changed by someone else meanwhile")
        self.documents[manifest.kind, manifest.name] = merged(manifest, live.document, stamp)

    def delete(self, live: LiveObject) -> None:
        assert live.manifest is not None
        self._begin("delete", live.manifest)
        key = (live.manifest.kind, live.manifest.name)
        if self.documents.get(key, live.document) != live.document:
            raise NotWrittenError("it was changed by someone else meanwhile")
        self.documents.pop(key, None)

    def _begin(self, verb: str, manifest: Manifest) -> None:
        self.before_write(manifest.name)
        self.writes.append((verb, manifest.name))

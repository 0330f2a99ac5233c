"""Protocols to read, write and watch a cluster.

A dry run is built without a writer, so it cannot write.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event
from typing import Any, Protocol

from sync.calico.manifest import Manifest
from sync.calico.names import INSTANCE, NAMESPACE_LABEL
from sync.calico.objects import Pairs
from sync.calico.ownership import foreign_because, lost_labels_alone, ours_of
from sync.errors import ClusterError
from sync.net.addresses import AddressSet

Key = tuple[str, str]
"""The kind and the name of an object."""

Remaining = Callable[[], float]
"""Seconds for which the lease surely lasts; a writer asks before each request."""


@dataclass(frozen=True, slots=True)
class LiveObject:
    """One object of one of our kinds as a cluster holds it.

    `manifest` is our part of it, None if the object is foreign; then `foreign_because` is a clause
    that says why. `document` is the whole object: a writer keeps the foreign parts of it.
    `changed_by` names its last writer, "" if that was us or is unknown. An `adoptable` object is
    foreign, and no other installation claims it.
    """

    manifest: Manifest | None
    document: Mapping[str, Any]
    foreign_because: str = ""
    changed_by: str = ""
    adoptable: bool = False

    @classmethod
    def of(
        cls,
        document: Mapping[str, Any],
        owner: Pairs,
        changed_by: str = "",
        ours: Callable[[Mapping[str, Any]], Manifest] = ours_of,
    ) -> "LiveObject":
        """Classify a whole object by its labels; `owner` are those that make it ours.

        `ours` is `ours_of`, or a cached form of it.
        """
        because = foreign_because(document, owner)
        if not because:
            return cls(ours(document), document, "", changed_by)
        claimed = _instance(document)
        if claimed in (None, dict(owner)[INSTANCE]):
            return cls(None, document, because, changed_by, adoptable=True)
        because = f"belongs to another installation ({INSTANCE}: {claimed})"
        return cls(None, document, because, changed_by)

    def recognised(self, owner: Pairs) -> "LiveObject":
        """An object that we wrote, by the trail, as still ours if it only lost labels."""
        if self.manifest is None and lost_labels_alone(self.document, owner):
            return LiveObject(ours_of(self.document), self.document, "", self.changed_by)
        return self

    @property
    def stands(self) -> Manifest | None:
        """The content that a writer may overwrite, in the form in which we write it.

        That is our part or, of an adoptable object, the part that would be ours with our labels;
        without them it never equals an object of ours. None if it must be left alone.
        """
        return ours_of(self.document) if self.adoptable else self.manifest


def _instance(document: Mapping[str, Any]) -> object:
    """The installation that claims an object; foreign content may have any shape."""
    labels = document["metadata"].get("labels")
    return labels.get(INSTANCE) if isinstance(labels, dict) else None


@dataclass(frozen=True, slots=True)
class Selectable:
    """A foreign object with labels and addresses, which selectors can select like a pod.

    `kind` is GlobalNetworkSet, NetworkSet or HostEndpoint; the name of a NetworkSet is
    `namespace/name`. `labels` are its own; `inherited` are its namespace's, where those were read.
    It also inherits the labels of its `profiles`, which are not read. `spec` is a digest of its
    content.
    """

    kind: str
    name: str
    labels: Mapping[str, str]
    inherited: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    spec: str = ""

    @property
    def seen_by_selectors(self) -> dict[str, str]:
        """All of its known labels, as selectors see them."""
        seen = {**self.inherited, **self.labels}
        namespace, _, _ = self.name.rpartition("/")
        return {**seen, NAMESPACE_LABEL: namespace} if namespace else seen


@dataclass(frozen=True, slots=True)
class FelixSettings:
    """The data plane settings of a FelixConfiguration; None where it sets nothing.

    `nftables_mode` is its text, of which Calico knows `Disabled`, `Enabled` and `Auto`.
    """

    nftables_mode: str | None = None
    bpf_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """Other facts of a cluster that affect rules there.

    A part that is unknown, or known only in part, has a reason in its `…_because`: a sentence with
    what to do, "" if the part is known.

    `pod_networks` hold every pod's address; None: they are unknown. `windows_nodes` are names,
    `node_addresses` the addresses of all nodes, both sorted. `foreign_policies` are the namespaced
    policies by their tier, as `NetworkPolicy namespace/name`. `zone_labels` has every value of the
    zone label on pods, with some of these pods, as `namespace/name`. `selectable` are the
    NetworkSets and HostEndpoints, which are never ours. `calico_version` is the text of the
    ClusterInformation, "" if there is none; `felix` are the settings by the name of their
    FelixConfiguration: `default`, `node.<node>`.
    """

    pod_networks: AddressSet | None = None
    pod_networks_because: str = ""
    windows_nodes: tuple[str, ...] = ()
    node_addresses: tuple[str, ...] = ()
    nodes_because: str = ""
    foreign_policies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    foreign_policies_because: str = ""
    zone_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    selectable: tuple[Selectable, ...] = ()
    selectable_because: str = ""
    calico_version: str = ""
    felix: Mapping[str, FelixSettings] = field(default_factory=dict)
    calico_because: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod, which may represent all pods of its controller: `namespace/name`, its addresses as
    (family, number), and every label that selectors see."""

    name: str
    addresses: tuple[tuple[int, int], ...]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CriticalEndpoint:
    """An endpoint that every pod needs: its name, its address as text and as (family, number), the
    protocol number, and the port."""

    name: str
    host: str
    address: tuple[int, int]
    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class CriticalEndpoints:
    """The lifelines of a cluster, and its workloads, those at the end of a lifeline included.

    `missing` has a sentence for each lifeline without endpoints. `unknown_because` is "" or a
    sentence about a missing right, without which nothing is known.
    """

    workloads: tuple[Workload, ...] = ()
    lifelines: tuple[CriticalEndpoint, ...] = ()
    missing: tuple[str, ...] = ()
    unknown_because: str = ""


class ClusterReader(Protocol):
    """Reads a cluster."""

    def identity(self) -> str:
        """The unique identity of this cluster, as it reports it now.

        "" if it has none. `ClusterError` if that cannot be read.
        """

    def read(self) -> Mapping[Key, LiveObject]:
        """Every object of our kinds, foreign ones included; `ClusterError` if that fails."""

    def facts(self, zone_label: str) -> ClusterFacts:
        """Read the other facts; a missing right leaves a part of them unknown.

        `zone_label` is the key of the label that names a pod's zone.

        With many pods this takes far longer than `read`. `ClusterError` if it fails.
        """

    def lifelines(self) -> CriticalEndpoints:
        """The endpoints that its pods need; takes as long as `facts`, `ClusterError` likewise."""

    def pods_at(self, addresses: Collection[tuple[int, int]]) -> Sequence[Workload]:
        """The pods with one of these addresses, as (family, number); as slow as `lifelines`.

        Host-networked pods are not among them.
        """


class ClusterWriter(Protocol):
    """Writes a cluster, one object at a time; any number of threads may share it.

    Each method either completes or raises: `NotWrittenError` if the cluster is surely unchanged,
    any other `ClusterError` if that is unknown. `stamp` are the annotations of this write.
    """

    def create(self, manifest: Manifest, stamp: Pairs = ()) -> None:
        """Write a new object."""

    def replace(self, manifest: Manifest, live: LiveObject, stamp: Pairs = ()) -> None:
        """Overwrite the content `live.stands`, keeping the foreign parts of the object."""

    def delete(self, live: LiveObject) -> None:
        """Delete an object of ours; succeeds if it is already gone."""


Changed = Callable[[Key, Manifest | None], None]
"""Called when an object that carried our labels changes: with what of it is ours now, or None."""

Labelled = Callable[[Key, Selectable | None], None]
"""Called when a foreign object that selectors can select changes; None: it is gone."""


class WatchNotice(StrEnum):
    """What happened to the watch of one kind.

    `BACK`: the server answers again after it did not. `HEARD`: an event or a bookmark arrived.
    `LISTED`: the kind was listed. The others say how a watch ended: after its time, before its
    time, after silence, because the server no longer has its version, by a refusal, or otherwise.
    """

    BACK = "back"
    HEARD = "heard"
    LISTED = "listed"
    LASTED = "lasted"
    SHORT = "short"
    SILENT = "silent"
    GONE = "gone"
    REFUSED = "refused"
    BROKEN = "broken"


Noticed = Callable[[str, WatchNotice], None]
"""Called when the watch of a kind changes its state."""


def ignore_notice(kind: str, notice: WatchNotice) -> None:
    """Ignore notices of watches."""
    del kind, notice


class ClusterWatcher(Protocol):
    """Watches a cluster for changes to our objects, and to foreign objects beside them."""

    def watch(
        self,
        changed: Changed,
        labelled: Labelled,
        missed: Callable[[], None],
        stopping: Event,
        noticed: Noticed = ignore_notice,
    ) -> None:
        """Watch in threads of its own until `stopping` is set; returns immediately.

        `changed` receives our own writes too. `labelled` receives foreign sets and host endpoints.
        `missed` is called when the watch begins, and whenever changes may have gone unseen: then
        the cluster must be read. `noticed` receives the state of the watch itself.
        """


class FileIndex(Protocol):
    """Keeps a list of our files in a directory, for the tool that applies them."""

    def warnings(self, ours: Iterable[Key]) -> Sequence[str]:
        """Say that the list cannot be kept, or differs from `ours`; raises `ClusterError`."""

    def keep(self, ours: Iterable[Key], remaining: Remaining) -> None:
        """Write the list if it changed, while the lease lasts; raises `ClusterError`."""


@dataclass(frozen=True, slots=True)
class EventText:
    """The content of an Event: a reason in CamelCase, a note, and whether it is a warning."""

    reason: str
    note: str
    warning: bool


class EventRecorder(Protocol):
    """Writes Kubernetes Events to a cluster; for one thread at a time.

    Both methods raise `ClusterError`.
    """

    def tier(self, name: str) -> Mapping[str, str] | None:
        """A tier as an Event refers to it; None if it does not exist."""

    def record(self, regarding: Mapping[str, str], said: EventText) -> bool:
        """Write an Event or count it again; False if the object had too many Events."""


class NotWrittenError(ClusterError):
    """A write was refused or failed, and the cluster holds what it held before."""


class NotBegunError(NotWrittenError):
    """A write was not begun, since the process was asked to stop before its turn."""


class OutOfReachError(NotWrittenError):
    """The server was unreachable, for this write or an earlier one."""

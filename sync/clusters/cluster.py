"""What the cycle needs of a cluster: Protocols to read, write and watch it.

A dry run is built without a writer, so there is nothing in it that could write.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
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
"""For how many seconds no one else may write this cluster; a writer asks before each request."""


@dataclass(frozen=True, slots=True)
class LiveObject:
    """One object of one of our kinds as a cluster holds it.

    `manifest` is what of it is ours, None if the object is foreign; then `foreign_because` is a
    clause that says why. `document` is the whole, which a writer needs to keep what is foreign.
    `changed_by` is who else wrote it last, "" where that was us or is unknown. `adoptable` is
    a foreign object that no other installation claims.
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
        """A whole object by its labels; `owner` are those that make it ours.

        `ours` is `ours_of`, or knows what that said before.
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
        """One that we wrote, by the trail, as ours still if labels were only taken off it."""
        if self.manifest is None and lost_labels_alone(self.document, owner):
            return LiveObject(ours_of(self.document), self.document, "", self.changed_by)
        return self

    @property
    def stands(self) -> Manifest | None:
        """What a writer may write over, in the form in which we write it.

        That is what is ours or, of an adoptable object, what would be if it carried our labels:
        since it does not, it never equals anything of ours. None if it must be left alone.
        """
        return ours_of(self.document) if self.adoptable else self.manifest


def _instance(document: Mapping[str, Any]) -> object:
    """The installation that claims an object; what others wrote may have any shape."""
    labels = document["metadata"].get("labels")
    return labels.get(INSTANCE) if isinstance(labels, dict) else None


@dataclass(frozen=True, slots=True)
class Selectable:
    """An object of others that has labels and addresses, so that selectors select it like a pod.

    `kind` is GlobalNetworkSet, NetworkSet or HostEndpoint; the name of a NetworkSet is
    `namespace/name`. `labels` are its own; `inherited` are its namespace's, where that was asked.
    `profiles` have labels that it inherits too and that are not read. `spec` is a digest of what it
    holds.
    """

    kind: str
    name: str
    labels: Mapping[str, str]
    inherited: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    spec: str = ""

    @property
    def seen_by_selectors(self) -> dict[str, str]:
        """All labels that are known of it, as selectors see them."""
        seen = {**self.inherited, **self.labels}
        namespace, _, _ = self.name.rpartition("/")
        return {**seen, NAMESPACE_LABEL: namespace} if namespace else seen


@dataclass(frozen=True, slots=True)
class FelixSettings:
    """What a FelixConfiguration says of the data plane, None where it says nothing.

    `nftables_mode` is its text, of which Calico knows `Disabled`, `Enabled` and `Auto`.
    """

    nftables_mode: str | None = None
    bpf_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What else of a cluster decides what becomes of rules there.

    Each part that is not known, or not wholly, says why in its `…_because`: a sentence with what
    to do, "" where it is known.

    `pod_networks` hold every pod's address, None where that is not known. `windows_nodes` are
    names, `node_addresses` what their nodes are reached at, both sorted. `foreign_policies` are
    the namespaced policies by the tier in which they stand, as `NetworkPolicy namespace/name`.
    `zone_labels` has every value that the zone label has on a pod, with some of these pods, as
    `namespace/name`. `selectable` are the NetworkSets and HostEndpoints, none of which can be ours.
    `calico_version` is the text of the ClusterInformation, "" where there is none; `felix` are the
    settings by the name of their FelixConfiguration: `default`, `node.<node>`.
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
    """A pod, which may stand for all of its controller's: `namespace/name`, its addresses as
    (family, number), and every label that selectors see."""

    name: str
    addresses: tuple[tuple[int, int], ...]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CriticalEndpoint:
    """Something that every pod needs: what it is, its address as text and as (family, number), the
    number of the protocol, and the port."""

    name: str
    host: str
    address: tuple[int, int]
    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class CriticalEndpoints:
    """The lifelines of a cluster, and its workloads, those at the end of a lifeline included.

    `missing` has a sentence for each lifeline that is nowhere to be found. `unknown_because` is ""
    or a sentence: a right is missing, and nothing is known.
    """

    workloads: tuple[Workload, ...] = ()
    lifelines: tuple[CriticalEndpoint, ...] = ()
    missing: tuple[str, ...] = ()
    unknown_because: str = ""


class ClusterReader(Protocol):
    """Reads a cluster."""

    def identity(self) -> str:
        """The identity of this cluster among all, as the cluster itself reports it now.

        "" where nothing does. `ClusterError` if that cannot be read.
        """

    def read(self) -> Mapping[Key, LiveObject]:
        """Every object of our kinds, foreign ones included; `ClusterError` if that fails."""

    def facts(self, zone_label: str) -> ClusterFacts:
        """What else there is to know; a right that is missing leaves a part of it unknown.

        `zone_label` is the key of the label that names a pod's zone.

        It takes far longer than `read` where there are many pods. `ClusterError` if it fails.
        """

    def lifelines(self) -> CriticalEndpoints:
        """What its pods cannot do without; it takes as long as `facts`, `ClusterError` likewise."""

    def pods_at(self, addresses: Collection[tuple[int, int]]) -> Sequence[Workload]:
        """The pods that have one of these addresses, as (family, number); as `lifelines`.

        A pod that has its node's address is none of them.
        """


class ClusterWriter(Protocol):
    """Writes a cluster, one object at a time; any number of threads may share it.

    Each method either did all of it or raises: `NotWrittenError` if the cluster surely stayed as
    it was, any other `ClusterError` if that is unknown. `stamp` are the annotations of this write.
    """

    def create(self, manifest: Manifest, stamp: Pairs = ()) -> None:
        """Write a new object."""

    def replace(self, manifest: Manifest, live: LiveObject, stamp: Pairs = ()) -> None:
        """Write over what of `live` `stands`, keeping what is foreign on it."""

    def delete(self, live: LiveObject) -> None:
        """Remove an object of ours; one that is gone already is done."""


Changed = Callable[[Key, Manifest | None], None]
"""Called when an object that carried our labels changes: with what of it is ours now, or None."""

Labelled = Callable[[Key, Selectable | None], None]
"""Called when a foreign object that selectors can select changes; None: it is gone."""


class WatchNotice(StrEnum):
    """What becomes of the watch of one kind.

    `BACK`: the server answers again after it did not. `HEARD`: an event or a bookmark
    came. `LISTED`: the kind was listed. The others say how a watch ended: after its time, before
    it, with nothing heard for too long, since the server has forgotten its version, by a refusal,
    or in any other way.
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
    """Take no notice of watches."""
    del kind, notice


class ClusterWatcher(Protocol):
    """Watches a cluster for what others do to our objects, and put beside them."""

    def watch(
        self,
        changed: Changed,
        labelled: Labelled,
        missed: Callable[[], None],
        stopping: Event,
        noticed: Noticed = ignore_notice,
    ) -> None:
        """Watch until `stopping` is set, from threads of its own; returns at once.

        `changed` receives our own writes too. `labelled` receives foreign sets and host endpoints.
        `missed` is called when the watch begins, and whenever changes may have gone unseen: then
        the cluster must be read. `noticed` receives the state of the watch itself.
        """


@dataclass(frozen=True, slots=True)
class EventText:
    """What an Event says: a reason in CamelCase, a note, and whether it is a warning."""

    reason: str
    note: str
    warning: bool


class EventRecorder(Protocol):
    """Writes Kubernetes Events to a cluster; for one thread at a time.

    Both methods raise `ClusterError`.
    """

    def tier(self, name: str) -> Mapping[str, str] | None:
        """A tier as an Event refers to it; None: there is none."""

    def record(self, regarding: Mapping[str, str], said: EventText) -> bool:
        """Write an Event, or that it happened again; False: there were too many of the object."""


class NotWrittenError(ClusterError):
    """A write was refused or failed, and the cluster holds what it held before."""


class NotBegunError(NotWrittenError):
    """A write was not begun, since the process was asked to end before its turn came."""


class OutOfReachError(NotWrittenError):
    """The server was out of reach, for this write or for one before it."""

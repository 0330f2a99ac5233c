"""A cluster in memory: its objects are given, and everything else is unknown."""

from collections.abc import Collection, Mapping, Sequence

from sync.calico.manifest import Manifest
from sync.clusters.cluster import ClusterFacts, CriticalEndpoints, Key, LiveObject, Workload

_BECAUSE = "the cluster was not asked"


class GivenReader:
    """Reads given manifests by (kind, name), as if a cluster held them unchanged."""

    def __init__(self, manifests: Mapping[Key, Manifest]) -> None:
        self._manifests = manifests

    def read(self) -> Mapping[Key, LiveObject]:
        return {key: LiveObject(each, each.document()) for key, each in self._manifests.items()}

    def identity(self) -> str:
        """None."""
        return ""

    def facts(self, zone_label: str) -> ClusterFacts:
        """Pods and nodes are unknown, and there are no foreign objects."""
        del zone_label
        return ClusterFacts(pod_networks_because=_BECAUSE, nodes_because=_BECAUSE)

    def lifelines(self) -> CriticalEndpoints:
        """None, so no pod can be said to lose one."""
        return CriticalEndpoints()

    def pods_at(self, addresses: Collection[tuple[int, int]]) -> Sequence[Workload]:
        """None are known."""
        del addresses
        return ()

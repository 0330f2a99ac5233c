"""Read the facts of a Kubernetes cluster: pods, IPPools, nodes, foreign policies, and its version
of Calico.

Only the needed parts of each object are kept: a cluster's pods are never all in memory.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from sync.calico.objects import API_VERSION
from sync.clusters.cluster import ClusterFacts, FelixSettings
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ForbiddenError, NotFoundError
from sync.net.addresses import AddressSet, address, network
from sync.redaction import redact

_Found = TypeVar("_Found")

_NAMESPACED: Final = {
    "NetworkPolicy": "networkpolicies",
    "StagedNetworkPolicy": "stagednetworkpolicies",
}

# A pod that has ended no longer has its address.
_ENDED: Final = ("Succeeded", "Failed")
RUNNING: Final = ",".join(f"status.phase!={phase}" for phase in _ENDED)
"""A field selector: the pods that have an address."""

_EXAMPLES: Final = 3  # pods that are named, at most

_DEFAULT_TIER: Final = "default"  # of a policy that names none


class _UnknownError(Exception):
    """A fact that is unknown; the message says why and what to do."""


def read_facts(api: Api, zone_label: str, *, page: int) -> ClusterFacts:
    """Read the facts in pages of `page` objects. `ApiError` for anything but a missing right."""
    pools, networks_because = _known(partial(_pools, api, page))
    pods, pods_because = _known(partial(_pods, api, page, pools, zone_label))
    outside, zone_labels = pods or ([], {})
    if outside:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        networks_because = (
            # Plans and reports hold this text.
            f"cluster {api.name} has pods with addresses outside its "  # words kept
            f"IPPools ({outside[0]}{more}), "
            "so its IPPools do not cover all pods' addresses; give its pod_cidrs"
        )
    networks_because = networks_because or pods_because
    nodes, nodes_because = _known(partial(_nodes, api, page))
    windows, addresses = nodes or ((), ())
    calico, calico_because = _known(partial(_calico, api, page))
    version, felix = calico or ("", {})
    policies: defaultdict[str, list[str]] = defaultdict(list)
    reasons = []
    for kind in _NAMESPACED:
        found, because = _known(partial(_policies, api, page, kind))
        reasons += [because] if because else []
        for tier, name in found or ():
            policies[tier].append(name)
    return ClusterFacts(
        pod_networks=None if networks_because else pools,
        pod_networks_because=networks_because,
        zone_labels={value: tuple(names) for value, names in sorted(zone_labels.items())},
        windows_nodes=windows,
        node_addresses=addresses,
        nodes_because=nodes_because,
        foreign_policies={tier: tuple(sorted(names)) for tier, names in sorted(policies.items())},
        foreign_policies_because="; ".join(reasons),
        calico_version=version,
        felix=felix,
        calico_because=calico_because,
    )


def _known(read: Callable[[], _Found]) -> tuple[_Found | None, str]:
    """The result of a read, or why it is unknown."""
    try:
        return read(), ""
    except (_UnknownError, ForbiddenError, NotFoundError) as error:
        return None, str(error)


def _pools(api: Api, page: int) -> AddressSet:
    """All IPPools, disabled ones too: these keep their pods."""
    found = api.collected(f"/apis/{API_VERSION}/ippools", "IPPool", _pool, page=page)
    if not found:
        raise _UnknownError(
            f"cluster {api.name} has no IPPools, so its pods' addresses are unknown; "
            "give its pod_cidrs"
        )
    return AddressSet.union(found)


def _pods(
    api: Api, page: int, pools: AddressSet | None, zone_label: str
) -> tuple[list[str], dict[str, list[str]]]:
    """The pods with an address outside the pools, and some pods for each value of the zone label.

    If pods of a new pool are read before the pool, the answer is unknown, never wrong.
    """
    labelled: dict[str, list[str]] = {}

    def note(pod: Mapping[str, Any]) -> Iterator[str]:
        metadata = pod["metadata"]
        value = (metadata.get("labels") or {}).get(zone_label)
        # No policy of ours selects a host-networked pod.
        if value is not None and not pod["spec"].get("hostNetwork"):
            some = labelled.setdefault(value, [])
            name = f"{metadata['namespace']}/{metadata['name']}"
            # A list that is restarted reports pods twice.
            if len(some) < _EXAMPLES and name not in some:
                some.append(name)
        return _outside(pod, pools) if pools else iter(())

    outside = api.collected("/api/v1/pods", "Pod", note, page=page, selector=RUNNING)
    return outside, labelled


def _pool(document: Mapping[str, Any]) -> Iterator[AddressSet]:
    cidr = document["spec"]["cidr"]
    try:
        yield network(cidr)
    except ValueError as error:
        raise _UnknownError(
            f"the IPPool {document['metadata']['name']} has no CIDR that can be read "
            f"({redact(error)}); give the cluster's pod_cidrs"
        ) from error


def _outside(pod: Mapping[str, Any], pools: AddressSet) -> Iterator[str]:
    """The addresses of a pod that lie in no pool; a host-networked pod has none of its own."""
    status = pod.get("status") or {}
    if pod["spec"].get("hostNetwork") or status.get("phase") in _ENDED:
        return
    for each in status.get("podIPs") or ():
        if not _holds(pools, each["ip"]):
            yield f"{pod['metadata']['namespace']}/{pod['metadata']['name']}: {each['ip']}"


def _holds(pools: AddressSet, text: str) -> bool:
    """Whether an address is in a pool; an unreadable one is in none."""
    try:
        family, number = address(text)
    except ValueError:
        return False
    # An odd number of boundaries before it: it is inside.
    return bisect_right(pools.v4 if family == 4 else pools.v6, number) % 2 == 1


def _nodes(api: Api, page: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of Windows nodes, and all nodes' addresses."""
    found = api.collected("/api/v1/nodes", "Node", _node, page=page)
    windows = {name for name, is_windows, _ in found if is_windows}
    addresses = {each for _, _, addresses in found for each in addresses}
    return tuple(sorted(windows)), tuple(sorted(addresses))


def _node(document: Mapping[str, Any]) -> Iterator[tuple[str, bool, tuple[str, ...]]]:
    metadata, status = document["metadata"], document.get("status") or {}
    systems = (
        (metadata.get("labels") or {}).get("kubernetes.io/os"),
        # Labels can be edited; this is what the kubelet reports.
        (status.get("nodeInfo") or {}).get("operatingSystem"),
    )
    addresses = tuple(
        each["address"]
        for each in status.get("addresses") or ()
        if each["type"] in ("InternalIP", "ExternalIP")
    )
    yield metadata["name"], "windows" in systems, addresses


def _policies(api: Api, page: int, kind: str) -> list[tuple[str, str]]:
    """The namespaced policies of a kind, each with its tier.

    The tier is the spec's: the label that Calico puts beside it may be missing on old ones.
    """

    def policy(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        metadata = document["metadata"]
        tier = (document.get("spec") or {}).get("tier") or _DEFAULT_TIER
        yield tier, f"{kind} {metadata['namespace']}/{metadata['name']}"

    return api.collected(f"/apis/{API_VERSION}/{_NAMESPACED[kind]}", kind, policy, page=page)


def _calico(api: Api, page: int) -> tuple[str, dict[str, FelixSettings]]:
    """The version of Calico, and the data plane settings of each FelixConfiguration.

    Environment variables of the calico-node pods override these, and are not read.
    """
    group = f"/apis/{API_VERSION}"
    versions = api.collected(
        f"{group}/clusterinformations", "ClusterInformation", _version, page=page
    )
    felix = api.collected(f"{group}/felixconfigurations", "FelixConfiguration", _felix, page=page)
    return next(iter(versions), ""), dict(sorted(felix))


def _version(document: Mapping[str, Any]) -> Iterator[str]:
    # Calico knows one of this name, and makes no other.
    if document["metadata"]["name"] == "default":
        yield str((document.get("spec") or {}).get("calicoVersion") or "")


def _felix(document: Mapping[str, Any]) -> Iterator[tuple[str, FelixSettings]]:
    spec = document.get("spec") or {}
    mode, bpf = spec.get("nftablesMode"), spec.get("bpfEnabled")
    settings = FelixSettings(str(mode) if mode else None, None if bpf is None else bpf is True)
    yield document["metadata"]["name"], settings

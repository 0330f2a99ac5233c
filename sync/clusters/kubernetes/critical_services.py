"""The endpoints that the pods of a cluster need (DNS, the API server), and its workloads.

Selectors see more labels of a pod than its own: those of its namespace and service account, with
prefixes (`libcalico-go/lib/backend/k8s/conversion`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from sync.clusters.cluster import CriticalEndpoint, CriticalEndpoints, Workload
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ForbiddenError
from sync.clusters.kubernetes.inventory import RUNNING
from sync.net.addresses import address

_SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
_SERVICE: Final = "kubernetes.io/service-name"
_PROTOCOLS: Final = {"TCP": 6, "UDP": 17, "SCTP": 132}

_DNS: Final = "cluster DNS"
_API: Final = "the API server"


class _Where(NamedTuple):
    """Where the endpoints of a lifeline are listed: a label that their slices share with their
    service, and the prefix of their ports' names."""

    lifeline: str
    namespace: str
    label: str
    value: str
    port: str


# Distributions name the service of their DNS differently, but all label it the same way.
_WHERE: Final = (
    _Where(_DNS, "kube-system", "k8s-app", "kube-dns", "dns"),
    _Where(_DNS, "kube-system", _SERVICE, "kube-dns", "dns"),
    _Where(_DNS, "openshift-dns", _SERVICE, "dns-default", "dns"),
    _Where(_API, "default", _SERVICE, "kubernetes", "https"),
)


def read_lifelines(api: Api, *, page: int) -> CriticalEndpoints:
    """The lifelines and one pod of each workload, read in pages of `page` objects.

    `ApiError` for anything but a missing right.
    """
    try:
        return _read(api, page)
    except ForbiddenError as error:
        return CriticalEndpoints(unknown_because=str(error))


def _read(api: Api, page: int) -> CriticalEndpoints:
    # Two labels may lead to one slice.
    lifelines = dict.fromkeys(
        lifeline
        for namespace in dict.fromkeys(where.namespace for where in _WHERE)
        for lifeline in api.collected(
            _SLICES.format(namespace=namespace),
            "EndpointSlice",
            partial(_lifelines, [each for each in _WHERE if each.namespace == namespace]),
            page=page,
        )
    )
    namespaces = dict(api.collected("/api/v1/namespaces", "Namespace", labelled, page=page))
    accounts = dict(api.collected("/api/v1/serviceaccounts", "ServiceAccount", labelled, page=page))
    wanted = {each.address for each in lifelines}
    workloads: dict[tuple[str, str], Workload] = {}

    def note(pod: Mapping[str, Any]) -> tuple[()]:
        """Keep one pod of each workload, and all pods that serve a lifeline.

        A list that is restarted reports pods twice.
        """
        metadata, spec = pod["metadata"], pod["spec"]
        addresses = _addresses(pod)
        if addresses:
            owners = metadata.get("ownerReferences") or []
            alone = not owners or not wanted.isdisjoint(addresses)
            key = (metadata["namespace"], metadata["name"] if alone else owners[0]["uid"])
            if key not in workloads:
                name = f"{metadata['namespace']}/{metadata['name']}"
                labels = _seen_by_selectors(metadata, spec, namespaces, accounts)
                workloads[key] = Workload(name, addresses, labels)
        return ()

    api.collected("/api/v1/pods", "Pod", note, page=page, selector=RUNNING)
    return CriticalEndpoints(
        tuple(workloads.values()), tuple(lifelines), tuple(_missing(api.name, lifelines))
    )


def read_pods_at(
    api: Api, wanted: Collection[tuple[int, int]], *, page: int
) -> tuple[Workload, ...]:
    """The pods with one of these addresses, read in pages of `page` objects. `ApiError`."""

    asked = frozenset(wanted)

    def note(pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if not asked.isdisjoint(_addresses(pod)):
            yield pod["metadata"]["uid"], pod

    # A field selector only sees the first address of a pod.
    pods = dict(api.collected("/api/v1/pods", "Pod", note, page=page, selector=RUNNING))
    if not pods:
        return ()
    namespaces = dict(api.collected("/api/v1/namespaces", "Namespace", labelled, page=page))
    accounts = dict(api.collected("/api/v1/serviceaccounts", "ServiceAccount", labelled, page=page))
    return tuple(
        Workload(
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}",
            _addresses(pod),
            _seen_by_selectors(pod["metadata"], pod["spec"], namespaces, accounts),
        )
        for pod in pods.values()
    )


def _addresses(pod: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    """A pod's own addresses: none if they are its node's."""
    if pod["spec"].get("hostNetwork"):
        return ()
    found = (pod.get("status") or {}).get("podIPs") or ()
    return tuple(address(each["ip"]) for each in found)


def _missing(cluster: str, lifelines: Iterable[CriticalEndpoint]) -> Iterator[str]:
    found = {each.name for each in lifelines}
    for name in dict.fromkeys(where.lifeline for where in _WHERE):
        if name not in found:
            looked = " or ".join(
                f"{where.label}={where.value} in {where.namespace}"
                for where in _WHERE
                if where.lifeline == name
            )
            yield f"cluster {cluster} has no EndpointSlices of {name} ({looked})"


def _lifelines(places: Sequence[_Where], slice_: Mapping[str, Any]) -> Iterator[CriticalEndpoint]:
    labels = slice_["metadata"].get("labels") or {}
    if slice_["addressType"] == "FQDN":
        return
    for where in places:
        if labels.get(where.label) != where.value:
            continue
        for port in slice_.get("ports") or ():
            # A port without a number means all ports.
            if not (port.get("name") or "").startswith(where.port) or not port.get("port"):
                continue
            for endpoint in slice_.get("endpoints") or ():
                for host in endpoint["addresses"]:
                    protocol = _PROTOCOLS[port.get("protocol") or "TCP"]
                    yield CriticalEndpoint(
                        where.lifeline, host, address(host), protocol, port["port"]
                    )


def labelled(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """An object's namespace ("" if it has none) and name, with its labels."""
    metadata = document["metadata"]
    yield (metadata.get("namespace") or "", metadata["name"]), metadata.get("labels") or {}


def _seen_by_selectors(
    metadata: Mapping[str, Any],
    spec: Mapping[str, Any],
    namespaces: Mapping[tuple[str, str], Mapping[str, str]],
    accounts: Mapping[tuple[str, str], Mapping[str, str]],
) -> dict[str, str]:
    """All labels of a pod that selectors see; its own override its namespace's."""
    namespace = metadata["namespace"]
    account = spec.get("serviceAccountName") or "default"
    inherited = {
        **namespace_labels(namespace, namespaces),
        "pcsa.projectcalico.org/name": account,
        **_prefixed("pcsa.", accounts.get((namespace, account), {})),
    }
    return {
        **inherited,
        **(metadata.get("labels") or {}),
        "projectcalico.org/namespace": namespace,
        "projectcalico.org/serviceaccount": account,
        "projectcalico.org/orchestrator": "k8s",
    }


def namespace_labels(
    namespace: str, namespaces: Mapping[tuple[str, str], Mapping[str, str]]
) -> dict[str, str]:
    """The labels that objects inherit from a namespace; `namespaces` has the labels of each."""
    labels = namespaces.get(("", namespace), {})
    return {"pcns.projectcalico.org/name": namespace, **_prefixed("pcns.", labels)}


def _prefixed(prefix: str, labels: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}{key}": value for key, value in labels.items()}

"""What the pods of a cluster cannot do without, and who its pods are: DNS and the API server.

Selectors see more labels of a pod than its own: those of its namespace and service account, with
prefixes (`libcalico-go/lib/backend/k8s/conversion`).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from sync.clusters.api import Api, ApiError
from sync.clusters.cluster import Lifeline, Lifelines, Workload
from sync.clusters.facts import RUNNING
from sync.net.addresses import address

_SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
_SERVICE: Final = "kubernetes.io/service-name"
_PROTOCOLS: Final = {"TCP": 6, "UDP": 17, "SCTP": 132}

# What it is for people, its namespace, the service, and how the names of its ports begin.
_SERVICES: Final = (
    ("cluster DNS", "kube-system", "kube-dns", "dns"),
    ("cluster DNS", "openshift-dns", "dns-default", "dns"),
    ("the API server", "default", "kubernetes", "https"),
)


def read_lifelines(api: Api, *, page: int) -> Lifelines:
    """The lifelines and one pod of each workload, read in pages of `page` objects.

    `ApiError` for anything but a missing right.
    """
    try:
        return _read(api, page)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return Lifelines((), (), str(error))


def _read(api: Api, page: int) -> Lifelines:
    lifelines = [
        lifeline
        for name, namespace, service, port in _SERVICES
        for lifeline in api.collected(
            _SLICES.format(namespace=namespace),
            partial(_lifelines, name, service, port),
            page=page,
        )
    ]
    namespaces = dict(api.collected("/api/v1/namespaces", _labelled, page=page))
    accounts = dict(api.collected("/api/v1/serviceaccounts", _labelled, page=page))
    wanted = {each.address for each in lifelines}
    workloads: dict[tuple[str, str], Workload] = {}

    def note(pod: Mapping[str, Any]) -> tuple[()]:
        """Keep one pod of each workload, and all that are at the end of a lifeline.

        A list that has to be begun anew tells of pods twice.
        """
        metadata, spec = pod["metadata"], pod["spec"]
        found = (pod.get("status") or {}).get("podIPs") or ()
        addresses = tuple(address(each["ip"]) for each in found)
        if addresses and not spec.get("hostNetwork"):
            owners = metadata.get("ownerReferences") or []
            alone = not owners or not wanted.isdisjoint(addresses)
            key = (metadata["namespace"], metadata["name"] if alone else owners[0]["uid"])
            if key not in workloads:
                name = f"{metadata['namespace']}/{metadata['name']}"
                labels = _seen_by_selectors(metadata, spec, namespaces, accounts)
                workloads[key] = Workload(name, addresses, labels)
        return ()

    api.collected("/api/v1/pods", note, page=page, selector=RUNNING)
    return Lifelines(tuple(workloads.values()), tuple(lifelines))


def _lifelines(
    name: str, service: str, port_name: str, slice_: Mapping[str, Any]
) -> Iterator[Lifeline]:
    labels = slice_["metadata"].get("labels") or {}
    if labels.get(_SERVICE) != service or slice_["addressType"] == "FQDN":
        return
    for port in slice_.get("ports") or ():
        # A port without a number stands for all of them.
        if not (port.get("name") or "").startswith(port_name) or not port.get("port"):
            continue
        for endpoint in slice_.get("endpoints") or ():
            for host in endpoint["addresses"]:
                protocol = _PROTOCOLS[port.get("protocol") or "TCP"]
                yield Lifeline(name, host, address(host), protocol, port["port"])


def _labelled(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    metadata = document["metadata"]
    yield (metadata.get("namespace") or "", metadata["name"]), metadata.get("labels") or {}


def _seen_by_selectors(
    metadata: Mapping[str, Any],
    spec: Mapping[str, Any],
    namespaces: Mapping[tuple[str, str], Mapping[str, str]],
    accounts: Mapping[tuple[str, str], Mapping[str, str]],
) -> dict[str, str]:
    """All labels of a pod that selectors see; its own go before its namespace's."""
    namespace = metadata["namespace"]
    account = spec.get("serviceAccountName") or "default"
    inherited = {
        "pcns.projectcalico.org/name": namespace,
        **_prefixed("pcns.", namespaces.get(("", namespace), {})),
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


def _prefixed(prefix: str, labels: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}{key}": value for key, value in labels.items()}

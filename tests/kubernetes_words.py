"""Words for tests against a real cluster: its parts as the program has them."""

from collections.abc import Callable
from typing import Any

from sync.calico.manifest import Manifest
from sync.calico.objects import GlobalNetworkSet, Pairs
from sync.calico.ownership import owner_labels
from sync.clusters.kubernetes.auth.kubeconfig import Access, connect
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.reader import KubernetesReader
from sync.clusters.kubernetes.rights import Grantee, rights
from sync.clusters.kubernetes.writer import KubernetesWriter
from tests.kubernetes_cluster import GROUP, ControlPlane

OWNER = owner_labels("test", "6d8cb53a-9f5f-4b4a-8c47-7d4c6a4d6f0e")
SETS = f"/apis/{GROUP}/v3/globalnetworksets"


def access(plane: ControlPlane, **changes: Any) -> Access:
    """How the configuration reaches the cluster, as the administrator unless it says otherwise."""
    from datetime import timedelta

    given = {
        "cluster": "prod",
        "kubeconfig": plane.kubeconfig(),
        "context": None,
        "exec_plugins": (),
        "exec_timeout": timedelta(seconds=10),
        "insecure_skip_tls_verify": False,
    }
    return Access(**{**given, **changes})


def api(plane: ControlPlane, sleep: Callable[[float], None] | None = None, **changes: Any) -> Api:
    found = access(plane, **changes)
    options: dict[str, Any] = {"sleep": sleep} if sleep else {}
    return Api(found.cluster, lambda: connect(found), **options)


def reader(api: Api, owner: Pairs = OWNER) -> KubernetesReader:
    return KubernetesReader(api, owner)


def writer(
    api: Api, owner: Pairs = OWNER, remaining: float = 60, seconds: float = 10
) -> KubernetesWriter:
    return KubernetesWriter(api, owner, remaining=lambda: remaining, seconds=seconds)


def made(name: str, *nets: str, owner: Pairs = OWNER) -> Manifest:
    return GlobalNetworkSet(name=name, labels=owner, annotations=(), nets=nets).manifest()


def grantee(**changes: Any) -> Grantee:
    """Whom `zonebridge rbac` speaks of where a configuration says nothing else."""
    given = {
        "namespace": "zonebridge",
        "account": "zonebridge",
        "instance": "zonebridge",
        "tiers": ("firewallpolicy",),
        "zone_label": "firewall.tigera.io/zone",
    }
    return Grantee(**{**given, **changes})


def rights_by_kind(grantee: Grantee) -> dict[str, Any]:
    """The account, its role and their binding."""
    return {document["kind"]: document for document in rights(grantee)}


def sets(plane: ControlPlane) -> dict[str, Any]:
    """Every network set of a cluster by name."""
    return {each["metadata"]["name"]: each for each in plane.request("GET", SETS)["items"]}


def nets(plane: ControlPlane) -> dict[str, list[str]]:
    """What every network set of a cluster holds."""
    return {name: each["spec"].get("nets", []) for name, each in sets(plane).items()}


def policies(plane: ControlPlane) -> dict[str, str]:
    """The global policies of a cluster, staged or not, by name: their kinds."""
    found = [
        plane.request("GET", f"/apis/{GROUP}/v3/{plural}")["items"]
        for plural in ("globalnetworkpolicies", "stagedglobalnetworkpolicies")
    ]
    return {each["metadata"]["name"]: each["kind"] for items in found for each in items}


def edit(
    plane: ControlPlane, name: str, patch: dict[str, Any], manager: str = "kubectl-edit"
) -> None:
    """What another hand does to a set."""
    plane.request("PATCH", f"{SETS}/{name}?fieldManager={manager}", patch)


def remove(plane: ControlPlane, name: str) -> None:
    """What another hand does away with."""
    plane.request("DELETE", f"{SETS}/{name}")


def put(plane: ControlPlane, name: str, *nets: str) -> None:
    """A set that another hand makes."""
    document = made(name, *nets, owner=()).document()
    plane.request("POST", f"{SETS}?fieldManager=kubectl-create", document)

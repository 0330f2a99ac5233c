"""What is made of what a cluster tells, and how much of it is held at a time."""

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from sync.clusters.cluster import ClusterFacts, FelixSettings
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ApiError, error_of
from sync.clusters.kubernetes.inventory import read_facts
from sync.clusters.kubernetes.reader import KubernetesReader
from sync.clusters.kubernetes.selectable import read_selectable
from sync.clusters.manifests import ManifestsReader
from sync.errors import ClusterError
from sync.net.addresses import network
from tests.told import Answer, Told, begun_anew

POOLS = "/apis/projectcalico.org/v3/ippools"
PODS = "/api/v1/pods"
NODES = "/api/v1/nodes"
LABEL = "firewall.tigera.io/zone"


def pool(cidr: Any) -> dict[str, Any]:
    return {"metadata": {"name": "pool"}, "spec": {"cidr": cidr}}


def pod(number: int) -> dict[str, Any]:
    ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return {
        "metadata": {"name": f"web-{number}", "namespace": "default", "padding": "x" * 2_000},
        "spec": {},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}]},
    }


def node(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **fields}


def facts(api: Api) -> ClusterFacts:
    return read_facts(api, LABEL, page=500)


def endless(total: int, largest: list[int]) -> Answer:
    """Pods in the pages that are asked for, each made when it is."""

    def answer(query: dict[str, Any]) -> dict[str, Any]:
        start = int(query.get("continue", 0))
        end = min(start + query["limit"], total)
        largest.append(end - start)
        return {
            "items": [pod(number) for number in range(start, end)],
            "metadata": {"continue": str(end) if end < total else ""},
        }

    return answer


def test_pods_are_never_held_together() -> None:
    def peak(pods: int) -> int:
        pages: list[int] = []
        api = Told(ippools=[pool("10.0.0.0/8")], pods=endless(pods, pages))
        gc.collect()
        tracemalloc.start()
        try:
            assert facts(api).pod_networks == network("10.0.0.0/8")
            assert (max(pages), sum(pages)) == (500, pods)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1_000)
    assert peak(3_000) < peak(1_000) * 1.2


def test_a_list_whose_moment_is_forgotten_is_read_anew() -> None:
    system = {"nodeInfo": {"operatingSystem": "windows"}}
    asked: list[str] = []
    nodes = begun_anew([node("a", status=system)], [node("b", status=system)], asked)
    assert facts(Told(nodes=nodes)).windows_nodes == ("a", "b")
    assert asked == ["", "more", "", "more"]


def test_a_list_that_is_forgotten_every_time_is_an_error() -> None:
    def gone(query: dict[str, Any]) -> dict[str, Any]:
        raise error_of(410, "gone")

    with pytest.raises(ApiError, match="gone"):
        facts(Told(nodes=gone))


@pytest.mark.parametrize(
    ("told", "windows"),
    [
        ({"metadata": {"name": "a", "labels": {"kubernetes.io/os": "windows"}}}, ("a",)),
        ({"status": {"nodeInfo": {"operatingSystem": "windows"}}}, ("a",)),
        ({"status": {"nodeInfo": {"operatingSystem": "linux"}}}, ()),
        ({"metadata": {"name": "a", "labels": None}, "status": None}, ()),
    ],
)
def test_a_node_runs_windows_if_its_label_or_its_kubelet_says_so(
    told: dict[str, Any], windows: tuple[str, ...]
) -> None:
    assert facts(Told(nodes=[node("a") | told])).windows_nodes == windows


def test_only_addresses_are_told_of_a_node() -> None:
    addresses = [
        {"type": "Hostname", "address": "a"},
        {"type": "ExternalIP", "address": "203.0.113.1"},
        {"type": "InternalIP", "address": "192.0.2.1"},
        {"type": "InternalDNS", "address": "a.internal"},
    ]
    found = facts(Told(nodes=[node("a", status={"addresses": addresses})]))
    assert found.node_addresses == ("192.0.2.1", "203.0.113.1")


def test_pods_that_have_ended_are_not_asked_for() -> None:
    api = Told(ippools=[pool("10.0.0.0/8")])
    facts(api)
    [query] = [query for path, query in api.asked if path == PODS]
    assert query["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"


def test_the_zones_that_pods_are_labelled_with_are_told_with_a_few_of_the_pods() -> None:
    def labelled(number: int, zone: str) -> dict[str, Any]:
        found = pod(number)
        found["metadata"]["labels"] = {"app": "web", LABEL: zone}
        return found

    pods = [pod(0), *(labelled(number, "web") for number in range(1, 6)), labelled(9, "")]
    pods.append(labelled(10, "node") | {"spec": {"hostNetwork": True}})
    found = facts(Told(pods=pods))
    assert found.zone_labels == {
        "": ("default/web-9",),
        "web": ("default/web-1", "default/web-2", "default/web-3"),
    }
    assert found.pod_networks is None


def test_a_pod_of_a_list_that_is_begun_anew_is_named_once() -> None:
    pods = [pod(0), pod(1)]
    for each in pods:
        each["metadata"]["labels"] = {LABEL: "web"}
    asked: list[str] = []
    api = Told(pods=begun_anew(pods[:1], pods[1:], asked))
    assert facts(api).zone_labels == {"web": ("default/web-0", "default/web-1")}
    assert asked == ["", "more", "", "more"]


@pytest.mark.parametrize("ip", ["", "10.0.0", "10.0.0.01", "::ffff:10.0.0.1", "web"])
def test_an_address_that_cannot_be_read_lies_in_no_pool(ip: str) -> None:
    strange = pod(1) | {"status": {"podIPs": [{"ip": ip}]}}
    found = facts(Told(ippools=[pool("10.0.0.0/8")], pods=[strange]))
    assert found.pod_networks is None
    assert "outside its IPPools" in found.pod_networks_because


def test_a_pool_that_cannot_be_read_makes_them_unknown() -> None:
    found = facts(Told(ippools=[pool("10.0.0.0/8"), pool("10.0.0.0/33")]))
    assert found.pod_networks is None
    assert "the IPPool pool has no CIDR that can be read" in found.pod_networks_because


@pytest.mark.parametrize("status", [403, 404])
def test_what_is_refused_or_not_served_is_unknown(status: int) -> None:
    def refused(query: dict[str, Any]) -> dict[str, Any]:
        raise error_of(status, "no")

    found = facts(Told(ippools=refused, nodes=refused, stagednetworkpolicies=refused))
    assert found == ClusterFacts(
        pod_networks_because="no", nodes_because="no", foreign_policies_because="no"
    )


def felix(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


def test_the_calico_is_told_with_what_each_configuration_of_felix_says_of_nftables() -> None:
    found = facts(
        Told(
            clusterinformations=[felix("default", calicoVersion="v3.32.0")],
            felixconfigurations=[
                felix("node.b", bpfEnabled=True),
                felix("default", nftablesMode="Auto", bpfEnabled=False),
                {"metadata": {"name": "node.a"}},
            ],
        )
    )
    assert found.calico_version == "v3.32.0"
    assert found.felix == {
        "default": FelixSettings("Auto", bpf_enabled=False),
        "node.a": FelixSettings(),
        "node.b": FelixSettings(bpf_enabled=True),
    }
    assert found.calico_because == ""


@pytest.mark.parametrize("spec", [{}, {"spec": None}, {"spec": {"calicoVersion": None}}])
def test_a_calico_that_has_not_said_its_version_yet_has_none(spec: dict[str, Any]) -> None:
    told = Told(clusterinformations=[{"metadata": {"name": "default"}} | spec])
    assert facts(told).calico_version == ""


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("kind", ["clusterinformations", "felixconfigurations"])
def test_half_of_what_a_calico_is_tells_nothing(kind: str, status: int) -> None:
    """A version without its mode, or the other way round, warns of nothing."""

    def refused(query: dict[str, Any]) -> dict[str, Any]:
        raise error_of(status, "no")

    answers: dict[str, Any] = {
        "clusterinformations": [felix("default", calicoVersion="v3.32.0")],
        "felixconfigurations": [felix("default", nftablesMode="Enabled")],
    }
    found = facts(Told(**answers | {kind: refused}))
    assert (found.calico_version, found.felix, found.calico_because) == ("", {}, "no")


@pytest.mark.parametrize("status", [0, 401, 500])
def test_any_other_failure_is_an_error(status: int) -> None:
    def failed(query: dict[str, Any]) -> dict[str, Any]:
        raise error_of(status, "no")

    with pytest.raises(ApiError):
        facts(Told(nodes=failed))


@pytest.mark.parametrize("nonsense", [{}, {"items": 1}, {"items": [1], "metadata": {}}])
def test_an_answer_that_is_no_list_is_an_error(nonsense: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match="no list of Kubernetes objects"):
        KubernetesReader(Told(nodes=lambda query: nonsense), ()).facts(LABEL)


def test_a_directory_tells_nothing_and_says_so(tmp_path: Path) -> None:
    found = ManifestsReader(tmp_path, ()).facts(LABEL)
    assert (found.pod_networks, found.windows_nodes, found.foreign_policies) == (None, (), {})
    reasons = {found.pod_networks_because, found.nodes_because, found.foreign_policies_because}
    assert reasons == {f"a directory of manifests ({tmp_path}) reports nothing about the cluster"}


# --- sets and host endpoints of others ------------------------------------------------------------


def network_set(number: int) -> dict[str, Any]:
    nets = [f"10.0.{number % 256}.{host}/32" for host in range(100)]
    metadata = {"name": f"set-{number}", "namespace": "shop", "annotations": {"a": "x" * 2_000}}
    return {"metadata": metadata, "spec": {"nets": nets}}


def test_of_a_set_of_others_only_labels_are_kept() -> None:
    def answer(query: dict[str, Any]) -> dict[str, Any]:
        start = int(query.get("continue", 0))
        end = start + query["limit"]
        return {
            "items": [network_set(number) for number in range(start, end)],
            "metadata": {"continue": str(end) if end < 1_000 else ""},
        }

    gc.collect()
    tracemalloc.start()
    try:
        found, because = read_selectable(Told(networksets=answer), page=100)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(found), because) == (1_000, "")
    assert kept < 1_000 * 1_000
    assert peak < kept + 100 * 20_000


def test_without_sets_in_namespaces_nobody_asks_for_namespaces() -> None:
    api = Told(hostendpoints=[{"metadata": {"name": "node-1", "labels": None}, "spec": None}])
    (found,), because = read_selectable(api, page=500)
    assert (found.kind, found.name, found.labels, found.profiles) == (
        "HostEndpoint",
        "node-1",
        {},
        (),
    )
    assert because == ""
    assert [path.rpartition("/")[2] for path, _ in api.asked] == ["networksets", "hostendpoints"]


def test_a_kind_that_is_not_served_is_unknown_and_said() -> None:
    def absent(query: dict[str, Any]) -> dict[str, Any]:
        raise error_of(404, "no such thing is served")

    found, because = read_selectable(Told(networksets=absent, hostendpoints=absent), page=500)
    assert (found, because) == ((), "no such thing is served; no such thing is served")


def test_an_api_server_that_fails_tells_nothing_of_sets() -> None:
    def fails(query: dict[str, Any]) -> dict[str, Any]:
        raise error_of(500, "etcd is away")

    with pytest.raises(ApiError, match="etcd is away"):
        read_selectable(Told(hostendpoints=fails), page=500)

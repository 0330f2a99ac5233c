"""What a real API server tells of its DNS, of itself and of the pods that need them."""

from collections.abc import Iterator
from typing import Any

import pytest

from sync.clusters.cluster import CriticalEndpoint, CriticalEndpoints
from sync.clusters.kubernetes.client import Api
from sync.net.addresses import address
from tests.kubernetes_cluster import GUEST, ControlPlane
from tests.kubernetes_words import api, reader

NAMESPACE = "/api/v1/namespaces/lifelines"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
DNS = "10.244.7.3"


@pytest.fixture
def prod(calico: ControlPlane) -> Iterator[Api]:
    """The cluster, with a namespace that has a label."""
    labelled = {"metadata": {"name": "lifelines", "labels": {"team": "shop"}}}
    if "lifelines" not in {
        each["metadata"]["name"] for each in calico.request("GET", "/api/v1/namespaces")["items"]
    }:
        calico.request("POST", "/api/v1/namespaces", labelled)
    found = api(calico, sleep=lambda seconds: None)
    yield found
    found.close()
    with calico.connected() as connection:
        connection.request("DELETE", f"{NAMESPACE}/pods?gracePeriodSeconds=0")
        connection.request("DELETE", f"{NAMESPACE}/serviceaccounts")
        for namespace in ("kube-system", "default"):
            connection.request("DELETE", SLICES.format(namespace))


def endpoint_slice(
    plane: ControlPlane, name: str, service: str, namespace: str = "kube-system", **fields: Any
) -> None:
    document = {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [DNS], "conditions": {"ready": True}}],
        "ports": [
            {"name": "dns", "protocol": "UDP", "port": 53},
            {"name": "dns-tcp", "protocol": "TCP", "port": 53},
            {"name": "metrics", "protocol": "TCP", "port": 9153},
        ],
    }
    plane.request("POST", SLICES.format(namespace), {**document, **fields})


def pod(plane: ControlPlane, name: str, *addresses: str, owner: str = "", **spec: Any) -> None:
    references = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": f"uid-{owner}"}
    ]
    document = {
        "metadata": {
            "name": name,
            "labels": {"app": "web"},
            **({"ownerReferences": references} if owner else {}),
        },
        "spec": {"containers": [{"name": "web", "image": "web"}], **spec},
    }
    ips = [{"ip": each} for each in addresses]
    status = {"phase": "Running", "podIPs": ips, **({"podIP": addresses[0]} if ips else {})}
    with plane.connected() as connection:
        connection.request("POST", f"{NAMESPACE}/pods", document)
        connection.request("PATCH", f"{NAMESPACE}/pods/{name}/status", {"status": status})


def lifelines(prod: Api) -> CriticalEndpoints:
    return reader(prod).lifelines()


def test_the_dns_and_the_api_server_are_where_their_endpoints_are(
    prod: Api, calico: ControlPlane
) -> None:
    endpoint_slice(calico, "dns-1", "kube-dns")
    endpoint_slice(calico, "other", "metrics-server")
    endpoint_slice(calico, "dns-named", "kube-dns", addressType="FQDN",
                   endpoints=[{"addresses": ["dns.example"]}])  # fmt: skip
    # This server listens on loopback, where it makes no slice of itself.
    itself = [{"addresses": ["192.0.2.10"]}, {"addresses": ["192.0.2.11"]}]
    https = [{"name": "https", "protocol": "TCP", "port": 6443}]
    endpoint_slice(calico, "kubernetes", "kubernetes", "default", endpoints=itself, ports=https)
    found = lifelines(prod).lifelines
    where = address(DNS)
    assert [each for each in found if each.name == "cluster DNS"] == [
        CriticalEndpoint("cluster DNS", DNS, where, 17, 53),
        CriticalEndpoint("cluster DNS", DNS, where, 6, 53),
    ]
    assert [each for each in found if each.name == "the API server"] == [
        CriticalEndpoint("the API server", host, address(host), 6, 6443)
        for host in ("192.0.2.10", "192.0.2.11")
    ]


def test_one_pod_stands_for_all_of_a_controller_with_every_label_that_selectors_see(
    prod: Api, calico: ControlPlane
) -> None:
    account = {"metadata": {"name": "buyer", "labels": {"trust": "low"}}}
    calico.request("POST", f"{NAMESPACE}/serviceaccounts", account)
    pod(calico, "web-1", "10.244.7.10", "fd00::10", owner="web", serviceAccountName="buyer")
    pod(calico, "web-2", "10.244.7.11", owner="web", serviceAccountName="buyer")
    pod(calico, "alone", "10.244.7.12")
    pod(calico, "on-its-node", "192.0.2.1", hostNetwork=True)
    pod(calico, "without-an-address")
    found = [each for each in lifelines(prod).workloads if each.name.startswith("lifelines/")]
    assert [each.name for each in found] == ["lifelines/alone", "lifelines/web-1"]
    assert found[1].addresses == (address("10.244.7.10"), address("fd00::10"))
    assert found[1].labels == {
        "app": "web",
        "pcns.projectcalico.org/name": "lifelines",
        "pcns.kubernetes.io/metadata.name": "lifelines",
        "pcns.team": "shop",
        "pcsa.projectcalico.org/name": "buyer",
        "pcsa.trust": "low",
        "projectcalico.org/namespace": "lifelines",
        "projectcalico.org/serviceaccount": "buyer",
        "projectcalico.org/orchestrator": "k8s",
    }


def test_every_pod_at_the_end_of_a_lifeline_is_told(prod: Api, calico: ControlPlane) -> None:
    endpoints = [{"addresses": [each]} for each in ("10.244.7.21", "10.244.7.22")]
    endpoint_slice(calico, "dns-2", "kube-dns", endpoints=endpoints)
    for number in (20, 21, 22, 23):
        pod(calico, f"dns-{number}", f"10.244.7.{number}", owner="dns")
    names = {each.name for each in lifelines(prod).workloads}
    assert {"lifelines/dns-21", "lifelines/dns-22"} <= names
    assert "lifelines/dns-23" not in names


def test_a_missing_right_makes_them_unknown_and_is_named(prod: Api, calico: ControlPlane) -> None:
    found = lifelines(api(calico, kubeconfig=calico.kubeconfig(user=GUEST)))
    assert (found.workloads, found.lifelines) == ((), ())
    assert 'cannot list resource "endpointslices"' in found.unknown_because
    assert "grant the user this in the cluster" in found.unknown_because

"""Which pods of a real API server have an address, and what selectors see of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sync.clusters.cluster import Workload
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ApiError
from sync.net.addresses import address
from tests.kubernetes_cluster import GUEST, ControlPlane
from tests.kubernetes_words import api, reader

NAMESPACE = "/api/v1/namespaces/pods"


@pytest.fixture
def prod(calico: ControlPlane) -> Iterator[Api]:
    """The cluster, with a namespace that has a label and no pods."""
    labelled = {"metadata": {"name": "pods", "labels": {"team": "shop"}}}
    namespaces = calico.request("GET", "/api/v1/namespaces")["items"]
    if "pods" not in {each["metadata"]["name"] for each in namespaces}:
        calico.request("POST", "/api/v1/namespaces", labelled)
    found = api(calico, sleep=lambda seconds: None)
    yield found
    found.close()
    with calico.connected() as connection:
        connection.request("DELETE", f"{NAMESPACE}/pods?gracePeriodSeconds=0")
        connection.request("DELETE", f"{NAMESPACE}/serviceaccounts")


def pod(
    plane: ControlPlane, name: str, *addresses: str, phase: str = "Running", **spec: Any
) -> None:
    """A pod with a label, at these addresses; the first is what Kubernetes calls its own."""
    document = {
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web"}], **spec},
    }
    ips = [{"ip": each} for each in addresses]
    status = {"phase": phase, "podIPs": ips, **({"podIP": addresses[0]} if ips else {})}
    with plane.connected() as connection:
        connection.request("POST", f"{NAMESPACE}/pods", document)
        connection.request("PATCH", f"{NAMESPACE}/pods/{name}/status", {"status": status})


def pods_at(prod: Api, *addresses: str) -> Sequence[Workload]:
    return reader(prod).pods_at({address(each) for each in addresses})


def names(found: Sequence[Workload]) -> list[str]:
    return [each.name for each in found]


def test_a_pod_is_found_by_each_of_its_addresses_and_told_with_all(
    prod: Api, calico: ControlPlane
) -> None:
    pod(calico, "web-1", "10.244.8.10", "fd00:8::10")
    pod(calico, "web-2", "10.244.8.11", "fd00:8::11")
    both = (address("10.244.8.10"), address("fd00:8::10"))
    for asked in ("10.244.8.10", "fd00:8::10"):
        (found,) = pods_at(prod, asked)
        assert (found.name, found.addresses) == ("pods/web-1", both)
    # By both of them it is found once.
    assert names(pods_at(prod, "10.244.8.10", "fd00:8::10")) == ["pods/web-1"]
    assert names(pods_at(prod, "fd00:8::10", "10.244.8.11")) == ["pods/web-1", "pods/web-2"]


def test_a_pod_has_every_label_that_selectors_see(prod: Api, calico: ControlPlane) -> None:
    account = {"metadata": {"name": "buyer", "labels": {"trust": "low"}}}
    calico.request("POST", f"{NAMESPACE}/serviceaccounts", account)
    pod(calico, "web-1", "10.244.8.10", serviceAccountName="buyer")
    (found,) = pods_at(prod, "10.244.8.10")
    assert found.labels == {
        "app": "web",
        "pcns.projectcalico.org/name": "pods",
        "pcns.kubernetes.io/metadata.name": "pods",
        "pcns.team": "shop",
        "pcsa.projectcalico.org/name": "buyer",
        "pcsa.trust": "low",
        "projectcalico.org/namespace": "pods",
        "projectcalico.org/serviceaccount": "buyer",
        "projectcalico.org/orchestrator": "k8s",
    }


def test_a_pod_on_the_network_of_its_node_is_none(prod: Api, calico: ControlPlane) -> None:
    """Its node's policies are not those of pods, and its address is its node's."""
    pod(calico, "on-its-node", "192.0.2.8", hostNetwork=True)
    assert pods_at(prod, "192.0.2.8") == ()
    pod(calico, "in-its-own", "192.0.2.8")
    assert names(pods_at(prod, "192.0.2.8")) == ["pods/in-its-own"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_none_and_another_may_have_its_address(
    prod: Api, calico: ControlPlane, phase: str
) -> None:
    pod(calico, "ended", "10.244.8.10", phase=phase)
    assert pods_at(prod, "10.244.8.10") == ()
    pod(calico, "after-it", "10.244.8.10")
    assert names(pods_at(prod, "10.244.8.10")) == ["pods/after-it"]


def test_where_no_pod_is_there_is_none(prod: Api, calico: ControlPlane) -> None:
    pod(calico, "web-1", "10.244.8.10")
    pod(calico, "without-an-address", phase="Pending")
    assert pods_at(prod, "10.244.8.1", "fd00:8::10") == ()
    assert pods_at(prod) == ()


def test_a_missing_right_is_no_missing_pod(prod: Api, calico: ControlPlane) -> None:
    pod(calico, "web-1", "10.244.8.10")
    guest = api(calico, kubeconfig=calico.kubeconfig(user=GUEST))
    with pytest.raises(ApiError, match=r"cannot list resource \"pods\""):
        pods_at(guest, "10.244.8.10")

"""What is made of odd answers about DNS, the API server and pods."""

from typing import Any

import pytest

from sync.clusters.cluster import CriticalEndpoints, Workload
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.critical_services import read_lifelines, read_pods_at
from sync.clusters.kubernetes.errors import ApiError, error_of
from sync.net.addresses import address
from tests.told import Told, begun_anew


def pod(name: str, *addresses: str, owner: str = "") -> dict[str, Any]:
    owners = {"ownerReferences": [{"uid": owner}]} if owner else {}
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", **owners},
        "spec": {},
        "status": {"podIPs": [{"ip": each} for each in addresses]},
    }


def dns(**fields: Any) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "kube-dns"}
    usual = {
        "metadata": {"name": "dns", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.3"]}],
        "ports": [{"name": "dns", "protocol": "UDP", "port": 53}],
    }
    return {**usual, **fields}


def lifelines(api: Api) -> CriticalEndpoints:
    return read_lifelines(api, page=500)


def pods(found: CriticalEndpoints) -> list[str]:
    return [each.name for each in found.workloads]


def test_a_list_of_pods_that_is_begun_anew_tells_of_each_once() -> None:
    asked: list[str] = []
    pages = [pod("a", "10.0.0.1", owner="1")], [pod("b", "10.0.0.2", owner="1")]
    answer = begun_anew(*pages, asked)
    assert pods(lifelines(Told(pods=answer))) == ["shop/a"]
    assert asked == ["", "more", "", "more"]


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoints": None},
        {"ports": None},
        {"ports": [{"name": None, "port": 53}]},
        {"ports": [{"name": "dns", "port": None}]},
        {"ports": [{"name": "metrics", "port": 9153}]},
        {"addressType": "FQDN", "endpoints": [{"addresses": ["dns.example"]}]},
        {"metadata": {"name": "dns", "labels": None}},
    ],
)
def test_what_says_no_address_and_port_is_no_lifeline(fields: dict[str, Any]) -> None:
    assert lifelines(Told(endpointslices=[dns(**fields)])).lifelines == ()


def test_the_dns_of_other_distributions_goes_by_the_label_of_its_service() -> None:
    """RKE2 calls it rke2-coredns-rke2-coredns; a slice has the labels of its service."""
    labels = {"kubernetes.io/service-name": "rke2-coredns", "k8s-app": "kube-dns"}
    found = lifelines(Told(endpointslices=[dns(metadata={"name": "x", "labels": labels})]))
    assert [each.host for each in found.lifelines] == ["10.0.0.3"]
    # One that goes by both is told once.
    labels["kubernetes.io/service-name"] = "kube-dns"
    found = lifelines(Told(endpointslices=[dns(metadata={"name": "x", "labels": labels})]))
    assert len(found.lifelines) == 1


def test_a_lifeline_without_slices_is_missing_and_says_where_it_was_looked_for() -> None:
    api = "cluster prod has no EndpointSlices of the API server ("
    assert lifelines(Told(endpointslices=[dns()])).missing == (
        f"{api}kubernetes.io/service-name=kubernetes in default)",
    )
    both = lifelines(Told()).missing
    assert len(both) == 2
    assert "of cluster DNS (k8s-app=kube-dns in kube-system or " in both[0]


def test_a_failure_that_is_no_missing_right_is_one() -> None:
    def answer(query: dict[str, Any]) -> dict[str, Any]:
        raise error_of(500, "the server is on fire")

    with pytest.raises(ApiError, match="on fire"):
        lifelines(Told(namespaces=answer))


def test_pods_without_labels_accounts_or_known_namespaces_have_what_calico_gives_them() -> None:
    (found,) = lifelines(Told(pods=[pod("a", "10.0.0.1")])).workloads
    assert found.labels == {
        "pcns.projectcalico.org/name": "shop",
        "pcsa.projectcalico.org/name": "default",
        "projectcalico.org/namespace": "shop",
        "projectcalico.org/serviceaccount": "default",
        "projectcalico.org/orchestrator": "k8s",
    }


# --- pods by their addresses ----------------------------------------------------------------------


def pods_at(api: Api, *addresses: str) -> tuple[Workload, ...]:
    return read_pods_at(api, {address(each) for each in addresses}, page=500)


def test_a_list_that_is_begun_anew_tells_of_each_pod_at_an_address_once() -> None:
    asked: list[str] = []
    pages = [pod("a", "10.0.0.1"), pod("b", "10.0.0.9")], [pod("c", "10.0.0.2")]
    told = Told(pods=begun_anew(*pages, asked))
    assert [each.name for each in pods_at(told, "10.0.0.1", "10.0.0.2")] == ["shop/a", "shop/c"]
    assert asked == ["", "more", "", "more"]


def test_every_pod_of_a_controller_is_one_of_its_own_at_its_address() -> None:
    told = Told(pods=[pod("a", "10.0.0.1", owner="1"), pod("b", "10.0.0.2", owner="1")])
    assert [each.name for each in pods_at(told, "10.0.0.2")] == ["shop/b"]


def test_two_pods_that_say_they_have_one_address_are_both_told() -> None:
    """One that is being deleted may still say so when the next one has it."""
    told = Told(pods=[pod("a", "10.0.0.1"), pod("b", "10.0.0.1")])
    assert [each.name for each in pods_at(told, "10.0.0.1")] == ["shop/a", "shop/b"]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": None},
        {"status": {}},
        {"status": {"phase": "Pending"}},
        {"status": {"podIPs": None}},
        {"status": {"podIPs": []}},
        {"spec": {"hostNetwork": True}},
    ],
)
def test_a_pod_without_an_address_of_its_own_is_at_none(fields: dict[str, Any]) -> None:
    odd = {**pod("odd", "10.0.0.1"), **fields}
    told = Told(pods=[odd, pod("a", "10.0.0.1")])
    assert [each.name for each in pods_at(told, "10.0.0.1")] == ["shop/a"]


def test_a_pod_without_a_status_is_at_no_address() -> None:
    without = pod("new")
    del without["status"]
    assert pods_at(Told(pods=[without]), "10.0.0.1") == ()


def test_the_labels_of_namespaces_are_asked_for_only_where_a_pod_is_found() -> None:
    """Who may list pods alone is told that there is none; in large clusters it is a long list."""
    told = Told(pods=[pod("a", "10.0.0.1")])
    assert pods_at(told, "10.0.0.2") == ()
    assert [path for path, _ in told.asked] == ["/api/v1/pods"]
    pods_at(told, "10.0.0.1")
    assert {path.rpartition("/")[2] for path, _ in told.asked} == {
        "pods",
        "namespaces",
        "serviceaccounts",
    }


def test_a_missing_right_is_an_error_and_not_an_address_without_a_pod() -> None:
    def answer(query: dict[str, Any]) -> dict[str, Any]:
        raise error_of(403, "pods is forbidden")

    with pytest.raises(ApiError, match="forbidden"):
        pods_at(Told(pods=answer), "10.0.0.1")

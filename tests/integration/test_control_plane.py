"""The clusters that the other tests use are real: they store, default, refuse, fail and come back.

What is asserted of Calico holds with its own definitions and with the small ones of this project.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient, ApiException, CustomObjectsApi, VersionApi
from kubernetes.config import new_client_from_config
from kubernetes.dynamic import DynamicClient
from urllib3.exceptions import HTTPError

from tests.controlplane.build import find
from tests.kubernetes_cluster import (
    BUILT_IN_TIERS,
    GROUP,
    GUEST,
    ApiError,
    ControlPlane,
    install,
)

SETS = f"/apis/{GROUP}/v3/globalnetworksets"
POLICIES = f"/apis/{GROUP}/v3/globalnetworkpolicies"
TIERS = f"/apis/{GROUP}/v3/tiers"


def network_set(name: str, *nets: str, **metadata: Any) -> dict[str, Any]:
    return _object("GlobalNetworkSet", name, {"nets": list(nets)}, metadata)


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return _object("GlobalNetworkPolicy", name, spec, {})


def names(plane: ControlPlane, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in plane.request("GET", path)["items"]}


def _object(kind: str, name: str, spec: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v3",
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


def custom(client: ApiClient) -> CustomObjectsApi:
    return CustomObjectsApi(client)


def test_an_object_is_created_and_read_back_by_another_client(
    calico: ControlPlane, tmp_path: Path
) -> None:
    made = network_set("offices", "192.0.2.0/24", "2001:db8::/32")

    custom(calico.client()).create_cluster_custom_object(GROUP, "v3", "globalnetworksets", made)

    # What it learns of a cluster goes to a file, by default one that all share.
    known = str(tmp_path / "discovery.json")
    dynamic = DynamicClient(calico.client(), known)
    resource = dynamic.resources.get(api_version=f"{GROUP}/v3", kind="GlobalNetworkSet")
    found = resource.get(name="offices").to_dict()
    assert found["spec"] == made["spec"]
    assert found["metadata"]["resourceVersion"]


def test_a_write_over_an_older_version_is_refused(calico: ControlPlane) -> None:
    first = calico.request("POST", SETS, network_set("offices", "192.0.2.0/24"))
    calico.request("PUT", f"{SETS}/offices", {**first, "spec": {"nets": ["198.51.100.0/24"]}})

    with pytest.raises(ApiError) as refused:
        calico.request("PUT", f"{SETS}/offices", {**first, "spec": {"nets": []}})

    assert refused.value.status == 409


def test_the_schema_refuses_an_object(calico: ControlPlane) -> None:
    with pytest.raises(ApiError) as refused:
        calico.request("POST", SETS, network_set("offices", "192.0.2.0/24", "192.0.2.0/24"))

    assert refused.value.status == 422


def test_admission_states_tier_label_and_types_of_a_policy(calico: ControlPlane) -> None:
    rule = {"action": "Allow", "destination": {"selector": "role == 'db'"}}

    made = calico.request("POST", POLICIES, policy("web", selector="all()", egress=[rule]))

    assert made["spec"]["tier"] == "default"
    assert made["spec"]["types"] == ["Egress"]
    assert made["metadata"]["labels"] == {f"{GROUP}/tier": "default"}


@pytest.mark.parametrize("tier", BUILT_IN_TIERS)
def test_a_built_in_tier_cannot_be_deleted(calico: ControlPlane, tier: str) -> None:
    with pytest.raises(ApiException) as refused:
        custom(calico.client()).delete_cluster_custom_object(GROUP, "v3", "tiers", tier)

    assert refused.value.status == 422
    assert tier in str(refused.value.body)
    assert names(calico, TIERS) == set(BUILT_IN_TIERS)


def test_a_user_without_rights_is_refused(calico: ControlPlane) -> None:
    file = str(calico.kubeconfig(user=GUEST))
    client = new_client_from_config(file)

    with pytest.raises(ApiException) as refused:
        custom(client).list_cluster_custom_object(GROUP, "v3", "globalnetworksets")

    assert refused.value.status == 403
    assert GUEST in str(refused.value.body)


def test_a_user_may_do_what_a_role_grants(calico: ControlPlane) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rule = {"apiGroups": [GROUP], "resources": ["globalnetworksets"], "verbs": ["list"]}
    role = {"metadata": {"name": "reader"}, "rules": [rule]}
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "reader",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": GUEST}],
    }
    calico.request("POST", f"{rbac}/clusterroles", role)
    calico.request("POST", f"{rbac}/clusterrolebindings", binding)

    assert calico.request("GET", SETS, token=calico.guest_token)["items"] == []
    with pytest.raises(ApiError) as refused:
        calico.request("POST", SETS, network_set("offices"), token=calico.guest_token)
    assert refused.value.status == 403


def test_an_unknown_token_is_nobody(calico: ControlPlane) -> None:
    with pytest.raises(ApiError) as refused:
        calico.request("GET", SETS, token="of nobody")

    assert refused.value.status == 401


def test_an_outage_ends_with_the_same_objects_at_the_same_place(calico: ControlPlane) -> None:
    client = calico.client()
    before = calico.request("POST", SETS, network_set("offices", "192.0.2.0/24"))

    calico.stop()
    with pytest.raises(HTTPError):
        custom(client).list_cluster_custom_object(GROUP, "v3", "globalnetworksets")
    calico.start()

    found = custom(client).get_cluster_custom_object(GROUP, "v3", "globalnetworksets", "offices")
    assert found == before


def test_two_clusters_hold_different_things(
    calico: ControlPlane, second_calico: ControlPlane
) -> None:
    calico.request("POST", SETS, network_set("offices"))

    assert names(calico, SETS) == {"offices"}
    assert names(second_calico, SETS) == set()
    with pytest.raises(ApiError) as refused:
        second_calico.request("GET", SETS, token=calico.admin_token)
    assert refused.value.status == 401


def test_native_definitions_are_served_by_the_cluster_itself(calico: ControlPlane) -> None:
    service = calico.request("GET", f"/apis/apiregistration.k8s.io/v1/apiservices/v3.{GROUP}")

    assert "service" not in service["spec"]


def test_a_cluster_with_the_old_definitions_alone_serves_no_v3(old_calico: ControlPlane) -> None:
    groups = {group["name"] for group in old_calico.request("GET", "/apis")["groups"]}

    assert {name for name in groups if name.endswith(GROUP)} == {f"crd.{GROUP}"}
    with pytest.raises(ApiError) as refused:
        old_calico.request("GET", f"/apis/apiregistration.k8s.io/v1/apiservices/v3.{GROUP}")
    assert refused.value.status == 404


def test_nothing_of_a_test_reaches_the_next(calico: ControlPlane) -> None:
    held = {"name": "held", "finalizers": ["projectcalico.org/tier-controller"]}
    calico.request("POST", TIERS, _object("Tier", "held", {"order": 5}, held))
    calico.request("DELETE", f"{TIERS}/held")
    marked = {"metadata": {"annotations": {"a": "b"}}}
    calico.request("PATCH", f"{TIERS}/default", marked)
    calico.request("POST", SETS, network_set("offices"))
    calico.request("POST", POLICIES, policy("web"))
    assert names(calico, TIERS) == {*BUILT_IN_TIERS, "held"}

    install(calico)

    assert names(calico, TIERS) == set(BUILT_IN_TIERS)
    assert "annotations" not in calico.request("GET", f"{TIERS}/default")["metadata"]
    assert names(calico, SETS) == names(calico, POLICIES) == set()


def test_the_server_tells_the_version_it_was_built_from(control_plane: ControlPlane) -> None:
    version = VersionApi(control_plane.client()).get_code()

    assert int(version.minor.rstrip("+")) >= 36


def test_kubectl_reads_the_same_cluster(calico: ControlPlane) -> None:
    kubectl = find("kubectl")
    if kubectl is None:
        pytest.skip("KUBEBUILDER_ASSETS has no kubectl")
    calico.request("POST", SETS, network_set("offices", "192.0.2.0/24"))

    command = f"{kubectl} --kubeconfig {calico.kubeconfig()} get globalnetworksets -o name"
    told = subprocess.run(command.split(), check=True, capture_output=True, text=True)

    assert told.stdout.split() == [f"globalnetworkset.{GROUP}/offices"]

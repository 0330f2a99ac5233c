"""Kubernetes Events on a real API server: on tiers, as a series, bounded, and with few rights."""

from collections.abc import Iterator
from typing import Any

import pytest

from sync.clusters.cluster import EventText
from sync.clusters.kubernetes import events as module
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.events import KubernetesEvents, pod
from sync.errors import ClusterError
from tests.kubernetes_cluster import GUEST, ControlPlane
from tests.kubernetes_words import api

EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
BLOCKED = EventText("PlanBlocked", "cluster prod: 9 of 10 sets would go", warning=True)


@pytest.fixture
def prod(calico: ControlPlane) -> Iterator[Api]:
    calico.request("DELETE", EVENTS)
    found = api(calico)
    yield found
    found.close()


def written(plane: ControlPlane, uid: str = "") -> list[dict[str, Any]]:
    """The Events that `kubectl describe` would show of an object."""
    items: list[dict[str, Any]] = plane.request("GET", EVENTS)["items"]
    return [each for each in items if each["regarding"].get("uid") == uid or not uid]


def recorder(prod: Api, now: list[float] | None = None) -> KubernetesEvents:
    at = now or [1_700_000_000.25]
    return KubernetesEvents(prod, "pod-1" * 100, clock=lambda: at[0])


def test_a_tier_has_an_event_that_describe_finds(prod: Api, calico: ControlPlane) -> None:
    made = recorder(prod)
    tier = made.tier("default")
    assert tier is not None
    assert made.record(tier, BLOCKED)
    uid = calico.request("GET", "/apis/projectcalico.org/v3/tiers/default")["metadata"]["uid"]
    (event,) = written(calico, uid)
    assert event["regarding"]["kind"] == "Tier"
    assert (event["reason"], event["type"], event["note"]) == (
        "PlanBlocked",
        "Warning",
        "cluster prod: 9 of 10 sets would go",
    )
    assert event["eventTime"] == "2023-11-14T22:13:20.250000Z"
    assert event["reportingController"] == "zonebridge.io/zonebridge"


def test_a_tier_that_is_not_there_has_none(prod: Api) -> None:
    assert recorder(prod).tier("gone") is None


def test_the_same_thing_again_is_one_event_that_counts(prod: Api, calico: ControlPlane) -> None:
    now = [1_700_000_000.0]
    made = recorder(prod, now)
    tier = made.tier("default")
    assert tier is not None
    for _ in range(4):
        assert made.record(tier, BLOCKED)
        now[0] += 60
    (event,) = written(calico)
    assert event["series"] == {
        "count": 4,
        "lastObservedTime": "2023-11-14T22:16:20.000000Z",
    }
    calico.request("DELETE", f"{EVENTS}/{event['metadata']['name']}")
    assert made.record(tier, BLOCKED)
    now[0] += module._SERIES_SECONDS
    assert made.record(tier, BLOCKED)
    assert len(written(calico)) == 2


def test_an_object_has_no_more_than_so_many(prod: Api, calico: ControlPlane) -> None:
    made = recorder(prod)
    tier = made.tier("default")
    assert tier is not None
    said = [
        made.record(tier, EventText("SyncFailed", f"{n} " + "x" * 5000, True)) for n in range(40)
    ]
    assert said == [True] * 25 + [False] * 15
    found = written(calico)
    assert len(found) == 25
    assert {len(each["note"]) for each in found} == {1024}


def test_a_pod_has_its_events_in_its_namespace(prod: Api, calico: ControlPlane) -> None:
    about = pod({"POD_NAME": "zonebridge-0", "POD_NAMESPACE": "default", "POD_UID": "u-1"})
    assert recorder(prod).record(about, BLOCKED)
    (event,) = written(calico, "u-1")
    assert event["regarding"]["namespace"] == "default"


def test_it_needs_to_create_and_update_events_and_to_get_tiers(calico: ControlPlane) -> None:
    calico.request("DELETE", EVENTS)
    guest = api(calico, kubeconfig=calico.kubeconfig(user=GUEST))
    made = recorder(guest)
    with pytest.raises(ClusterError, match="403"):
        made.record(
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "default"}, BLOCKED
        )
    rules = [
        {
            "apiGroups": ["events.k8s.io"],
            "resources": ["events"],
            "verbs": ["create", "update"],
        },
        {"apiGroups": ["projectcalico.org"], "resources": ["tiers"], "verbs": ["get"]},
    ]
    calico.request("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "told"}, "rules": rules})
    calico.request(
        "POST",
        f"{RBAC}/clusterrolebindings",
        {
            "metadata": {"name": "told"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "told",
            },
            "subjects": [{"kind": "User", "name": GUEST, "apiGroup": "rbac.authorization.k8s.io"}],
        },
    )
    tier = made.tier("default")
    assert tier is not None
    assert made.record(tier, BLOCKED)
    assert made.record(tier, BLOCKED)
    assert written(calico)[0]["series"]["count"] == 2

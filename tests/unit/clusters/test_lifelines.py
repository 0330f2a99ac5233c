"""What is made of odd answers about DNS, the API server and pods."""

from collections.abc import Callable
from typing import Any

import pytest

from sync.clusters.api import Api, ApiError
from sync.clusters.cluster import Lifelines
from sync.clusters.lifelines import read_lifelines

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Told(Api):
    """An API server that answers by the last word of the path, or as a function of the query."""

    def __init__(self, **answers: list[dict[str, Any]] | Answer) -> None:
        super().__init__("prod", pytest.fail, sleep=lambda seconds: None)
        self.answers = answers

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self.answers.get(path.rpartition("/")[2], [])
        return answer(options["query"]) if callable(answer) else {"items": answer, "metadata": {}}


def pod(name: str, *addresses: str, owner: str = "") -> dict[str, Any]:
    owners = {"ownerReferences": [{"uid": owner}]} if owner else {}
    return {
        "metadata": {"name": name, "namespace": "shop", **owners},
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


def lifelines(api: Api) -> Lifelines:
    return read_lifelines(api, page=500)


def pods(found: Lifelines) -> list[str]:
    return [each.name for each in found.workloads]


def test_a_list_of_pods_that_is_begun_anew_tells_of_each_once() -> None:
    asked: list[str] = []

    def answer(query: dict[str, Any]) -> dict[str, Any]:
        asked.append(token := str(query.get("continue", "")))
        if token and len(asked) == 2:
            raise ApiError("the continue token is too old", 410)
        items = [pod("b", "10.0.0.2", owner="1")] if token else [pod("a", "10.0.0.1", owner="1")]
        return {"items": items, "metadata": {} if token else {"continue": "more"}}

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


def test_a_failure_that_is_no_missing_right_is_one() -> None:
    def answer(query: dict[str, Any]) -> dict[str, Any]:
        raise ApiError("the server is on fire", 500)

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

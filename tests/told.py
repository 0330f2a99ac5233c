"""An API server that answers as a test tells it."""

from collections.abc import Callable
from typing import Any

import pytest

from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import error_of

KINDS = {
    "pods": "Pod",
    "nodes": "Node",
    "namespaces": "Namespace",
    "serviceaccounts": "ServiceAccount",
    "endpointslices": "EndpointSlice",
    "ippools": "IPPool",
    "networksets": "NetworkSet",
    "hostendpoints": "HostEndpoint",
    "networkpolicies": "NetworkPolicy",
    "stagednetworkpolicies": "StagedNetworkPolicy",
    "clusterinformations": "ClusterInformation",
    "felixconfigurations": "FelixConfiguration",
}

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Told(Api):
    """An API server that answers with whole lists, or as a function of the query says."""

    def __init__(self, **answers: list[dict[str, Any]] | Answer) -> None:
        super().__init__("prod", pytest.fail, sleep=lambda seconds: None)
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        self.asked.append((path, options["query"]))
        resource = path.rpartition("/")[2]
        answer = self.answers.get(resource, [])
        told = answer(options["query"]) if callable(answer) else {"items": answer, "metadata": {}}
        version = "/".join(path.split("/")[2 : 4 if path.startswith("/apis/") else 3])
        return {"apiVersion": version, "kind": f"{KINDS[resource]}List", **told}


def begun_anew(first: list[dict[str, Any]], rest: list[dict[str, Any]], asked: list[str]) -> Answer:
    """A list in two pages whose moment is forgotten once before the second; notes the tokens."""

    def answer(query: dict[str, Any]) -> dict[str, Any]:
        asked.append(token := str(query.get("continue", "")))
        if token and len(asked) == 2:
            raise error_of(410, "the continue token is too old")
        return {
            "items": rest if token else first,
            "metadata": {} if token else {"continue": "more"},
        }

    return answer

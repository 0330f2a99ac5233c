"""A stand-in for an API server, within the process: nothing is sent, everything is JSON.

It keeps what it is sent and lists it in pages, as an API server with Calico does. Whatever else
there is to be asked for, it has none of.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import error_of

_PAGE = 500


class StandIn(Api):
    """An API server of a cluster; `kept` are its objects, by the path of their list and by name."""

    def __init__(self, name: str) -> None:
        super().__init__(name, _nowhere)
        self.kept: dict[str, dict[str, bytes]] = {}
        self._version = 0

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        seconds: float | None = None,
        fence: Callable[[], None] | None = None,
        uid: str = "",
    ) -> dict[str, Any]:
        del seconds, uid
        if fence:
            fence()
        found: dict[str, Any] = orjson.loads(self._answer(method, path, body, query or {}))
        return found

    def _answer(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None,
        query: Mapping[str, Any],
    ) -> bytes:
        if path in _FIXED:
            return _FIXED[path]
        collection, _, name = path.rpartition("/")
        if method == "GET" and path in _LISTS:
            return self._list(path, query)
        if method == "GET":
            raise error_of(404, f"no {path}")
        if method == "DELETE":
            gone = orjson.loads(self.kept[collection].pop(unquote(name)))
            details = {"uid": gone["metadata"]["uid"]}
            return orjson.dumps({"kind": "Status", "status": "Success", "details": details})
        document = orjson.loads(body) if isinstance(body, bytes) else dict(body or {})
        collection = path if method == "POST" else collection
        self._version += 1
        metadata = document["metadata"]
        metadata.setdefault("uid", str(uuid.UUID(int=self._version)))
        metadata |= {
            "resourceVersion": str(self._version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": 1,
            "managedFields": [
                {
                    "apiVersion": "projectcalico.org/v3",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:metadata": {"f:labels": {".": {}}}, "f:spec": {}},
                    "manager": "zonebridge",
                    "operation": "Update",
                    "time": "2026-01-01T00:00:00Z",
                }
            ],
        }
        written = orjson.dumps(document)
        self.kept.setdefault(collection, {})[metadata["name"]] = written
        return written

    def _list(self, path: str, query: Mapping[str, Any]) -> bytes:
        version, kind = _LISTS[path]
        names = sorted(self.kept.get(path, {}))
        begin = int(query.get("continue") or 0)
        end = begin + int(query.get("limit") or _PAGE)
        more = {"continue": str(end)} if end < len(names) else {}
        head = {"resourceVersion": str(self._version), **more}
        items = b",".join(self.kept[path][name] for name in names[begin:end])
        return (
            b'{"apiVersion":"%s","kind":"%sList","metadata":' % (version.encode(), kind.encode())
            + orjson.dumps(head)
            + b',"items":['
            + items
            + b"]}"
        )


def _nowhere() -> Any:
    raise AssertionError("a stand-in is nowhere")


_CALICO = "/apis/projectcalico.org/v3"
_KINDS = {
    "Tier": "tiers",
    "GlobalNetworkSet": "globalnetworksets",
    "GlobalNetworkPolicy": "globalnetworkpolicies",
    "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
    "NetworkPolicy": "networkpolicies",
    "StagedNetworkPolicy": "stagednetworkpolicies",
    "NetworkSet": "networksets",
    "HostEndpoint": "hostendpoints",
    "IPPool": "ippools",
    "ClusterInformation": "clusterinformations",
    "FelixConfiguration": "felixconfigurations",
}
_LISTS = {
    **{f"{_CALICO}/{name}": ("projectcalico.org/v3", kind) for kind, name in _KINDS.items()},
    "/api/v1/pods": ("v1", "Pod"),
    "/api/v1/nodes": ("v1", "Node"),
    "/api/v1/namespaces": ("v1", "Namespace"),
    "/api/v1/services": ("v1", "Service"),
    "/api/v1/serviceaccounts": ("v1", "ServiceAccount"),
    **{
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices": (
            "discovery.k8s.io/v1",
            "EndpointSlice",
        )
        for namespace in ("default", "kube-system", "openshift-dns")
    },
}
_FIXED = {
    "/api/v1/namespaces/kube-system": orjson.dumps({"metadata": {"uid": "0-1-2"}}),
    "/apis": orjson.dumps({"kind": "APIGroupList", "groups": [{"name": "projectcalico.org"}]}),
    _CALICO: orjson.dumps(
        {
            "kind": "APIResourceList",
            "groupVersion": "projectcalico.org/v3",
            "resources": [{"name": name} for name in _KINDS.values()],
        }
    ),
}

"""Reads a Kubernetes cluster: Calico's objects over its API, and other facts."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sync.calico.objects import API_VERSION, KINDS, Pairs
from sync.clusters.cluster import ClusterFacts, CriticalEndpoints, Key, LiveObject, Workload
from sync.clusters.kubernetes.client import KUBE_SYSTEM, Api
from sync.clusters.kubernetes.critical_services import read_lifelines, read_pods_at
from sync.clusters.kubernetes.errors import ForbiddenError, NotFoundError
from sync.clusters.kubernetes.inventory import read_facts
from sync.clusters.kubernetes.objects import GROUP, MALFORMED, live_object, object_path
from sync.clusters.kubernetes.selectable import read_selectable
from sync.errors import ClusterError
from sync.redaction import redact

_MIGRATION = "migration.projectcalico.org"
_UID = re.compile(r"[0-9A-Za-z-]{1,64}")
PAGE = 500
"""Objects per page of a list."""


class KubernetesReader:
    """Reads a cluster; `owner` are the labels that make an object ours.

    `uid` is the last result of `identity`, "" before the first.
    """

    def __init__(self, api: Api, owner: Pairs, page: int = PAGE) -> None:
        self._api = api
        self._page = page
        self._owner = owner
        self.uid = ""

    def identity(self) -> str:
        """The UID of the namespace `kube-system`, which lives as long as its cluster does.

        https://opentelemetry.io/docs/specs/semconv/registry/attributes/k8s/ (`k8s.cluster.uid`)
        """
        with self._sensible():
            try:
                namespace = self._api.patiently("GET", KUBE_SYSTEM)
            except NotFoundError as error:
                raise ClusterError(
                    f"cluster {self._api.name} has no namespace kube-system, whose UID tells it "
                    "from other clusters; check which server is at its address"
                ) from error
            uid = namespace["metadata"]["uid"]
            if not _UID.fullmatch(uid):
                raise ValueError("the uid of kube-system is not a UID")
            self.uid = str(uid)
            return self.uid

    def read(self) -> Mapping[Key, LiveObject]:
        """Every object of our kinds, foreign ones included.

        `ClusterError` if the cluster cannot be read, or does not serve Calico's objects in a form
        that may be written.
        """
        with self._sensible():
            _require_served(self._api)
            return {
                (kind, document["metadata"]["name"]): live_object(kind, document, self._owner)
                for kind in KINDS
                for document in self._api.collected(
                    object_path(kind), kind, _whole, page=self._page
                )
            }

    def facts(self, zone_label: str) -> ClusterFacts:
        """Facts on pods, IPPools, nodes, namespaced policies and foreign sets."""
        with self._sensible():
            facts = read_facts(self._api, zone_label, page=self._page)
            others, because = read_selectable(self._api, page=self._page)
            return replace(facts, selectable=others, selectable_because=because)

    def lifelines(self) -> CriticalEndpoints:
        """Its DNS and API server, and a pod of each workload."""
        with self._sensible():
            return read_lifelines(self._api, page=self._page)

    def pods_at(self, addresses: Collection[tuple[int, int]]) -> Sequence[Workload]:
        """The pods with one of these addresses."""
        with self._sensible():
            return read_pods_at(self._api, addresses, page=self._page)

    @contextmanager
    def _sensible(self) -> Iterator[None]:
        try:
            yield
        except MALFORMED as error:
            raise ClusterError(
                f"cluster {self._api.name} answers with something that is not a list of Kubernetes "
                f"objects ({type(error).__name__}: {redact(error)}); check which server is at "
                "its address"
            ) from error


def _whole(document: dict[str, Any]) -> tuple[dict[str, Any]]:
    return (document,)


def _require_served(api: Api) -> None:
    """Require that the cluster serves every kind as `projectcalico.org/v3`.

    A kind that is not served would look as if there were no objects of it. Calico's own definitions
    of that group and its aggregated API server accept and return the same documents. `ClusterError`
    if there is neither, or a migration between them is running.
    """
    told = _told(api, "/apis", "APIGroupList").get("groups") or ()
    groups = {group["name"]: group for group in told}
    if API_VERSION.partition("/")[0] not in groups:
        raise ClusterError(
            f"cluster {api.name} serves Calico only as crd.projectcalico.org/v1, which only "
            "Calico may write; install Calico's API server, or its native v3 definitions"
            if "crd.projectcalico.org" in groups
            else f"cluster {api.name} does not serve {API_VERSION}; install Calico there"
        )
    if migration := groups.get(_MIGRATION):
        _refuse_migration(api, migration["preferredVersion"]["groupVersion"])
    found = _told(api, GROUP, "APIResourceList")
    if found.get("groupVersion") != API_VERSION:
        raise _another(api, GROUP, "APIResourceList")
    served = {resource["name"] for resource in found.get("resources") or ()}
    if missing := [kind for kind, resource in KINDS.items() if resource not in served]:
        raise ClusterError(
            f"cluster {api.name} does not serve {', '.join(missing)} as {API_VERSION} (now); "
            "Calico 3.30 or later is needed"
        )


def _told(api: Api, path: str, kind: str) -> dict[str, Any]:
    """Request a discovery document; the answer must be of `kind`."""
    found = api.patiently("GET", path)
    if found.get("kind") != kind:
        raise _another(api, path, kind)
    return found


def _another(api: Api, path: str, kind: str) -> ClusterError:
    return ClusterError(
        f"cluster {api.name} answers GET {path} with something that is not a {kind}; check which "
        "server is at its address"
    )


def _refuse_migration(api: Api, version: str) -> None:
    """Refuse a cluster whose Calico is moving its objects: writes during the move may be lost.

    `version` is the group and version in which the cluster serves the migration.
    `libcalico-go/lib/apis/migration`: phases from Pending to Complete or Failed.
    """
    path = f"/apis/{version}/datastoremigrations"
    try:
        found = api.collected(path, "DatastoreMigration", _whole, page=PAGE)
    except ForbiddenError as error:
        raise ClusterError(
            f"{error}; without it, it is unknown whether Calico is moving its objects to its "
            "native definitions (DatastoreMigration), so nothing is written"
        ) from error
    for each in found:
        phase = (each.get("status") or {}).get("phase")
        if phase not in (None, "", "Pending", "Complete", "Failed"):
            raise ClusterError(
                f"cluster {api.name} is moving Calico's objects to the native definitions "
                f"(DatastoreMigration {redact(each['metadata']['name'])}, {redact(phase)}); "
                "nothing is written until that has ended"
            )

"""Other objects that selectors select: NetworkSets and HostEndpoints, which are never ours.

A selector without a namespaceSelector selects whatever has labels and addresses, not only pods. A
NetworkSet has the labels of its namespace too, as a pod has, and a HostEndpoint those of the
profiles that it names (`libcalico-go/lib/backend/syncersv1/updateprocessors`).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import orjson

from sync.calico.objects import API_VERSION
from sync.clusters.cluster import Selectable
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.critical_services import labelled, namespace_labels
from sync.clusters.kubernetes.errors import ForbiddenError, NotFoundError

_Kept = TypeVar("_Kept")

RESOURCES: Final[Mapping[str, str]] = {
    "NetworkSet": "networksets",
    "HostEndpoint": "hostendpoints",
}
"""The kinds, each with its resource name; foreign GlobalNetworkSets are read with ours."""

# The profile of the host endpoints that Calico creates itself; it has no labels.
_WITHOUT_LABELS: Final = "projectcalico-default-allow"


def read_selectable(api: Api, *, page: int) -> tuple[tuple[Selectable, ...], str]:
    """All of them, in pages of `page` objects, and why there may be more ("" if not).

    `ApiError` for anything but a missing right, or a kind that is not served.
    """
    reasons: list[str] = []
    found: dict[str, list[Selectable]] = {}
    for kind, resource in RESOURCES.items():
        path = f"/apis/{API_VERSION}/{resource}"
        found[kind] = _known(api, path, kind, partial(_read, kind), page, reasons)
    if found["NetworkSet"]:
        known = _known(api, "/api/v1/namespaces", "Namespace", labelled, page, reasons)
        found["NetworkSet"] = [_in_its_namespace(each, dict(known)) for each in found["NetworkSet"]]
    return tuple(each for some in found.values() for each in some), "; ".join(reasons)


def selectable(kind: str, document: Mapping[str, Any]) -> Selectable:
    """An object as selectors see it, without inherited labels."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    namespace, name = metadata.get("namespace"), metadata["name"]
    return Selectable(
        kind,
        f"{namespace}/{name}" if namespace else name,
        metadata.get("labels") or {},
        profiles=tuple(sorted({*(spec.get("profiles") or ())} - {_WITHOUT_LABELS})),
        spec=hashlib.sha256(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).hexdigest(),
    )


def _read(kind: str, document: Mapping[str, Any]) -> Iterator[Selectable]:
    yield selectable(kind, document)


def _in_its_namespace(
    found: Selectable, namespaces: Mapping[tuple[str, str], Mapping[str, str]]
) -> Selectable:
    namespace, _, _ = found.name.partition("/")
    return replace(found, inherited=namespace_labels(namespace, namespaces))


def _known(
    api: Api,
    path: str,
    kind: str,
    keep: Callable[[Mapping[str, Any]], Iterator[_Kept]],
    page: int,
    reasons: list[str],
) -> list[_Kept]:
    """The result of a read; or nothing, and one more reason."""
    try:
        return api.collected(path, kind, keep, page=page)
    except (ForbiddenError, NotFoundError) as error:
        reasons.append(str(error))
        return []

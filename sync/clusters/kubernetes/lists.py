"""Lists of Kubernetes objects: in pages, of the requested kind, and not outdated."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync.clusters.kubernetes.errors import TooLargeError, UnansweredError
from sync.redaction import redact

# More than any cluster is designed for (https://kubernetes.io/docs/setup/best-practices/cluster-large/).
MOST_OBJECTS = 1_000_000
MOST_PAGES = 100_000
_VERSION_DIGITS = 20
LAG_SECONDS = 30.0  # for which outdated lists are refused


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: its objects, and the version of the whole, "" where it has none."""

    objects: Iterable[dict[str, Any]]
    version: str


def pages(
    ask: Callable[..., Mapping[str, Any]],
    cluster: str,
    path: str,
    kind: str,
    first: Mapping[str, str | int],
    *,
    page: int,
) -> Iterator[Page]:
    """A list of `kind`, as `ask(query=...)` answers for it, in pages of `page` objects.

    Each request has the query `first`. Pages that are too large are requested in smaller ones.
    Raises `ApiError` for an answer that is no such list, for a list without an end, and as `ask`:
    `GoneError` if the server no longer has the resource version of the list.
    """
    query = {**first, "limit": page}
    tokens: set[str] = set()
    objects = 0
    for _ in range(MOST_PAGES):
        try:
            found = ask(query=query)
        except TooLargeError:
            if page == 1:
                raise
            page = max(page // 8, 1)
            query = {**query, "limit": page}
            continue
        part = _listed(found, cluster, path, kind)
        objects += len(part)
        if objects > MOST_OBJECTS:
            break
        metadata = found["metadata"]
        yield Page(part, str(metadata.get("resourceVersion") or ""))
        token = metadata.get("continue")
        if not token:
            if metadata.get("remainingItemCount"):
                raise UnansweredError(
                    f"cluster {cluster} ends a list of {path} and reports that more is in it; "
                    "check which server is at its address"
                )
            return
        if token in tokens:
            break
        tokens.add(token)
        query = {**first, "limit": page, "continue": token}
    raise UnansweredError(
        f"cluster {cluster} lists {path} without an end; check which server is at its address"
    )


def _listed(
    found: Mapping[str, Any], cluster: str, path: str, kind: str
) -> Sequence[dict[str, Any]]:
    """The objects of a list from `path`, which must declare them as `kind`.

    Items may omit what the list declares. `ApiError` if it is anything else: an empty list of
    another kind would look as if there were no objects.
    """
    version = "/".join(path.split("/")[2:4] if path.startswith("/apis/") else path.split("/")[2:3])
    wanted = {"apiVersion": version, "kind": f"{kind}List"}
    items = found.get("items", ())
    objects = () if items is None else items
    metadata = found.get("metadata")
    sound = (
        all(found.get(key) == value for key, value in wanted.items())
        and isinstance(metadata, dict)
        and isinstance(metadata.get("continue") or "", str)
        and "items" in found
        and isinstance(objects, list | tuple)
        and all(is_object(each, version, kind) for each in objects)
    )
    if not sound:
        told = redact(f"{found.get('apiVersion')} {found.get('kind')}")
        raise UnansweredError(
            f"cluster {cluster} answers GET {path} with something that is not a list of Kubernetes "
            f"objects of kind {kind} in {version} ({told}); check which server is at its address"
        )
    return objects


def version_number(metadata: Mapping[str, Any]) -> int:
    """The resource version as a number, as Kubernetes' are; else 0."""
    version = metadata.get("resourceVersion")
    if isinstance(version, str) and len(version) < _VERSION_DIGITS and version.isdecimal():
        return int(version)
    return 0


def is_object(found: object, version: str, kind: str) -> bool:
    """Whether this is an object of a kind, if it declares one; items of a list may not."""
    return (
        isinstance(found, dict)
        and is_of_kind(found, version, kind)
        and isinstance(found["metadata"].get("name"), str)
    )


def is_of_kind(found: object, version: str, kind: str) -> bool:
    """The same without requiring a name: a bookmark of a watch has none."""
    return (
        isinstance(found, dict)
        and found.get("kind", kind) == kind
        and found.get("apiVersion", version) == version
        and isinstance(found.get("metadata"), dict)
    )


class ListAges:
    """The newest version seen of each kind in one cluster, to refuse outdated lists."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        # By the path of a kind: the newest resource version seen, and since when lists are older.
        self._newest: dict[str, int] = {}
        self._lags: dict[str, float] = {}

    def seen(self, path: str, metadata: Mapping[str, Any]) -> None:
        """Note the version of the kind at `path`, by the metadata of an object or a list of it.

        Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
        """
        if version := version_number(metadata):
            self._newest[path] = max(version, self._newest.get(path, 0))

    def require_new(self, path: str, found: Mapping[str, Any]) -> None:
        """Refuse a list that is older than a seen version, unless lists stay older for a while.

        A cluster that was restored from a backup stays behind permanently.
        """
        metadata = found.get("metadata")
        if not (isinstance(metadata, dict) and str(found.get("kind")).endswith("List")):
            return
        version, now = version_number(metadata), time.monotonic()
        if version and version < self._newest.get(path, 0):
            if now - self._lags.setdefault(path, now) < LAG_SECONDS:
                raise UnansweredError(
                    f"cluster {self._cluster} lists {path} in an older state than it "
                    "reported before; look for a member of its control plane, or a cache before "
                    "it, that lags"
                )
            # That holds for all kinds, so the others need no wait of their own.
            self._newest.clear()
            self._lags.clear()
        self._lags.pop(path, None)
        self.seen(path, metadata)

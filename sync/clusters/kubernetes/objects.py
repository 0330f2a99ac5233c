"""A Kubernetes cluster: Calico's objects over its API, `projectcalico.org/v3` and nothing else.

Every write is settled: a conflict, a timeout or a broken connection is followed by a look at the
object, and only what the cluster is then seen to hold decides whether it was written.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson

from sync.calico.added import FIELD_MANAGER
from sync.calico.manifest import Manifest, first_difference
from sync.calico.objects import API_VERSION, KINDS, Pairs
from sync.calico.ownership import merged, ours_of, stamped
from sync.clusters.cluster import (
    ClusterFacts,
    CriticalEndpoints,
    Key,
    LiveObject,
    NotWrittenError,
    OutOfReachError,
    Remaining,
    Workload,
)
from sync.clusters.kubernetes.client import KUBE_SYSTEM, Api, Pause
from sync.clusters.kubernetes.critical_services import read_lifelines, read_pods_at
from sync.clusters.kubernetes.errors import ApiError
from sync.clusters.kubernetes.inventory import read_facts
from sync.clusters.kubernetes.lists import is_object
from sync.clusters.kubernetes.selectable import read_selectable
from sync.errors import ClusterError
from sync.memo import remembered
from sync.redaction import redact

MALFORMED = (KeyError, TypeError, ValueError, AttributeError)
"""What comes of taking an answer for what it should be when it is not."""

_GROUP = f"/apis/{API_VERSION}"
_MIGRATION = "migration.projectcalico.org"
_UID = re.compile(r"[0-9A-Za-z-]{1,64}")
PAGE = 500
_TRIES = 6
# A field that this Calico does not know would otherwise be dropped without a word, and a rule that
# lost one allows more.
_STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
# The server understood the request and will refuse it again, however often it is sent.
_FINAL = frozenset({400, 401, 403, 405, 413, 415, 422})
# So does Calico's API server, with whatever status (`libcalico-go/lib/clientv3/tier.go`).
_NOT_EMPTY = "Cannot delete a non-empty tier"


class KubernetesReader:
    """Reads a cluster; `owner` are the labels that make an object ours.

    `uid` is what `identity` found last, "" before.
    """

    def __init__(self, api: Api, owner: Pairs) -> None:
        self._api = api
        self._owner = owner
        self.uid = ""

    def identity(self) -> str:
        """The UID of the namespace `kube-system`, which lives as long as its cluster does.

        https://opentelemetry.io/docs/specs/semconv/registry/attributes/k8s/ (`k8s.cluster.uid`)
        """
        with self._sensible():
            try:
                namespace = self._api.patiently("GET", KUBE_SYSTEM)
            except ApiError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                raise ClusterError(
                    f"cluster {self._api.name} has no namespace kube-system, whose UID tells it "
                    "from other clusters; check what stands at its address"
                ) from error
            uid = namespace["metadata"]["uid"]
            if not _UID.fullmatch(uid):
                raise ValueError("the uid of kube-system is none")
            self.uid = str(uid)
            return self.uid

    def read(self) -> Mapping[Key, LiveObject]:
        """Every object of our kinds, foreign ones included.

        `ClusterError` if it cannot be read, or holds Calico's objects in no form that may be
        written.
        """
        with self._sensible():
            _require_served(self._api)
            return {
                (kind, document["metadata"]["name"]): live_object(kind, document, self._owner)
                for kind in KINDS
                for document in self._api.collected(_path(kind), kind, _whole, page=PAGE)
            }

    def facts(self, zone_label: str) -> ClusterFacts:
        """What pods, IPPools, nodes and namespaced policies there are, and others' sets."""
        with self._sensible():
            facts = read_facts(self._api, zone_label, page=PAGE)
            others, because = read_selectable(self._api, page=PAGE)
            return replace(facts, selectable=others, selectable_because=because)

    def lifelines(self) -> CriticalEndpoints:
        """Its DNS and API server, and a pod of each workload."""
        with self._sensible():
            return read_lifelines(self._api, page=PAGE)

    def pods_at(self, addresses: Collection[tuple[int, int]]) -> Sequence[Workload]:
        """The pods with one of these addresses."""
        with self._sensible():
            return read_pods_at(self._api, addresses, page=PAGE)

    @contextmanager
    def _sensible(self) -> Iterator[None]:
        try:
            yield
        except MALFORMED as error:
            raise ClusterError(
                f"cluster {self._api.name} answers with something that is no list of Kubernetes "
                f"objects ({type(error).__name__}: {redact(error)}); check what stands at its "
                "address"
            ) from error


class KubernetesWriter:
    """Writes a cluster, under a lease that lasts for `remaining()` seconds at least.

    No request may take longer than `seconds`, and none is sent when the lease may end before it:
    whoever holds the next one finds nothing of ours under way. Once `stopping()`, nothing is tried
    again. With `uid`, that of the cluster that was planned for, no other one is written.
    """

    def __init__(
        self,
        api: Api,
        owner: Pairs,
        *,
        remaining: Remaining,
        seconds: float,
        stopping: Callable[[], bool] = lambda: False,
        uid: str = "",
    ) -> None:
        self._api = api
        self._owner = owner
        self._remaining = remaining
        self._stopping = stopping
        self._seconds = seconds
        self._uid = uid
        self._out_of_reach = False

    def create(self, manifest: Manifest, stamp: Pairs = ()) -> None:
        self._settle(_path(manifest.kind), manifest, None, stamp)

    def replace(self, manifest: Manifest, live: LiveObject, stamp: Pairs = ()) -> None:
        assert live.stands is not None, "what must be left alone is not replaced"
        self._settle(_path(manifest.kind, manifest.name), manifest, live, stamp)

    def delete(self, live: LiveObject) -> None:
        assert live.manifest is not None, "only an object of ours is deleted"
        self._settle(_path(live.manifest.kind, live.manifest.name), None, live)

    def _settle(
        self, path: str, after: Manifest | None, live: LiveObject | None, stamp: Pairs = ()
    ) -> None:
        """Write until the cluster holds `after`, or surely will not.

        After a failure the object is read back. If it is `after`, the write has arrived; if it
        still is what it was, it is written again over what stands there now; if it is anything
        else, another hand was faster and the next sync plans anew.
        """
        before = live.stands if live else None
        named = after or before
        assert named is not None
        if self._out_of_reach:
            raise OutOfReachError(
                f"{named.kind} {named.name} was not tried: the API server of cluster "
                f"{self._api.name} did not answer; the next sync goes on"
            )
        pause = Pause(self._api.sleep)
        unknown = False  # whether an earlier try may have arrived, or still may
        for tries_left in reversed(range(_TRIES)):
            try:
                self._send(path, after, live, stamp)
            except OutOfReachError as error:
                raise _verdict(error, unknown=unknown) from error
            except ApiError as error:
                failed = error
            else:
                return
            if (failed.status in _FINAL and not failed.passing) or _NOT_EMPTY in failed.words:
                raise _verdict(NotWrittenError(str(failed)), unknown=unknown) from failed
            unknown = unknown or failed.may_arrive
            if self._stopping():
                self._out_of_reach = True
                break
            if failed.passing and tries_left:
                pause.after(failed)
            try:
                live = self._read(named)
            except ApiError as error:
                if error.passing and tries_left and not self._stopping():
                    continue
                self._out_of_reach = self._out_of_reach or error.status == 0
                raise _verdict(OutOfReachError(str(failed)), unknown=unknown) from error
            holds = live.stands if live else None
            if holds == after and (live is None) == (after is None):
                return
            if holds != before or (live is None) != (before is None):
                changed = NotWrittenError(
                    f"{named.kind} {named.name} was changed by another hand meanwhile; the next "
                    "sync plans it anew"
                )
                raise _verdict(changed, unknown=unknown) from failed
        raise _verdict(NotWrittenError(str(failed)), unknown=unknown) from failed

    def _send(
        self, path: str, after: Manifest | None, live: LiveObject | None, stamp: Pairs
    ) -> None:
        """Send one write, and believe a success only as far as the answer says what is held now."""
        if after is None:
            assert live is not None
            metadata = live.document["metadata"]
            preconditions = {key: metadata[key] for key in ("uid", "resourceVersion")}
            answer = self._write("DELETE", path, {"preconditions": preconditions})
            _require_deleted(answer, metadata)
            return
        if live is None:
            answer = self._write("POST", path, stamped(after, stamp), _STRICT)
        else:
            answer = self._write("PUT", path, merged(after, live.document, stamp), _STRICT)
        with _understood(after.kind):
            held = ours_of(answer, just_sent=True)
            self._api.ages.seen(_path(after.kind), answer["metadata"])
        if held != after:
            place = redact(first_difference(after.document(), held.document()))
            raise ClusterError(
                f"cluster {self._api.name} took {after.kind} {after.name} and holds something else "
                f"than was sent ({place}); find what changes it, a webhook perhaps, or an older "
                "Calico"
            )

    def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        return self._api.request(
            method,
            path,
            query=query,
            body=body,
            seconds=self._seconds,
            fence=self._fence,
            uid=self._uid,
        )

    def _fence(self) -> None:
        if self._remaining() <= self._seconds:
            raise OutOfReachError(
                f"the lease of cluster {self._api.name} was not renewed in time, so nothing more "
                "is written; check that the store can be reached"
            )

    def _read(self, manifest: Manifest) -> LiveObject | None:
        path = _path(manifest.kind, manifest.name)
        try:
            document = self._api.request("GET", path, seconds=self._seconds)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        with _understood(manifest.kind):
            found = live_object(manifest.kind, document, self._owner)
            if document["metadata"]["name"] != manifest.name:
                raise ValueError("another object")
            return found


def _verdict(error: NotWrittenError, *, unknown: bool) -> ClusterError:
    """The error as it is, if nothing that was sent before can have arrived."""
    if unknown:
        return ClusterError(
            f"{error}; what was sent may have arrived or still may, the next sync looks"
        )
    return error


def _require_deleted(answer: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """An API server answers a deletion with a status, or with the object as it was or still is."""
    details = answer.get("details")
    uid = details.get("uid") if isinstance(details, Mapping) else None
    success = answer.get("kind") == "Status" and answer.get("status") == "Success"
    if success and uid in (None, metadata["uid"]):
        return
    left = answer.get("metadata")
    if not isinstance(left, Mapping) or left.get("uid") != metadata["uid"]:
        raise ApiError("a deletion was answered with something that says nothing about it", 0)
    if left.get("deletionTimestamp") and left.get("finalizers"):
        raise NotWrittenError(
            f"{metadata['name']} is marked for deletion, but stays until whoever put the "
            f"finalizers {redact(', '.join(map(str, left['finalizers'])))} on it takes them off"
        )


@contextmanager
def _understood(kind: str) -> Iterator[None]:
    try:
        yield
    except MALFORMED as error:
        raise ApiError(
            f"{kind} was asked for and something else came ({redact(error)})", 0
        ) from error


def live_object(kind: str, document: Mapping[str, Any], owner: Pairs) -> LiveObject:
    """An object as the API gave it; the items of a list may lack their own kind.

    `ValueError` if it is of another kind.
    """
    if not is_object(document, API_VERSION, kind):
        raise ValueError(f"no {kind}")
    document = {"apiVersion": API_VERSION, "kind": kind, **document}
    return LiveObject.of(document, owner, _changed_by(document["metadata"]), _ours_of)


def _ours_of(document: Mapping[str, Any]) -> Manifest:
    try:
        whole = orjson.dumps(document)
    except orjson.JSONEncodeError:
        # What is not ours may be nested deeper than that, and need not be written by anybody here.
        return ours_of(document)
    return _ours_in(whole)


@remembered(64 << 20)
def _ours_in(document: bytes) -> Manifest:
    return ours_of(orjson.loads(document))


def _changed_by(metadata: Mapping[str, Any]) -> str:
    """The last writer that the managed fields name, where it was not us."""
    entries = [each for each in metadata.get("managedFields") or () if not each.get("subresource")]
    # Times are whole seconds: in the same one, the other hand is named.
    hands = [(str(each.get("time", "")), str(each.get("manager", ""))) for each in entries]
    time, manager = max(
        hands, default=("", ""), key=lambda hand: (hand[0], hand[1] != FIELD_MANAGER)
    )
    return "" if manager in ("", FIELD_MANAGER) else redact(f"{manager} at {time}")


def _whole(document: dict[str, Any]) -> tuple[dict[str, Any]]:
    return (document,)


def _path(kind: str, name: str = "") -> str:
    resource = f"{_GROUP}/{KINDS[kind]}"
    return f"{resource}/{quote(name, safe='')}" if name else resource


def _require_served(api: Api) -> None:
    """Hold the cluster to serving every kind as `projectcalico.org/v3`.

    A kind that is not served would look as if there were no objects of it. Calico's own definitions
    of that group and its aggregated API server take and give the same documents. `ClusterError`
    where neither is, or one is being turned into the other.
    """
    told = _told(api, "/apis", "APIGroupList").get("groups") or ()
    groups = {group["name"]: group for group in told}
    if API_VERSION.partition("/")[0] not in groups:
        raise ClusterError(
            f"cluster {api.name} serves Calico only as crd.projectcalico.org/v1, which nobody but "
            "Calico may write; install Calico's API server, or its native v3 definitions"
            if "crd.projectcalico.org" in groups
            else f"cluster {api.name} does not serve {API_VERSION}; install Calico there"
        )
    if migration := groups.get(_MIGRATION):
        _refuse_migration(api, migration["preferredVersion"]["groupVersion"])
    found = _told(api, _GROUP, "APIResourceList")
    if found.get("groupVersion") != API_VERSION:
        raise _another(api, _GROUP, "APIResourceList")
    served = {resource["name"] for resource in found.get("resources") or ()}
    if missing := [kind for kind, resource in KINDS.items() if resource not in served]:
        raise ClusterError(
            f"cluster {api.name} does not serve {', '.join(missing)} as {API_VERSION} (now); "
            "Calico 3.30 or later is needed"
        )


def _told(api: Api, path: str, kind: str) -> dict[str, Any]:
    """What a server tells of what it serves, believed only if it says that it is that."""
    found = api.patiently("GET", path)
    if found.get("kind") != kind:
        raise _another(api, path, kind)
    return found


def _another(api: Api, path: str, kind: str) -> ClusterError:
    return ClusterError(
        f"cluster {api.name} answers GET {path} with something that is no {kind}; check what "
        "stands at its address"
    )


def _refuse_migration(api: Api, version: str) -> None:
    """Calico moves its objects to the native definitions: what is written meanwhile may be lost.

    `version` is the group and version in which the cluster tells of it.
    `libcalico-go/lib/apis/migration`: phases from Pending to Complete or Failed.
    """
    path = f"/apis/{version}/datastoremigrations"
    try:
        found = api.collected(path, "DatastoreMigration", _whole, page=PAGE)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        raise ClusterError(
            f"{error}; without it nothing tells whether Calico is moving its objects to its native "
            "definitions (DatastoreMigration), so nothing is written"
        ) from error
    for each in found:
        phase = (each.get("status") or {}).get("phase")
        if phase not in (None, "", "Pending", "Complete", "Failed"):
            raise ClusterError(
                f"cluster {api.name} is moving Calico's objects to the native definitions "
                f"(DatastoreMigration {redact(each['metadata']['name'])}, {redact(phase)}); "
                "nothing is written until that has ended"
            )

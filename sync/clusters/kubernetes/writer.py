"""Writes a Kubernetes cluster: Calico's objects over its API.

Every write is settled: after a conflict, a timeout or a broken connection the object is read back,
and only the observed object decides whether it was written.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sync.calico.added import FIELD_MANAGER
from sync.calico.manifest import Manifest, first_difference
from sync.calico.objects import Pairs
from sync.calico.ownership import merged, ours_of, stamped
from sync.clusters.cluster import LiveObject, NotWrittenError, OutOfReachError, Remaining
from sync.clusters.kubernetes.client import FIRST_WAIT, Api
from sync.clusters.kubernetes.errors import (
    LONGEST_WAIT,
    ApiError,
    ConflictError,
    NotFoundError,
    NotSentError,
    RefusedError,
    UnansweredError,
)
from sync.clusters.kubernetes.objects import MALFORMED, live_object, object_path
from sync.errors import ClusterError
from sync.redaction import redact
from sync.transport.backoff import Backoff
from sync.transport.errors import Retryable

_TRIES = 6
# A field that this version of Calico does not know would otherwise be dropped silently, and a rule
# without it allows more.
_STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}


class KubernetesWriter:
    """Writes a cluster, under a lease that lasts for `remaining()` seconds at least.

    No request may take longer than `seconds`, and none is sent if the lease may end before it:
    the next holder must find no request of ours in flight. Once `stopping()`, nothing is retried.
    With `uid`, that of the planned cluster, no other cluster is written.
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
        self._settle(object_path(manifest.kind), manifest, None, stamp)

    def replace(self, manifest: Manifest, live: LiveObject, stamp: Pairs = ()) -> None:
        assert live.stands is not None, "what must be left alone is not replaced"
        self._settle(object_path(manifest.kind, manifest.name), manifest, live, stamp)

    def delete(self, live: LiveObject) -> None:
        assert live.manifest is not None, "only an object of ours is deleted"
        self._settle(object_path(live.manifest.kind, live.manifest.name), None, live)

    def _settle(
        self, path: str, after: Manifest | None, live: LiveObject | None, stamp: Pairs = ()
    ) -> None:
        """Write until the cluster holds `after`, or surely will not.

        After a failure the object is read back. If it is `after`, the write has arrived; if it is
        unchanged, it is written again over what the cluster holds now; if it is
        anything else, someone else was faster and the next sync plans again.
        """
        before = live.stands if live else None
        named = after or before
        assert named is not None
        self._require_in_reach(named)
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        unknown = False  # whether an earlier try may have taken effect, or still may
        for tries_left in reversed(range(_TRIES)):
            try:
                self._send(path, after, live, stamp)
            except OutOfReachError as error:
                raise _verdict(error, unknown=unknown) from error
            except ApiError as error:
                failed = error
            else:
                return
            if _is_final(failed):
                raise _verdict(NotWrittenError(str(failed)), unknown=unknown) from failed
            unknown = unknown or not isinstance(failed, RefusedError | NotSentError)
            if self._stopping():
                self._out_of_reach = True
                break
            if isinstance(failed, Retryable) and tries_left:
                self._api.sleep(backoff.wait(failed.after))
            try:
                live = self._read(named)
            except ApiError as error:
                if isinstance(error, Retryable) and tries_left and not self._stopping():
                    continue
                self._out_of_reach = self._out_of_reach or isinstance(error, UnansweredError)
                raise _verdict(OutOfReachError(str(failed)), unknown=unknown) from error
            holds = live.stands if live else None
            if holds == after and (live is None) == (after is None):
                return
            if holds != before or (live is None) != (before is None):
                changed = NotWrittenError(
                    f"{named.kind} {named.name} was changed by someone else meanwhile; the next "
                    "sync plans it again"
                )
                raise _verdict(changed, unknown=unknown) from failed
        raise _verdict(NotWrittenError(str(failed)), unknown=unknown) from failed

    def _require_in_reach(self, manifest: Manifest) -> None:
        if self._out_of_reach:
            raise OutOfReachError(
                f"{manifest.kind} {manifest.name} was not tried: the API server of cluster "
                f"{self._api.name} did not answer; the next sync continues"
            )

    def _send(
        self, path: str, after: Manifest | None, live: LiveObject | None, stamp: Pairs
    ) -> None:
        """Send one write; a success counts only if the answer shows the object as it was sent."""
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
            self._api.ages.seen(object_path(after.kind), answer["metadata"])
        if held != after:
            place = redact(first_difference(after.document(), held.document()))
            raise ClusterError(
                f"cluster {self._api.name} accepted {after.kind} {after.name} and holds "
                f"something other than was sent ({place}); find what changes it, perhaps a webhook "
                "or an older Calico"
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
        path = object_path(manifest.kind, manifest.name)
        try:
            document = self._api.request("GET", path, seconds=self._seconds)
        except NotFoundError:
            return None
        with _understood(manifest.kind):
            found = live_object(manifest.kind, document, self._owner)
            if document["metadata"]["name"] != manifest.name:
                raise ValueError("another object")
            return found


def _is_final(failed: ApiError) -> bool:
    """Whether the server will refuse the same write each time, whatever the cluster holds."""
    depends = isinstance(failed, Retryable | NotFoundError | ConflictError)
    return isinstance(failed, RefusedError) and not depends


def _verdict(error: NotWrittenError, *, unknown: bool) -> ClusterError:
    """The error itself, if no earlier request can have taken effect."""
    if unknown:
        return ClusterError(
            f"{error}; the request may have taken effect, or still may; the next sync checks"
        )
    return error


def _require_deleted(answer: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Require a completed deletion; the server answers with a status, or with the object."""
    details = answer.get("details")
    uid = details.get("uid") if isinstance(details, Mapping) else None
    success = answer.get("kind") == "Status" and answer.get("status") == "Success"
    if success and uid in (None, metadata["uid"]):
        return
    left = answer.get("metadata")
    if not isinstance(left, Mapping) or left.get("uid") != metadata["uid"]:
        raise UnansweredError("a deletion was answered with something else than its result")
    if left.get("deletionTimestamp") and left.get("finalizers"):
        raise NotWrittenError(
            f"{metadata['name']} is marked for deletion, but stays until its finalizers "
            f"{redact(', '.join(map(str, left['finalizers'])))} are removed by their owners"
        )


@contextmanager
def _understood(kind: str) -> Iterator[None]:
    try:
        yield
    except MALFORMED as error:
        raise UnansweredError(
            f"{kind} was requested and something else came ({redact(error)})"
        ) from error

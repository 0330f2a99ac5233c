"""Watching a Kubernetes cluster, which tells of changes by itself, from a resource version on.

While nothing changes nothing is read.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson
import structlog
import urllib3

from sync.calico.names import STORE
from sync.calico.objects import API_VERSION, KINDS, Pairs
from sync.clusters.api import Api, ApiError, Pause
from sync.clusters.cluster import Changed, Labelled
from sync.clusters.kubernetes import MALFORMED, live_object
from sync.clusters.selectable import RESOURCES, selectable
from sync.errors import ClusterError

_WATCH_SECONDS = (240, 300)  # how long a watch lasts before a new one goes on from there
# A server sends bookmarks about once a minute: a longer silence is a broken connection.
_SILENCE_SECONDS = 150
_NEWS = 3  # failures in a row from which on the log tells of it

SELECTABLE = {"GlobalNetworkSet": KINDS["GlobalNetworkSet"], **RESOURCES}
"""The kinds of others that are watched, each with its resource name."""

_GONE = "DELETED"

_Tell = Callable[[str, str, dict[str, Any]], None]
"""Told of an object: its kind, the type of the event, the whole."""


class KubernetesWatcher:
    """Watches the objects that carry our labels, and what of others selectors of ours could select.

    Each kind of either is watched in a thread of its own.
    """

    def __init__(self, api: Api, owner: Pairs) -> None:
        self._api = api
        self._owner = owner

    def watch(
        self,
        changed: Changed,
        labelled: Labelled,
        missed: Callable[[], None],
        stopping: threading.Event,
    ) -> None:
        ours = ",".join(f"{key}={value}" for key, value in self._owner)
        # What only looks like ours is not told of: the next look at the cluster finds it.
        others = f"{STORE}!={dict(self._owner)[STORE]}"
        followed = [
            *(
                _Followed(
                    self._api, kind, KINDS[kind], ours, self._of_ours(changed), missed, stopping
                )
                for kind in KINDS
            ),
            *(
                _Followed(self._api, kind, resource, others, _of_others(labelled), missed, stopping)
                for kind, resource in SELECTABLE.items()
            ),
        ]

        def end() -> None:
            stopping.wait()
            for each in followed:
                each.break_off()

        for work in (end, *(each.follow for each in followed)):
            threading.Thread(target=work, name=f"watch {self._api.name}", daemon=True).start()

    def _of_ours(self, changed: Changed) -> _Tell:
        def tell(kind: str, event: str, document: dict[str, Any]) -> None:
            live = live_object(kind, document, self._owner)
            key = (kind, document["metadata"]["name"])
            changed(key, None if event == _GONE else live.manifest)

        return tell


def _of_others(labelled: Labelled) -> _Tell:
    def tell(kind: str, event: str, document: dict[str, Any]) -> None:
        found = selectable(kind, document)
        labelled((kind, found.name), None if event == _GONE else found)

    return tell


class _Followed:
    """One kind in one cluster, followed from one resource version to the next."""

    def __init__(
        self,
        api: Api,
        kind: str,
        resource: str,
        selector: str,
        tell: _Tell,
        missed: Callable[[], None],
        stopping: threading.Event,
    ) -> None:
        self._api = api
        self._kind = kind
        self._tell = tell
        self._missed = missed
        self._stopping = stopping
        self._path = f"/apis/{API_VERSION}/{resource}"
        self._selector = selector
        self._version = ""  # "": none, or one that the server has forgotten
        self._failures = 0  # in a row
        self._answer: urllib3.BaseHTTPResponse | None = None
        self._log = structlog.get_logger().bind(cluster=api.name, kind=kind)

    def follow(self) -> None:
        """Watch until the end, whatever happens in between."""
        pause = Pause(self._sleep)
        while not self._stopping.is_set():
            try:
                if not self._version:
                    self._begin()
                for event in self._events():
                    self._take(event)
                pause = Pause(self._sleep)
            except ApiError as error:
                if error.status >= HTTPStatus.BAD_REQUEST:
                    self._version = ""
                self._warn(error)
                pause.after(error)
            except (ClusterError, *MALFORMED) as error:
                # No credentials, or an answer that is none: what happened meanwhile is not known.
                self._version = ""
                self._warn(error)
                pause.after(ApiError(str(error), 0))

    def _warn(self, error: Exception) -> None:
        """A connection that ends is no news, one that does not come back is."""
        self._failures += 1
        if self._failures == _NEWS:
            self._log.warning(
                "cluster not watched, what other hands do is not seen", error=str(error)
            )

    def _resume(self) -> None:
        if self._failures >= _NEWS:
            self._log.info("cluster watched again")
        self._failures = 0

    def break_off(self) -> None:
        """End a read that waits for what may come."""
        answer = self._answer
        if answer:
            # It may have ended by itself just now.
            with suppress(OSError, RuntimeError, ValueError):
                answer.shutdown()

    def _begin(self) -> None:
        query: dict[str, str | int] = {"limit": 1, "labelSelector": self._selector}
        found = self._api.request("GET", self._path, query=query)
        self._version = str(found["metadata"]["resourceVersion"])
        self._missed()

    def _events(self) -> Iterator[Any]:
        query: dict[str, str | int] = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": self._selector,
            "resourceVersion": self._version,
            "timeoutSeconds": random.randint(*_WATCH_SECONDS),  # noqa: S311 - spread, not secret
        }
        with self._api.stream(self._path, query, _SILENCE_SECONDS) as answer:
            self._answer = answer
            self._resume()
            line = b""
            try:
                # Asked after `break_off` can see the answer: one of the two notices the end. What
                # has come is given on at once: nothing waits for a buffer to fill.
                while not self._stopping.is_set() and (part := answer.read1()):
                    *lines, line = (line + part).split(b"\n")
                    yield from (orjson.loads(each) for each in lines if each)
            except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError, OSError) as error:
                message = f"the watch of cluster {self._api.name} broke off: {error}"
                raise ApiError(message, 0) from error
            finally:
                self._answer = None

    def _take(self, event: Any) -> None:
        if not (isinstance(event, dict) and {"type", "object"} <= event.keys()):
            message = f"the watch of cluster {self._api.name} gives something that is no event"
            raise ApiError(message, 0)
        document = event["object"]
        if event["type"] == "ERROR":
            message = f"the watch of cluster {self._api.name} ended: {document.get('message')}"
            raise ApiError(message, int(document.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR))
        if event["type"] != "BOOKMARK":
            self._tell(self._kind, event["type"], document)
        self._version = str(document["metadata"]["resourceVersion"])

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)

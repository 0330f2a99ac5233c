"""Kubernetes Events (`events.k8s.io/v1`), which `kubectl describe` shows for an object.

    a tier or a pod -> a reference with its UID -> an Event, or one more of its series

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from sync.calico.objects import API_VERSION, KINDS
from sync.clusters.cluster import EventText
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ConflictError, NotFoundError

LONGEST_NOTE: Final = 1024
"""Characters (`pkg/apis/core/validation/events.go` of Kubernetes)."""

EVENTS_NAMESPACE: Final = "default"
"""The namespace of Events about cluster-scoped objects."""

CONTROLLER: Final = "zonebridge.io/zonebridge"

_LONGEST_NAME: Final = 128  # of a reporting instance
_SECONDS: Final = 5.0
_SERIES_SECONDS: Final = 600.0
"""Repetitions within this time are one Event with a count."""

# As Kubernetes' own recorder has it for each object (`tools/record/events_cache.go` of client-go).
_BURST: Final = 25.0
_REFILL_SECONDS: Final = 300.0
_MOST_SERIES: Final = 256


@dataclass(slots=True)
class _Series:
    document: dict[str, Any]
    count: int
    at: float


class KubernetesEvents:
    """Writes Events to one API server.

    `instance` names this process, `clock` is Unix time.
    """

    def __init__(self, api: Api, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._instance = instance[:_LONGEST_NAME]
        self._clock = clock
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        self._tokens: dict[str, tuple[float, float]] = {}

    def tier(self, name: str) -> Mapping[str, str] | None:
        kind = "Tier"
        path = f"/apis/{API_VERSION}/{KINDS[kind]}/{quote(name, safe='')}"
        try:
            found = self._api.request("GET", path, seconds=_SECONDS)
        except NotFoundError:
            return None
        metadata = found.get("metadata")
        uid = metadata.get("uid") if isinstance(metadata, dict) else None
        # `kubectl describe` asks for Events by it.
        return _reference(API_VERSION, kind, name, "", str(uid or ""))

    def record(self, regarding: Mapping[str, str], said: EventText) -> bool:
        now = self._clock()
        key = (regarding["kind"], regarding["name"], said.reason, said.note)
        known = self._series.get(key)
        if not self._spend(f"{regarding['kind']} {regarding['name']}", now):
            return False
        if known and now - known.at < _SERIES_SECONDS and self._again(known, now):
            return True
        namespace = regarding.get("namespace") or EVENTS_NAMESPACE
        document = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{regarding['name'][:200]}.{secrets.token_hex(8)}",
                "namespace": namespace,
            },
            "eventTime": _time(now),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": "Sync",
            "reason": said.reason,
            "regarding": dict(regarding),
            "note": said.note[:LONGEST_NOTE],
            "type": "Warning" if said.warning else "Normal",
        }
        path = f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, safe='')}/events"
        written = self._api.request("POST", path, body=document, seconds=_SECONDS)
        while len(self._series) >= _MOST_SERIES:
            del self._series[next(iter(self._series))]
        self._series.pop(key, None)
        self._series[key] = _Series(written, 1, now)
        return True

    def _again(self, known: _Series, now: float) -> bool:
        """Count an Event again; False: it is gone, or someone else changed it."""
        metadata = known.document["metadata"]
        document = {
            **known.document,
            "series": {"count": known.count + 1, "lastObservedTime": _time(now)},
        }
        namespace, name = quote(metadata["namespace"], safe=""), quote(metadata["name"], safe="")
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/{name}"
        try:
            known.document = self._api.request("PUT", path, body=document, seconds=_SECONDS)
        except (NotFoundError, ConflictError):
            return False
        known.count, known.at = known.count + 1, now
        return True

    def _spend(self, regarding: str, now: float) -> bool:
        tokens, at = self._tokens.get(regarding, (_BURST, now))
        tokens = min(tokens + max(now - at, 0) / _REFILL_SECONDS, _BURST)
        spent = tokens >= 1
        self._tokens[regarding] = tokens - spent, now
        return spent


def pod(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The pod that this process runs in, as an Event refers to it: by the downward API."""
    return _reference("v1", "Pod", *(environ[f"POD_{key}"] for key in ("NAME", "NAMESPACE", "UID")))


def _reference(version: str, kind: str, name: str, namespace: str, uid: str) -> dict[str, str]:
    found = {"apiVersion": version, "kind": kind, "name": name, "namespace": namespace, "uid": uid}
    return {key: value for key, value in found.items() if value}


def _time(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    return at.replace("+00:00", "Z")

"""Calico's objects as an API server has them: `projectcalico.org/v3` and nothing else."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from sync.calico.added import FIELD_MANAGER
from sync.calico.manifest import Manifest
from sync.calico.objects import API_VERSION, KINDS, Pairs
from sync.calico.ownership import ours_of
from sync.clusters.cluster import LiveObject
from sync.clusters.kubernetes.lists import is_object
from sync.memo import remembered
from sync.redaction import redact

MALFORMED = (KeyError, TypeError, ValueError, AttributeError)
"""Exceptions from reading an answer that does not have the expected shape."""

GROUP = f"/apis/{API_VERSION}"


def object_path(kind: str, name: str = "") -> str:
    """The path of a kind, or of one object of it."""
    resource = f"{GROUP}/{KINDS[kind]}"
    return f"{resource}/{quote(name, safe='')}" if name else resource


def live_object(kind: str, document: Mapping[str, Any], owner: Pairs) -> LiveObject:
    """An object as the API returned it; the items of a list may lack their own kind.

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
        # A foreign object may be nested deeper than that, and is never written.
        return ours_of(document)
    return _ours_in(whole)


@remembered(64 << 20)
def _ours_in(document: bytes) -> Manifest:
    return ours_of(orjson.loads(document))


def _changed_by(metadata: Mapping[str, Any]) -> str:
    """The last writer that the managed fields name, unless it was us."""
    entries = [each for each in metadata.get("managedFields") or () if not each.get("subresource")]
    # Times are whole seconds: within the same second, the other writer is named.
    hands = [(str(each.get("time", "")), str(each.get("manager", ""))) for each in entries]
    time, manager = max(
        hands, default=("", ""), key=lambda hand: (hand[0], hand[1] != FIELD_MANAGER)
    )
    return "" if manager in ("", FIELD_MANAGER) else redact(f"{manager} at {time}")

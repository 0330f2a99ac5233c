"""Fields that an API server adds to what it was sent: defaults of a definition, and what says
nothing.

A field that decides what a policy does and that was not sent is someone else's work, and drift. Two
kinds of fields are not: one whose value means the same as its absence, and one that this version of
ours does not know and that no one else has written, for a newer Calico's definition fills it in.
Who wrote a field, its managed fields show
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).

The fields are those of `api/pkg/apis/projectcalico/v3` up to v3.32.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

FIELD_MANAGER: Final = "zonebridge"
"""Our name in the managed fields of objects."""

_Path: TypeAlias = tuple[str | int, ...]

# The value of a field that means the same as its absence; `_NOTHING` for one that we always state,
# and for one of which no value is.
_NOTHING: Final[tuple[Any, ...]] = (None,)
_STATED: Final[tuple[Any, ...]] = ()
_LIST: Final[tuple[Any, ...]] = (None, [])
_TEXT: Final[tuple[Any, ...]] = (None, "")
_FLAG: Final[tuple[Any, ...]] = (None, False)

_END: Final[Mapping[str, Any]] = {
    "nets": _LIST,
    "notNets": _LIST,
    "selector": _TEXT,
    "notSelector": _TEXT,
    "namespaceSelector": _TEXT,
    "ports": _LIST,
    "notPorts": _LIST,
    "domains": _LIST,
    "services": _NOTHING,
    "serviceAccounts": _NOTHING,
}
_ICMP: Final[Mapping[str, Any]] = {"type": _NOTHING, "code": _NOTHING}
_RULE: Final[Mapping[str, Any]] = {
    "action": _STATED,
    "source": _END,
    "destination": _END,
    "ipVersion": _NOTHING,
    "protocol": _NOTHING,
    "notProtocol": _NOTHING,
    "icmp": _ICMP,
    "notICMP": _NOTHING,
    "http": _NOTHING,
    "metadata": {"annotations": _NOTHING},
}
_POLICY: Final[Mapping[str, Any]] = {
    "tier": _STATED,
    "order": _STATED,
    "selector": _STATED,
    "types": _STATED,
    "stagedAction": _STATED,
    "ingress": _RULE,
    "egress": _RULE,
    "namespaceSelector": _TEXT,
    "serviceAccountSelector": _TEXT,
    "doNotTrack": _FLAG,
    "preDNAT": _FLAG,
    "applyOnForward": _FLAG,
    "performanceHints": _LIST,
}
_SPECS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Tier": {"order": _STATED, "defaultAction": _STATED},
    "GlobalNetworkSet": {"nets": _LIST, "allowedEgressDomains": _LIST},
    "GlobalNetworkPolicy": _POLICY,
    "StagedGlobalNetworkPolicy": _POLICY,
}


def without_added(document: Mapping[str, Any], *, just_sent: bool) -> Any:
    """The spec of an object without what the API server has added to it.

    With `just_sent` it is the answer to our own request, so that no one else can have added it.
    """
    spec = document.get("spec")
    known = _SPECS.get(str(document.get("kind")))
    if known is None:
        return spec
    hands: Sequence[Any] | None = () if just_sent else _other_hands(document.get("metadata"))
    return _kept(spec, known, ("spec",), hands)


def _kept(found: Any, known: Mapping[str, Any], path: _Path, hands: Sequence[Any] | None) -> Any:
    if isinstance(found, list):
        return [_kept(each, known, (*path, i), hands) for i, each in enumerate(found)]
    if not isinstance(found, dict):
        return found
    kept = {}
    for key, value in found.items():
        field = known.get(key)
        if field is None:
            if _written(hands, (*path, key)):
                kept[key] = value
        elif isinstance(field, Mapping):
            if value is not None and not (key in _RULES and value == []):
                kept[key] = _kept(value, field, (*path, key), hands)
        # Of Python's own equals, 0 is False.
        elif not any(type(value) is type(each) and value == each for each in field):
            kept[key] = value
    return kept


_RULES: Final = ("ingress", "egress")


def _other_hands(metadata: Any) -> Sequence[Any] | None:
    """The fields that each other writer of an object has written; None if not reported."""
    entries = metadata.get("managedFields") if isinstance(metadata, dict) else None
    if not isinstance(entries, list) or not entries:
        return None
    hands = [each if isinstance(each, dict) else {} for each in entries]
    return [each.get("fieldsV1") for each in hands if each.get("manager") != FIELD_MANAGER]


def _written(hands: Sequence[Any] | None, path: _Path) -> bool:
    """Whether one of the hands may have written what is at a path."""
    return hands is None or any(_owns(fields, path) for fields in hands)


def _owns(fields: Any, path: _Path) -> bool:
    for step in path:
        # Who wrote the whole wrote all that is in it; a list has no other form in these schemas.
        if not isinstance(fields, dict) or not fields or isinstance(step, int):
            return True
        if f"f:{step}" not in fields:
            return False
        fields = fields[f"f:{step}"]
    return True

"""The last check of what is written: no object goes into a plan that some Calico would misread.

Clusters that serve Calico's API as plain CRDs check little more than its OpenAPI schema; what gets
past, Felix judges by itself, and it fails open: it drops a CIDR that it cannot parse from a rule,
which then matches every address (`libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go`),
and ignores a policy with a bad selector (`felix/calc/validation_filter.go`). So the documents are
held here to the strictest of `libcalico-go/lib/validator/v3/validator.go`, the schemas and CEL
rules of `api/config/crd`, and our own narrower use: what we never write is refused even where
Calico would take it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import lt
from typing import Any, Final, TypeAlias

import orjson

from sync.calico import cidrs, limits, names, selectors
from sync.calico.manifest import Manifest
from sync.calico.objects import API_VERSION, KINDS
from sync.memo import remembered

BUILT_IN_TIERS: Final = (
    "default",
    "kube-admin",
    "kube-baseline",
    "adminnetworkpolicy",
    "baselineadminnetworkpolicy",
)
"""Tiers of Calico's own in v3.29 and later (`libcalico-go/lib/clientv3/client.go`)."""

_ACTIONS: Final = ("Allow", "Deny", "Pass")
_DIRECTIONS: Final = {"Ingress": "ingress", "Egress": "egress"}
# Every rule has these.
_ANNOTATIONS: Final = {
    names.RULE_ANNOTATION,
    names.RANK_ANNOTATION,
    names.SOURCE_ANNOTATION,
    names.DESTINATION_ANNOTATION,
    names.DEVICE_GROUP_ANNOTATION,
}
_PROTOCOLS: Final = ("TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite")
_PORTED: Final = ("TCP", "UDP", "SCTP")
_IP_VERSIONS: Final = (4, 6)
_ICMP_VERSIONS: Final = {"ICMP": 4, 1: 4, "ICMPv6": 6, 58: 6}
_LAST_PORT: Final = 65535
# `a:b` as numbers and not `a-b`, each in its one spelling.
_PORT_RANGE: Final = re.compile(r"([1-9][0-9]{0,4}):([1-9][0-9]{0,4})")

_POLICY_KEYS: Final = ("tier", "order", "selector", "types")
_RULE_KEYS: Final = ("protocol", "ipVersion", "source", "destination", "icmp", "metadata")
_SELECTOR_KEYS: Final = ("selector", "notSelector", "namespaceSelector")
_ENTITY_KEYS: Final = (*_SELECTOR_KEYS, "nets", "notNets", "ports", "notPorts")


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong, and where: `spec.egress[3].source.nets[0]`; an empty path is the whole."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


_Refuse: TypeAlias = Callable[[str, str], None]


def validate(manifest: Manifest) -> tuple[Violation, ...]:
    """Everything in the written document for which it must not be written; empty if it may."""
    return _violations(manifest.body)


@remembered(256 << 20)
def _violations(body: bytes) -> tuple[Violation, ...]:
    found: list[Violation] = []

    def refuse(path: str, message: str) -> None:
        found.append(Violation(path, message))

    _document(refuse, orjson.loads(body), len(body))
    return tuple(found)


def _document(refuse: _Refuse, value: object, size: int) -> None:
    document = _mapping(refuse, "", value, ("apiVersion", "kind", "metadata", "spec"))
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        refuse("kind", f"{kind!r} is none of {', '.join(KINDS)}")
        return
    if document.get("apiVersion") != API_VERSION:
        refuse("apiVersion", f"must be {API_VERSION}")
    metadata = _mapping(
        refuse, "metadata", document.get("metadata"), ("name",), ("labels", "annotations")
    )
    labels = _strings(refuse, "metadata.labels", metadata.get("labels", {}))
    _labels(refuse, labels)
    annotations = metadata.get("annotations", {})
    _annotations(refuse, "metadata.annotations", annotations)
    name = metadata.get("name")
    if not isinstance(name, str) or len(name) > limits.NAME_LENGTH:
        refuse("metadata.name", f"must be text of at most {limits.NAME_LENGTH} characters")
        return
    spec = document.get("spec")
    if kind == "Tier":
        _tier(refuse, name, spec)
    elif kind == "GlobalNetworkSet":
        _bounded(refuse, "", size, limits.SET_BYTES, "bytes")
        _set(refuse, name, labels, spec)
    else:
        _bounded(refuse, "", size, limits.POLICY_BYTES, "bytes")
        _policy(refuse, kind, name, labels, spec)


def _labels(refuse: _Refuse, labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if not names.is_qualified_name(key):
            refuse(f"metadata.labels[{key}]", "is not a label key")
        if not names.is_label_value(value):
            refuse(f"metadata.labels[{key}]", f"{value!r} is not a label value")


def _annotations(refuse: _Refuse, path: str, value: object) -> None:
    annotations = _strings(refuse, path, value)
    for key in annotations.keys() - _ANNOTATIONS:
        if not names.is_qualified_name(key):
            refuse(f"{path}[{key}]", "is not an annotation key")
    size = len("".join(chain.from_iterable(annotations.items())).encode())
    _bounded(refuse, path, size, limits.ANNOTATION_BYTES, "bytes")


def _tier(refuse: _Refuse, name: str, value: object) -> None:
    _tier_name(refuse, "metadata.name", name)
    spec = _mapping(refuse, "spec", value, ("order", "defaultAction"))
    _order(refuse, spec.get("order"))
    if spec.get("defaultAction") not in ("Pass", "Deny"):
        refuse("spec.defaultAction", "must be Pass or Deny")


def _set(refuse: _Refuse, name: str, labels: Mapping[str, str], value: object) -> None:
    if not names.is_subdomain(name):
        refuse("metadata.name", f"{name!r} is not an RFC 1123 subdomain")
    for key in labels:
        # `namespace` is refused by Calico; `orchestrator` would make the set pass for a pod.
        if key.startswith("projectcalico.org/"):
            refuse(f"metadata.labels[{key}]", "is Calico's own and not for a set")
    spec = _mapping(refuse, "spec", value, (), ("nets",))
    if "nets" not in spec:
        return
    nets = _items(refuse, "spec.nets", spec["nets"], limits.NETS_PER_SET)
    if (keys := _sort_keys(nets)) and all(map(lt, keys, keys[1:])):
        return
    previous = (0, 0, 0)
    for index, net in enumerate(nets):
        range_ = _net(refuse, "spec.nets", index, net)
        if range_ is None:
            continue
        if range_ <= previous:
            how = "stands twice" if range_ == previous else "is out of order"
            refuse(f"spec.nets[{index}]", f"{net} {how}: sort by family, address and length")
        previous = range_


def _policy(
    refuse: _Refuse, kind: str, name: str, labels: Mapping[str, str], value: object
) -> None:
    staged = kind == "StagedGlobalNetworkPolicy"
    required = (*_POLICY_KEYS, "stagedAction") if staged else _POLICY_KEYS
    spec = _mapping(refuse, "spec", value, required, tuple(_DIRECTIONS.values()))
    tier = spec.get("tier")
    _tier_name(refuse, "spec.tier", tier)
    prefix, _, last = name.partition(".")
    # Calico bounds the length of the whole name alone, not that of its parts.
    if prefix != tier or not names.is_dns_label(last, limits.NAME_LENGTH):
        refuse("metadata.name", f"{name!r} is not spec.tier, one dot and an RFC 1123 label")
    if labels.get(names.TIER_LABEL) != tier:
        refuse(f"metadata.labels[{names.TIER_LABEL}]", "must be stated and be spec.tier")
    if staged and spec.get("stagedAction") != "Set":
        refuse("spec.stagedAction", "must be Set")
    _order(refuse, spec.get("order"))
    _selector(refuse, "spec.selector", spec.get("selector"))
    types = _items(refuse, "spec.types", spec.get("types"), len(_DIRECTIONS))
    for index, type_ in enumerate(types):
        if type_ not in tuple(_DIRECTIONS) or type_ in types[:index]:
            refuse(f"spec.types[{index}]", "must be Ingress or Egress, each at most once")
    for type_, direction in _DIRECTIONS.items():
        if direction not in spec:
            continue
        path = f"spec.{direction}"
        if type_ not in types:
            refuse(path, f"is ignored by Calico unless spec.types holds {type_}")
        rules = _items(refuse, path, spec[direction], limits.RULES_PER_DIRECTION)
        for index, rule in enumerate(rules):
            _rule(refuse, f"{path}[{index}]", rule)


def _rule(refuse: _Refuse, path: str, value: object) -> None:
    rule = _mapping(refuse, path, value, ("action",), _RULE_KEYS)
    if rule.get("action") not in _ACTIONS:
        refuse(f"{path}.action", f"must be one of {', '.join(_ACTIONS)}")
    metadata = _mapping(refuse, f"{path}.metadata", rule.get("metadata", {}), (), ("annotations",))
    _annotations(refuse, f"{path}.metadata.annotations", metadata.get("annotations", {}))
    protocol, version = _protocol(refuse, path, rule)
    families: frozenset[int] = frozenset()
    for end in ("source", "destination"):
        if end in rule and rule[end] != {}:
            held, problems = _entity(end, orjson.dumps(rule[end]), ported=protocol in _PORTED)
            families |= held
            for where, message in problems:
                refuse(f"{path}.{where}", message)
    if len(families) > 1:
        refuse(path, "holds nets of both IPv4 and IPv6")
    elif families and version not in families:
        refuse(f"{path}.ipVersion", f"must be {min(families)}, as its nets are")


def _protocol(
    refuse: _Refuse, path: str, rule: Mapping[str, Any]
) -> tuple[str | int | None, int | None]:
    """The protocol and the IP version of a rule, each None where absent or refused."""
    protocol, version = rule.get("protocol"), rule.get("ipVersion")
    if "protocol" in rule and protocol not in _PROTOCOLS and not _within(protocol, 1, 255):
        refuse(f"{path}.protocol", f"must be one of {', '.join(_PROTOCOLS)} or 1 to 255")
        protocol = None
    if "ipVersion" in rule and (type(version) is not int or version not in _IP_VERSIONS):
        refuse(f"{path}.ipVersion", "must be 4 or 6")
        version = None
    expected = None if protocol is None else _ICMP_VERSIONS.get(protocol)
    if expected and version not in (expected, None):
        refuse(f"{path}.ipVersion", f"must be {expected} with protocol {protocol}")
    if "icmp" in rule:
        _icmp(refuse, f"{path}.icmp", rule["icmp"])
        if protocol not in ("ICMP", "ICMPv6") or version is None:
            refuse(f"{path}.icmp", "needs protocol ICMP with ipVersion 4, or ICMPv6 with 6")
    return protocol, version


def _icmp(refuse: _Refuse, path: str, value: object) -> None:
    icmp = _mapping(refuse, path, value, ("type",), ("code",))
    for key, largest in (("type", 254), ("code", 255)):
        if key in icmp and not _within(icmp[key], 0, largest):
            refuse(f"{path}.{key}", f"must be 0 to {largest}")


@lru_cache(1 << 14)  # the same ends stand in many rules
def _entity(
    end: str, written: bytes, *, ported: bool
) -> tuple[frozenset[int], tuple[tuple[str, str], ...]]:
    """The address families of a rule's end in JSON, and what is wrong with it: where, and what.

    `end` is `source` or `destination`; `ported`: the rule's protocol has ports.
    """
    problems: list[tuple[str, str]] = []

    def refuse(path: str, message: str) -> None:
        problems.append((path, message))

    entity = _mapping(refuse, end, orjson.loads(written), (), _ENTITY_KEYS)
    _selectors(refuse, end, entity)
    _ports(refuse, end, entity, ported=ported)
    return _nets(refuse, end, entity), tuple(problems)


def _selectors(refuse: _Refuse, path: str, entity: Mapping[str, Any]) -> None:
    for key in _SELECTOR_KEYS:
        lone_global = key == "namespaceSelector" and entity.get(key) == "global()"
        if key in entity and not lone_global:
            _selector(refuse, f"{path}.{key}", entity[key])
    if "selector" in entity and "notSelector" in entity:
        refuse(f"{path}.notSelector", "beside selector, Felix folds the two into one")
    if "namespaceSelector" in entity and "selector" not in entity:
        refuse(f"{path}.namespaceSelector", "without selector matches more than it seems to")


def _selector(refuse: _Refuse, path: str, value: object) -> None:
    if not isinstance(value, str):
        refuse(path, "must be a selector")
        return
    _bounded(refuse, path, len(value.encode()), limits.SELECTOR_BYTES, "bytes")
    if "global(" in value:
        refuse(path, "global() must stand alone, in a rule's namespaceSelector")
    problem = selectors.problem(value)
    if problem:
        refuse(path, f"{problem.message} at position {problem.position}")


def _nets(refuse: _Refuse, path: str, entity: Mapping[str, Any]) -> frozenset[int]:
    """The address families of an entity."""
    seen: set[int] = set()
    for key in ("nets", "notNets"):
        if key not in entity:
            continue
        nets = _items(refuse, f"{path}.{key}", entity[key], limits.NETS_PER_ENTITY)
        if (keys := _sort_keys(nets)) and len({*keys}) == len(keys) and key == "nets":
            seen |= {family for family, _, _ in keys}
            continue
        stands: set[tuple[int, int, int]] = set()
        for index, net in enumerate(nets):
            range_ = _net(refuse, f"{path}.{key}", index, net)
            if range_ is None:
                continue
            if range_ in stands:
                refuse(f"{path}.{key}[{index}]", f"{net} stands twice")
            stands.add(range_)
            if key == "notNets" and range_[2] == 0:
                refuse(f"{path}.{key}[{index}]", "excludes every address")
        seen |= {family for family, _, _ in stands}
    return frozenset(seen)


def _sort_keys(nets: list[Any]) -> list[tuple[int, int, int]] | None:
    """Those of all nets, as nearly always, at once; None where one is not canonical."""
    try:
        return [*map(cidrs.sort_key, nets)]
    except (AttributeError, TypeError, ValueError):
        return None


def _net(refuse: _Refuse, path: str, index: int, value: object) -> tuple[int, int, int] | None:
    if not isinstance(value, str):
        refuse(f"{path}[{index}]", "must be a CIDR")
        return None
    try:
        return cidrs.sort_key(value)
    except ValueError as error:
        refuse(f"{path}[{index}]", f"{value!r} {error}")
        return None


def _ports(refuse: _Refuse, path: str, entity: Mapping[str, Any], *, ported: bool) -> None:
    for key in ("ports", "notPorts"):
        if key not in entity:
            continue
        if not ported:
            refuse(f"{path}.{key}", f"needs protocol {', '.join(_PORTED)}")
        ports = _items(refuse, f"{path}.{key}", entity[key], limits.PORTS_PER_ENTITY)
        for index, port in enumerate(ports):
            if not _within(port, 1, _LAST_PORT) and not _is_port_range(port):
                refuse(f"{path}.{key}[{index}]", f"{port!r} is not a port or 'first:last'")


def _is_port_range(value: object) -> bool:
    found = _PORT_RANGE.fullmatch(value) if isinstance(value, str) else None
    return found is not None and int(found[1]) <= int(found[2]) <= _LAST_PORT


def _tier_name(refuse: _Refuse, path: str, value: object) -> None:
    if not isinstance(value, str) or not names.is_dns_label(value, limits.TIER_NAME_LENGTH):
        refuse(path, f"must be an RFC 1123 label of at most {limits.TIER_NAME_LENGTH} characters")
    elif value in BUILT_IN_TIERS:
        refuse(path, f"{value} is a tier of Calico's own")


def _order(refuse: _Refuse, value: object) -> None:
    if not _within(value, 1 - limits.ORDER_MAGNITUDE, limits.ORDER_MAGNITUDE - 1):
        refuse("spec.order", "must be an integer below 2**53 in magnitude")


def _within(value: object, least: int, most: int) -> bool:
    # Not isinstance: a boolean is no number in JSON.
    return type(value) is int and least <= value <= most


def _bounded(refuse: _Refuse, path: str, size: int, most: int, unit: str) -> None:
    if size > most:
        refuse(path, f"has {size:,} {unit}; at most {most:,} may be written")


def _mapping(
    refuse: _Refuse,
    path: str,
    value: object,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> Mapping[str, Any]:
    """The members of an object that are known and not null; what else it holds is refused."""
    if not isinstance(value, dict):
        refuse(path, "must be an object")
        return {}
    # By far the most are as they should be, and there are several in each of very many rules.
    if (
        all(map(value.__contains__, required))
        and value.keys() <= _known_keys(required, optional)
        and None not in value.values()
    ):
        return value
    prefix = f"{path}." if path else ""
    for key in required:
        if key not in value:
            refuse(f"{prefix}{key}", "is missing")
    known = {}
    for key, member in value.items():
        if key not in required and key not in optional:
            refuse(f"{prefix}{key}", "is not a key that we write here")
        elif member is None:
            refuse(f"{prefix}{key}", "must not be null")
        else:
            known[key] = member
    return known


@lru_cache(64)
def _known_keys(required: tuple[str, ...], optional: tuple[str, ...]) -> frozenset[str]:
    return frozenset((*required, *optional))


def _strings(refuse: _Refuse, path: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        refuse(path, "must be an object")
        return {}
    if not {*map(type, value.values())} - {str}:
        return value
    for key, text in value.items():
        if not isinstance(text, str):
            refuse(f"{path}[{key}]", "must be text")
    return {key: text for key, text in value.items() if isinstance(text, str)}


def _items(refuse: _Refuse, path: str, value: object, most: int) -> list[Any]:
    """The members of a list; an empty one is refused, since Calico reads it as no constraint."""
    if not isinstance(value, list) or not value:
        refuse(path, "must be a list that is not empty")
        return []
    _bounded(refuse, path, len(value), most, "members")
    return value

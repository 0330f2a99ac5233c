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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import lt
from typing import Any, Final

import orjson

from sync.calico import cidrs, limits, names, selectors
from sync.calico.json_shapes import Refuse, bounded, items, members, texts, within
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
    """A violation and its path: `spec.egress[3].source.nets[0]`; an empty path is the whole."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


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


def _document(refuse: Refuse, value: object, size: int) -> None:
    document = members(refuse, "", value, ("apiVersion", "kind", "metadata", "spec"))
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        refuse("kind", f"{kind!r} is none of {', '.join(KINDS)}")
        return
    if document.get("apiVersion") != API_VERSION:
        refuse("apiVersion", f"must be {API_VERSION}")
    metadata = members(
        refuse, "metadata", document.get("metadata"), ("name",), ("labels", "annotations")
    )
    labels = texts(refuse, "metadata.labels", metadata.get("labels", {}))
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
        bounded(refuse, "", size, limits.SET_BYTES, "bytes")
        _set(refuse, name, labels, spec)
    else:
        bounded(refuse, "", size, limits.POLICY_BYTES, "bytes")
        _policy(refuse, kind, name, labels, spec)


def _labels(refuse: Refuse, labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if not names.is_qualified_name(key):
            refuse(f"metadata.labels[{key}]", "is not a label key")
        if not names.is_label_value(value):
            refuse(f"metadata.labels[{key}]", f"{value!r} is not a label value")


def _annotations(refuse: Refuse, path: str, value: object) -> None:
    annotations = texts(refuse, path, value)
    for key in annotations.keys() - _ANNOTATIONS:
        if not names.is_qualified_name(key):
            refuse(f"{path}[{key}]", "is not an annotation key")
    size = len("".join(chain.from_iterable(annotations.items())).encode())
    bounded(refuse, path, size, limits.ANNOTATION_BYTES, "bytes")


def _tier(refuse: Refuse, name: str, value: object) -> None:
    _tier_name(refuse, "metadata.name", name)
    spec = members(refuse, "spec", value, ("order", "defaultAction"))
    _order(refuse, spec.get("order"))
    if spec.get("defaultAction") not in ("Pass", "Deny"):
        refuse("spec.defaultAction", "must be Pass or Deny")


def _set(refuse: Refuse, name: str, labels: Mapping[str, str], value: object) -> None:
    if not names.is_subdomain(name):
        refuse("metadata.name", f"{name!r} is not an RFC 1123 subdomain")
    for key in labels:
        # `namespace` is refused by Calico; `orchestrator` would make the set pass for a pod.
        if key.startswith("projectcalico.org/"):
            refuse(f"metadata.labels[{key}]", "is Calico's own and not for a set")
    spec = members(refuse, "spec", value, (), ("nets",))
    if "nets" not in spec:
        return
    nets = items(refuse, "spec.nets", spec["nets"], limits.NETS_PER_SET)
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


def _policy(refuse: Refuse, kind: str, name: str, labels: Mapping[str, str], value: object) -> None:
    staged = kind == "StagedGlobalNetworkPolicy"
    required = (*_POLICY_KEYS, "stagedAction") if staged else _POLICY_KEYS
    spec = members(refuse, "spec", value, required, tuple(_DIRECTIONS.values()))
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
    types = items(refuse, "spec.types", spec.get("types"), len(_DIRECTIONS))
    for index, type_ in enumerate(types):
        if type_ not in tuple(_DIRECTIONS) or type_ in types[:index]:
            refuse(f"spec.types[{index}]", "must be Ingress or Egress, each at most once")
    for type_, direction in _DIRECTIONS.items():
        if direction not in spec:
            continue
        path = f"spec.{direction}"
        if type_ not in types:
            refuse(path, f"is ignored by Calico unless spec.types holds {type_}")
        rules = items(refuse, path, spec[direction], limits.RULES_PER_DIRECTION)
        for index, rule in enumerate(rules):
            _rule(refuse, f"{path}[{index}]", rule)


def _rule(refuse: Refuse, path: str, value: object) -> None:
    rule = members(refuse, path, value, ("action",), _RULE_KEYS)
    if rule.get("action") not in _ACTIONS:
        refuse(f"{path}.action", f"must be one of {', '.join(_ACTIONS)}")
    metadata = members(refuse, f"{path}.metadata", rule.get("metadata", {}), (), ("annotations",))
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
    refuse: Refuse, path: str, rule: Mapping[str, Any]
) -> tuple[str | int | None, int | None]:
    """The protocol and the IP version of a rule, each None where absent or refused."""
    protocol, version = rule.get("protocol"), rule.get("ipVersion")
    if "protocol" in rule and protocol not in _PROTOCOLS and not within(protocol, 1, 255):
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


def _icmp(refuse: Refuse, path: str, value: object) -> None:
    icmp = members(refuse, path, value, ("type",), ("code",))
    for key, largest in (("type", 254), ("code", 255)):
        if key in icmp and not within(icmp[key], 0, largest):
            refuse(f"{path}.{key}", f"must be 0 to {largest}")


@lru_cache(1 << 14)  # many rules have the same ends
def _entity(
    end: str, written: bytes, *, ported: bool
) -> tuple[frozenset[int], tuple[tuple[str, str], ...]]:
    """The address families of a rule's end in JSON, and what is wrong with it: where, and what.

    `end` is `source` or `destination`; `ported`: the rule's protocol has ports.
    """
    problems: list[tuple[str, str]] = []

    def refuse(path: str, message: str) -> None:
        problems.append((path, message))

    entity = members(refuse, end, orjson.loads(written), (), _ENTITY_KEYS)
    _selectors(refuse, end, entity)
    _ports(refuse, end, entity, ported=ported)
    return _nets(refuse, end, entity), tuple(problems)


def _selectors(refuse: Refuse, path: str, entity: Mapping[str, Any]) -> None:
    for key in _SELECTOR_KEYS:
        lone_global = key == "namespaceSelector" and entity.get(key) == "global()"
        if key in entity and not lone_global:
            _selector(refuse, f"{path}.{key}", entity[key])
    if "selector" in entity and "notSelector" in entity:
        refuse(f"{path}.notSelector", "beside selector, Felix folds the two into one")
    if "namespaceSelector" in entity and "selector" not in entity:
        refuse(f"{path}.namespaceSelector", "without selector matches more than it seems to")


def _selector(refuse: Refuse, path: str, value: object) -> None:
    if not isinstance(value, str):
        refuse(path, "must be a selector")
        return
    bounded(refuse, path, len(value.encode()), limits.SELECTOR_BYTES, "bytes")
    if "global(" in value:
        refuse(path, "global() must stand alone, in a rule's namespaceSelector")
    problem = selectors.problem(value)
    if problem:
        refuse(path, f"{problem.message} at position {problem.position}")


def _nets(refuse: Refuse, path: str, entity: Mapping[str, Any]) -> frozenset[int]:
    """The address families of an entity."""
    seen: set[int] = set()
    for key in ("nets", "notNets"):
        if key not in entity:
            continue
        nets = items(refuse, f"{path}.{key}", entity[key], limits.NETS_PER_ENTITY)
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


def _net(refuse: Refuse, path: str, index: int, value: object) -> tuple[int, int, int] | None:
    if not isinstance(value, str):
        refuse(f"{path}[{index}]", "must be a CIDR")
        return None
    try:
        return cidrs.sort_key(value)
    except ValueError as error:
        refuse(f"{path}[{index}]", f"{value!r} {error}")
        return None


def _ports(refuse: Refuse, path: str, entity: Mapping[str, Any], *, ported: bool) -> None:
    for key in ("ports", "notPorts"):
        if key not in entity:
            continue
        if not ported:
            refuse(f"{path}.{key}", f"needs protocol {', '.join(_PORTED)}")
        ports = items(refuse, f"{path}.{key}", entity[key], limits.PORTS_PER_ENTITY)
        for index, port in enumerate(ports):
            if not within(port, 1, _LAST_PORT) and not _is_port_range(port):
                refuse(f"{path}.{key}[{index}]", f"{port!r} is not a port or 'first:last'")


def _is_port_range(value: object) -> bool:
    found = _PORT_RANGE.fullmatch(value) if isinstance(value, str) else None
    return found is not None and int(found[1]) <= int(found[2]) <= _LAST_PORT


def _tier_name(refuse: Refuse, path: str, value: object) -> None:
    if not isinstance(value, str) or not names.is_dns_label(value, limits.TIER_NAME_LENGTH):
        refuse(path, f"must be an RFC 1123 label of at most {limits.TIER_NAME_LENGTH} characters")
    elif value in BUILT_IN_TIERS:
        refuse(path, f"{value} is a tier of Calico's own")


def _order(refuse: Refuse, value: object) -> None:
    if not within(value, 1 - limits.ORDER_MAGNITUDE, limits.ORDER_MAGNITUDE - 1):
        refuse("spec.order", "must be an integer below 2**53 in magnitude")

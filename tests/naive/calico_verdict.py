"""What Calico does with a flow, judged from the written documents the slow way.

Read from projectcalico/calico:
- `felix/rules/endpoints.go`, `felix/calc/policy_resolver.go`, `felix/calc/policy_sorter.go`: the
  source pod's egress and the destination pod's ingress are judged apart, tier by tier in order,
  policy by policy in order, rule by rule; Pass goes to the next tier; the tier's default action
  counts where a policy of the tier selects the pod in this direction and none of its rules matched.
  After the last tier the pod's profile allows.
- `libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go` (GetEntityRuleSelector): selector
  and namespaceSelector of an entity become one selector; `global()` is
  `!has(projectcalico.org/namespace)`, `all()` is `has(projectcalico.org/namespace)`, and every
  other namespace selector's labels get the prefix `pcns.`.
- `felix/calc/rule_scanner.go` (combineMatchesIfPossible): a notSelector beside any of those is
  folded into the same selector, and alone it is a negated match of its own.
- `felix/calc/rule_scanner.go`, `felix/labelindex`: each such selector is an IP set, of the
  addresses of every pod and the nets of every network set with matching labels; an end of a flow
  is in it by its address, whatever it is.
- `felix/rules/policy.go` (FilterRuleToIPVersion): a rule is skipped for an IP version that is not
  its own, or where all of its nets or notNets are of the other; everything else in it must hold.
- `libcalico-go/lib/selector/parser` (`parser.go`, `ast.go`): the grammar; `!=` and `not in` hold
  where the label is absent, every other comparison does not.
- `libcalico-go/lib/backend/k8s/conversion`: a pod's labels, those that Calico adds, and those of
  its namespace with the prefix `pcns.`, which the pod's own go before.

What we never write is refused with a `ValueError` instead of being guessed at.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from tests.naive.flows import End, Flow, Pod, written

Labels = Mapping[str, str]
Test = Callable[[Labels], bool]

_PROTOCOLS = {"TCP": 6, "UDP": 17, "ICMP": 1, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}
_PORTED = (6, 17, 132)


@dataclass(frozen=True)
class Verdict:
    """Whether it is allowed, and by what: every deciding rule on the way."""

    allow: bool
    by: str


# --- selectors ------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"\s*(?:(?P<function>(?:all|global)\(\s*\)|has\(\s*[\w./-]+\s*\))"
    r"|(?P<string>'[^']*'|\"[^\"]*\")|(?P<sign>==|!=|&&|\|\||[!(){},])|(?P<word>[\w./-]+))"
)


@lru_cache(maxsize=4096)
def selector(text: str, prefix: str = "") -> Test:
    """A selector as a question about labels; `prefix` goes before every label it names."""
    tokens: list[str] = []
    rest = text.strip()
    while rest:
        found = _TOKEN.match(rest)
        if found is None:
            raise ValueError(f"not a selector: {text!r} at {rest!r}")
        tokens.append(found[0].strip())
        rest = rest[found.end() :].strip()
    try:
        test, left = _either(tokens, prefix)
    except (IndexError, KeyError) as error:
        raise ValueError(f"not a selector: {text!r}") from error
    if left:
        raise ValueError(f"not a selector: {text!r} has {left!r} left over")
    return test


def _either(tokens: list[str], prefix: str) -> tuple[Test, list[str]]:
    test, tokens = _both(tokens, prefix)
    tests = [test]
    while tokens[:1] == ["||"]:
        test, tokens = _both(tokens[1:], prefix)
        tests.append(test)
    return (lambda labels: any(each(labels) for each in tests)), tokens


def _both(tokens: list[str], prefix: str) -> tuple[Test, list[str]]:
    test, tokens = _one(tokens, prefix)
    tests = [test]
    while tokens[:1] == ["&&"]:
        test, tokens = _one(tokens[1:], prefix)
        tests.append(test)
    return (lambda labels: all(each(labels) for each in tests)), tokens


def _one(tokens: list[str], prefix: str) -> tuple[Test, list[str]]:
    if not tokens:
        raise ValueError("a selector ends where a term should stand")
    token, rest = tokens[0], tokens[1:]
    if token == "!":
        inner, rest = _one(rest, prefix)
        return (lambda labels: not inner(labels)), rest
    if token == "(":
        inner, rest = _either(rest, prefix)
        if rest[:1] != [")"]:
            raise ValueError("a selector has '(' without ')'")
        return inner, rest[1:]
    if token.startswith(("all(", "global(")):
        return (lambda labels: True), rest
    if token.startswith("has("):
        key = prefix + token[4:-1].strip()
        return (lambda labels: key in labels), rest
    return _comparison(prefix + token, rest)


def _comparison(key: str, rest: list[str]) -> tuple[Test, list[str]]:
    operator, rest = rest[0], rest[1:]
    if operator in ("starts", "ends", "not"):
        operator, rest = f"{operator} {rest[0]}", rest[1:]
    if operator in ("in", "not in", "notin"):
        close = rest.index("}")
        values = {each[1:-1] for each in rest[1:close] if each != ","}
        rest = rest[close + 1 :]
        if operator == "in":
            return (lambda labels: key in labels and labels[key] in values), rest
        return (lambda labels: key not in labels or labels[key] not in values), rest
    value, rest = rest[0][1:-1], rest[1:]
    tests: dict[str, Test] = {
        "==": lambda labels: key in labels and labels[key] == value,
        "!=": lambda labels: key not in labels or labels[key] != value,
        "contains": lambda labels: key in labels and value in labels[key],
        "starts with": lambda labels: key in labels and labels[key].startswith(value),
        "startswith": lambda labels: key in labels and labels[key].startswith(value),
        "ends with": lambda labels: key in labels and labels[key].endswith(value),
        "endswith": lambda labels: key in labels and labels[key].endswith(value),
    }
    return tests[operator], rest


def entity_selector(positive: str, negative: str, namespaces: str) -> Test:
    """The one selector that an entity's three become; a negative alone is what it excludes."""
    tests: list[Test] = []
    if namespaces == "global()":
        tests.append(lambda labels: "projectcalico.org/namespace" not in labels)
    elif namespaces:
        in_namespace = selector(namespaces, "pcns.")
        if "all()" in namespaces.replace(" ", ""):
            if namespaces.strip() != "all()":
                raise ValueError(f"all() within {namespaces!r} is not judged here")
            in_namespace = selector("has(projectcalico.org/namespace)")
        tests.append(in_namespace)
    if positive:
        tests.append(selector(positive))
    if negative and tests:
        excluded = selector(negative)
        tests.append(lambda labels: not excluded(labels))
    elif negative:
        tests.append(selector(negative))
    return lambda labels: all(test(labels) for test in tests)


def labels_of(pod: Pod) -> Labels:
    """A pod's labels as selectors see them."""
    inherited = {f"pcns.{key}": value for key, value in (pod.namespace_labels or {}).items()}
    own = {
        "projectcalico.org/namespace": pod.namespace,
        "projectcalico.org/orchestrator": "k8s",
    }
    named = {"pcns.projectcalico.org/name": pod.namespace}
    return {**named, **inherited, **pod.labels, **own}


# --- sets of addresses ----------------------------------------------------------------------------


class Nets:
    """The addresses of some nets, by family."""

    def __init__(self, nets: Iterable[str]) -> None:
        self.ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for text in nets:
            net = ip_network(text, strict=False)
            last = int(net.broadcast_address)
            self.ranges[net.version].append((int(net.network_address), last))
        self._firsts: dict[int, list[int]] = {}
        self._lasts: dict[int, list[int]] = {}
        for family, ranges in self.ranges.items():
            firsts: list[int] = []
            lasts: list[int] = []
            for first, last in sorted(ranges):
                if lasts and first <= lasts[-1]:
                    lasts[-1] = max(last, lasts[-1])
                else:
                    firsts.append(first)
                    lasts.append(last)
            self._firsts[family], self._lasts[family] = firsts, lasts

    def hold(self, end: End) -> bool:
        at = bisect_right(self._firsts[end.family], end.address) - 1
        return at >= 0 and end.address <= self._lasts[end.family][at]


# --- rules ----------------------------------------------------------------------------------------

_ENTITY = {"selector", "notSelector", "namespaceSelector", "nets", "notNets", "ports", "notPorts"}
_RULE = {"action", "protocol", "ipVersion", "source", "destination", "icmp", "metadata"}


class Calico:
    """A cluster that holds these documents and these pods.

    `world` are all of its pods, each as an end with its address: a selector in a rule asks about
    every one of them. `staged` policies count as if they were enforced, or not at all.
    """

    def __init__(
        self, documents: Iterable[Mapping[str, Any]], world: Sequence[End], *, staged: bool = True
    ) -> None:
        self._labels = {pod.pod: labels_of(pod.pod) for pod in world if pod.pod}
        self._world = world
        by_kind: dict[str, list[Mapping[str, Any]]] = {}
        for document in documents:
            by_kind.setdefault(document["kind"], []).append(document)
        self._sets = [
            (each["metadata"].get("labels", {}), each["spec"].get("nets", ()))
            for each in by_kind.pop("GlobalNetworkSet", [])
        ]
        self._ip_sets: dict[Any, Nets] = {}
        tiers = sorted(
            by_kind.pop("Tier", []),
            key=lambda tier: (tier["spec"]["order"], tier["metadata"]["name"]),
        )
        policies = by_kind.pop("GlobalNetworkPolicy", [])
        if staged:
            policies = policies + by_kind.pop("StagedGlobalNetworkPolicy", [])
        else:
            by_kind.pop("StagedGlobalNetworkPolicy", [])
        if by_kind:
            raise ValueError(f"documents of kinds that we do not write: {sorted(by_kind)}")
        names = {tier["metadata"]["name"] for tier in tiers}
        for policy in policies:
            if policy["spec"]["tier"] not in names:
                raise ValueError(f"{policy['metadata']['name']} is in a tier that does not exist")
        self._tiers = [
            (
                tier["metadata"]["name"],
                tier["spec"].get("defaultAction", "Deny"),
                [
                    _Policy(policy, self)
                    for policy in sorted(
                        policies,
                        key=lambda each: (each["spec"]["order"], each["metadata"]["name"]),
                    )
                    if policy["spec"]["tier"] == tier["metadata"]["name"]
                ],
            )
            for tier in tiers
        ]

    def verdict(self, flow: Flow) -> Verdict:
        """Whether the flow passes at both of its ends, as far as they are pods."""
        by = []
        for end, direction in ((flow.source, "egress"), (flow.destination, "ingress")):
            if end.pod is None:
                continue
            allow, rules = self._judged(flow, end.pod, direction)
            by.append(f"{direction}: {', '.join(rules)}")
            if not allow:
                return Verdict(allow=False, by=by[-1])
        return Verdict(allow=True, by="; ".join(by))

    def _judged(self, flow: Flow, pod: Pod, direction: str) -> tuple[bool, list[str]]:
        by: list[str] = []
        for tier, default, policies in self._tiers:
            applied = [each for each in policies if each.applies(pod, direction)]
            action, rule = _first(flow, applied, direction)
            if action is None and applied:
                action, rule = default, f"end of tier {tier}"
            if action is None:
                continue
            by.append(f"{rule} {action}")
            if action != "Pass":
                return action == "Allow", by
        return True, [*by, "profile Allow"]

    def labels(self, pod: Pod) -> Labels:
        return self._labels[pod]

    def ip_set(self, entity: Mapping[str, Any]) -> tuple[Nets | None, bool]:
        """The IP set of an entity's selectors and whether it is negated; None: there is none."""
        positive, negative = entity.get("selector", ""), entity.get("notSelector", "")
        namespaces = entity.get("namespaceSelector", "")
        if not (positive or negative or namespaces):
            return None, False
        key = (positive, negative, namespaces)
        if key not in self._ip_sets:
            self._ip_sets[key] = self._members(*key)
        return self._ip_sets[key], not (positive or namespaces)

    def _members(self, positive: str, negative: str, namespaces: str) -> Nets:
        test = entity_selector(positive, negative, namespaces)
        nets: list[str] = []
        for labels, held in self._sets:
            if test(labels):
                nets += held
        for end in self._world:
            if end.pod and test(self._labels[end.pod]):
                nets.append(written((end.family, end.address)))
        return Nets(nets)


def _first(flow: Flow, policies: Sequence[_Policy], direction: str) -> tuple[str | None, str]:
    for policy in policies:
        for number, rule in enumerate(policy.rules[direction]):
            if rule.matches(flow):
                return rule.action, f"{policy.name}[{direction} {number}]"
    return None, ""


class _Policy:
    def __init__(self, document: Mapping[str, Any], calico: Calico) -> None:
        spec = document["spec"]
        unknown = spec.keys() - {
            "tier",
            "order",
            "selector",
            "types",
            "ingress",
            "egress",
            "stagedAction",
        }
        if unknown or spec.get("stagedAction", "Set") != "Set":
            raise ValueError(f"a policy with {unknown or spec['stagedAction']} is not judged here")
        self.name = document["metadata"]["name"]
        self._calico = calico
        self._selects = selector(spec["selector"])
        self._types = set(spec["types"])
        self.rules = {
            direction: [Rule(rule, calico) for rule in spec.get(direction, ())]
            for direction in ("ingress", "egress")
        }
        self._applied: dict[Pod, bool] = {}

    def applies(self, pod: Pod, direction: str) -> bool:
        if direction.capitalize() not in self._types:
            return False
        if pod not in self._applied:
            self._applied[pod] = self._selects(self._calico.labels(pod))
        return self._applied[pod]


class Rule:
    def __init__(self, rule: Mapping[str, Any], calico: Calico) -> None:
        if rule.keys() - _RULE:
            raise ValueError(f"a rule with {sorted(rule.keys() - _RULE)} is not judged here")
        self.action = rule["action"]
        protocol = rule.get("protocol")
        self._protocol = _PROTOCOLS[protocol] if isinstance(protocol, str) else protocol
        self._version = rule.get("ipVersion")
        self._icmp = rule.get("icmp")
        if self._icmp is not None and self._protocol not in (1, 58):
            raise ValueError("a rule with icmp needs a protocol of ICMP")
        self._source = _Entity(rule.get("source", {}), calico, self._protocol)
        self._destination = _Entity(rule.get("destination", {}), calico, self._protocol)

    def matches(self, flow: Flow) -> bool:
        if self._version is not None and self._version != flow.source.family:
            return False
        if self._protocol is not None and self._protocol != flow.protocol:
            return False
        if self._icmp is not None:
            kind, code = flow.icmp or (None, None)
            if self._icmp["type"] != kind or self._icmp.get("code", code) != code:
                return False
        return self._source.matches(flow.source, flow.source_port) and self._destination.matches(
            flow.destination, flow.port
        )


class _Entity:
    def __init__(self, entity: Mapping[str, Any], calico: Calico, protocol: int | None) -> None:
        if entity.keys() - _ENTITY:
            raise ValueError(f"an entity with {sorted(entity.keys() - _ENTITY)} is not judged here")
        self._set, self._negated = calico.ip_set(entity)
        # An empty list is no constraint at all.
        self._nets = Nets(entity["nets"]) if entity.get("nets") else None
        self._not_nets = Nets(entity["notNets"]) if entity.get("notNets") else None
        self._ports = [_ports(each) for each in entity.get("ports") or ()]
        self._not_ports = [_ports(each) for each in entity.get("notPorts") or ()]
        if (self._ports or self._not_ports) and protocol not in _PORTED:
            raise ValueError("ports without a protocol that has them")

    def matches(self, end: End, port: int) -> bool:
        if self._set is not None and self._set.hold(end) == self._negated:
            return False
        if self._nets is not None and not self._nets.hold(end):
            return False
        # With notNets of the other version alone the rule is not there for this one.
        if self._not_nets is not None and (
            not self._not_nets.ranges[end.family] or self._not_nets.hold(end)
        ):
            return False
        if self._ports and not any(first <= port <= last for first, last in self._ports):
            return False
        return not any(first <= port <= last for first, last in self._not_ports)


def _ports(text: int | str) -> tuple[int, int]:
    if isinstance(text, int):
        return text, text
    first, last = text.split(":")
    return int(first), int(last)

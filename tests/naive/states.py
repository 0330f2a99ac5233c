"""What Calico does with many flows in many states of one cluster, by `calico_verdict`, but quickly.

Flows are bits of a number. A rule's constraints are asked of `calico_verdict` once for each flow,
what its selectors hold once for each end and state of the sets; all else is combining bits. What
was judged is kept by the bytes of the objects, so a state costs what in it is new.

Only what is enforced counts, as in Felix; a policy in a tier that does not stand is told of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.naive.calico_verdict import Calico, Nets, Rule, labels_of, selector
from tests.naive.flows import End, Flow

DIRECTIONS = ("egress", "ingress")
_SELECTING = ("selector", "notSelector", "namespaceSelector")


class Object(Protocol):
    """An object as it was written: its digest says what its document is."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    def document(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class State:
    """The verdicts of one state, a bit for each flow.

    `denied` are those that some tier denies at an end that is a pod. `by_tier` are the same by
    (tier, direction), whatever other tiers say. `homeless` are policies whose tier is not there.
    """

    denied: int
    by_tier: Mapping[tuple[str, str], int]
    homeless: tuple[str, ...]


@dataclass
class _Policy:
    name: str
    tier: str
    order: float
    applies: Mapping[str, int]
    rules: Mapping[str, Sequence[tuple[str, int, Sequence[tuple[str, Mapping[str, Any]]]]]]


class Judge:
    """Judges states of a cluster with these pods, by these flows."""

    def __init__(self, world: Sequence[End], flows: Sequence[Flow]) -> None:
        self.flows = flows
        self._world = world
        self._ends: dict[str, dict[End, int]] = {"source": {}, "destination": {}}
        for number, flow in enumerate(flows):
            for side, end in (("source", flow.source), ("destination", flow.destination)):
                found = self._ends[side]
                found[end] = found.get(end, 0) | 1 << number
        self._own = {"egress": self._ends["source"], "ingress": self._ends["destination"]}
        self._nobody = Calico([], world)
        self._constraints: dict[str, int] = {}
        self._policies: dict[str, _Policy] = {}
        self._tiers: dict[str, tuple[float, str, str]] = {}
        self._sets: dict[tuple[str, ...], _Sets] = {}
        self._decided: dict[tuple[str, str, tuple[int, ...]], tuple[int, int, int]] = {}
        self._states: dict[frozenset[str], State] = {}

    def mask(self, holds: Callable[[Flow], bool]) -> int:
        """The flows of which something holds."""
        return sum(1 << number for number, flow in enumerate(self.flows) if holds(flow))

    def shown(self, mask: int) -> Flow:
        """The first of some flows."""
        return self.flows[(mask & -mask).bit_length() - 1]

    def of(self, objects: Iterable[Object]) -> State:
        """The verdicts where exactly these objects stand."""
        objects = list(objects)
        key = frozenset(each.digest for each in objects)
        if key not in self._states:
            self._states[key] = self._judged(objects)
        return self._states[key]

    def _judged(self, objects: Sequence[Object]) -> State:
        sets = self._sets_of([each for each in objects if each.kind == "GlobalNetworkSet"])
        tiers = sorted(self._tier(each) for each in objects if each.kind == "Tier")
        policies = [self._policy(each) for each in objects if each.kind == "GlobalNetworkPolicy"]
        policies.sort(key=lambda each: (each.order, each.name))
        digests = {each.name: each.digest for each in objects if each.kind == "GlobalNetworkPolicy"}
        by_tier: dict[tuple[str, str], int] = {}
        denied = 0
        for direction in DIRECTIONS:
            left = -1
            for _, tier, default in tiers:
                here = [each for each in policies if each.tier == tier]
                no, yes = self._of_tier(here, digests, direction, sets, default)
                by_tier[tier, direction] = no
                denied |= left & no
                left &= ~(no | yes)
        names = {tier for _, tier, _ in tiers}
        homeless = tuple(each.name for each in policies if each.tier not in names)
        return State(denied, by_tier, homeless)

    def _of_tier(
        self,
        policies: Sequence[_Policy],
        digests: Mapping[str, str],
        direction: str,
        sets: _Sets,
        default: str,
    ) -> tuple[int, int]:
        """What a tier denies, and what it allows for good."""
        denied = allowed = passed = applied = 0
        for policy in policies:
            no, yes, by = self._of_policy(policy, digests[policy.name], direction, sets)
            open_ = ~(denied | allowed | passed)
            denied, allowed, passed = (
                denied | open_ & no,
                allowed | open_ & yes,
                passed | open_ & by,
            )
            applied |= policy.applies[direction]
        rest = applied & ~(denied | allowed | passed)
        if default == "Deny":
            denied |= rest
        elif default == "Allow":
            allowed |= rest
        return denied, allowed

    def _of_policy(
        self, policy: _Policy, digest: str, direction: str, sets: _Sets
    ) -> tuple[int, int, int]:
        """What a policy denies, allows and passes on where nothing before it decides."""
        rules = policy.rules[direction]
        held = tuple(
            sets.mask(side, entity) for _, _, selecting in rules for side, entity in selecting
        )
        key = (digest, direction, held)
        if key not in self._decided:
            found = {"Deny": 0, "Allow": 0, "Pass": 0}
            rest = policy.applies[direction]
            selected = iter(held)
            for action, mask, selecting in rules:
                for _ in selecting:
                    mask &= next(selected)
                found[action] |= rest & mask
                rest &= ~mask
            self._decided[key] = (found["Deny"], found["Allow"], found["Pass"])
        return self._decided[key]

    def _tier(self, each: Object) -> tuple[float, str, str]:
        if each.digest not in self._tiers:
            spec = each.document()["spec"]
            self._tiers[each.digest] = (spec["order"], each.name, spec.get("defaultAction", "Deny"))
        return self._tiers[each.digest]

    def _policy(self, each: Object) -> _Policy:
        if each.digest not in self._policies:
            spec = each.document()["spec"]
            selects = selector(spec["selector"])
            applies = {}
            for direction in DIRECTIONS:
                applies[direction] = 0
                if direction.capitalize() in spec["types"]:
                    for end, flows in self._own[direction].items():
                        if end.pod and selects(labels_of(end.pod)):
                            applies[direction] |= flows
            rules = {
                direction: [self._rule(rule) for rule in spec.get(direction, ())]
                for direction in DIRECTIONS
            }
            self._policies[each.digest] = _Policy(
                each.name, spec["tier"], spec["order"], applies, rules
            )
        return self._policies[each.digest]

    def _rule(
        self, rule: Mapping[str, Any]
    ) -> tuple[str, int, Sequence[tuple[str, Mapping[str, Any]]]]:
        """Its action, the flows that fit all but its selectors, and those."""
        plain = {key: value for key, value in rule.items() if key not in ("metadata", "action")}
        selecting = []
        for side in ("source", "destination"):
            entity = plain.get(side, {})
            if asked := {key: value for key, value in entity.items() if key in _SELECTING}:
                selecting.append((side, asked))
                plain[side] = {k: value for k, value in entity.items() if k not in _SELECTING}
        key = json.dumps(plain, sort_keys=True)
        if key not in self._constraints:
            judged = Rule({**plain, "action": "Pass"}, self._nobody)
            self._constraints[key] = self.mask(judged.matches)
        return rule["action"], self._constraints[key], selecting

    def _sets_of(self, objects: Sequence[Object]) -> _Sets:
        key = tuple(sorted(each.digest for each in objects))
        if key not in self._sets:
            documents = [each.document() for each in objects]
            self._sets[key] = _Sets(Calico(documents, self._world), self._ends)
        return self._sets[key]


@dataclass
class _Sets:
    """One state of all sets: what selectors hold there."""

    calico: Calico
    ends: Mapping[str, Mapping[End, int]]
    _masks: dict[tuple[str, ...], int] = field(default_factory=dict)

    def mask(self, side: str, entity: Mapping[str, Any]) -> int:
        key = (side, *(entity.get(each, "") for each in _SELECTING))
        if key not in self._masks:
            held, negated = self.calico.ip_set(entity)
            assert isinstance(held, Nets)
            self._masks[key] = sum(
                flows for end, flows in self.ends[side].items() if held.hold(end) != negated
            )
        return self._masks[key]

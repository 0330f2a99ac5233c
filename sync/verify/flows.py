"""Calico's verdict on single flows, from the written documents.

Read from `projectcalico/calico`: the source pod's egress and the destination pod's ingress are
judged apart, tier by tier, policy by policy, rule by rule; Pass goes on to the next tier, and the
default action of a tier counts where a policy of it selects the pod and no rule matched
(`felix/rules/endpoints.go`, `felix/calc/policy_sorter.go`). A rule's selectors are folded into one
question about single objects (`felix/calc/rule_scanner.go`), and an end of a flow matches if any
object that has its address, a pod or a network set, is what is asked for.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sync.calico.names import RULE_ANNOTATION
from sync.net.addresses import AddressSet, network
from sync.net.intervals import to_ranges
from sync.verify.policies import PROTOCOLS
from sync.verify.selectors import Labels, selector

_GLOBAL: Final = "global()"
_NAMESPACE: Final = "projectcalico.org/namespace"


@dataclass(frozen=True, eq=False)
class End:
    """One end of a flow: an address as (family, number), and the labels of the pod that has it.

    `labels` are None for what is no pod, else all that selectors see: the pod's own and those that
    Calico gives it. `name` is for people.
    """

    name: str
    address: tuple[int, int]
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A first packet. `protocol` is its number; ports are 0 where it has none, `icmp` is the type
    and the code where it is ICMP."""

    source: End
    destination: End
    protocol: int
    port: int
    source_port: int
    icmp: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a flow, and the rule that denies it: `policy`, `direction` and its index
    there, and the firewall's `rule` that it says it is. All "" where the flow is allowed or the
    default of a tier denies."""

    allowed: bool
    policy: str = ""
    direction: str = ""
    index: int = 0
    rule: str = ""


ALLOWED: Final = Verdict(allowed=True)


class Policies:
    """The policies of documents, for flows between some ends."""

    def __init__(self, documents: Iterable[Mapping[str, Any]], ends: Sequence[End]) -> None:
        """`ends` are all that flows will be asked about. Staged policies decide nothing.

        `ValueError` for a document that cannot be judged.
        """
        by_kind: dict[str, list[Mapping[str, Any]]] = {}
        for document in documents:
            by_kind.setdefault(document["kind"], []).append(document)
        # Of every object that has an end's address, its labels.
        self._held: dict[End, list[Labels]] = {
            end: [] if end.labels is None else [end.labels] for end in ends
        }
        self._hold(by_kind.get("GlobalNetworkSet", ()))
        self._asked: dict[tuple[End, str, str, str], bool] = {}
        tiers = sorted(by_kind.get("Tier", ()), key=_place)
        policies = sorted(by_kind.get("GlobalNetworkPolicy", ()), key=_place)
        self._tiers = [
            (
                tier["spec"]["defaultAction"],
                [each for each in policies if each["spec"]["tier"] == tier["metadata"]["name"]],
            )
            for tier in tiers
        ]

    def verdict(self, flow: Flow) -> Verdict:
        """What our tiers make of a flow; one that all of them pass on is allowed here."""
        for end, direction in ((flow.source, "egress"), (flow.destination, "ingress")):
            if end.labels is None:
                continue
            found = self._judged(flow, end.labels, direction)
            if not found.allowed:
                return found
        return ALLOWED

    def _judged(self, flow: Flow, labels: Labels, direction: str) -> Verdict:
        for default, policies in self._tiers:
            action = ""
            for policy in policies:
                spec = policy["spec"]
                if direction.capitalize() not in spec["types"]:
                    continue
                if not selector(spec["selector"]).matches(labels):
                    continue
                action = default
                found = self._first(flow, spec.get(direction, ()))
                if found is None:
                    continue
                index, rule = found
                action = rule["action"]
                if action == "Deny":
                    name = policy["metadata"]["name"]
                    annotations = rule.get("metadata", {}).get("annotations", {})
                    said = annotations.get(RULE_ANNOTATION, "")
                    return Verdict(False, name, direction, index, said)  # noqa: FBT003 - a verdict
                break
            if action == "Deny":
                return Verdict(allowed=False)
            if action == "Allow":
                return ALLOWED
        return ALLOWED

    def _first(
        self, flow: Flow, rules: Sequence[Mapping[str, Any]]
    ) -> tuple[int, Mapping[str, Any]] | None:
        for index, rule in enumerate(rules):
            if self._matches(flow, rule):
                return index, rule
        return None

    def _matches(self, flow: Flow, rule: Mapping[str, Any]) -> bool:
        protocol = rule.get("protocol")
        if protocol is not None and PROTOCOLS.get(protocol, protocol) != flow.protocol:
            return False
        if rule.get("ipVersion", flow.source.address[0]) != flow.source.address[0]:
            return False
        if "icmp" in rule:
            type_, code = flow.icmp or (None, None)
            if rule["icmp"]["type"] != type_ or rule["icmp"].get("code", code) != code:
                return False
        return self._is(flow.source, flow.source_port, rule["source"]) and self._is(
            flow.destination, flow.port, rule["destination"]
        )

    def _is(self, end: End, port: int, entity: Mapping[str, Any]) -> bool:
        if not entity:
            return True
        if "ports" in entity and not any(_holds_port(each, port) for each in entity["ports"]):
            return False
        if any(_holds_port(each, port) for each in entity.get("notPorts", ())):
            return False
        if "nets" in entity and not _holds(tuple(entity["nets"]), end.address):
            return False
        # A rule whose notNets are all of the other version is not there for this one.
        if "notNets" in entity:
            nets = tuple(entity["notNets"])
            if not _of_family(nets, end.address[0]) or _holds(nets, end.address):
                return False
        return self._is_selected(end, entity)

    def _is_selected(self, end: End, entity: Mapping[str, Any]) -> bool:
        positive, negative, namespaces = (
            entity.get(key, "") for key in ("selector", "notSelector", "namespaceSelector")
        )
        if not (positive or negative or namespaces):
            return True
        key = (end, positive, negative, namespaces)
        if key not in self._asked:
            if namespaces not in ("", _GLOBAL):
                raise ValueError(f"the namespaceSelector {namespaces!r} is not judged")
            folded = bool(positive or namespaces)
            found = any(
                not (namespaces and _NAMESPACE in labels)
                and (not positive or selector(positive).matches(labels))
                and (not negative or selector(negative).matches(labels) != folded)
                for labels in self._held[end]
            )
            self._asked[key] = found == folded
        return self._asked[key]

    def _hold(self, sets: Iterable[Mapping[str, Any]]) -> None:
        """Find out which ends' addresses each set has."""
        ends = sorted(self._held, key=lambda each: each.address)
        places = [each.address for each in ends]
        for document in sets if ends else ():
            labels = document["metadata"].get("labels", {})
            held = AddressSet.union(map(network, document["spec"].get("nets", ())))
            for family, bounds in ((4, held.v4), (6, held.v6)):
                for first, past in to_ranges(bounds):
                    start = bisect_left(places, (family, first))
                    for end in ends[start : bisect_left(places, (family, past))]:
                        self._held[end].append(labels)


def _place(document: Mapping[str, Any]) -> tuple[int, str]:
    return document["spec"]["order"], document["metadata"]["name"]


def _holds_port(said: int | str, port: int) -> bool:
    if isinstance(said, int):
        return said == port
    first, last = said.split(":")
    return int(first) <= port <= int(last)


@lru_cache(1 << 14)  # the same nets stand in many rules
def _addresses(nets: tuple[str, ...]) -> AddressSet:
    return AddressSet.union(map(network, nets))


def _of_family(nets: tuple[str, ...], family: int) -> bool:
    found = _addresses(nets)
    return bool(found.v4 if family == 4 else found.v6)


def _holds(nets: tuple[str, ...], address: tuple[int, int]) -> bool:
    family, number = address
    found = _addresses(nets)
    # Odd is inside: the place is between stepping in and stepping out.
    return bisect_right(found.v4 if family == 4 else found.v6, number) % 2 == 1

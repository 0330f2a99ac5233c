"""The flows that a change of policies allows and denies are those that a slow reading says.

Each flow is judged before and after by a naive Calico that shares no code with the comparison. One
that it begins to allow is in a box of those that become allowed, one that it begins to deny in a
box of those that become denied, and any other in none. Who is in a box is read from its names.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

import orjson
import pytest

from sync.calico.names import label_value
from sync.net.addresses import AddressSet
from sync.net.ports import PortSet
from sync.verify.flow_changes import FlowChanges, changed_flows
from sync.verify.flow_names import Flows, Who
from sync.verify.pod_kinds import Zoning
from sync.verify.traffic_space import Carried
from tests.firms import changed, drawn
from tests.naive.calico_verdict import Calico, labels_of
from tests.naive.flows import End, Flow, Pod
from tests.naive.rulebases import LABEL, ZONES
from tests.property.test_translation_property import judged
from tests.transitions import JUDGE, Firm, small_parts

Document = dict[str, Any]

FIRMS = range(24)
CASES = (*range(300, 310), 1015, 1041)  # two labels with values that no selector tells apart
MOST = 150  # boxes whose edges are looked at

PODS = AddressSet(v4=(0x0AF40000, 0x0AF50000))  # 10.244.0.0/16


# --- what must hold -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", FIRMS)
def test_the_flows_of_another_configuration_are_those_that_are_judged_otherwise(seed: int) -> None:
    one, other = firms_of(seed)
    found = changes_of(seed)
    assert not found.unknown
    old, new = JUDGE.of(one.first.end.values()), JUDGE.of(other.first.end.values())
    for number, flow in enumerate(JUDGE.flows):
        was, will = (not state.denied >> number & 1 for state in (old, new))
        require_told(found, flow, was=was, will=will)


@pytest.mark.parametrize("seed", CASES)
def test_so_are_those_of_policies_that_are_changed_at_random(seed: int) -> None:
    case = judged(seed, tame=seed % 2 == 0).case
    before = documents_of(seed)
    after, found = mistakes_of(seed)
    assert not found.unknown
    world = case.world
    old, new = Calico(before, world), Calico(after, world)
    for flow in (*case.flows, *edges(found, world, Random(seed))):
        was, will = old.verdict(flow).allow, new.verdict(flow).allow
        require_told(found, flow, was=was, will=will)


def test_the_changes_above_are_many_and_of_both_sorts() -> None:
    seen: Counter[str] = Counter()
    for seed in FIRMS:
        found = changes_of(seed)
        seen["allowed"] += bool(found.allowed)
        seen["denied"] += bool(found.denied)
        seen["nothing"] += found.nothing
    for seed in CASES:
        _, found = mistakes_of(seed)
        seen["at random"] += bool(found.allowed or found.denied)
    assert min(seen.values()) >= 4, seen


# --- changes --------------------------------------------------------------------------------------


@cache
def firms_of(seed: int) -> tuple[Firm, Firm]:
    random = Random(f"flows {seed}")
    first = drawn(random)
    with small_parts(3):
        second = changed(first, random)
        for firm in (first, second):
            assert firm.first.succeeded  # while parts are small
    return first, second


@cache
def changes_of(seed: int) -> FlowChanges:
    one, other = firms_of(seed)
    return changed_flows(enforced(one), enforced(other), ZONING, PODS)


@cache
def mistakes_of(seed: int) -> tuple[list[Document], FlowChanges]:
    """The policies of a case with mistakes, and the flows that these change."""
    before = documents_of(seed)
    after = mistaken(Random(f"flows {seed}"), before)
    pods = judged(seed, tame=seed % 2 == 0).case.pods_in
    return after, changed_flows(before, after, ZONING, pods)


def enforced(firm: Firm) -> list[Document]:
    found = [each.document() for each in firm.first.end.values()]
    return [each for each in found if each["kind"] != "StagedGlobalNetworkPolicy"]


def documents_of(seed: int) -> list[Document]:
    """What a case is translated to, as if all of it were enforced."""
    manifests = judged(seed, tame=seed % 2 == 0).translated.manifests.values()
    found = [each.document() for each in manifests]
    return [{**each, "kind": each["kind"].removeprefix("Staged")} for each in found]


def mistaken(random: Random, documents: Sequence[Document]) -> list[Document]:
    """The same with some rules gone, turned or moved, and some sets without a net."""
    found: list[Document] = orjson.loads(orjson.dumps(documents))
    lists = [
        rules
        for each in found
        if each["kind"] == "GlobalNetworkPolicy"
        for direction in ("ingress", "egress")
        if (rules := each["spec"].get(direction))
    ]
    for _ in range(random.randint(1, 4)):
        rules = random.choice(lists)
        at = random.randrange(len(rules))
        what = random.random()
        if what < 0.3:
            rules[at] = {
                **rules[at],
                "action": {"Deny": "Pass"}.get(rules[at]["action"], "Deny"),
            }
        elif what < 0.5 and len(rules) > 1:
            del rules[at]
        elif what < 0.8:
            random.shuffle(rules)
        else:
            rules.insert(at, {"action": "Pass", "protocol": 47, "source": {}, "destination": {}})
    sets = [each for each in found if each["spec"].get("nets")]
    for each in random.sample(sets, min(len(sets), random.randint(0, 2))):
        each["spec"]["nets"].pop(random.randrange(len(each["spec"]["nets"])))
    return found


def edges(found: FlowChanges, world: Sequence[End], random: Random) -> Iterator[Flow]:
    """Flows at the edges of the boxes: between pods of the world, and addresses near their ends."""
    boxes = [*found.allowed, *found.denied]
    taken = {(end.family, end.address) for end in world}
    for box in random.sample(boxes, min(MOST, len(boxes))):
        sides = []
        for side in (box.source, box.destination):
            near = {
                (family, number)
                for who in side
                if who.addresses is not None
                for family, bounds in ((4, who.addresses.v4), (6, who.addresses.v6))
                for bound in (*bounds[:6], *bounds[-6:])
                for number in (bound - 1, bound)
                if 0 <= number < (1 << (32 if family == 4 else 128))
            }
            hosts = [End(number, family) for family, number in sorted(near - taken)]
            sides.append([*random.sample(hosts, min(8, len(hosts))), *world])
        for _ in range(12):
            source, destination = map(random.choice, sides)
            one_family = source.family == destination.family and source != destination
            if one_family and (source.pod or destination.pod):
                yield _sent(random, box, source, destination)


def _sent(random: Random, box: Flows, source: End, destination: End) -> Flow:
    listed = [each for each in box.traffic if each.protocol in (6, 17)]
    carried = random.choice(listed) if listed else Carried(6)
    ports = [
        random.choice([each for bound in held.bounds for each in (bound - 1, bound) if each >= 0])
        if held
        else random.choice((1, 80, 40000))
        for held in (carried.source_ports, carried.ports)
    ]
    return Flow(source, destination, carried.protocol, min(ports[0], 65535), min(ports[1], 65535))


# --- whether a flow is told of --------------------------------------------------------------------


def require_told(found: FlowChanges, flow: Flow, *, was: bool, will: bool) -> None:
    opened = [each for each in found.allowed if holds(each, flow)]
    closed = [each for each in found.denied if holds(each, flow)]
    assert len(opened) == (will and not was), (str(flow), was, will, opened)
    assert len(closed) == (was and not will), (str(flow), was, will, closed)


def holds(box: Flows, flow: Flow) -> bool:
    if flow.source.family not in box.families or not carries(box, flow):
        return False
    return any(is_of(each, flow.source) for each in box.source) and any(
        is_of(each, flow.destination) for each in box.destination
    )


def carries(box: Flows, flow: Flow) -> bool:
    return any(is_carried(each, flow) for each in box.traffic) != box.but


def is_carried(each: Carried, flow: Flow) -> bool:
    if each.protocol != flow.protocol:
        return False
    if each.types or each.but:
        assert flow.icmp is not None
        return any(is_type(text, flow.icmp) for text in each.types) != each.but
    return _has(each.ports, flow.port) and _has(each.source_ports, flow.source_port)


def _has(ports: PortSet | None, port: int) -> bool:
    return ports is None or port in ports


def is_type(text: str, icmp: tuple[int, int]) -> bool:
    kind, _, but = text.partition(" but code ")
    if but:
        return int(kind) == icmp[0] and str(icmp[1]) not in but.split(",")
    kind, _, code = text.partition(":")
    return int(kind) == icmp[0] and code in ("", str(icmp[1]))


def is_of(who: Who, end: End) -> bool:
    if who.outside != (end.pod is None):
        return False
    if who.addresses is not None:
        bounds = who.addresses.v4 if end.family == 4 else who.addresses.v6
        if not sum(bound <= end.address for bound in bounds) % 2:
            return False
    return end.pod is None or any(is_named(name, end.pod) for name in who.pods) != who.but


def is_named(name: str, pod: Pod) -> bool:
    if name == "zoned pods":
        return bool(zone_of(labels_of(pod)))
    found = re.fullmatch(r"(.*?)(?: \((.*)\))?", name)
    assert found is not None
    labels = labels_of(pod)
    words = {"": "unzoned pods", None: "pods of an unknown zone"}
    zone = zone_of(labels)
    if found[1] != words.get(zone, zone):
        return False
    return all(is_told(clause, labels) for clause in (found[2] or "").split(", ") if clause)


def is_told(clause: str, labels: Mapping[str, str]) -> bool:
    if clause.startswith("without "):
        key, _, more = clause.removeprefix("without ").partition(" or ")
        return key not in labels or (bool(more) and is_told(more, labels))
    if clause.startswith("with "):
        key, _, but = clause.removeprefix("with ").partition(" other than ")
        return key in labels and (not but or labels[key] not in but.split(" or "))
    key, _, values = clause.partition(" ")
    if values.startswith("other than "):
        return labels.get(key) not in values.removeprefix("other than ").split(" or ")
    return labels.get(key) in values.split(" or ")


def zone_of(labels: Mapping[str, str]) -> str | None:
    """The zone that a pod is counted to here: the one that its label names."""
    value = labels.get(LABEL, "")
    return value if value in ("", *NAMED) else None


NAMED = frozenset(map(label_value, (*ZONES, "web", "db", "users", "lab")))
ZONING = Zoning(LABEL, NAMED, zone_of)

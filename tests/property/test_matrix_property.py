"""Who may reach whom is what the naive evaluators say of single flows between two zones.

Of what a cell leaves out no flow is allowed, of what it says between all addresses every flow is;
of what it says between some addresses there is a flow of each kind.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from itertools import product
from re import compile as pattern
from re import fullmatch
from typing import Literal

import pytest

from sync.net.addresses import network
from sync.verify import single_flow
from sync.verify.matrix import BEYOND_TABLE, Cell, DecidingRule, Matrix, Reach, matrices
from sync.verify.single_flow import FlowEnd, Flows
from sync.verify.tiers import Tiers
from sync.verify.traffic_space import Packet
from tests.naive.calico_verdict import Calico, labels_of
from tests.naive.firewall_verdict import Firewall
from tests.naive.flows import ORACLES, End, Flow, Pod, edges
from tests.naive.flows import written as written_place
from tests.naive.rulebases import as_they_are, case
from tests.property.test_proof_property import Document, documents_of, groups_of, settings_of
from tests.property.test_translation_property import Judged, translated

SEEDS = range(600, 610)
MANY_SEEDS = range(7000, 7100, 20)
WHERE = pattern(r"[^\s,]+\[(?:egress|ingress) \d+\]")
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}


@cache
def of_one_group(seed: int, *, tame: bool = False) -> tuple[Judged, Matrix] | None:
    """A case whose cluster stands for one device group, with its matrix; essentials are aside."""
    made = case(seed, tame=tame)
    if len(made.groups) != 1:
        return None
    # What the settings accept of Calico is no matter of the firewall.
    applications: Literal["strict", "ports"] = "ports" if seed % 2 else "strict"
    rules = replace(made.rules, applications=applications)
    one = translated(replace(made, rules=rules, zones=replace(made.zones, essentials=())))
    (matrix,) = matrices(Tiers(groups_of(one), documents_of(one), settings_of(one)))
    return one, matrix


def carries(texts: Sequence[str], flow: Flow) -> bool:
    return any(_carries(text, flow) for text in texts)


def _carries(text: str, flow: Flow) -> bool:
    """Whether a service, as it is said, has a flow; a second reading of the words."""
    if text in ("any traffic", "all other traffic", BEYOND_TABLE):
        return True
    name = _NAMES.get(flow.protocol, f"IP protocol {flow.protocol}")
    if text == "other protocols":
        return False
    found = fullmatch(
        r"(icmp6?|tcp|udp|IP protocol \d+)(/\S+)?( from source ports (\S+))?(.*)", text
    )
    assert found, text
    if found[1] != name:
        return False
    if flow.icmp:
        words = found[5].strip()
        but = words.removeprefix("but ")
        return not words or any(_is_type(each, flow.icmp) for each in but.split(", ")) == (
            but == words
        )
    ports = found[2][1:] if found[2] else "0-65535"
    return _holds(ports, flow.port) and _holds(found[4] or "0-65535", flow.source_port)


def _is_type(words: str, icmp: tuple[int, int]) -> bool:
    found = fullmatch(r"type (\d+)(?:( but)? code ([\d,]+))?", words)
    assert found, words
    kind, code = icmp
    if int(found[1]) != kind:
        return False
    return found[3] is None or (str(code) in found[3].split(",")) == (found[2] is None)


def _holds(ports: str, port: int) -> bool:
    return any(
        int(first) <= port <= int(last or first)
        for first, _, last in (part.partition("-") for part in ports.split(","))
    )


def clear(reach: Reach, flow: Flow) -> bool:
    """Whether the words decide it: which protocols are other ones is not said."""
    said = (*reach.services, *reach.partly, *reach.perhaps)
    return "other protocols" not in said or any(_of(text, flow) for text in said)


def _of(text: str, flow: Flow) -> bool:
    """Whether a text names the protocol of a flow."""
    name = _NAMES.get(flow.protocol, f"IP protocol {flow.protocol}")
    return text == name or text.startswith((f"{name}/", f"{name} "))


def ends_by_zone(one: Judged) -> dict[str, list[End]]:
    (firewall,) = one.case.firewalls
    found: dict[str, list[End]] = {}
    for end in {each for flow in one.case.flows for each in (flow.source, flow.destination)}:
        if end.pod:
            zones = {firewall.zone_of_pod(end)}
        else:
            zones = {firewall.zone_of_address(end, oracle) for oracle in ORACLES}
        if len(zones) == 1 and (zone := zones.pop()):
            found.setdefault(zone, []).append(end)
    return {zone: sorted(ends, key=str) for zone, ends in found.items()}


def flows_of(one: Judged, most: int) -> Iterator[tuple[str, str, Flow]]:
    """Flows between ends whose zones are known: what the case has, between all of its ends."""
    by_zone = ends_by_zone(one)
    packets = one.case.flows
    for source, destination in product(sorted(by_zone), repeat=2):
        count = 0
        for near, far in product(by_zone[source], by_zone[destination]):
            if near == far or near.family != far.family or not (near.pod or far.pod):
                continue
            count += 1
            for packet in packets[count % 23 :: 23]:
                if packet.protocol != (58 if near.family == 4 else 1):
                    yield source, destination, replace(packet, source=near, destination=far)
            if count == most:
                break


def check(one: Judged, matrix: Matrix) -> int:
    assert not matrix.because
    cells = {(each.source, each.destination): each for each in matrix.cells}
    calico = Calico(documents_of(one), one.case.world)
    (firewall,) = as_they_are(one.case)
    held = 0
    for source, destination, flow in flows_of(one, 5):
        cell = cells.get((source, destination))
        if cell is None:
            continue
        held += 1
        verdict = calico.verdict(flow)
        told = (one.case.seed, source, destination, str(flow))
        hold(cell.calico, flow, verdict.allow, told)
        if cell.calico.state != "unknown":
            places = {place for rule in cell.calico.rules for place in rule.places}
            assert {*WHERE.findall(verdict.by)} <= places, (told, verdict, cell)
        hold_firewall(one, cell, firewall, flow, allowed=verdict.allow)
    return held


def hold(reach: Reach, flow: Flow, allowed: bool, told: object) -> None:
    assert reach.state != "no flows", told
    if reach.state == "unknown":
        return
    if reach.state in ("all", "none"):
        assert allowed == (reach.state == "all"), (told, reach)
    if not clear(reach, flow):
        return
    if carries(reach.services, flow):
        assert allowed, (told, reach)
    elif not carries((*reach.partly, *reach.perhaps), flow):
        assert not allowed, (told, reach)


def hold_firewall(
    one: Judged, cell: Cell, firewall: Firewall, flow: Flow, *, allowed: bool
) -> None:
    told = (one.case.seed, cell.source, cell.destination, str(flow))
    deciders = {named(rule) for rule in cell.firewall.rules}
    for oracle in ORACLES:
        found = firewall.verdict(flow, oracle)
        verdict = found.allow
        # Wildcard rules may go before others of their action.
        if cell.firewall.state != "unknown" and "wildcard" not in found.by:
            assert found.by in deciders, (told, found, cell)
        hold(cell.firewall, flow, verdict, told)
        if cell.unlike in ("", "more"):
            assert allowed or not verdict, (told, cell)
        if cell.unlike in ("", "less"):
            assert verdict or not allowed, (told, cell)


def named(rule: DecidingRule) -> str:
    """A rule of the firewall in the words of the naive one."""
    if rule.place is None:
        return {"unzoned-pods": "unzoned_pods", "unknown-addresses": "unknown_addresses"}.get(
            rule.rule, rule.rule
        )
    _, _, device_group, rulebase, position = rule.place
    return f"{device_group}/{rulebase}/{position} {rule.rule!r}"


def check_partly(one: Judged, matrix: Matrix) -> int:
    """Of what goes between some addresses there is a flow that passes, and one that does not."""
    documents = documents_of(one)
    if one.case.mode != "enforced":
        return 0
    ends = everywhere(one, documents)
    written = Flows(documents, [end for some in ends.values() for end in some])
    packets = {
        Packet(each.protocol, each.source_port, each.port, each.icmp): each
        for each in one.case.flows
    }
    held = 0
    for cell in matrix.cells:
        both = (ends[cell.source], ends[cell.destination])
        if not all(any(end.labels is not None for end in some) for some in both):
            continue  # the case has no pod of it
        spoken = [
            packet
            for packet, flow in packets.items()
            if clear(cell.calico, flow)
            and carries(cell.calico.partly, flow)
            and not carries(cell.calico.services, flow)
        ][:2]
        for packet in spoken:
            found = {
                written.verdict(single_flow.Flow(near, far, packet)).allowed
                for near, far in product(*both)
                if near.address[0] == far.address[0] and near.address != far.address
                if near.labels is not None or far.labels is not None
            }
            assert found == {True, False}, (one.case.seed, cell, packet)
            held += 1
        if held > MOST_CELLS:
            break
    return held


MOST_CELLS = 4


def everywhere(one: Judged, documents: Sequence[Document]) -> dict[str, list[FlowEnd]]:
    """The ends of each zone: a pod and no pod at each address where something begins or ends."""
    (firewall,) = one.case.firewalls
    texts = {net for document in documents for net in nets_of(document)}
    # A net may be named in one family only: there are pods of the other one too.
    texts |= {*(one.case.pod_cidrs or ("10.255.0.0/24", "2001:db8:ffff::/64"))}
    places = sorted({place for text in texts for place in edges(text)})
    pods = {
        zone: labels_of(end.pod)
        for end in one.case.world
        if end.pod and (zone := firewall.zone_of_pod(end))
    }
    inside = one.case.pods_in
    found: dict[str, list[FlowEnd]] = {zone: [] for zone in firewall.zones}
    for place in places:
        for zone, labels in pods.items():
            if zone in found and (inside is None or inside & network(written_place(place))):
                found[zone].append(FlowEnd(zone, place, labels))
        end = End(place[1], place[0])
        zones = {firewall.zone_of_address(end, oracle) for oracle in ORACLES}
        if len(zones) == 1 and (zone := zones.pop()) in found:
            found[zone].append(FlowEnd("", place))
    return found


def nets_of(value: object) -> Iterator[str]:
    """Every network that some document has."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from each if key in ("nets", "notNets") else nets_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from nets_of(each)


@pytest.mark.parametrize("seed", range(600, 640))
def test_what_goes_between_some_addresses_goes_not_between_all(seed: int) -> None:
    found = of_one_group(seed)
    if found:
        check_partly(*found)


@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_cell_is_what_single_flows_say(seed: int, tame: bool) -> None:
    found = of_one_group(seed, tame=tame)
    if found:
        check(*found)


@pytest.mark.slow
@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more(first: int, tame: bool) -> None:
    for seed in range(first, first + 20):
        found = of_one_group(seed, tame=tame)
        if found:
            check(*found)
            check_partly(*found)


EXAMPLE = pattern(
    r"(?P<source>(pod )?\S+) -> (?P<destination>(pod )?[^\s,]+), "
    r"((?P<name>tcp|udp)/(?P<port>\d+) from port (?P<from>\d+)"
    r"|icmp6? type (?P<type>\d+) code (?P<code>\d+)|IP protocol (?P<protocol>\d+))"
)


def example(text: str, source: str, destination: str, pods: Mapping[str, Pod]) -> Flow:
    """The flow that a cell names, with pods of its zones."""
    found = EXAMPLE.fullmatch(text)
    assert found, text

    def end(words: str, zone: str) -> End:
        name = words.removeprefix("pod ")
        place = ip_address(name)
        pod = Pod(**vars(pods[zone])) if name != words else None
        return End(int(place), 4 if place.version == 4 else 6, pod)

    ends = end(found["source"], source), end(found["destination"], destination)
    if found["name"]:
        number = {"tcp": 6, "udp": 17}[found["name"]]
        return Flow(*ends, number, int(found["from"]), int(found["port"]))
    if found["type"]:
        number = 58 if "icmp6" in text else 1
        return Flow(*ends, number, icmp=(int(found["type"]), int(found["code"])))
    return Flow(*ends, int(found["protocol"]))


def check_examples(one: Judged, matrix: Matrix) -> tuple[int, int]:
    """The flow that a cell is short of is denied in Calico, and one that it has more is allowed.

    Returns of how many that is so, and for how many of these the firewall decides otherwise.
    """
    documents = documents_of(one)
    (firewall,) = one.case.firewalls
    pods = {
        zone: end.pod for end in one.case.world if end.pod and (zone := firewall.zone_of_pod(end))
    }
    held = found = 0
    for cell in matrix.cells:
        for text, allowed in ((cell.lost, False), (cell.gained, True)):
            if not text or not {cell.source, cell.destination} <= pods.keys():
                continue
            flow = example(text, cell.source, cell.destination, pods)
            world = [
                *one.case.world,
                *(each for each in (flow.source, flow.destination) if each.pod),
            ]
            told = (one.case.seed, cell.source, cell.destination, text)
            assert Calico(documents, world).verdict(flow).allow == allowed, told
            applications = {each.application for each in one.case.flows}
            # What it may allow depends on more than an oracle can make true of one flow.
            found += any(
                firewall.verdict(replace(flow, application=each), oracle).allow != allowed
                for each in applications
                for oracle in ORACLES
            )
            held += 1
    return held, found


def test_the_flow_by_which_a_cell_differs_is_one() -> None:
    counts = [check_examples(*found) for seed in range(600, 616) if (found := of_one_group(seed))]
    held, otherwise = (sum(each) for each in zip(*counts, strict=True))
    assert held > 20
    assert otherwise > held // 2

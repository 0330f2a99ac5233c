"""What is explained is what the naive evaluators find, rule by rule.

Between ends that are known Calico's rule is the very one; the firewall's is among those named, and
where a verdict is given, it holds whatever nobody can know. Between zones every flow is in a case.
"""

from functools import cache
from re import compile as pattern

import pytest

from sync.net.addresses import EVERYWHERE, network, written
from sync.verify.explain import Case, Party, Side, explain, verdict_of
from sync.verify.judgement import Decider
from sync.verify.traffic_space import Packet
from tests.naive import calico_verdict
from tests.naive.calico_verdict import Calico
from tests.naive.firewall_verdict import Firewall
from tests.naive.flows import ORACLES, Flow
from tests.naive.rulebases import as_they_are
from tests.property.test_proof_property import documents_of, groups_of, settings_of
from tests.property.test_translation_property import Judged, judged

# Of the last an action cannot be read, and ports of a predefined App-ID that no table has decide.
SEEDS = (*range(300, 316), 90037, 4127)
MANY_SEEDS = range(4000, 4400, 20)
FLOWS = 12  # of a case
WHERE = pattern(r"[^\s,]+\[(?:egress|ingress) \d+\]")


def ends_of(flow: Flow) -> tuple[Party, Party]:
    source, destination = (
        Party(
            network(written((end.family, end.address))),
            "",
            calico_verdict.labels_of(end.pod) if end.pod else None,
        )
        for end in (flow.source, flow.destination)
    )
    return source, destination


def packet_of(flow: Flow) -> Packet:
    return Packet(flow.protocol, flow.source_port, flow.port, flow.icmp)


def explained(one: Judged, ends: tuple[Party, Party], packet: Packet) -> list[Side]:
    return explain(groups_of(one), documents_of(one), settings_of(one), ends, packet)


def firewall_of(one: Judged, side: Side) -> Firewall:
    (found,) = (each for each in as_they_are(one.case) if each.device_group == side.device_group)
    return found


def said(decider: Decider) -> str:
    """A rule of the firewall in the words of the naive one."""
    if decider.place is None:
        return {"unzoned-pods": "unzoned_pods", "unknown-addresses": "unknown_addresses"}.get(
            decider.rule, decider.rule
        )
    _, _, device_group, rulebase, position = decider.place
    return f"{device_group}/{rulebase}/{position} {decider.rule!r}"


def hold(one: Judged, flow: Flow, side: Side, case: Case) -> None:
    """Hold what is said of a flow at one side to the naive firewall."""
    judgement = case.firewall
    if judgement is None:
        return
    named = {said(each) for each in (judgement.decider, *judgement.perhaps)}
    firewall = firewall_of(one, side)
    for oracle in ORACLES:
        found = firewall.verdict(flow, oracle)
        if judgement.verdict != "unknown":
            assert found.allow == (judgement.verdict == "allow"), (one.case.seed, str(flow), found)
        # Wildcard rules may go before others of their action.
        if "wildcard" not in found.by:
            assert found.by in named, (one.case.seed, str(flow), found, judgement)


def known_flows(one: Judged) -> list[Flow]:
    return [flow for flow in one.case.flows if flow.source.pod or flow.destination.pod][:FLOWS]


def check_known(one: Judged) -> None:
    documents = documents_of(one)
    calico = Calico(documents, one.case.world)
    for flow in known_flows(one):
        sides = explained(one, ends_of(flow), packet_of(flow))
        assert sides
        for side in sides:
            (case,) = side.cases
            hold(one, flow, side, case)
            assert case.calico.verdict != "unknown"
        expected = calico.verdict(flow)
        assert (verdict_of(sides) == "allow") == expected.allow, (one.case.seed, str(flow))
        deciders = {case.calico.decider.where for side in sides for case in side.cases}
        assert {*WHERE.findall(expected.by)} <= deciders, (one.case.seed, str(flow), expected)


@cache
def between(one_seed: int, source: str, destination: str, packet: Packet) -> tuple[Side, ...]:
    one = judged(one_seed)
    cidrs = settings_of(one).pods or EVERYWHERE
    return tuple(explained(one, (Party(cidrs, source), Party(cidrs, destination)), packet))


def check_zones(one: Judged) -> int:
    """Hold what is said of zones to what the flows between their pods meet."""
    calico = Calico(documents_of(one), one.case.world)
    held = 0
    for flow in one.case.flows:
        if not (flow.source.pod and flow.destination.pod):
            continue
        zones = [one.case.firewalls[0].zone_of_pod(end) for end in (flow.source, flow.destination)]
        if None in zones:
            continue
        source, destination = (zone or "" for zone in zones)
        sides = between(one.case.seed, source, destination, packet_of(flow))
        verdicts = set()
        for side in sides:
            case = case_of(side, flow)
            hold(one, flow, side, case)
            verdicts.add(case.calico.verdict)
        if "unknown" not in verdicts:
            assert (verdicts == {"allow"}) == calico.verdict(flow).allow, (one.case.seed, str(flow))
        held += 1
        if held == FLOWS:
            break
    return held


def case_of(side: Side, flow: Flow) -> Case:
    """The one case that has a flow."""
    here, there = (
        network(written((end.family, end.address))) for end in (flow.source, flow.destination)
    )
    if side.direction == "ingress":
        here, there = there, here
    (found,) = (
        case
        for case in side.cases
        if any(here & local and there & far for local, far in case.flows)
    )
    return found


@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_rules_that_decide_a_flow_are_those_of_the_naive_evaluators(
    seed: int, tame: bool
) -> None:
    check_known(judged(seed, tame=tame))


def test_flows_between_zones_are_in_one_case_each_and_meet_what_it_says() -> None:
    assert sum(check_zones(judged(seed)) for seed in SEEDS) > len(SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more(first: int) -> None:
    for seed in range(first, first + 20):
        for tame in (True, False):
            check_known(judged(seed, tame=tame))
        check_zones(judged(seed))

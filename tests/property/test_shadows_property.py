"""What earlier rules hide of a rule is what single flows and decision diagrams show.

Diagrams say of each list which flows a rule matches and which of them reach it: that is exact. The
naive evaluators say of single flows which rule decides them, for clusters of several tiers too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from re import compile as pattern

import pytest

from sync.firewall.effective import effective
from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import network
from sync.verify.compare import Witness
from sync.verify.packet_space import Entry, Place
from sync.verify.profiles import DeviceGroup
from sync.verify.settings import Settings
from sync.verify.shadows import Shade, in_calico, on_firewall
from sync.verify.tiers import Tiers
from tests.firms import drawn
from tests.naive import calico_verdict
from tests.naive.calico_verdict import Calico
from tests.naive.diagrams import Assigned, Diagram, Space
from tests.naive.firewall_verdict import Firewall
from tests.naive.flows import ORACLES, Flow
from tests.naive.rulebases import as_they_are
from tests.property.test_proof_by_diagrams import Cluster, hard
from tests.property.test_proof_of_samples import PANORAMAS, device_groups
from tests.property.test_proof_of_samples import judged as sampled
from tests.property.test_proof_property import Document, documents_of, groups_of, settings_of
from tests.property.test_translation_property import Judged, judged
from tests.transitions import JUDGE, POD_CIDR, WORLD

SEEDS = range(600, 606)
FIRMS = range(12)
HARD = [(40, 0), (60, 1)]
MANY_SEEDS = range(6000, 6400, 20)
MANY_HARD = [(100, 0), (150, 1), (100, 2)]
FLOWS = 400  # of one case
WHERE = pattern(r"[^\s,]+\[(?:egress|ingress) \d+\]")


# --- by diagrams ----------------------------------------------------------------------------------


@dataclass
class Expected:
    """What diagrams say of one rule: in each list with flows of it whether some are left.

    `takers` are all that are the first to match some, `flows` looks up whether one is lost.
    """

    left: list[bool] = field(default_factory=list)
    taken: list[bool] = field(default_factory=list)
    takers: set[Place] = field(default_factory=set)
    lost: dict[tuple[str, str], tuple[Space, Diagram]] = field(default_factory=dict)

    @property
    def extent(self) -> str:
        if not self.left:
            return "empty"
        if not any(self.left):
            return "whole"
        return "part" if any(self.taken) else "none"


def expected_of(
    lists: Mapping[tuple[str, str], tuple[Space, list[tuple[Place | None, Entry]]]],
) -> dict[Place, Expected]:
    """What diagrams say of the rules of some lists, each of entries in order."""
    found: defaultdict[Place, Expected] = defaultdict(Expected)
    for key, (space, entries) in lists.items():
        decided = space.decided([entry for _, entry in entries])
        matched: dict[Place, Diagram] = {}
        first: dict[Place, Diagram] = {}
        for (place, entry), (_, diagram) in zip(entries, decided.taken, strict=True):
            if place:
                whole = space.matches(entry) & space.considered
                matched[place] = matched[place] | whole if place in matched else whole
                first[place] = first[place] | diagram if place in first else diagram
        for place, diagram in matched.items():
            if not diagram.satisfiable():
                continue
            one, lost = found[place], diagram & ~first[place]
            one.left.append((diagram & first[place]).satisfiable())
            one.taken.append(lost.satisfiable())
            one.takers |= {
                other
                for other, its in first.items()
                if other != place and (its & diagram).satisfiable()
            }
            one.lost[key] = space, lost
    return found


def compared(shades: Mapping[Place, Shade], expected: Mapping[Place, Expected]) -> Iterator[str]:
    """Where the two disagree."""
    for place, shade in shades.items():
        by_diagram = expected.get(place, Expected())
        if shade.extent != by_diagram.extent:
            yield f"\n{place}: {shade.extent}, by diagrams {by_diagram.extent}"
        named = {each.place for each in shade.by}
        if not named <= by_diagram.takers:
            yield f"\n{place}: {named - by_diagram.takers} take none of it"
        if shade.extent == "part" and not shade.more and not any_whole(by_diagram):
            missing = by_diagram.takers - named
            if missing:
                yield f"\n{place}: {missing} take some of it too"
        if shade.extent in ("part", "whole") and not is_lost(shade.flow, by_diagram):
            yield f"\n{place}: {shade.flow} is not lost"


def any_whole(expected: Expected) -> bool:
    """Whether some list has nothing left of it: of that few takers are named."""
    return not all(expected.left)


def is_lost(flow: Witness | None, expected: Expected) -> bool:
    if flow is None or (flow.local, flow.direction) not in expected.lost:
        return False
    space, lost = expected.lost[flow.local, flow.direction]
    assigned: Assigned = space.assigned(flow)
    return lost.eval(assigned) or flow.local_address == flow.far_address


def places_of(cluster: Cluster) -> dict[str, Place]:
    """The rule of each Calico rule, by names: there is one rule of each here."""
    (group,) = cluster.groups
    by_name = {
        each.rule.name: (group.source, "dg", each.device_group, each.rulebase, each.position)
        for each in group.seen.rules
    }
    assert len(by_name) == len(group.seen.rules)
    return {
        entry.where: by_name[entry.rule]
        for entries in cluster.said(cluster.documents()).values()
        for entry in entries
        if entry.rule in by_name
    }


def wrong_in_calico(cluster: Cluster) -> tuple[str, Counter[str]]:
    places, profiles = places_of(cluster), cluster.profiles
    lists: dict[tuple[str, str], tuple[Space, list[tuple[Place | None, Entry]]]] = {
        (key.who, key.direction): (
            Space(entries, profiles, cluster.settings.pods),
            [(places.get(each.where), each) for each in entries],
        )
        for key, entries in cluster.said(cluster.documents()).items()
        if key.bit in profiles.zones.values()
    }
    tiers = Tiers(cluster.groups, cluster.documents(), cluster.settings)
    shades = in_calico(tiers, places)
    return "".join(compared(shades, expected_of(lists))), Counter(
        each.extent for each in shades.values()
    )


@pytest.mark.parametrize(("size", "seed"), HARD)
def test_what_is_hidden_in_calico_is_what_diagrams_say(size: int, seed: int) -> None:
    wrong, counted = wrong_in_calico(hard(size, seed))
    assert not wrong
    assert counted["part"]
    assert counted["whole"]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "seed"), MANY_HARD)
def test_the_same_of_longer_lists(size: int, seed: int) -> None:
    wrong, _ = wrong_in_calico(hard(size, seed))
    assert not wrong


# --- by single flows ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claims:
    """What is said of a cluster's rules, and the flows and evaluators to hold it to."""

    name: str
    flows: Sequence[Flow]
    documents: Sequence[Document]
    cluster: Calico
    places: Mapping[str, Place]
    calico: Mapping[Place, Shade]
    firewall: Mapping[Place, Shade]
    firewalls: Sequence[Firewall] = ()


def claims_of(one: Judged) -> Claims:
    places = {where: each.place for each in one.translated.report.rules for where in each.calico}
    documents, case = documents_of(one), one.case
    tiers = Tiers(groups_of(one), documents, settings_of(one))
    calico = in_calico(tiers, places)
    firewall = {place: shade for each in tiers.each for place, shade in on_firewall(each).items()}
    return Claims(
        f"seed {case.seed}",
        case.flows[:FLOWS],
        documents,
        one.calico,
        places,
        calico,
        firewall,
        as_they_are(case),
    )


def claims_of_firm(seed: int) -> Claims:
    """Those of a firm whose tiers are all enforced."""
    firm = drawn(Random(f"hidden {seed}"))
    firm = replace(firm, here=tuple(replace(each, mode="enforced") for each in firm.here))
    documents = [each.document() for each in firm.first.end.values()]
    report = firm.first.result.report
    assert report
    places = {where: each.place for each in report.rules for where in each.calico}
    groups = [
        DeviceGroup(each.source, effective(firm.configuration, each.name), NOTHING, each.tier)
        for each in firm.here
    ]
    pods = network(POD_CIDR) if firm.pods_known else None
    settings = Settings(firm.rule_options, firm.zone_options, pods)
    return Claims(
        f"firm {seed}",
        JUDGE.flows,
        documents,
        Calico(documents, WORLD),
        places,
        in_calico(Tiers(groups, documents, settings), places),
        {},
    )


def matching(claims: Claims) -> Iterator[tuple[Flow, str, set[str]]]:
    """Each flow of a pod, its direction, and the Calico rules that match it, decided or not."""
    rules = [
        (
            calico_verdict.selector(document["spec"]["selector"]),
            direction,
            f"{document['metadata']['name']}[{direction} {number}]",
            calico_verdict.Rule(rule, claims.cluster),
        )
        for document in claims.documents
        if document["kind"].endswith("Policy")
        for direction in ("egress", "ingress")
        for number, rule in enumerate(document["spec"].get(direction, ()))
    ]
    for flow in claims.flows:
        for end, direction in ((flow.source, "egress"), (flow.destination, "ingress")):
            if end.pod is not None:
                labels = calico_verdict.labels_of(end.pod)
                found = {
                    where
                    for selects, way, where, rule in rules
                    if way == direction and selects(labels) and rule.matches(flow)
                }
                yield flow, direction, found


def untrue_of_calico(claims: Claims, counted: Counter[str]) -> Iterator[str]:
    """What a single flow shows to be wrong."""
    for flow, direction, matched in matching(claims):
        said = claims.cluster.verdict(flow).by
        if direction not in said:
            continue  # it is denied before it gets there
        ways = {each.partition(":")[0]: each for each in said.split("; ")}
        decided = {*WHERE.findall(ways[direction])}
        for place in {claims.places[each] for each in decided if each in claims.places}:
            if claims.calico[place].extent in ("whole", "empty"):
                yield f"\n{claims.name}: {flow} is decided by {place}"
        if any("essentials" in each for each in decided):
            continue  # which pods have these flows, labels say that no zone defines
        own = defaultdict(set)
        for where in matched & claims.places.keys():
            own[claims.places[where]].add(where)
        for place, its in own.items():
            if its & decided:
                continue
            counted[claims.calico[place].extent] += 1
            if claims.calico[place].extent in ("none", "empty"):
                yield f"\n{claims.name}: {place} loses {flow} to {decided}"


def untrue_of_firewalls(claims: Claims, counted: Counter[str]) -> Iterator[str]:
    said = {
        f"{place[2]}/{place[3]}/{place[4]}": shade
        for place, shade in claims.firewall.items()
        if shade.extent == "whole"
    }
    counted["dead"] += len(said)
    several = len(claims.firewalls) > 1
    for firewall in claims.firewalls:
        own = {
            name: shade
            for name, shade in said.items()
            if not several or name.partition("/")[0] == firewall.device_group
        }
        for flow in claims.flows if own else ():
            for oracle in ORACLES:
                found = firewall.verdict(flow, oracle).by
                if found.partition(" ")[0] in own:
                    yield f"\n{claims.name}: {flow} is decided by {found}"


@pytest.mark.parametrize("tame", [True, False])
def test_no_flow_says_otherwise(tame: bool) -> None:
    counted: Counter[str] = Counter()
    for seed in SEEDS:
        claims = claims_of(judged(seed, tame=tame))
        assert not "".join(untrue_of_calico(claims, counted))
        assert not "".join(untrue_of_firewalls(claims, counted))
    assert min(counted["part"], counted["whole"]) > 20, counted
    assert counted["dead"] or not tame


def test_no_flow_of_a_firm_says_otherwise() -> None:
    counted: Counter[str] = Counter()
    for seed in FIRMS:
        assert not "".join(untrue_of_calico(claims_of_firm(seed), counted))
    assert min(counted["part"], counted["whole"]) > 20, counted


@pytest.mark.parametrize("path", PANORAMAS, ids=lambda path: path.name)
def test_no_flow_of_a_sample_says_otherwise(path: Path) -> None:
    counted: Counter[str] = Counter()
    for number in range(min(2, len(device_groups(path)))):
        claims = claims_of(sampled(path, number, "both"))
        assert not "".join(untrue_of_calico(claims, counted))
        assert not "".join(untrue_of_firewalls(claims, counted))


@pytest.mark.slow
@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more(first: int, tame: bool) -> None:
    counted: Counter[str] = Counter()
    for seed in range(first, first + 20):
        claims = claims_of(judged.__wrapped__(seed, tame=tame))
        assert not "".join(untrue_of_calico(claims, counted))
        assert not "".join(untrue_of_firewalls(claims, counted))

"""Rules as chains of policies: where they are cut, how a chain moves, what a change rewrites."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from sync.calico import limits, names
from sync.calico.chains import (
    GAP,
    LAST_DEFAULT,
    Generation,
    Origin,
    Part,
    RuleId,
    ZoneChain,
)
from sync.calico.manifest import Manifest
from sync.calico.objects import EntityRule, Pairs
from sync.calico.objects import Rule as CalicoRule
from sync.calico.validator import validate
from sync.errors import SourceError
from sync.firewall.zone_networks import NOTHING
from sync.plan.rollout import Rollout, roll_out
from sync.translate.chains import Entry, parts_of, places
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from tests.translation import Translated, translate
from tests.words import Word, address, group, rule, seen_by, service

Objects = Mapping[tuple[str, str], Manifest]

ZONES = ("dmz", "trust", "untrust")
FIRST = "fw.pan-zone-trust"
PART = "fw.pan-part-trust-f796e2f2"


def tcp(port: int, *nets: str) -> CalicoRule:
    """A rule that passes a port."""
    return CalicoRule("Pass", "TCP", 4, destination=EntityRule(nets=nets, ports=(port,)))


def entry(
    number: int,
    egress: Sequence[CalicoRule] = (),
    ingress: Sequence[CalicoRule] = (),
    annotations: Pairs = (),
) -> Entry:
    rule = numbered(number) if number >= 0 else None
    return Entry(rule, f"dg/pre/{number}", tuple(egress), tuple(ingress), annotations)


def numbered(number: int) -> RuleId:
    return "main", "dg", "dg", "pre", number


def chain(*ports: int, staged: bool = False) -> ZoneChain:
    """A chain with one part for each port; the last one ends as chains do."""
    last = CalicoRule("Deny", annotations=((names.RULE_ANNOTATION, LAST_DEFAULT),))
    parts = tuple(
        Part((tcp(port, "10.0.0.0/8"), *([last] if number == len(ports) else [])), ())
        for number, port in enumerate(ports, 1)
    )
    return ZoneChain("fw", "trust", "all()", staged, 7, (("owner", "us"),), parts)


def keyed(manifests: Sequence[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(each.kind, each.name): each for each in manifests}


# --- where rules are cut --------------------------------------------------------------------------


def brought(chain: ZoneChain, standing: Mapping[tuple[str, str], Manifest]) -> list[Manifest]:
    """What stands after the next writing, which is the last."""
    rollout = roll_out((), [chain], standing)
    assert not rollout.returning
    assert rollout.policies == {(chain.tier, chain.zone): [each for _, each in rollout.manifests]}
    return [*rollout.manifests.values()]


def test_nothing_is_one_empty_part() -> None:
    assert parts_of([]) == (Part((), ()),)


def test_a_few_rules_are_one_part_and_each_has_its_place() -> None:
    first, default, last = (
        entry(4, [tcp(1), tcp(2)]),
        entry(-1, [tcp(3)], [tcp(4)]),
        entry(5, [tcp(5)], [tcp(6)]),
    )
    (part,) = parts_of([first, default, last])
    assert (len(part.egress), len(part.ingress)) == (4, 2)
    assert part.origins == (
        Origin(numbered(4), "egress", 0),
        Origin(numbered(4), "egress", 1),
        Origin(numbered(5), "egress", 3),
        Origin(numbered(5), "ingress", 1),
    )


def test_a_rule_says_what_it_came_from_and_its_rank_in_its_policy() -> None:
    said = (("firewall.tigera.io/rule", "web"),)
    (part,) = parts_of([entry(0, [tcp(1)]), entry(1, [tcp(2)], [tcp(3)], said)])
    assert [dict(each.annotations) for each in part.egress] == [
        {"firewall.tigera.io/rank": "0"},
        {"firewall.tigera.io/rule": "web", "firewall.tigera.io/rank": "1"},
    ]
    assert dict(part.ingress[0].annotations)["firewall.tigera.io/rank"] == "0"


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_no_policy_has_more_than_1024_rules_a_direction(direction: str) -> None:
    # Bytes are estimated, rather too many, so that small rules come to their limit first.
    many = [tcp(port) for port in range(1, 2500)]
    # One rule of the firewall, so that nothing but the limit ends a part.
    only = entry(0, many) if direction == "egress" else entry(0, (), many)
    parts = parts_of([only], 2 * limits.POLICY_BYTES)
    assert [len(getattr(part, direction)) for part in parts] == [1024, 1024, 451]
    for part, held in zip(parts, (1024, 1024, 451), strict=True):
        assert part.origins == tuple(Origin(numbered(0), direction, n) for n in range(held))
    ports = [rule.destination.ports[0] for part in parts for rule in getattr(part, direction)]
    assert ports == list(range(1, 2500))


def test_no_policy_is_larger_than_512_kib() -> None:
    nets = [f"10.{number // 256}.{number % 256}.0/24" for number in range(256)]
    annotations = (("firewall.tigera.io/rule", "é" * 60),)
    many = [entry(number, [tcp(1, *nets)], [tcp(2, *nets)], annotations) for number in range(400)]
    parts = parts_of(many)
    made = replace(chain(), parts=parts).laid("a")
    sizes = [len(each.body) for each in made]
    assert max(sizes) <= limits.POLICY_BYTES
    # Nor much smaller, where the least number of rules allows more.
    assert min(sizes[:-1]) > limits.POLICY_BYTES * 3 // 4
    assert sum(len(part.origins) for part in parts) == 800
    assert not [problem for each in made for problem in validate(each)]


def test_the_policies_of_a_directory_fit_what_kubectl_apply_takes() -> None:
    nets = [f"10.{number // 256}.{number % 256}.0/24" for number in range(256)]
    many = [entry(number, [tcp(1, *nets)], [tcp(2, *nets)]) for number in range(200)]
    parts = parts_of(many, limits.APPLIED.policy_bytes)
    made = replace(chain(), parts=parts).laid("a")
    sizes = [len(each.body) for each in made]
    assert max(sizes) < limits.APPLIED_BYTES
    assert min(sizes[:-1]) > limits.APPLIED_BYTES * 3 // 4
    # A copy in an annotation, beside the others that the objects have.
    assert limits.APPLIED_BYTES < limits.ANNOTATION_BYTES * 4 // 5
    assert [rule for part in parts for rule in part.egress] != []
    assert sum(len(part.egress) + len(part.ingress) for part in parts) == 400


def rules_of(entries: Sequence[Entry]) -> list[Part]:
    """Their parts, wherever the rules came from."""
    return [replace(part, origins=()) for part in parts_of(entries)]


def test_the_rules_themselves_say_where_a_part_ends() -> None:
    before = [entry(number, [tcp(80)]) for number in range(2000)]
    parts = rules_of(before)
    assert len(parts) > 5
    assert min(len(part.egress) for part in parts[:-1]) >= 64
    for change in (
        before[1:],
        before[:700] + before[701:],
        [*before[:700], entry(5000, [tcp(80)]), *before[700:]],
        [*before, entry(5000, [tcp(80)])],
        before[:300] + before[1300:1301] + before[300:1300] + before[1301:],
    ):
        now = rules_of(change)
        assert len([part for part in now if part not in parts]) <= 3


# --- names, orders and generations ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ("a", {FIRST: 10_007, f"{PART}-a2": 20_007, f"{PART}-a3": 30_007}),
        ("b", {f"{PART}-b1": -19_993, f"{PART}-b2": -9_993, f"{PART}-b3": 7}),
    ],
)
def test_a_generation_has_its_names_and_its_orders(
    generation: Generation, expected: dict[str, int]
) -> None:
    made = chain(1, 2, 3).laid(generation)
    documents = [each.document() for each in made]
    found = {each["metadata"]["name"]: each["spec"]["order"] for each in documents}
    assert list(found.items()) == list(expected.items())
    for document in documents:
        assert document["spec"]["types"] == ["Ingress", "Egress"]
        assert document["metadata"]["annotations"] == {"zonebridge.io/chain": "trust"}


def test_every_order_of_generation_b_is_before_every_order_of_a() -> None:
    long = chain(*range(1, 400))
    a, b = (
        [each.document()["spec"]["order"] for each in made]
        for made in (long.laid("a"), long.laid("b"))
    )
    assert max(b) < min(a)
    assert (a, b) == (sorted(a), sorted(b))


def test_places_lie_within_the_gap_and_never_tie() -> None:
    many = [f"zone {number}" for number in range(2000)]
    found = places(many)
    assert len(set(found.values())) == len(many)
    assert all(0 <= place < GAP for place in found.values())


def test_a_zone_keeps_its_place_when_others_come() -> None:
    few = places(["trust", "dmz"])
    assert {zone: places(ZONES)[zone] for zone in few} == few


def test_a_first_chain_is_laid_in_a() -> None:
    assert brought(chain(1, 2), {}) == chain(1, 2).laid("a")


OTHER: dict[Generation, Generation] = {"a": "b", "b": "a"}


@pytest.mark.parametrize("here", OTHER)
@pytest.mark.parametrize("ports", [(1, 2, 3), (1, 9, 3), (1, 2, 9), (9, 2, 3)])
def test_a_chain_of_which_one_part_changes_stays(here: Generation, ports: tuple[int, ...]) -> None:
    stands = keyed(chain(1, 2, 3).laid(here))
    assert brought(chain(*ports), stands) == chain(*ports).laid(here)


@pytest.mark.parametrize("here", OTHER)
@pytest.mark.parametrize("ports", [(1, 8, 9), (9, 8, 3), (1, 2), (1, 2, 3, 4), (2, 1, 3)])
def test_a_chain_of_which_more_changes_goes_to_the_other_generation(
    here: Generation, ports: tuple[int, ...]
) -> None:
    stands = keyed(chain(1, 2, 3).laid(here))
    assert brought(chain(*ports), stands) == chain(*ports).laid(OTHER[here])


def test_what_stands_of_other_zones_tiers_and_kinds_is_none_of_a_chain() -> None:
    staged = chain(1, 2, staged=True)
    others = [
        *staged.laid("a"),
        *replace(chain(3, 4), zone="dmz").laid("b"),
        *replace(chain(3, 4), zone="trust-f796e2f2-a").laid("a"),
        *replace(chain(3, 4), tier="fw-2").laid("a"),
    ]
    assert brought(chain(1, 2), keyed(others)) == chain(1, 2).laid("a")
    assert brought(replace(staged, parts=()), keyed(staged.laid("a"))) == []


@pytest.mark.parametrize("to", OTHER)
def test_a_move_that_stopped_half_way_goes_on(to: Generation) -> None:
    old, new = chain(1, 2, 3), chain(1, 8, 9)
    stands = keyed([*old.laid(OTHER[to]), *new.laid(to)[:2]])
    assert brought(new, stands) == new.laid(to)


@pytest.mark.parametrize("to", OTHER)
def test_a_move_that_stopped_before_the_old_were_gone_only_removes_them(to: Generation) -> None:
    old, new = chain(1, 2, 3), chain(1, 8, 9)
    stands = keyed([*new.laid(to), *old.laid(OTHER[to])[:1]])
    assert brought(new, stands) == new.laid(to)


@pytest.mark.parametrize("to", OTHER)
def test_a_move_goes_on_though_most_of_the_old_is_as_the_new_will_be(to: Generation) -> None:
    """Otherwise several parts change where they stand, and flows fall between them."""
    old, new = chain(1, 2, 3, 4, 5), chain(1, 8, 3, 9, 5)
    stands = keyed([*old.laid(OTHER[to]), *new.laid(to)[:1]])
    assert brought(new, stands) == new.laid(to)


def test_a_first_writing_that_stopped_goes_on_where_it_is() -> None:
    stands = keyed(chain(1, 2, 3).laid("a")[:2])
    assert brought(chain(1, 2, 3), stands) == chain(1, 2, 3).laid("a")


def test_a_chain_of_other_pods_goes_to_the_other_generation() -> None:
    """Its pods stay where they are until the chain that takes them over stands."""
    stands = keyed(chain(1).laid("a"))
    new = replace(chain(1), selector="has(a)")
    assert brought(new, stands) == new.laid("b")


def test_a_move_that_is_overtaken_goes_back_first() -> None:
    """A part of `b` leads into the whole of `a`: rewriting either makes verdicts of neither."""
    old, begun, newest = chain(1, 2, 3), chain(4, 5, 6), chain(7, 8, 9)
    stands = keyed([*old.laid("a"), *begun.laid("b")[:2]])
    rollout = roll_out((), [newest], stands)
    assert rollout == Rollout(keyed(old.laid("a")), {}, returning=True)
    assert brought(newest, rollout.manifests) == newest.laid("b")


@pytest.mark.parametrize("behind", [1, 2, 3])
def test_behind_a_whole_chain_anything_may_be_written(behind: int) -> None:
    whole, newest = chain(4, 5, 6), chain(7, 8, 9)
    stands = keyed([*whole.laid("b"), *chain(1, 2, 3).laid("a")[:behind]])
    assert brought(newest, stands) == newest.laid("a")


def test_more_zones_than_a_tier_has_places_for_are_refused() -> None:
    with pytest.raises(SourceError, match="6,000 zones"):
        places([f"zone-{number}" for number in range(6_000)])


def test_while_an_overtaken_move_is_brought_back_nothing_else_changes() -> None:
    """The old rules were never meant for the new sets."""

    def of(*words: Word, standing: Objects | None = None) -> Translated:
        target = Target("main", seen_by("dg", {"dg": words}), "fw", 1, "enforced", NOTHING)
        return translate("c", [target], Options((), True, (("owner", "us"),)), standing or {})

    def rulebase(port: str, held: str, rules: int = 700) -> list[Word]:
        return [
            address("a", held),
            group("g", "a"),
            service("s", port),
            *(
                rule(f"r{number}", from_=["trust"], to=["any"], source=["g"], service=["s"])
                for number in range(rules)
            ),
        ]

    old = of(*rulebase("80", "10.0.0.0/8")).manifests
    moving = of(*rulebase("81", "10.0.0.0/8"), standing=old).manifests
    begun = [key for key in moving if key not in old]
    assert len(begun) > 1
    stopped = {**old, begun[0]: moving[begun[0]]}
    # It has more parts than what is brought back.
    newest = rulebase("82", "10.1.0.0/16", 2_000)
    back = of(*newest, standing=stopped)
    assert back.returning
    assert back.manifests == old
    # Nothing of what the rules shall become stands there yet.
    assert not any(each.calico for each in back.report.rules)
    anew = of(*newest, standing=back.manifests)
    assert not anew.returning
    assert anew.manifests["GlobalNetworkSet", "pan.g"] != old["GlobalNetworkSet", "pan.g"]

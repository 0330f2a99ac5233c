"""In no state between two configurations is a flow allowed that both deny, and none says a third.

Everything changes together, and the real sync writes it (`tests.transitions`). Where rules alone
change, chains of policies that take each other's place are looked at more closely: they are cut
into small parts, so that each zone has several. Every write of a plan is made alone, in an order
that the plan allows, and after each of them every flow is judged anew, at each of its ends alone:
it gets what it got before all of them or what it gets after.

To look further than the tests do:

    python -c 'from tests.property.test_transitions import hunt; hunt(range(1000, 1100))'
    python -c 'from tests.property.test_transitions import search; search(range(1000, 2000))'
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from random import Random
from typing import Any

import pytest

from sync.calico.manifest import Manifest
from sync.calico.names import CHAIN_ANNOTATION
from sync.calico.objects import POLICIES
from sync.firewall.effective import EffectiveRule, effective
from sync.firewall.zone_networks import Derived
from sync.plan.changes import Change
from sync.plan.differences import Key, differences
from sync.plan.order import Step, Unwritten
from sync.plan.plan import Plan, make_plan
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from tests.firms import changed, drawn, pressed, pressed_on
from tests.naive.calico_verdict import Calico
from tests.naive.flows import End, Flow
from tests.naive.rulebases import ZONES, Case, case
from tests.transitions import (
    JUDGE,
    WORLD,
    Firm,
    Trace,
    journey,
    obstructed,
    small_parts,
    synced,
)
from tests.translation import translate

FIRMS = range(60)
LONG_FIRMS = range(8)
MANY_FIRMS = range(1000, 2000, 50)
OBSTRUCTED = range(4)
SEEDS = range(5)
MOVES = 4
FLOWS = 200
OWNER = (("app.kubernetes.io/managed-by", "zonebridge"),)

Objects = Mapping[Key, Manifest]
Rules = tuple[EffectiveRule, ...]


@pytest.fixture(autouse=True)
def _small_parts() -> Iterator[None]:
    with small_parts(8):
        yield


# --- everything changes ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", FIRMS)
def test_no_state_between_allows_what_is_denied_before_and_after(seed: int) -> None:
    if complaint := next(travelled(seed), ""):
        pytest.fail(complaint)


@pytest.mark.parametrize("seed", LONG_FIRMS)
def test_nor_does_one_of_a_rulebase_in_many_parts(seed: int) -> None:
    if complaint := next(travelled(seed, long=True), ""):
        pytest.fail(complaint)


@pytest.mark.slow
@pytest.mark.parametrize("first", MANY_FIRMS)
def test_the_same_of_many_more(first: int) -> None:
    for seed in range(first, first + 50):
        for long in (False, True):
            if complaint := next(travelled(seed, long=long, kills=8, refusals=6), ""):
                pytest.fail(complaint)


def test_what_is_written_past_objects_of_others_opens_nothing() -> None:
    found: Counter[str] = Counter()
    for seed in OBSTRUCTED:
        for trace, complaint in held_up(seed, times=2):
            assert not complaint
            plan = trace.result.plan
            assert plan is not None
            found["written"] += plan.partial and bool(trace.writes)
            found["left"] += plan.partial and trace.result.left > 0
            assert not plan.partial or trace.refused or len(plan.waiting) == trace.result.left
    assert min(found["written"], found["left"]) > 3, found


@pytest.mark.slow
@pytest.mark.parametrize("first", MANY_FIRMS)
def test_nor_does_what_is_written_past_many_more(first: int) -> None:
    for seed in range(first, first + 50):
        for _, complaint in held_up(seed, times=3):
            assert not complaint


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", ["held", "sets", "around"])
def test_a_plan_that_forgets_what_waits_is_found_out(
    forgotten: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    match forgotten:
        case "held":
            unwritten = Plan.unwritten
            monkeypatch.setattr(Plan, "unwritten", lambda self: unwritten(replace(self, held=())))
        case "sets":
            monkeypatch.setattr(Unwritten, "stops_set", lambda *_: "")
        case _:
            monkeypatch.setattr(Unwritten, "open_up", lambda *_: None)
    assert any(complaint for seed in range(100) for _, complaint in held_up(seed, times=3)), (
        "no state is open, as if nothing had been forgotten"
    )


def test_the_quick_judge_and_the_slow_one_agree() -> None:
    for seed in range(4):
        for firm in firms_of(Random(f"judges {seed}"), long=False):
            stands = firm.first.end
            assert JUDGE.of(stands.values()).denied == denied_slowly(stands)


def denied_slowly(stands: Objects) -> int:
    """The flows that are denied, as the naive Calico judges each."""
    calico = Calico([each.document() for each in stands.values()], WORLD, staged=False)
    return JUDGE.mask(lambda flow: not calico.verdict(flow).allow)


def test_the_transitions_above_are_of_every_kind() -> None:
    found: Counter[str] = Counter()
    for seed in FIRMS:
        old, new, _ = firms_of(Random(f"firms False {seed}"), long=False)
        found += kinds(synced(new, old.first.end))
    with small_parts(3):
        for seed in LONG_FIRMS:
            old, new, _ = firms_of(Random(f"firms True {seed}"), long=True)
            found += kinds(synced(new, old.first.end))
    most = len(FIRMS) / 3
    assert min(found["sets and policies"], found["two tiers"]) > most, found
    assert found["another generation"] > len(LONG_FIRMS) / 2, found
    assert min(found["create Tier"], found["update Tier"], found["delete Tier"]) > 2, found
    assert found["unordered"] < most, found


def kinds(trace: Trace) -> Counter[str]:
    """What is to be said of a sync."""
    changes = [write.change for write in trace.writes]
    policies = [change for change in changes if change.kind in POLICIES]
    return Counter(
        {
            "sets and policies": bool(policies) and any("Set" in each.kind for each in changes),
            "two tiers": len({change.place.tier for change in policies}) > 1,
            "another generation": any(
                change.before is None and _GENERATION_B.search(change.name) for change in policies
            ),
            "unordered": bool(trace.unordered),
            **{f"{each.action} Tier": 1 for each in changes if each.kind == "Tier"},
        }
    )


def travelled(seed: int, *, long: bool = False, kills: int = 2, refusals: int = 2) -> Iterator[str]:
    """What goes wrong on the way from a configuration to another, and on to a third."""
    random = Random(f"firms {long} {seed}")
    with small_parts(3):
        for complaint in journey(
            firms_of(random, long=long), random, kills=kills, refusals=refusals
        ):
            yield f"\nseed {seed}{', long' if long else ''}:{complaint}"


def firms_of(random: Random, *, long: bool) -> tuple[Firm, ...]:
    """Three configurations that follow each other."""
    first = drawn(random, long=long)
    second = changed(first, random)
    return first, second, changed(random.choice((first, second)), random)


def held_up(seed: int, *, times: int) -> Iterator[tuple[Trace, str]]:
    """Syncs past objects of others, and what is wrong of each."""
    random = Random(f"held up {seed}")
    first = pressed(random)
    second = pressed_on(first, random)
    with small_parts(random.choice((1, 2, 3, 20))):
        firms = (first, second, pressed_on(random.choice((first, second)), random))
        for trace, complaint in obstructed(firms, random, times=times):
            yield trace, f"\nseed {seed}:{complaint}" if complaint else ""


def search(seeds: Iterable[int]) -> None:
    """Look for states that are open, and print the first of each seed."""
    for seed in seeds:
        for long in (False, True):
            print(next(travelled(seed, long=long, kills=4, refusals=4), ""), end="")


# --- rules alone change ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rulebase_that_changes_brings_no_third_verdict(seed: int) -> None:
    _, complaints = all_moved(seed)
    assert not complaints


@pytest.mark.parametrize("seed", SEEDS)
def test_nor_does_a_plan_that_is_left_and_taken_up_again(seed: int) -> None:
    assert not "".join(moved(World(seed), stops=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_first_chain_says_what_it_will_or_nothing_yet(seed: int) -> None:
    world = World(seed)
    whole = world.translated({})
    assert not "".join(world.watched({}, whole, world.writes({}, whole)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_chain_that_goes_says_what_it_did_or_nothing_more(seed: int) -> None:
    world = World(seed)
    whole = world.translated({})
    assert not "".join(world.watched(whole, {}, world.writes(whole, {})))


def test_the_chains_above_are_long_and_move_every_way() -> None:
    found: Counter[str] = Counter()
    for seed in SEEDS:
        found += all_moved(seed)[0]
    assert found["parts"] > 3 * found["chains"], found
    assert min(found["in place"], found["a to b"], found["b to a"]) >= len(SEEDS), found
    assert found["verdicts that change"] >= 5 * len(SEEDS), found


# --- transitions ----------------------------------------------------------------------------------


def moved(world: "World", *, stops: bool = False) -> Iterator[str]:
    """What goes wrong while a rulebase changes a few times; `stops`: each time half-way."""
    old = world.translated({})
    for _ in range(MOVES):
        world.change_rules()
        new = world.translated(old)
        writes = world.writes(old, new)
        world.count(old, writes)
        if stops:
            made = writes[: world.random.randint(0, len(writes))]
            yield from world.watched(old, new, made)
            middle = _after(old, made)
            new = world.translated(middle)
            yield from world.watched(old, new, world.writes(middle, new), since=middle)
        else:
            yield from world.watched(old, new, writes)
        old = new


@cache
def all_moved(seed: int) -> tuple[Counter[str], str]:
    """What was seen while a rulebase changed a few times, and what went wrong."""
    world = World(seed)
    complaints = "".join(moved(world))
    return world.seen, complaints


@dataclass(frozen=True)
class Held:
    """An object of ours in a cluster that nobody else touches."""

    manifest: Manifest
    foreign_because: str = ""
    changed_by: str = ""

    @property
    def stands(self) -> Manifest:
        return self.manifest


def _steps(old: Objects, new: Objects) -> Sequence[Step]:
    found = differences(new, old, {key: Held(manifest) for key, manifest in old.items()})
    return make_plan("cluster", [], found, [], repair_drift=True).steps()


def _after(old: Objects, writes: Iterable[Change]) -> dict[Key, Manifest]:
    found = dict(old)
    for change in writes:
        key = change.kind, change.name
        assert found.get(key) == change.before
        if change.after:
            found[key] = change.after
        else:
            del found[key]
    return found


# --- a cluster and its rulebase -------------------------------------------------------------------


@dataclass
class World:
    """One device group whose rules change, and the flows of a cluster that has its policies."""

    seed: int
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = Random(f"transitions {self.seed}")
        self.case: Case = case(self.seed, tame=True, number=FLOWS, size=4)
        self._group = effective(self.case.configuration, "leaf")
        self.rules: Rules = self._group.rules
        self._decided: dict[str, list[str]] = {}
        self._sets: dict[Key, Manifest] = {}
        self._selected: dict[tuple[str, ...], Any] = {}

    @cached_property
    def ends(self) -> list[Flow]:
        """Each flow as each of its pods sees it: the other end is an address."""
        apart = []
        for flow in self.case.flows:
            apart += [replace(flow, destination=replace(flow.destination, pod=None))]
            apart += [replace(flow, source=replace(flow.source, pod=None))]
        return [flow for flow in apart if flow.source.pod or flow.destination.pod]

    def translated(self, standing: Objects) -> Objects:
        """What the rules become; every zone has a chain, whichever the rules name."""
        derived = self.case.groups[0].derived
        target = Target(
            "panorama",
            replace(self._group, rules=self.rules),
            "fw",
            100,
            "staged" if self.case.mode == "staged" else "enforced",
            Derived(ZONES, derived.all_networks(), {}, derived.defaults),
        )
        options = Options((), True, OWNER, self.case.rules, self.case.zones)
        found = translate("cluster", [target], options, standing).manifests
        for key, manifest in found.items():
            if manifest.kind == "GlobalNetworkSet":
                assert self._sets.setdefault(key, manifest) == manifest
        return found

    def change_rules(self) -> None:
        """Change one rule, or a few of them."""
        rules = list(self.rules)
        for _ in range(self.random.choice((1, 1, 3, 6))):
            at, other = self.random.randrange(len(rules)), self.random.randrange(len(rules))
            placed = rules[at]
            match self.random.randrange(5):
                case 0 if len(rules) > 3:
                    del rules[at]
                case 1:
                    rules.insert(other, rules.pop(at))
                case 2:
                    name = f"new {self.random.randrange(10**6)}"
                    rules.insert(other, replace(placed, rule=replace(placed.rule, name=name)))
                case 3:
                    services = ("service-http",) if placed.rule.services == ("any",) else ("any",)
                    rules[at] = replace(placed, rule=replace(placed.rule, services=services))
                case _:
                    action = "deny" if placed.rule.action == "allow" else "allow"
                    rules[at] = replace(placed, rule=replace(placed.rule, action=action))
        self.rules = tuple(rules)

    def writes(self, old: Objects, new: Objects) -> list[Change]:
        """The writes of the plan from one to the other, in one of the orders that it allows."""
        found = []
        for step in _steps(old, new):
            under_way = [list(chain) for chain in step]
            while under_way:
                chain = self.random.choice(under_way)
                found.append(chain.pop(0))
                under_way = [each for each in under_way if each]
        return found

    def watched(
        self, old: Objects, new: Objects, writes: Sequence[Change], *, since: Objects | None = None
    ) -> Iterator[str]:
        """Verdicts on the way that are neither `old`'s nor `new`'s; writes go on from `since`."""
        stands = dict(old if since is None else since)
        before, after = self._verdicts(old), self._verdicts(new)
        self.seen["verdicts that change"] += sum(map(str.__ne__, before, after))
        for number, change in enumerate(writes, 1):
            stands = _after(stands, [change])
            if change.kind not in POLICIES:
                continue
            here = self._verdicts(stands)
            for flow, was, is_, will in zip(self.ends, before, here, after, strict=True):
                if is_ not in (was, will):
                    yield (
                        f"\nseed {self.seed}, after write {number} of {len(writes)}, "
                        f"{change.action} {change.name}: {flow}\n"
                        f"    {was} before and {will} after, and {is_} between"
                    )
                    return

    def _verdicts(self, stands: Objects) -> list[str]:
        """What the tier decides of each end, "" for nothing."""
        tier = sorted(
            (_order(each), each.name, each) for each in stands.values() if each.kind in POLICIES
        )
        columns = [self._decisions(each) for _, _, each in tier]
        return [
            next(filter(None, row), "") for row in zip(*columns, [""] * len(self.ends), strict=True)
        ]

    def _decisions(self, policy: Manifest) -> list[str]:
        """What one policy decides of each end."""
        if policy.digest not in self._decided:
            tier = {"kind": "Tier", "metadata": {"name": "fw"}, "spec": {"order": 100}}
            sets = [each.document() for each in self._sets.values()]
            calico = OfOnePolicy([tier, *sets], policy, self.case.world, self._selected)
            self._decided[policy.digest] = [
                found[1] if (found := _ACTION.search(calico.verdict(flow).by)) else ""
                for flow in self.ends
            ]
        return self._decided[policy.digest]

    def count(self, old: Objects, writes: Iterable[Change]) -> None:
        """Remember how long chains are, and which way they move."""
        parts = Counter(filter(None, map(_zone, old.values())))
        self.seen += Counter(chains=len(parts), parts=parts.total())
        ways: dict[str, str] = {}
        for change in writes:
            if change.after and (zone := _zone(change.after)):
                there = "b" if _GENERATION_B.search(change.name) else "a"
                ways[zone] = "in place" if change.before else f"{'ba'[there == 'b']} to {there}"
        self.seen.update(ways.values())


class OfOnePolicy(Calico):
    """A Calico with one policy. `selected` keeps what selectors select: that stays the same."""

    def __init__(
        self,
        documents: Sequence[Mapping[str, Any]],
        policy: Manifest,
        world: Sequence[End],
        selected: dict[tuple[str, ...], Any],
    ) -> None:
        self._selected = selected
        super().__init__([*documents, policy.document()], world)

    def ip_set(self, entity: Mapping[str, Any]) -> Any:
        key = tuple(
            entity.get(each, "") for each in ("selector", "notSelector", "namespaceSelector")
        )
        if key not in self._selected:
            self._selected[key] = super().ip_set(entity)
        return self._selected[key]


_ACTION = re.compile(r"\[\w+ \d+\] (\w+)")
_GENERATION_B = re.compile(r"-b\d+$")


@lru_cache(1 << 12)
def _zone(manifest: Manifest | None) -> str:
    """The zone of a chain's policy; "" for anything else."""
    if manifest is None or manifest.kind not in POLICIES:
        return ""
    return str(manifest.document()["metadata"].get("annotations", {}).get(CHAIN_ANNOTATION, ""))


@lru_cache(1 << 12)
def _order(manifest: Manifest) -> int:
    return int(manifest.document()["spec"]["order"])


def hunt(seeds: Iterable[int]) -> None:
    """Look for verdicts that are of neither side, and print them."""
    with small_parts(8):
        for seed in seeds:
            for stops in (False, True):
                print(*moved(World(seed), stops=stops), sep="", end="")

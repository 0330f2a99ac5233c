"""Taking over what Tigera's integration left opens nothing, in any state between two writes.

A cluster holds what that integration and its users may have left in a tier (`tests.tigera`), and
the real sync takes it over. Each state between two writes is judged flow by flow, theirs and ours
together: what the firewall denies and the cluster denied before stays denied.

To look further than the slow tests do:

    python -c 'from tests.property.test_migration_transitions import search; search(range(900))'
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from sync.calico.manifest import Manifest
from sync.calico.objects import POLICIES
from tests import tigera
from tests.firms import changed, drawn
from tests.transitions import JUDGE, OWNER, Firm, Objects, Refuses, Says, Trace, small_parts, synced

# The last two: one of two tiers is taken over, and the other denies, or did while half-written.
SEEDS = (*range(12), 5458, 7599)
MANY_SEEDS = range(6000, 8000, 100)
GROUP = f"{tigera.PREFIX}/address-group"
NETS = ("10.9.0.0/16", "10.8.0.0/24", "10.9.0.2/31", "10.244.0.0/24", "203.0.113.9/32")


@pytest.fixture(autouse=True)
def _small_parts() -> Iterator[None]:
    with small_parts(2):
        yield


@pytest.mark.parametrize("seed", SEEDS)
def test_taking_over_what_tigera_left_opens_nothing(seed: int) -> None:
    for _, complaint in migrated(seed):
        assert not complaint


@pytest.mark.slow
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more(first: int) -> None:
    for seed in range(first, first + 100):
        for _, complaint in migrated(seed):
            assert not complaint


FIRM = Firm(
    {"a": (Says("in", "allow", ("users",), ("web",), ("g0",)), Says("out", "allow", ("db",)))},
    {"g0": ("h1", "h2")},
    zones={"a": ("web", "db", "users")},
)


def test_what_was_taken_over_does_not_grow_under_policies_that_are_left_behind() -> None:
    """Their Allow stands in a tier that is no longer ours, before the new one."""
    allows = tigera.rule("Allow", "source", {"selector": f"{GROUP} == 'g0'"})
    denies = tigera.rule("Deny", "source", {"nets": ["10.9.0.3/32"]})
    theirs = _keyed(
        tigera.tier("tier-a", labels={}),
        tigera.network_set("g0", "10.9.0.1/32", "10.9.0.7/32"),
        tigera.policy("web", ingress=(allows,), tier="tier-a"),
        tigera.policy("web", ingress=(denies,), tier="tier-a", name="tier-a.stays"),
    )
    trace = taken(FIRM, {}, theirs, theirs)
    assert trace.succeeded, trace.why
    no = Says("in", "deny", ("users",), ("web",))
    aim = replace(FIRM, rules={"a": (no,)}, here=(replace(FIRM.here[0], tier="tier-x"),))
    found = []
    for _, stands in trace.states(Random(0)):
        again = taken(aim, *apart(stands), {})
        assert not opened(again, aim, Random(0))
        found.append(again.why)
    assert any("tier tier-a would be left to others while 1 foreign policy" in why for why in found)


@pytest.mark.parametrize("name", ["pan-zone-db", "pan-zone-db-a1b2c"], ids=["replaced", "stays"])
def test_what_the_end_of_their_tier_denies_at_the_other_end_is_denied_before_it_passes(
    name: str,
) -> None:
    """Pods with the label of no zone have no policy there until ours is written, if it can be."""
    denies = tigera.rule("Deny", "destination", {"nets": ["10.9.0.2/32"]})
    theirs = _keyed(
        tigera.tier("tier-a", labels={}),
        tigera.policy("db", egress=(denies,), tier="tier-a", name=f"tier-a.{name}"),
    )
    firm = replace(FIRM, zone_options=replace(FIRM.zone_options, unzoned_pods="deny"))
    for refuses in (_nothing, lambda name, _: name == "tier-a.pan-unknown-zone"):
        trace = taken(firm, {}, theirs, theirs, refuses)
        assert trace.writes
        assert not opened(trace, firm, Random(0))


def test_a_set_does_not_grow_under_a_policy_that_could_not_be_replaced() -> None:
    allows = tigera.rule("Allow", "source", {"selector": f"{GROUP} == 'g0'"})
    theirs = _keyed(
        tigera.tier("tier-a", labels={}),
        tigera.network_set("g0", "10.9.0.7/32"),
        tigera.policy("web", ingress=(allows,), tier="tier-a"),
    )
    denies = Says("in", "deny", ("users",), ("web",))
    uses = Says("out", "allow", ("users",), ("db",), ("g0",))
    firm = replace(FIRM, rules={"a": (denies, uses)})
    trace = taken(firm, {}, theirs, theirs, lambda name, _: name == "tier-a.pan-zone-web")
    assert trace.writes
    assert not opened(trace, firm, Random(0))


def test_a_set_that_is_taken_over_before_its_tier_does_not_grow_there() -> None:
    allows = tigera.rule("Allow", "source", {"selector": f"{GROUP} == 'g0'"})
    theirs = _keyed(
        tigera.tier("tier-a", labels={}),
        tigera.network_set("g0", "10.9.0.7/32"),
        tigera.policy("web", ingress=(allows,), tier="tier-a", name="tier-a.stays"),
    )
    firm = replace(FIRM, rules={"a": (Says("in", "deny", ("users",), ("web",)),)})
    sets = {key: each for key, each in theirs.items() if key[0] == "GlobalNetworkSet"}
    trace = taken(firm, {}, theirs, sets)
    assert not opened(trace, firm, Random(0))
    assert "pan.g0 gains addresses that tier-a.stays allows" in trace.why


def test_a_set_that_was_taken_over_does_not_lose_what_a_policy_still_denies_by_it() -> None:
    """A sync was killed after it took the set over; then the firewall's group lost a host."""
    denies = tigera.rule("Deny", "source", {"selector": f"{GROUP} == 'g0'"})
    theirs = _keyed(
        tigera.tier("tier-a", default_action="Pass", labels={}),
        tigera.policy("web", ingress=(denies,), tier="tier-a"),
    )
    few = replace(FIRM, rules={"a": FIRM.rules["a"][:1]}, zones={})
    aim = replace(few, groups={"g0": ("h1",)})
    sets = {key: each for key, each in few.first.end.items() if key[0] == "GlobalNetworkSet"}
    trace = taken(aim, sets, theirs, theirs)
    assert not opened(trace, aim, Random(0))
    assert "pan.g0 loses addresses that tier-a.pan-zone-web denies" in trace.why


def _keyed(*objects: Manifest) -> Objects:
    return {(each.kind, each.name): each for each in objects}


def migrated(seed: int) -> Iterator[tuple[Trace, str]]:
    """Syncs that take over what was left, go on after each kill, and end once theirs are gone."""
    random = Random(seed)
    firm = drawn(random, long=random.random() < 0.5)
    tier = firm.here[0].tier
    zones = sorted({*firm.zone_options.definitions, "web", "db", "users"})
    left = tigera.left_behind(random, tier, zones, sorted(firm.groups), NETS)
    trace = _continued(firm, left.objects, random)
    yield trace, opened(trace, firm, random)
    for stands in _killed(trace, random):
        # The next sync may have another aim, in another tier too, and is asked for less.
        aim = random.choice((firm, firm, changed(firm, random)))
        again = _continued(aim, stands, random)
        yield again, opened(again, aim, random)
        for later in _killed(again, random, 1):
            aim = random.choice((firm, aim, changed(aim, random)))
            last = _continued(aim, later, random)
            yield last, opened(last, aim, random)
    ours, theirs = apart(trace.end)
    kept = {key: each for key, each in theirs.items() if key[0] == "Tier"}
    last = taken(firm, ours, kept, kept)
    yield last, opened(last, firm, random)


def _killed(trace: Trace, random: Random, most: int = 2) -> list[Objects]:
    """What stands where a sync was killed between two of its writes."""
    states = [stands for _, stands in trace.states(random, 1)]
    return random.sample(states, min(most, len(states)))


def _continued(aim: Firm, stands: Objects, random: Random) -> Trace:
    """The next sync of what stands; it is asked for all of theirs, most, some, or none."""
    ours, theirs = apart(stands)
    share = random.choice((1.0, 1.0, 1.0, 0.8, 0.5, 0.0))
    asked = {key: each for key, each in theirs.items() if random.random() < share}
    return taken(aim, ours, theirs, asked, _refusing(random))


def _nothing(_name: str, _time: int) -> bool:
    return False


def taken(
    firm: Firm, ours: Objects, theirs: Objects, asked: Objects, refuses: Refuses = _nothing
) -> Trace:
    """One sync; an operator approves policies of others that stay, if these only deny.

    Others decide flows before ours, as their guard says.
    """
    once = partial(synced, firm, ours, refuses, theirs, asked=asked, proven=False)
    trace = once(approves=False)
    plan = trace.result.plan
    guards = {each.guard for each in plan.blockers} if plan else set()
    going = {(each.kind, each.name) for each in plan.changes} if plan else set()
    staying = [each for key, each in theirs.items() if key not in going]
    denying = not any(
        each.contents.passes for each in staying if each.kind == "GlobalNetworkPolicy"
    )
    if guards and guards <= {"foreign-policy", "live-tier"} and denying:
        trace = once()
    return trace


def _refusing(random: Random) -> Refuses:
    """A cluster that refuses some objects, as one with an admission policy does; most do not."""
    if random.random() < 0.6:
        return _nothing
    salt, share = random.random(), random.choice((0.1, 0.3))
    return lambda name, _: Random(f"{name} {salt}").random() < share


def apart(
    objects: Objects,
) -> tuple[dict[tuple[str, str], Manifest], dict[tuple[str, str], Manifest]]:
    """Ours, and those of others."""
    ours: dict[tuple[str, str], Manifest] = {}
    theirs: dict[tuple[str, str], Manifest] = {}
    for key, each in objects.items():
        labels = each.document()["metadata"].get("labels", {})
        (ours if all(labels.get(k) == v for k, v in OWNER) else theirs)[key] = each
    return ours, theirs


def opened(trace: Trace, firm: Firm, random: Random) -> str:
    """A flow that some state allows, and the firewall denies, and the cluster denied before."""
    before = JUDGE.of(trace.start.values())
    # Where nothing is ours, others allow by the addresses that the firewall's groups have.
    denied = 0 if _elsewhere(trace.start, firm) else firm.denied & before.denied
    tier = firm.here[0].tier
    within = _within(firm.whole.by_tier, tier) & _within(before.by_tier, tier)
    # Chains of ours move past policies of others that stay, as was approved.
    without = JUDGE.of(_silenced(trace))
    denied &= without.denied
    within &= _within(without.by_tier, tier)
    for done, stands in trace.states(random, 2):
        state = JUDGE.of(stands.values())
        for what, mask, now in (
            ("the cluster", denied, state.denied),
            (f"the tier {tier}", within, _within(state.by_tier, tier)),
        ):
            if lost := mask & ~now:
                written = "\n".join(f"  {each}" for each in done)
                left = "\n".join(f"  {each}" for each in trace.writes if each not in done)
                stood = "\n".join(f"  {each.document()}" for each in trace.start.values())
                return (
                    f"\n{what} opens {JUDGE.shown(lost)}\n{firm}\nstood:\n{stood}\n"
                    f"written:\n{written}\nnot yet:\n{left}\n{trace.why}"
                )
    return ""


def _silenced(trace: Trace) -> Iterator[Manifest]:
    """What stood, where policies of others that stay say nothing, and leave flows to the end."""
    _, theirs = apart(trace.end)
    for key, each in trace.start.items():
        document = each.document()
        if key[0] == "GlobalNetworkPolicy" and key in theirs:
            document["spec"] |= {"ingress": [], "egress": []}
        yield Manifest.of(document)


def _elsewhere(stands: Objects, firm: Firm) -> set[str]:
    """The tiers in which others have enforced policies, and that neither are nor were ours."""
    ours, theirs = apart(stands)
    were = {each.contents.position.tier for each in ours.values() if each.kind in POLICIES}
    were |= {name for kind, name in ours if kind == "Tier"} | {each.tier for each in firm.here}
    enforced = [each for each in theirs.values() if each.kind == "GlobalNetworkPolicy"]
    return {each.contents.position.tier for each in enforced} - were


def _within(by_tier: Mapping[tuple[str, str], int], tier: str) -> int:
    return by_tier.get((tier, "egress"), 0) | by_tier.get((tier, "ingress"), 0)


def search(seeds: Iterable[int]) -> None:
    """Look for an opening, and count what the syncs did."""
    found: Counter[str] = Counter()
    with small_parts(2):
        for seed in seeds:
            for trace, complaint in migrated(seed):
                found[f"{trace.result.state}, {'wrote' if trace.writes else 'wrote nothing'}"] += 1
                if complaint:
                    found["opened"] += 1
                    print(seed, complaint[:6000])
                    if found["opened"] >= 3:
                        print(found)
                        return
    print(found)

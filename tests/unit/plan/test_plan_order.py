"""The order in which a plan is written, and what is left where something failed."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.calico.manifest import Manifest
from sync.calico.names import LIST_LABEL
from sync.calico.objects import GlobalNetworkSet
from sync.plan.changes import Action, Change
from sync.plan.differences import Differences
from sync.plan.guards.foreign import foreign_object
from sync.plan.order import Order, Step, Unwritten, order
from sync.plan.plan import make_plan
from sync.plan.precedence import Precedence
from sync.plan.selections import Selections
from tests.unit.plan.words import DRIFT, a_set, create, delete, policy, tier, update


def nets(manifest: Manifest | None) -> list[str]:
    """The nets of a set; none for nothing."""
    return [*manifest.contents.nets] if manifest else []


def ordered(
    changes: Sequence[Change],
    beside: Sequence[Manifest] = (),
    precedence: Sequence[Precedence] = (),
) -> Order:
    return order(changes, Selections(changes, beside), precedence)


def steps(changes: Sequence[Change], beside: Sequence[Manifest] = ()) -> Sequence[Step]:
    return ordered(changes, beside).steps


def spoken(found: Sequence[Step]) -> list[list[list[str]]]:
    """Each step's chains, each change as `+name`, `~name` or `-name`."""
    sign = {Action.CREATE: "+", Action.UPDATE: "~", Action.DELETE: "-"}
    return [
        [[f"{sign[change.action]}{change.name}" for change in chain] for chain in step]
        for step in found
    ]


def written(*changes: Change, beside: Sequence[Manifest] = ()) -> list[list[list[str]]]:
    return spoken(steps(changes, beside))


def in_one_step(*names: str) -> list[list[str]]:
    return [[name] for name in names]


def test_a_plan_without_changes_has_no_steps() -> None:
    assert steps([]) == ()


def test_each_kind_of_change_has_its_step() -> None:
    selecting = policy("stays", groups=("less", "more"))
    assert written(
        delete(tier("old")),
        delete(a_set("gone")),
        update(a_set("less", "10.0.0.1/32", "10.0.0.2/32"), a_set("less", "10.0.0.1/32")),
        delete(policy("last", tier="old", groups=("gone",))),
        create(policy("first", groups=("new",))),
        create(a_set("new")),
        update(a_set("more"), a_set("more", "10.0.0.1/32")),
        create(tier()),
        beside=[selecting],
    ) == [
        in_one_step("+fw"),
        in_one_step("+new"),
        in_one_step("~less"),
        in_one_step("+fw.first"),
        in_one_step("-old.last"),
        in_one_step("~more"),
        in_one_step("-gone"),
        in_one_step("-old"),
    ]


def test_sets_lose_before_they_gain_and_gain_before_they_go() -> None:
    assert written(
        delete(a_set("gone")),
        update(a_set("less", "10.0.0.1/32", "10.0.0.2/32"), a_set("less", "10.0.0.1/32")),
        create(a_set("new", "10.0.0.3/32")),
        beside=[policy("p", groups=("less", "new"))],
    ) == [in_one_step("~less"), in_one_step("+new"), in_one_step("-gone")]


def test_sets_that_no_standing_policy_selects_are_written_first_and_whole() -> None:
    assert written(
        update(a_set("x", "10.0.0.1/32"), a_set("x", "10.0.0.2/32")),
        create(a_set("y", "10.0.0.3/32")),
        create(policy("p", groups=("x", "y"))),
    ) == [in_one_step("~x", "+y"), in_one_step("+fw.p")]


def test_sets_that_no_coming_policy_selects_stay_as_they_are_until_the_policies_are_written() -> (
    None
):
    assert written(
        update(a_set("x", "10.0.0.1/32"), a_set("x", "10.0.0.2/32")),
        delete(a_set("y", "10.0.0.3/32")),
        update(policy("p", groups=("x", "y")), policy("p")),
    ) == [in_one_step("~fw.p"), in_one_step("~x"), in_one_step("-y")]


def test_what_another_hand_did_to_sets_is_undone_before_any_other_set_is_written() -> None:
    wide = a_set("z", "10.0.0.0/8", "11.0.0.0/8")
    narrow = a_set("z", "10.0.0.0/8")
    assert written(create(a_set("a")), update(wide, narrow, DRIFT)) == [in_one_step("~z", "+a")]
    assert written(create(a_set("a")), create(narrow, DRIFT)) == [in_one_step("+z", "+a")]


def test_nets_in_another_form_are_neither_gained_nor_lost() -> None:
    halves, whole = a_set("x", "10.0.0.0/9", "10.128.0.0/9"), a_set("x", "10.0.0.0/8")
    part = a_set("x", "10.0.0.0/9")
    beside = [policy("s", groups=("x",))]
    gone = delete(policy("p"))
    first = [in_one_step("~x"), in_one_step("-fw.p")]
    assert written(update(halves, whole), gone, beside=beside) == first
    assert written(update(whole, part), gone, beside=beside) == first
    assert written(update(part, whole), gone, beside=beside) == first[::-1]


def a_list(name: str, *found: str) -> Manifest:
    return GlobalNetworkSet(name, found, ((LIST_LABEL, name),)).manifest()


def test_a_list_by_content_that_another_hand_changed_is_whole_before_any_policy_is_written() -> (
    None
):
    beside = [policy("s", groups=("g",))]
    broken, right = a_list("l", "10.0.0.9/32"), a_list("l", "10.0.0.1/32")
    gains = update(a_set("g"), a_set("g", "10.0.0.1/32"))
    assert written(update(broken, right, DRIFT), create(policy("p")), gains, beside=beside) == [
        in_one_step("~l"),
        in_one_step("+fw.p"),
        in_one_step("~g"),
    ]


# --- sets that gain and lose ----------------------------------------------------------------------

OLD, NEW = a_set("x", "10.0.0.1/32", "10.0.0.9/32"), a_set("x", "10.0.0.2/32", "10.0.0.9/32")
SELECTING = [policy("s", groups=("x", "y", "g"))]


def test_a_set_that_gains_and_loses_alone_is_written_once() -> None:
    """Between what others lose and what others gain."""
    assert written(
        update(OLD, NEW),
        update(a_set("y", "10.0.0.3/32"), a_set("y")),
        create(a_set("g", "10.0.0.3/32")),
        beside=SELECTING,
    ) == [in_one_step("~y"), in_one_step("~x"), in_one_step("+g")]


@pytest.mark.parametrize(
    "other",
    [
        update(a_set("y", "10.0.0.1/32"), a_set("y", "10.0.0.7/32")),
        create(policy("p")),
        delete(policy("p")),
    ],
    ids=["another set", "policy", "policy goes"],
)
def test_a_set_that_gains_and_loses_with_others_loses_first(other: Change) -> None:
    (first, *_, last) = [
        [change for (change,) in step if change.name == "x"]
        for step in steps([update(OLD, NEW), other], SELECTING)
    ]
    ((less,), (more,)) = first, last
    assert (less.before, more.after) == (OLD, NEW)
    assert less.after == more.before
    assert nets(less.after) == ["10.0.0.9/32"]


def test_nets_that_change_places_between_two_parts_are_in_one_of_them_at_any_time() -> None:
    one, two = a_set("one", "10.0.0.1/32", group="g"), a_set("two", "10.0.0.2/32", group="g")
    changes = [
        update(one, a_set("one", "10.0.0.2/32", group="g")),
        update(two, a_set("two", "10.0.0.1/32", group="g")),
    ]
    assert written(*changes, beside=SELECTING) == [
        in_one_step("~one", "~two"),
        in_one_step("~one", "~two"),
    ]


def test_a_net_and_a_part_of_it_are_never_in_two_parts_at_once() -> None:
    one, two = a_set("one", "10.0.0.0/25", group="g"), a_set("two", "10.0.0.128/25", group="g")
    changes = [
        update(one, a_set("one", group="g")),
        update(two, a_set("two", "10.0.0.0/24", group="g")),
    ]
    found = steps(changes, SELECTING)
    assert spoken(found) == [in_one_step("~one"), in_one_step("~two")]


def test_a_part_that_goes_stands_until_the_others_hold_what_it_held() -> None:
    one, two = a_set("one", "10.0.0.1/32", group="g"), a_set("two", "10.0.0.2/32", group="g")
    whole = a_set("one", "10.0.0.1/32", "10.0.0.2/32", group="g")
    assert written(update(one, whole), delete(two), beside=SELECTING) == [
        in_one_step("~one"),
        in_one_step("-two"),
    ]
    # What nothing is kept of goes with what sets lose.
    assert written(delete(two), create(policy("p")), beside=SELECTING) == [
        in_one_step("-two"),
        in_one_step("+fw.p"),
    ]


def test_a_part_goes_before_another_net_stands_for_what_it_held() -> None:
    one, two = a_set("one", "10.0.0.0/25", group="g"), a_set("two", "10.0.0.128/25", group="g")
    whole = a_set("one", "10.0.0.0/24", group="g")
    *_, second, last = written(update(one, whole), delete(two), beside=SELECTING)
    assert (second, last) == (in_one_step("-two"), in_one_step("~one"))


def test_what_is_left_of_a_group_goes_before_policies_come_to_select_it() -> None:
    two = a_set("two", "10.0.0.2/32", group="x")
    assert written(delete(two), create(policy("p", groups=("x",)))) == [
        in_one_step("-two"),
        in_one_step("+fw.p"),
    ]


def test_nets_that_are_none_count_as_nothing() -> None:
    junk = a_set("x", "10.0.0.1/32", "not a net")
    (first, *_) = steps([update(junk, NEW), create(policy("p"))], SELECTING)
    assert [nets(change.after) for (change,) in first] == [[]]


def test_a_set_that_another_hand_took_the_label_off_holds_nothing_of_its_group() -> None:
    """So what it holds is gained when it gets the label back, and not before."""
    bare = a_set("x", "10.0.0.1/32", group="other")
    assert written(update(bare, NEW), create(policy("p")), beside=SELECTING) == [
        in_one_step("+fw.p"),
        in_one_step("~x"),
    ]


def test_in_a_directory_what_moves_between_parts_needs_no_write_of_its_own() -> None:
    """Nobody sees the middle, but the half-written one of a killed process allows no more."""
    one = a_set("one", "10.0.0.1/32", "10.0.0.8/32", group="g")
    two = a_set("two", "10.0.0.2/32", group="g")
    changes = [
        update(one, a_set("one", "10.0.0.2/32", "10.0.0.9/32", group="g")),
        update(two, a_set("two", "10.0.0.1/32", group="g")),
    ]
    in_cluster = [name for step in written(*changes, beside=SELECTING) for [name] in step]
    assert in_cluster.count("~one") == 3
    found = order(changes, Selections(changes, SELECTING), directory=True).steps
    assert spoken(found) == [in_one_step("~one"), in_one_step("~one", "~two")]
    [[[less]], _] = found
    assert nets(less.after) == ["10.0.0.1/32"]


hosts_of = st.sets(st.integers(0, 15), max_size=10)


def of(name: str, hosts: Iterable[int], group: str) -> Manifest:
    found = ipaddress.collapse_addresses(ipaddress.IPv4Network(f"10.0.0.{each}") for each in hosts)
    return a_set(name, *map(str, found), group=group)


@given(
    st.lists(st.tuples(hosts_of, hosts_of), min_size=1, max_size=3),
    st.dictionaries(st.integers(0, 15), st.tuples(*[st.integers(0, 2)] * 2), max_size=16),
    st.booleans(),
    st.booleans(),
)
def test_sets_hold_what_they_keep_before_policies_and_never_more_than_they_may(
    sets: list[tuple[set[int], set[int]]],
    parted: dict[int, tuple[int, int]],
    with_policy: bool,
    directory: bool,
) -> None:
    """Of several sets and of one in parts, at every state: whatever of a step is written first."""
    before = {f"s{index}": (f"s{index}", old) for index, (old, _) in enumerate(sets)}
    after = {f"s{index}": (f"s{index}", new) for index, (_, new) in enumerate(sets)}
    for part in range(2):
        before[f"p{part}"] = ("g", {host for host, (old, _) in parted.items() if old == part})
        after[f"p{part}"] = ("g", {host for host, (_, new) in parted.items() if new == part})
    changes = [
        update(one, other)
        for name in before
        for one, other in [
            (of(name, before[name][1], before[name][0]), of(name, after[name][1], after[name][0]))
        ]
        if one != other
    ]
    groups = {group for group, _ in before.values()}
    beside = [policy("s", groups=tuple(groups))]
    stands = {
        name: [str(net) for net in nets(of(name, hosts, ""))] for name, (_, hosts) in before.items()
    }
    more = [create(policy("p"))] if with_policy else []
    met = not with_policy
    every = [*changes, *more]
    found = order(every, Selections(every, beside), directory=directory).steps
    writes = Counter(change.name for step in found for (change,) in step)
    assert not directory or max(writes.values(), default=0) <= 2
    for step in found:
        if any(change.kind != "GlobalNetworkSet" for (change,) in step):
            for group in groups:
                assert _hosts(stands, before, group) == _total(before, group) & _total(after, group)
            met = True
            continue
        for ordering in _some_orders(step):
            now = dict(stands)
            for change in ordering:
                assert change.before is None or now[change.name] == nets(change.before)
                now[change.name] = nets(change.after)
                for group in groups:
                    held = _hosts(now, before, group)
                    old, new = _total(before, group), _total(after, group)
                    # What an address of one part becomes in another form is gone for a moment.
                    assert directory or _kept(before, after, group) <= held
                    assert held <= old or held <= new
                    assert met or held <= old
                    texts = {net for name in now if before[name][0] == group for net in now[name]}
                    networks = sorted(map(ipaddress.ip_network, texts))
                    assert directory or not any(
                        one.overlaps(two) for one, two in pairwise(networks)
                    )
        for (change,) in step:
            stands[change.name] = nets(change.after)
    assert {name: sorted(found) for name, found in stands.items()} == {
        name: sorted(nets(of(name, hosts, ""))) for name, (_, hosts) in after.items()
    }


def _kept(
    before: dict[str, tuple[str, set[int]]], after: dict[str, tuple[str, set[int]]], group: str
) -> set[int]:
    """The addresses that stay; where a group has parts, only those of nets that stay."""
    old, new = (
        {
            net
            for of_group, hosts in side.values()
            if of_group == group
            for net in nets(of("x", hosts, group))
        }
        for side in (before, after)
    )
    if group != "g":
        return _total(before, group) & _total(after, group)
    return _hosts({"p0": [*old & new]}, before, "g")


def _some_orders(step: Step) -> list[list[Change]]:
    changes = [change for (change,) in step]
    return [changes, changes[::-1]]


def _total(side: dict[str, tuple[str, set[int]]], group: str) -> set[int]:
    return set().union(*(hosts for of_group, hosts in side.values() if of_group == group))


def _hosts(
    now: dict[str, list[str]], side: dict[str, tuple[str, set[int]]], group: str
) -> set[int]:
    start = int(ipaddress.ip_address("10.0.0.0"))
    return {
        int(host) - start
        for name, found in now.items()
        if side[name][0] == group
        for net in found
        for host in ipaddress.ip_network(net)
    }


# --- chains ---------------------------------------------------------------------------------------


def test_a_chain_is_written_front_to_back_and_removed_back_to_front() -> None:
    assert written(
        create(policy("c", 30, chain="web")),
        delete(policy("x", 5, chain="web")),
        update(policy("b", 99, chain="web"), policy("b", 20, chain="web")),
        delete(policy("y", 7, chain="web")),
        create(policy("a", 10, chain="web")),
    ) == [[["+fw.a", "~fw.b", "+fw.c"]], [["-fw.y", "-fw.x"]]]


def test_what_stands_around_the_chains_is_written_around_them_and_removed_the_other_way() -> None:
    around = [("front", -9, ""), ("web", 1, "web"), ("new", -3, "web"), ("behind", 9, "")]
    made = [policy(name, order, chain=chain) for name, order, chain in around]
    assert written(*map(create, made)) == [
        [["+fw.front"]],
        [["+fw.new", "+fw.web"]],
        [["+fw.behind"]],
    ]
    assert written(*map(delete, made)) == [
        [["-fw.behind"]],
        [["-fw.web", "-fw.new"]],
        [["-fw.front"]],
    ]


def test_what_denies_behind_chains_that_stand_and_is_gone_comes_before_they_change() -> None:
    stands = policy("web", 1, chain="web")
    behind = create(policy("behind", 9))
    assert written(create(policy("db", 1, chain="db")), behind, beside=[stands]) == [
        [["+fw.behind"]],
        [["+fw.db"]],
    ]
    # Where there are no chains yet, or those of another tier alone, all of it comes together.
    elsewhere = policy("web", 1, chain="web", tier="other")
    for beside in ([], [elsewhere], [policy("front", -9)]):
        assert written(create(policy("db", 1, chain="db")), behind, beside=beside) == [
            [["+fw.db"]],
            [["+fw.behind"]],
        ]


def test_policies_of_other_kinds_tiers_and_chains_are_other_chains() -> None:
    assert written(
        create(policy("a", 2, chain="web")),
        create(policy("b", 1, chain="web")),
        create(policy("c", 1, chain="db")),
        create(policy("d", 1, chain="web", staged=True)),
        create(policy("e", 1, chain="web", tier="other")),
        create(policy("f", 1)),
        create(policy("g", 1)),
    ) == [
        [["+fw.c"], ["+fw.b", "+fw.a"], ["+other.e"], ["+fw.d"]],
        [["+fw.f", "+fw.g"]],
    ]


def test_a_policy_without_an_order_is_the_last_of_its_chain() -> None:
    document = policy("x", chain="web").document()
    del document["spec"]["order"]
    none = Manifest.of(document)
    assert written(create(none), create(policy("y", 7, chain="web"))) == [[["+fw.y", "+fw.x"]]]


# --- chains of several tiers ----------------------------------------------------------------------


def before(first: tuple[str, str], then: tuple[str, str], size: int = 1) -> Precedence:
    (tier_, zone), (other, other_zone) = first, then
    kind = "GlobalNetworkPolicy"
    return Precedence((kind, tier_, zone), (kind, other, other_zone), size, f"{first} to {then}")


def moved(zone: str, tier_: str, *, to_front: bool) -> list[Change]:
    """A chain that moves to its other generation."""
    old, new = (5, -5) if to_front else (-5, 5)
    return [
        delete(policy(f"{zone}-old", old, chain=zone, tier=tier_)),
        create(policy(f"{zone}-new", new, chain=zone, tier=tier_)),
    ]


@pytest.mark.parametrize("names", [*permutations(("a", "b", "c"))])
def test_a_chain_that_newly_denies_goes_before_one_that_newly_passes(
    names: tuple[str, ...],
) -> None:
    one, two, three = names
    changes = [
        update(policy("p", 5, chain="z", tier=each), policy("p", 6, chain="z", tier=each))
        for each in names
    ]
    found = ordered(changes, (), [before((one, "z"), (two, "z")), before((two, "z"), (three, "z"))])
    assert spoken(found.steps) == [[[f"~{each}.p"]] for each in names]
    assert found.unordered == ()


def test_old_policies_that_hide_what_newly_denies_go_before_another_tier_passes_it() -> None:
    """A chain that is written behind its old generation takes effect when that one goes."""
    changes = [*moved("z", "a", to_front=False), *moved("z", "b", to_front=True)]
    found = ordered(changes, (), [before(("a", "z"), ("b", "z"))])
    assert spoken(found.steps) == [
        [["+a.z-new"]],
        [["-a.z-old"]],
        [["+b.z-new"]],
        [["-b.z-old"]],
    ]
    found = ordered(changes, (), [before(("b", "z"), ("a", "z"))])
    assert spoken(found.steps) == [
        [["+a.z-new"], ["+b.z-new"]],
        [["-a.z-old"], ["-b.z-old"]],
    ]


def test_of_chains_that_would_each_have_to_be_first_the_least_is_named() -> None:
    changes = [
        update(policy("p", 5, chain="z", tier=each), policy("p", 6, chain="z", tier=each))
        for each in "abc"
    ]
    little, much = before(("a", "z"), ("b", "z"), 3), before(("b", "z"), ("a", "z"), 9)
    other = before(("b", "z"), ("c", "z"), 1)
    for precedence in permutations([little, much, other]):
        found = ordered(changes, (), precedence)
        assert found.unordered == (little,)
        assert spoken(found.steps) == [[["~b.p"]], [["~a.p"], ["~c.p"]]]


@given(
    st.lists(st.tuples(*[st.sampled_from("abcd")] * 2, st.integers(1, 9)), max_size=8),
    st.tuples(*[st.sampled_from(["front", "back", "place", "gone", "new"])] * 4),
)
def test_whatever_goes_before_what_every_change_is_written_once_and_in_its_chain(
    pairs: list[tuple[str, str, int]], ways: tuple[str, ...]
) -> None:
    changes: list[Change] = []
    for name, way in zip("abcd", ways, strict=True):
        both = moved("z", name, to_front=way == "front")
        place = [update(policy("p", 5, chain="z", tier=name), policy("p", 6, chain="z", tier=name))]
        changes += {"gone": both[:1], "new": both[1:], "place": place}.get(way, both)
    wanted = {
        (one, two): before((one, "z"), (two, "z"), size) for one, two, size in pairs if one != two
    }
    found = ordered(changes, (), [*wanted.values()])
    done = [change for step in found.steps for chain in step for change in chain]
    assert sorted(map(id, done)) == sorted(map(id, changes))
    effects: dict[str, int] = {}
    for number, step in enumerate(found.steps):
        for change in (change for chain in step for change in chain):
            way = dict(zip("abcd", ways, strict=True))[change.place.tier]
            if (change.action is Action.DELETE) == (way in ("back", "gone")):
                effects[change.place.tier] = number
    for (one, two), precedence in wanted.items():
        assert precedence in found.unordered or effects[one] < effects[two]
    assert len(found.unordered) <= len(wanted)


# --- what is left ---------------------------------------------------------------------------------


def stops(
    failed: Change,
    *changes: Change,
    beside: Sequence[Manifest] = (),
    precedence: Sequence[Precedence] = (),
) -> list[bool]:
    unwritten = Unwritten(Selections([failed, *changes], beside), precedence)
    unwritten.add(failed)
    return [bool(unwritten.stops(change)) for change in changes]


def test_what_denies_behind_all_chains_is_repaired_before_they_change() -> None:
    changed = update(policy("c", chain="z"), policy("c", 1, chain="z"))
    repaired = create(policy("pan-unknown-zone", 9, groups=("x",)), DRIFT)
    assert written(changed, repaired) == [
        in_one_step("+fw.pan-unknown-zone"),
        in_one_step("~fw.c"),
    ]


def test_many_chains_that_all_stand_in_each_others_way_are_arranged() -> None:
    zones = [f"z{number}" for number in range(80)]
    changes = [create(policy(zone, chain=zone, tier=tier)) for zone in zones for tier in "ab"]
    everything = [
        before((one, zone), (two, other))
        for one, two in ("ab", "ba")
        for zone in zones
        for other in zones
    ]
    found = ordered(changes, (), everything)
    assert len(found.unordered) == len(everything) / 2


def test_nothing_is_stopped_where_nothing_failed() -> None:
    assert Unwritten(Selections()).stops(delete(tier())) == ""


def test_a_chain_stops_with_its_first_failure_and_others_go_on() -> None:
    failed = create(policy("a", 1, chain="web"))
    assert stops(
        failed,
        create(policy("b", 2, chain="web")),
        delete(policy("old", 3, chain="web")),
        create(policy("c", 1, chain="db")),
        delete(policy("d", 1)),
        delete(policy("e", 1, tier="other", chain="lab")),
    ) == [True, True, False, True, False]


def test_what_stands_in_another_tier_stays_until_its_successor_is_there() -> None:
    old = delete(policy("a", chain="web", tier="old"))
    assert stops(create(policy("a", chain="web")), old) == [True]
    assert stops(create(policy("a", chain="web", staged=True)), old) == [True]
    assert stops(delete(policy("a", chain="web")), old) == [False]


def test_what_stands_around_chains_stays_until_all_that_may_replace_it_is_there() -> None:
    behind = delete(policy("unknown-zone", 9, tier="old"))
    for failed in (
        create(tier()),
        create(policy("unknown-zone", 9)),
        create(policy("a", 1, chain="web")),
    ):
        assert stops(failed, behind) == [True]
    assert stops(create(a_set("x")), behind) == [False]


def test_a_tier_that_denied_at_its_end_passes_when_its_policies_stand() -> None:
    """As when a live tier of Tigera's is taken over."""
    document = tier().document()
    document["spec"]["defaultAction"] = "Deny"
    opens = update(Manifest.of(document), tier())
    assert written(opens, create(policy("a")), delete(policy("b"))) == [
        [["+fw.a"]],
        [["-fw.b"]],
        [["~fw"]],
    ]
    assert stops(create(policy("a")), opens) == [True]
    assert stops(delete(policy("a")), opens) == [True]
    assert stops(create(policy("a", tier="other")), opens) == [False]
    # Nor may a policy that stands in it deny what it shall by a set that is not there yet.
    standing = [policy("c", chain="web", groups=("x",)), policy("c", tier="other", groups=("y",))]
    assert stops(create(a_set("x")), opens, beside=standing) == [True]
    assert stops(create(a_set("y")), opens, beside=standing) == [False]


def test_a_tier_that_newly_passes_waits_for_the_one_that_newly_denies() -> None:
    failed = update(policy("p", chain="z", tier="a"), policy("p", 1, chain="z", tier="a"))
    waiting = update(policy("p", chain="z", tier="b"), policy("p", 1, chain="z", tier="b"))
    assert stops(failed, waiting, precedence=[before(("a", "z"), ("b", "z"))]) == [True]
    assert stops(failed, waiting, precedence=[before(("b", "z"), ("a", "z"))]) == [False]


def test_what_passes_behind_all_chains_waits_for_the_chains_of_every_tier() -> None:
    failed = create(policy("a", 1, chain="web"))
    passing = policy("elsewhere", 9, tier="other")
    document = passing.document()
    document["spec"]["egress"] = [{"action": "Pass"}]
    denying = policy("unknown", 9, tier="other", groups=("x",))
    assert stops(failed, create(Manifest.of(document)), create(denying)) == [True, False]


def test_policies_wait_for_their_tier() -> None:
    assert stops(create(tier()), create(policy("a")), create(policy("a", tier="other"))) == [
        True,
        False,
    ]


def test_chains_wait_for_the_sets_that_they_select() -> None:
    beside = [policy("rest", 2, chain="z", groups=("web",))]
    for failed in (
        create(a_set("pan.web", group="web")),
        update(a_set("pan.web", "10.0.0.1/32", group="web"), a_set("pan.web", group="web")),
    ):
        assert stops(
            failed,
            create(policy("a", groups=("db", "web"))),
            create(policy("b", groups=("db",), tier="other")),
            # A part of its chain that does not change selects the set.
            update(policy("c", 1, chain="z"), policy("c", 1, chain="z", groups=("db",))),
            create(policy("d", 1, chain="y", groups=("db",))),
            beside=beside,
        ) == [True, False, True, False]


def test_sets_of_a_chain_that_could_not_be_written_gain_nothing() -> None:
    beside = [policy("rest", 2, chain="z", groups=("web",))]
    failed = update(policy("c", 1, chain="z", groups=("db",)), policy("c", 1, chain="z"))
    one = "10.0.0.1/32"
    assert stops(
        failed,
        update(a_set("web"), a_set("web", one)),
        update(a_set("db"), a_set("db", one)),
        delete(a_set("db")),
        create(a_set("web")),
        update(a_set("web", one), a_set("web")),
        update(a_set("free"), a_set("free", one)),
        beside=beside,
    ) == [True, True, True, True, False, False]


def test_what_a_set_could_not_lose_keeps_those_used_with_it_from_gaining() -> None:
    """And those of other tiers: what they let by anew, this one may have to deny."""
    beside = [
        policy("p", groups=("x", "y")),
        policy("q", chain="q", groups=("z",)),
        policy("r", tier="other", groups=("w",)),
    ]
    failed = update(a_set("x", "10.0.0.1/32"), a_set("x"))
    gains = [update(a_set(name), a_set(name, "10.0.0.2/32")) for name in ("y", "z", "w")]
    assert stops(failed, *gains, beside=beside) == [True, False, True]


def test_a_policy_that_was_not_written_keeps_the_sets_of_other_tiers_from_gaining() -> None:
    beside = [policy("q", tier="other", groups=("x",))]
    failed = update(policy("p"), policy("p", 1))
    gains = update(a_set("x"), a_set("x", "10.0.0.2/32"))
    assert stops(failed, gains, beside=beside) == [True]


def test_a_set_that_gets_its_label_back_gains() -> None:
    failed = update(policy("p", groups=("x",)), policy("p", 1, groups=("x",)))
    back = update(a_set("x", "10.0.0.1/32", group="other"), a_set("x", "10.0.0.1/32"))
    assert stops(failed, back) == [True]


def test_what_could_not_lose_or_stand_around_chains_comes_before_what_passes_elsewhere() -> None:
    waiting = delete(policy("q", chain="z", tier="b"))
    first = [before(("a", "z"), ("b", "z"))]
    lost = update(a_set("x", "10.0.0.1/32"), a_set("x"))
    beside = [policy("p", chain="z", tier="a", groups=("x",))]
    assert stops(lost, waiting, beside=beside, precedence=first) == [True]
    assert stops(delete(policy("pan-elsewhere", 1, tier="a")), waiting, precedence=first) == [True]


def test_a_set_that_could_not_lose_does_not_gain() -> None:
    less, more = (
        change
        for step in steps([update(OLD, NEW), create(policy("p"))], SELECTING)
        for (change,) in step
        if change.name == "x"
    )
    assert stops(less, more) == [True]


def test_a_tier_stays_as_long_as_a_policy_stands_in_it() -> None:
    assert stops(delete(policy("a")), delete(tier()), delete(tier("other"))) == [True, False]


def test_what_is_held_around_the_chains_of_a_tier_holds_back_all_its_policies() -> None:
    # At the other end of what a chain begins to pass, what stands around the chains may deny.
    held = create(policy("around", order=7), DRIFT)
    chained = update(policy("p", chain="web"), policy("p", chain="web", groups=("x",)))
    unwritten = Unwritten(Selections((chained, held)))
    unwritten.add(held)
    assert unwritten.stops(chained)


def test_behind_a_chain_that_misses_a_list_nothing_passes_more() -> None:
    missing = create(a_set("x"), DRIFT)
    chain = policy("p", chain="web", groups=("x",))
    document = policy("z", order=7, groups=("y",)).document()
    document["spec"]["egress"][0]["action"] = "Pass"
    behind = update(policy("z", order=7), Manifest.of(document))
    unwritten = Unwritten(Selections((missing, behind), (chain,)))
    assert not unwritten.stops(behind)
    unwritten.add(missing)
    assert unwritten.stops(behind)


def test_what_has_no_order_waits_for_what_is_held_though_it_would_be_written_before() -> None:
    held = create(tier("a"), DRIFT)
    denies = create(policy("p", chain="z", tier="a"))
    passes = update(
        policy("p", chain="z", tier="b"), policy("p", chain="z", tier="b", groups=("y",))
    )
    both_ways = [before(("a", "z"), ("b", "z"), 1), before(("b", "z"), ("a", "z"), 9)]
    assert ordered([denies, passes], (), both_ways).unordered == (both_ways[0],)
    blocker = foreign_object(held.kind, held.name, "is theirs")
    found = Differences((denies, passes), (), (), (blocker,), 0, (held,))
    plan = make_plan("eu", [], found, [], repair_drift=True, precedence=both_ways)
    assert plan.partial
    assert {change.name for change, _ in plan.waiting} == {"a.p", "b.p"}


def test_a_list_that_nothing_selects_yet_is_written_whatever_waits() -> None:
    late = update(policy("p", chain="web"), policy("p", chain="web", groups=("x",)))
    # Another chain may be about to deny by it.
    new, stands = create(a_set("x", "10.0.0.1/32")), update(a_set("x"), a_set("x", "10.0.0.1/32"))
    assert stops(late, new, beside=[policy("q", chain="db")]) == [False]
    assert stops(late, stands, beside=[policy("q", chain="db", groups=("x",))]) == [True]


def test_a_list_that_is_only_denied_by_is_repaired_though_its_chain_waits() -> None:
    late = update(policy("p", chain="web"), policy("p", chain="web", groups=("x",)))
    broken, right = a_list("l"), a_list("l", "10.0.0.1/32")
    document = policy("q", chain="web", groups=("l",)).document()
    [rule] = document["spec"]["egress"]
    rule["destination"]["selector"] = f"{LIST_LABEL} == 'l'"
    denying = Manifest.of(document)
    rule["action"] = "Pass"
    assert stops(late, update(broken, right, DRIFT), beside=[denying]) == [False]
    assert stops(late, delete(right), beside=[denying]) == [True]
    failing = update(policy("q", chain="web"), policy("q", 1, chain="web", groups=("x",)))
    assert stops(failing, update(broken, right, DRIFT), beside=[Manifest.of(document)]) == [True]
    rule["action"] = "Deny"
    rule["destination"] = {"notSelector": rule["destination"]["selector"]}
    assert stops(late, update(broken, right, DRIFT), beside=[Manifest.of(document)]) == [True]

"""The order in which a plan is written, and what is left where something failed."""

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.calico.manifest import Manifest
from sync.plan.changes import Action, Change, nets
from sync.plan.order import Unwritten, chain_of, steps
from tests.unit.plan.words import DRIFT, a_set, create, delete, policy, tier, update


def written(*changes: Change) -> list[list[list[str]]]:
    """Each step's chains, each change as `+name`, `~name` or `-name`."""
    sign = {Action.CREATE: "+", Action.UPDATE: "~", Action.DELETE: "-"}
    return [
        [[f"{sign[change.action]}{change.name}" for change in chain] for chain in step]
        for step in steps(changes)
    ]


def in_one_step(*names: str) -> list[list[str]]:
    return [[name] for name in names]


def test_a_plan_without_changes_has_no_steps() -> None:
    assert steps([]) == []


def test_each_kind_of_change_has_its_step() -> None:
    assert written(
        delete(tier("old")),
        delete(a_set("gone")),
        update(a_set("less", "10.0.0.1/32", "10.0.0.2/32"), a_set("less", "10.0.0.1/32")),
        delete(policy("last", tier="old")),
        create(policy("first")),
        create(a_set("new")),
        update(a_set("more"), a_set("more", "10.0.0.1/32")),
        create(tier()),
    ) == [
        in_one_step("+fw"),
        in_one_step("~more", "+new"),
        in_one_step("+fw.first"),
        in_one_step("-old.last"),
        in_one_step("~less"),
        in_one_step("-gone"),
        in_one_step("-old"),
    ]


def test_sets_alone_grow_before_they_shrink_and_shrink_before_they_go() -> None:
    assert written(
        delete(a_set("gone")),
        update(a_set("less", "10.0.0.1/32", "10.0.0.2/32"), a_set("less", "10.0.0.1/32")),
        update(a_set("other", "10.0.0.3/32"), a_set("other", "10.0.0.4/32")),
        create(a_set("new")),
    ) == [in_one_step("+new", "~other"), in_one_step("~less"), in_one_step("-gone")]


def test_what_another_hand_did_to_sets_is_undone_before_any_other_set_is_written() -> None:
    wide = a_set("z", "10.0.0.0/8", "11.0.0.0/8")
    narrow = a_set("z", "10.0.0.0/8")
    assert written(create(a_set("a")), update(wide, narrow, DRIFT)) == [in_one_step("~z", "+a")]
    assert written(create(a_set("a")), create(narrow, DRIFT)) == [in_one_step("+z", "+a")]


def test_nets_in_another_form_are_neither_gained_nor_lost() -> None:
    halves, whole = a_set("x", "10.0.0.0/9", "10.128.0.0/9"), a_set("x", "10.0.0.0/8")
    part = a_set("x", "10.0.0.0/9")
    gone = delete(policy("p"))
    assert written(update(halves, whole), gone) == [in_one_step("~x"), in_one_step("-fw.p")]
    assert written(update(part, whole), gone) == [in_one_step("~x"), in_one_step("-fw.p")]
    assert written(update(whole, part), gone) == [in_one_step("-fw.p"), in_one_step("~x")]


# --- sets that gain and lose ----------------------------------------------------------------------

OLD, NEW = a_set("x", "10.0.0.1/32", "10.0.0.9/32"), a_set("x", "10.0.0.2/32", "10.0.0.9/32")


def test_a_set_that_gains_and_loses_what_concerns_nothing_else_is_written_once() -> None:
    assert written(update(OLD, NEW), create(a_set("y", "10.0.0.3/32"))) == [in_one_step("~x", "+y")]


@pytest.mark.parametrize(
    "other",
    [
        create(a_set("y", "10.0.0.1/32")),
        create(a_set("y", "10.0.0.0/24")),
        update(a_set("y"), a_set("y", "10.0.0.0/31")),
        create(policy("p")),
        delete(policy("p")),
    ],
    ids=["moves", "moves into a net", "moves to a set that is there", "policy", "policy goes"],
)
def test_a_set_that_loses_what_others_gain_is_written_with_both_first(other: Change) -> None:
    (first, *_, last) = [
        [change for (change,) in step if change.name == "x"]
        for step in steps([update(OLD, NEW), other])
    ]
    ((grown,), (shrunk,)) = first, last
    assert (grown.before, shrunk.after) == (OLD, NEW)
    assert grown.after == shrunk.before
    assert nets(grown.after) == ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.9/32"]


def test_nets_that_change_places_between_two_parts_are_in_one_of_them_at_any_time() -> None:
    one, two = a_set("one", "10.0.0.1/32", group="g"), a_set("two", "10.0.0.2/32", group="g")
    changes = [
        update(one, a_set("one", "10.0.0.2/32", group="g")),
        update(two, a_set("two", "10.0.0.1/32", group="g")),
    ]
    assert written(*changes) == [in_one_step("~one", "~two"), in_one_step("~one", "~two")]


def test_what_no_cluster_could_hold_at_once_is_written_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sync.plan.order._BOTH_BYTES", len(OLD.body))
    assert written(update(OLD, NEW), create(policy("p"))) == [
        in_one_step("~x"),
        in_one_step("+fw.p"),
    ]


def test_nets_that_are_none_count_as_nothing() -> None:
    junk = a_set("x", "10.0.0.1/32", "not a net")
    assert written(update(junk, NEW), create(policy("p")))[0] == [["~x"]]


addresses = st.integers(0, 7)
groups = st.sets(addresses, max_size=4)


@given(st.lists(st.tuples(groups, groups), min_size=1, max_size=4), st.booleans())
def test_no_address_that_stays_is_ever_missing_from_all_sets(
    sets: list[tuple[set[int], set[int]]], with_policy: bool
) -> None:
    """Neither in the middle of a step: whatever of it is written first."""

    def of(index: int, hosts: set[int]) -> Manifest:
        return a_set(f"s{index}", *(f"10.0.0.{host}/32" for host in sorted(hosts)))

    changes = [
        update(of(index, before), of(index, after))
        for index, (before, after) in enumerate(sets)
        if before != after
    ]
    stays = set().union(*(before for before, _ in sets)) & set().union(
        *(after for _, after in sets)
    )
    holds = {f"s{index}": before for index, (before, _) in enumerate(sets)}
    for step in steps([*changes, *([create(policy("p"))] if with_policy else [])]):
        now = dict(holds)
        for (change,) in step:
            if change.kind == "GlobalNetworkSet":
                now[change.name] = hosts(change.after)
        # A set in the middle of its write is as before or as after: at worst as both have it.
        worst = set().union(*(holds[name] & now[name] for name in holds))
        assert stays <= worst or not _loses(step)
        holds = now
        assert stays <= set().union(*holds.values())
    assert holds == {f"s{index}": after for index, (_, after) in enumerate(sets)}


def _loses(step: Sequence[tuple[Change, ...]]) -> bool:
    return any(hosts(change.before) - hosts(change.after) for (change,) in step)


def hosts(manifest: Manifest | None) -> set[int]:
    return {
        int(host) - int(ipaddress.ip_address("10.0.0.0"))
        for net in nets(manifest)
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


# --- what is left ---------------------------------------------------------------------------------


def stops(failed: Change, *changes: Change) -> list[bool]:
    unwritten = Unwritten()
    unwritten.add(failed)
    return [bool(unwritten.stops(change)) for change in changes]


def test_nothing_is_stopped_where_nothing_failed() -> None:
    assert Unwritten().stops(delete(tier())) == ""


def test_a_chain_stops_with_its_first_failure_and_others_go_on() -> None:
    failed = create(policy("a", 1, chain="web"))
    assert stops(
        failed,
        create(policy("b", 2, chain="web")),
        delete(policy("old", 3, chain="web")),
        create(policy("c", 1, chain="db")),
        delete(policy("d", 1)),
        delete(policy("e", 1, tier="other")),
    ) == [True, True, False, True, False]


def test_what_stands_in_another_tier_stays_until_its_successor_is_there() -> None:
    old = delete(policy("a", chain="web", tier="old"))
    assert stops(create(policy("a", chain="web")), old) == [True]
    assert stops(create(policy("a", chain="web", staged=True)), old) == [True]
    assert stops(delete(policy("a", chain="web")), old) == [False]


def test_policies_wait_for_their_tier() -> None:
    assert stops(create(tier()), create(policy("a")), create(policy("a", tier="other"))) == [
        True,
        False,
    ]


def test_policies_wait_for_the_sets_that_they_select() -> None:
    assert stops(
        create(a_set("pan.web", group="web")),
        create(policy("a", groups=("db", "web"))),
        create(policy("a", groups=("db",))),
        delete(policy("a", groups=("web",))),
    ) == [True, False, False]


def test_a_set_keeps_what_a_policy_that_could_not_be_changed_still_selects() -> None:
    before = policy("a", groups=("web",))
    web = a_set("web", "10.0.0.1/32")
    changes = (delete(web), update(web, a_set("web")), delete(a_set("db")), create(web))
    for failed in (update(before, policy("a")), delete(before)):
        assert stops(failed, *changes) == [True, True, False, False]
    assert stops(create(before), *changes) == [False] * 4


def test_a_set_keeps_what_a_set_that_could_not_grow_was_to_take_over() -> None:
    failed = update(a_set("y"), a_set("y", "10.0.0.0/30"))
    assert stops(
        failed,
        delete(a_set("x", "10.0.0.1/32")),
        update(a_set("x", "10.0.0.1/32", "10.1.0.0/16"), a_set("x", "10.0.0.1/32")),
        delete(a_set("x", "10.2.0.0/16")),
    ) == [True, False, False]


def test_a_set_that_could_not_grow_does_not_shrink() -> None:
    grown, shrunk = (
        change
        for step in steps([update(OLD, NEW), create(policy("p"))])
        for (change,) in step
        if change.name == "x"
    )
    assert chain_of(grown) == chain_of(shrunk)
    assert stops(grown, shrunk) == [True]


def test_a_tier_stays_as_long_as_a_policy_stands_in_it() -> None:
    assert stops(delete(policy("a")), delete(tier()), delete(tier("other"))) == [True, False]

"""What is different in a change: rules matched by what they say, nets by their addresses."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sync.calico.names import RANK_ANNOTATION, RULE_ANNOTATION
from sync.plan.details import CHANGED, INSERTED, MOVED, REMOVED, Field, rule_changes

NAMES = st.sampled_from(["a", "b", "c", "d", ""])


def rule(name: str, port: int, rank: int) -> dict[str, Any]:
    annotations = {RANK_ANNOTATION: str(rank)} | ({RULE_ANNOTATION: name} if name else {})
    return {"action": "Pass", "port": port, "metadata": {"annotations": annotations}}


def ranked(some: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [rule(name, port, rank) for rank, (name, port) in enumerate(some)]


lists = st.lists(st.tuples(NAMES, st.integers(0, 2)), max_size=9)


def bare(found: Any) -> tuple[str, int]:
    return found["metadata"]["annotations"].get(RULE_ANNOTATION, ""), found["port"]


@given(lists, lists)
def test_the_changes_of_a_list_lead_from_one_to_the_other(
    one: list[tuple[str, int]], two: list[tuple[str, int]]
) -> None:
    """What is not named is the same on both sides, in the same order; no place is named twice."""
    old, new = ranked(one), ranked(two)
    changes = rule_changes({"egress": old}, {"egress": new})
    gone = [each.was for each in changes if each.was is not None]
    come = [each.position for each in changes if each.position is not None]
    assert len({*gone}) == len(gone)
    assert len({*come}) == len(come)
    kept = [bare(each) for place, each in enumerate(old) if place not in gone]
    assert kept == [bare(each) for place, each in enumerate(new) if place not in come]
    for each in changes:
        assert each.before == (None if each.was is None else old[each.was])
        assert each.after == (None if each.position is None else new[each.position])
        assert (each.was is None, each.position is None) == (
            each.how == INSERTED,
            each.how == REMOVED,
        )
        if each.how == MOVED:
            assert bare(each.before) == bare(each.after)
        if each.how == CHANGED:
            assert each.fields
            assert bare(each.before) != bare(each.after)


@given(lists)
def test_equal_lists_do_not_differ_whatever_their_ranks(some: list[tuple[str, int]]) -> None:
    other = [rule(name, port, 100 + rank) for rank, (name, port) in enumerate(some)]
    assert rule_changes({"egress": ranked(some)}, {"egress": other}) == []


@given(st.lists(st.integers(0, 9), unique=True), st.data())
def test_as_few_rules_as_can_be_are_moved(some: list[int], data: st.DataObject) -> None:
    """Rules of the firewall: each is one to three of Calico's."""
    other = data.draw(st.permutations(some))
    sizes = {each: data.draw(st.integers(1, 3)) for each in some}

    def made(numbers: list[int]) -> dict[str, list[dict[str, Any]]]:
        return {"egress": ranked([(str(n), port) for n in numbers for port in range(sizes[n])])}

    moved = rule_changes(made(some), made(other))
    longest = [0] * len(some)
    places = [some.index(each) for each in other]
    for place in range(len(places)):
        longest[place] = 1 + max(
            (longest[before] for before in range(place) if places[before] < places[place]),
            default=0,
        )
    assert len({each.name for each in moved}) == len(some) - max(longest, default=0)
    assert {each.how for each in moved} <= {MOVED}
    assert len(moved) == sum(sizes[int(name)] for name in {each.name for each in moved})


@given(st.lists(st.integers(0, 9), unique=True, min_size=2), st.data())
def test_one_rule_that_moved_is_one_whatever_each_direction_holds(
    some: list[int], data: st.DataObject
) -> None:
    mover = data.draw(st.sampled_from(some))
    other = [each for each in some if each != mover]
    other.insert(data.draw(st.integers(0, len(other))), mover)
    # One direction has every rule, the other one some of them.
    part = data.draw(st.sets(st.sampled_from(some)))

    def made(numbers: list[int]) -> dict[str, list[dict[str, Any]]]:
        held = {"ingress": [n for n in numbers if n in part], "egress": numbers}
        return {way: ranked([(str(n), 0) for n in each]) for way, each in held.items()}

    assert len({each.name for each in rule_changes(made(some), made(other))}) <= 1


def test_rules_of_any_shape_are_matched() -> None:
    old, new = [7, {"a": []}, None, "x"], ["x", {"metadata": 7}]
    changes = rule_changes({"egress": old}, {"egress": new})
    assert {each.how for each in changes} <= {INSERTED, REMOVED, MOVED, CHANGED}


def test_nets_that_are_none_are_compared_as_texts() -> None:
    field = Field("spec.nets", ["10.0.0.0/31", "odd"], ["10.0.0.0/32", {"a": 1}])
    assert field.added == ["10.0.0.0/32", {"a": 1}]
    assert field.removed == ["10.0.0.0/31", "odd"]
    assert Field("destination.ports", [80, "1:2"], [80]).removed == ["1:2"]
    assert Field("order", 1, 2).added == []

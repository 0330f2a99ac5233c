"""What is surely in a set, and what may be: the bounds that the first promise rests on."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.firewall.estimate import Estimate
from sync.net.addresses import NOWHERE, AddressSet
from sync.net.intervals import from_ranges

_NUMBERS = st.frozensets(st.integers(0, 7))


def of(numbers: Iterable[int]) -> AddressSet:
    return AddressSet(from_ranges((number, number + 1) for number in numbers))


ONE, TWO, BOTH = of([1]), of([2]), of([1, 2])


@st.composite
def known_of_a_set(draw: st.DrawFn) -> tuple[Estimate, frozenset[int]]:
    """An estimate, and a set that it is true of."""
    real = draw(_NUMBERS)
    clauses = draw(st.sets(st.sampled_from("abc")))
    if not clauses:
        return Estimate.exactly(of(real)), real
    surely = real & draw(_NUMBERS)
    at_most = draw(st.none() | _NUMBERS.map(lambda more: of(real | more)))
    answers = of(draw(_NUMBERS))
    return Estimate(of(surely), at_most, answers, tuple(sorted(clauses))), real


def test_what_is_known_has_equal_bounds_and_is_not_open() -> None:
    found = Estimate.exactly(ONE)
    assert (found.surely, found.at_most, found.open) == (ONE, ONE, False)
    assert Estimate.exactly(NOWHERE) == Estimate(NOWHERE, NOWHERE)


def test_unknown_is_neither_empty_nor_any() -> None:
    found = Estimate.unknown("its server is silent", answers=TWO)
    assert (found.surely, found.at_most, found.answers) == (NOWHERE, None, TWO)
    assert found.open
    assert found.says_nothing
    assert found.because == ("its server is silent",)


@pytest.mark.parametrize("at_most", [None, NOWHERE, BOTH], ids=["none", "less", "more"])
def test_bounds_that_differ_need_a_reason(at_most: AddressSet | None) -> None:
    with pytest.raises(ValueError, match="gives a reason"):
        Estimate(ONE, at_most)
    assert Estimate(ONE, at_most, because=("why",)).open


def test_a_set_with_a_reason_is_open_even_where_its_bounds_are_equal() -> None:
    assert Estimate(ONE, ONE, because=("what it told last counts",)).open


@pytest.mark.parametrize(
    "found",
    [
        Estimate.exactly(NOWHERE),
        Estimate(ONE, None, because=("why",)),
        Estimate(NOWHERE, ONE, because=("why",)),
        Estimate(NOWHERE, NOWHERE, because=("why",)),
    ],
)
def test_one_bound_says_something(found: Estimate) -> None:
    assert not found.says_nothing


def test_the_union_of_known_sets_is_known() -> None:
    assert Estimate.union([Estimate.exactly(ONE), Estimate.exactly(TWO)]) == Estimate.exactly(BOTH)
    assert Estimate.union([]) == Estimate.exactly(NOWHERE)


def test_a_part_without_a_bound_leaves_the_union_without_one() -> None:
    bounded = Estimate(NOWHERE, TWO, because=("b",))
    found = Estimate.union([Estimate.exactly(ONE), bounded, Estimate.unknown("a")])
    assert found == Estimate(ONE, None, because=("a", "b"))


def test_the_bound_of_a_union_holds_the_known_parts_too() -> None:
    bounded = Estimate(NOWHERE, TWO, because=("b",))
    found = Estimate.union([Estimate.exactly(ONE), bounded])
    assert found == Estimate(ONE, BOTH, because=("b",))


def test_an_empty_bound_is_a_bound() -> None:
    empty = Estimate(NOWHERE, NOWHERE, because=("b",))
    assert Estimate.union([Estimate.exactly(ONE), empty]) == Estimate(ONE, ONE, because=("b",))


def test_answers_of_dns_are_united_apart_from_both_bounds() -> None:
    names = [Estimate.unknown("a name", answers) for answers in (ONE, TWO)]
    assert Estimate.union(names) == Estimate(NOWHERE, None, BOTH, ("a name",))


@given(st.lists(known_of_a_set(), max_size=4))
def test_a_union_is_true_of_the_union_of_any_sets_that_its_parts_are_true_of(
    parts: list[tuple[Estimate, frozenset[int]]],
) -> None:
    found = Estimate.union(estimate for estimate, _ in parts)
    real = of(frozenset().union(*(numbers for _, numbers in parts)))
    assert not found.surely - real
    assert found.at_most is None or not real - found.at_most
    assert found.open == any(estimate.open for estimate, _ in parts)
    assert set(found.because) == {clause for estimate, _ in parts for clause in estimate.because}


@given(st.lists(known_of_a_set(), max_size=4))
def test_a_union_does_not_depend_on_order_or_repetition(
    parts: list[tuple[Estimate, frozenset[int]]],
) -> None:
    estimates = [estimate for estimate, _ in parts]
    found = Estimate.union(estimates)
    assert Estimate.union([*reversed(estimates), *estimates]) == found
    assert Estimate.union([found, *estimates]) == found

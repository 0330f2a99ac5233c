"""What is remembered of pure functions is what they would give anew, and does not grow."""

import gc
import sys
import time
from collections.abc import Callable, Sequence
from weakref import WeakSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.memo import GENERATION_SECONDS, remembered
from tests.clock import Clock

ENTRY = 512


class Result:
    """A result that tells whether it is still held."""


def counted(
    most: int, clock: Callable[[], float] = time.monotonic
) -> tuple[Callable[[bytes], bytes], list[bytes]]:
    """A function that turns bytes round and is remembered, and what it was really called for."""
    called: list[bytes] = []

    def turned(of: bytes) -> bytes:
        called.append(of)
        return of[::-1]

    return remembered(most, clock)(turned), called


@given(st.lists(st.binary(max_size=4)), st.sampled_from((0, ENTRY, 3 * ENTRY, 1 << 20)))
def test_it_gives_what_the_function_gives(asked: Sequence[bytes], most: int) -> None:
    function, _ = counted(most)
    assert [function(each) for each in asked] == [each[::-1] for each in asked]


def test_what_was_asked_before_is_not_worked_out_again() -> None:
    function, called = counted(1 << 20)
    for each in (b"one", b"other", bytes(bytearray(b"one"))):
        function(each)
    assert called == [b"one", b"other"]


def test_a_full_generation_makes_room_for_the_next_and_what_is_used_moves_there() -> None:
    function, called = counted(2 * ENTRY + 8)
    for each in (b"a", b"b", b"c", b"a", b"d", b"e", b"a"):
        function(each)
    # Generations: a b | c a | d e, and a moves there once more; b was dropped with the first.
    assert called == [b"a", b"b", b"c", b"d", b"e"]
    function(b"b")
    assert called[5:] == [b"b"]


def test_what_every_sync_uses_is_kept_however_long_a_service_is_idle() -> None:
    clock = Clock(0.0)
    function, called = counted(1 << 30, clock)
    live = [b"live %d" % number for number in range(100)]
    for version in range(20):
        for each in (*live, b"version %d" % version):
            function(each)
        clock.now += 7200
    assert called == [*live, *(b"version %d" % version for version in range(20))]


@given(st.lists(st.tuples(st.floats(0, 900), st.binary(max_size=1)), max_size=200))
def test_what_was_used_within_a_generation_is_kept_and_older_results_are_dropped(
    asked: Sequence[tuple[float, bytes]],
) -> None:
    clock = Clock(0.0)
    results: WeakSet[Result] = WeakSet()
    called: list[bytes] = []

    def make(of: bytes) -> Result:
        called.append(of)
        results.add(made := Result())
        return made

    made = remembered(1 << 30, clock)(make)
    used: dict[bytes, float] = {}
    began, new, old = 0.0, set[bytes](), set[bytes]()
    for pause, each in asked:
        clock.now += pause
        if clock.now - began >= GENERATION_SECONDS:
            began, new, old = clock.now, set(), new
        before = len(called)
        made(each)
        if clock.now - used.get(each, -1e9) < GENERATION_SECONDS:
            assert len(called) == before
        used[each] = clock.now
        new.add(each)
        assert len(results) == len(new | old)


def test_what_is_raised_is_raised_anew() -> None:
    @remembered(1 << 20)
    def refusing(of: bytes) -> None:
        raise ValueError(of)

    errors = []
    for _ in range(2):
        with pytest.raises(ValueError, match="x") as raised:
            refusing(b"x")
        errors.append(raised.value)
    assert errors[0] is not errors[1]


def test_what_was_asked_is_not_kept() -> None:
    function = remembered(1 << 20)(len)
    large = bytes(100_000)
    before = sys.getrefcount(large)
    function(large)
    gc.collect()
    assert sys.getrefcount(large) == before

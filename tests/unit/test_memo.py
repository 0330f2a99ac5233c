"""What is remembered of pure functions is what they would give anew, and does not grow."""

import gc
import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.memo import remembered

ENTRY = 512


def counted(most: int) -> tuple[Callable[[bytes], bytes], list[bytes]]:
    """A function that turns bytes round and is remembered, and what it was really called for."""
    called: list[bytes] = []

    def turned(of: bytes) -> bytes:
        called.append(of)
        return of[::-1]

    return remembered(most)(turned), called


@given(st.lists(st.binary(max_size=4)), st.sampled_from((0, ENTRY, 3 * ENTRY, 1 << 20)))
def test_it_gives_what_the_function_gives(asked: Sequence[bytes], most: int) -> None:
    function, _ = counted(most)
    assert [function(each) for each in asked] == [each[::-1] for each in asked]


def test_what_was_asked_before_is_not_worked_out_again() -> None:
    function, called = counted(1 << 20)
    for each in (b"one", b"other", bytes(bytearray(b"one"))):
        function(each)
    assert called == [b"one", b"other"]


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    function, called = counted(2 * ENTRY + 8)
    for each in (b"a", b"b", b"a", b"c", b"a", b"b"):
        function(each)
    assert called == [b"a", b"b", b"c", b"b"]


def test_what_is_asked_for_no_longer_is_let_go_and_the_rest_is_kept() -> None:
    function, called = counted(1 << 30)
    live = [b"live %d" % number for number in range(100)]
    versions = [b"version %d" % number for number in range(200)]
    for version in versions:
        for each in (*live, version):
            function(each)
    # Each live one was worked out once, however many versions came and went.
    assert called == [*live, *versions]
    function(versions[-2])
    assert len(called) == 300
    function(versions[0])
    assert called[300:] == [versions[0]]


def test_what_is_larger_than_all_that_is_remembered_pushes_out_itself() -> None:
    function, called = counted(ENTRY)
    function(b"large")
    assert function(b"large") == b"egral"
    assert called == [b"large", b"large"]


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

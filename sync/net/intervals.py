"""Sets of integers as sorted boundaries, and their algebra.

A set is the tuple of the places where one steps into it and out of it again, in turn:

    {3, 4, 5, 9}  ->  (3, 6, 9, 10)

so boundaries strictly rise and their number is even. One set of integers has one such tuple:
equality of tuples is equality of sets.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

Bounds = tuple[int, ...]


def from_ranges(ranges: Iterable[tuple[int, int]]) -> Bounds:
    """The union of half-open ranges `(first, past)`, in any order, overlapping or not.

    A range with `past <= first` is empty.
    """
    bounds: list[int] = []
    for first, past in sorted(ranges):
        if past <= first:
            continue
        if bounds and first <= bounds[-1]:
            if past > bounds[-1]:
                bounds[-1] = past
        else:
            bounds += (first, past)
    return tuple(bounds)


def to_ranges(bounds: Bounds) -> Iterable[tuple[int, int]]:
    """The half-open ranges of a set, in order."""
    return zip(bounds[::2], bounds[1::2], strict=True)


def union(left: Bounds, right: Bounds) -> Bounds:
    if not (left and right):
        return left or right
    return from_ranges([*to_ranges(left), *to_ranges(right)])


def intersection(left: Bounds, right: Bounds) -> Bounds:
    if len(left) > len(right):
        left, right = right, left
    bounds: list[int] = []
    for first, past in to_ranges(left):
        # The other's boundaries strictly inside; the parity of an index says inside or outside.
        begin, end = bisect_right(right, first), bisect_left(right, past)
        if begin & 1:
            bounds.append(first)
        bounds += right[begin:end]
        if end & 1:
            bounds.append(past)
    return tuple(bounds)


def difference(left: Bounds, right: Bounds) -> Bounds:
    if not (left and right):
        return left
    # What is outside of `right`, as far as `left` reaches.
    return intersection(left, (min(left[0], right[0]) - 1, *right, max(left[-1], right[-1]) + 1))

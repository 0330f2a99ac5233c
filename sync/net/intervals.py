"""Sets of integers as sorted boundaries, and their algebra.

A set is the tuple of the places where one steps into it and out of it again, in turn:

    {3, 4, 5, 9}  ->  (3, 6, 9, 10)

so boundaries strictly rise and their number is even. One set of integers has one such tuple:
equality of tuples is equality of sets.
"""

from collections.abc import Callable, Iterable

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
    return _sweep(left, right, lambda a, b: a or b) if left and right else left or right


def intersection(left: Bounds, right: Bounds) -> Bounds:
    return _sweep(left, right, lambda a, b: a and b) if left and right else ()


def difference(left: Bounds, right: Bounds) -> Bounds:
    return _sweep(left, right, lambda a, b: a and not b) if left and right else left


def _sweep(left: Bounds, right: Bounds, wanted: Callable[[bool, bool], bool]) -> Bounds:
    """Walk both sets' boundaries upwards; the parity of an index says inside or outside."""
    bounds: list[int] = []
    i = j = 0
    while i < len(left) or j < len(right):
        if j == len(right) or (i < len(left) and left[i] <= right[j]):
            at = left[i]
        else:
            at = right[j]
        i += i < len(left) and left[i] == at
        j += j < len(right) and right[j] == at
        if wanted(bool(i & 1), bool(j & 1)) != bool(len(bounds) & 1):
            bounds.append(at)
    return tuple(bounds)

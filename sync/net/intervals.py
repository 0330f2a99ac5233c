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


# What XML calls white space; any other makes it no number.
_SPACE = " \t\r\n"


def listed(text: str, last: int, what: str = "number") -> Bounds:
    """Numbers from 0 to `last` and ranges of them, separated by commas: `80`, `13,14,30-40`.

    White space around a number is ignored. `ValueError` names the item that is not a number, or a
    rising range of two, in plain decimal: a leading zero might mean an octal number.
    """
    ranges: list[tuple[int, int]] = []
    for item in (each.strip(_SPACE) for each in text.split(",")):
        first, dash, end = (each.strip(_SPACE) for each in item.partition("-"))
        numbers = [_number(each, last) for each in ((first, end) if dash else (first,))]
        start, stop = numbers[0], numbers[-1]
        if start is None or stop is None:
            raise ValueError(f"{item!r} is not a {what} or a range of {what}s")
        if stop < start:
            raise ValueError(f"{item!r} is a range that falls")
        ranges.append((start, stop + 1))
    return from_ranges(ranges)


def _number(text: str, last: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(last))):
        return None
    number = int(text)
    return number if number <= last and str(number) == text else None


def to_ranges(bounds: Bounds) -> Iterable[tuple[int, int]]:
    """The half-open ranges of a set, in order."""
    return zip(bounds[::2], bounds[1::2], strict=True)


def holds(bounds: Bounds, number: int) -> bool:
    """Whether a number is in a set."""
    # An odd index is inside: between the first number of a range and the one after its end.
    return bisect_right(bounds, number) % 2 == 1


def union(left: Bounds, right: Bounds) -> Bounds:
    if not (left and right):
        return left or right
    return from_ranges([*to_ranges(left), *to_ranges(right)])


def twice(sets: Iterable[Bounds]) -> Bounds:
    """The addresses in two or more of these sets, in one pass over all of them."""
    found: list[tuple[int, int]] = []
    reach = 0
    for first, past in sorted(each for bounds in sets for each in to_ranges(bounds)):
        if first < reach:
            found.append((first, min(past, reach)))
        reach = max(reach, past)
    return from_ranges(found)


def intersection(left: Bounds, right: Bounds) -> Bounds:
    if len(left) > len(right):
        left, right = right, left
    if not left:
        return ()
    bounds: list[int] = []
    for first, past in to_ranges(left):
        # The other's boundaries strictly inside; the parity of an index means inside or outside.
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

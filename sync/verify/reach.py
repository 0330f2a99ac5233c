"""Regions of flows between two ends: what a list of rules allows of them, and which rules decide.

Each rule is a product of addresses at both ends and of traffic. What is allowed is a union of such
products, which may overlap: allows that overlap need not be taken apart, only denies cut them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sync.net.intervals import Bounds, difference, to_ranges
from sync.verify.calico_semantics import Direction
from sync.verify.packet_space import Entry, Family, shared

LOOKS: Final = 200_000  # at a product beside another one, for one cell; past that it is unknown


class Part(NamedTuple):
    """Flows between pods of a `zone`, at addresses `near`, and far ends with profiles `bit`.

    The far ends are at addresses `there`; `peer` is their zone where they are pods.
    """

    family: Family
    zone: str
    direction: Direction
    near: Bounds
    bit: int
    there: Bounds
    peer: str = ""


class Row(NamedTuple):
    """One rule for one family: `far` are profiles, each with its addresses."""

    entry: Entry
    local: Bounds
    far: tuple[tuple[int, Bounds], ...]
    traffic: int

    @property
    def there(self) -> Bounds:
        """The addresses of the far end, after `clipped`."""
        return self.far[0][1]


class TooManyError(Exception):
    """A cell needs more looks than allowed."""


class Regions:
    """How much has been looked at for one cell."""

    def __init__(self) -> None:
        self._looks = 0

    def look(self, times: int = 1) -> None:
        """Count; `TooManyError` past the limit."""
        self._looks += times
        if self._looks > LOOKS:
            raise TooManyError(f"it would take more than {LOOKS:,} looks at two rules")


def clipped(rows: Sequence[Row], part: Part, everything: int) -> list[Row]:
    """The rules of a list for some flows, up to one that surely decides all of them."""
    found: list[Row] = []
    for row in rows:
        # A profile stands in one far end at most.
        addresses = next((where for bits, where in row.far if bits & part.bit), ())
        there = addresses if part.peer or not addresses else shared(addresses, part.there)
        if there:
            found.append(row._replace(far=((part.bit, there),)))
            if not row.entry.rough and _is_all(found[-1], part, everything):
                break
    return found


def _is_all(row: Row, part: Part, everything: int) -> bool:
    return row.traffic == everything and row.local == part.near and row.there == part.there


def permitted(rows: Sequence[Row], budget: Regions) -> list[Row]:
    """What is allowed, as products that may overlap; `TooManyError` where an action is unknown."""
    denied: list[Row] = []
    found: dict[tuple[Bounds, Bounds], Row] = {}
    for row in rows:
        if row.entry.action == "":
            raise TooManyError(f"{row.entry.where} cannot be judged")
        if row.entry.action == "deny":
            denied.append(row)
            continue
        for left in _outside(row, denied, budget):
            key = (left.local, left.there)
            known = found.get(key)
            found[key] = (
                left if known is None else known._replace(traffic=known.traffic | left.traffic)
            )
    return [*found.values()]


def deciding(rows: Sequence[Row], budget: Regions) -> Iterator[Entry]:
    """The rules that decide some flow, and those that may."""
    before: list[Row] = []
    heard = 0
    for row in rows:
        if row.traffic & ~heard or any(True for _ in _left(row, before, budget)):
            yield row.entry
        if not row.entry.rough:  # else it leaves its flows to those behind it
            before.append(row)
            heard |= row.traffic


def _left(row: Row, taken: Sequence[Row], budget: Regions) -> Iterator[Row]:
    """What is left of a rule behind others, or all of it where something surely is."""
    alike = [each for each in taken if each.traffic & row.traffic]
    budget.look(len(taken) // 16)
    if sum(map(_size, alike)) < _size(row):
        yield row
    else:
        yield from _outside(row, alike, budget)


def turned(ours: Sequence[Row], theirs: Sequence[Row], budget: Regions) -> list[Row]:
    """What both ends allow: `theirs` is seen from the far end."""
    found: dict[tuple[Bounds, Bounds], Row] = {}
    for one in ours:
        for other in theirs:
            traffic = one.traffic & other.traffic
            if not traffic:
                continue
            budget.look()
            local, there = shared(one.local, other.there), shared(one.there, other.local)
            if local and there:
                key = (local, there)
                known = found.get(key)
                more = traffic | (known.traffic if known else 0)
                found[key] = Row(one.entry, local, ((one.far[0][0], there),), more)
    return [*found.values()]


def beyond(some: Sequence[Row], others: Sequence[Row], budget: Regions) -> Row | None:
    """Some of what is allowed and is not allowed by others; None if there is nothing."""
    held = {(each.local, each.there): each.traffic for each in others}
    for row in some:
        if row.traffic & ~held.get((row.local, row.there), 0):
            left = _outside(row, others, budget)
            if left:
                return left[0]
    return None


def degrees(rows: Sequence[Row], part: Part, budget: Regions) -> tuple[int, int]:
    """The traffic that is allowed between all addresses of a part, and that between some."""
    classes: list[tuple[int, list[Row]]] = []
    for row in rows:
        left = row.traffic
        split: list[tuple[int, list[Row]]] = []
        for bits, some in classes:
            budget.look()
            both = bits & left
            if both:
                split.append((both, [*some, row]))
                left &= ~both
            if rest := bits & ~both:
                split.append((rest, some))
        if left:
            split.append((left, [row]))
        classes = split
    wholly = partly = 0
    whole = _length(part.near) * _length(part.there)
    sizes = {id(row): _size(row) for row in rows}
    for bits, some in classes:
        if sum(sizes[id(row)] for row in some) >= whole and _covers(some, bits, part, budget):
            wholly |= bits
        else:
            partly |= bits
    return wholly, partly


def _covers(some: Sequence[Row], bits: int, part: Part, budget: Regions) -> bool:
    start = Row(some[0].entry, part.near, ((part.bit, part.there),), bits)
    return not any(True for _ in _outside(start, some, budget))


class Degrees:
    """The traffic of all parts of a cell: between all addresses, between some, or none."""

    def __init__(self, everything: Mapping[Family, int]) -> None:
        """`everything` is the traffic of each family that has a part."""
        self._everything = everything
        self._every = 0
        for bits in everything.values():
            self._every |= bits
        self._some = self._missing = 0

    def add(self, family: Family, found: tuple[int, int]) -> None:
        """Add the degrees of one part."""
        wholly, partly = found
        self._some |= wholly | partly
        self._missing |= self._everything[family] & ~wholly

    @property
    def wholly(self) -> int:
        """The traffic that is allowed between all addresses."""
        return self._every & ~self._missing

    @property
    def partly(self) -> int:
        """The traffic that is allowed between some addresses."""
        return self._some & self._missing

    @property
    def all(self) -> bool:
        """Whether everything is allowed."""
        return not self._missing


def _outside(row: Row, taken: Iterable[Row], budget: Regions) -> list[Row]:
    """The part of a product outside all of some others, as disjoint products."""
    left = [row]
    for each in taken:
        if not each.traffic & row.traffic:
            continue
        budget.look(len(left))
        left = [part for one in left for part in _without(one, each)]
        if not left:
            break
    return left


def _without(row: Row, taken: Row) -> list[Row]:
    traffic = row.traffic & taken.traffic
    if not traffic:
        return [row]
    local = shared(row.local, taken.local)
    there = shared(row.there, taken.there) if local else ()
    if not there:
        return [row]
    left = []
    if rest := row.traffic & ~traffic:
        left.append(row._replace(traffic=rest))
    if local != row.local:
        left.append(row._replace(local=difference(row.local, local), traffic=traffic))
    if there != row.there:
        ((bit, addresses),) = row.far
        far = ((bit, difference(addresses, there)),)
        left.append(row._replace(local=local, far=far, traffic=traffic))
    return left


def _size(row: Row) -> int:
    return _length(row.local) * _length(row.there)


def _length(bounds: Bounds) -> int:
    return sum(past - first for first, past in to_ranges(bounds))

"""What the rules before a rule leave of it, in one list: nothing, a part, or all.

rules of a list as boxes  ->  for each, the earlier ones that take its flows, and one such flow

All of a rule is taken where no flow of it is left; then the rules named are few that together take
everything, each of which is the first one to match some of it.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, Literal, NamedTuple

from sync.net.intervals import Bounds
from sync.verify.packet_space import FAMILIES, Box, Family, Place, common, to_itself, without

LOOKS: Final = 50_000  # at a box beside another one, for one rule of a list; then nothing is said
MOST: Final = 20  # rules that are named for one
_NARROW: Final[Mapping[Family, int]] = {4: 1 << 16, 6: 1 << 64}  # addresses of what is few
_PRUNED: Final = 30  # rules of which as few as can be are looked for

Extent = Literal["none", "part", "whole", "empty", "unknown"]


class Layer(NamedTuple):
    """One rule of a list: the flows that it may match, and those that it surely does.

    `name` and `place` are the firewall's, without a place for what is no rule of it.
    """

    name: str
    place: Place | None
    allow: bool
    perhaps: tuple[Box, ...]
    surely: tuple[Box, ...]


class Hidden(NamedTuple):
    """How much of a rule is taken by which layers, in order, and a flow that one of them takes.

    `more`: others take some of it too.
    """

    extent: Extent
    by: tuple[int, ...] = ()
    flow: Box | None = None
    more: bool = False


_Over = Sequence[tuple[int, Box]]
"""Boxes of layers, each with the number of its layer, in order."""


class _TooLongError(Exception):
    """A rule needs more looks than allowed."""


class Layers:
    """The rules of one list, in order."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self._before: list[int] = []  # how many boxes come before each layer
        flat: list[tuple[int, Box]] = []
        for number, layer in enumerate(layers):
            self._before.append(len(flat))
            flat += ((number, box) for box in layer.surely)
        self._index = {family: _Index(flat, family) for family in FAMILIES}
        self._looks = 0

    def hidden(self, number: int) -> Hidden | None:
        """What earlier layers take of one; None for one that matches nothing here."""
        layer = self.layers[number]
        if not layer.perhaps:
            return None
        self._looks = LOOKS
        try:
            return self._hidden(number, layer)
        except _TooLongError:
            return Hidden("unknown")

    def takes_more(self, taker: int, number: int, exactly: Iterable[Box]) -> bool:
        """Whether a taker is the first to take flows of a layer that are not in some boxes."""
        self._looks = LOOKS
        own = [(taker, box) for box in exactly]
        pieces = self._pieces(self.layers[number].perhaps, taker)
        try:
            return any(self._left(piece, [*over, *own]) is not None for piece, over in pieces)
        except _TooLongError:
            return True

    def denying(self, boxes: Iterable[Box]) -> Iterator[Layer]:
        """The denies of this list as far as they decide flows of some boxes: no allow is before."""
        boxes = tuple(boxes)
        allowed: list[Box] = []
        for layer in self.layers:
            if layer.allow:
                allowed += (
                    each for each in layer.perhaps if any(common(each, box) for box in boxes)
                )
                continue
            left = [both for each in layer.surely for box in boxes if (both := common(each, box))]
            for taken in allowed:
                left = [part for piece in left for part in without(piece, taken)]
            if left:
                yield layer._replace(perhaps=(), surely=tuple(left))

    # --- one rule ---------------------------------------------------------------------------------

    def _hidden(self, number: int, layer: Layer) -> Hidden:
        over = {box: self._over(box, self._before[number]) for box in layer.perhaps}
        used: set[int] = set()
        if all(self._left(box, near, used) is None for box, near in over.items()):
            return self._wholly(layer, over, used)
        found: dict[int, Box] = {}
        candidates = {taker for near in over.values() for taker, _ in near}
        for taker in sorted(candidates, key=lambda each: self._rank(each, layer)):
            flow = self._taken(layer.surely, taker)
            if flow is not None:
                found[taker] = flow
            if len(found) > MOST:
                break
        if not found:
            return Hidden("none")
        first, named = next(iter(found)), [*found][:MOST]
        return Hidden("part", tuple(sorted(named)), found[first], more=len(found) > MOST)

    def _wholly(self, layer: Layer, over: Mapping[Box, _Over], used: Collection[int]) -> Hidden:
        """Few of the layers that take everything, each of which takes some of it first."""
        found = self._taking(over, used)
        if not self._cover(over, found):
            found = self._taking(over, {taker for near in over.values() for taker, _ in near})
        for taker in [*found] if len(found) <= _PRUNED else ():
            if len(found) > 1 and self._cover(over, found.keys() - {taker}):
                del found[taker]
        first = min(found, key=lambda each: self._rank(each, layer))
        named = sorted(sorted(found, key=lambda each: self._rank(each, layer))[:MOST])
        return Hidden("whole", tuple(named), found[first], more=len(found) > MOST)

    def _rank(self, taker: int, layer: Layer) -> tuple[bool, int]:
        """What decides otherwise is named first: there something is lost."""
        return self.layers[taker].allow == layer.allow, taker

    def _taking(self, boxes: Collection[Box], takers: Collection[int]) -> dict[int, Box]:
        """Those of some layers that are the first to take some of these boxes."""
        return {
            taker: flow
            for taker in sorted(takers)
            if (flow := self._taken(boxes, taker)) is not None
        }

    def _cover(self, over: Mapping[Box, _Over], some: Collection[int]) -> bool:
        """Whether some layers together take everything."""
        return all(
            self._left(box, [each for each in near if each[0] in some]) is None
            for box, near in over.items()
        )

    def _taken(self, boxes: Iterable[Box], taker: int) -> Box | None:
        """Some flows of these that a layer is the first one to take; None if there are none."""
        lefts = (self._left(piece, over) for piece, over in self._pieces(boxes, taker))
        return next((left for left in lefts if left is not None), None)

    def _pieces(self, boxes: Iterable[Box], taker: int) -> Iterator[tuple[Box, _Over]]:
        """The flows of these boxes in a layer, each part with the earlier boxes over it."""
        for box in boxes:
            for taken in self.layers[taker].surely:
                if (piece := common(box, taken)) is not None:
                    yield piece, self._over(piece, self._before[taker])

    def _over(self, box: Box, before: int) -> _Over:
        """The boxes over one among the first ones of the list; some of these may only be near."""
        near = self._index[box.family].near(box, before)
        self._look(len(near))
        return near

    def _left(self, box: Box, over: _Over, used: set[int] | None = None) -> Box | None:
        """A part of a box that no other takes; None if they take all, and `used` gets which."""
        waiting = [(box, over)]
        while waiting:
            piece, near = waiting.pop()
            self._look(len(near))
            both = [(each, it) for each in near if (it := common(piece, each[1])) is not None]
            if not both:
                if to_itself(piece):
                    continue
                return piece
            # One that takes all of it leaves nothing to cut.
            whole = next((each for each, it in both if it == piece), None)
            taker = whole or both[0][0]
            if used is not None:
                used.add(taker[0])
            if whole is None:
                rest = [each for each, _ in both[1:]]
                waiting += ((part, rest) for part in without(piece, taker[1]))
        return None

    def _look(self, boxes: int) -> None:
        self._looks -= boxes
        if self._looks < 0:
            raise _TooLongError


class _Index:
    """The boxes of one family by where they are: most are a few addresses at one end."""

    def __init__(self, flat: Sequence[tuple[int, Box]], family: Family) -> None:
        self._span = _NARROW[family]
        own = [(at, each) for at, each in enumerate(flat) if each[1].family == family]
        self._local = sorted(
            (each[1].local[0], at, each) for at, each in own if self._is_narrow(each[1].local)
        )
        others = [(at, each) for at, each in own if not self._is_narrow(each[1].local)]
        self._far = sorted(
            (each[1].far[0], at, each) for at, each in others if self._is_narrow(each[1].far)
        )
        self._wide = [(0, at, each) for at, each in others if not self._is_narrow(each[1].far)]

    def near(self, box: Box, before: int) -> _Over:
        """The boxes that may share flows with one, of the first ones of the list, in order."""
        _, local, profiles, far, traffic = box
        first, past, begin, end = local[0], local[-1], far[0], far[-1]
        found = [
            (at, each)
            for some in (
                self._around(self._local, first, past),
                self._around(self._far, begin, end),
                self._wide,
            )
            for _, at, each in some
            if at < before
            and each[1].profiles & profiles
            and each[1].traffic & traffic
            and each[1].local[0] < past
            and first < each[1].local[-1]
            and each[1].far[0] < end
            and begin < each[1].far[-1]
        ]
        return [each for _, each in sorted(found)]

    def _is_narrow(self, bounds: Bounds) -> bool:
        return bounds[-1] - bounds[0] <= self._span

    def _around(
        self, some: Sequence[tuple[int, int, tuple[int, Box]]], first: int, past: int
    ) -> Sequence[tuple[int, int, tuple[int, Box]]]:
        """Those that begin so near that they may reach some addresses."""
        start = bisect_left(some, first - self._span, key=itemgetter(0))
        return some[start : bisect_left(some, past, key=itemgetter(0))]

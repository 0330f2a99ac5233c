"""Find the rules of one list that decide flows: in order, by what they surely match."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from sync.net.addresses import AddressSet
from sync.net.intervals import Bounds, intersection
from sync.verify.firewall_semantics import Action
from sync.verify.packet_space import Box, Entry, Place, common, of_family, outside
from sync.verify.profiles import UnreadableError
from sync.verify.traffic_space import Packet, carries

MOST_CASES: Final = 5_000  # pieces that the flows of one side may fall into


Verdict = Literal["allow", "deny", "unknown"]


class NoAnswerError(Exception):
    """The question has no answer; the message is a clause with the reason."""


class Decider(NamedTuple):
    """A rule that decides a flow, or may: `rule` and its `place` are the firewall's, `where` is
    Calico's, as in `policy[egress 3]`. A `staged` one decides nothing yet. `because` is a
    clause with the reason why it only may, where that is a matter of the packet."""

    action: Action
    rule: str
    place: Place | None = None
    where: str = ""
    staged: bool = False
    because: str = ""


class Passed(NamedTuple):
    """An earlier rule, and a clause with the reason why it does not match."""

    rule: str
    place: Place | None
    where: str
    because: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of one list: `decider` decides, unless an earlier rule in `perhaps` matches.

    `passed` are the rules before it that surely do not match, where they were asked for.
    """

    decider: Decider
    perhaps: tuple[Decider, ...] = ()
    passed: tuple[Passed, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The verdict; `unknown` if it depends on which of the rules matches."""
        found = {each.action for each in (*self.perhaps, self.decider)}
        return self.decider.action if len(found) == 1 else "unknown"


class RuleBoxes(NamedTuple):
    """A rule of a list as boxes: what it surely matches, and what it may match."""

    decider: Decider
    surely: tuple[Box, ...]
    perhaps: tuple[Box, ...]


def decided(rules: Sequence[RuleBoxes], start: Box) -> Iterator[tuple[Box, Judgement]]:
    """The flows of a box by the rules that decide them; the last rule decides all."""
    left: list[tuple[Box, tuple[Decider, ...]]] = [(start, ())]
    for rule in rules:
        ahead: list[tuple[Box, tuple[Decider, ...]]] = []
        for piece, perhaps in left:
            for both in _both(piece, rule.surely):
                yield both, Judgement(rule.decider, perhaps)
            for rest in outside(piece, rule.surely):
                ahead += [(each, (*perhaps, rule.decider)) for each in _both(rest, rule.perhaps)]
                ahead += [(each, perhaps) for each in outside(rest, rule.perhaps)]
        left = ahead
        if len(left) > MOST_CASES:
            raise too_many()
    if left:
        raise UnreadableError("a list ends before every flow is decided")


def _both(piece: Box, boxes: Sequence[Box]) -> Iterator[Box]:
    """The parts of a piece in some disjoint boxes."""
    return (both for each in boxes if (both := common(piece, each)) is not None)


def boxes_of(entry: Entry, start: Box, packet: Packet) -> tuple[Box, ...]:
    """What an entry matches of a box."""
    if start.family not in entry.families or not carries(entry.traffic, packet):
        return ()
    local = intersection(of_family(entry.local, start.family), start.local)
    if not local:
        return ()
    # A profile is in one end at most.
    fars: Iterator[Bounds] = (
        intersection(of_family(addresses, start.family), start.far)
        for bits, addresses in entry.far
        if bits & start.profiles
    )
    return tuple(start._replace(local=local, far=far) for far in fars if far)


def apart(entry: Entry, box: Box, packet: Packet) -> str:
    """Why a rule of Calico's does not match."""
    if box.family not in entry.families or not carries(entry.traffic, packet):
        return "is for other protocols or ports"
    if not intersection(of_family(entry.local, box.family), box.local):
        return "is for other addresses of the pod"
    return "is for other far ends"


def too_many() -> NoAnswerError:
    return NoAnswerError(
        f"the flows between these ends fall into more than {MOST_CASES:,} cases; "
        "give an address at both ends"
    )


def together(boxes: Sequence[Box]) -> Iterator[tuple[AddressSet, AddressSet]]:
    """The addresses of boxes, in fewer pairs where either side is the same."""
    pairs = [(_addresses(box, box.local), _addresses(box, box.far)) for box in boxes]
    for side in (0, 1):
        alike: dict[AddressSet, list[AddressSet]] = {}
        for pair in pairs:
            alike.setdefault(pair[side], []).append(pair[1 - side])
        united = [(same, AddressSet.union(others)) for same, others in alike.items()]
        pairs = [pair if side == 0 else (pair[1], pair[0]) for pair in united]
    yield from pairs


def _addresses(box: Box, bounds: Bounds) -> AddressSet:
    return AddressSet(v4=bounds) if box.family == 4 else AddressSet(v6=bounds)

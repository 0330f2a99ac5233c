"""In which order the chains of several tiers are written.

Every tier has to pass a flow. Where a deny moves from one tier to another, the tier that newly
denies goes before the one that newly passes; else the flow is allowed in between, denied as it is
before and after.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sync.plan.changes import Change
from sync.plan.references import mapping
from sync.plan.selections import ChainKey

Event = tuple[ChainKey, bool]
"""A chain, and whether its new policies are written (False) or its old ones removed (True)."""


@dataclass(frozen=True, slots=True)
class Precedence:
    """`first` newly denies flows that `then` newly passes, and has to be written before it.

    `flow` is one of them in words, and `size` says how many there are: the bits of their number.
    """

    first: ChainKey
    then: ChainKey
    size: int
    flow: str


def arranged(
    written: Mapping[ChainKey, Sequence[Change]],
    removed: Mapping[ChainKey, Sequence[Change]],
    precedence: Sequence[Precedence],
) -> tuple[list[list[Event]], list[list[Event]], tuple[Precedence, ...]]:
    """Put chains in an order: what happens one after the other, each entry side by side.

    `written` are the new policies of each chain and `removed` the old ones. The second list is what
    is left to be removed when all is written. Chains that would each have to go before the other
    have no order: what is least of that is left out, and comes back last.
    """
    events = [(chain, False) for chain in written] + [(chain, True) for chain in removed]
    waits: dict[Event, set[Event]] = {event: set() for event in events}
    for chain in written.keys() & removed.keys():
        waits[chain, True].add((chain, False))
    for chain in removed:
        if not _same_pods(written.get(chain, ()), removed[chain]):
            # Its pods go to other chains, or to what stands behind all chains.
            waits[chain, True] |= {event for event in events if not event[1]}
    # All that an event waits for, directly or not, and itself: a bit each.
    bits = {event: 1 << number for number, event in enumerate(events)}
    behind = {event: bits[event] | sum(bits[each] for each in waits[event]) for event in events}
    unordered: list[Precedence] = []
    for each in sorted(precedence, key=lambda each: (-each.size, each.first, each.then)):
        if not {each.first, each.then} <= written.keys() | removed.keys():
            continue
        first = _effects(each.first, written, removed)[-1]
        then = _effects(each.then, written, removed)[0]
        if behind[first] & bits[then]:
            unordered.append(each)
            continue
        waits[then].add(first)
        if not behind[then] & bits[first]:
            for event, found in behind.items():
                if found & bits[then]:
                    behind[event] = found | behind[first]
    return *_layers(waits), tuple(unordered)


def _effects(
    chain: ChainKey,
    written: Mapping[ChainKey, Sequence[Change]],
    removed: Mapping[ChainKey, Sequence[Change]],
) -> list[Event]:
    """When a chain's verdicts change, first and last: as it is written, or as the old one goes."""
    new, old = written.get(chain), removed.get(chain)
    if not new or not old:
        return [(chain, not new)]
    if not _same_pods(new, old):
        return [(chain, False), (chain, True)]
    in_front = max(each.place.order for each in old) < min(each.place.order for each in new)
    return [(chain, in_front)]


def _same_pods(new: Sequence[Change], old: Sequence[Change]) -> bool:
    """Whether the old policies of a chain and the new ones select the same pods."""
    return bool(new) and len({_selector(change) for change in (*new, *old)}) == 1


def _selector(change: Change) -> str:
    side = change.after or change.before
    assert side is not None
    return str(mapping(side.document(), "spec").get("selector"))


def _layers(waits: Mapping[Event, set[Event]]) -> tuple[list[list[Event]], list[list[Event]]]:
    """What may happen side by side, as soon as all that it waits for has happened.

    Old policies are removed when all new ones stand, but for those that a new one waits for.
    """
    left = dict(waits)
    found: tuple[list[list[Event]], list[list[Event]]] = ([], [])
    while left:
        free = sorted(event for event, before in left.items() if before.isdisjoint(left))
        writing = any(not removes for _, removes in left)
        needed = _behind((event for event in left if not event[1]), left)
        now = [event for event in free if not event[1]] or [
            event for event in free if not writing or event in needed
        ]
        found[not writing].append(now)
        for event in now:
            del left[event]
    return found


def _behind(events: Iterable[Event], waits: Mapping[Event, set[Event]]) -> set[Event]:
    """All that some events wait for, directly or not."""
    found: set[Event] = set()
    following = [*events]
    while following:
        for event in waits[following.pop()] & waits.keys():
            if event not in found:
                found.add(event)
                following.append(event)
    return found

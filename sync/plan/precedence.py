"""The order in which the chains of several tiers are written.

A flow is allowed only if every tier passes it. Where a deny moves from one tier to another, the
tier that newly denies is written before the one that newly passes. Otherwise a flow that is denied
before and after would be allowed in between.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sync.plan.changes import Change
from sync.plan.selections import ChainKey

Event = tuple[ChainKey, bool]
"""A chain, and whether its new policies are written (False) or its old ones removed (True)."""


@dataclass(frozen=True, slots=True)
class Precedence:
    """`first` newly denies flows that `then` newly passes, and has to be written before it.

    `flow` describes one of these flows; `size` is the number of bits of their count.
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
    """Order chains: a list of steps, each of events that may happen concurrently.

    `written` are the new policies of each chain and `removed` the old ones. The second list has the
    removals that remain when everything is written. Chains that would each have to come first have
    no order: the smallest such requirements are dropped, and returned last.
    """
    events = [(chain, False) for chain in written] + [(chain, True) for chain in removed]
    waits: dict[Event, set[Event]] = {event: set() for event in events}
    for chain in written.keys() & removed.keys():
        waits[chain, True].add((chain, False))
    moving = {chain for chain in removed if not _same_pods(written.get(chain, ()), removed[chain])}
    for chain in moving:
        # Its pods move to other chains of its tier, or to the policies behind all chains.
        waits[chain, True] |= {(each, False) for each in written if each[:2] == chain[:2]}
    # Every event that an event waits for, directly or not, and itself: one bit each.
    bits = {event: 1 << number for number, event in enumerate(events)}
    behind = {event: bits[event] | sum(bits[each] for each in waits[event]) for event in events}
    unordered: list[Precedence] = []
    for each in sorted(precedence, key=lambda each: (-each.size, each.first, each.then)):
        if not {each.first, each.then} <= written.keys() | removed.keys():
            continue
        first = _denying(each.first, written, removed, moving)
        then = _passing(each.then, written, removed)
        ahead = 0
        for event in first:
            ahead |= behind[event]
        if ahead & bits[then]:
            unordered.append(each)
            continue
        waits[then] |= first
        if ahead & ~behind[then]:
            for event, found in behind.items():
                if found & bits[then]:
                    behind[event] = found | ahead
    return *_layers(waits), tuple(unordered)


def _passing(
    chain: ChainKey,
    written: Mapping[ChainKey, Sequence[Change]],
    removed: Mapping[ChainKey, Sequence[Change]],
) -> Event:
    """When a chain first passes what it denied: when it is written, or the old one is removed."""
    new, old = written.get(chain), removed.get(chain)
    in_front = bool(new and old and _same_pods(new, old) and _is_before(old, new))
    return chain, in_front or not new


def _denying(
    chain: ChainKey,
    written: Mapping[ChainKey, Sequence[Change]],
    removed: Mapping[ChainKey, Sequence[Change]],
    moving: Collection[ChainKey],
) -> set[Event]:
    """The events after which a chain denies everything that it newly denies."""
    new, old = written.get(chain), removed.get(chain)
    found = {(chain, False)} if new else set()
    if old and (not new or _is_before(old, new)):
        found.add((chain, True))
    if not (new and old and _same_pods(new, old)):
        # Its pods may still be another chain's.
        found |= {(each, True) for each in moving if each[:2] == chain[:2]}
    return found


def _is_before(old: Sequence[Change], new: Sequence[Change]) -> bool:
    """Whether old policies of a chain come before the new ones, and decide until removed."""
    return max(each.place.order for each in old) < min(each.place.order for each in new)


def _same_pods(new: Sequence[Change], old: Sequence[Change]) -> bool:
    """Whether the old policies of a chain and the new ones select the same pods."""
    return bool(new) and len({_selector(change) for change in (*new, *old)}) == 1


def _selector(change: Change) -> str:
    return change.sides[-1].contents.selector


def _layers(waits: Mapping[Event, set[Event]]) -> tuple[list[list[Event]], list[list[Event]]]:
    """Group events that may happen concurrently, each after everything that it waits for.

    Old policies are removed after all new ones are written, except those that a new one waits for.
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
    """Every event that some events wait for, directly or not."""
    found: set[Event] = set()
    following = [*events]
    while following:
        for event in waits[following.pop()] & waits.keys():
            if event not in found:
                found.add(event)
                following.append(event)
    return found

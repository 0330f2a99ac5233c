"""Find which tier has to change first when a deny moves from one tier of a cluster to another.

current policies, desired policies  ->  what each tier newly denies, what it newly passes
                                       ->  the flows that one newly denies and another newly passes

A flow has to pass every tier at both of its ends. If a tier that denies it goes on to do so, or two
tiers agree at one end, the order of the others does not matter.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

from sync.firewall.services import Traffic
from sync.net.addresses import EVERYWHERE, AddressSet
from sync.net.intervals import Bounds, to_ranges
from sync.options import ZoneOptions
from sync.verify.calico_documents import STAGED
from sync.verify.calico_semantics import DIRECTIONS, Direction, Policies
from sync.verify.compare import Pods, RuleLists, Witness
from sync.verify.packet_space import FAMILIES, WHOLE, Box, Entry, TrafficSpace, common, outside
from sync.verify.profiles import Profiles, UnreadableError

_Place = tuple[str, str, Direction]
"""A tier, a zone, and a direction of its pods' flows."""


_Bounds = tuple[tuple[Entry, ...], tuple[Entry, ...]]
"""The flows that a place may allow at most, and may deny at most. They differ if labels count that
no zone defines, as those of pods that a definition moves to another zone."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Flows that one chain newly denies and one of another tier newly passes.

    Chains are (tier, zone). `flow` is one of these flows, None where the observed policies cannot
    be judged, so that any flow may be one; `size` is the number of bits of their number.
    """

    denies: tuple[str, str]
    passes: tuple[str, str]
    size: int
    flow: Witness | None


@dataclass(frozen=True, slots=True)
class _Moved:
    """The flows of a zone's pods that a tier newly denies and newly passes in one direction.

    Without `lists` it could not be found out: then it is everything.
    """

    denied: tuple[Box, ...]
    passed: tuple[Box, ...]
    lists: RuleLists | None

    @property
    def judged(self) -> bool:
        return self.lists is not None


def meetings(
    standing: Sequence[Mapping[str, Any]],
    desired: Sequence[Mapping[str, Any]],
    zones: Iterable[str],
    options: ZoneOptions,
    pods: AddressSet | None,
) -> list[Meeting]:
    """Find which chains of several tiers have to be written one before the other.

    `standing` and `desired` are all sets, tiers and policies of ours, before and after; `pods` hold
    every pod, None: that is not known. Staged policies decide nothing.
    """
    profiles = Profiles(zones, options)
    before, after = (_Said(documents, profiles) for documents in (standing, desired))
    tiers = sorted(before.tiers | after.tiers)
    places = product(tiers, profiles.zones, DIRECTIONS)
    said = {place: (before.at(place), after.at(place)) for place in places if len(tiers) > 1}
    changed = {
        place: sides for place, sides in said.items() if None in sides or sides[0] != sides[1]
    }
    spoken = {
        traffic
        for sides in changed.values()
        for bounds in sides
        for entries in bounds or ()
        for entry in entries
        for traffic in entry.traffic
    }
    space, held = TrafficSpace(spoken), Pods(profiles, pods)
    moved = {place: _moved(place, lists, profiles, held, space) for place, lists in changed.items()}
    found: dict[tuple[tuple[str, str], tuple[str, str]], Meeting] = {}
    denying = [place for place, each in moved.items() if each.denied]
    passing = [place for place, each in moved.items() if each.passed]
    for denies, passes in product(denying, passing):
        if denies[0] == passes[0]:
            continue
        pieces = _met(denies, passes, moved, profiles)
        if pieces:
            judged = moved[denies].judged and moved[passes].judged
            lists = moved[passes].lists
            flow = lists.witness(pieces[0]) if judged and lists else None
            meeting = Meeting(denies[:2], passes[:2], _size(pieces), flow)
            pair = (meeting.denies, meeting.passes)
            if pair not in found or found[pair].size < meeting.size:
                found[pair] = meeting
    return [found[pair] for pair in sorted(found)]


class _Said:
    """The verdicts of enforced policies, tier by tier."""

    def __init__(self, documents: Sequence[Mapping[str, Any]], profiles: Profiles) -> None:
        self._profiles = profiles
        enforced = [each for each in documents if each["kind"] != STAGED]
        self.tiers = {
            str(each["metadata"]["name"] if each["kind"] == "Tier" else each["spec"].get("tier"))
            for each in enforced
            if each["kind"] in ("Tier", "GlobalNetworkPolicy")
        }
        self._policies: dict[str, Policies | None] = {}
        for tier in self.tiers:
            try:
                # Whether what it allows skips later tiers is nothing to what it denies.
                self._policies[tier] = Policies(tier, enforced, profiles, last=True)
            except UnreadableError:
                self._policies[tier] = None

    def at(self, place: _Place) -> _Bounds | None:
        """The rules that apply to pods of a zone; None if they cannot be judged."""
        tier, zone, direction = place
        everyone = ((self._profiles.everyone, EVERYWHERE),)
        nothing = Entry(EVERYWHERE, everyone, (Traffic(),), "allow", "")
        if tier not in self.tiers:
            return (nothing,), (nothing,)
        policies = self._policies[tier]
        if policies is None:
            return None
        allowing: list[Entry] = []
        denying: list[Entry] = []
        selecting = [*policies.selecting(self._profiles.zones[zone], direction)]
        try:
            for policy in selecting:
                for surely, perhaps in policies.bounds(policy, direction):
                    for entries, action in ((allowing, "allow"), (denying, "deny")):
                        grows = perhaps is not None and perhaps.action == action
                        found = perhaps if grows else surely if policy.surely else None
                        entries += [found] if found else []
        except UnreadableError:
            return None
        surely_selected = any(policy.surely for policy in selecting)
        return (
            (*allowing, policies.default if surely_selected else nothing),
            (*denying, policies.default if selecting else nothing),
        )


def _moved(
    place: _Place,
    sides: tuple[_Bounds | None, _Bounds | None],
    profiles: Profiles,
    pods: Pods,
    space: TrafficSpace,
) -> _Moved:
    """What changes at a place."""
    _, zone, direction = place
    before, after = sides

    def compared(one: Sequence[Entry], other: Sequence[Entry]) -> RuleLists:
        return RuleLists(f"a pod of zone {zone}", direction, one, other, profiles, pods, space)

    if before is not None and after is not None:
        (allowed_before, denied_before), (allowed_after, denied_after) = before, after
        passing = compared(denied_before, allowed_after)
        denying = compared(allowed_before, denied_after)
        with suppress(UnreadableError):
            return _Moved(
                tuple(piece for piece, _, action in denying.apart() if action == "deny"),
                tuple(piece for piece, action, _ in passing.apart() if action == "deny"),
                passing,
            )
    everything = tuple(
        Box(family, WHOLE[family], profiles.everyone, WHOLE[family], space.everything[family])
        for family in FAMILIES
    )
    return _Moved(everything, everything, None)


def _met(
    denies: _Place, passes: _Place, moved: Mapping[_Place, _Moved], profiles: Profiles
) -> list[Box]:
    """The flows that the first place newly denies and the second one newly passes.

    They are as the pods of the second one see them. Flows of which the two tiers judge the same end
    too are left to the order of their chains there.
    """
    (tier, zone, direction), (other_tier, other, other_direction) = denies, passes
    denied, passed = moved[denies].denied, moved[passes].passed
    if direction == other_direction:
        return _common(denied, passed) if zone == other else []
    bit, other_bit = profiles.zones[zone], profiles.zones[other]
    met = _common(_turned(denied, bit, other_bit), passed)
    at_zone = _turned(_passed(moved.get((other_tier, zone, direction))), bit, other_bit)
    same_end = [*_denied(moved.get((tier, other, other_direction))), *at_zone]
    return [left for box in met for left in outside(box, same_end)]


def _denied(moved: _Moved | None) -> tuple[Box, ...]:
    return moved.denied if moved and moved.judged else ()


def _passed(moved: _Moved | None) -> tuple[Box, ...]:
    return moved.passed if moved and moved.judged else ()


def _turned(boxes: Iterable[Box], near: int, far: int) -> list[Box]:
    """Flows between pods of two profiles, as the far ones see them."""
    return [
        box._replace(local=box.far, profiles=near, far=box.local)
        for box in boxes
        if box.profiles & far
    ]


def _common(left: Sequence[Box], right: Sequence[Box]) -> list[Box]:
    return [both for one in left for other in right if (both := common(one, other))]


def _size(boxes: Iterable[Box]) -> int:
    """The number of bits of the count of these flows; a piece of traffic counts once."""
    return sum(
        _count(box.local) * _count(box.far) * box.profiles.bit_count() * box.traffic.bit_count()
        for box in boxes
    ).bit_length()


def _count(bounds: Bounds) -> int:
    return sum(past - first for first, past in to_ranges(bounds))

"""Find the flows that become allowed, and those that become denied, between two states of policies.

    both states' selectors      ->  kinds of pods (`sync.verify.pod_kinds`)
    each tier, end, kind        ->  the rules before and after; those that differ, flow by flow
    what one of them changes    ->  as far as all others on the way of these flows allow it
                                ->  few boxes, in names (`sync.verify.flow_boxes`)

A flow has to pass every tier at both of its ends. It is of the first place on its way that changes
its verdict, so no flow is found twice. A staged policy counts as if it were enforced.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sync.firewall.services import Traffic
from sync.net.addresses import EVERYWHERE, AddressSet
from sync.options import ZoneOptions
from sync.verify.calico_semantics import DIRECTIONS, Direction, Policies
from sync.verify.compare import Pods, RuleLists
from sync.verify.flow_boxes import FlowBox, joined, received, sent, size_of, turned
from sync.verify.flow_names import FlowNames, Flows
from sync.verify.packet_space import Box, Entry, Family, outside
from sync.verify.pod_kinds import Zoning, pod_kinds
from sync.verify.profiles import Profiles, UnreadableError
from sync.verify.traffic_space import TrafficSpace

_MOST: Final = 5_000  # boxes of what changes at one place
LOOKS: Final = 4_000_000  # at a box beside another one, for all places

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FlowChanges:
    """The flows that become `allowed` and `denied`, the largest part first.

    `unknown` has a clause for each part that could not be judged: then flows may be missing.
    """

    allowed: tuple[Flows, ...] = ()
    denied: tuple[Flows, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether surely no flow changes."""
        return not (self.allowed or self.denied or self.unknown)


@dataclass(frozen=True, slots=True)
class ChangedFlows:
    """What a plan changes: by the policies that are `enforced`, and once those that are staged are.

    `staged` is None where none of our policies is. `notes` are sentences on what is not judged as
    it will be.
    """

    enforced: FlowChanges
    staged: FlowChanges | None = None
    notes: tuple[str, ...] = ()


class _Place(NamedTuple):
    """Where flows are judged: a tier, and the pods of some profiles as senders or receivers."""

    tier: str
    direction: Direction
    pods: int


_Rules = tuple[Entry, ...]


def changed_flows(
    before: Sequence[Document],
    after: Sequence[Document],
    zoning: Zoning,
    pods: AddressSet | None,
) -> FlowChanges:
    """Compare the verdicts of two states on all flows of pods.

    Both have all sets, and the tiers of ours with all policies in them; policies that decide
    nothing are not among them. `zoning` names the zones of pods. `pods` hold every pod; None: any
    address may be one's.
    """
    try:
        return _Comparison(before, after, zoning, pods).changes()
    except UnreadableError as error:
        return FlowChanges(unknown=(str(error),))


class _Comparison:
    """Two states, and the lists of rules of each place in both."""

    def __init__(
        self,
        before: Sequence[Document],
        after: Sequence[Document],
        zoning: Zoning,
        pods: AddressSet | None,
    ) -> None:
        self._kinds = pod_kinds([*before, *after], zoning)
        labels = [kind.labels[0] for kind in self._kinds.kinds]
        # Zones say nothing here: of every kind of pods all labels are known.
        self._profiles = Profiles((), ZoneOptions(), labels)
        self._mask = sum(self._profiles.known) | self._profiles.no_pod
        self._addresses = Pods(self._profiles, pods)
        self._within = pods
        self._tiers, states = self._read(before, after)
        self._pods = [*self._alike(states)]
        self._rules = {
            place: (
                self._said(states[place.tier][0], place),
                self._said(states[place.tier][1], place),
            )
            for place in self._places()
        }
        spoken = {
            traffic
            for sides in self._rules.values()
            for rules in sides
            for entry in rules
            for traffic in entry.traffic
        }
        self._space = TrafficSpace(spoken)
        self._lists: dict[_Place, RuleLists] = {}
        self._looks = 0
        self._changed = [place for place, (old, new) in self._rules.items() if old != new]

    def _read(
        self, before: Sequence[Document], after: Sequence[Document]
    ) -> tuple[list[str], dict[str, tuple[Policies, Policies]]]:
        """The tiers of both states, and their policies."""
        named = sorted(
            {
                each["metadata"]["name"] if each["kind"] == "Tier" else each["spec"]["tier"]
                for each in (*before, *after)
                if each["kind"] != "GlobalNetworkSet"
            }
        )
        # Whether what it allows skips later tiers is nothing to what it denies: what does is not
        # among the documents.
        states = {
            tier: (
                Policies(tier, before, self._profiles, last=True),
                Policies(tier, after, self._profiles, last=True),
            )
            for tier in named
        }
        return named, states

    def _alike(self, states: Mapping[str, tuple[Policies, Policies]]) -> Iterator[int]:
        """The profiles of pods, those together that the same policies select."""
        found: dict[tuple[object, ...], int] = {}
        for bit in self._profiles.known:
            selecting = tuple(
                (tier, number, direction, each.document["kind"], each.name)
                for tier, sides in states.items()
                for number, policies in enumerate(sides)
                for direction in DIRECTIONS
                for each in policies.selecting(bit, direction)
            )
            found[selecting] = found.get(selecting, 0) | bit
        yield from found.values()

    def _places(self) -> Iterator[_Place]:
        for direction in DIRECTIONS:
            for tier in self._tiers:
                for pods in self._pods:
                    yield _Place(tier, direction, pods)

    def _said(self, policies: Policies, place: _Place) -> _Rules:
        """The rules of a place in one state, without names: each is named by what it says."""
        bit = place.pods & -place.pods
        said = policies.said_to(bit, place.direction, frozenset())
        if said is None:
            everyone = ((self._mask, EVERYWHERE),)
            return (Entry(EVERYWHERE, everyone, (Traffic(),), "allow", ""),)
        found = []
        for entry in said:
            far = tuple((bits & self._mask, held) for bits, held in entry.far if bits & self._mask)
            if far:
                name = hash((entry.local, far, entry.traffic, entry.families))
                bare = entry._replace(far=far, rule=f"{name:x}", where="", rough=False)
                found.append(bare)
        return tuple(found)

    def changes(self) -> FlowChanges:
        """What becomes allowed and denied, as flows with names."""
        unknown: list[str] = []
        found: dict[bool, list[tuple[Family, Any]]] = {True: [], False: []}
        names = FlowNames(self._kinds, self._profiles, self._space, self._within)
        for place in self._changed:
            try:
                changed = self._apart(place)
                for opens, boxes in changed.items():
                    found[opens] += [*self._through(place, boxes, opens=opens)]
            except UnreadableError as error:
                who = names.pods(place.pods)
                unknown.append(f"{place.direction} of {who} in tier {place.tier}: {error}")
        allowed, denied = (joined(found[opens], self._space) for opens in (True, False))
        return FlowChanges(
            tuple(map(names.said, sorted(allowed, key=_largest))),
            tuple(map(names.said, sorted(denied, key=_largest))),
            tuple(unknown),
        )

    def _list(self, place: _Place) -> RuleLists:
        if place not in self._lists:
            before, after = self._rules[place]
            self._lists[place] = RuleLists(
                "", place.direction, before, after, self._profiles, self._addresses, self._space
            )
        return self._lists[place]

    def _require_room(self) -> None:
        """Require that all that is compared together stays within bounds."""
        if self._looks + sum(each.looks for each in self._lists.values()) > LOOKS:
            raise UnreadableError(f"it would take more than {LOOKS:,} looks, with all before it")

    def _apart(self, place: _Place) -> dict[bool, list[Box]]:
        """The flows that a place begins to allow (True) and to deny, none of them twice."""
        self._require_room()
        found: dict[bool, list[Box]] = {True: [], False: []}
        for piece, _, action in self._list(place).apart():
            some = found[action == "allow"]
            self._looks += len(some)
            some += outside(piece, some)
            if len(some) > _MOST:
                raise UnreadableError(f"its flows change in more than {_MOST:,} parts")
        return found

    def _through(
        self, place: _Place, boxes: Sequence[Box], *, opens: bool
    ) -> Iterator[tuple[Family, Any]]:
        """Those of the flows that all other places on their way let through.

        That is after the change where they are allowed then, else before it. Places in front of
        this one let them through before and after, or the flows would be theirs.
        """
        send = place.direction == "egress"
        for tier in self._tiers:
            if tier != place.tier:
                other = place._replace(tier=tier)
                boxes = self._let(other, boxes, opens=opens, earlier=tier < place.tier)
        no_pod = self._profiles.no_pod
        pods = place.pods
        turn = sent if send else received
        for box in boxes:
            if bits := box.profiles & no_pod:
                yield turn(box._replace(profiles=bits), pods)
            for far in self._pods:
                if not (bits := box.profiles & far):
                    continue
                some = [turned(box._replace(profiles=bits), pods)]
                for tier in self._tiers:
                    other = _Place(tier, "ingress" if send else "egress", far)
                    some = self._let(other, some, opens=opens, earlier=not send)
                for each in some:
                    # The far end's profiles are those of this box still.
                    yield turn(turned(each, bits), each.profiles)

    def _let(self, place: _Place, boxes: Sequence[Box], *, opens: bool, earlier: bool) -> list[Box]:
        """The flows that a place lets through."""
        if not boxes:
            return []
        self._require_room()
        lists = self._list(place)
        found = lists.allowed(boxes, second=opens)
        if earlier and self._rules[place][0] != self._rules[place][1]:
            found = lists.allowed(found, second=not opens)
        return found


def _largest(box: FlowBox) -> tuple[object, ...]:
    v4, v6 = size_of(box)
    ends = (
        (bits, held.v4, held.v6) for side in (box.source, box.destination) for bits, held in side
    )
    return -v4, -v6, box.traffic, tuple(ends)

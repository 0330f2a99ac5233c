"""The proof that written policies allow no flow that the firewall denies, over all flows.

    rulebase of a device group  ->  what it decides for a zone's pods, in order
    policies of its tier        ->  what they decide for these pods, in order
    both, aligned               ->  where they differ, folded exactly

Two lists that agree rule by rule agree on every flow; so the lists are aligned, by the names that
Calico's rules carry, and only what lies between rules that are the same is looked at flow by flow.
The names are a hint: what is aligned wrongly differs, and is looked at.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import groupby, islice
from typing import Any, Final, Literal, NamedTuple

from sync.firewall.services import Traffic
from sync.net.addresses import EVERYWHERE, AddressSet, network
from sync.net.intervals import Bounds, from_ranges, intersection, to_ranges
from sync.options import RuleOptions, ZoneOptions
from sync.verify.boxes import (
    FAMILIES,
    Box,
    Ends,
    Entry,
    Family,
    Packet,
    Place,
    TrafficSpace,
    common,
    without,
)
from sync.verify.essentials import essential_policies
from sync.verify.places import (
    DeviceGroup,
    Profiles,
    UnreadableError,
    networks_of,
    zones_named,
)
from sync.verify.policies import Direction, Policies
from sync.verify.rulebase import Rulebase

_DIRECTIONS: Final[tuple[Direction, Direction]] = ("egress", "ingress")
_LOOKS: Final = 1_000_000  # at a box beside another one, for one list; past that nothing is said
_SHOWN: Final = 20  # differences of one list


# No packet has an IPv4-mapped address (RFC 4291, section 2.5.5.2), and Calico reads them as IPv4.
_ON_THE_WIRE: Final = EVERYWHERE - network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the proof takes for given: the settings of a cluster.

    `pods` hold every pod of the cluster, None: that is not known.
    """

    rules: RuleOptions = field(default_factory=RuleOptions)
    zones: ZoneOptions = field(default_factory=ZoneOptions)
    pods: AddressSet | None = None
    registered_known: bool = True


@dataclass(frozen=True, slots=True)
class Witness:
    """One flow: the addresses as (family, number), who is at each end, and the packet."""

    direction: Direction
    local: str
    local_address: tuple[int, int]
    far: str
    far_address: tuple[int, int]
    packet: Packet


@dataclass(frozen=True, slots=True)
class Difference:
    """A flow that the firewall and the cluster judge differently, and the rules that decide it.

    `firewall` and `calico` are `allow` or `deny`; `rule` is the firewall's rule or default, `where`
    the Calico rule. What the cluster allows and the firewall denies breaks the first promise.
    """

    tier: str
    firewall: str
    rule: str
    calico: str
    where: str
    says: str
    flow: Witness


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven of one cluster.

    `allowed` are flows that the cluster allows and the firewall denies, `denied` those that the
    cluster denies though the firewall's list allows them. `undecided` has a clause for each part
    that was not proven; `lists` counts those that were, `rules` the Calico rules in them. `inexact`
    are the rules that Calico cannot say as they are on the firewall; `samples` has a flow of each
    of them that is an allow.
    """

    allowed: tuple[Difference, ...] = ()
    denied: tuple[Difference, ...] = ()
    undecided: tuple[str, ...] = ()
    lists: int = 0
    rules: int = 0
    inexact: frozenset[Place] = frozenset()
    samples: Mapping[Place, Witness] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every flow gets the firewall's verdict."""
        return not (self.allowed or self.denied or self.undecided)


def prove(
    groups: Sequence[DeviceGroup], documents: Sequence[Mapping[str, Any]], settings: Settings
) -> Proof:
    """Hold what is written, or shall be, against the rulebases of a cluster's device groups.

    `documents` are all sets, tiers and policies of ours in the cluster.
    """
    named = {group.tier: zones_named(group) for group in groups}
    every = frozenset(settings.zones.definitions).union(*named.values())
    proofs = []
    for group in groups:
        others = (zones for tier, zones in named.items() if tier != group.tier)
        elsewhere = frozenset[str]().union(*others)
        try:
            profiles = Profiles(every, settings.zones)
            proofs.append(_Tier(group, elsewhere, documents, profiles, settings).proof())
        except UnreadableError as error:
            proofs.append(Proof(undecided=(f"tier {group.tier}: {error}",)))
    return merged(proofs)


class _Tier:
    """The tier of one device group."""

    def __init__(
        self,
        group: DeviceGroup,
        elsewhere: frozenset[str],
        documents: Sequence[Mapping[str, Any]],
        profiles: Profiles,
        settings: Settings,
    ) -> None:
        self._group = group
        self._elsewhere = elsewhere
        self._profiles = profiles
        networks = networks_of(group, settings.zones, elsewhere - zones_named(group))
        self._rulebase = Rulebase(
            group,
            networks,
            profiles,
            settings.rules,
            settings.zones,
            registered_known=settings.registered_known,
        )
        self._policies = Policies(group.tier, documents, profiles)
        self._pods = _Pods(profiles, settings.pods)
        self._essentials = essential_policies(group.tier, documents, settings.zones.essentials)

    def proof(self) -> Proof:
        """Every profile's two lists, each way."""
        own = zones_named(self._group)
        profiles = self._profiles
        proofs = []
        for zone, bit in profiles.zones.items():
            if zone not in own and zone not in self._elsewhere:
                continue  # no rulebase is about it
            for direction in _DIRECTIONS:
                wanted = [self._everything("allow", "a zone of other device groups")]
                if zone in own:
                    wanted = [*self._rulebase.decided(zone, direction)]
                said = self._policies.said_to(bit, direction, self._essentials)
                proofs.append(self._compared(f"a pod of zone {zone}", direction, wanted, said))
        others: tuple[tuple[int, Literal["allow", "deny"]], ...] = (
            (profiles.unknown_label, "deny"),
            (profiles.unzoned, "allow"),
        )
        for bit, action in others:
            (who,) = profiles.names(bit)
            for direction in _DIRECTIONS:
                said = self._policies.said_to(bit, direction, frozenset())
                wanted = [self._everything(action, who)]
                proofs.append(self._compared(who, direction, wanted, said))
        inexact = frozenset(
            self._rulebase.place(meant) for meant in self._rulebase.meant if not meant.exact
        )
        return merged([*proofs, Proof(inexact=inexact)])

    def _everything(self, action: Literal["allow", "deny"], why: str) -> Entry:
        everyone: Ends = ((self._profiles.everyone, EVERYWHERE),)
        return Entry(EVERYWHERE, everyone, (Traffic(),), action, why)

    def _compared(
        self, who: str, direction: Direction, wanted: Sequence[Entry], said: Sequence[Entry] | None
    ) -> Proof:
        if said is None:
            said = [self._everything("allow", "")._replace(where="no policy selects these pods")]
        pair = _Pair(self._group.tier, who, direction, wanted, said, self._profiles, self._pods)
        return pair.proof()


def merged(proofs: Sequence[Proof]) -> Proof:
    """Several proofs as one."""
    return Proof(
        allowed=tuple(each for proof in proofs for each in proof.allowed),
        denied=tuple(each for proof in proofs for each in proof.denied),
        undecided=tuple(each for proof in proofs for each in proof.undecided),
        lists=sum(proof.lists for proof in proofs),
        rules=sum(proof.rules for proof in proofs),
        inexact=frozenset().union(*(proof.inexact for proof in proofs)),
        samples={place: flow for proof in proofs for place, flow in proof.samples.items()},
    )


class _Row(NamedTuple):
    """Entries that stand for one rule, in one action: what they match, as boxes."""

    hint: tuple[str, str]
    entry: Entry
    boxes: tuple[Box, ...]


class _TooManyError(Exception):
    """More would have to be looked at than is."""


class _Pair:
    """What the firewall and what the policies decide for one profile's pods in one direction."""

    def __init__(
        self,
        tier: str,
        who: str,
        direction: Direction,
        wanted: Sequence[Entry],
        said: Sequence[Entry],
        profiles: Profiles,
        pods: "_Pods",
    ) -> None:
        self._tier = tier
        self._who = who
        self._direction = direction
        self._profiles = profiles
        self._pods = pods
        self._looks = 0
        self._rules = len(said)
        self._space = TrafficSpace({each for entry in (*wanted, *said) for each in entry.traffic})
        self._wanted = [*self._rows(wanted)]
        self._said = [*self._rows(said)]

    def proof(self) -> Proof:
        """Where the two differ."""
        found: list[Difference] = []
        undecided: tuple[str, ...] = ()
        try:
            for first, second in self._gaps():
                for piece, wanted, said in islice(self._apart(first, second), _SHOWN):
                    found.append(self._difference(piece, wanted, said))
        except _TooManyError:
            because = f"it would take more than {_LOOKS:,} looks at two boxes"
            undecided = (f"tier {self._tier}, {self._direction} of {self._who}: {because}",)
        unknown = [each for each in found if not each.calico]
        undecided += tuple(f"tier {self._tier}: {each.where} cannot be judged" for each in unknown)
        return Proof(
            allowed=tuple(each for each in found if each.calico == "allow"),
            denied=tuple(each for each in found if each.calico == "deny"),
            undecided=undecided,
            lists=1,
            rules=self._rules,
            samples={
                row.entry.place: self._witness(row.boxes[0])
                for row in self._wanted
                if row.entry.place and row.entry.action == "allow"
            },
        )

    # --- boxes ------------------------------------------------------------------------------------

    def _rows(self, entries: Sequence[Entry]) -> Iterator[_Row]:
        """Neighbours of one rule and action together, each with the fewest boxes that are easy."""
        for hint, some in groupby(entries, key=lambda each: (each.rule, each.action)):
            together = [*some]
            boxes = tuple(box for family in FAMILIES for box in self._boxes(together, family))
            if boxes:
                yield _Row(hint, together[0], boxes)

    def _boxes(self, entries: Sequence[Entry], family: Family) -> Iterator[Box]:
        everything = self._space.everything[family]
        parts = [
            (local, far, traffic)
            for each in entries
            if family in each.families
            for traffic in [self._space.bits(each.traffic) & everything]
            if traffic
            for local in [self._pods.local(each.local, family)]
            if local
            for far in [self._pods.far(each.far, family)]
            if far
        ]
        locals_ = dict.fromkeys(local for local, _, _ in parts)
        fars = dict.fromkeys(far for _, far, _ in parts)
        packets = dict.fromkeys(traffic for _, _, traffic in parts)
        if len(set(parts)) == len(locals_) * len(fars) * len(packets):
            # A product, as one rule of the firewall is: one box a profile and its addresses.
            local = self._pods.united(tuple(locals_))
            traffic = 0
            for each in packets:
                traffic |= each
            parts = [(local, self._pods.joined(tuple(fars)), traffic)]
        for local, far, traffic in parts:
            for profiles, addresses in far:
                yield Box(family, local, profiles, addresses, traffic)

    # --- what differs -----------------------------------------------------------------------------

    def _gaps(self) -> Iterator[tuple[slice, slice]]:
        """The stretches of both lists between rules that are the same."""
        wanted, said = ([row.hint for row in rows] for rows in (self._wanted, self._said))
        matcher = SequenceMatcher(None, wanted, said, autojunk=False)
        start, other = 0, 0
        for block in matcher.get_matching_blocks():
            for offset in range(block.size):
                here, there = block.a + offset, block.b + offset
                if set(self._wanted[here].boxes) == set(self._said[there].boxes):
                    if start < here or other < there:
                        yield slice(start, here), slice(other, there)
                    start, other = here + 1, there + 1
        if start < len(self._wanted) or other < len(self._said):
            yield slice(start, len(self._wanted)), slice(other, len(self._said))

    def _apart(self, wanted: slice, said: slice) -> Iterator[tuple[Box, _Row, _Row]]:
        """The flows of two stretches that the two lists decide differently."""
        ours, theirs = self._wanted[wanted], self._said[said]
        told: set[tuple[int, int]] = set()  # one flow of two rules is enough
        touched = [box for row in (*ours, *theirs) for box in row.boxes]
        for piece, first in self._first(ours, touched):
            for part, second in self._first(theirs, [piece]):
                if first and second and first.hint[1] == second.hint[1]:
                    continue
                if first is None and second is None:
                    continue
                # Nothing that an earlier rule decides comes here.
                reached = [part]
                for row in self._wanted[: wanted.start]:
                    reached = self._left(reached, row)
                    if not reached:
                        break
                for deep, one in self._first(self._wanted[wanted.start :], reached):
                    for deeper, other in self._first(self._said[said.start :], [deep]):
                        if one is None or other is None:
                            raise UnreadableError("a list ends before all is decided")
                        pair = (id(one), id(other))
                        if one.hint[1] != other.hint[1] and pair not in told:
                            told.add(pair)
                            yield deeper, one, other

    def _first(
        self, rows: Sequence[_Row], boxes: Sequence[Box]
    ) -> Iterator[tuple[Box, _Row | None]]:
        """Some flows by the first row that matches them, None for those that none does."""
        for one in boxes:
            left = [one]
            for row in rows:
                for taken in row.boxes:
                    yield from ((both, row) for box in left if (both := common(box, taken)))
                left = self._left(left, row)
                if not left:
                    break
            yield from ((box, None) for box in left)

    def _left(self, boxes: Sequence[Box], row: _Row) -> list[Box]:
        """What of some boxes a row does not match."""
        left = list(boxes)
        for taken in row.boxes:
            self._looks += len(left)
            left = [part for box in left for part in without(box, taken)]
        if self._looks > _LOOKS:
            raise _TooManyError
        return left

    def _difference(self, piece: Box, wanted: _Row, said: _Row) -> Difference:
        return Difference(
            tier=self._tier,
            firewall=wanted.hint[1],
            rule=wanted.hint[0],
            calico=said.hint[1],
            where=said.entry.where,
            says=said.hint[0],
            flow=self._witness(piece),
        )

    def _witness(self, piece: Box) -> Witness:
        """One of some flows."""
        (far,) = self._profiles.names(piece.profiles & -piece.profiles)
        return Witness(
            self._direction,
            self._who,
            (piece.family, piece.local[0]),
            far,
            (piece.family, piece.far[0]),
            self._space.packet(piece.traffic),
        )


class _Pods:
    """Addresses as far as pods can have them, with what the lists ask for again and again."""

    def __init__(self, profiles: Profiles, pods: AddressSet | None) -> None:
        self._profiles = profiles
        pods = _ON_THE_WIRE if pods is None else pods & _ON_THE_WIRE
        self._cidrs: dict[Family, Bounds] = {4: pods.v4, 6: pods.v6}
        self._local: dict[tuple[AddressSet, Family], Bounds] = {}
        self._far: dict[tuple[Ends, Family], tuple[tuple[int, Bounds], ...]] = {}
        self._united: dict[tuple[Bounds, ...], Bounds] = {}
        self._joined: dict[tuple[_Far, ...], _Far] = {}

    def local(self, addresses: AddressSet, family: Family) -> Bounds:
        """Where pods of a policy can be."""
        key = (addresses, family)
        if key not in self._local:
            self._local[key] = self._held(_of(addresses, family), family)
        return self._local[key]

    def far(self, ends: Ends, family: Family) -> "_Far":
        """Where far ends can be: pods where pods are, others anywhere."""
        key = (ends, family)
        if key not in self._far:
            self._far[key] = _spread(self._clipped(ends, family))
        return self._far[key]

    def _clipped(self, ends: Ends, family: Family) -> Iterator[tuple[int, Bounds]]:
        for profiles, addresses in ends:
            bounds = _of(addresses, family)
            others = intersection(bounds, _of(_ON_THE_WIRE, family))
            yield profiles & self._profiles.no_pod, others
            yield profiles & self._profiles.pods, self._held(bounds, family)

    def _held(self, bounds: Bounds, family: Family) -> Bounds:
        return intersection(bounds, self._cidrs[family])

    def united(self, some: tuple[Bounds, ...]) -> Bounds:
        """The union of some addresses."""
        if len(some) == 1:
            return some[0]
        if some not in self._united:
            ranges = [each for bounds in some for each in to_ranges(bounds)]
            self._united[some] = from_ranges(ranges)
        return self._united[some]

    def joined(self, some: "tuple[_Far, ...]") -> "_Far":
        """The union of some far ends."""
        if len(some) == 1:
            return some[0]
        if some not in self._joined:
            self._joined[some] = _spread(each for far in some for each in far)
        return self._joined[some]


_Far = tuple[tuple[int, Bounds], ...]
"""Far ends of one family: profiles that no other has, each with its addresses, sorted."""


def _of(addresses: AddressSet, family: Family) -> Bounds:
    return addresses.v4 if family == 4 else addresses.v6


def _spread(ends: Iterable[tuple[int, Bounds]]) -> _Far:
    """Ends in their one form: profiles with the same addresses together."""
    apart: list[tuple[int, list[tuple[int, int]]]] = []
    for profiles, bounds in ends:
        ranges = [*to_ranges(bounds)]
        if not ranges:
            continue
        kept = []
        for bits, held in apart:
            if both := bits & profiles:
                kept.append((both, held + ranges))
            if rest := bits & ~profiles:
                kept.append((rest, held))
            profiles &= ~bits
        if profiles:
            kept.append((profiles, ranges))
        apart = kept
    together: dict[Bounds, int] = {}
    for bits, held in apart:
        bounds = from_ranges(held)
        together[bounds] = together.get(bounds, 0) | bits
    return tuple(sorted((bits, bounds) for bounds, bits in together.items()))

"""Find the rules that earlier rules hide, in Calico and on the firewall, over all flows.

policies of every tier   ->  for each zone and direction, the rules in order  ->  what is left
rules of a device group  ->  for each zone, from it to anywhere, the same     ->  of each rule

A rule is hidden wholly where it is in each of its zones. In Calico the denies of earlier tiers come
before a rule too. The firewall is asked by zones, addresses and services alone, wherever pods and
networks are: an earlier rule hides only what it surely matches, whatever users, applications and
unknown members turn out to be.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from sync.net.addresses import EVERYWHERE
from sync.options import ZoneOptions
from sync.verify.as_on_firewall import as_on_firewall
from sync.verify.calico_documents import STAGED
from sync.verify.calico_semantics import DIRECTIONS, Direction
from sync.verify.compare import Pods, RuleLists, Witness
from sync.verify.firewall_semantics import Rulebase
from sync.verify.hiding import MOST, Extent, Hidden, Layer, Layers
from sync.verify.packet_space import Box, Entry, Place, to_itself
from sync.verify.profiles import Networks, Profiles, UnreadableError
from sync.verify.tiers import Tier, Tiers
from sync.verify.traffic_space import TrafficSpace

_TOO_LONG: Final = "it would take too many looks at two rules"
_ESSENTIAL: Final = "an essential flow"


@dataclass(frozen=True, slots=True)
class Taken:
    """An earlier rule that takes some flows of a rule.

    `place` is None for an essential flow, and for a default of an earlier tier. `larger`: it takes
    some of them only because it is larger in Calico than it surely is on the firewall.
    """

    name: str
    place: Place | None
    allow: bool
    larger: bool = False


@dataclass(frozen=True, slots=True)
class Shade:
    """What earlier rules leave of a rule, over all of its zones; `more`: others than `by` take too.

    `flow` is one that they take, if it can be by one that decides otherwise. A rule is `empty`
    where no pod is an end of its flows. `because` says why the extent is unknown.
    """

    extent: Extent
    by: tuple[Taken, ...] = ()
    flow: Witness | None = None
    more: bool = False
    because: str = ""


def in_calico(tiers: Tiers, places: Mapping[str, Place]) -> dict[Place, Shade]:
    """Find what is left in Calico of each rule of the firewall that has Calico rules.

    `places` has the firewall's rule of each Calico rule, by its own place (`policy[egress 3]`).
    """
    try:
        found, order = _Cluster(tiers, places).found()
    except UnreadableError as error:
        return {place: Shade("unknown", because=str(error)) for place in places.values()}
    return {
        place: _joined(found[place], order) if place in found else Shade("empty")
        for place in dict.fromkeys(places.values())
    }


def on_firewall(tier: Tier) -> dict[Place, Shade]:
    """Find what is left of each rule of a device group on its own firewalls."""
    named = tier.zones
    profiles = Profiles(named, ZoneOptions())
    settings = replace(tier.settings, zones=ZoneOptions())
    networks = Networks({}, EVERYWHERE)
    perhaps = as_on_firewall(
        tier.group, networks, profiles, settings, "perhaps", read=tier.perhaps.meant
    )
    surely = as_on_firewall(
        tier.group, networks, profiles, settings, "surely", read=tier.surely.meant
    )
    pods = Pods(profiles, None)
    found: defaultdict[Place, list[_Found]] = defaultdict(list)
    # The last one is any zone that no rule names.
    for zone in (*sorted(named), "") if named else ():
        rows = [
            _Row(each.rule, each.place, each.action == "allow", (sure,) if sure else (), (each,))
            for certain in [_by_place(surely, zone, "egress")]
            for each in perhaps.decided(zone, "egress")
            if each.place
            for sure in [certain.get(each.place)]
        ]
        lists = _lists(f"zone {zone}" if zone else "another zone", "egress", rows, profiles, pods)
        # Ends are in zones, and addresses in none: pods of a zone stand for all that is in it.
        layers = Layers([_layer(row, lists, profiles.pods) for row in rows])
        for number, layer in enumerate(layers.layers):
            hidden = layers.hidden(number)
            if hidden and layer.place:
                found[layer.place].append(_found(layers, layer, hidden, lists))
    order = {each.place: number for number, each in enumerate(perhaps.meant)}
    return {place: _joined(each, order) for place, each in found.items()}


# --- lists ----------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A rule of a list: what it surely says, and what it may say."""

    name: str
    place: Place | None
    allow: bool
    surely: tuple[Entry, ...]
    perhaps: tuple[Entry, ...]


class _Found(NamedTuple):
    """What is hidden of a rule in one list; `lost`: by a rule that decides the flow otherwise."""

    hidden: Hidden
    by: tuple[Taken, ...]
    flow: Witness | None
    lost: bool


def _lists(
    who: str,
    direction: Direction,
    rows: Sequence[_Row],
    profiles: Profiles,
    pods: Pods,
    more: Sequence[Entry] = (),
) -> RuleLists:
    """What makes boxes of the entries of some rows, and of more."""
    entries = [*more, *(each for row in rows for each in (*row.surely, *row.perhaps))]
    space = TrafficSpace({traffic for each in entries for traffic in each.traffic})
    return RuleLists(who, direction, (), (), profiles, pods, space)


def _layer(row: _Row, lists: RuleLists, among: int) -> Layer:
    """A row as boxes, with far ends of some profiles."""
    perhaps = _boxes(lists, row.perhaps, among)
    surely = perhaps if row.surely == row.perhaps else _boxes(lists, row.surely, among)
    return Layer(row.name, row.place, row.allow, perhaps, surely)


def _boxes(lists: RuleLists, entries: Sequence[Entry], among: int) -> tuple[Box, ...]:
    found = lists.boxes(entries) if entries else ()
    return tuple(
        each._replace(profiles=each.profiles & among)
        for each in found
        if each.profiles & among and not to_itself(each)
    )


def _found(
    layers: Layers,
    layer: Layer,
    hidden: Hidden,
    lists: RuleLists,
    larger: frozenset[int] = frozenset(),
) -> _Found:
    takers = tuple(
        Taken(each.name, each.place, each.allow, number in larger)
        for number in hidden.by
        for each in [layers.layers[number]]
    )
    flow = lists.witness(hidden.flow) if hidden.flow else None
    return _Found(hidden, takers, flow, any(each.allow != layer.allow for each in takers))


def _joined(found: Sequence[_Found], order: Mapping[Place, int]) -> Shade:
    """One answer over all lists that have flows of a rule."""
    by: dict[Taken, Taken] = {}
    for each in found:
        for taken in each.by:
            key = replace(taken, larger=False)
            if key not in by or taken.larger:
                by[key] = taken
    takers = sorted(by.values(), key=lambda each: order[each.place] if each.place else -1)
    flows = sorted(
        ((each.lost, each.flow) for each in found if each.flow),
        key=lambda each: (not each[0], each[1].direction),
    )
    extents = {each.hidden.extent for each in found}
    extent: Extent = "whole"
    if extents & {"none", "part"}:
        extent = "part" if takers else "unknown" if "unknown" in extents else "none"
    elif "unknown" in extents:
        extent = "unknown"
    return Shade(
        extent,
        tuple(takers[:MOST]),
        flows[0][1] if flows else None,
        len(takers) > MOST or any(each.hidden.more for each in found),
        _TOO_LONG if extent == "unknown" else "",
    )


def _by_place(rules: Rulebase, zone: str, direction: Direction) -> dict[Place, Entry]:
    return {each.place: each for each in rules.decided(zone, direction) if each.place}


# --- Calico ---------------------------------------------------------------------------------------


class _Cluster:
    """The tiers of one cluster, in the order in which they are asked."""

    def __init__(self, tiers: Tiers, places: Mapping[str, Place]) -> None:
        """`UnreadableError` for a document that cannot be judged."""
        self._profiles = tiers.profiles
        self._pods = Pods(self._profiles, tiers.settings.pods)
        self._tiers = [_TierRows(each, places) for each in tiers.as_asked()]

    def found(self) -> tuple[Mapping[Place, list[_Found]], Mapping[Place, int]]:
        """What is hidden of each rule in each list that has flows of it, and the order of rules."""
        found: defaultdict[Place, list[_Found]] = defaultdict(list)
        for zone, bit in self._profiles.zones.items():
            here = [tier for tier in self._tiers if zone in tier.zones]
            if here and not bit & self._profiles.impossible:
                for direction in DIRECTIONS:
                    for place, each in self._hidden(here, zone, bit, direction):
                        found[place].append(each)
        every = (each.place for tier in self._tiers for each in tier.exactly.meant)
        return found, {place: number for number, place in enumerate(every)}

    def _hidden(
        self, here: Sequence["_TierRows"], zone: str, bit: int, direction: Direction
    ) -> Iterator[tuple[Place, _Found]]:
        """What is hidden of each rule for the pods of a zone in one direction."""
        rows = [[*tier.rows(bit, direction)] for tier in here]
        exactly = {
            place: entry
            for tier in here
            for place, entry in _by_place(tier.exactly, zone, direction).items()
        }
        every = [row for each in rows for row in each]
        who = f"a pod of zone {zone}"
        lists = _lists(who, direction, every, self._profiles, self._pods, [*exactly.values()])
        before: list[tuple[_TierRows, Layers]] = []
        for tier, own in zip(here, rows, strict=True):
            layers = Layers([_layer(row, lists, self._profiles.everyone) for row in own])
            # As long as they are staged, an earlier tier's denies take nothing of enforced ones.
            ahead = [each for earlier, each in before if tier.staged or not earlier.staged]
            for number, layer in enumerate(layers.layers):
                if not layer.place:
                    continue
                at, among = number, layers
                if ahead and layer.perhaps:
                    denied = [each for one in ahead for each in one.denying(layer.perhaps)]
                    at, among = at + len(denied), Layers([*denied, *layers.layers[: number + 1]])
                if hidden := among.hidden(at):
                    larger = frozenset(
                        taker for taker in hidden.by if _is_larger(among, taker, at, exactly, lists)
                    )
                    yield layer.place, _found(among, layer, hidden, lists, larger)
            before.append((tier, layers))


def _is_larger(
    layers: Layers, taker: int, number: int, exactly: Mapping[Place, Entry], lists: RuleLists
) -> bool:
    """Whether a taker takes what it does not surely match on the firewall."""
    place = layers.layers[taker].place
    if place is None:
        return False
    entry = exactly.get(place)
    return layers.takes_more(taker, number, lists.boxes([entry]) if entry else ())


class _TierRows:
    """The Calico rules of one tier, and what its rules surely match on the firewall, `exactly`."""

    def __init__(self, tier: Tier, places: Mapping[str, Place]) -> None:
        self.zones = tier.zones
        self.staged = any(
            each["kind"] == STAGED and each["spec"].get("tier") == tier.group.tier
            for each in tier.documents
        )
        self.exactly = tier.surely
        self._places = places
        self._policies, self._essentials = tier.policies, tier.essentials
        self._target = tier.group.seen.name

    def rows(self, bit: int, direction: Direction) -> Iterator[_Row]:
        """The rules that apply to pods of a profile, in order; neighbours of one rule together."""
        last: _Row | None = None
        doubtful = ""
        for policy in self._policies.selecting(bit, direction):
            essential = policy.name in self._essentials
            if not (policy.surely or essential):
                # Behind a chain, which decides everything, it does not matter.
                doubtful = doubtful or policy.name
                continue
            for surely, perhaps in self._policies.bounds(policy, direction):
                if perhaps is None:
                    continue
                if doubtful and perhaps.where in self._places:
                    raise UnreadableError(f"whether {doubtful} selects these pods is unknown")
                row = self._row(surely if policy.surely else None, perhaps, essential=essential)
                if last and last[:3] == row[:3]:
                    last = last._replace(
                        surely=last.surely + row.surely, perhaps=last.perhaps + row.perhaps
                    )
                    continue
                if last:
                    yield last
                last = row
        if last:
            yield last

    def _row(self, surely: Entry | None, perhaps: Entry, *, essential: bool) -> _Row:
        place = self._places.get(perhaps.where)
        name = perhaps.rule if place else f"{perhaps.rule} of {self._target}"
        return _Row(
            _ESSENTIAL if essential else name,
            place,
            perhaps.action == "allow",
            (surely,) if surely else (),
            (perhaps,),
        )

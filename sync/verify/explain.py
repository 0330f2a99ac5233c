"""Find the rules that decide a flow: the firewall's and Calico's, side by side.

    both ends, a packet  ->  each pod at an end, tier by tier  ->  the rules of both lists, in order

A rule decides the flows that it surely matches. A rule that only may match is listed, and the next
rules are asked. An end may be many addresses, as a zone's are: then the flows fall into cases.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from sync.firewall.services import ICMP, ICMPV6
from sync.net.addresses import AddressSet
from sync.net.intervals import intersection
from sync.text import shortened
from sync.verify.as_on_firewall import key_of, of_unknown_action
from sync.verify.calico_semantics import Direction
from sync.verify.firewall_semantics import Action, RuleSemantics
from sync.verify.judgement import (
    MOST_CASES,
    Decider,
    Judgement,
    NoAnswerError,
    Passed,
    RuleBoxes,
    Verdict,
    apart,
    boxes_of,
    decided,
    together,
    too_many,
)
from sync.verify.packet_space import FAMILIES, Box, Entry, Family, of_family
from sync.verify.profiles import DeviceGroup, Profiles
from sync.verify.settings import Settings
from sync.verify.tiers import Tier, Tiers
from sync.verify.traffic_space import Packet, carries

_FAMILIES: Final[dict[int, tuple[Family, ...]]] = {ICMP: (4,), ICMPV6: (6,)}
_WAYS: Final[tuple[tuple[Direction, int, int], ...]] = (("egress", 0, 1), ("ingress", 1, 0))


class Party(NamedTuple):
    """One end of the flow, at any of some addresses.

    It is a pod of a `zone`, a pod that is known by all its `labels` as selectors see them, or, with
    neither, no pod.
    """

    addresses: AddressSet
    zone: str = ""
    labels: Mapping[str, str] | None = None

    @property
    def is_pod(self) -> bool:
        return bool(self.zone) or self.labels is not None


@dataclass(frozen=True, slots=True)
class Case:
    """Some flows that the same rules decide: pairs of addresses of the pod and of its far end.

    `firewall` is None where the device group does not know the pod's zone. `calico` judges staged
    policies like the others; `enforced` is what it does as long as they decide nothing.
    """

    flows: tuple[tuple[AddressSet, AddressSet], ...]
    firewall: Judgement | None
    calico: Judgement
    enforced: Judgement


@dataclass(frozen=True, slots=True)
class Side:
    """The verdicts for the pod at one end: of one tier, and of its device group's firewalls."""

    direction: Direction
    source: str
    device_group: str
    tier: str
    cases: tuple[Case, ...]


def explain(
    groups: Sequence[DeviceGroup],
    documents: Sequence[Mapping[str, Any]],
    settings: Settings,
    ends: tuple[Party, Party],
    packet: Packet,
    *,
    verbose: bool = False,
) -> list[Side]:
    """Find the rules that decide the flow from the first end to the second one.

    `groups` are a cluster's; `documents` are all sets, tiers and policies, and show in which order
    the tiers are asked. `verbose` adds what was passed over. Raises `UnreadableError` for what
    cannot be judged, and `NoAnswerError` for a zone that can have no pods and flows in too many
    cases.
    """
    labels = [each.labels for each in ends if each.labels is not None]
    read = Tiers(groups, documents, settings, labels)
    profiles = read.profiles
    known = iter(profiles.known)
    bits = [next(known) if each.labels is not None else _bit(profiles, each) for each in ends]
    tiers = [(each.group, _Lists(each, packet)) for each in read.as_asked()]
    found = []
    for direction, here, there in _WAYS:
        local = ends[here]
        if not local.is_pod:
            continue
        zone = local.zone or profiles.zone_of(local.labels or {}) or ""
        starts = [
            Box(family, near, bits[there], far, 1)
            for family in _FAMILIES.get(packet.protocol, FAMILIES)
            for near in [of_family(local.addresses, family)]
            for far in [of_family(ends[there].addresses, family)]
            if near and far
        ]
        for group, lists in tiers:
            cases = tuple(lists.cases(zone, bits[here], direction, starts, verbose=verbose))
            found.append(Side(direction, group.source, group.seen.name, group.tier, cases))
    return found


def verdict_of(sides: Sequence[Side], *, enforced: bool = False) -> Verdict:
    """Calico's verdict on the flow: any side may deny it, and all must allow it.

    `enforced`: as long as staged policies decide nothing.
    """
    by_side = [
        {(case.enforced if enforced else case.calico).verdict for case in side.cases}
        for side in sides
    ]
    if any(each == {"deny"} for each in by_side):
        return "deny"
    return "allow" if all(each == {"allow"} for each in by_side) else "unknown"


def _bit(profiles: Profiles, end: Party) -> int:
    """The profile of an end whose labels are not known."""
    if not end.zone:
        return profiles.no_pod
    bit = profiles.zones.get(end.zone, 0) & ~sum(profiles.known)
    if not bit or bit & profiles.impossible:
        raise NoAnswerError(f"no pod can be in zone {end.zone!r}")
    return bit


class _Lists:
    """Both lists of one tier, for one packet."""

    def __init__(self, tier: Tier, packet: Packet) -> None:
        self._tier = tier
        self._profiles = tier.profiles
        self._packet = packet
        self._policies = tier.policies
        self._surely, self._perhaps = tier.surely, tier.perhaps
        self._unreadable = of_unknown_action(self._perhaps)

    def cases(
        self,
        zone: str,
        profile: int,
        direction: Direction,
        starts: Sequence[Box],
        *,
        verbose: bool,
    ) -> Iterator[Case]:
        """The flows of some boxes by the rules that decide them."""
        by_rules: dict[tuple[Judgement | None, Judgement, Judgement], list[Box]] = {}
        for start in starts:
            calico = [*self._calico(profile, direction, start, staged=True)]
            enforced = [*self._calico(profile, direction, start, staged=False)]
            pieces: Iterator[tuple[Box, Judgement | None]] = iter([(start, None)])
            if zone in self._tier.zones:
                pieces = decided([*self._firewall(zone, direction, start)], start)
            for piece, firewall in pieces:
                for part, judgement in decided(calico, piece):
                    for box, now in decided(enforced, part):
                        by_rules.setdefault((firewall, judgement, now), []).append(box)
                        if len(by_rules) > MOST_CASES:
                            raise too_many()
        for (firewall, judgement, now), boxes in by_rules.items():
            case = Case(tuple(together(boxes)), firewall, judgement, now)
            yield self._told(case, zone, profile, direction, boxes[0]) if verbose else case

    def _told(self, case: Case, zone: str, profile: int, direction: Direction, box: Box) -> Case:
        """A case with the rules that are passed over for a box of it."""
        firewall = case.firewall
        if firewall:
            passed = tuple(self._passed_firewall(firewall, zone, direction, box))
            firewall = replace(firewall, passed=passed)
        passed = tuple(self._passed_calico(case.calico, profile, direction, box))
        return replace(case, firewall=firewall, calico=replace(case.calico, passed=passed))

    # --- the firewall's list ----------------------------------------------------------------------

    def _firewall(self, zone: str, direction: Direction, start: Box) -> Iterator[RuleBoxes]:
        surely = {key_of(each): each for each in self._surely.decided(zone, direction)}
        for entry in self._perhaps.decided(zone, direction):
            perhaps = boxes_of(entry, start, self._packet)
            if perhaps:
                sure = surely.get(key_of(entry))
                boxes = boxes_of(sure, start, self._packet) if sure else ()
                because = self._beyond_table(entry)
                for action in self._actions(entry):
                    decider = Decider(action, entry.rule, entry.place, because=because)
                    yield RuleBoxes(decider, boxes, perhaps)

    def _actions(self, entry: Entry) -> tuple[Action, ...]:
        """What a rule may do: one thing, unless its action cannot be read."""
        if entry.place in self._unreadable:
            return ("allow", "deny")
        return (_action(entry),)

    def _beyond_table(self, entry: Entry) -> str:
        """Why a rule may match the packet by unknown content; "" if that is no matter."""
        known = entry.by_table
        if known is None or carries(known.traffic, self._packet):
            return ""
        names = shortened(known.applications, ", ")
        return (
            f"the default ports of App-ID{'s' * (len(known.applications) > 1)} {names} are from a "
            "table that zonebridge brings, which may lack some"
        )

    def _passed_firewall(
        self, judgement: Judgement, zone: str, direction: Direction, box: Box
    ) -> Iterator[Passed]:
        told = {each.place for each in judgement.perhaps}
        by_place = {each.place: each for each in self._perhaps.decided(zone, direction)}
        for meant in self._perhaps.meant:
            if meant.place == judgement.decider.place:
                return
            if meant.place not in told:
                because = self._unlike(meant, zone, direction, by_place.get(meant.place), box)
                yield Passed(meant.placed.rule.name, meant.place, "", because)

    def _unlike(
        self, meant: RuleSemantics, zone: str, direction: Direction, entry: Entry | None, box: Box
    ) -> str:
        """Why a rule of the firewall does not match."""
        if meant.placed.rule.disabled:
            return "is disabled"
        if not meant.traffic:
            return "is not on these firewalls, or matches nothing"
        here, there = meant.from_zones, meant.to_zones
        words = ("from", "to")
        if direction == "ingress":
            here, there, words = there, here, ("to", "from")
        if here is not None and zone not in here:
            return f"is for flows {words[0]} zone {_listed(here)}"
        if not carries(meant.traffic, self._packet):
            return "is for other services or applications"
        if entry and not intersection(of_family(entry.local, box.family), box.local):
            return f"is for flows {words[0]} other addresses"
        named = {name for name, bits in self._profiles.zones.items() if bits & box.profiles}
        if there is not None and named and not named & there:
            return f"is for flows {words[1]} zone {_listed(there)}"
        if named and meant.placed.rule.rule_type == "universal":
            return f"is for flows {words[1]} other addresses"
        return f"is for flows {words[1]} other zones or addresses"

    # --- Calico's list ----------------------------------------------------------------------------

    def _calico(
        self, profile: int, direction: Direction, start: Box, *, staged: bool
    ) -> Iterator[RuleBoxes]:
        """The rules that apply to pods of a profile, with or without `staged` policies."""
        selecting = selected = enforced = False
        for policy in self._policies.selecting(profile, direction):
            if policy.staged and not staged:
                continue
            selecting = True
            selected = selected or policy.surely
            enforced = enforced or not policy.staged
            for surely, perhaps in self._policies.bounds(policy, direction):
                boxes = boxes_of(perhaps, start, self._packet) if perhaps else ()
                if perhaps and boxes:
                    sure = boxes_of(surely, start, self._packet) if surely and policy.surely else ()
                    yield RuleBoxes(_decider(perhaps, staged=policy.staged), sure, boxes)
        default = self._policies.default
        if selected:
            yield RuleBoxes(_decider(default, staged=not enforced), (start,), (start,))
        else:
            # Pods that may be selected may meet the default too.
            if selecting:
                yield RuleBoxes(_decider(default, staged=not enforced), (), (start,))
            where = f"no policy of tier {self._tier.group.tier} selects it"
            yield RuleBoxes(Decider("allow", "", where=where), (start,), (start,))

    def _passed_calico(
        self, judgement: Judgement, profile: int, direction: Direction, box: Box
    ) -> Iterator[Passed]:
        told = {each.where for each in judgement.perhaps}
        for policy in self._policies.selecting(profile, direction):
            for index, (_, entry) in enumerate(self._policies.bounds(policy, direction)):
                where = f"{policy.name}[{direction} {index}]"
                if where == judgement.decider.where:
                    return
                if where not in told:
                    because = apart(entry, box, self._packet) if entry else "matches nothing"
                    yield Passed(entry.rule if entry else "", None, where, because)


def _decider(entry: Entry, *, staged: bool) -> Decider:
    return Decider(_action(entry), entry.rule, where=entry.where, staged=staged)


def _action(entry: Entry) -> Action:
    return "allow" if entry.action == "allow" else "deny"


def _listed(names: frozenset[str]) -> str:
    return shortened(sorted(names), ", ") or "none"

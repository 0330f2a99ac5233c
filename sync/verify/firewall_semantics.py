"""The firewall's rulebase as lists of boxes: the upper bound of what a cluster may allow.

What Calico cannot see is unknown here too. So an allow counts for the flows that it surely matches,
and a deny for those that it may match: the firewall allows every flow that such a list allows.
Settings that accept a loss apply. This is a second reading of the rules; `docs/rules.md` has the
sources.

To find the rule that decides a flow on the firewall, all rules can be read for what they surely
match, or all for what they may match.
"""

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from sync.firewall import tag_filter
from sync.firewall.effective import EffectiveRule
from sync.firewall.groups import WildcardObjects
from sync.firewall.rules import EVERYWHERE as EVERY_FIREWALL
from sync.firewall.rules import Rule, Target
from sync.firewall.services import Traffic
from sync.net.addresses import EVERYWHERE, NOWHERE, AddressSet
from sync.options import RuleOptions, ZoneOptions
from sync.verify.address_lists import AddressLists, matched
from sync.verify.calico_semantics import Direction
from sync.verify.packet_space import ON_THE_WIRE, ByTable, Ends, Entry, Place
from sync.verify.profiles import MULTICAST, DeviceGroup, Networks, Profiles, zones_named
from sync.verify.rule_traffic import ANY_TRAFFIC, rule_traffic
from sync.verify.wildcards import ALL_IPV4, WildcardList, WildcardLists, pattern

Action = Literal["allow", "deny"]
Bound = Literal["by action", "surely", "perhaps"]

_ANY: Final = "any"


@dataclass(frozen=True, slots=True)
class RuleSemantics:
    """The meaning of one rule. Zones are None for any; without traffic it matches nothing.

    `surely`: it is what the rule surely matches, not what it may match. `inexact` has a clause for
    each thing by which it may stand for more or less than the rule on the firewall. `by_table` is
    that of its `Entry`.
    """

    placed: EffectiveRule
    place: Place
    surely: bool
    from_zones: frozenset[str] | None
    to_zones: frozenset[str] | None
    source: AddressSet
    destination: AddressSet
    traffic: tuple[Traffic, ...]
    inexact: tuple[str, ...]
    by_table: ByTable | None = None


class Rulebase:
    """The rulebase of one device group, under the settings of a cluster.

    `bound` is how its rules are read: `by action` for what a cluster may allow at most.
    """

    def __init__(
        self,
        group: DeviceGroup,
        networks: Networks,
        profiles: Profiles,
        rules: RuleOptions,
        zones: ZoneOptions,
        *,
        registered_known: bool,
        bound: Bound = "by action",
        read: Sequence[RuleSemantics] | None = None,
    ) -> None:
        """`read` are its rules as they were `meant` before, among other networks."""
        self._group = group
        self._bound = bound
        self._networks = networks
        self._profiles = profiles
        self._rules = rules
        self._firewalls = group.seen.firewalls.among(rules.devices)
        self._zones = zones
        self._objects = group.seen.objects
        groups = group.seen.resolved(registered_known=registered_known)
        self._lists = AddressLists(self._objects, groups)
        self._far: dict[object, Ends] = {}
        self._filter = tag_filter.parse(rules.filter) if rules.filter.strip() else None
        self._wild = {
            "source": self._wildcard_lists("source"),
            "destination": self._wildcard_lists("destination"),
        }
        self._overlapping = (
            self._wild["source"].overlap(),
            self._wild["destination"].overlap(),
        )
        self.meant = read or [self._meant(placed) for placed in group.seen.rules]

    def decided(self, zone: str, direction: Direction) -> Iterator[Entry]:
        """The decisions for the pods of a zone, in order; the last one matches everything."""
        for each in self.meant:
            if not each.traffic:
                continue
            here, there, local, far = (
                (each.from_zones, each.to_zones, each.source, each.destination)
                if direction == "egress"
                else (each.to_zones, each.from_zones, each.destination, each.source)
            )
            if here is not None and zone not in here:
                continue
            rule = each.placed.rule
            negated = rule.negate_destination if direction == "egress" else rule.negate_source
            listed = rule.destinations if direction == "egress" else rule.sources
            trusted = self._zones.trust_addresses and not negated and _ANY not in listed
            ends = self._ends(
                zone,
                there,
                far,
                rule.rule_type,
                perhaps=trusted or not each.surely,
                surely=each.surely,
            )
            if ends and local:
                yield Entry(
                    local,
                    ends,
                    each.traffic,
                    action_of(rule),
                    rule.name,
                    place=each.place,
                    exact=not each.inexact,
                    by_table=each.by_table,
                )
        yield from self._defaults(zone, direction)

    def _place(self, at: EffectiveRule) -> Place:
        group = self._group
        return group.source, group.seen.name, at.device_group, at.rulebase, at.position

    def _surely(self, action: Action) -> bool:
        """Whether rules of an action are read for what they surely match."""
        return self._bound == "surely" or (self._bound == "by action" and action == "allow")

    # --- where ------------------------------------------------------------------------------------

    def _ends(
        self,
        zone: str,
        there: frozenset[str] | None,
        addresses: AddressSet,
        kind: str,
        *,
        perhaps: bool,
        surely: bool,
    ) -> Ends:
        """The far ends of a rule for pods of a zone; `perhaps`: what may be in a zone counts."""
        if kind == "intrazone":
            there = frozenset({zone})
        elif kind == "interzone":
            # Any other zone, or none; where that leaves one out is the same for all zones but it.
            there = None if there is None else there - {zone}
        key = (
            zone if kind == "interzone" and there is None else "",
            there,
            addresses,
            perhaps,
            surely,
        )
        if key not in self._far:
            self._far[key] = tuple(self._far_ends(*key))
        return self._far[key]

    def _far_ends(
        self,
        but: str,
        there: frozenset[str] | None,
        addresses: AddressSet,
        perhaps: bool,  # noqa: FBT001 - called by key
        surely: bool,  # noqa: FBT001
    ) -> Iterator[tuple[int, AddressSet]]:
        profiles = self._profiles
        if there is None and not but:
            pods, outside = profiles.pods, EVERYWHERE
        elif there is None:
            pods = profiles.pods & ~profiles.zones.get(but, 0)
            its = frozenset({but})
            outside = EVERYWHERE - (
                self._networks.perhaps(its) if surely else self._networks.surely(its)
            )
        else:
            pods = sum(profiles.zones.get(name, 0) for name in there)
            networks = self._networks
            outside = networks.perhaps(there) if perhaps else networks.surely(there)
        yield from _at(pods, addresses, profiles.no_pod, outside & addresses)

    def _overlaps(self, direction: Direction, zones: frozenset[str]) -> Iterator[Entry]:
        """The flows of a zone that no default decides, because wildcards of two rules overlap."""
        profiles = self._profiles
        pods = sum(profiles.zones.get(each, 0) for each in zones)
        networks = self._networks.perhaps(zones)
        local, far = self._overlapping if direction == "egress" else self._overlapping[::-1]
        for here, there in ((local, EVERYWHERE), (EVERYWHERE, far)):
            ends = tuple(_at(pods, there, profiles.no_pod, networks & there))
            if here and there:
                yield Entry(here, ends, ANY_TRAFFIC, "deny", "wildcard-overlap")

    def _defaults(self, zone: str, direction: Direction) -> Iterator[Entry]:
        profiles = self._profiles
        defaults = self._group.seen.defaults
        others = frozenset((profiles.every | {MULTICAST}) - {zone})
        allowed = frozenset[str]()
        if defaults["intrazone-default"] == "allow":
            allowed |= {zone}
        if defaults["interzone-default"] == "allow":
            allowed |= others
        if allowed and self._bound != "surely":
            yield from self._overlaps(direction, allowed)
        for name, zones in (
            ("intrazone-default", frozenset({zone})),
            ("interzone-default", others),
        ):
            action: Action = "allow" if defaults[name] == "allow" else "deny"
            pods = sum(profiles.zones.get(each, 0) for each in zones)
            networks = self._networks
            surely = self._surely(action)
            outside = networks.surely(zones) if surely else networks.perhaps(zones)
            ends = tuple(_at(pods, EVERYWHERE, profiles.no_pod, outside))
            yield Entry(EVERYWHERE, ends, ANY_TRAFFIC, action, name)
        unzoned: Action = "allow" if self._zones.unzoned_pods == "pass" else "deny"
        pods_left: Ends = ((profiles.pods, EVERYWHERE),)
        yield Entry(EVERYWHERE, pods_left, ANY_TRAFFIC, unzoned, "unzoned-pods")
        unknown: Action = "allow" if self._zones.unknown_addresses == "pass" else "deny"
        everyone: Ends = ((profiles.everyone, EVERYWHERE),)
        yield Entry(EVERYWHERE, everyone, ANY_TRAFFIC, unknown, "unknown-addresses")

    # --- rules ------------------------------------------------------------------------------------

    def _meant(self, placed: EffectiveRule) -> RuleSemantics:
        rule = placed.rule
        surely = self._surely(action_of(rule))
        place = self._place(placed)
        nothing = RuleSemantics(placed, place, surely, None, None, NOWHERE, NOWHERE, (), ())
        if rule.disabled:
            return nothing
        there, surely_there = carried(rule.target, self._firewalls)
        inexact = ["only some firewalls may have it"] if there != surely_there else []
        if not (surely_there if surely else there):
            return replace(nothing, inexact=tuple(inexact))
        if self._filtered(rule):
            return replace(nothing, inexact=("rules.filter leaves it out",))
        if rule.constraints or rule.unreadable:
            inexact.append("it asks for what Calico cannot see")
            if surely or _accepted(self._rules.accept_dropped_denies, rule):
                return replace(nothing, inexact=tuple(inexact))
        accepted = _accepted(self._rules.accept_dropped_members, rule)
        found = rule_traffic(rule, self._objects, self._rules, surely=surely, accepted=accepted)
        if not found.exact:
            inexact.append("its applications and services are not all ports")
        (source, destination), unclear = self._addresses(
            rule, place, surely=surely, accepted=accepted
        )
        inexact += unclear
        opened = found.opened or any(
            listed is not None and listed.open and not accepted
            for listed in map(self._lists.listed, (rule.sources, rule.destinations))
        )
        if not surely and opened and _accepted(self._rules.accept_dropped_denies, rule):
            return replace(nothing, inexact=("rules.accept_dropped_denies leaves it out",))
        from_zones = _zones(rule.from_zones)
        # An intrazone rule has no destination zones of its own.
        to_zones = from_zones if rule.rule_type == "intrazone" else _zones(rule.to_zones)
        inexact += self._unknown(rule, from_zones, to_zones)
        return RuleSemantics(
            placed,
            place,
            surely,
            from_zones,
            to_zones,
            source,
            destination,
            found.traffic if source and destination else (),
            tuple(inexact),
            found.by_table,
        )

    def _filtered(self, rule: Rule) -> bool:
        """Whether the settings' filter of tags leaves a rule out."""
        if self._filter is None or self._filter.matches(frozenset(rule.tags)):
            return False
        return rule.action == "allow" or (self._rules.filter_denies and not rule.unreadable)

    def _addresses(
        self, rule: Rule, place: Place, *, surely: bool, accepted: bool
    ) -> tuple[tuple[AddressSet, AddressSet], list[str]]:
        """The addresses of both ends, and a clause for each end that is not matched exactly."""
        inexact = []

        def matched_by(
            end: Literal["source", "destination"], members: tuple[str, ...], *, negated: bool
        ) -> AddressSet:
            listed = self._lists.listed(members)
            if listed is None:
                found = NOWHERE if negated else EVERYWHERE
            else:
                answered = self._bound == "by action"
                found = matched(
                    listed, negated=negated, surely=surely, accepted=accepted, answered=answered
                )
                inexact.extend([f"its {end} is not wholly known"] if listed.open else [])
            if not surely:
                return found
            kept = self._wild[end].surely(place, found)
            if (found - kept) & ON_THE_WIRE:
                inexact.append(f"its {end} shares addresses with wildcard objects")
            return kept

        source = matched_by("source", rule.sources, negated=rule.negate_source)
        destination = matched_by("destination", rule.destinations, negated=rule.negate_destination)
        return (source, destination), inexact

    def _unknown(
        self, rule: Rule, from_zones: frozenset[str] | None, to_zones: frozenset[str] | None
    ) -> Iterator[str]:
        """A clause for each zone that a rule speaks of and whose networks are not known."""
        spoken = (from_zones or frozenset()) | (to_zones or frozenset())
        if rule.rule_type != "universal" and from_zones is None and to_zones is None:
            spoken = zones_named(self._group)
        for zone in sorted(spoken - self._networks.of.keys()):
            yield f"the networks of zone {zone!r} are not known"

    def _wildcard_lists(self, end: Literal["source", "destination"]) -> WildcardLists:
        """The lists with wildcard objects at one end, of all rules that a firewall may have."""
        objects = WildcardObjects(self._objects.addresses)
        found: dict[Hashable, WildcardList] = {}
        for placed in self._group.seen.rules:
            rule = placed.rule
            members = rule.sources if end == "source" else rule.destinations
            negated = rule.negate_source if end == "source" else rule.negate_destination
            values = [pattern(each.value) for each in objects.reached(members)]
            if not values or rule.disabled or not carried(rule.target, self._firewalls)[0]:
                continue
            more = ALL_IPV4 if None in values else NOWHERE
            listed = self._lists.listed(members)
            if negated and listed:
                more |= EVERYWHERE - listed.surely
                more |= AddressSet.union(each.holds(ALL_IPV4) for each in values if each)
            found[self._place(placed)] = WildcardList(
                frozenset(each for each in values if each),
                more,
                plain=not negated and listed is not None,
            )
        return WildcardLists(found)


def action_of(rule: Rule) -> Action:
    """Whether a rule allows; there are many ways to deny."""
    return "allow" if rule.action == "allow" else "deny"


def carried(target: Target, devices: Collection[str]) -> tuple[bool, bool]:
    """Whether one of the firewalls with these serials may have a rule, and whether all surely do.

    Without serials the firewalls that the clusters stand for are unknown.
    """
    if target == EVERY_FIREWALL:
        return True, True
    if target.negate and not (target.devices or target.tags):
        return False, False
    ours = set(devices)
    if target.tags or not ours:
        return True, False
    chosen = {serial for serial, _ in target.devices}
    wholly = {serial for serial, systems in target.devices if not systems}
    if target.negate:
        return bool(ours - wholly), not ours & chosen
    return bool(ours & chosen), ours <= wholly


def _at(
    pods: int, where: AddressSet, no_pod: int, outside: AddressSet
) -> Iterator[tuple[int, AddressSet]]:
    """Pods at some addresses, and other ends at other addresses."""
    if pods and where == outside:
        yield pods | no_pod, where
        return
    if pods and where:
        yield pods, where
    if outside:
        yield no_pod, outside


def _zones(names: Sequence[str]) -> frozenset[str] | None:
    return None if _ANY in names else frozenset(names)


def _accepted(names: Sequence[str], rule: Rule) -> bool:
    return not {rule.name, *rule.tags}.isdisjoint(names)

"""The firewall's rulebase as lists of boxes: what a cluster may allow of it at most.

Of what Calico cannot see nobody knows here either. So an allow stands for what it surely matches
and a deny for what it may match; whatever such a list allows, the firewall allows. Settings that
accept a loss are taken as they are. Read anew from the rules; `docs/rules.md` has the sources.

To say which rule decides a flow on the firewall, all rules can be read for what they surely match,
or all for what they may match.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from sync.firewall import tag_filter
from sync.firewall.addressing import literal
from sync.firewall.applications import resolve_applications
from sync.firewall.effective import EffectiveRule
from sync.firewall.estimate import Estimate
from sync.firewall.groups import WildcardObjects
from sync.firewall.objects import AddressGroup
from sync.firewall.rules import EVERYWHERE as EVERY_FIREWALL
from sync.firewall.rules import Rule
from sync.firewall.services import Traffic, resolve_services, shared
from sync.net.addresses import EVERYWHERE, NOWHERE, AddressSet, network
from sync.options import RuleOptions, ZoneOptions
from sync.verify.calico_semantics import Direction
from sync.verify.packet_space import ON_THE_WIRE, Ends, Entry, Place
from sync.verify.profiles import MULTICAST, DeviceGroup, Networks, Profiles, zones_named
from sync.verify.wildcards import ALL_IPV4, WildcardList, WildcardLists, pattern

Action = Literal["allow", "deny"]
Bound = Literal["by action", "surely", "perhaps"]

_ANY: Final = "any"
_ANY_TRAFFIC: Final = (Traffic(),)
_BY_DEFAULT: Final = "application-default"
_MAPPED_V4: Final = network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class RuleSemantics:
    """What one rule stands for. Zones are None for any; without traffic it matches nothing.

    `surely`: it is what the rule surely matches, not what it may match. `inexact` has a clause for
    each thing by which it may stand for more or less than the rule on the firewall.
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
    ) -> None:
        self._group = group
        self._bound = bound
        self._networks = networks
        self._profiles = profiles
        self._rules = rules
        self._zones = zones
        self._objects = group.seen.objects
        self._groups = group.seen.resolved(registered_known=registered_known)
        self._lists: dict[tuple[str, ...], Estimate | None] = {}
        self._far: dict[object, Ends] = {}
        self._filter = tag_filter.parse(rules.filter) if rules.filter.strip() else None
        self._wild = (self._wildcard_lists("source"), self._wildcard_lists("destination"))
        self._overlapping = tuple(each.overlap() for each in self._wild)
        self.meant = [self._meant(placed) for placed in group.seen.rules]

    def decided(self, zone: str, direction: Direction) -> Iterator[Entry]:
        """What is decided for the pods of a zone, in order; the last of them decides all."""
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
        """What no default decides between a zone and others: wildcards of two rules overlap."""
        profiles = self._profiles
        pods = sum(profiles.zones.get(each, 0) for each in zones)
        networks = self._networks.perhaps(zones)
        local, far = self._overlapping if direction == "egress" else self._overlapping[::-1]
        for here, there in ((local, EVERYWHERE), (EVERYWHERE, far)):
            ends = tuple(_at(pods, there, profiles.no_pod, networks & there))
            if here and there:
                yield Entry(here, ends, _ANY_TRAFFIC, "deny", "wildcard-overlap")

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
            yield Entry(EVERYWHERE, ends, _ANY_TRAFFIC, action, name)
        unzoned: Action = "allow" if self._zones.unzoned_pods == "pass" else "deny"
        pods_left: Ends = ((profiles.pods, EVERYWHERE),)
        yield Entry(EVERYWHERE, pods_left, _ANY_TRAFFIC, unzoned, "unzoned-pods")
        unknown: Action = "allow" if self._zones.unknown_addresses == "pass" else "deny"
        everyone: Ends = ((profiles.everyone, EVERYWHERE),)
        yield Entry(EVERYWHERE, everyone, _ANY_TRAFFIC, unknown, "unknown-addresses")

    # --- rules ------------------------------------------------------------------------------------

    def _meant(self, placed: EffectiveRule) -> RuleSemantics:
        rule = placed.rule
        allow = rule.action == "allow"
        surely = self._surely(action_of(rule))
        place = self._place(placed)
        nothing = RuleSemantics(placed, place, surely, None, None, NOWHERE, NOWHERE, (), ())
        if rule.disabled:
            return nothing
        there, surely_there = self._targeted(rule)
        inexact = ["only some firewalls may have it"] if there != surely_there else []
        if not (surely_there if surely else there):
            return replace(nothing, inexact=tuple(inexact))
        if (
            self._filter
            and not self._filter.matches(frozenset(rule.tags))
            and (allow or (self._rules.filter_denies and not rule.unreadable))
        ):
            return replace(nothing, inexact=("rules.filter leaves it out",))
        if rule.constraints or rule.unreadable:
            inexact.append("it asks for what Calico cannot see")
            if surely or _accepted(self._rules.accept_dropped_denies, rule):
                return replace(nothing, inexact=tuple(inexact))
        accepted = _accepted(self._rules.accept_dropped_members, rule)
        traffic, exact_traffic, open_traffic = self._traffic(rule, accepted=accepted)
        if not exact_traffic:
            inexact.append("its applications and services are not all ports")
        ends = []
        for end, wild, members, negated in zip(
            ("source", "destination"),
            self._wild,
            (rule.sources, rule.destinations),
            (rule.negate_source, rule.negate_destination),
            strict=True,
        ):
            listed = self._listed(members)
            if listed is None:
                found = NOWHERE if negated else EVERYWHERE
            else:
                found = _matched(
                    listed,
                    negated=negated,
                    surely=surely,
                    accepted=accepted,
                    answered=self._bound == "by action",
                )
                inexact += [f"its {end} is not wholly known"] if listed.open else []
            if surely:
                kept = wild.surely(place, found)
                if (found - kept) & ON_THE_WIRE:
                    inexact.append(f"its {end} shares addresses with wildcard objects")
                found = kept
            ends.append(found)
        opened = open_traffic or any(
            listed is not None and listed.open and not accepted
            for listed in map(self._listed, (rule.sources, rule.destinations))
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
            ends[0],
            ends[1],
            traffic if ends[0] and ends[1] else (),
            tuple(inexact),
        )

    def _unknown(
        self, rule: Rule, from_zones: frozenset[str] | None, to_zones: frozenset[str] | None
    ) -> Iterator[str]:
        """A clause for each zone that a rule speaks of and whose networks are not known."""
        spoken = (from_zones or frozenset()) | (to_zones or frozenset())
        if rule.rule_type != "universal" and from_zones is None and to_zones is None:
            spoken = zones_named(self._group)
        for zone in sorted(spoken - self._networks.of.keys()):
            yield f"the networks of zone {zone!r} are not known"

    def _targeted(self, rule: Rule) -> tuple[bool, bool]:
        """Whether a firewall that the clusters stand for may have a rule, and all surely have."""
        target = rule.target
        if target == EVERY_FIREWALL:
            return True, True
        if target.negate and not (target.devices or target.tags):
            return False, False
        ours = set(self._rules.devices)
        if target.tags or not ours:
            return True, False
        chosen = {serial for serial, _ in target.devices}
        wholly = {serial for serial, systems in target.devices if not systems}
        if target.negate:
            return bool(ours - wholly), not ours & chosen
        return bool(ours & chosen), ours <= wholly

    def _traffic(self, rule: Rule, *, accepted: bool) -> tuple[tuple[Traffic, ...], bool, bool]:
        """The traffic, whether it is the rule's own, and whether a deny grew for what is open."""
        surely = self._surely(action_of(rule))
        services, applications = frozenset(rule.services), frozenset(rule.applications)
        unsayable: tuple[tuple[Traffic, ...], bool, bool]
        unsayable = ((), False, False) if surely else (_ANY_TRAFFIC, False, True)
        explicit = not services & {_ANY, _BY_DEFAULT}
        served = resolve_services(sorted(services), self._objects.services) if explicit else None
        named = None
        if _ANY not in applications:
            named = resolve_applications(
                sorted(applications), self._objects.applications, denied=not surely
            )
            if not named.traffic and not named.open_because:
                return (), True, False
        if served is not None and not served.served and not served.open_because:
            return (), True, False
        if surely:
            if (named is not None or _BY_DEFAULT in services) and (
                self._rules.applications == "strict"
            ):
                return (), False, False
            exact = named is None and _BY_DEFAULT not in services
            found = _ANY_TRAFFIC if named is None else named.traffic
            if served is not None:
                found = served.served if named is None else shared(named.traffic, served.served)
                exact = exact and not served.open_because
            return found, exact, False
        if served is not None:
            if served.open_because and not accepted:
                return unsayable
            return served.served, named is None and not served.open_because, named is not None
        if named is None:
            return _ANY_TRAFFIC, _ANY in services, _BY_DEFAULT in services
        # A firewall's content may have ports that the bundled table lacks: no deny rests on it.
        by_table = bool(named.bundled) and action_of(rule) == "deny"
        if _BY_DEFAULT in services and not named.open_because and not by_table:
            return named.traffic, False, True
        if self._rules.deny_applications == "ports":
            return named.traffic, False, False
        return unsayable

    # --- lists ------------------------------------------------------------------------------------

    def _listed(self, members: tuple[str, ...]) -> Estimate | None:
        """What a list holds; None for any."""
        if _ANY in members:
            return None
        if members not in self._lists:
            self._lists[members] = _as_calico_reads(Estimate.union(map(self._member, members)))
        return self._lists[members]

    def _member(self, name: str) -> Estimate:
        found = self._objects.addresses.get(name)
        if isinstance(found, AddressGroup):
            return self._groups[name].holds
        external = self._objects.external_lists.get(name)
        if found is None and external is not None:
            return external.holds or Estimate.unknown(f"the content of list {name!r} is unknown")
        addresses = found.addresses if found else literal(name)
        if addresses is None:
            answers = found.answers if found else NOWHERE
            return Estimate.unknown(f"the addresses of {name!r} are unknown", answers)
        return Estimate.exactly(addresses)

    def _wildcard_lists(self, end: Literal["source", "destination"]) -> WildcardLists:
        """The lists with wildcard objects at one end, of all rules that a firewall may have."""
        objects = WildcardObjects(self._objects.addresses)
        found: dict[Hashable, WildcardList] = {}
        for placed in self._group.seen.rules:
            rule = placed.rule
            members = rule.sources if end == "source" else rule.destinations
            negated = rule.negate_source if end == "source" else rule.negate_destination
            values = [pattern(each.value) for each in objects.reached(members)]
            if not values or rule.disabled or not self._targeted(rule)[0]:
                continue
            more = ALL_IPV4 if None in values else NOWHERE
            listed = self._listed(members)
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


def _at(
    pods: int, where: AddressSet, no_pod: int, outside: AddressSet
) -> Iterator[tuple[int, AddressSet]]:
    """Pods at some addresses, and whoever is no pod at others."""
    if pods and where == outside:
        yield pods | no_pod, where
        return
    if pods and where:
        yield pods, where
    if outside:
        yield no_pod, outside


def _zones(names: Sequence[str]) -> frozenset[str] | None:
    return None if _ANY in names else frozenset(names)


def _matched(
    listed: Estimate, *, negated: bool, surely: bool, accepted: bool, answered: bool
) -> AddressSet:
    """What surely matches, or what may match; `answered`: DNS is taken at its word."""
    if listed.open and not (accepted and not surely):
        if surely:
            plain = listed.surely | listed.answers if answered else listed.surely
            return NOWHERE if negated else plain
        if not negated:
            return EVERYWHERE if listed.at_most is None else listed.at_most
    return EVERYWHERE - listed.surely if negated else listed.surely


def _as_calico_reads(listed: Estimate) -> Estimate:
    """The list without IPv4-mapped addresses; open where a net of it is all such addresses."""
    surely = listed.surely - _MAPPED_V4
    because = listed.because
    if _has_mapped(listed.surely):
        because = (*because, "Calico reads IPv4-mapped addresses as IPv4")
    if not because:
        return Estimate.exactly(surely)
    bounded = listed.at_most is not None and not _has_mapped(listed.at_most)
    at_most = listed.at_most if bounded else None
    return Estimate(surely, at_most, listed.answers - _MAPPED_V4, because)


def _has_mapped(held: AddressSet) -> bool:
    """Whether a net of it is all IPv4-mapped addresses, which Calico reads as IPv4."""
    return bool(held.v6 and held & _MAPPED_V4) and any(
        not network(net) - _MAPPED_V4 for net in held.cidrs()
    )


def _accepted(names: Sequence[str], rule: Rule) -> bool:
    return not {rule.name, *rule.tags}.isdisjoint(names)

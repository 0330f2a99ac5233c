"""Translate one rule of the firewall to the Calico rules of a zone.

    rule of the effective rulebase    ->  TranslatedRule (what Calico can express, every loss)
    TranslatedRule, zone z, direction ->  Calico rules: local ends x remote ends x traffic

A policy of z judges egress if z is a source zone, and ingress if it is a destination zone. Both
sides carry the whole match, so both agree with the firewall's first match.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Final, Literal

from sync.calico import limits
from sync.calico.objects import Direction, EntityRule, Icmp
from sync.calico.objects import Rule as CalicoRule
from sync.errors import UsageError
from sync.firewall import tag_filter
from sync.firewall.effective import EffectiveDeviceGroup, EffectiveRule
from sync.firewall.reasons import Reason
from sync.firewall.rules import Rule
from sync.firewall.services import Traffic
from sync.net.ports import LAST_PORT, PortSet
from sync.options import RuleOptions
from sync.translate.address_match import ANY, NOTHING, AddressMatch, MemberLists, match
from sync.translate.endpoints import ANYWHERE, Endpoint, Endpoints
from sync.translate.fidelity import Loss, Status, loss
from sync.translate.targets import targeted
from sync.translate.traffic import traffic_of
from sync.translate.wildcards import WildcardRules
from sync.translate.zones import Zone, Zones

Action = Literal["Allow", "Deny", "Pass"]

_PROTOCOLS: Final = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP", 136: "UDPLite"}
_ICMP_FAMILIES: Final[dict[int, Literal[4, 6]]] = {1: 4, 58: 6}
_UNKNOWN_NETWORKS: Final = {
    Status.WIDENED: "it denies wherever they may be",
    Status.NARROWED: "it allows pods only there",
    Status.MORE_PERMISSIVE: "zones.trust_addresses takes its addresses for theirs",
}
_CONSTRAINTS: Final = {
    "source-user": Reason.USERS,
    "hip-profiles": Reason.HIP,
    "source-hip": Reason.HIP,
    "destination-hip": Reason.HIP,
    "category": Reason.CATEGORY,
    "schedule": Reason.SCHEDULE,
}
OVERLAP: Final = "wildcard-overlap"
"""The name of the rule for addresses in wildcards of two rules, which no default may allow."""

_NO_PORT: Final = (f"1:{LAST_PORT}",)


@dataclass(frozen=True, slots=True)
class TranslatedRule:
    """The part of one rule that Calico can express, and every loss.

    Zones are None for any. Without `traffic` the rule matches nothing and becomes no Calico rule.
    """

    placed: EffectiveRule
    allow: bool
    from_zones: tuple[str, ...] | None
    to_zones: tuple[str, ...] | None
    source: AddressMatch
    destination: AddressMatch
    traffic: tuple[Traffic, ...]
    losses: tuple[Loss, ...]

    @property
    def rule(self) -> Rule:
        return self.placed.rule

    def speaks_of(self, zone: str) -> bool:
        """Whether policies of a zone may contain a part of the rule."""
        if self.from_zones is None or self.to_zones is None:
            return True
        return zone in self.from_zones or zone in self.to_zones


class RuleTranslator:
    """Translates the rules of one device group."""

    def __init__(
        self,
        device_group: EffectiveDeviceGroup,
        lists: MemberLists,
        zones: Zones,
        options: RuleOptions,
        *,
        trust_addresses: bool,
    ) -> None:
        """`UsageError` if `rules.filter` cannot be read."""
        self._objects = device_group.objects
        self._defaults = device_group.defaults
        self._lists = lists
        self._zones = zones
        self._options = options
        self._firewalls = device_group.firewalls.among(options.devices)
        self._trust_addresses = trust_addresses
        self._filter = None
        if options.filter.strip():
            try:
                self._filter = tag_filter.parse(options.filter)
            except ValueError as error:
                raise UsageError(f"rules.filter cannot be read: {error}; correct it") from error
        there = (placed.rule for placed in device_group.rules if self._may_count(placed.rule))
        self._wildcards = WildcardRules(there, lists)
        self._overlapping = [
            AddressMatch(self._wildcards.overlap(end)) for end in ("source", "destination")
        ]
        self._traffic_known: dict[object, tuple[tuple[Traffic, ...], tuple[Loss, ...]]] = {}

    def overlaps(
        self, zone: Zone, ends: Endpoints
    ) -> Iterator[tuple[list[CalicoRule], list[CalicoRule]]]:
        """The denies before a zone's defaults in each direction: where wildcards of rules overlap.

        No default may allow these flows. If no default allows anything, none are needed.
        """
        within, between = (
            self._defaults[name] == "allow" for name in ("intrazone-default", "interzone-default")
        )
        others = (name for name in self._zones.remote if name != zone.name)
        allowed = ((zone.name,) if within else ()) + (tuple(others) if between else ())
        placed = EffectiveRule(Rule(OVERLAP, action="deny"), "", "", 0)
        source, destination = self._overlapping
        for pair in ((source, ANY), (ANY, destination)) if allowed else ():
            if NOTHING not in pair:
                out = TranslatedRule(placed, False, (zone.name,), allowed, *pair, (Traffic(),), ())  # noqa: FBT003 - a deny
                back = replace(out, from_zones=allowed, to_zones=(zone.name,))
                yield (
                    calico_rules(out, zone, "Egress", ends, "Deny"),
                    calico_rules(back, zone, "Ingress", ends, "Deny"),
                )

    def say(self, placed: EffectiveRule) -> TranslatedRule:
        """Translate a rule."""
        rule = placed.rule
        allow = rule.action == "allow"
        if rule.disabled:
            return self._nothing(placed)
        there, lost = targeted(rule.target, self._firewalls, allow=allow)
        if not there:
            elsewhere = loss(
                Status.NOT_TARGETED,
                "its target is none of the firewalls here",
                Reason.NOT_TARGETED,
            )
            return self._nothing(placed, *(lost or [elsewhere]))
        if self._filter and not self._filter.matches(frozenset(rule.tags)):
            if allow:
                reason = "rules.filter leaves it out"
                return self._nothing(placed, loss(Status.LEFT_OUT, reason, Reason.FILTER))
            # A rule whose tags are unreadable may have the tag that keeps it.
            if self._options.filter_denies and not rule.unreadable:
                reason = "rules.filter leaves it out, and rules.filter_denies allows that"
                return self._nothing(placed, loss(Status.MORE_PERMISSIVE, reason, Reason.ACCEPTED))
        constraints = [
            *(
                (f"<{tag}> is {', '.join(values)}", _CONSTRAINTS.get(tag, Reason.CONSTRAINT))
                for tag, values in rule.constraints
            ),
            *((each, Reason.UNREADABLE) for each in rule.unreadable),
        ]
        if constraints and allow:
            said_by = "; ".join(each for each, _ in constraints)
            reason = f"Calico cannot see what it asks for: {said_by}"
            kinds = (kind for _, kind in constraints)
            return self._nothing(placed, loss(Status.LEFT_OUT, reason, *kinds))
        losses = [
            loss(Status.WIDENED, f"it denies everyone: Calico cannot see that {each}", kind)
            for each, kind in constraints
        ]
        said, unsayable = self._matched(placed, losses, allow=allow)
        if unsayable and not allow and _names(self._options.accept_dropped_denies, rule):
            reason = (
                "rules.accept_dropped_denies leaves it out: "
                f"{'; '.join(each.reason for each in unsayable)}"
            )
            return self._nothing(placed, loss(Status.MORE_PERMISSIVE, reason, Reason.ACCEPTED))
        return replace(said, losses=(*lost, *said.losses))

    def _matched(
        self, placed: EffectiveRule, losses: list[Loss], *, allow: bool
    ) -> tuple[TranslatedRule, list[Loss]]:
        """Translate a rule that counts; also return its losses that widen a deny."""
        rule = placed.rule
        accepted = _names(self._options.accept_dropped_members, rule)
        traffic, lost = self._traffic(rule, accepted=accepted)
        losses += lost
        ends: list[AddressMatch] = []
        for end, members, negated in (
            ("source", rule.sources, rule.negate_source),
            ("destination", rule.destinations, rule.negate_destination),
        ):
            found, lost = match(
                end, self._lists.listed(members), negated=negated, allow=allow, accepted=accepted
            )
            losses += lost
            kept = self._wildcards.left(rule, end, found) if allow else found
            if kept != found:
                found = kept
                reason = f"its {end} shares addresses with wildcard objects of other rules"
                losses.append(loss(Status.NARROWED, reason, Reason.WILDCARD))
            ends.append(found.referenced(allow=allow))
        unsayable = [each for each in losses if each.status is Status.WIDENED]
        from_zones, to_zones = _zones(rule.from_zones), _zones(rule.to_zones)
        if rule.rule_type == "intrazone":
            to_zones = from_zones
        losses += self._zone_losses(rule, from_zones, to_zones, ends, allow=allow)
        if any(not each.negated and each.is_empty and not each.groups for each in ends):
            traffic = ()
        said = TranslatedRule(
            placed, allow, from_zones, to_zones, ends[0], ends[1], traffic, tuple(losses)
        )
        return said, unsayable

    def _traffic(
        self, rule: Rule, *, accepted: bool
    ) -> tuple[tuple[Traffic, ...], tuple[Loss, ...]]:
        key = (rule.action, rule.services, rule.applications, accepted)
        if key not in self._traffic_known:
            self._traffic_known[key] = traffic_of(
                rule, self._objects, self._options, accepted=accepted
            )
        return self._traffic_known[key]

    def _nothing(self, placed: EffectiveRule, *losses: Loss) -> TranslatedRule:
        allow = placed.rule.action == "allow"
        return TranslatedRule(placed, allow, (), (), NOTHING, NOTHING, (), losses)

    def _may_count(self, rule: Rule) -> bool:
        """Whether a firewall that the clusters stand for may have a rule."""
        there, lost = targeted(rule.target, self._firewalls, allow=True)
        return not rule.disabled and (there or bool(lost))

    def _zone_losses(
        self,
        rule: Rule,
        from_zones: tuple[str, ...] | None,
        to_zones: tuple[str, ...] | None,
        ends: Sequence[AddressMatch],
        *,
        allow: bool,
    ) -> Iterator[Loss]:
        """The losses because the networks of a zone are unknown."""
        if rule.rule_type != "universal" and from_zones is None and to_zones is None:
            from_zones = to_zones = tuple(self._zones.own)
        lost: dict[Status, set[str]] = {}
        for zones, end in ((from_zones, ends[0]), (to_zones, ends[1])):
            trusted = self._trust_addresses and end.lists_its_own
            for name in zones or ():
                if self._zones.remote[name].networks is None:
                    status = Status.MORE_PERMISSIVE if trusted else Status.NARROWED
                    lost.setdefault(status if allow else Status.WIDENED, set()).add(name)
        for status, found in sorted(lost.items()):
            many = "s" if len(found) > 1 else ""
            zones_lost = f"the networks of zone{many} {', '.join(map(repr, sorted(found)))}"
            reason = f"{zones_lost} are not known: {_UNKNOWN_NETWORKS[status]}"
            about = f"zone{many} {', '.join(sorted(found))}"
            yield loss(status, reason, Reason.NETWORKS, about=about)


def _names(accepted: Sequence[str], rule: Rule) -> bool:
    """Whether a setting names the rule or one of its tags."""
    return not {rule.name, *rule.tags}.isdisjoint(accepted)


def _zones(listed: tuple[str, ...]) -> tuple[str, ...] | None:
    return None if "any" in listed else tuple(sorted(set(listed)))


def calico_rules(
    said: TranslatedRule, zone: Zone, direction: Direction, ends: Endpoints, action: Action
) -> list[CalicoRule]:
    """The Calico rules of one rule in one direction of a zone's policies, without annotations."""
    if not said.traffic:
        return []
    here, there = (
        (said.from_zones, said.to_zones)
        if direction == "Egress"
        else (said.to_zones, said.from_zones)
    )
    if here is not None and zone.name not in here:
        return []
    local, remote = (
        (said.source, said.destination)
        if direction == "Egress"
        else (said.destination, said.source)
    )
    far_ends = _far_ends(said, zone, there, remote, ends)
    if not far_ends:
        return []
    return [
        rule
        for near, far, traffic in product(ends.by_address(local), far_ends, said.traffic)
        for rule in _rules(action, direction, near, far, traffic)
    ]


def _far_ends(
    said: TranslatedRule,
    zone: Zone,
    there: tuple[str, ...] | None,
    remote: AddressMatch,
    ends: Endpoints,
) -> tuple[Endpoint, ...]:
    kind = said.rule.rule_type
    if kind == "intrazone":
        return ends.in_zones((zone.name,), remote, allow=said.allow)
    if there is None:
        if kind == "interzone":
            return ends.not_in_zone(zone, remote, allow=said.allow)
        return ends.by_address(remote)
    zones = tuple(name for name in there if kind != "interzone" or name != zone.name)
    return ends.in_zones(zones, remote, allow=said.allow)


def whole(action: Action, direction: Direction, far: Endpoint) -> CalicoRule:
    """A rule of all traffic between the pods of a policy and a far end."""
    (made,) = _rules(action, direction, ANYWHERE, far, Traffic())
    return made


def _rules(
    action: Action, direction: Direction, near: Endpoint, far: Endpoint, traffic: Traffic
) -> Iterator[CalicoRule]:
    """One combination: several rules if there are many ports, none if the families differ."""
    families = {near.family, far.family, _ICMP_FAMILIES.get(traffic.protocol or 0)} - {None}
    if len(families) > 1:
        return
    family = families.pop() if families else None
    source, destination = (near, far) if direction == "Egress" else (far, near)
    protocol: str | int | None = None
    if traffic.protocol is not None:
        protocol = _PROTOCOLS.get(traffic.protocol, traffic.protocol)
    for sources, destinations in product(
        _ported(source.entity, traffic.source_ports), _ported(destination.entity, traffic.ports)
    ):
        yield CalicoRule(
            action=action,
            protocol=protocol,
            ip_version=family,
            source=sources,
            destination=destinations,
            icmp=Icmp(*traffic.icmp) if traffic.icmp else None,
        )


def _ported(entity: EntityRule, ports: PortSet | None) -> Iterator[EntityRule]:
    """An entity for these ports, at most 50 in each."""
    if ports is None:
        yield entity
        return
    for said in _port_lists(ports):
        yield entity.with_ports(said)
    if 0 in ports:
        # Calico's ports begin with 1, so all ports except those are port 0.
        yield entity.with_ports((), _NO_PORT)


@lru_cache(1 << 12)  # many rules have the same services
def _port_lists(ports: PortSet) -> tuple[tuple[int | str, ...], ...]:
    said = tuple(_port_range(first, past - 1) for first, past in ports.ranges() if past > 1)
    most = limits.PORTS_PER_ENTITY
    return tuple(said[start : start + most] for start in range(0, len(said), most))


def _port_range(first: int, last: int) -> int | str:
    first = max(first, 1)
    return first if first == last else f"{first}:{last}"

"""The changes that may allow a flow, each with who can make it; whether it helps is tried later."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sync.calico.names import label_value
from sync.firewall import tag_filter
from sync.firewall.configuration import Snapshot
from sync.firewall.effective import EffectiveRule
from sync.firewall.objects import AddressGroup
from sync.net.addresses import AddressSet
from sync.options import Essential, ZoneDefinition
from sync.queries.model_changes import (
    Model,
    Remedy,
    denied_service,
    with_exemption,
    with_member,
    with_rule,
)
from sync.reconcile.desired import Desired
from sync.reconcile.verification import judged_groups
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from sync.verify.explain import Party, Side
from sync.verify.judgement import Decider
from sync.verify.packet_space import Place
from sync.verify.profiles import DeviceGroup, Profiles, networks_of, zones_named
from sync.verify.rule_traffic import rule_traffic
from sync.verify.traffic_space import Packet, carries

_PORTS: Final = {6: "tcp", 17: "udp"}


# Where the firewall knows no zone of the far end, these settings decide in its place.
_BY_SETTING: Final = ("unzoned-pods", "unknown-addresses")
_LISTED: Final = 8  # networks in one sentence
_NAMING: Final = ("k8s-app", "app.kubernetes.io/name", "app")  # labels that say what a pod is


def denied_by_firewall(sides: Sequence[Side], *, but_settings: bool = False) -> bool:
    """Whether the firewall does not surely allow it; `but_settings`: where it decides itself."""
    return any(
        case.firewall is not None
        and case.firewall.verdict != "allow"
        and not (
            but_settings
            and case.firewall.decider.rule in _BY_SETTING
            and all(each.action == "allow" for each in case.firewall.perhaps)
        )
        for side in sides
        for case in side.cases
    )


class Candidates:
    """The changes that may allow one flow in one cluster, whose `sides` decide it `now`."""

    def __init__(self, inputs: Desired, now: Model, packet: Packet, sides: Sequence[Side]) -> None:
        self._packet = packet
        self._sides = sides
        self._now = now
        self._targets = inputs.targets
        self._groups = judged_groups(inputs.targets)
        every = frozenset(inputs.options.zones.definitions).union(*map(zones_named, self._groups))
        self._profiles = Profiles(every, inputs.options.zones)

    def all(self) -> Iterator[tuple[Remedy, Model]]:
        """Changes that may help, the smallest kind first."""
        yield from self._labels()
        yield from self._members()
        yield from self._networks()
        yield from self._rules()
        yield from self._policies()
        yield from self._essentials()
        yield from self._settings()

    # --- who denies it ----------------------------------------------------------------------------

    def _denies(self, side: Side) -> list[EffectiveRule]:
        """The rules of the side's device group that deny the flow or may, there or in Calico."""
        target = self._target(side)
        places: set[Place] = set()
        names: set[str] = set()
        for decider in self._deciders(side):
            if decider.action == "deny":
                if decider.place:
                    places.add(decider.place)
                elif decider.where and decider.rule:
                    names.add(decider.rule)
        return [
            each
            for each in target.device_group.rules
            if (side.source, side.device_group, each.device_group, each.rulebase, each.position)
            in places
            or (each.rule.name in names and each.rule.action != "allow")
        ]

    def _deciders(self, side: Side) -> Iterator[Decider]:
        for case in side.cases:
            for judgement in (case.firewall, case.calico):
                if judgement and judgement.verdict != "allow":
                    yield from (*judgement.perhaps, judgement.decider)

    def _past(self, sides: Sequence[Side]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_named(each) for side in sides for each in self._denies(side)))

    def _denying(self) -> list[Side]:
        """The sides that do not surely allow it, the first of each device group."""
        found: dict[tuple[str, str], Side] = {}
        for side in self._sides:
            if any(self._deciders(side)):
                found.setdefault((side.source, side.device_group), side)
        return [*found.values()]

    def _target(self, side: Side) -> Target:
        return next(each for each in self._targets if each.tier == side.tier)

    # --- changes of each kind ---------------------------------------------------------------------

    def _labels(self) -> Iterator[tuple[Remedy, Model]]:
        """The zone label on a pod that is known."""
        label = self._now.options.zones.label
        for number, party in enumerate(self._now.parties):
            if party.labels is None:
                continue
            for zone in sorted(self._profiles.every):
                if not self._profiles.by_label(zone) or zone == self._zone_of(party):
                    continue
                labels = {**party.labels, label: label_value(zone)}
                text = f"label the pod at {_at(party)} {label}={label_value(zone)}"
                yield (
                    Remedy("label", "platform", text),
                    replace(self._now, parties=self._with(number, party._replace(labels=labels))),
                )

    def _with(self, number: int, party: Party) -> tuple[Party, Party]:
        one, other = self._now.parties
        return (party, other) if number == 0 else (one, party)

    def _members(self) -> Iterator[tuple[Remedy, Model]]:
        """A member of a group that an allow rule lists."""
        for side in self._denying():
            target = self._target(side)
            zones = [self._zone_in(target, party) for party in self._now.parties]
            for placed in target.device_group.rules:
                rule = placed.rule
                if rule.action != "allow" or rule.disabled or rule.negate_source:
                    continue
                of_zones = (rule.from_zones, rule.to_zones)
                if rule.negate_destination or any(
                    "any" not in listed and zone not in listed
                    for zone, listed in zip(zones, of_zones, strict=True)
                ):
                    continue
                objects, options = target.device_group.objects, self._now.options.rules
                found = rule_traffic(rule, objects, options, surely=True, accepted=False)
                if carries(found.traffic, self._packet):
                    yield from self._memberships(target, placed)

    def _memberships(self, target: Target, placed: EffectiveRule) -> Iterator[tuple[Remedy, Model]]:
        snapshot = self._now.snapshots[target.source]
        rule, objects = placed.rule, target.device_group.objects
        for party, members in zip(
            self._now.parties, (rule.sources, rule.destinations), strict=True
        ):
            address = _at(party)
            if not address or "any" in members:
                continue
            for name in members:
                group = objects.addresses.get(name)
                if not isinstance(group, AddressGroup) or group.filter or group.problem:
                    continue
                changed = with_member(snapshot, target.device_group.lineage, name, address)
                if changed:
                    text = (
                        f"add {address} to the address group {name!r}, which {_named(placed)} lists"
                    )
                    yield (
                        Remedy("member", "firewall team", text, self._past_of(target, placed)),
                        self._of_source(target.source, changed),
                    )

    def _past_of(self, target: Target, placed: EffectiveRule) -> tuple[str, ...]:
        """The denies behind a rule that would take its flows."""
        rules = target.device_group.rules
        return tuple(
            each
            for each in self._past([s for s in self._denying() if s.tier == target.tier])
            if any(_named(other) == each for other in rules[rules.index(placed) :])
        )

    def _of_source(self, source: str, snapshot: Snapshot) -> Model:
        return replace(self._now, snapshots={**self._now.snapshots, source: snapshot})

    def _networks(self) -> Iterator[tuple[Remedy, Model]]:
        """A zone's networks, for an address outside pods that no zone is known to hold."""
        zones = self._now.options.zones
        derived = {
            name: nets for group in self._groups for name, nets in group.derived.networks.items()
        }
        for party in self._now.parties:
            options = self._now.options
            if party.is_pod or any(
                _zone_at(group, self._groups, party.addresses, options) for group in self._groups
            ):
                continue
            net = party.addresses.cidrs()[0]
            for zone in sorted(frozenset().union(*map(zones_named, self._groups))):
                old = zones.definitions.get(zone, ZoneDefinition())
                had = old.networks if old.networks is not None else derived.get(zone, ())
                if old.networks == ():
                    continue  # it is configured to have pods alone
                new = replace(old, networks=(*had, net))
                changed = replace(zones, definitions={**zones.definitions, zone: new})
                do = network_setting(zone, had, net, derived=old.networks is None)
                text = f"if it is behind zone {zone} on the firewall, {do}"
                yield (
                    Remedy("network", "platform", text),
                    replace(self._now, options=replace(options, zones=changed)),
                )

    def _rules(self) -> Iterator[tuple[Remedy, Model]]:
        """A rule in each device group that denies the flow, above all that does."""
        service = denied_service(self._packet)
        if service is None:
            return
        snapshots = dict(self._now.snapshots)
        texts, past = [], []
        for side in self._denying():
            target = self._target(side)
            ends = [self._end_in(target, party) for party in self._now.parties]
            denies = self._denies(side)
            where = denies[0] if denies else None
            scope = where.device_group if where else target.device_group.name
            rulebase, position = (where.rulebase, where.position) if where else ("pre", 0)
            snapshots[target.source] = with_rule(
                snapshots[target.source],
                scope,
                rulebase,
                position,
                ends,
                service,
                self._tags(target),
            )
            place = f"above {_named(where)}" if where else f"at the end of the pre-rules of {scope}"
            (from_zone, source), (to_zone, destination) = ends
            texts.append(
                f"a rule {place}: allow from zone {from_zone} ({source}) to zone {to_zone} "
                f"({destination}), {service.ports}/{service.protocol}"
            )
            past += [_named(each) for each in denies]
        if texts:
            remedy = Remedy(
                "rule", "firewall team", "; and ".join(texts), tuple(dict.fromkeys(past))
            )
            yield remedy, replace(self._now, snapshots=snapshots)

    def _tags(self, target: Target) -> tuple[str, ...]:
        """Tags with which the configured filter takes a new rule."""
        text = self._now.options.rules.filter
        if not text.strip():
            return ()
        wanted = tag_filter.parse(text)
        tags = (each.rule.tags for each in target.device_group.rules)
        return next((each for each in tags if wanted.matches(frozenset(each))), ())

    def _policies(self) -> Iterator[tuple[Remedy, Model]]:
        """A policy of others in one of our tiers, with an exemption for the flow."""
        named = {each["metadata"]["name"]: each for each in self._now.others}
        for side in self._sides:
            far = self._now.parties[1 if side.direction == "egress" else 0].addresses
            for where in sorted(
                {each.where for each in self._deciders(side) if each.action == "deny"}
            ):
                name, _, rule = where.partition("[")
                index = rule.removesuffix("]").rpartition(" ")[2]
                if name not in named or not index.isdigit():
                    continue
                policy = named[name]
                new = with_exemption(policy, side.direction, int(index), far, self._packet)
                others = tuple(new if each is policy else each for each in self._now.others)
                text = f"exempt the flow in the policy {name} of others, before {where}"
                remedy = Remedy("policy", "cluster policies", text, (where,))
                yield remedy, replace(self._now, others=others)

    def _essentials(self) -> Iterator[tuple[Remedy, Model]]:
        """An essential, where no rule of the firewall denies the flow."""
        protocol = _PORTS.get(self._packet.protocol)
        if protocol is None or denied_by_firewall(self._sides, but_settings=True):
            return
        zones = self._now.options.zones
        port = f"{self._packet.port}/{protocol}"
        added, texts = [], []
        denied = {side.direction for side in self._sides if any(self._deciders(side))}
        for direction, near, far in (("egress", 0, 1), ("ingress", 1, 0)):
            if direction not in denied:
                continue
            own, other = self._selector(near), self._selector(far)
            cidrs = () if other else tuple(self._now.parties[far].addresses.cidrs())
            if own and (other or len(cidrs) == 1):
                way: Any = direction
                added.append(Essential(way, own, other, cidrs, (port,)))
                texts.append(f"{direction} on {own}: {other or cidrs[0]}, {port}")
        if added:
            options = replace(zones, essentials=(*zones.essentials, *added))
            yield (
                Remedy(
                    "essential",
                    "platform",
                    f"add to zones.essentials: {'; '.join(texts)}",
                    self._past(self._denying()),
                ),
                replace(self._now, options=replace(self._now.options, zones=options)),
            )

    def _selector(self, number: int) -> str:
        """The pods of an end, by the label of their zone or what they are; "" if by neither."""
        party, label = self._now.parties[number], self._now.options.zones.label
        zone = self._zone_of(party)
        if zone:
            by_label = self._profiles.by_label(zone)
            return f"{label} == '{label_value(zone)}'" if by_label else ""
        labels = party.labels or {}
        named = next((key for key in _NAMING if key in labels), "")
        return f"{named} == '{labels[named]}'" if named else ""

    def _settings(self) -> Iterator[tuple[Remedy, Model]]:
        """A deny that is larger in Calico than on the firewall, without what made it so."""
        if denied_by_firewall(self._sides):
            return
        rules = self._now.options.rules
        denies = {each.rule.name: each for side in self._denying() for each in self._denies(side)}
        members = tuple(dict.fromkeys((*rules.accept_dropped_members, *denies)))
        wholly = tuple(dict.fromkeys((*rules.accept_dropped_denies, *denies)))
        for key, options in (
            ("accept_dropped_members", replace(rules, accept_dropped_members=members)),
            ("accept_dropped_denies", replace(rules, accept_dropped_denies=wholly)),
        ):
            if denies:
                text = f"add {', '.join(map(repr, denies))} to rules.{key}: it then denies less"
                yield (
                    Remedy("setting", "platform", text, tuple(map(_named, denies.values()))),
                    replace(self._now, options=replace(self._now.options, rules=options)),
                )

    # --- ends -------------------------------------------------------------------------------------

    def _zone_of(self, party: Party) -> str:
        """The zone of a pod; "" if it has none."""
        return party.zone or (self._profiles.zone_of(party.labels) or "" if party.labels else "")

    def _zone_in(self, target: Target, party: Party) -> str:
        """The zone of an end as a device group has it; "any" if that is not known."""
        if party.is_pod:
            return self._zone_of(party) or "any"
        group = next(each for each in self._groups if each.tier == target.tier)
        return _zone_at(group, self._groups, party.addresses, self._now.options) or "any"

    def _end_in(self, target: Target, party: Party) -> tuple[str, str]:
        """An end as a rule names it: its zone, and its address where it is no pod."""
        zone = self._zone_in(target, party)
        # The addresses of pods come and go.
        return zone, "any" if party.is_pod and zone != "any" else _at(party) or "any"


def _zone_at(
    group: DeviceGroup, groups: Sequence[DeviceGroup], where: AddressSet, options: Options
) -> str:
    """The zone whose networks hold some addresses; "" if no zone is known to."""
    named = frozenset[str]().union(*map(zones_named, groups)) - zones_named(group)
    networks = networks_of(group, options.zones, named)
    return next((name for name, held in networks.of.items() if not where - held), "")


def network_setting(zone: str, had: Sequence[str], net: str, *, derived: bool) -> str:
    """How a zone gets a network: configured networks replace all those that are derived."""
    key = f"zones.definitions.{zone}.networks"
    if not derived:
        return f"add {net} to {key}"
    if len(had) > _LISTED:
        return f"set {key} to its derived networks (`zonebridge zones` lists them) and {net}"
    return f"set {key} to [{', '.join((*had, net))}]"


def _at(party: Party) -> str:
    """The one address of an end; "" if it has several."""
    return party.addresses.cidrs()[0].partition("/")[0] if party.addresses.size == 1 else ""


def _named(placed: EffectiveRule) -> str:
    """A rule by its place: `datacenter-eu pre 7 'no staging'`."""
    return f"{placed.device_group} {placed.rulebase} {placed.position} {placed.rule.name!r}"

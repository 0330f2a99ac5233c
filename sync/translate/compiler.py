"""Compile the firewall's rules and groups to the objects and the report of one cluster.

device groups  ->  address groups  ->  sets
               ->  zones x rules   ->  chains of policies, one a zone, in the tier of the group

The result depends only on the firewall and the options. `sync.plan.rollout` decides which
generation of a chain is written, from what the cluster holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from sync.calico import limits, names, selectors
from sync.calico.chains import LAST_DEFAULT, RuleId, ZoneChain
from sync.calico.manifest import Manifest
from sync.calico.objects import (
    Direction,
    EntityRule,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    Pairs,
    Rule,
    StagedGlobalNetworkPolicy,
    Tier,
)
from sync.errors import UsageError
from sync.net.addresses import AddressSet
from sync.options import RuleOptions, ZoneOptions
from sync.translate.address_match import ANY, MemberLists
from sync.translate.chains import Entry, parts_of, places
from sync.translate.endpoints import ANYWHERE, Endpoint, Endpoints
from sync.translate.essentials import essential_rules
from sync.translate.fidelity import (
    DeviceGroupFidelity,
    Report,
    RuleFidelity,
    ZoneFidelity,
)
from sync.translate.nat import nat_rules
from sync.translate.network_sets import GroupSet, Target, group_sets, network_sets, parts
from sync.translate.origins import annotations, identity, rule_id
from sync.translate.reporting import (
    device_group_fidelity,
    essential_clauses,
    group_fidelity,
    rule_fidelity,
    zone_fidelity,
)
from sync.translate.rules import (
    OVERLAP,
    Action,
    RuleTranslator,
    calico_rules,
    whole,
)
from sync.translate.zones import PODS, Workloads, Zone, Zones, among_pods, own_zones, zones_of

_FIRST: Final = -(2**52)  # orders before every chain
_LAST: Final = 2**52  # orders behind every chain
_EACH_WAY: Final[tuple[Direction, Direction]] = ("Egress", "Ingress")


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of translation.

    `registered_known`: if no source reports the registered addresses of dynamic groups, there are
    none; with `registered_accepted` that is assumed. `owner` are the labels of our objects.
    `pod_cidrs` hold every pod of the cluster; None: they are unknown. `sizes` bound its objects.
    """

    tags: tuple[str, ...]
    registered_known: bool
    owner: Pairs
    rules: RuleOptions = field(default_factory=RuleOptions)
    zones: ZoneOptions = field(default_factory=ZoneOptions)
    pod_cidrs: AddressSet | None = None
    registered_accepted: bool = False
    sizes: limits.Sizes = limits.WRITTEN


@dataclass(frozen=True, slots=True)
class Translated:
    """Every object of a cluster, and the fidelity of each rule.

    `objects` are those in no chain. `chains` have no generation yet, so the rules of `fidelity`
    name no policies; `report` adds them.
    """

    objects: tuple[Manifest, ...]
    chains: tuple[ZoneChain, ...]
    fidelity: Report

    def report(self, policies: Mapping[tuple[str, str], Sequence[str]]) -> Report:
        """Report what became of each rule, with its Calico rules.

        `policies` names the policies of each chain in their order, by (tier, zone); a chain that
        has none is not written yet.
        """
        calico: defaultdict[RuleId, list[str]] = defaultdict(list)
        for chain in self.chains:
            written = policies.get((chain.tier, chain.zone), ())
            for name, part in zip(written, chain.parts, strict=bool(written)):
                for each in part.origins:
                    calico[each.rule].append(f"{name}[{each.direction} {each.position}]")
        rules = (
            replace(rule, calico=tuple(calico.get(rule.place, ()))) for rule in self.fidelity.rules
        )
        return replace(self.fidelity, rules=tuple(rules))


def translate(cluster: str, targets: Sequence[Target], options: Options) -> Translated:
    """Translate everything that one cluster gets.

    Raises `SourceError` if a device group has more zones than a tier has places, and `UsageError`
    if the configuration does not fit the firewall's.
    """
    sets, seen = group_sets(targets, tags=options.tags, registered_known=options.registered_known)
    lists: dict[str, tuple[str, ...]] = {}
    objects: list[Manifest] = []
    chains: list[ZoneChain] = []
    rules: list[RuleFidelity] = []
    zones: list[ZoneFidelity] = []
    device_groups: list[DeviceGroupFidelity] = []
    workloads = Workloads(options.zones)
    named = {target.tier: own_zones(target.device_group, target.derived) for target in targets}
    for target in targets:
        others = {zone for tier, own in named.items() if tier != target.tier for zone in own}
        found = zones_of(
            target.device_group, target.derived, options.zones, workloads, sorted(others)
        )
        by_group = seen[target.source, target.device_group.name]
        tier = _Tier(target, found, workloads, by_group, lists, options)
        objects += tier.objects()
        own = [*tier.chains()]
        chains += own
        rules += tier.fidelity(own)
        device_groups.append(device_group_fidelity(target, found))
        zones += zone_fidelity(target, found, workloads)
    objects += (each.manifest() for _, each in network_sets(sets, options.owner, options.sizes))
    objects += (each.manifest() for each in list_sets(lists, options.owner, options.sizes))
    groups = group_fidelity(sets)
    essentials = essential_clauses(options.zones.essentials)
    fidelity = Report(cluster, tuple(rules), groups, tuple(zones), essentials, tuple(device_groups))
    return Translated(tuple(objects), tuple(chains), fidelity)


def list_sets(
    lists: Mapping[str, tuple[str, ...]], owner: Pairs, sizes: limits.Sizes = limits.WRITTEN
) -> Iterator[GlobalNetworkSet]:
    """Make the sets for the lists of single rules; `lists` are their nets by label value."""
    for label, nets in sorted(lists.items()):
        first = names.list_name(nets)
        labels = tuple(sorted({names.LIST_LABEL: label, **dict(owner)}.items()))
        for number, part in enumerate(parts(nets, sizes), 1):
            if part or number == 1:
                name = first if number == 1 else names.set_part_name(first, number)
                yield GlobalNetworkSet(name, part, labels)


def translator_and_endpoints(
    target: Target,
    zones: Zones,
    workloads: Workloads,
    by_group: Mapping[str, GroupSet],
    lists: dict[str, tuple[str, ...]],
    options: Options,
) -> tuple[RuleTranslator, Endpoints]:
    """Make the rule translator of a device group, and its endpoints, which fill `lists`."""
    trust = options.zones.trust_addresses
    known = target.device_group.knows_registered
    listed = MemberLists(
        target.device_group.objects,
        by_group,
        registered_accepted=options.registered_accepted and not known,
    )
    translator = RuleTranslator(
        target.device_group, listed, zones, options.rules, trust_addresses=trust
    )
    sets = {each.identity: each for each in by_group.values()}
    ends = Endpoints(zones, workloads, sets, options.pod_cidrs, trust_addresses=trust, lists=lists)
    return translator, ends


class _Tier:
    """The tier of one device group: its chains, and the policies before and after them."""

    def __init__(
        self,
        target: Target,
        zones: Zones,
        workloads: Workloads,
        by_group: Mapping[str, GroupSet],
        lists: dict[str, tuple[str, ...]],
        options: Options,
    ) -> None:
        self._target = target
        self._zones = zones
        self._workloads = workloads
        self._options = options
        self._translator, self._ends = translator_and_endpoints(
            target, zones, workloads, by_group, lists, options
        )
        self._rules = [self._translator.say(placed) for placed in target.device_group.rules]
        self._allowed: Action = options.rules.allow_as

    def objects(self) -> Iterator[Manifest]:
        """Make the tier and its policies that are in no chain."""
        target = self._target
        scopes = orjson.dumps(target.device_group.filled).decode()
        tier = Tier(
            target.tier,
            target.order,
            labels=self._options.owner,
            annotations=((names.SCOPES_ANNOTATION, scopes),),
        )
        yield tier.manifest()
        yield from self._essentials()
        yield from self._elsewhere()
        yield self._unknown_zone()

    def chains(self) -> Iterator[ZoneChain]:
        """Make the chain of each zone."""
        place = places(tuple(self._zones.own))
        for zone in self._zones.own.values():
            yield ZoneChain(
                tier=self._target.tier,
                zone=zone.name,
                selector=zone.workloads,
                staged=self._target.mode == "staged",
                place=place[zone.name],
                labels=self._options.owner,
                parts=parts_of(
                    [*self._entries(zone), *self._defaults(zone)], self._options.sizes.policy_bytes
                ),
            )

    def fidelity(self, chains: Iterable[ZoneChain]) -> Iterator[RuleFidelity]:
        """Say what became of each rule in these chains, in order; no policies are named yet."""
        written = {each.rule for chain in chains for part in chain.parts for each in part.origins}
        nat = nat_rules(
            self._target,
            registered_known=self._options.registered_known,
            registered_accepted=self._options.registered_accepted,
        )
        for translated, translating in zip(self._rules, nat, strict=True):
            yield rule_fidelity(
                self._target,
                translated,
                translating,
                zones=bool(self._zones.own),
                written=rule_id(self._target, translated) in written,
            )

    def _entries(self, zone: Zone) -> Iterator[Entry]:
        for each in self._rules:
            if not (each.traffic and each.speaks_of(zone.name)):
                continue
            action: Action = self._allowed if each.allow else "Deny"
            egress, ingress = (
                tuple(calico_rules(each, zone, direction, self._ends, action))
                for direction in _EACH_WAY
            )
            if egress or ingress:
                rule = rule_id(self._target, each)
                yield Entry(rule, identity(each), egress, ingress, annotations(each))

    def _defaults(self, zone: Zone) -> Iterator[Entry]:
        """The default rules, for flows that no rule matches; the last one matches everything."""
        defaults = self._target.device_group.defaults
        within = self._default(defaults["intrazone-default"])
        between = self._default(defaults["interzone-default"])
        unzoned: Action = "Pass" if self._options.zones.unzoned_pods == "pass" else "Deny"
        unknown: Action = "Pass" if self._options.zones.unknown_addresses == "pass" else "Deny"
        ends = self._ends
        others = tuple(name for name in self._zones.remote if name != zone.name)
        for egress, ingress in self._translator.overlaps(zone, ends):
            annotations = self._default_annotations(OVERLAP)
            yield Entry(None, OVERLAP, tuple(egress), tuple(ingress), annotations)
        yield self._end(
            "intrazone-default", within, ends.in_zones((zone.name,), ANY, allow=within != "Deny")
        )
        yield self._end(
            "interzone-default", between, ends.in_zones(others, ANY, allow=between != "Deny")
        )
        yield self._end("unzoned-pods", unzoned, [Endpoint(EntityRule(selector=PODS))])
        yield self._end(LAST_DEFAULT, unknown, [ANYWHERE])

    def _default(self, action: str) -> Action:
        return self._allowed if action == "allow" else "Deny"

    def _default_annotations(self, name: str) -> Pairs:
        return (
            (names.RULE_ANNOTATION, name),
            (names.DEVICE_GROUP_ANNOTATION, self._target.device_group.name),
        )

    def _end(self, name: str, action: Action, far: Iterable[Endpoint]) -> Entry:
        far = tuple(far)
        egress, ingress = (
            tuple(whole(action, direction, end) for end in far) for direction in _EACH_WAY
        )
        return Entry(None, name, egress, ingress, self._default_annotations(name))

    def _essentials(self) -> Iterator[Manifest]:
        """Make the policies of essential flows, one for each selection of pods."""
        by_pods: dict[str, list[tuple[Direction, Rule]]] = {}
        for essential in self._options.zones.essentials:
            by_pods.setdefault(essential.on, []).extend(essential_rules(essential))
        selected = [
            (f"{PODS} && ({some}) && ({on})", rules)
            for on, rules in by_pods.items()
            for some in self._workloads.in_any(
                self._zones.own, limits.SELECTOR_BYTES - len(f"{PODS} && () && ({on})".encode())
            )
        ]
        for number, (selector, rules) in enumerate(selected, 1):
            _check_selector(selector, "zones.essentials")
            yield self._policy(
                names.essentials_name(self._target.tier, number),
                _FIRST + number,
                selector,
                egress=[rule for direction, rule in rules if direction == "Egress"],
                ingress=[rule for direction, rule in rules if direction == "Ingress"],
            )

    def _elsewhere(self) -> Iterator[Manifest]:
        """Pass the pods of zones that only other device groups have: their tiers decide."""
        zones = [zone.name for zone in self._zones.elsewhere]
        room = limits.SELECTOR_BYTES - len(among_pods(""))
        for number, selector in enumerate(self._workloads.in_any(zones, room), 1):
            yield self._policy(
                names.elsewhere_name(self._target.tier, number),
                _LAST + number,
                among_pods(selector),
                egress=[Rule("Pass")],
                ingress=[Rule("Pass")],
            )

    def _unknown_zone(self) -> Manifest:
        """Deny pods whose label names no zone, a mistake; behind the chains of known zones."""
        denying = [Rule("Deny")]
        return self._policy(
            names.unknown_zone_name(self._target.tier),
            2 * _LAST - 1,
            f"{PODS} && {selectors.has(self._options.zones.label)}",
            egress=denying,
            ingress=denying,
        )

    def _policy(
        self,
        name: str,
        order: int,
        selector: str,
        *,
        egress: Sequence[Rule],
        ingress: Sequence[Rule],
    ) -> Manifest:
        kind = StagedGlobalNetworkPolicy if self._target.mode == "staged" else GlobalNetworkPolicy
        types = tuple(
            direction
            for direction, rules in zip(_EACH_WAY, (egress, ingress), strict=True)
            if rules
        )
        return kind(
            name=name,
            tier=self._target.tier,
            order=order,
            selector=selector,
            types=tuple(sorted(types, reverse=True)),
            egress=tuple(egress),
            ingress=tuple(ingress),
            labels=self._options.owner,
        ).manifest()


def _check_selector(selector: str, key: str) -> None:
    problem = selectors.problem(selector)
    if problem or len(selector.encode()) > limits.SELECTOR_BYTES:
        raise UsageError(
            f"{key} make a selector that Calico does not take "
            f"({problem.message if problem else 'too long'}): {selector}; correct or shorten them"
        )

"""From what the firewall says to every object that one cluster shall hold, and the report of it.

device groups  ->  address groups  ->  sets
               ->  zones x rules   ->  chains of policies, one a zone, in the tier of the group
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from sync.calico import limits, names, selectors
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
from sync.errors import SourceError, UsageError
from sync.net.addresses import AddressSet
from sync.options import RuleOptions, ZoneOptions
from sync.translate.address_match import ANY, MemberLists
from sync.translate.chains import LAST_DEFAULT, Entry, ZoneChain, lay, parts_of, places, standing_of
from sync.translate.endpoints import ANYWHERE, Endpoint, Endpoints
from sync.translate.essentials import essential_rules
from sync.translate.fidelity import (
    GroupFidelity,
    Report,
    RuleFidelity,
    Status,
    ZoneFidelity,
    worst,
)
from sync.translate.nat import nat_rules
from sync.translate.network_sets import GroupSet, Target, group_sets, network_sets, parts
from sync.translate.rules import (
    OVERLAP,
    Action,
    RuleTranslator,
    TranslatedRule,
    calico_rules,
    whole,
)
from sync.translate.zones import PODS, Workloads, Zone, Zones, among_pods, own_zones, zones_of

_FIRST: Final = -(2**52)  # orders before every chain
_LAST: Final = 2**52  # orders behind every chain
_SHOWN: Final = 1024  # characters of a name or a list in an annotation
_EACH_WAY: Final[tuple[Direction, Direction]] = ("Egress", "Ingress")


@dataclass(frozen=True, slots=True)
class Options:
    """The settings that decide what becomes of the firewall's objects and rules.

    `registered_known`: where no source tells what is registered at run time with dynamic groups, it
    is known to be nothing, or with `registered_accepted` taken for that. `owner` are the labels of
    what is ours. `pod_cidrs` hold every pod of the cluster; None: that is not known.
    """

    tags: tuple[str, ...]
    registered_known: bool
    owner: Pairs
    rules: RuleOptions = field(default_factory=RuleOptions)
    zones: ZoneOptions = field(default_factory=ZoneOptions)
    pod_cidrs: AddressSet | None = None
    registered_accepted: bool = False


@dataclass(frozen=True, slots=True)
class Translated:
    """Every object that a cluster shall hold, by (kind, name), and what became of each rule.

    `on_the_way`: a move of a chain that was overtaken is brought back and nothing else changes;
    once that is done, it has to be translated again.
    """

    manifests: dict[tuple[str, str], Manifest]
    report: Report
    on_the_way: bool = False


def translate(
    cluster: str,
    targets: Sequence[Target],
    options: Options,
    standing: Mapping[tuple[str, str], Manifest],
) -> Translated:
    """Translate everything that one cluster gets.

    `standing` is what of ours is there already, by (kind, name): a chain of policies that changes
    moves from where it stands. Raises `SourceError` where two names of the firewall would become
    one of ours, and `UsageError` where the configuration does not fit what the firewall has.
    """
    sets, seen = group_sets(targets, tags=options.tags, registered_known=options.registered_known)
    lists: dict[str, tuple[str, ...]] = {}
    made: list[Manifest] = []
    going: set[tuple[str, str]] = set()
    rules: list[RuleFidelity] = []
    zones: list[ZoneFidelity] = []
    workloads = Workloads(options.zones)
    named = {target.tier: own_zones(target.device_group, target.derived) for target in targets}
    for target in targets:
        others = {zone for tier, found in named.items() if tier != target.tier for zone in found}
        found = zones_of(
            target.device_group, target.derived, options.zones, workloads, sorted(others)
        )
        by_group = seen[target.source, target.device_group.name]
        tier = _Tier(target, found, workloads, by_group, lists, options, standing)
        made += tier.manifests()
        going |= tier.going
        rules += tier.fidelity
        zones += _zone_fidelity(target, found, workloads)
    made += (each.manifest() for _, each in network_sets(sets, options.owner))
    made += (each.manifest() for each in list_sets(lists, options.owner))
    manifests: dict[tuple[str, str], Manifest] = {}
    for manifest in made:
        if manifests.setdefault((manifest.kind, manifest.name), manifest) is not manifest:
            raise SourceError(
                f"two things of the firewall would both become {manifest.kind} {manifest.name}; "
                "rename one of them in Panorama"
            )
    if going:
        # Old rules were never meant for new sets, nor new rules of other zones for old ones.
        manifests = {key: each for key, each in standing.items() if key not in going}
        rules = [replace(each, calico=()) for each in rules]
    groups = tuple(
        GroupFidelity(
            each.identity,
            Status.NARROWED if each.holds.open else Status.EXACT,
            each.holds.because,
        )
        for each in sets
        if not each.external
    )
    essentials = tuple(
        f"{each.direction} on {each.on}: {', '.join([*each.cidrs, each.pods]).strip(', ')} "
        f"{', '.join(each.ports) or 'every port'}"
        for each in options.zones.essentials
    )
    report = Report(cluster, tuple(rules), groups, tuple(zones), essentials)
    return Translated(manifests, report, on_the_way=bool(going))


def list_sets(lists: Mapping[str, tuple[str, ...]], owner: Pairs) -> Iterator[GlobalNetworkSet]:
    """The sets of lists that rules have for themselves, by label value."""
    for label, nets in sorted(lists.items()):
        first = names.list_name(nets)
        labels = tuple(sorted({names.LIST_LABEL: label, **dict(owner)}.items()))
        for number, part in enumerate(parts(nets), 1):
            if part or number == 1:
                name = first if number == 1 else names.set_part_name(first, number)
                yield GlobalNetworkSet(name, part, labels)


def sayer_and_ends(
    target: Target,
    zones: Zones,
    workloads: Workloads,
    by_group: Mapping[str, GroupSet],
    lists: dict[str, tuple[str, ...]],
    options: Options,
) -> tuple[RuleTranslator, Endpoints]:
    """What says the rules of one device group, and what makes their ends, which fills `lists`."""
    trust = options.zones.trust_addresses
    known = target.device_group.knows_registered
    listed = MemberLists(
        target.device_group.objects,
        by_group,
        registered_accepted=options.registered_accepted and not known,
    )
    sayer = RuleTranslator(target.device_group, listed, zones, options.rules, trust_addresses=trust)
    sets = {each.identity: each for each in by_group.values()}
    ends = Endpoints(zones, workloads, sets, options.pod_cidrs, trust_addresses=trust, lists=lists)
    return sayer, ends


class _Tier:
    """The tier of one device group: its chains, and what comes before and after them."""

    def __init__(
        self,
        target: Target,
        zones: Zones,
        workloads: Workloads,
        by_group: Mapping[str, GroupSet],
        lists: dict[str, tuple[str, ...]],
        options: Options,
        standing: Mapping[tuple[str, str], Manifest],
    ) -> None:
        self.fidelity: list[RuleFidelity] = []
        self.going: set[tuple[str, str]] = set()  # what of an overtaken move has to go first
        self._target = target
        self._zones = zones
        self._workloads = workloads
        self._options = options
        self._standing = standing
        self._sayer, self._ends = sayer_and_ends(target, zones, workloads, by_group, lists, options)
        self._allowed: Action = options.rules.allow_as

    def manifests(self) -> list[Manifest]:
        """Everything of the tier; fills `fidelity`, a line for each rule."""
        target = self._target
        scopes = orjson.dumps(target.device_group.filled).decode()
        tier = Tier(
            target.tier,
            target.order,
            labels=self._options.owner,
            annotations=((names.SCOPES_ANNOTATION, scopes),),
        )
        made = [tier.manifest()]
        made += self._essentials()
        said = [self._sayer.say(placed) for placed in target.device_group.rules]
        speaking = [(index, each) for index, each in enumerate(said) if each.traffic]
        stands: dict[int, list[str]] = {}
        place = places(tuple(self._zones.own))
        for zone in self._zones.own.values():
            entries = [*self._entries(speaking, zone), *self._defaults(zone)]
            cut, at = parts_of(entries)
            chain = ZoneChain(
                tier=target.tier,
                zone=zone.name,
                selector=zone.workloads,
                staged=target.mode == "staged",
                place=place[zone.name],
                labels=self._options.owner,
                parts=cut,
            )
            laid, on_the_way = lay(chain, self._standing)
            made += laid
            if on_the_way:
                self.going |= standing_of(chain, self._standing) - {
                    (each.kind, each.name) for each in laid
                }
            # On the way the chain is what it was, and has not the parts of what it shall be.
            for index, part, direction, position in at if not on_the_way else ():
                if index >= 0:
                    stands.setdefault(index, []).append(
                        f"{laid[part].name}[{direction} {position}]"
                    )
        made += self._elsewhere()
        made.append(self._unknown_zone())
        nat = nat_rules(
            target,
            registered_known=self._options.registered_known,
            registered_accepted=self._options.registered_accepted,
        )
        for index, each in enumerate(said):
            self.fidelity.append(_rule_fidelity(target, each, stands.get(index, []), nat[index]))
        return made

    def _entries(self, said: Sequence[tuple[int, TranslatedRule]], zone: Zone) -> Iterator[Entry]:
        for index, each in said:
            if not each.speaks_of(zone.name):
                continue
            action: Action = self._allowed if each.allow else "Deny"
            egress, ingress = (
                tuple(calico_rules(each, zone, direction, self._ends, action))
                for direction in _EACH_WAY
            )
            if egress or ingress:
                yield Entry(index, _identity(each), egress, ingress, self._annotations(each))

    def _annotations(self, said: TranslatedRule) -> Pairs:
        rule = said.rule
        return (
            (names.RULE_ANNOTATION, rule.name[:_SHOWN]),
            (names.SOURCE_ANNOTATION, _listed(rule.sources, negated=rule.negate_source)),
            (
                names.DESTINATION_ANNOTATION,
                _listed(rule.destinations, negated=rule.negate_destination),
            ),
            (names.DEVICE_GROUP_ANNOTATION, said.placed.device_group),
        )

    def _defaults(self, zone: Zone) -> Iterator[Entry]:
        """What is decided where no rule speaks; the last of them decides everything."""
        defaults = self._target.device_group.defaults
        within = self._default(defaults["intrazone-default"])
        between = self._default(defaults["interzone-default"])
        unzoned: Action = "Pass" if self._options.zones.unzoned_pods == "pass" else "Deny"
        unknown: Action = "Pass" if self._options.zones.unknown_addresses == "pass" else "Deny"
        ends = self._ends
        others = tuple(name for name in self._zones.remote if name != zone.name)
        for egress, ingress in self._sayer.overlaps(zone, ends):
            annotations = self._default_annotations(OVERLAP)
            yield Entry(-1, OVERLAP, tuple(egress), tuple(ingress), annotations)
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
        return Entry(-1, name, egress, ingress, self._default_annotations(name))

    def _essentials(self) -> Iterator[Manifest]:
        """The flows that zoned pods keep, one policy for each choice of pods, before all else."""
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
        """Pods of zones that only other device groups have are theirs to judge."""
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
        """A label that names no zone is a mistake; the chains of known zones end before this."""
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


def _identity(said: TranslatedRule) -> str:
    placed = said.placed
    return said.rule.uuid or f"{placed.device_group}/{placed.rulebase}/{said.rule.name}"


def _listed(members: Sequence[str], *, negated: bool) -> str:
    """A list as an annotation shows it: what does not fit is counted, and the firewall has it."""
    # Their order means nothing, and must not rewrite a policy.
    text = ("not " if negated else "") + ",".join(sorted(members))
    if len(text) <= _SHOWN:
        return text
    shown = text[:_SHOWN].rpartition(",")[0] or text[:_SHOWN]
    return f"{shown} and {len(members) - 1 - shown.count(',')} more"


def _check_selector(selector: str, key: str) -> None:
    problem = selectors.problem(selector)
    if problem or len(selector.encode()) > limits.SELECTOR_BYTES:
        raise UsageError(
            f"{key} make a selector that Calico does not take "
            f"({problem.message if problem else 'too long'}): {selector}; correct or shorten them"
        )


def _rule_fidelity(
    target: Target, said: TranslatedRule, stands: list[str], nat: tuple[str, ...]
) -> RuleFidelity:
    placed = said.placed
    return RuleFidelity(
        source=target.source,
        target=target.device_group.name,
        device_group=placed.device_group,
        rulebase=placed.rulebase,
        position=placed.position,
        name=said.rule.name,
        uuid=said.rule.uuid,
        allow=said.allow,
        disabled=said.rule.disabled,
        status=worst(said.losses),
        reasons=tuple(loss.reason for loss in said.losses),
        calico=tuple(stands),
        nat=nat,
    )


def _zone_fidelity(target: Target, zones: Zones, workloads: Workloads) -> Iterator[ZoneFidelity]:
    named: dict[str, list[str]] = {}
    for placed in target.device_group.rules:
        for name in {*placed.rule.from_zones, *placed.rule.to_zones}:
            named.setdefault(name, []).append(placed.rule.name)
    for zone in zones.own.values():
        yield ZoneFidelity(
            source=target.source,
            target=target.device_group.name,
            name=zone.name,
            label_value=workloads.label_value(zone.name),
            workloads=zone.workloads,
            networks=None if zone.networks is None else tuple(zone.networks.cidrs()),
            origin=zone.origin,
            rules=tuple(named.get(zone.name, ())),
            by_pod_label=workloads.rests_on_pod_labels(zone.name),
        )

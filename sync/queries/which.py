"""Find the sets, address groups, zones and rules that hold an address or a network.

    an address  ->  the sets of a cluster that have it among their nets
                ->  for each device group: objects, groups, zones, and the lists of its rules

The sets are those that the cluster gets; objects, groups and rules are the firewall's own. The
answer is in the sources and the configuration: no cluster is asked. Only rules that can have the
address in a set of their own are translated.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sync.errors import UsageError
from sync.firewall.addressing import literal
from sync.firewall.effective import EffectiveRule
from sync.firewall.membership import HeldGroup, HeldObject, Holding, Holds, holding, how_much
from sync.firewall.objects import Address, AddressGroup, Objects
from sync.firewall.rules import Rule
from sync.net.addresses import NOWHERE, AddressSet, network
from sync.translate.address_match import MemberLists, reason_of_group
from sync.translate.compiler import Options, list_sets, translator_and_endpoints
from sync.translate.network_sets import GroupSet, Target, group_sets, network_sets
from sync.translate.rules import calico_rules
from sync.translate.zones import Workloads, Zones, own_zones, zones_of


@dataclass(frozen=True, slots=True)
class HeldSet:
    """A GlobalNetworkSet, and its nets that hold it or a part.

    `group` is its address group, "" for a set made for the list of one rule.
    """

    name: str
    group: str
    holds: Holds
    nets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldZone:
    """A zone whose networks hold it, with those `networks`; the zone of a pod does not count.

    A zone without known networks may hold any address of no known zone. `origin` says where
    networks come from, or why they are unknown.
    """

    name: str
    holds: Holds
    networks: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class HeldEnd:
    """One end of a rule (`source` or `destination`) whose list holds it, or may.

    `members` are those of the list that hold some of it, which a `negated` list excludes. `reasons`
    has a clause for each thing that is unknown, unless all of it is held anyway.
    """

    end: str
    holds: Holds
    negated: bool
    members: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldRule:
    """A rule of the effective rulebase, and its `ends` that hold it or may: one or both."""

    placed: EffectiveRule
    ends: tuple[HeldEnd, ...]

    @property
    def sure(self) -> bool:
        """Whether some end surely holds it or a part."""
        return any(each.holds is not Holds.MAYBE for each in self.ends)


@dataclass(frozen=True, slots=True)
class DeviceGroupHolders:
    """What holds it in one device group of a cluster; rules in order.

    `in_no_zone` is how much of it is in no known zone, None for nothing. `any_source` and
    `any_destination` count the rules for any address at that end, without disabled ones.
    """

    source: str
    name: str
    objects: tuple[HeldObject, ...]
    groups: tuple[HeldGroup, ...]
    zones: tuple[HeldZone, ...]
    in_no_zone: Holds | None
    rules: tuple[HeldRule, ...]
    any_source: int
    any_destination: int


@dataclass(frozen=True, slots=True)
class Holders:
    """Everything of one cluster that holds an address or a network.

    `among_pods` is how much of it lies in the configured networks of pods, None for nothing;
    where none are configured `pods_known` is false.
    """

    cluster: str
    sets: tuple[HeldSet, ...]
    device_groups: tuple[DeviceGroupHolders, ...]
    among_pods: Holds | None
    pods_known: bool


def wanted(text: str) -> AddressSet:
    """Parse the requested address or network; `UsageError` if it is neither."""
    try:
        found = network(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is neither an address nor a network; write 10.1.2.3, 10.1.0.0/16, "
            "2001:db8::1 or 2001:db8::/32"
        ) from None
    host = text.partition("/")[0]
    if network(host).cidrs()[0].partition("/")[0] != found.cidrs()[0].partition("/")[0]:
        raise UsageError(
            f"{text!r} is an address within a network; write {written(found)} for the network, or "
            f"{host} for the address"
        )
    return found


def written(asked: AddressSet) -> str:
    """An address or a network in its one form, an address without a prefix length."""
    (net,) = asked.cidrs()
    return net.partition("/")[0] if asked.size == 1 else net


def which(cluster: str, asked: AddressSet, targets: Sequence[Target], options: Options) -> Holders:
    """Find everything in one cluster that holds an address or a network, in whole or in part.

    `options.pod_cidrs` are those of the configuration. Raises `SourceError` and `UsageError` for
    the groups and zones that `translate` refuses.
    """
    sets, seen = group_sets(targets, tags=options.tags, registered_known=options.registered_known)
    lists: dict[str, tuple[str, ...]] = {}
    workloads = Workloads(options.zones)
    named = {target.tier: own_zones(target.device_group, target.derived) for target in targets}
    found = []
    for target in targets:
        others = {zone for tier, own in named.items() if tier != target.tier for zone in own}
        zones = zones_of(
            target.device_group, target.derived, options.zones, workloads, sorted(others)
        )
        objects = target.device_group.objects
        held = holding(
            objects.addresses,
            asked,
            registered_known=options.registered_known,
            registered=target.device_group.registered,
        )
        ends = _Ends(held, objects)
        found.append(_in_device_group(target, zones, held, ends))
        rules = [each for each in target.device_group.rules if ends.listed_for(each)]
        by_group = seen[target.source, target.device_group.name]
        _collect_lists(lists, target, rules, zones, workloads, by_group, options)
    pods = options.pod_cidrs
    return Holders(
        cluster=cluster,
        sets=tuple(_sets(sets, lists, asked)),
        device_groups=tuple(found),
        among_pods=how_much(asked, pods) if pods is not None else None,
        pods_known=pods is not None,
    )


def _collect_lists(
    lists: dict[str, tuple[str, ...]],
    target: Target,
    rules: Iterable[EffectiveRule],
    zones: Zones,
    workloads: Workloads,
    by_group: Mapping[str, GroupSet],
    options: Options,
) -> None:
    """Add the nets of the sets for lists of single rules, by label value."""
    said_of, ends = translator_and_endpoints(target, zones, workloads, by_group, lists, options)
    for placed in rules:
        said = said_of.say(placed)
        for zone in zones.own.values():
            if said.speaks_of(zone.name):
                # Lists do not depend on the action.
                calico_rules(said, zone, "Egress", ends, "Deny")
                calico_rules(said, zone, "Ingress", ends, "Deny")
    for zone in zones.own.values():
        for _ in said_of.overlaps(zone, ends):
            pass  # rules that cannot be read, and their lists


def _sets(
    sets: Iterable[GroupSet], lists: Mapping[str, tuple[str, ...]], asked: AddressSet
) -> Iterator[HeldSet]:
    """The sets that hold some of it: those of address groups first, then those of lists."""
    of_groups = (
        (each.group, network_set)
        for each, network_set in network_sets(sets, ())
        # Most sets hold nothing of it, and their nets are not read.
        if each.holds.surely & asked
    )
    of_lists = (("", network_set) for network_set in list_sets(lists, ()))
    for group, network_set in (*of_groups, *of_lists):
        nets, amount = _nets(network_set.nets, asked)
        if amount:
            yield HeldSet(network_set.name, group, amount, nets)


def _nets(nets: Iterable[str], asked: AddressSet) -> tuple[tuple[str, ...], Holds | None]:
    """Those of the nets that hold some of it, and how much all of them hold."""
    found = [(net, held) for net in nets if (held := network(net) & asked)]
    together = AddressSet.union(held for _, held in found)
    return tuple(net for net, _ in found), how_much(asked, together)


def _in_device_group(
    target: Target, zones: Zones, found: Holding, ends: "_Ends"
) -> DeviceGroupHolders:
    device_group = target.device_group
    rules = (HeldRule(placed, tuple(ends.of(placed))) for placed in device_group.rules)
    of_any = _any(device_group.rules)
    return DeviceGroupHolders(
        source=target.source,
        name=device_group.name,
        objects=found.objects,
        groups=found.groups,
        zones=tuple(_zones(zones, found.wanted)),
        in_no_zone=how_much(found.wanted, zones.unknown),
        rules=tuple(each for each in rules if each.ends),
        any_source=of_any["source"],
        any_destination=of_any["destination"],
    )


def _zones(zones: Zones, asked: AddressSet) -> Iterator[HeldZone]:
    """The zones that hold some of it, and where some is in no known zone, those that may."""
    in_no_zone = asked & zones.unknown
    for name, zone in sorted(zones.remote.items()):
        if zone.networks is None:
            if in_no_zone:
                yield HeldZone(name, Holds.MAYBE, (), zone.origin)
            continue
        amount = how_much(asked, zone.networks)
        if amount:
            nets, _ = _nets(zone.networks.cidrs(), asked)
            yield HeldZone(name, amount, nets, zone.origin)


@dataclass(frozen=True, slots=True)
class _Said:
    """The part that a list holds, the members that hold it, and the unknown rest."""

    held: AddressSet
    members: tuple[str, ...]
    open_because: tuple[str, ...]


class _Ends:
    """Judges the lists of one device group's rules; many rules have the same lists."""

    def __init__(self, found: Holding, objects: Objects) -> None:
        self._found = found
        self._objects = objects
        self._wildcards = any(
            isinstance(each, Address) and each.kind == "ip-wildcard"
            for each in objects.addresses.values()
        )
        # Asked only about what has no addresses of its own, for the report's words of it.
        self._unsaid = MemberLists(objects, {})
        self._known: dict[tuple[str, ...], _Said] = {}

    def of(self, placed: EffectiveRule) -> Iterator[HeldEnd]:
        """The ends of a rule that hold it or may; an end of any address is counted elsewhere."""
        rule = placed.rule
        for end, members, negated in _lists(rule):
            if "any" not in members:
                held = self._end(end, members, negated=negated)
            elif rule.unreadable and not negated:
                # It stands for any where the list itself could not be read.
                held = HeldEnd(end, Holds.MAYBE, negated, (), rule.unreadable)
            else:
                continue
            if held:
                yield held

    def listed_for(self, placed: EffectiveRule) -> bool:
        """Whether a set of the rule's own may hold some of it."""
        for _, members, negated in _lists(placed.rule):
            if "any" not in members and self._said(members).held:
                return True
            # Without the addresses of wildcard objects, any address or a negated list becomes a
            # list.
            if self._wildcards and ("any" in members or negated):
                return True
        return False

    def _end(self, end: str, members: tuple[str, ...], *, negated: bool) -> HeldEnd | None:
        said = self._said(members)
        asked = self._found.wanted
        amount = how_much(asked, asked - said.held if negated else said.held)
        if said.open_because and negated and amount:
            # What is not surely spared may be, by what is not known of the list.
            amount = Holds.MAYBE
        elif said.open_because and not negated:
            amount = amount or Holds.MAYBE
        if not amount:
            return None
        reasons = () if amount is Holds.ALL else said.open_because
        return HeldEnd(end, amount, negated, said.members, reasons)

    def _said(self, members: tuple[str, ...]) -> _Said:
        if members not in self._known:
            self._known[members] = self._read(members)
        return self._known[members]

    def _read(self, members: tuple[str, ...]) -> _Said:
        held: list[AddressSet] = []
        through: list[str] = []
        because: list[str] = []
        for member in members:
            found = self._held(member)
            if found:
                held.append(found)
                through.append(member)
            because += self._open(member)
        return _Said(AddressSet.union(held), tuple(through), tuple(sorted(set(because))))

    def _held(self, member: str) -> AddressSet:
        """The part of it that a member of a list holds; a name comes before a literal."""
        if member in self._objects.addresses:
            return self._found.held.get(member, NOWHERE)
        return (_without_object(member, self._objects) or NOWHERE) & self._found.wanted

    def _open(self, member: str) -> Iterator[str]:
        found = self._objects.addresses.get(member)
        if isinstance(found, AddressGroup):
            for reason in self._found.open_because.get(member, ()):
                yield reason_of_group(member, reason)
        elif not found and _without_object(member, self._objects) is not None:
            external = self._objects.external_lists.get(member)
            if external and external.holds:
                yield from (f"in {member!r}, {reason}" for reason in external.holds.because)
        elif not found or found.addresses is None:
            listed = self._unsaid.listed((member,))
            assert listed, "only any is not listed"
            yield from listed.holds.because


def _without_object(member: str, objects: Objects) -> AddressSet | None:
    """The content of a member that is not an address object or group; None if it is unknown."""
    if member in objects.external_lists:
        content = objects.external_lists[member].holds
        return content.surely if content else None
    return literal(member)


def _lists(rule: Rule) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
    """The lists of a rule: which end, the members, and whether it is negated."""
    return (
        ("source", rule.sources, rule.negate_source),
        ("destination", rule.destinations, rule.negate_destination),
    )


def _any(rules: Iterable[EffectiveRule]) -> Counter[str]:
    """Count the enabled rules for any address at each end, as far as known."""
    return Counter(
        end
        for placed in rules
        if not (placed.rule.disabled or placed.rule.unreadable)
        for end, members, negated in _lists(placed.rule)
        if "any" in members and not negated
    )

"""Compare what became of every rule in two configurations.

both configurations  ->  both translated, the second one as if the cluster held the first
                     ->  rules matched by UUID or name: what changed of each, and what hides it
                     ->  address groups and zones matched by name (`sync.queries.group_changes`)
                     ->  the flows that change with them (`sync.queries.flows`)
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NamedTuple

import orjson

from sync.calico.objects import POLICIES
from sync.calico.references import rules
from sync.clusters.in_memory import GivenReader
from sync.firewall.effective import EffectiveDeviceGroup
from sync.firewall.objects import Address, AddressGroup
from sync.firewall.rules import Rule
from sync.net.addresses import NOWHERE, AddressSet
from sync.plan.origin import Origin
from sync.queries.flows import flows_between
from sync.queries.group_changes import Change, GroupChange, ZoneChange, group_changes, zone_changes
from sync.reconcile.desired import Cluster, Desired, desired
from sync.reconcile.device_groups import Read
from sync.reconcile.shadows import shadowed
from sync.reconcile.source_status import origins_of
from sync.reconcile.verification import judged_tiers
from sync.translate.compiler import Options
from sync.translate.fidelity import Extent, Place, RuleFidelity, Shadow
from sync.translate.network_sets import Target
from sync.verify.flow_changes import ChangedFlows

_Policies = Mapping[str, Mapping[str, Any]]

# Fields that say what a rule is about; what identifies it is not among them.
_FIELDS: Final = tuple(each.name for each in fields(Rule) if each.name != "uuid")


class FieldChange(NamedTuple):
    """A field of a rule, before and after."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What changed for one rule; `before` is None for an added one, `after` for a removed one.

    `moved`: its place among the rules that both have is another. `fields` are those of the
    firewall's rule that differ, `members` the addresses that its members gained and lost,
    `calico` says whether its Calico rules differ. `hidden` and `firewall_hidden`: what earlier
    rules take of it differs, in Calico and on the firewall; another flow of the same is no
    difference.
    """

    change: Change
    before: RuleFidelity | None
    after: RuleFidelity | None
    moved: bool = False
    fields: tuple[FieldChange, ...] = ()
    members: tuple[tuple[str, AddressSet, AddressSet], ...] = ()
    calico: bool = False
    hidden: bool = False
    firewall_hidden: bool = False

    @property
    def differs(self) -> bool:
        """Whether anything of a rule on both sides is to be told."""
        became = [
            each and (each.status, each.reasons, each.remedies, each.nat)
            for each in (self.before, self.after)
        ]
        ours = self.moved or self.calico or self.hidden or self.firewall_hidden
        return ours or bool(self.fields or self.members) or became[0] != became[1]


@dataclass(frozen=True, slots=True)
class ReportDiff:
    """What changed for the rules and groups of one cluster, and the flows that change with it.

    `defaults` are default rules with another action: device group, name, before and after.
    """

    cluster: str
    before: tuple[Origin, ...]
    after: tuple[Origin, ...]
    rules: tuple[RuleChange, ...]
    unchanged: int
    defaults: tuple[tuple[str, str, str, str], ...]
    groups: tuple[GroupChange, ...]
    zones: tuple[ZoneChange, ...]
    flows: ChangedFlows


def report_diff(cluster: Cluster, old: Read, new: Read, options: Options) -> ReportDiff:
    """Compare two readings of a cluster's sources; raises as `desired` does."""
    had = _shadowed(desired(cluster, old, {}, {}, options))
    written = had.rollout.manifests
    live = GivenReader(written).read()
    has = _shadowed(desired(cluster, new, live, written, options))
    found, unchanged = _rules(had, has)
    return ReportDiff(
        cluster=cluster.name,
        before=tuple(origins_of(had.snapshots)),
        after=tuple(origins_of(has.snapshots)),
        rules=tuple(found),
        unchanged=unchanged,
        defaults=tuple(_defaults(had, has)),
        groups=tuple(group_changes(had, has)),
        zones=tuple(zone_changes(had, has)),
        flows=flows_between(cluster, live, GivenReader(has.rollout.manifests).read(), has),
    )


def _shadowed(wanted: Desired) -> Desired:
    """The same, with what earlier rules hide of each rule in its report."""
    return replace(wanted, report=shadowed(wanted.report, judged_tiers(wanted)))


class _Side(NamedTuple):
    """One rule on one side."""

    rule: Rule
    fidelity: RuleFidelity
    target: Target


def _rules(had: Desired, has: Desired) -> tuple[list[RuleChange], int]:
    """The rules that changed, in the new order, removed ones behind; how many did not."""
    old, new = _sides(had), _sides(has)
    pairs = _matched(old, new)
    moved = _moved(pairs)
    before, after = _policies(had), _policies(has)
    places = {old[one].fidelity.place: new[number].fidelity.place for number, one in pairs.items()}
    found: list[RuleChange] = []
    unchanged = 0
    for number, side in enumerate(new):
        other = pairs.get(number)
        if other is None:
            found.append(RuleChange("added", None, side.fidelity, calico=True))
            continue
        change = _with_hidden(
            _compared(old[other], side, before, after, moved=number in moved), places
        )
        if change.differs:
            found.append(change)
        else:
            unchanged += 1
    left = set(range(len(old))) - set(pairs.values())
    found += (RuleChange("removed", old[each].fidelity, None, calico=True) for each in sorted(left))
    return found, unchanged


def _sides(wanted: Desired) -> list[_Side]:
    by_place = {each.place: each for each in wanted.report.rules}
    return [
        _Side(placed.rule, by_place[place], target)
        for target in wanted.targets
        for placed in target.device_group.rules
        for place in [
            (
                target.source,
                target.device_group.name,
                placed.device_group,
                placed.rulebase,
                placed.position,
            )
        ]
    ]


def _matched(old: Sequence[_Side], new: Sequence[_Side]) -> dict[int, int]:
    """The old rule of each new one: by UUID, else by scope, rulebase and name, else by name."""
    pairs: dict[int, int] = {}
    for key in (_by_uuid, _by_place, _by_name):
        taken = set(pairs.values())
        free: dict[object, list[int]] = {}
        for number, side in enumerate(old):
            named = key(side)
            if number not in taken and named:
                free.setdefault(named, []).append(number)
        for number, side in enumerate(new):
            if number not in pairs and free.get(key(side)):
                pairs[number] = free[key(side)].pop(0)
    return pairs


def _of(side: _Side) -> tuple[str, str]:
    return side.fidelity.source, side.fidelity.target


def _by_uuid(side: _Side) -> object:
    return (*_of(side), side.rule.uuid) if side.rule.uuid else None


def _by_place(side: _Side) -> object:
    found = side.fidelity
    return (*_of(side), found.device_group, found.rulebase, side.rule.name)


def _by_name(side: _Side) -> object:
    return (*_of(side), side.rule.name)


def _moved(pairs: Mapping[int, int]) -> set[int]:
    """The fewest new rules without which the others are in their old order."""
    ends: list[int] = []  # the smallest old place that a rising row of each length ends with
    last: list[int] = []  # the new place of each of these
    previous: dict[int, int] = {}
    for number in sorted(pairs):
        at = bisect_left(ends, pairs[number])
        if at:
            previous[number] = last[at - 1]
        ends[at : at + 1] = [pairs[number]]
        last[at : at + 1] = [number]
    kept = set(last[-1:])
    here = last[-1] if last else -1
    while here in previous:
        here = previous[here]
        kept.add(here)
    return set(pairs) - kept


def _compared(
    old: _Side, new: _Side, before: _Policies, after: _Policies, *, moved: bool
) -> RuleChange:
    one, other = old.fidelity, new.fidelity
    changed = tuple(
        FieldChange(name, getattr(old.rule, name), getattr(new.rule, name))
        for name in _FIELDS
        if getattr(old.rule, name) != getattr(new.rule, name)
    )
    scope = (one.device_group, one.rulebase) != (other.device_group, other.rulebase)
    members = tuple(_members(old, new))
    calico = _calico(one, before) != _calico(other, after)
    return RuleChange("changed", one, other, moved or scope, changed, members, calico)


def _with_hidden(change: RuleChange, places: Mapping[Place, Place]) -> RuleChange:
    """The change with whether other rules hide the rule; `places` are the new ones of old rules."""
    one, other = change.before, change.after
    assert one is not None, "it is on both sides"
    assert other is not None, "it is on both sides"
    here, there = (
        _takes(old, places) != _takes(new, None)
        for old, new in (
            (one.shadow, other.shadow),
            (one.firewall_shadow, other.firewall_shadow),
        )
    )
    return replace(change, hidden=here, firewall_hidden=there)


def _takes(shadow: Shadow | None, places: Mapping[Place, Place] | None) -> object:
    """What earlier rules take of a rule: to be compared, with the rules' new places."""
    if shadow is None:
        return Extent.NONE, (), "", False
    by = tuple(
        (each.name, places.get(each.place) if places and each.place else each.place, each.widened)
        for each in shadow.by
    )
    return shadow.extent, by, shadow.because, shadow.more


def _members(old: _Side, new: _Side) -> Iterator[tuple[str, AddressSet, AddressSet]]:
    """The members of both rules' lists that hold other addresses now: those gained and lost."""
    listed = {*old.rule.sources, *old.rule.destinations}
    for name in sorted(listed & {*new.rule.sources, *new.rule.destinations}):
        one, other = (_held(side.target.device_group, name) for side in (old, new))
        if one != other:
            yield name, other - one, one - other


def _held(group: EffectiveDeviceGroup, name: str) -> AddressSet:
    """The addresses that a member is known to hold."""
    found = group.objects.addresses.get(name)
    if isinstance(found, AddressGroup):
        return group.resolved(registered_known=False)[name].holds.surely
    if isinstance(found, Address):
        return found.addresses or NOWHERE
    external = group.objects.external_lists.get(name)
    if external:
        return external.holds.surely if external.holds else NOWHERE
    region = group.objects.regions.get(name)
    return region.addresses if region and region.addresses else NOWHERE


def _policies(wanted: Desired) -> _Policies:
    manifests = wanted.rollout.manifests.values()
    return {each.name: each.document() for each in manifests if each.kind in POLICIES}


def _calico(rule: RuleFidelity, policies: _Policies) -> Counter[bytes]:
    """The Calico rules of a rule, whatever their place and names."""
    found: Counter[bytes] = Counter()
    for where in rule.calico:
        name, _, place = where.removesuffix("]").partition("[")
        direction, _, index = place.partition(" ")
        said = dict(rules(policies[name], direction)[int(index)])
        said.pop("metadata", None)
        found[orjson.dumps([direction, said], option=orjson.OPT_SORT_KEYS)] += 1
    return found


def _defaults(had: Desired, has: Desired) -> Iterator[tuple[str, str, str, str]]:
    old = {target.tier: target.device_group.defaults for target in had.targets}
    for target in has.targets:
        for name, action in sorted(target.device_group.defaults.items()):
            before = old.get(target.tier, {}).get(name, action)
            if before != action:
                yield f"{target.source}/{target.device_group.name}", name, before, action

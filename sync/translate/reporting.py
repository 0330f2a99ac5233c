"""The report on the rules, groups and zones of a device group."""

from collections.abc import Iterator, Sequence

from sync.options import Essential
from sync.translate.fidelity import GroupFidelity, RuleFidelity, Status, ZoneFidelity, worst
from sync.translate.network_sets import GroupSet, Target
from sync.translate.origins import rule_id
from sync.translate.rules import TranslatedRule
from sync.translate.zones import Workloads, Zones


def rule_fidelity(target: Target, translated: TranslatedRule, nat: tuple[str, ...]) -> RuleFidelity:
    """Report on a rule; its Calico rules are in no policy yet."""
    source, name, device_group, rulebase, position = rule_id(target, translated)
    return RuleFidelity(
        source=source,
        target=name,
        device_group=device_group,
        rulebase=rulebase,
        position=position,
        name=translated.rule.name,
        uuid=translated.rule.uuid,
        allow=translated.allow,
        disabled=translated.rule.disabled,
        status=worst(translated.losses),
        reasons=tuple(loss.reason for loss in translated.losses),
        calico=(),
        nat=nat,
        rule=translated.rule,
    )


def group_fidelity(sets: Sequence[GroupSet]) -> tuple[GroupFidelity, ...]:
    """Report on each address group."""
    return tuple(
        GroupFidelity(
            each.identity,
            Status.NARROWED if each.holds.open else Status.EXACT,
            each.holds.because,
        )
        for each in sets
        if not each.external
    )


def essential_clauses(essentials: Sequence[Essential]) -> tuple[str, ...]:
    """Name the flows that come before all rules, a clause for each."""
    return tuple(
        f"{each.direction} on {each.on}: {', '.join([*each.cidrs, each.pods]).strip(', ')} "
        f"{', '.join(each.ports) or 'every port'}"
        for each in essentials
    )


def zone_fidelity(target: Target, zones: Zones, workloads: Workloads) -> Iterator[ZoneFidelity]:
    """Report where the pods and networks of each zone of a device group come from."""
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

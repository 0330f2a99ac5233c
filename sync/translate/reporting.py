"""The report on the rules, groups and zones of a device group."""

from collections.abc import Iterator, Sequence
from typing import Final

from sync.firewall.reasons import Reason
from sync.net.addresses import EVERYWHERE
from sync.options import Essential
from sync.translate.fidelity import (
    DeviceGroupFidelity,
    GroupFidelity,
    Loss,
    RuleFidelity,
    Status,
    ZoneFidelity,
    loss,
    worst,
)
from sync.translate.network_sets import GroupSet, Target
from sync.translate.origins import rule_id
from sync.translate.remedies import remedy
from sync.translate.rules import TranslatedRule
from sync.translate.zones import Workloads, Zone, Zones

_NO_ZONES: Final = loss(
    Status.NOT_ENFORCED,
    "its device group names no zone, so there are no pods that it could be for",
    Reason.NO_ZONES,
)
_NOTHING: Final = loss(
    Status.MATCHES_NOTHING, "it matches no flow on the firewall either", Reason.NO_MATCH
)
_NOBODY: Final = loss(
    Status.NOT_ENFORCED,
    "no pod and no network of its zones has the addresses of its ends",
    Reason.NO_ENDS,
)
_NOBODY_LEFT: Final = loss(
    Status.LEFT_OUT,
    "no pod and no network of its zones has what is left of its addresses",
    Reason.NO_ENDS,
)


def rule_fidelity(
    target: Target,
    translated: TranslatedRule,
    nat: tuple[str, ...],
    *,
    zones: bool,
    written: bool,
) -> RuleFidelity:
    """Report on a rule; its Calico rules are in no policy yet.

    `zones`: its device group has some. `written`: it has Calico rules in one of them.
    """
    source, name, device_group, rulebase, position = rule_id(target, translated)
    losses = translated.losses
    if not written:
        why = _unwritten(translated, zones=zones)
        # What a rule would lose says nothing where no pod or network could be its end.
        losses = why if worst(why) is Status.NOT_ENFORCED else losses + why
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
        status=_status(translated, losses, written=written),
        reasons=tuple(each.reason for each in losses),
        remedies=tuple(
            remedy(
                each.kinds,
                about=each.about,
                rule=translated.rule.name,
                allow=translated.allow,
                no_rest=each.no_rest,
            )
            for each in losses
        ),
        calico=(),
        nat=nat,
        rule=translated.rule,
        own=device_group == name and not target.device_group.has_children,
    )


def _status(translated: TranslatedRule, losses: tuple[Loss, ...], *, written: bool) -> Status:
    if translated.rule.disabled:
        return Status.DISABLED
    found = worst(losses)
    left_out = any(each.status is Status.LEFT_OUT for each in losses)
    # What is left out allows nothing, whatever else would have been accepted of it.
    if found is Status.MORE_PERMISSIVE and translated.allow and left_out and not written:
        return Status.LEFT_OUT
    return found


def _unwritten(translated: TranslatedRule, *, zones: bool) -> tuple[Loss, ...]:
    """Why a rule has no Calico rules, where its losses do not say it."""
    said = {each.status for each in translated.losses}
    if translated.rule.disabled or Status.NOT_TARGETED in said:
        return ()
    if not zones:
        return (_NO_ZONES,)
    if said & {Status.LEFT_OUT, Status.MORE_PERMISSIVE} and not translated.traffic:
        return ()
    if translated.allow and said - {Status.MORE_PERMISSIVE}:
        return (_NOBODY_LEFT,)
    ends = (translated.source, translated.destination)
    matches = translated.traffic and all(each.among(EVERYWHERE) for each in ends)
    return (_NOBODY if matches or said else _NOTHING,)


def device_group_fidelity(target: Target, zones: Zones) -> DeviceGroupFidelity:
    """Report on a device group: how many zones it has here."""
    return DeviceGroupFidelity(
        target.source, target.device_group.name, target.tier, target.mode, len(zones.own)
    )


def group_fidelity(sets: Sequence[GroupSet]) -> tuple[GroupFidelity, ...]:
    """Report on each address group."""
    return tuple(
        GroupFidelity(
            each.identity,
            Status.NARROWED if each.holds.open else Status.EXACT,
            each.holds.because,
            (remedy(each.holds.kinds),) if each.holds.open else (),
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
            remedies=tuple(_zone_remedies(zone, workloads)),
        )


def _zone_remedies(zone: Zone, workloads: Workloads) -> Iterator[str]:
    about = f"zone {zone.name}"
    if zone.networks is None:
        yield remedy([Reason.NETWORKS], about=about)
    if workloads.rests_on_pod_labels(zone.name):
        yield remedy([Reason.POD_LABELS], about=about)

"""Parts of a configuration that do not reach a cluster as they are, as a plan lists them.

The report lists each rule. A plan has counts, what is left out for no single rule, and what could
not be read from the cluster.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sync.clusters.cluster import ClusterFacts
from sync.firewall.configuration import Snapshot
from sync.options import ZoneOptions
from sync.plan.plan import LeftOut, Plan
from sync.translate.fidelity import Report, Status
from sync.translate.network_sets import Target

_FAITHFUL = (Status.EXACT, Status.DISABLED, Status.NOT_TARGETED, Status.MATCHES_NOTHING)
_LABELLED = "pods labelled "
_IN_DEVICE_GROUP = re.compile(r"/device-group/entry\[@name='(.*?)'\]")


def in_no_zone(
    report: Report, zones: ZoneOptions, pods: Mapping[str, Sequence[str]]
) -> Iterator[LeftOut]:
    """Find zone labels on pods that name no zone: a mistake.

    `pods` has some pods for each value of the zone label.
    """
    by_label = {
        zone.label_value
        for zone in report.zones
        for definition in [zones.definitions.get(zone.name)]
        if not (definition and (definition.selector or definition.namespace_selector))
    }
    for value in sorted(pods.keys() - by_label):
        yield LeftOut(
            f"{_LABELLED}{zones.label}: {value!r}",
            "no zone has its pods by that label; unless a definition has them, they are to be "
            f"denied everything ({', '.join(pods[value])}); correct the label",
        )


def unknown_zones(plan: Plan) -> list[LeftOut]:
    """The entries of a plan about pods whose zone label names no zone."""
    return [each for each in plan.left_out if each.subject.startswith(_LABELLED)]


def not_seen(facts: ClusterFacts) -> Iterator[LeftOut]:
    """List foreign objects that could not be read, so that guards do not see them."""
    for subject, guard, because in (
        ("policies of others", "foreign-policy", facts.foreign_policies_because),
        ("sets and host endpoints of others", "foreign-set", facts.selectable_because),
    ):
        if because:
            yield LeftOut(subject, f"the guard {guard} does not see them all: {because}")


def left_out(
    report: Report, targets: Sequence[Target], snapshots: Mapping[str, Snapshot]
) -> list[LeftOut]:
    """List the parts of a configuration that do not reach the cluster as they are."""
    found = [
        LeftOut(f"address group {group.name!r}", reason)
        for group in report.groups
        for reason in group.reasons
    ]
    for target in targets:
        name = target.device_group.name
        found += (
            LeftOut(remark.path, remark.message)
            for remark in snapshots[target.source].configuration.remarks
            for group in [_IN_DEVICE_GROUP.search(remark.path)]
            if group is None or group[1] in target.device_group.lineage
        )
        counted = Counter(
            rule.status
            for rule in report.rules
            if (rule.source, rule.target) == (target.source, name)
        )
        for faithful in _FAITHFUL:
            del counted[faithful]
        if counted:
            counts = ", ".join(f"{count} {status}" for status, count in sorted(counted.items()))
            found.append(
                LeftOut(f"rules of device group {name!r}", f"{counts}; see `zonebridge report`")
            )
    return found

"""Parts of a configuration that do not reach a cluster as they are, as a plan lists them.

The report lists each rule. A plan has counts, what is left out for no single rule, and what could
not be read from the cluster.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from sync.clusters.cluster import ClusterFacts
from sync.errors import StoreError
from sync.firewall.configuration import Snapshot
from sync.options import ZoneOptions
from sync.plan.omission import LeftOut, Omission
from sync.plan.plan import Plan
from sync.store import Store
from sync.store.source_cache import StoredMemory
from sync.translate.fidelity import Report, Status
from sync.translate.network_sets import Target

_FAITHFUL = (Status.EXACT, Status.DISABLED, Status.NOT_TARGETED, Status.MATCHES_NOTHING)
_KIND = "left-out"
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
            Omission.UNKNOWN_ZONE,
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
            seen = f"the guard {guard} does not see them all: {because}"
            yield LeftOut(subject, seen, Omission.UNSEEN)


def left_out(
    report: Report, targets: Sequence[Target], snapshots: Mapping[str, Snapshot]
) -> list[LeftOut]:
    """List the parts of a configuration that do not reach the cluster as they are."""
    found = [
        LeftOut(f"address group {group.name!r}", reason, Omission.SMALLER)
        for group in report.groups
        for reason in group.reasons
    ]
    for target in targets:
        name = target.device_group.name
        found += (
            LeftOut(remark.path, remark.message, Omission.UNREADABLE)
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
            subject = f"rules of device group {name!r}"
            found.append(LeftOut(subject, f"{counts}; see `zonebridge report`", Omission.RULES))
    return found


_OF_STATUS = {
    "narrowed": Omission.SMALLER,
    "widened": Omission.WIDER,
    "more-permissive": Omission.MORE_PERMISSIVE,
    "not-enforced": Omission.NOT_ENFORCED,
}


def inexact_rules(report: Report) -> list[LeftOut]:
    """List the rules that are not written as the firewall has them, in their order."""
    return [
        LeftOut(
            f"rule {rule.name!r} of device group {rule.target!r}",
            "; ".join(rule.reasons),
            _OF_STATUS.get(str(rule.status), Omission.LEFT_OUT),
        )
        for rule in report.rules
        if rule.status not in _FAITHFUL
    ]


def known_after(plan: Plan) -> frozenset[str]:
    """The digests of what is left out for as long as the firewall's configuration stays."""
    return frozenset(each.digest for each in plan.omissions if each.kind.lasting)


def recalled(store: Store, cluster: str) -> frozenset[str] | None:
    """The same of the last sync of a cluster that succeeded; None if none can be read."""
    try:
        kept = cluster_memory(store, cluster).recall(_KIND, "")
    except StoreError:
        return None  # then everything counts as new: no reason to hold up a sync
    return None if kept is None else frozenset(kept.decode(errors="replace").split())


def remember(store: Store, plan: Plan) -> None:
    """Store what a sync left out, for the next plans; only where it changed, and if it can be."""
    known = known_after(plan)
    if known != recalled(store, plan.cluster):
        # The sync is done and recorded; without this, the next plan calls the same new again.
        with suppress(StoreError):
            cluster_memory(store, plan.cluster).remember(
                _KIND, "", " ".join(sorted(known)).encode()
            )


def cluster_memory(store: Store, cluster: str) -> StoredMemory:
    """What the store keeps of the last sync of a cluster; not part of the trail."""
    # No source has a name with a slash.
    return store.memory(f"cluster/{cluster}")

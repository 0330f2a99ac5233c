"""One sync, from source to outcome: the way of the data.

    sources -> firewall -> translate -> plan -> intents -> cluster -> outcomes

The one-shot command and the service both call `run_cycle`. A dry run has no run to record in and
no writers: there is nothing in it that could write.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sync.calico.manifest import Manifest
from sync.calico.objects import Pairs
from sync.calico.validator import validate
from sync.clusters.cluster import ClusterReader, ClusterWriter, Key, LiveObject, NotWrittenError
from sync.errors import ClusterError, SourceError, ZonebridgeError
from sync.firewall.configuration import Configuration, Snapshot
from sync.firewall.effective import effective
from sync.plan.changes import Change
from sync.plan.differences import differences
from sync.plan.plan import LeftOut, Origin, Plan, make_plan
from sync.sources import Source
from sync.store import BATCH, Conclusion, Outcome, Run, Store
from sync.translate.sets import GroupSet, Target, group_sets, network_sets, shortened


@dataclass(frozen=True, slots=True)
class Translation:
    """The settings that decide what becomes of the firewall's objects."""

    tags: tuple[str, ...]
    registered_known: bool
    owner: Pairs


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster: the (source, device group) pairs it stands for, and how it is reached."""

    name: str
    device_groups: tuple[tuple[str, str], ...]
    reader: ClusterReader
    writer: ClusterWriter | None
    repair_drift: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one cluster: its plan, the changes written, those that failed, or an error."""

    cluster: str
    plan: Plan | None = None
    applied: tuple[Change, ...] = ()
    failed: tuple[tuple[Change, str], ...] = ()
    error: ZonebridgeError | None = None


class InvalidObjectError(ZonebridgeError):
    """An object would be refused or misread by some Calico; nothing of its plan is written."""


def run_cycle(
    sources: Sequence[Source],
    clusters: Sequence[Cluster],
    store: Store,
    translation: Translation,
    run: Run | None,
) -> list[Result]:
    """Bring every cluster to what its sources say, each on its own; a `run` of None only plans.

    What goes wrong for one cluster is in its result and holds up no other. Only a store that fails
    raises, for without it nothing may be written.
    """
    used = {source for cluster in clusters for source, _ in cluster.device_groups}
    snapshots = {source.name: _read(source) for source in sources if source.name in used}
    results = []
    for cluster in clusters:
        try:
            live = cluster.reader.read()
            if run:
                _recover(cluster.name, live, store, run)
            plan = _plan(cluster, snapshots, live, store, translation)
            results.append(_apply(cluster, plan, live, run) if run else Result(cluster.name, plan))
        except (SourceError, ClusterError, InvalidObjectError) as error:
            results.append(Result(cluster.name, error=error))
    return results


def _read(source: Source) -> Snapshot | SourceError:
    """A source is read once for all clusters, and fails once for all of them."""
    try:
        return source.read()
    except SourceError as error:
        return error


def _recover(cluster: str, live: Mapping[Key, LiveObject], store: Store, run: Run) -> None:
    """Close what an earlier run intended and did not live to conclude, by what is there now."""
    for intent in store.open_intents(cluster):
        found = live.get((intent.object_kind, intent.object_name))
        run.recover(intent, found.manifest if found else None)


def _plan(
    cluster: Cluster,
    read: Mapping[str, Snapshot | SourceError],
    live: Mapping[Key, LiveObject],
    store: Store,
    translation: Translation,
) -> Plan:
    snapshots = {name: _whole(read[name]) for name, _ in cluster.device_groups}
    targets = [
        Target(source, effective(snapshots[source].configuration, device_group))
        for source, device_group in cluster.device_groups
    ]
    sets = group_sets(targets, tags=translation.tags, registered_known=translation.registered_known)
    left_out = [
        LeftOut(f"address group {each.group!r} of {', '.join(each.device_groups)}", reason)
        for each in sets
        for reason in each.open_because
    ]
    for target in targets:
        left_out += _left_out(target, snapshots[target.source].configuration)
    return make_plan(
        cluster.name,
        [_origin(snapshot) for _, snapshot in sorted(snapshots.items())],
        differences(_desired(sets, translation.owner), store.written(cluster.name), live),
        left_out,
        repair_drift=cluster.repair_drift,
    )


def _whole(read: Snapshot | SourceError) -> Snapshot:
    if isinstance(read, SourceError):
        raise read
    return read


def _desired(sets: Sequence[GroupSet], owner: Pairs) -> dict[Key, Manifest]:
    """The objects as they shall be; each passes the validator before it enters a plan."""
    desired: dict[Key, Manifest] = {}
    for each, network_set in network_sets(sets, owner):
        manifest = network_set.manifest()
        for violation in validate(manifest):
            raise InvalidObjectError(
                f"the address group {each.group!r} makes a {manifest.kind} that Calico would "
                f"refuse or misread: {violation}; nothing was written, please report this"
            )
        desired[manifest.kind, manifest.name] = manifest
    return desired


def _origin(snapshot: Snapshot) -> Origin:
    found = snapshot.provenance
    return Origin(found.source, found.version, found.administrators, found.description)


_IN_DEVICE_GROUP = re.compile(r"/device-group/entry\[@name='(.*?)'\]")


def _left_out(target: Target, configuration: Configuration) -> list[LeftOut]:
    """What of a document does not reach the cluster: what could not be read, and the rules."""
    found = [
        LeftOut(remark.path, remark.message)
        for remark in configuration.remarks
        for group in [_IN_DEVICE_GROUP.search(remark.path)]
        if group is None or group[1] in target.device_group.lineage
    ]
    if rules := len(target.device_group.rules):
        found.append(
            LeftOut(
                f"rules of device group {target.device_group.name!r}",
                f"{rules} security rules were read; this version writes address groups only",
            )
        )
    return found


def _apply(cluster: Cluster, plan: Plan, live: Mapping[Key, LiveObject], run: Run) -> Result:
    """Write a plan in its order: intents first, in batches, and outcomes after each batch."""
    if plan.blockers:
        guards = sorted({each.guard for each in plan.blockers})
        why = shortened([each.message for each in plan.blockers])
        run.blocked(cluster.name, guards, plan.digest, why)
        return Result(cluster.name, plan)
    run.adopt(cluster.name, plan.adopted, plan.origins)
    assert cluster.writer is not None
    applied: list[Change] = []
    failed: list[tuple[Change, str]] = []
    for step in plan.steps():
        for first in range(0, len(step), BATCH):
            batch = step[first : first + BATCH]
            conclusions = []
            for change, intent in zip(
                batch, run.intend(cluster.name, batch, plan.origins), strict=True
            ):
                try:
                    _write(cluster.writer, change, live)
                except ClusterError as error:
                    surely = isinstance(error, NotWrittenError)
                    outcome = Outcome.FAILED if surely else Outcome.UNKNOWN
                    conclusions.append(Conclusion(intent, outcome, str(error)))
                    failed.append((change, str(error)))
                else:
                    conclusions.append(Conclusion(intent, Outcome.APPLIED))
                    applied.append(change)
            run.conclude(conclusions)
    return Result(cluster.name, plan, tuple(applied), tuple(failed))


def _write(writer: ClusterWriter, change: Change, live: Mapping[Key, LiveObject]) -> None:
    if change.after is None:
        assert change.before is not None
        writer.delete(change.before)
    elif change.before is None:
        writer.create(change.after)
    else:
        writer.replace(change.after, live[change.kind, change.name])

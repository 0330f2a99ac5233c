"""One sync, from source to outcome: the way of the data.

    sources -> firewall -> translate -> plan -> intents -> cluster -> outcomes

The one-shot command and the service both come here. A dry run has nothing to record in and no
writers: there is nothing in it that could write.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from sync.calico.manifest import Manifest
from sync.calico.objects import Pairs
from sync.calico.validator import validate
from sync.clusters.cluster import (
    ClusterReader,
    ClusterWatcher,
    ClusterWriter,
    Key,
    LiveObject,
    NotWrittenError,
    OutOfReachError,
    Remaining,
)
from sync.errors import ClusterError, LeaseError, SourceError, ZonebridgeError
from sync.firewall.configuration import Configuration, Snapshot
from sync.firewall.effective import effective
from sync.plan.changes import Change
from sync.plan.differences import differences
from sync.plan.plan import LeftOut, Origin, Plan, make_plan
from sync.plan.text import summarise
from sync.sources import Source
from sync.store import BATCH, Conclusion, Lease, Outcome, Record, Run, Store
from sync.translate.sets import GroupSet, Target, group_sets, network_sets, shortened

WRITERS = 8
"""Writes that are under way in one cluster at a time."""

_PROBE = 8  # changes of the first batch: where all of them fail, the others are not tried

_CLUSTERS = 16  # at a time


@dataclass(frozen=True, slots=True)
class Translation:
    """The settings that decide what becomes of the firewall's objects."""

    tags: tuple[str, ...]
    registered_known: bool
    owner: Pairs


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster: the (source, device group) pairs it stands for, and how it is reached.

    `writer` makes a writer for as long as a lease lasts, and until it is told to stop; None for a
    dry run. Only the service has
    a use for `watcher`.
    """

    name: str
    device_groups: tuple[tuple[str, str], ...]
    reader: ClusterReader
    writer: Callable[[Remaining, Callable[[], bool]], ClusterWriter] | None
    watcher: ClusterWatcher
    repair_drift: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one cluster: its plan, the changes written, those that failed, or an error.

    `left` changes were not tried; then there is an error that says why. Of changes whose outcome
    is `unknown` the next sync learns only when the lease has run out.
    """

    cluster: str
    plan: Plan | None = None
    applied: tuple[Change, ...] = ()
    failed: tuple[tuple[Change, str], ...] = ()
    left: int = 0
    error: ZonebridgeError | None = None
    unknown: bool = False

    @property
    def state(self) -> str:
        """How the cluster stands after it, in a word or two."""
        if isinstance(self.error, LeaseError):
            return "held elsewhere"
        if self.error or self.failed:
            return "failed"
        if self.plan and self.plan.blockers:
            return "blocked"
        return "drift left" if self.plan and self.plan.drift else "in sync"

    @property
    def succeeded(self) -> bool:
        """Whether the cluster is what its sources say, but for drift that is left on purpose."""
        return self.state in ("in sync", "drift left")

    @property
    def detail(self) -> str:
        """What is behind the state, in a sentence."""
        if self.error:
            return str(self.error)
        if self.failed:
            change, why = self.failed[0]
            more = f" (and {len(self.failed) - 1} more)" if len(self.failed) > 1 else ""
            return f"{change.kind} {change.name}: {why}{more}"
        if self.plan and self.plan.blockers:
            return shortened([each.message for each in self.plan.blockers])
        if self.applied and self.plan:
            return f"{len(self.applied)} written, {self.plan.unchanged} unchanged"
        return summarise(self.plan) if self.plan else ""


Read = Mapping[str, Snapshot | SourceError]
"""Every source by name, each read once for all clusters; one that fails, fails for all of them."""

Lessor = Callable[[str], AbstractContextManager[Lease]]
"""Takes the lease of a cluster for as long as the context lasts."""


class InvalidObjectError(ZonebridgeError):
    """An object would be refused or misread by some Calico; nothing of its plan is written."""


class StoppedError(ZonebridgeError):
    """The process was asked to end before the plan was written whole."""


_OF_ONE_CLUSTER = (SourceError, ClusterError, LeaseError, InvalidObjectError)
"""What goes wrong for one cluster is in its result and holds up no other."""


def run_cycle(
    sources: Sequence[Source],
    clusters: Sequence[Cluster],
    store: Store,
    translation: Translation,
    run: Run,
    lease_of: Lessor,
    stopping: Callable[[], bool],
) -> list[Result]:
    """Bring every cluster to what its sources say now, each on its own, and note how it stands."""
    with ExitStack() as kept:
        # Before anything is read: what was read without the lease may be older than what is there.
        leases = {cluster.name: _lease(kept, lease_of, cluster.name) for cluster in clusters}
        read = _read_sources(sources, clusters)
        for name, found in read.items():
            note_source(store, name, found)

        def become(cluster: Cluster) -> Result:
            lease = leases[cluster.name]
            if isinstance(lease, LeaseError):
                return Result(cluster.name, error=lease)
            result = sync_cluster(cluster, read, store, translation, run, lease, stopping)
            note_cluster(store, result)
            return result

        return _at_once(become, clusters)


def plan_cycle(
    sources: Sequence[Source], clusters: Sequence[Cluster], store: Store, translation: Translation
) -> list[Result]:
    """What `run_cycle` would do; nothing is written anywhere."""
    read = _read_sources(sources, clusters)

    def become(cluster: Cluster) -> Result:
        try:
            live = cluster.reader.read()
            return Result(cluster.name, _plan(cluster, read, live, store, translation))
        except _OF_ONE_CLUSTER as error:
            return Result(cluster.name, error=error)

    return _at_once(become, clusters)


def note_source(store: Store, name: str, found: Snapshot | SourceError) -> None:
    """Note how a source stands, for `zonebridge status`."""
    failed = isinstance(found, SourceError)
    detail = str(found) if isinstance(found, SourceError) else found.provenance.version
    state = "failed" if failed else "read"
    store.stand("source", name, state=state, detail=detail, succeeded=not failed)


def note_cluster(store: Store, result: Result) -> None:
    """Note how a cluster stands, for `zonebridge status`."""
    store.stand(
        "cluster",
        result.cluster,
        state=result.state,
        detail=result.detail,
        succeeded=result.succeeded,
    )


def sync_cluster(
    cluster: Cluster,
    read: Read,
    store: Store,
    translation: Translation,
    run: Run,
    lease: Lease,
    stopping: Callable[[], bool],
) -> Result:
    """Bring one cluster to what its sources say, under its lease.

    When `stopping()` turns true, what was intended is finished and the rest left. Only a store
    that fails raises, for without it nothing may be written.
    """
    try:
        live = cluster.reader.read()
        _recover(lease, live, store, run)
        plan = _plan(cluster, read, live, store, translation)
        return _apply(cluster, plan, live, run, lease, stopping)
    except _OF_ONE_CLUSTER as error:
        return Result(cluster.name, error=error)


def _at_once(become: Callable[[Cluster], Result], clusters: Sequence[Cluster]) -> list[Result]:
    """What becomes of the clusters, side by side: one that is slow or down holds up no other."""
    with ThreadPoolExecutor(min(max(len(clusters), 1), _CLUSTERS), "cluster") as pool:
        return list(pool.map(become, clusters))


def _lease(kept: ExitStack, lease_of: Lessor, cluster: str) -> Lease | LeaseError:
    try:
        return kept.enter_context(lease_of(cluster))
    except LeaseError as error:
        return error


def _read_sources(sources: Sequence[Source], clusters: Sequence[Cluster]) -> Read:
    used = {source for cluster in clusters for source, _ in cluster.device_groups}
    return {source.name: _read(source) for source in sources if source.name in used}


def _read(source: Source) -> Snapshot | SourceError:
    try:
        return source.read()
    except SourceError as error:
        return error


def _recover(lease: Lease, live: Mapping[Key, LiveObject], store: Store, run: Run) -> None:
    """Close what an earlier run intended and did not live to conclude, by what is there now.

    Whoever held the lease then has no request under way any more (`Lease.remaining`).
    """
    closed = []
    for intent in store.open_intents(lease.cluster):
        found = live.get((intent.object_kind, intent.object_name))
        closed.append((intent, found.manifest if found else None))
    run.recover(lease, closed)


def _plan(
    cluster: Cluster,
    read: Read,
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


def _apply(
    cluster: Cluster,
    plan: Plan,
    live: Mapping[Key, LiveObject],
    run: Run,
    lease: Lease,
    stopping: Callable[[], bool],
) -> Result:
    """Write a plan in its order: intents first, in batches, and outcomes after each batch.

    While one batch is written the next one's intents are committed, and the outcomes of the one
    before: the cluster need not wait for the store.
    """
    if plan.blockers:
        guards = sorted({each.guard for each in plan.blockers})
        why = shortened([each.message for each in plan.blockers])
        run.blocked(cluster.name, guards, plan.digest, why)
        return Result(cluster.name, plan)
    run.adopt(lease, plan.adopted, plan.origins)
    assert cluster.writer is not None
    written = _Written()
    with ThreadPoolExecutor(WRITERS, "writer") as pool:
        write = _Write(cluster.writer(lease.remaining, stopping), live)
        try:
            for step in plan.steps():
                under_way: deque[_Batch] = deque()
                rest = step
                while rest and not (written.out_of_reach or stopping()):
                    size = BATCH if written.applied else _PROBE
                    changes, rest = rest[:size], rest[size:]
                    intents = run.intend(lease, changes, plan.origins)
                    writes = [pool.submit(write, change) for change in changes]
                    under_way.append(_Batch(changes, intents, writes))
                    while len(under_way) > (1 if written.applied else 0):
                        written.add(under_way.popleft(), run)
                while under_way:
                    written.add(under_way.popleft(), run)
        except BaseException:
            # Nobody will be able to record what is still to come.
            pool.shutdown(cancel_futures=True)
            lease.leave()
            raise
    if written.unknown:
        lease.leave()
    return written.result(plan)


@dataclass(frozen=True, slots=True)
class _Batch:
    changes: Sequence[Change]
    intents: Sequence[Record]
    writes: Sequence[Future[None]]


@dataclass(frozen=True, slots=True)
class _Write:
    writer: ClusterWriter
    live: Mapping[Key, LiveObject]

    def __call__(self, change: Change) -> None:
        found = self.live.get((change.kind, change.name))
        if change.after is None:
            # What is gone from the cluster already needs its record alone.
            if found:
                self.writer.delete(found)
        elif found is None:
            self.writer.create(change.after)
        else:
            self.writer.replace(change.after, found)


class _Written:
    """What has been written of one plan so far."""

    def __init__(self) -> None:
        self.applied: list[Change] = []
        self.failed: list[tuple[Change, str]] = []
        self.out_of_reach: ClusterError | None = None
        self.unknown = False

    def add(self, batch: _Batch, run: Run) -> None:
        """Wait for a batch and commit what became of it."""
        wait(batch.writes)  # one waking of this thread for all of them
        conclusions = []
        before = len(self.applied)
        for change, intent, write in zip(batch.changes, batch.intents, batch.writes, strict=True):
            try:
                write.result()
            except ClusterError as error:
                surely = isinstance(error, NotWrittenError)
                outcome = Outcome.FAILED if surely else Outcome.UNKNOWN
                self.unknown = self.unknown or not surely
                conclusions.append(Conclusion(intent, outcome, str(error)))
                self.failed.append((change, str(error)))
                if isinstance(error, OutOfReachError):
                    self.out_of_reach = self.out_of_reach or error
                elif len(self.applied) == before and len(conclusions) >= _PROBE:
                    # What befalls a whole batch would befall the others: a missing right, say.
                    self.out_of_reach = error
            else:
                conclusions.append(Conclusion(intent, Outcome.APPLIED))
                self.applied.append(change)
        run.conclude(conclusions)

    def result(self, plan: Plan) -> Result:
        left = len(plan.changes) - len(self.applied) - len(self.failed)
        error: ZonebridgeError | None = None
        if left and self.out_of_reach:
            error = ClusterError(
                f"{self.out_of_reach}; {left} more changes were not tried, the next sync goes on"
            )
        elif left:
            error = StoppedError(
                f"stopped before {left} of {len(plan.changes)} changes; the next sync goes on"
            )
        return Result(
            cluster=plan.cluster,
            plan=plan,
            applied=tuple(self.applied),
            failed=tuple(self.failed),
            left=left,
            error=error,
            unknown=self.unknown,
        )

"""One sync, from source to outcome: the way of the data.

    sources -> firewall -> translate -> plan -> intents -> cluster -> outcomes

The one-shot command and the service both come here. A dry run has nothing to record in and no
writers: there is nothing in it that could write.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import orjson

from sync.calico.manifest import Manifest
from sync.calico.objects import POLICIES, Pairs
from sync.calico.ownership import stamp
from sync.clusters.cluster import (
    ClusterFacts,
    ClusterWriter,
    Key,
    LiveObject,
    NotBegunError,
    NotWrittenError,
    OutOfReachError,
)
from sync.clusters.compatibility import warnings
from sync.clusters.in_memory import GivenReader
from sync.errors import ClusterError, LeaseError, SourceError, UsageError, ZonebridgeError
from sync.firewall.configuration import Snapshot
from sync.plan.changes import Cause, Change
from sync.plan.differences import differences
from sync.plan.guards import empty_sources, foreign_policies, live_tiers
from sync.plan.order import Unwritten, rounds
from sync.plan.plan import NotPushed, Origin, Plan, make_plan
from sync.plan.precedence import Precedence
from sync.reconcile.cluster_identity import first_met, foreseen, identified, meet, require_same
from sync.reconcile.copied_store import unrecorded
from sync.reconcile.cut_off import cut_off
from sync.reconcile.desired import Cluster, Desired, InvalidObjectError, desired, read_live
from sync.reconcile.device_groups import Read, read_sources
from sync.reconcile.foreign_selections import Watched, foreign_sets
from sync.reconcile.omissions import in_no_zone, left_out, not_seen
from sync.reconcile.tier_order import precedence
from sync.reconcile.verification import blockers as unproven
from sync.reconcile.verification import proof_of
from sync.sources import Source
from sync.sources.snapshot_cache import keep
from sync.store import (
    BATCH,
    Adoption,
    ApprovalError,
    Conclusion,
    Head,
    Lease,
    Outcome,
    Record,
    Run,
    Store,
)
from sync.text import shortened
from sync.tracing import step
from sync.translate.compiler import Options, Translated
from sync.translate.fidelity import Report
from sync.verify.proof import Proof

WRITERS = 16
"""Writes that are under way in one cluster at a time: etcd commits together what comes together."""

_PROBE = 8  # changes of the first batch: where all of them fail, the others are not tried

_CLUSTERS = 16  # at a time

# A move of chains that was left in the middle is first brought back, and then made anew.
_STAGES = 3

_Became = TypeVar("_Became")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one cluster: its plan, the changes written, those that failed, or an error.

    `proof` is there where something was to be proven. A set that was written twice counts twice.
    `left` changes were not tried; then there is an error that says why, or a blocker. Of changes
    whose outcome is `unknown` the next sync learns only when the lease has run out. `watched` is
    what it saw of others' sets, None if nothing could be planned.
    """

    cluster: str
    plan: Plan | None = None
    report: Report | None = None
    proof: Proof | None = None
    applied: tuple[Change, ...] = ()
    failed: tuple[tuple[Change, str], ...] = ()
    left: int = 0
    error: ZonebridgeError | None = None
    unknown: bool = False
    watched: Watched | None = None

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
        """What is behind the state, what stands in spite of a guard, and warnings: a sentence."""
        stands = [each.message for each in self.plan.let_through] if self.plan else []
        more = shortened([*stands, *self.plan.warnings]) if self.plan else ""
        return f"{self._behind.removesuffix('.')}; {more}" if more else self._behind

    @property
    def _behind(self) -> str:
        if self.applied and self.failed:
            change, why = self.failed[0]
            unwritten = len(self.failed) + self.left
            total = len(self.applied) + unwritten
            return f"{unwritten} of {total} changes not written: {change.kind} {change.name}: {why}"
        if self.error:
            return str(self.error)
        if self.failed:
            change, why = self.failed[0]
            more = f" (and {len(self.failed) - 1} more)" if len(self.failed) > 1 else ""
            return f"{change.kind} {change.name}: {why}{more}"
        if self.plan and self.plan.blockers:
            because = shortened([each.message for each in self.plan.blockers])
            if not self.plan.partial:
                return because
            waits = f"{self.left} changes wait for that" if self.left else "nothing waits for that"
            return f"{because}; {waits}, {len(self.applied)} others written"
        if self.applied and self.plan:
            return f"{len(self.applied)} written, {self.plan.unchanged} unchanged"
        return self.plan.summary if self.plan else ""


Lessor = Callable[[str], AbstractContextManager[Lease]]
"""Takes the lease of a cluster for as long as the context lasts."""


class StoppedError(ZonebridgeError):
    """The process was asked to end before the plan was written whole."""


_OF_ONE_CLUSTER = (
    SourceError,
    ClusterError,
    LeaseError,
    ApprovalError,
    InvalidObjectError,
    UsageError,
)
"""What goes wrong for one cluster is in its result and holds up no other."""


def run_cycle(
    sources: Sequence[Source],
    clusters: Sequence[Cluster],
    store: Store,
    options: Options,
    run: Run,
    lease_of: Lessor,
    stopping: Callable[[], bool],
) -> list[Result]:
    """Bring every cluster to what its sources say now, each on its own, and note how it stands."""
    with ExitStack() as kept:
        # Before anything is read: what was read without the lease may be older than what is there.
        leases = {cluster.name: _lease(kept, lease_of, cluster.name) for cluster in clusters}
        read = read_sources(sources, _used(clusters))
        for name, found in read.items():
            note_source(store, name, found)
            if isinstance(found, Snapshot):
                # A service that starts later must not bring clusters back to what it knew before.
                keep(store.memory(name), found, time.time())

        def be_met(cluster: Cluster) -> None:
            lease = leases[cluster.name]
            if not isinstance(lease, LeaseError):
                # What goes wrong does so again, and is told, when the cluster is synced.
                with suppress(*_OF_ONE_CLUSTER):
                    meet(cluster, store, run, lease)

        def become(cluster: Cluster) -> Result:
            lease = leases[cluster.name]
            if isinstance(lease, LeaseError):
                return Result(cluster.name, error=lease)
            result = sync_cluster(cluster, read, store, options, run, lease, stopping)
            note_cluster(store, result)
            return result

        # All of them before the first is written: two may be the same one.
        _at_once(be_met, clusters)
        return _at_once(become, clusters)


def plan_cycle(
    sources: Sequence[Source],
    clusters: Sequence[Cluster],
    store: Store,
    options: Options,
    *,
    prove: bool = False,
) -> list[Result]:
    """What `run_cycle` would do; nothing is written anywhere.

    `prove` proves all that a cluster shall have, whether or not any of it would change.
    """
    read = read_sources(sources, _used(clusters))
    uids = _at_once(lambda cluster: first_met(cluster, store), clusters)
    met = {each.name: uid for each, uid in zip(clusters, uids, strict=True)}

    def become(cluster: Cluster) -> Result:
        try:
            new = foreseen(cluster, store, met)
            written = {} if new else store.written(cluster.name)
            live = read_live(cluster, written, options.owner)
            anew = unrecorded(cluster, live, store)
            asked = frozenset() if new else store.adoptions(cluster.name)
            planned = _plan(
                cluster, read, live, written, options, anew=anew, prove=prove, asked=asked
            )
            return Result(
                cluster.name,
                # What was approved was so of the cluster before, and so was what was adopted.
                planned.plan if new else _if_approved(planned.plan, store),
                planned.translated.report,
                planned.proof,
            )
        except _OF_ONE_CLUSTER as error:
            return Result(cluster.name, error=error)

    return _at_once(become, clusters)


def compare_cycle(
    before: Sequence[Source],
    after: Sequence[Source],
    clusters: Sequence[Cluster],
    options: Options,
) -> list[Result]:
    """What `run_cycle` would do for the sources `after` if it had written those of `before`.

    No cluster is asked, there is no store, and nothing is written anywhere.
    """
    used = _used(clusters)
    old, new = read_sources(before, used), read_sources(after, used)

    def become(cluster: Cluster) -> Result:
        try:
            had = desired(cluster, old, {}, {}, options)
            written = had.translated.manifests
            there = GivenReader(written)
            planned = _plan(replace(cluster, reader=there), new, there.read(), written, options)
            plan = replace(planned.plan, compared_with=tuple(_origins(had.snapshots)))
            return Result(cluster.name, plan, planned.translated.report, planned.proof)
        except _OF_ONE_CLUSTER as error:
            return Result(cluster.name, error=error)

    return _at_once(become, clusters)


def note_source(store: Store, name: str, found: Snapshot | SourceError) -> None:
    """Note how a source stands, for `zonebridge status`."""
    failed = isinstance(found, SourceError)
    state = "failed" if failed else "read"
    store.stand("source", name, state=state, detail=source_detail(found), succeeded=not failed)


def source_detail(found: Snapshot | SourceError) -> str:
    """What a source says, in a sentence: its version and who lags behind it, or why it failed."""
    if isinstance(found, SourceError):
        return str(found)
    return "; ".join(filter(None, (found.provenance.version, lagging(found))))


def lagging(found: Snapshot) -> str:
    """Which device groups are not pushed to some firewall, in a bounded clause; "" if none."""
    return shortened([each.clause for each in _not_pushed(found, sorted(found.not_pushed))])


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
    options: Options,
    run: Run,
    lease: Lease,
    stopping: Callable[[], bool],
) -> Result:
    """Bring one cluster to what its sources say, under its lease.

    When `stopping()` turns true, writes that have begun are finished and the rest left, with a
    record of what was intended. Only a store that fails raises, for without it nothing may be
    written.
    """
    with step("sync", cluster=cluster.name, run=run.id) as here:
        result = _synced(cluster, read, store, options, run, lease, stopping)
        here.set("state", result.state)
        if result.plan:
            here.set("plan", result.plan.digest)
    return result


def _synced(
    cluster: Cluster,
    read: Read,
    store: Store,
    options: Options,
    run: Run,
    lease: Lease,
    stopping: Callable[[], bool],
) -> Result:
    try:
        done: tuple[Change, ...] = ()
        for _ in range(_STAGES):
            uid = identified(cluster, store, run, lease)
            read_again = partial(read_live, cluster, store.digests(cluster.name), options.owner)
            with step("live", cluster=cluster.name):
                live = read_again()
            anew = unrecorded(cluster, live, store, lease.holder)
            _recover(lease, live, store, run)
            asked = store.adoptions(cluster.name)
            written = store.written(cluster.name)
            with step("plan", cluster=cluster.name) as here:
                planned = _plan(cluster, read, live, written, options, anew=anew, asked=asked)
                plan = _if_approved(planned.plan, store)
                here.set("plan", plan.digest)
            result = _apply(cluster, uid, plan, live, run, lease, stopping, read_again)
            done += result.applied
            if not (planned.translated.on_the_way and result.succeeded):
                break
        report = planned.translated.report
        return replace(
            result, applied=done, report=report, proof=planned.proof, watched=planned.watched
        )
    except _OF_ONE_CLUSTER as error:
        return Result(cluster.name, error=error)


def _at_once(become: Callable[[Cluster], _Became], clusters: Sequence[Cluster]) -> list[_Became]:
    """What becomes of the clusters, side by side: one that is slow or down holds up no other."""
    with ThreadPoolExecutor(min(max(len(clusters), 1), _CLUSTERS), "cluster") as pool:
        return list(pool.map(become, clusters))


def _lease(kept: ExitStack, lease_of: Lessor, cluster: str) -> Lease | LeaseError:
    try:
        return kept.enter_context(lease_of(cluster))
    except LeaseError as error:
        return error


def _used(clusters: Sequence[Cluster]) -> set[str]:
    return {here.source for cluster in clusters for here in cluster.device_groups}


def _recover(lease: Lease, live: Mapping[Key, LiveObject], store: Store, run: Run) -> None:
    """Close what an earlier run intended and did not live to conclude, by what is there now.

    Whoever held the lease then has no request under way any more (`Lease.remaining`).
    """
    closed = []
    for intent in store.open_intents(lease.cluster):
        found = live.get((intent.object_kind, intent.object_name))
        closed.append((intent, found.manifest if found else None))
    run.recover(lease, closed)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, what it is made from, the proof of that where one was needed, and what it saw of
    others' sets."""

    plan: Plan
    translated: Translated
    proof: Proof | None
    watched: Watched = field(default_factory=Watched)


def _plan(
    cluster: Cluster,
    read: Read,
    live: Mapping[Key, LiveObject],
    written: Mapping[Key, Manifest],
    options: Options,
    *,
    anew: Collection[Key] = (),
    prove: bool = False,
    asked: Collection[Adoption] = (),
) -> Planned:
    with step("translate", cluster=cluster.name) as here:
        shall = desired(cluster, read, live, written, options)
        for name, snapshot in sorted(shall.snapshots.items()):
            here.set(f"source.{name}", snapshot.provenance.version)
    translated = shall.translated
    tiers = [here.tier for here in cluster.device_groups]
    found = differences(
        translated.manifests, written, live, adopt=cluster.adopt, anew=anew, asked=asked
    )
    held = {(each.kind, each.name) for each in found.held}
    # What is about to be taken over is nobody else's any more.
    ours = translated.manifests.keys() - held
    others = {key: each for key, each in live.items() if not (each.foreign_because and key in ours)}
    # Nothing of ours is written into a tier that is somebody else's.
    tiers = [each for each in tiers if ("Tier", each) not in held]
    beside, watched = foreign_sets(
        (shall.standing, translated.manifests),
        live,
        ours,
        shall.facts,
    )
    # A directory tells of no cluster, and never will.
    facts = shall.facts if cluster.moves else ClusterFacts()
    # What drifted was proven when it was written, and so was what an overtaken move goes back to.
    proof = None
    changed = any(each.cause is not Cause.DRIFT for each in found.changes)
    if (prove or changed) and not translated.on_the_way:
        with step("prove", cluster=cluster.name):
            proof = proof_of(shall.targets, translated, shall.options, samples=prove)
    plan = make_plan(
        cluster.name,
        _origins(shall.snapshots),
        found,
        [
            *left_out(translated, shall.targets, shall.snapshots),
            *in_no_zone(translated.report, options.zones, shall.facts.zone_labels),
            *not_seen(facts),
        ],
        repair_drift=cluster.repair_drift,
        live=live,
        blockers=[
            *foreign_policies(others, tiers, shall.facts.foreign_policies),
            *beside,
            *live_tiers(
                (
                    each
                    for each in found.changes
                    if cluster.repair_drift or each.cause is not Cause.DRIFT
                ),
                others,
                shall.facts.foreign_policies,
                facts.foreign_policies_because,
            ),
            *empty_sources(
                shall.standing,
                translated.manifests,
                {target.tier: target.device_group.lineage for target in shall.targets},
            ),
            *cut_off(found.changes, translated.manifests, shall.standing.values(), cluster.reader),
            *(unproven(proof, translated.report) if proof else ()),
        ],
        not_pushed=[
            each
            for here in cluster.device_groups
            for each in _not_pushed(shall.snapshots[here.source], [here.name])
        ],
        precedence=_precedence(cluster, found.changes, live, shall),
        warnings=[*warnings(cluster.name, shall.facts)],
    )
    return Planned(plan, translated, proof, watched)


def _precedence(
    cluster: Cluster,
    changes: Sequence[Change],
    live: Mapping[Key, LiveObject],
    shall: Desired,
) -> list[Precedence]:
    """Which chains go before which; nothing where no state between can be seen."""
    if not cluster.moves or not any(change.kind in POLICIES for change in changes):
        return []
    standing = {key: found.manifest for key, found in live.items() if found.manifest}
    return precedence(standing, shall.translated.manifests, shall.options)


def _if_approved(plan: Plan, store: Store) -> Plan:
    """The plan, let through if somebody has approved it."""
    approved = plan.approvable and store.approved(plan.cluster, plan.digest)
    return plan.approved() if approved else plan


def _origins(snapshots: Mapping[str, Snapshot]) -> list[Origin]:
    return [
        Origin(found.source, found.version, found.administrators, found.description, found.pending)
        for found in (snapshot.provenance for _, snapshot in sorted(snapshots.items()))
    ]


def _not_pushed(snapshot: Snapshot, device_groups: Sequence[str]) -> list[NotPushed]:
    """Those of the device groups whose firewalls have not all what their Panorama runs."""
    return [
        NotPushed(snapshot.provenance.source, name, devices)
        for name in device_groups
        if (devices := snapshot.not_pushed.get(name))
    ]


def _apply(
    cluster: Cluster,
    uid: str,
    plan: Plan,
    live: Mapping[Key, LiveObject],
    run: Run,
    lease: Lease,
    stopping: Callable[[], bool],
    read_again: Callable[[], Mapping[Key, LiveObject]],
) -> Result:
    """Write a plan in its order: intents first, in batches, and outcomes after each batch.

    While one batch is written the next one's intents are committed, and the outcomes of the one
    before: the cluster need not wait for the store. Before each it must still be the one with the
    UID that was planned for. Of a step the first changes of all its chains
    are written, then the second ones, and so on.
    """
    if plan.blockers:
        # Where it is partial, what depends on nothing that is held is written in spite of them.
        guards = sorted({each.guard for each in plan.blockers})
        why = shortened([each.message for each in plan.blockers])
        kept = orjson.dumps(plan.document()) if plan.approvable else None
        run.blocked(cluster.name, guards, plan.digest, why, document=kept)
        if not plan.partial:
            return Result(cluster.name, plan)
    run.adopt(lease, plan.adopted, plan.origins)
    assert cluster.writer is not None
    written = _Written(plan.unwritten())
    approved = plan.digest if plan.let_through else ""
    steps = plan.steps()
    with (
        step("write", cluster=cluster.name, plan=plan.digest),
        ThreadPoolExecutor(WRITERS, "writer") as pool,
    ):
        write = _Write(cluster.writer(lease.remaining, stopping), live, stopping)
        try:
            for changes in rounds(steps):
                under_way: deque[_Batch] = deque()
                rest = written.writable(changes)
                if not stopping() and written.wrote_any(rest):
                    # Written a second time: over what the first time has made of it.
                    try:
                        write = _Write(write.writer, read_again(), stopping)
                    except ClusterError as error:
                        written.out_of_reach = error
                while rest and not (written.out_of_reach or stopping()):
                    try:
                        require_same(cluster, uid)
                    except ClusterError as error:
                        written.out_of_reach = error
                        break
                    size = BATCH if written.applied else _PROBE
                    batch, rest = rest[:size], rest[size:]
                    intents = run.intend(lease, batch, plan.origins, approved=approved)
                    writes = [
                        pool.submit(write, change, _stamp(intent, lease))
                        for change, intent in zip(batch, intents, strict=True)
                    ]
                    under_way.append(_Batch(batch, intents, writes))
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
    return written.result(plan, sum(len(chain) for step in steps for chain in step))


@dataclass(frozen=True, slots=True)
class _Batch:
    changes: Sequence[Change]
    intents: Sequence[Record]
    writes: Sequence[Future[None]]


@dataclass(frozen=True, slots=True)
class _Write:
    writer: ClusterWriter
    live: Mapping[Key, LiveObject]
    stopping: Callable[[], bool]

    def __call__(self, change: Change, stamp: Pairs) -> None:
        # A batch waits for its turn: there are fewer writers than it has changes.
        if self.stopping():
            raise NotBegunError("zonebridge was asked to end before this was begun")
        found = self.live.get((change.kind, change.name))
        if found and found.stands != change.before:
            raise NotWrittenError(
                f"{change.kind} {change.name} was changed by another hand meanwhile; the next sync "
                "plans it anew"
            )
        if change.after is None:
            # What is gone from the cluster already needs its record alone.
            if found:
                self.writer.delete(found)
        elif found is None:
            self.writer.create(change.after, stamp)
        else:
            self.writer.replace(change.after, found, stamp)


def _stamp(intent: Record, lease: Lease) -> Pairs:
    """What an object says of its record; the trail holds it by the time that it is written."""
    return stamp(str(Head(intent.chain, intent.sequence, intent.hash)), lease.holder)


class _Written:
    """What has been written of one plan so far."""

    def __init__(self, unwritten: Unwritten) -> None:
        self.applied: list[Change] = []
        self.failed: list[tuple[Change, str]] = []
        self.stopped: list[tuple[Change, str]] = []
        self.unwritten = unwritten
        self.out_of_reach: ClusterError | None = None
        self.unknown = False

    def writable(self, changes: Sequence[Change]) -> list[Change]:
        """Those of the changes that nothing unwritten stops; the others are left."""
        stopped = self.unwritten.stopped(changes)
        self.stopped += stopped
        left = {id(change) for change, _ in stopped}
        return [change for change in changes if id(change) not in left]

    def wrote_any(self, changes: Sequence[Change]) -> bool:
        """Whether any of these objects has been written already."""
        done = {(change.kind, change.name) for change in self.applied}
        return any((change.kind, change.name) in done for change in changes)

    def add(self, batch: _Batch, run: Run) -> None:
        """Wait for a batch and commit what became of it."""
        wait(batch.writes)  # one waking of this thread for all of them
        conclusions = []
        before = len(self.applied)
        for change, intent, write in zip(batch.changes, batch.intents, batch.writes, strict=True):
            try:
                write.result()
            except NotBegunError as error:
                conclusions.append(Conclusion(intent, Outcome.NOT_APPLIED, str(error)))
                self.unwritten.add(change)
            except ClusterError as error:
                surely = isinstance(error, NotWrittenError)
                outcome = Outcome.FAILED if surely else Outcome.UNKNOWN
                self.unknown = self.unknown or not surely
                conclusions.append(Conclusion(intent, outcome, str(error)))
                self.failed.append((change, str(error)))
                self.unwritten.add(change)
                if isinstance(error, OutOfReachError):
                    self.out_of_reach = self.out_of_reach or error
                elif len(self.applied) == before and len(conclusions) >= _PROBE:
                    # What befalls a whole batch would befall the others: a missing right, say.
                    self.out_of_reach = error
            else:
                conclusions.append(Conclusion(intent, Outcome.APPLIED))
                self.applied.append(change)
        with step("conclude", outcomes=len(conclusions)):
            run.conclude(conclusions)

    def result(self, plan: Plan, total: int) -> Result:
        """What became of a plan of so many writes."""
        left = total - len(self.applied) - len(self.failed)
        error: ZonebridgeError | None = None
        if left and self.out_of_reach:
            error = ClusterError(
                f"{self.out_of_reach}; {left} more changes were not tried, the next sync goes on"
            )
        elif left > len(self.stopped):
            error = StoppedError(f"stopped before {left} of {total} changes; the next sync goes on")
        elif left and (self.failed or not plan.held):
            change, why = self.stopped[0]
            error = ClusterError(
                f"{left} of {total} changes were left, since others failed that must come first "
                f"({change.kind} {change.name}: {why}); the next sync goes on"
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

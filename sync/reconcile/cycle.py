"""Run one sync, from source to outcome.

    sources -> firewall -> translate -> plan -> intents -> cluster -> outcomes

The one-shot command and the service both use this. A dry run has no store to record in and no
writers, so it cannot write.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from sync.clusters.cluster import Key, LiveObject
from sync.clusters.in_memory import GivenReader
from sync.errors import ClusterError, LeaseError, SourceError, UsageError
from sync.firewall.configuration import Snapshot
from sync.plan.changes import Change
from sync.plan.plan import Plan
from sync.plan.rollout import STAGES
from sync.reconcile.agreement import Agreed, PlanDiffersError, always
from sync.reconcile.apply import apply, indexed, recover
from sync.reconcile.cluster_identity import accept, first_met, foreseen, identified, meet
from sync.reconcile.copied_store import unrecorded
from sync.reconcile.desired import Cluster, Desired, InvalidObjectError, desired, read_live
from sync.reconcile.device_groups import Read, read_sources
from sync.reconcile.omissions import inexact_rules, left_out, recalled
from sync.reconcile.planning import Planned, if_approved, plan_for
from sync.reconcile.result import Result, note_cluster
from sync.reconcile.rulebases import filled, filled_before, let_go, remember_let_go
from sync.reconcile.shadows import shadowed
from sync.reconcile.source_status import note_source, origins_of
from sync.reconcile.verification import judged_tiers
from sync.sources import Source
from sync.sources.snapshot_cache import keep
from sync.store import ApprovalError, Lease, Recorder, Store
from sync.tracing import step
from sync.translate.compiler import Options
from sync.verify.flow_changes import ChangedFlows
from sync.verify.matrix import matrices

_CLUSTERS = 16  # at a time

_Became = TypeVar("_Became")


Lessor = Callable[[str], AbstractContextManager[Lease]]
"""Hold the lease of a cluster for as long as the context lasts."""


FlowsOf = Callable[[Cluster, Plan, Mapping[Key, LiveObject], Desired], ChangedFlows]
"""Find the flows that a plan changes in a cluster that holds some objects."""


_OF_ONE_CLUSTER = (
    SourceError,
    ClusterError,
    LeaseError,
    ApprovalError,
    InvalidObjectError,
    UsageError,
)
"""A failure of one cluster is in its result and does not delay any other cluster."""


def run_cycle(
    sources: Sequence[Source],
    clusters: Sequence[Cluster],
    store: Store,
    options: Options,
    run: Recorder,
    lease_of: Lessor,
    stopping: Callable[[], bool],
    agreed: Agreed = always,
) -> list[Result]:
    """Sync every cluster with its sources, each on its own, and store its state.

    A plan that is not `agreed` is not written; nothing became of its cluster, unless an earlier one
    was, as when it returns to what a move left first.
    """
    with ExitStack() as kept:
        # The lease comes before any read: a read without it may be outdated by another writer.
        leases = {cluster.name: _lease(kept, lease_of, cluster.name) for cluster in clusters}
        read = read_sources(sources, _used(clusters))
        for name, found in read.items():
            note_source(store, name, found)
            if isinstance(found, Snapshot):
                # A service that starts later must not restore an older last known good.
                keep(store.memory(name), found, time.time())

        def be_met(cluster: Cluster) -> None:
            lease = leases[cluster.name]
            if not isinstance(lease, LeaseError):
                # A failure here repeats, and is reported, when the cluster is synced.
                with suppress(*_OF_ONE_CLUSTER):
                    meet(cluster, store, run, lease)

        def become(cluster: Cluster) -> Result:
            lease = leases[cluster.name]
            if isinstance(lease, LeaseError):
                return Result(cluster.name, error=lease)
            result = sync_cluster(cluster, read, store, options, run, lease, stopping, agreed, met)
            if result.applied or not isinstance(result.error, PlanDiffersError):
                note_cluster(store, result)
            return result

        # All identities before the first write: two entries may be the same cluster.
        _at_once(be_met, clusters)
        met = _first_met(clusters, store) if any(each.accept for each in clusters) else {}
        return _at_once(become, clusters)


def plan_cycle(
    sources: Sequence[Source],
    clusters: Sequence[Cluster],
    store: Store,
    options: Options,
    *,
    prove: bool = False,
    flows_of: FlowsOf | None = None,
) -> list[Result]:
    """Plan what `run_cycle` would do, without writing anything.

    `prove` proves the whole desired state, even if nothing would change. With `flows_of` the
    results have the flows that would change.
    """
    read = read_sources(sources, _used(clusters))
    met = _first_met(clusters, store)

    def become(cluster: Cluster) -> Result:
        try:
            new = foreseen(cluster, store, met)
            written = {} if new else store.written(cluster.name)
            with step("live", cluster=cluster.name):
                live = read_live(cluster, written, options.owner)
            asked = frozenset() if new else store.adoptions(cluster.name)
            planned = plan_for(
                cluster,
                read,
                live,
                written,
                options,
                rewritten=unrecorded(cluster, live, store),
                prove=prove,
                asked=asked,
                # What the configuration leaves out is the same, whichever cluster is there now.
                known=recalled(store, cluster.name),
                filled=filled_before(store, cluster.name),
                let_go=frozenset() if new else let_go(store, cluster.name),
            )
            return Result(
                cluster.name,
                # Approvals and adoptions were given for the previous cluster.
                planned.plan if new else if_approved(planned.plan, store),
                planned.report,
                planned.proof,
                flows=_flows(flows_of, cluster, planned, live),
            )
        except _OF_ONE_CLUSTER as error:
            return Result(cluster.name, error=error)

    return _at_once(become, clusters)


def report_cycle(
    sources: Sequence[Source],
    clusters: Sequence[Cluster],
    store: Store,
    options: Options,
    *,
    shadows: bool = False,
    reach: bool = False,
) -> list[Result]:
    """Report what becomes of every rule, without a plan: nothing is compared, proven or written.

    `shadows` adds what earlier rules hide of each rule, `reach` who may reach whom.
    """
    read = read_sources(sources, _used(clusters))
    met = _first_met(clusters, store)

    def become(cluster: Cluster) -> Result:
        try:
            written = {} if foreseen(cluster, store, met) else store.written(cluster.name)
            # Calico's rules are named as they would be written: that depends on what is there.
            live = read_live(cluster, written, options.owner)
            wanted = desired(cluster, read, live, written, options, validated=False)
            tiers = judged_tiers(wanted) if shadows or reach else None
            return Result(
                cluster.name,
                report=shadowed(wanted.report, tiers) if tiers and shadows else wanted.report,
                origins=tuple(origins_of(wanted.snapshots)),
                matrices=tuple(matrices(tiers)) if tiers and reach else (),
            )
        except _OF_ONE_CLUSTER as error:
            return Result(cluster.name, error=error)

    return _at_once(become, clusters)


def _flows(
    flows_of: FlowsOf | None, cluster: Cluster, planned: Planned, live: Mapping[Key, LiveObject]
) -> ChangedFlows | None:
    if flows_of is None or planned.inputs is None:
        return None
    return flows_of(cluster, planned.plan, live, planned.inputs)


def compare_cycle(
    before: Sequence[Source],
    after: Sequence[Source],
    clusters: Sequence[Cluster],
    options: Options,
    *,
    flows_of: FlowsOf | None = None,
) -> list[Result]:
    """Plan what `run_cycle` would do for sources `after`, in clusters that hold those of `before`.

    This asks no cluster, needs no store, and writes nothing. With `flows_of` the results have the
    flows that would change.
    """
    used = _used(clusters)
    old, new = read_sources(before, used), read_sources(after, used)

    def become(cluster: Cluster) -> Result:
        try:
            had = desired(cluster, old, {}, {}, options)
            written = had.rollout.manifests
            there = GivenReader(written)
            live = there.read()
            before = [*left_out(had.report, had.targets, had.snapshots), *inexact_rules(had.report)]
            known = frozenset(each.digest for each in before)
            there_now = replace(cluster, reader=there)
            was = filled(had.report)
            planned = plan_for(there_now, new, live, written, options, known=known, filled=was)
            plan = replace(planned.plan, compared_with=tuple(origins_of(had.snapshots)))
            flows = _flows(flows_of, cluster, planned, live)
            return Result(cluster.name, plan, planned.report, planned.proof, flows=flows)
        except _OF_ONE_CLUSTER as error:
            return Result(cluster.name, error=error)

    return _at_once(become, clusters)


def sync_cluster(
    cluster: Cluster,
    read: Read,
    store: Store,
    options: Options,
    run: Recorder,
    lease: Lease,
    stopping: Callable[[], bool],
    agreed: Agreed = always,
    met: Mapping[str, str] | None = None,
) -> Result:
    """Sync one cluster with its sources, under its lease, where its plan is `agreed`.

    One that an operator accepts as another one is recorded as that once its plan is agreed, not
    before; `met` has the result of `first_met` for each cluster then.
    When `stopping()` turns true, writes in progress are finished and the rest are left, with their
    intents recorded. Only a failure of the store raises: nothing may be written without it.
    """
    with step("sync", cluster=cluster.name, run=run.id) as here:
        result = _synced(cluster, read, store, options, run, lease, stopping, agreed, met or {})
        here.set("state", result.state)
        if result.plan:
            here.set("plan", result.plan.digest)
    return result


def _synced(
    cluster: Cluster,
    read: Read,
    store: Store,
    options: Options,
    run: Recorder,
    lease: Lease,
    stopping: Callable[[], bool],
    agreed: Agreed,
    met: Mapping[str, str],
) -> Result:
    # over 50 lines: what is recorded, and in which order, is in one place.
    said = ""
    try:
        done: tuple[Change, ...] = ()
        whole: dict[Key, Change] = {}
        for _ in range(STAGES):
            # Nothing of ours is in a cluster that is accepted, if its plan is agreed.
            new = cluster.accept and foreseen(cluster, store, met)
            uid = cluster.reader.identity() if new else identified(cluster, store, run, lease)
            wrote = {} if new else store.digests(cluster.name)
            read_again = partial(read_live, cluster, wrote, options.owner)
            with step("live", cluster=cluster.name):
                live = read_again()
            rewritten = unrecorded(cluster, live, store, lease.holder)
            if not new:
                recover(lease, live, store, run)
            planned = _next(cluster, read, live, store, options, rewritten, new=new)
            plan = planned.plan
            try:
                agreed(plan)
            except PlanDiffersError as error:
                result = Result(cluster.name, plan, error=error)
                break
            if new:
                said = accept(cluster, store, run, uid)
                uid = identified(cluster, store, run, lease)
                recover(lease, live, store, run)
            remember_let_go(store, plan, new=new)
            result = apply(cluster, uid, plan, live, run, lease, stopping, read_again)
            done += result.applied
            whole |= {(each.kind, each.name): each for each in result.written}
            result = indexed(cluster, result, live, lease, read_again)
            if not (planned.rollout.returning and result.succeeded):
                break
        return replace(
            result,
            applied=done,
            written=tuple(whole.values()),
            report=planned.report,
            proof=planned.proof,
            watched=planned.watched,
            accepted=said,
        )
    except _OF_ONE_CLUSTER as error:
        return Result(cluster.name, error=error, accepted=said)


def _next(
    cluster: Cluster,
    read: Read,
    live: Mapping[Key, LiveObject],
    store: Store,
    options: Options,
    rewritten: Collection[Key],
    *,
    new: bool,
) -> Planned:
    """Plan what a sync writes next, let through if that is approved.

    In a `new` cluster nothing was written, and what was allowed was for the one before.
    """
    with step("plan", cluster=cluster.name) as here:
        planned = plan_for(
            cluster,
            read,
            live,
            {} if new else store.written(cluster.name),
            options,
            rewritten=rewritten,
            asked=frozenset() if new else store.adoptions(cluster.name),
            known=recalled(store, cluster.name),
            filled=filled_before(store, cluster.name),
            let_go=frozenset() if new else let_go(store, cluster.name),
        )
        if not new:
            planned = replace(planned, plan=if_approved(planned.plan, store))
        here.set("plan", planned.plan.digest)
    return planned


def _at_once(become: Callable[[Cluster], _Became], clusters: Sequence[Cluster]) -> list[_Became]:
    """Process all clusters concurrently, so that one that is slow or down delays no other."""
    with ThreadPoolExecutor(min(max(len(clusters), 1), _CLUSTERS), "cluster") as pool:
        return list(pool.map(become, clusters))


def _first_met(clusters: Sequence[Cluster], store: Store) -> Mapping[str, str]:
    uids = _at_once(lambda cluster: first_met(cluster, store), clusters)
    return {each.name: uid for each, uid in zip(clusters, uids, strict=True)}


def _lease(kept: ExitStack, lease_of: Lessor, cluster: str) -> Lease | LeaseError:
    try:
        return kept.enter_context(lease_of(cluster))
    except LeaseError as error:
        return error


def _used(clusters: Sequence[Cluster]) -> set[str]:
    return {here.source for cluster in clusters for here in cluster.device_groups}

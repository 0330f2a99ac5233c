"""Write a plan to one cluster: intents, writes in batches, and their outcomes."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial

import orjson

from sync.calico.objects import Pairs
from sync.calico.ownership import stamp
from sync.clusters.cluster import (
    ClusterWriter,
    Key,
    LiveObject,
    NotBegunError,
    NotWrittenError,
    OutOfReachError,
)
from sync.errors import ClusterError, ZonebridgeError
from sync.plan.changes import Change
from sync.plan.order import Unwritten, rounds
from sync.plan.plan import Plan
from sync.reconcile.cluster_identity import require_same
from sync.reconcile.desired import Cluster
from sync.reconcile.result import Result
from sync.store import BATCH, Conclusion, Head, Lease, Outcome, Record, Recorder, Store
from sync.text import shortened
from sync.tracing import Step, step

WRITERS = 16
"""Concurrent writes in one cluster: etcd commits writes together that arrive together."""

FIRST_BATCH = 8
"""Changes in the first batch. If all of them fail, the others are not tried."""


class StoppedError(ZonebridgeError):
    """The process was asked to stop before the whole plan was written."""


def apply(
    cluster: Cluster,
    uid: str,
    plan: Plan,
    live: Mapping[Key, LiveObject],
    run: Recorder,
    lease: Lease,
    stopping: Callable[[], bool],
    read_again: Callable[[], Mapping[Key, LiveObject]],
) -> Result:
    """Write a plan in its order, in batches: intents before each batch, outcomes after it.

    While one batch is written, the store commits the intents of the next batch and the outcomes of
    the previous one, so the cluster does not wait for the store. Before each batch the cluster must
    still have the UID that was planned for. A step writes the first change of each of its chains,
    then the second of each, and so on.
    """
    # over 50 lines: open intents are closed in one place, whatever fails.
    if plan.blockers:
        _record_block(cluster.name, plan, run)
        # A partial plan still writes what depends on no held object.
        if not plan.partial:
            return Result(cluster.name, plan)
    run.adopt(lease, plan.adopted, plan.origins)
    assert cluster.writer is not None
    steps = plan.steps()
    written = _Written(plan.unwritten(), [each for some in rounds(steps) for each in some])
    approved = plan.digest if plan.let_through else ""
    same_cluster = partial(require_same, cluster, uid)
    with (
        step("write", cluster=cluster.name, plan=plan.digest) as here,
        ThreadPoolExecutor(WRITERS, "writer") as pool,
    ):
        write = _Write(cluster.writer(lease.remaining, stopping), live, stopping)

        def begin(write: _Write, batch: Sequence[Change]) -> _Batch:
            intents = run.intend(lease, batch, plan.origins, approved=approved)
            writes = [
                pool.submit(write, change, record_stamp(intent, lease))
                for change, intent in zip(batch, intents, strict=True)
            ]
            return _Batch(batch, intents, writes)

        try:
            for changes in rounds(steps):
                writable = written.writable(changes)
                if not stopping() and written.wrote_any(writable):
                    # The second write of an object goes over what the first one wrote.
                    try:
                        write = _Write(write.writer, read_again(), stopping)
                    except ClusterError as error:
                        written.out_of_reach = error
                here.count(len(written.written), written.total)
                _write_in_batches(
                    writable, same_cluster, partial(begin, write), written, run, stopping, here
                )
        except BaseException:
            # The outcomes of later writes could not be recorded.
            pool.shutdown(cancel_futures=True)
            lease.leave()
            raise
    if written.unknown:
        lease.leave()
    return written.result(plan)


def recover(lease: Lease, live: Mapping[Key, LiveObject], store: Store, run: Recorder) -> None:
    """Close the open intents of an earlier run by the observed state.

    That run's holder of the lease has no request in flight any more (`Lease.remaining`).
    """
    closed = []
    for intent in store.open_intents(lease.cluster):
        found = live.get((intent.object_kind, intent.object_name))
        closed.append((intent, found.manifest if found else None))
    run.recover(lease, closed)


def indexed(
    cluster: Cluster,
    result: Result,
    live: Mapping[Key, LiveObject],
    lease: Lease,
    read_again: Callable[[], Mapping[Key, LiveObject]],
) -> Result:
    """Keep the list of a directory's files in step with them; a blocked plan touches nothing."""
    blocked = result.plan and result.plan.blockers and not result.plan.partial
    if cluster.index is None or blocked or result.error:
        return result
    try:
        now = read_again() if result.applied or result.failed else live
        ours = [key for key, each in now.items() if each.manifest]
        cluster.index.keep(ours, lease.remaining)
    except ClusterError as error:
        return replace(result, error=error)
    return result


def _record_block(cluster: str, plan: Plan, run: Recorder) -> None:
    guards = sorted({each.guard for each in plan.blockers})
    why = shortened([each.message for each in plan.blockers])
    kept = orjson.dumps(plan.document()) if plan.approvable else None
    run.blocked(cluster, guards, plan.digest, why, document=kept)


def _write_in_batches(
    changes: Sequence[Change],
    require: Callable[[], None],
    begin: "Callable[[Sequence[Change]], _Batch]",
    written: "_Written",
    run: Recorder,
    stopping: Callable[[], bool],
    here: Step,
) -> None:
    """Write the changes of one round; record the outcomes of a batch while the next is written.

    `require` raises `ClusterError` if no further batch may begin. `here` counts what is written.
    """
    under_way: deque[_Batch] = deque()
    while changes and not (written.out_of_reach or stopping()):
        size = BATCH if written.applied else FIRST_BATCH
        batch, changes = changes[:size], changes[size:]
        try:
            require()
        except ClusterError as error:
            written.out_of_reach = error
            break
        under_way.append(begin(batch))
        while len(under_way) > (1 if written.applied else 0):
            written.add(under_way.popleft(), run)
            here.count(len(written.written), written.total)
    while under_way:
        written.add(under_way.popleft(), run)
        here.count(len(written.written), written.total)


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
        # A change may have waited for its turn: a batch has more changes than there are writers.
        if self.stopping():
            raise NotBegunError("not begun: zonebridge is shutting down")
        found = self.live.get((change.kind, change.name))
        stands = found.stands if found else None
        # An object that is already gone only needs the record of its deletion. One to be updated
        # must not be created under the record of an update.
        if stands != change.before and (found or change.after):
            raise NotWrittenError(
                f"{change.kind} {change.name} was changed by someone else meanwhile; the next sync "
                "plans it again"
            )
        if change.after is None:
            if found:
                self.writer.delete(found)
        elif found is None:
            self.writer.create(change.after, stamp)
        else:
            self.writer.replace(change.after, found, stamp)


def record_stamp(intent: Record, lease: Lease) -> Pairs:
    """Make the annotations that name an object's record, committed before the object is written."""
    return stamp(str(Head(intent.chain, intent.sequence, intent.hash)), lease.holder)


class _Written:
    """The part of a plan that has been written so far; `writes` are all of them."""

    def __init__(self, unwritten: Unwritten, writes: Sequence[Change]) -> None:
        self._missing = Counter((each.kind, each.name) for each in writes)
        self.total = len(self._missing)
        self.written: set[Key] = set()
        self.applied: list[Change] = []
        self.failed: list[tuple[Change, str]] = []
        self.stopped: list[tuple[Change, str]] = []
        self.unwritten = unwritten
        self.out_of_reach: ClusterError | None = None
        self.unknown = False

    def writable(self, changes: Sequence[Change]) -> list[Change]:
        """Find the changes that depend on nothing unwritten; the others are left."""
        stopped = self.unwritten.stopped(changes)
        self.stopped += stopped
        left = {id(change) for change, _ in stopped}
        return [change for change in changes if id(change) not in left]

    def wrote_any(self, changes: Sequence[Change]) -> bool:
        """Whether any of these objects has been written already."""
        done = {(change.kind, change.name) for change in self.applied}
        return any((change.kind, change.name) in done for change in changes)

    def add(self, batch: _Batch, run: Recorder) -> None:
        """Wait for a batch and commit its outcomes."""
        wait(batch.writes)  # wakes this thread once for all of them
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
                elif len(self.applied) == before and len(conclusions) >= FIRST_BATCH:
                    # If a whole batch fails, as for a missing right, the others would fail too.
                    self.out_of_reach = error
            else:
                conclusions.append(Conclusion(intent, Outcome.APPLIED))
                self.applied.append(change)
                key = change.kind, change.name
                self._missing[key] -= 1
                if not self._missing[key]:
                    self.written.add(key)
        with step("conclude", outcomes=len(conclusions)):
            run.conclude(conclusions)

    def result(self, plan: Plan) -> Result:
        """Make the result of a plan; what is written in two writes is one change."""
        total = self.total
        left = total - len(self.written) - len(self.failed)
        stopped = {(change.kind, change.name) for change, _ in self.stopped}
        stopped -= {(change.kind, change.name) for change, _ in self.failed}
        error: ZonebridgeError | None = None
        if left and self.out_of_reach:
            error = ClusterError(
                f"{self.out_of_reach}; {left} more changes were not tried, the next sync continues"
            )
        elif left > len(stopped):
            error = StoppedError(
                f"stopped before {left} of {total} changes; the next sync continues"
            )
        elif left and (self.failed or not plan.held):
            change, why = self.stopped[0]
            error = ClusterError(
                f"{left} of {total} changes were left, since others failed that must come first "
                f"({change.kind} {change.name}: {why}); the next sync continues"
            )
        return Result(
            cluster=plan.cluster,
            plan=plan,
            applied=tuple(self.applied),
            failed=tuple(self.failed),
            written=tuple(each for each in plan.changes if (each.kind, each.name) in self.written),
            left=left,
            error=error,
            unknown=self.unknown,
        )

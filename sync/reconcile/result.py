"""The result of a sync for one cluster, its state since, and both in words."""

from dataclasses import dataclass
from enum import StrEnum

from sync.errors import LeaseError, ZonebridgeError
from sync.plan.changes import Change
from sync.plan.origin import Origin
from sync.plan.plan import Plan
from sync.reconcile.agreement import PlanDiffersError
from sync.reconcile.foreign_selections import Watched
from sync.reconcile.omissions import remember
from sync.reconcile.rulebases import end_let_go, remember_filled
from sync.reconcile.written_plans import remember_plan
from sync.store import Store
from sync.text import shortened
from sync.translate.fidelity import Report
from sync.verify.flow_changes import ChangedFlows
from sync.verify.matrix import Matrix
from sync.verify.proof import Proof


class ClusterState(StrEnum):
    """The state of a cluster after a sync, in a word or two."""

    IN_SYNC = "in sync"
    DRIFT_LEFT = "drift left"
    BLOCKED = "blocked"
    FAILED = "failed"
    HELD_ELSEWHERE = "held elsewhere"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one cluster: its plan, the changes written, those that failed, or an error.

    `proof` is None if nothing had to be proven. `applied` are the writes: a set that was written
    twice is there twice. `written` are the changes that are whole in the cluster, each once. `left`
    changes were not tried, or not to their end, because of the error or a blocker. The next sync
    finds out about changes whose outcome is `unknown` only after the lease has expired. `watched`
    are the foreign sets that it saw; None if nothing could be planned. `origins` are the versions
    that a report is made from, and `matrices` who may reach whom, where it was asked for.
    `flows` are those that the plan changes, if they were asked for. `accepted` is a sentence about
    another cluster that the entry reaches, if its acceptance was recorded.
    """

    cluster: str
    plan: Plan | None = None
    report: Report | None = None
    proof: Proof | None = None
    applied: tuple[Change, ...] = ()
    failed: tuple[tuple[Change, str], ...] = ()
    written: tuple[Change, ...] = ()
    left: int = 0
    error: ZonebridgeError | None = None
    unknown: bool = False
    watched: Watched | None = None
    origins: tuple[Origin, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    flows: ChangedFlows | None = None
    accepted: str = ""

    @property
    def state(self) -> ClusterState:
        """The state of the cluster after the sync."""
        if isinstance(self.error, LeaseError):
            return ClusterState.HELD_ELSEWHERE
        if isinstance(self.error, PlanDiffersError):
            return ClusterState.BLOCKED
        if self.error or self.failed:
            return ClusterState.FAILED
        if self.plan and self.plan.blockers:
            return ClusterState.BLOCKED
        return ClusterState.DRIFT_LEFT if self.plan and self.plan.drift else ClusterState.IN_SYNC

    @property
    def succeeded(self) -> bool:
        """Whether the cluster is in sync with its sources, except for drift left on purpose."""
        return self.state in (ClusterState.IN_SYNC, ClusterState.DRIFT_LEFT)

    @property
    def detail(self) -> str:
        """Explain the state in a sentence, with warnings and what an approval let through."""
        stands = [each.message for each in self.plan.let_through] if self.plan else []
        more = shortened([*stands, *self.plan.warnings]) if self.plan else ""
        return f"{self._behind.removesuffix('.')}; {more}" if more else self._behind

    @property
    def _behind(self) -> str:
        if self.written and self.failed:
            change, why = self.failed[0]
            unwritten = len(self.failed) + self.left
            total = len(self.written) + unwritten
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
            return f"{because}; {waits}, {len(self.written)} others written"
        if self.written and self.plan:
            return f"{len(self.written)} written, {self.plan.unchanged} unchanged"
        return self.plan.summary if self.plan else ""


def note_cluster(store: Store, result: Result) -> None:
    """Store the state of a cluster for `zonebridge status`."""
    store.stand(
        "cluster",
        result.cluster,
        state=result.state,
        detail=result.detail,
        succeeded=result.succeeded,
    )
    if result.plan and result.succeeded:
        remember(store, result.plan)
        if result.applied and result.plan.changes:
            remember_plan(store, result.plan)
    if result.report:
        # What a sync wrote before it failed is missed, too, when its rules are gone.
        if result.succeeded or result.applied:
            remember_filled(store, result.cluster, result.report, whole=result.succeeded)
        end_let_go(store, result.cluster, result.report, whole=result.succeeded)

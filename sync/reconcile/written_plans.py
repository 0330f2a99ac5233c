"""The plans that were written to a cluster, by their digests: whether it still is as one left it.

    a sync that wrote a whole plan  ->  its digest, and the last intent in the trail then
    the trail since                 ->  whether anything happened to an object of the cluster

The trail names the plan of a change only where it was approved, so the last digests are kept
beside it. They are believed only together with the trail: the record that they name has to be the
last one about an object of the cluster.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import orjson

from sync.errors import StoreError
from sync.plan.guards import Blocker
from sync.plan.plan import Plan
from sync.reconcile.omissions import cluster_memory
from sync.store import Store

_KIND: Final = "plans"
_KEPT: Final = 20  # plans of a cluster


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """A plan that was written as a whole: its digest, and its last record in the cluster's chain.

    `latest`: nothing happened to an object of the cluster since. `guards` were let through with it.
    """

    digest: str
    cluster: str
    sequence: int
    time: str
    latest: bool = False
    guards: frozenset[str] = frozenset()

    def not_let_through(self, plan: Plan) -> list[Blocker]:
        """The guards that the plan of now has, and that nobody let through with this one."""
        return [each for each in plan.let_through if _named(each) not in self.guards]

    @property
    def clause(self) -> str:
        """When it was written, and by which record."""
        return f"written at {self.time} (record {self.cluster}:{self.sequence})"

    @property
    def sentence(self) -> str:
        """The same of a cluster that is no longer as it left it."""
        since = "or its sources changed" if self.latest else "was changed again"
        return f"plan {self.digest} was {self.clause}, and cluster {self.cluster} {since} since"


def written_plans(store: Store, cluster: str) -> list[WrittenPlan]:
    """The last plans that were written to a cluster as a whole, oldest first."""
    found = _recalled(store, cluster)
    last = store.last_change(cluster)
    return [
        WrittenPlan(digest, cluster, sequence, time, last == (sequence, time), frozenset(guards))
        for digest, sequence, time, guards in found
    ]


def remember_plan(store: Store, plan: Plan) -> None:
    """Store that a plan was just written as a whole."""
    # The sync is done and recorded; without this, `--plan` does not know the plan again.
    with suppress(StoreError):
        if last := store.last_change(plan.cluster):
            guards = sorted({_named(each) for each in plan.let_through})
            kept = [*_recalled(store, plan.cluster), (plan.digest, *last, guards)][-_KEPT:]
            cluster_memory(store, plan.cluster).remember(_KIND, "", orjson.dumps(kept))


def _named(guard: Blocker) -> str:
    return f"{guard.guard} {guard.covers}"


def _recalled(store: Store, cluster: str) -> list[tuple[str, int, str, list[str]]]:
    kept = cluster_memory(store, cluster).recall(_KIND, "")
    try:
        return [
            (str(digest), int(sequence), str(time), [str(each) for some in guards for each in some])
            # An older version kept no guards.
            for digest, sequence, time, *guards in orjson.loads(kept or b"[]")
        ]
    except (ValueError, TypeError):
        return []

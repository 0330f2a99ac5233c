"""How a cycle writes a plan of tiers, sets and policies, and how it waits for an approval.

The plans are made by hand: what is to stand in the cluster is said object by object.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sync.calico.manifest import Manifest
from sync.calico.objects import GlobalNetworkPolicy, Pairs, Rule
from sync.calico.ownership import owner_labels
from sync.clusters.cluster import Key, NotWrittenError
from sync.errors import ClusterError
from sync.plan.differences import differences
from sync.plan.guards.foreign import foreign_policies
from sync.plan.plan import Plan, make_plan
from sync.plan.rollout import Rollout
from sync.reconcile.apply import FIRST_BATCH, WRITERS, StoppedError
from sync.reconcile.cycle import plan_cycle, sync_cluster
from sync.reconcile.desired import Cluster
from sync.reconcile.planning import Planned
from sync.reconcile.result import Result
from sync.store import ApprovalError, Kind, Outcome, Store, audit
from sync.store.approvals import LIFETIME
from sync.store.audit import Filter
from sync.store.verification import verify
from sync.translate.compiler import Options
from sync.translate.fidelity import Report
from tests.memory import MemoryCluster
from tests.unit.plan import words
from tests.unit.store.words import new_store

TTL = timedelta(minutes=1)

Documents = dict[Key, dict[str, Any]]


class Watch:
    """A clock that can be set forward."""

    def __init__(self) -> None:
        self.now = datetime.fromisoformat("2026-03-03T12:00:00+00:00")

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class World:
    """A cluster in memory, a store, and what is `wanted` in the cluster."""

    store: Store
    clock: Watch
    cluster: MemoryCluster
    wanted: dict[Key, Manifest] = field(default_factory=dict)
    stopping: Callable[[], bool] = lambda: False
    reads: int = 0

    @property
    def owner(self) -> Pairs:
        return self.cluster.owner

    def want(self, *manifests: Manifest) -> None:
        """Let exactly these be wanted."""
        self.wanted = {(each.kind, each.name): each for each in manifests}

    def a_set(self, name: str, *nets: str, group: str = "") -> Manifest:
        return words.a_set(name, *nets, group=group, owner=self.owner)

    def policy(self, name: str, order: int = 0, **options: Any) -> Manifest:
        return words.policy(name, order, owner=self.owner, **options)

    def tier(self, name: str = "fw", order: int = 101) -> Manifest:
        return words.tier(name, order, self.owner)

    def sync(self) -> Result:
        self.cluster.writes.clear()
        with self.store.lease("prod", "test", TTL) as lease:
            run = self.store.run("test")
            return sync_cluster(
                self._cluster, {}, self.store, self._options, run, lease, self.stopping
            )

    def dry(self) -> Result:
        (result,) = plan_cycle([], [self._cluster], self.store, self._options)
        return result

    @property
    def _options(self) -> Options:
        return Options((), registered_known=True, owner=self.owner)

    @property
    def _cluster(self) -> Cluster:
        return Cluster("prod", (), self.cluster, self.cluster.writer, self.cluster, True)

    def planned(
        self, _cluster: Any, _read: Any, live: Any, written: Any, _: Any, **_prove: Any
    ) -> Any:
        """What the cycle plans, and an empty report."""
        plan = make_plan(
            "prod",
            [],
            differences(self.wanted, written, live),
            [],
            repair_drift=True,
            live=live,
            blockers=foreign_policies(live, ["fw"], {}),
        )
        return Planned(plan, Rollout({}), Report("prod", (), (), (), ()), None)

    def fail(self, *names: str, error: type[Exception] = NotWrittenError) -> None:
        """Let writes of these objects fail."""

        def before_write(name: str) -> None:
            if name in names:
                raise error(f"{name} was refused")

        self.cluster.before_write = before_write

    def kinds(self) -> list[str]:
        return [record.kind for record in audit.records(self.store, Filter(cluster="prod"))]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = Watch()
    with new_store(tmp_path / "store.db", clock=clock) as store:
        made = World(store, clock, MemoryCluster(owner_labels("test", store.uuid)))
        monkeypatch.setattr("sync.reconcile.cycle.plan_for", made.planned)
        yield made
        verify(store, store.heads())


def names(result: Result) -> list[str]:
    return [change.name for change in result.applied]


# --- the order of writing -------------------------------------------------------------------------


def test_a_first_sync_writes_tier_sets_and_chains_front_to_back(world: World) -> None:
    world.want(
        world.tier(),
        world.a_set("web", "10.0.0.1/32"),
        world.policy("b", 20, chain="zone", groups=("web",)),
        world.policy("a", 10, chain="zone", groups=("web",)),
        world.policy("c", 30, chain="zone"),
    )
    result = world.sync()
    assert (result.error, result.left) == (None, 0)
    assert names(result) == ["fw", "web", "fw.a", "fw.b", "fw.c"]
    assert world.sync().applied == ()


def test_a_chain_of_many_policies_is_written_one_after_the_other(world: World) -> None:
    world.want(*(world.policy(f"p{order:02}", order, chain="zone") for order in range(20)))
    world.sync()
    assert world.cluster.writes == [("create", f"fw.p{order:02}") for order in range(20)]
    world.want()
    world.sync()
    assert world.cluster.writes == [("delete", f"fw.p{order:02}") for order in range(19, -1, -1)]


def test_everything_is_removed_policies_first_and_the_tier_last(world: World) -> None:
    world.want(world.tier(), world.a_set("web"), world.policy("a", groups=("web",)))
    world.sync()
    world.want()
    assert names(world.sync()) == ["fw.a", "web", "fw"]
    assert world.cluster.documents == {}


def test_a_set_that_gains_and_loses_around_a_policy_is_written_twice(world: World) -> None:
    world.want(world.a_set("web", "10.0.0.1/32", "10.0.0.9/32"), world.policy("a", groups=("web",)))
    world.sync()
    world.want(
        world.a_set("web", "10.0.0.2/32", "10.0.0.9/32"), world.policy("a", groups=("web", "x"))
    )
    held: list[list[str]] = []

    def look(name: str) -> None:
        if name == "fw.a":
            held.append(world.cluster.documents["GlobalNetworkSet", "web"]["spec"]["nets"])

    world.cluster.before_write = look
    result = world.sync()
    assert names(result) == ["web", "fw.a", "web"]
    assert held == [["10.0.0.9/32"]]
    assert (result.error, result.left) == (None, 0)
    assert world.sync().applied == ()


NETS = ("10.0.0.1/32", "10.0.0.2/32")


def test_parts_of_a_set_change_places_without_a_gap(world: World) -> None:
    selecting = world.policy("a", groups=("g",))
    one, two = (
        world.a_set(name, net, group="g") for name, net in zip(("one", "two"), NETS, strict=True)
    )
    world.want(one, two, selecting)
    world.sync()
    world.want(
        world.a_set("one", NETS[1], group="g"), world.a_set("two", NETS[0], group="g"), selecting
    )
    seen: list[set[str]] = []

    def look(name: str) -> None:
        documents = world.cluster.documents.items()
        held = [each["spec"]["nets"] for (kind, _), each in documents if kind == "GlobalNetworkSet"]
        seen.append({net for nets in held for net in nets})

    world.cluster.before_write = look
    assert sorted(names(world.sync())) == ["one", "one", "two", "two"]
    assert seen == 4 * [set(NETS)]


def changed(documents: Documents) -> None:
    documents["GlobalNetworkSet", "web"]["spec"]["nets"] = ["10.9.0.0/16"]


def deleted(documents: Documents) -> None:
    del documents["GlobalNetworkSet", "web"]


@pytest.mark.parametrize("befall", [changed, deleted])
def test_what_another_hand_makes_of_a_set_between_its_writes_is_left(
    world: World, befall: Callable[[Documents], None]
) -> None:
    selecting = world.policy("s", groups=("web",))
    world.want(world.a_set("web", "10.0.0.1/32"), selecting)
    world.sync()
    world.want(world.a_set("web", "10.0.0.2/32"), selecting, world.policy("a"))

    def meddle(name: str) -> None:
        if name == "fw.a":
            befall(world.cluster.documents)

    world.cluster.before_write = meddle
    result = world.sync()
    assert names(result) == ["web", "fw.a"]
    [(change, why)] = result.failed
    assert change.name == "web"
    assert "changed by someone else meanwhile" in why
    world.cluster.before_write = lambda name: None
    assert names(world.sync()) == ["web"]
    assert world.sync().applied == ()


def test_in_a_cluster_that_cannot_be_read_again_sets_gain_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    selecting = world.policy("s", groups=("web",))
    world.want(world.a_set("web", "10.0.0.1/32"), selecting)
    world.sync()
    world.want(world.a_set("web", "10.0.0.2/32"), selecting, world.policy("a"))
    real, reads = world.cluster.read, []

    def read() -> Mapping[Key, Any]:
        reads.append(1)
        if len(reads) == 2:
            raise ClusterError("nobody answers")
        return real()

    with monkeypatch.context() as patched:
        patched.setattr(world.cluster, "read", read)
        result = world.sync()
    assert names(result) == ["web", "fw.a"]
    assert result.left == 1
    assert "nobody answers; 1 more changes were not tried" in str(result.error)
    assert names(world.sync()) == ["web"]


# --- what fails -----------------------------------------------------------------------------------


def test_a_failed_policy_stops_its_chain_and_no_other(world: World) -> None:
    world.want(world.policy("old", 5, chain="web"))
    world.sync()
    world.want(
        world.policy("a", 10, chain="web"),
        world.policy("b", 20, chain="web"),
        world.policy("c", 30, chain="web"),
        world.policy("x", 10, chain="db"),
        world.policy("y", 20, chain="db"),
    )
    world.fail("fw.b")
    result = world.sync()
    assert sorted(names(result)) == ["fw.a", "fw.x", "fw.y"]
    assert [change.name for change, _ in result.failed] == ["fw.b"]
    assert result.left == 2
    assert result.state == "failed"
    assert isinstance(result.error, ClusterError)
    assert str(result.error) == (
        "2 of 6 changes were left, since others failed that must come first "
        "(GlobalNetworkPolicy fw.c: what comes before it was not written); the next sync continues"
    )
    assert ("GlobalNetworkPolicy", "fw.old") in world.cluster.documents
    world.fail()
    assert names(world.sync()) == ["fw.b", "fw.c", "fw.old"]


def test_a_tier_that_cannot_be_made_leaves_the_old_one_with_all_its_policies(world: World) -> None:
    """Another tier in the configuration, and a right that is missing."""
    old = (
        world.tier("old"),
        world.a_set("web", "10.0.0.1/32"),
        world.policy("a", tier="old", chain="zone", groups=("web",)),
    )
    world.want(*old)
    world.sync()
    world.want(world.tier(), world.policy("a", chain="zone"))
    world.fail("fw")
    result = world.sync()
    assert (names(result), result.left) == ([], 4)
    assert {key: each.manifest for key, each in world.cluster.read().items()} == {
        (each.kind, each.name): each for each in old
    }
    world.fail()
    assert names(world.sync()) == ["fw", "fw.a", "old.a", "web", "old"]


def test_a_policy_waits_for_the_sets_that_it_selects(world: World) -> None:
    world.want(
        world.a_set("web", "10.0.0.1/32"),
        world.policy("a", chain="web", groups=("web",)),
        world.policy("b", chain="db", groups=("db",)),
    )
    world.fail("web")
    result = world.sync()
    assert (names(result), result.left) == (["fw.b"], 1)
    world.fail()
    assert names(world.sync()) == ["web", "fw.a"]


def test_what_a_set_gains_waits_for_the_policies_that_select_it(world: World) -> None:
    world.want(
        world.a_set("less", "10.0.0.1/32", "10.0.0.2/32"),
        world.a_set("more", "10.0.0.3/32"),
        world.a_set("gone", "10.1.0.0/16"),
        world.policy("a", groups=("less", "more", "gone")),
    )
    world.sync()
    world.want(
        world.a_set("less", "10.0.0.1/32"),
        world.a_set("more", "10.0.0.3/32", "10.0.0.4/32"),
        world.policy("a", groups=("less", "more")),
    )
    world.fail("fw.a")
    result = world.sync()
    assert (names(result), result.left) == (["less"], 2)
    world.fail()
    assert names(world.sync()) == ["fw.a", "more", "gone"]


def test_a_write_of_unknown_end_stops_its_chain_too(world: World) -> None:
    world.want(world.policy("a", 1, chain="web"), world.policy("b", 2, chain="web"))
    world.fail("fw.a", error=ClusterError)
    result = world.sync()
    assert result.unknown
    assert (names(result), result.left) == ([], 1)


def test_a_stop_in_the_middle_of_a_chain_leaves_the_rest(world: World) -> None:
    world.want(*(world.policy(f"p{order}", order, chain="zone") for order in range(5)))
    world.stopping = lambda: len(world.cluster.writes) >= 2
    result = world.sync()
    assert names(result) == ["fw.p0", "fw.p1"]
    assert isinstance(result.error, StoppedError)
    assert "stopped before 3 of 5 changes" in str(result.error)
    world.stopping = lambda: False
    assert names(world.sync()) == ["fw.p2", "fw.p3", "fw.p4"]


def test_writes_that_wait_for_their_turn_are_left_and_recorded_when_the_end_comes(
    world: World,
) -> None:
    world.want(*(world.a_set(f"set-{number:02}") for number in range(80)))
    begun, asked, counting = list[str](), threading.Event(), threading.Lock()
    full = FIRST_BATCH + WRITERS

    def slow(name: str) -> None:
        """Answer once the process was asked to end, which is when every writer waits."""
        with counting:
            begun.append(name)
            if len(begun) == full:
                asked.set()
            waits = len(begun) > FIRST_BATCH
        assert not waits or asked.wait(60)

    world.cluster.before_write = slow
    world.stopping = asked.is_set
    result = world.sync()
    assert len(begun) == len(result.applied) == full
    assert (result.failed, result.left, result.unknown) == ((), 80 - full, False)
    assert isinstance(result.error, StoppedError)
    assert world.store.open_intents("prod") == []
    trail = list(audit.records(world.store, Filter(cluster="prod")))
    intents = {each.sequence for each in trail if each.kind == Kind.INTENT}
    outcomes = {each.intent: each for each in trail if each.kind == Kind.OUTCOME}
    assert outcomes.keys() == intents
    left = [each for each in outcomes.values() if each.outcome == Outcome.NOT_APPLIED]
    assert len(left) == len(intents) - full
    assert {"is shutting down" in each.error for each in left} == {True}
    assert not {each.object_name for each in left} & set(begun)

    world.cluster.before_write = lambda name: None
    world.stopping = lambda: False
    assert len(world.sync().applied) == 80 - full
    assert verify(world.store)


# --- approvals ------------------------------------------------------------------------------------


def foreign(world: World, name: str = "fw.theirs") -> None:
    """A policy of somebody else in our tier."""
    theirs = GlobalNetworkPolicy(name, "fw", 1, "all()", egress=(Rule("Allow"),)).manifest()
    world.cluster.documents[theirs.kind, theirs.name] = theirs.document()


def blocked(world: World) -> Plan:
    """A first plan that a policy of others blocks."""
    world.want(world.tier(), world.a_set("web"), world.policy("a", groups=("web",)))
    foreign(world)
    result = world.sync()
    assert result.state == "blocked"
    assert result.plan is not None
    assert world.cluster.writes == []
    return result.plan


def test_a_blocked_plan_is_let_through_once_by_an_approval(world: World) -> None:
    plan = blocked(world)
    assert [each.guard for each in plan.blockers] == ["foreign-policy"]
    assert world.sync().state == "blocked"
    [waiting] = world.store.approvals()
    assert (waiting.plan, waiting.summary) == (plan.digest, "3 to create, 0 to update, 0 to delete")

    world.store.run("alice").approve(plan.digest)
    assert world.dry().state == "in sync"
    result = world.sync()
    assert (result.state, names(result)) == ("in sync", ["fw", "web", "fw.a"])
    assert result.plan is not None
    assert result.plan.digest == plan.digest
    assert world.kinds() == [Kind.BLOCKED, Kind.APPROVED, *(3 * [Kind.INTENT, Kind.OUTCOME])]
    assert world.store.approvals() == []

    # Nothing is left to hold back, although the policy is still there.
    again = world.sync()
    assert (again.state, again.applied) == ("in sync", ())
    world.want(world.tier(), world.a_set("web", "10.0.0.1/32"), world.policy("a", groups=("web",)))
    assert world.sync().state == "blocked"


def test_an_approval_lets_no_other_plan_through(world: World) -> None:
    plan = blocked(world)
    world.store.run("alice").approve(plan.digest)
    world.want(*world.wanted.values(), world.a_set("more"))
    result = world.sync()
    assert result.state == "blocked"
    assert world.cluster.writes == []


def test_an_approval_that_expired_lets_nothing_through(world: World) -> None:
    plan = blocked(world)
    world.store.run("alice").approve(plan.digest)
    world.clock.now += LIFETIME
    assert world.dry().state == "blocked"
    assert world.sync().state == "blocked"
    assert world.kinds() == [Kind.BLOCKED, Kind.APPROVED, Kind.BLOCKED]
    world.store.run("alice").approve(plan.digest)
    assert world.sync().state == "in sync"


def test_what_can_never_be_approved_waits_for_nobody(world: World) -> None:
    foreign(world, "fw.a")
    world.want(world.tier(), world.policy("a"))
    result = world.sync()
    assert result.plan is not None
    assert sorted(each.guard for each in result.plan.blockers) == [
        "foreign-object",
        "foreign-policy",
    ]
    assert world.store.approvals() == []
    with pytest.raises(ApprovalError, match="foreign-object, foreign-policy"):
        world.store.run("alice").approve(result.plan.digest)


def test_an_approval_that_is_used_by_another_meanwhile_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = blocked(world)
    monkeypatch.setattr(Store, "approved", lambda *_: True)
    result = world.sync()
    assert isinstance(result.error, ApprovalError)
    assert plan.digest[:12] in str(result.error)
    assert world.cluster.writes == []
    assert world.kinds() == [Kind.BLOCKED]


def test_what_an_approved_plan_left_needs_an_approval_of_its_own(world: World) -> None:
    plan = blocked(world)
    world.store.run("alice").approve(plan.digest)
    world.fail("web")
    assert world.sync().left == 1
    world.fail()
    result = world.sync()
    assert result.state == "blocked"
    assert result.plan is not None
    assert [change.name for change in result.plan.changes] == ["fw.a", "web"]
    assert replace(result.plan, blockers=()).digest != plan.digest

"""`sync --plan` once more: a step of a pipeline that is tried again after its plan was written."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sync.cli.agreed import Reviewed, reviewed
from sync.cli.screen import Screen
from sync.clusters.cluster import NotWrittenError
from sync.reconcile.agreement import PlanDiffersError, always
from sync.reconcile.result import Result
from sync.reconcile.written_plans import remember_plan, written_plans
from sync.store import Kind, Store, open_store
from sync.store.audit import Filter, records
from tests.unit.plan.words import create
from tests.unit.test_agreement import A, World, accepted


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


def again(world: World, *given: str) -> tuple[Result, Reviewed]:
    accepted = ("prod",) if world.accept else ()
    agreed = reviewed(given, ("prod",), Screen("json", verbose=False), accepted).asking(world.store)
    return world.sync(agreed), agreed


@pytest.mark.parametrize("named", ["prod=", ""])
def test_a_plan_that_was_just_written_is_nothing_to_do(store: Store, named: str) -> None:
    """A pipeline tries a step again whose answer was lost."""
    world = World(store)
    digest = f"{named}{world.planned().digest}"
    assert again(world, digest)[0].written
    trail = list(records(store, Filter(cluster="prod")))
    last = [each for each in trail if each.kind == Kind.INTENT][-1]
    for _ in range(2):
        result, agreed = again(world, digest)
        assert (result.error, result.written, agreed.missing()) == (None, (), "")
        [note] = agreed.notes
        assert note == (
            f"cluster prod: nothing to do: it is as plan {digest[-64:]} left it, written at "
            f"{last.time} (record prod:{last.sequence})"
        )
    assert list(records(store, Filter(cluster="prod"))) == trail


def other_plan(world: World) -> None:
    world.says("10.0.0.7")
    assert world.sync(always).written


def there_and_back(world: World) -> None:
    """The cluster is as the plan left it, by another plan: that is not looked into."""
    other_plan(world)
    world.says("10.0.0.1")
    assert world.sync(always).written


def drift(world: World) -> None:
    del world.cluster.documents["GlobalNetworkSet", "pan.web"]
    assert world.sync(always).written


def other_cluster(world: World) -> None:
    """It holds the same, and nothing of the plan was written to it."""
    world.cluster.uid, world.accept = "two", True
    assert world.sync(always).accepted
    world.accept = False


@pytest.mark.parametrize("since", [other_plan, there_and_back, drift, other_cluster])
@pytest.mark.parametrize("named", ["prod=", ""])
def test_a_plan_that_others_followed_is_no_plan_any_more_and_it_says_why(
    store: Store, named: str, since: Callable[[World], None]
) -> None:
    world = World(store)
    world.cluster.uid = "one"
    digest = world.planned().digest
    assert again(world, digest)[0].written
    since(world)
    before = dict(world.cluster.documents)
    result, agreed = again(world, f"{named}{digest}")
    said = str(result.error or agreed.missing())
    assert said.startswith(f"plan {digest} was written at ")
    assert "and cluster prod was changed again since" in said
    assert isinstance(result.error, PlanDiffersError) is bool(named)
    assert (agreed.notes, world.cluster.documents) == ([], before)


def test_a_plan_that_was_written_is_not_the_one_of_a_later_configuration(store: Store) -> None:
    world = World(store)
    digest = world.planned().digest
    again(world, digest)
    world.says("10.0.0.7")
    result, agreed = again(world, f"prod={digest}")
    assert isinstance(result.error, PlanDiffersError)
    assert f"and no longer {digest}, which was written at " in str(result.error)
    assert agreed.notes == []
    # Without a name, the cluster has a plan that no digest names.
    result, agreed = again(world, digest)
    assert "which --plan does not name" in str(result.error)


def test_a_plan_that_failed_half_way_was_not_written(store: Store) -> None:
    world = World(store)
    digest = world.planned().digest

    def refuses(name: str) -> None:
        if name == "pan.web":
            raise NotWrittenError("refused")

    world.cluster.before_write = refuses
    assert again(world, digest)[0].failed
    world.cluster.before_write = lambda name: None
    assert isinstance(again(world, digest)[0].error, PlanDiffersError)
    assert world.sync(always).succeeded
    # The rest was another plan.
    result, agreed = again(world, digest)
    assert (result.error, agreed.notes) == (None, [])
    assert agreed.missing() == f"no cluster has the plan {digest}; nothing of it was written"


def foreign(world: World, order: int) -> None:
    """Somebody lets a policy of theirs decide before ours."""
    name = f"firewallpolicy.theirs-{order}"
    world.cluster.documents["GlobalNetworkPolicy", name] = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"tier": "firewallpolicy", "order": order, "types": ["Egress"]},
    }


@pytest.mark.parametrize("named", ["prod=", ""])
def test_a_cluster_in_which_others_decide_since_is_not_as_the_plan_left_it(
    store: Store, named: str
) -> None:
    world = World(store)
    digest = world.planned().digest
    assert again(world, digest)[0].written
    foreign(world, -10)
    result, agreed = again(world, f"{named}{digest}")
    assert agreed.notes == []
    said = str(result.error or agreed.missing())
    assert said.startswith(f"plan {digest} was written at ")
    assert isinstance(result.error, PlanDiffersError) is bool(named)
    if named:
        assert "theirs--10" in said


def test_what_was_let_through_with_a_plan_is_as_it_left_it(store: Store) -> None:
    world = World(store)
    foreign(world, -10)
    digest = world.planned().digest
    blocked = again(world, digest)[0]
    assert blocked.state == "blocked"
    store.run("alice").approve(digest)
    assert again(world, digest)[0].written
    result, agreed = again(world, digest)
    assert (result.error, len(agreed.notes), agreed.missing()) == (None, 1, "")
    foreign(world, -20)
    assert again(world, digest)[1].notes == []


def test_a_copied_cluster_is_not_accepted_with_a_plan_that_no_cluster_has(store: Store) -> None:
    """It holds everything already, as one restored from a backup does: there is no change."""
    world = World(store)
    world.cluster.uid = "one"
    assert again(world, world.planned().digest)[0].written
    world.cluster.uid, world.accept = "two", True
    result, agreed = again(world, "0" * 64)
    assert isinstance(result.error, PlanDiffersError)
    assert agreed.missing()
    assert (accepted(store), result.accepted) == ([], "")
    # The plan that records what it holds is named like any other.
    digest = world.planned().digest
    result, agreed = again(world, digest)
    assert (result.succeeded, bool(result.accepted), agreed.missing()) == (True, True, "")


def test_what_is_only_recorded_is_reviewed_too(store: Store) -> None:
    world = World(store)
    assert world.sync(always).written
    shown = world.planned()
    agreed = reviewed(("0" * 64,), ("prod",), Screen("json", verbose=False))
    agreed(shown)
    adopting = replace(shown, adopted=(create(A),))
    with pytest.raises(PlanDiffersError, match="which --plan does not name"):
        agreed(adopting)
    agreed.accepted = ("prod",)
    with pytest.raises(PlanDiffersError, match="which --plan does not name"):
        agreed(shown)


@pytest.mark.parametrize("kept", [b"", b"[", b"7", b'[["a"]]', b'[[1, "x", 2]]'])
def test_without_a_memory_a_written_plan_is_unknown(store: Store, kept: bytes) -> None:
    world = World(store)
    digest = world.planned().digest
    again(world, digest)
    store.memory("cluster/prod").remember("plans", "", kept)
    assert "no cluster has the plan" in again(world, digest)[1].missing()


def test_the_last_twenty_plans_are_known(store: Store) -> None:
    world = World(store)
    first = world.planned()
    again(world, first.digest)
    plans = [replace(first, cluster="prod", changes=first.changes[:n]) for n in range(1, 3)] * 11
    for each in plans:
        remember_plan(store, each)
    known = written_plans(store, "prod")
    assert [each.digest for each in known] == [each.digest for each in plans[-20:]]

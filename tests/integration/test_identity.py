"""Which cluster an entry is: what is refused, what is accepted, and what is recorded of it."""

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sync.calico.objects import GlobalNetworkSet
from sync.errors import ClusterError, UsageError
from sync.plan.changes import Action
from sync.reconcile import cluster_identity
from sync.reconcile.cluster_identity import ForeignClusterError
from sync.reconcile.result import Result
from sync.store import BATCH, BrokenRecordError, Identity, Kind
from sync.store.audit import at
from sync.store.verification import verify
from tests.integration.test_cycle import TIER, TTL, WEB, A, B, KnownCluster, World, changed
from tests.unit.store.words import new_store, ticking
from tests.words import group

ONE, TWO = "11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two entries, `eu` and `us`, whose clusters are `ONE` and `TWO`."""
    with new_store(tmp_path / "store.db", clock=ticking()) as store:
        found = World(tmp_path, store, {"eu": (("main", "dg"),), "us": (("main", "dg"),)})
        found.export(A, B, WEB)
        for name, uid in (("eu", ONE), ("us", TWO)):
            found.keep_in_memory(name).uid = uid
        yield found


def refused(result: Result) -> str:
    assert isinstance(result.error, ForeignClusterError)
    assert result.applied == ()
    return str(result.error)


def accept(world: World, name: str) -> str:
    return cluster_identity.accept(world.cluster(name), world.store, world.store.run("an operator"))


def identified(world: World, name: str) -> list[tuple[str, str, str]]:
    """What the trail says of which cluster an entry is."""
    return [
        (each.kind, each.action, each.detail)
        for each in world.trail(name)
        if each.object_kind == "Namespace"
    ]


def same_cluster(world: World) -> KnownCluster:
    """Let both entries reach one cluster."""
    world.kept["us"] = world.kept["eu"]
    return world.kept["eu"]


def test_the_first_sync_remembers_which_cluster_it_is_and_later_ones_say_nothing(
    world: World,
) -> None:
    world.sync(dry=True)
    assert world.store.identities() == {}
    world.sync()
    assert world.store.identities() == {"eu": Identity(ONE), "us": Identity(TWO)}
    assert identified(world, "eu") == [(Kind.ADOPTED, "identify", ONE)]
    before = world.trail("eu")
    assert changed(world.sync()["eu"]) == []
    assert world.trail("eu") == before
    assert verify(world.store)


def test_a_cluster_that_nothing_tells_from_others_has_nothing_recorded_of_it(world: World) -> None:
    world.kept["eu"].uid = world.kept["us"].uid = ""
    assert all(result.succeeded for result in world.sync().values())
    assert world.store.identities() == {}


def test_two_entries_of_one_cluster_are_both_refused_before_either_is_written(
    world: World,
) -> None:
    cluster = same_cluster(world)
    planned = [refused(each) for each in world.sync(dry=True).values()]
    assert world.trail() == []
    for results in (world.sync(), world.sync()):
        said = [refused(each) for each in results.values()]
        assert "eu and us reach" in said[0]
        assert "us and eu reach" in said[1]
        assert all(ONE in each and "--accept-new-cluster" in each for each in said)
        assert said == planned
    assert cluster.writes == []


@pytest.mark.parametrize("first", ["eu", "us"])
def test_an_entry_that_comes_to_the_cluster_of_another_deletes_nothing_there(
    world: World, first: str
) -> None:
    cluster = same_cluster(world)
    second = "us" if first == "eu" else "eu"
    assert changed(world.sync(first)[first])
    wrote = list(cluster.writes)
    refused(world.sync(second)[second])
    refused(world.sync(first)[first])
    assert cluster.writes == wrote
    # One of the two is taken out of the configuration, and the other goes on.
    del world.stands_for[second]
    assert world.sync(first)[first].succeeded


def test_an_entry_that_is_renamed_goes_on_with_its_cluster(world: World) -> None:
    world.sync("eu")
    world.stands_for = {"europe": (("main", "dg"),)}
    world.kept["europe"] = world.kept["eu"]
    assert changed(world.only()) == []


def test_an_entry_that_reaches_another_cluster_is_refused_until_an_operator_says_so(
    world: World,
) -> None:
    world.sync("eu")
    rebuilt = world.kept["eu"] = KnownCluster(world.owner, uid=TWO)
    world.stands_for = {"eu": (("main", "dg"),)}
    for dry in (True, False):
        said = refused(world.only(dry=dry))
        assert ONE in said
        assert TWO in said
        assert "zonebridge sync --cluster eu --accept-new-cluster eu" in said
    assert rebuilt.writes == []

    assert TWO in accept(world, "eu")
    assert identified(world, "eu")[-1] == (
        Kind.OPERATOR,
        "accept-cluster",
        f"{TWO} in place of {ONE}",
    )
    trail = world.trail("eu")
    accept(world, "eu")
    assert world.trail("eu") == trail
    planned = world.only(dry=True)
    result = world.only()
    assert result.plan == planned.plan
    assert [action for action, _ in changed(result)] == [Action.CREATE] * 3
    assert set(rebuilt.documents) == set(world.store.written("eu"))
    assert world.store.identities() == {"eu": Identity(TWO)}
    assert identified(world, "eu")[-1] == (Kind.ADOPTED, "identify", f"{TWO} in place of {ONE}")
    assert verify(world.store)


def test_what_is_accepted_is_written_even_where_drift_is_only_reported(world: World) -> None:
    world.repair_drift = False
    world.sync("us")
    world.kept["us"] = KnownCluster(world.owner, uid=ONE)
    accept(world, "us")
    assert len(changed(world.sync("us")["us"])) == 3
    forgotten = [each for each in world.trail("us") if "was written to the cluster" in each.detail]
    assert [each.object_name for each in forgotten] == [
        each.name for each in world.store.written("us").values()
    ]
    # In between nothing of ours stood there, as far as anybody knew.
    moved = [each for each in world.trail("us") if each.action == "identify"][-1]
    assert at(world.store, "us", datetime.fromisoformat(moved.time)) == {}
    assert verify(world.store)


def test_a_dry_run_foresees_what_an_acceptance_would_bring(world: World) -> None:
    world.sync("us")
    world.kept["us"] = KnownCluster(world.owner, uid=ONE)
    world.settings["accept"] = True
    result = world.sync("us", dry=True)["us"]
    assert result.plan is not None
    assert {each.action for each in result.plan.changes} == {Action.CREATE}
    assert world.store.identities() == {"us": Identity(TWO)}


def test_the_cluster_of_another_entry_is_not_accepted(world: World) -> None:
    world.sync()
    same_cluster(world)
    before = world.trail("us")
    with pytest.raises(ClusterError, match="us and eu reach"):
        accept(world, "us")
    assert world.trail("us") == before
    refused(world.sync("us")["us"])
    # The other one still is what it was.
    assert world.sync("eu")["eu"].succeeded


def test_an_entry_that_was_corrected_is_accepted_and_the_other_goes_on(world: World) -> None:
    own = world.kept["us"]
    same_cluster(world)
    world.sync()
    world.kept["us"] = own
    accept(world, "us")
    assert all(each.error is None for each in world.sync("us", "eu", dry=True).values())
    assert [len(changed(each)) for each in world.sync("us", "eu").values()] == [3, 3]


def test_nothing_is_accepted_where_nothing_changed_or_nothing_tells(world: World) -> None:
    world.sync()
    before = world.trail("eu")
    assert "nothing to accept" in accept(world, "eu")
    assert world.trail("eu") == before
    world.kept["eu"].uid = ""
    with pytest.raises(UsageError, match="is a directory"):
        accept(world, "eu")


def test_a_server_that_is_replaced_in_the_middle_gets_nothing_of_the_next_batch(
    world: World,
) -> None:
    cluster = world.kept["eu"]
    world.export(A, *(group(f"g{number}", "a") for number in range(3 * BATCH)))

    def replaced(_name: str) -> None:
        if len(cluster.writes) == BATCH:
            cluster.uid = TWO

    cluster.before_write = replaced
    result = world.sync("eu")["eu"]
    assert isinstance(result.error, ClusterError)
    assert "another server has taken its place" in str(result.error)
    assert len(cluster.writes) < 3 * BATCH
    written = list(cluster.writes)
    refused(world.sync("eu")["eu"])
    assert cluster.writes == written
    assert ("create", TIER) in written


def test_what_cannot_say_which_cluster_it_is_is_not_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: KnownCluster) -> str:
        raise ClusterError("cluster eu refuses GET kube-system with 403")

    monkeypatch.setattr(KnownCluster, "identity", fail)
    for dry in (True, False):
        result = world.sync("eu", dry=dry)["eu"]
        assert "403" in str(result.error)
    assert world.kept["eu"].writes == []


@pytest.mark.parametrize(
    "tampering",
    [
        f"UPDATE identities SET uid = '{TWO}' WHERE cluster = 'eu'",
        f"UPDATE identities SET accepted = '{TWO}' WHERE cluster = 'eu'",
        "DELETE FROM identities WHERE cluster = 'eu'",
    ],
)
def test_verify_finds_a_table_that_says_another_cluster_than_the_trail(
    world: World, tampering: str
) -> None:
    world.sync()
    with sqlite3.connect(world.path / "store.db") as file:
        file.execute(tampering)
    with pytest.raises(BrokenRecordError, match="table of identities") as caught:
        verify(world.store)
    assert caught.value.chain == "eu"


def theirs() -> dict[str, Any]:
    """A policy of somebody else in our tier, which an approval lets stand."""
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": f"{TIER}.theirs"},
        "spec": {"tier": TIER, "order": 1, "selector": "all()", "types": ["Egress"]},
    }


def test_an_approval_lets_nothing_through_in_a_cluster_that_was_accepted_since(
    world: World,
) -> None:
    world.stands_for = {"eu": (("main", "dg"),)}
    key = ("GlobalNetworkPolicy", f"{TIER}.theirs")
    world.kept["eu"].documents[key] = theirs()
    blocked = world.only().plan
    assert blocked is not None
    assert [each.guard for each in blocked.blockers] == ["foreign-policy"]
    world.store.run("alice").approve(blocked.digest)
    let_through = world.only(dry=True).plan
    assert let_through is not None
    assert let_through.blockers == ()

    other = world.kept["eu"] = KnownCluster(world.owner, uid=TWO)
    other.documents[key] = theirs()
    world.settings["accept"] = True
    foreseen = world.only(dry=True).plan
    world.settings.clear()
    accept(world, "eu")
    for plan in (foreseen, world.only(dry=True).plan, world.only().plan, world.only().plan):
        assert plan is not None
        assert plan.digest == blocked.digest
        assert [each.guard for each in plan.blockers] == ["foreign-policy"]
    assert other.writes == []

    world.store.run("alice").approve(blocked.digest)
    assert len(changed(world.only())) == 3
    assert verify(world.store)


def test_what_may_be_taken_over_in_one_cluster_is_foreseen_in_no_other(world: World) -> None:
    world.stands_for = {"eu": (("main", "dg"),)}
    document = GlobalNetworkSet("pan.web", ("192.0.2.0/24",)).manifest().document()
    world.kept["eu"].documents["GlobalNetworkSet", "pan.web"] = document
    held = world.only().plan
    assert held is not None
    world.store.run("alice").let_adopt("eu", held.held)
    let_through = world.only(dry=True).plan
    assert let_through is not None
    assert let_through.held == ()

    other = world.kept["eu"] = KnownCluster(world.owner, uid=TWO)
    other.documents["GlobalNetworkSet", "pan.web"] = document
    world.settings["accept"] = True
    foreseen = world.only(dry=True).plan
    assert foreseen is not None
    assert [each.name for each in foreseen.held] == ["pan.web"]


def forget(world: World, name: str) -> None:
    with world.store.lease(name, "an operator", TTL) as lease:
        world.store.run("an operator").forget(lease)


def test_a_cluster_that_was_forgotten_and_still_stands_is_found_to_hold_what_is_ours(
    world: World,
) -> None:
    """Its objects have our labels and our store's identity."""
    world.sync("us")
    us = world.kept["us"]
    wrote = list(us.writes)
    forget(world, "us")
    assert world.store.identities() == {}
    result = world.sync("us")["us"]
    assert result.plan is not None
    assert len(result.plan.adopted) == 3
    assert us.writes == wrote
    assert len(world.store.written("us")) == 3
    # What nothing wants any more goes, though no table tells who wrote it.
    forget(world, "us")
    world.export(A, B)
    assert Action.DELETE in [action for action, _ in changed(world.sync("us")["us"])]
    assert verify(world.store)


def test_another_cluster_under_a_forgotten_name_is_written_as_a_new_one(world: World) -> None:
    world.sync("us")
    forget(world, "us")
    rebuilt = world.kept["us"] = KnownCluster(world.owner, uid=ONE)
    # Without anybody's acceptance: nobody has met it.
    assert len(changed(world.sync("us")["us"])) == 3
    assert set(rebuilt.documents) == set(world.store.written("us"))
    assert world.store.identities() == {"us": Identity(ONE)}
    assert verify(world.store)

"""Clusters that are forgotten: what goes, and what stays."""

from collections.abc import Iterator
from datetime import datetime

import orjson
import pytest
from sqlalchemy import select

from sync.errors import StoreError
from sync.store import (
    BrokenRecordError,
    Conclusion,
    Kind,
    LeaseHeldError,
    LeaseLostError,
    Outcome,
    Record,
    Store,
    audit,
)
from sync.store.audit import Filter
from sync.store.chain import append
from sync.store.models import Approvals, Identities, Objects, OpenIntents, Records, StatusRow
from sync.store.records import FORGET
from sync.store.verification import verify
from tests.unit.store.words import LONG, Place, apply, create, group, intend, ticking

WEB, DB, APP = group("web", "10.0.0.0/8"), group("db"), group("app")
PLAN = "ab" * 32


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open(clock=ticking()) as opened:
        yield opened


@pytest.fixture
def known(store: Store) -> list[Record]:
    """Two clusters of which everything is known that can be; an intent of each is open."""
    for name in ("eu", "us"):
        with store.lease(name, "test", LONG) as lease:
            store.run("sync").identify(lease, f"{name}-uid")
        apply(store.run("sync"), name, create(WEB), create(DB))
        document = orjson.dumps({"summary": {"create": 1, "update": 0, "delete": 0}})
        plan = f"{name}{PLAN}".encode().hex()[:64]
        store.run("sync").blocked(name, ["guard"], plan, "too many", document=document)
        store.run("alice").approve(plan)
        store.stand("cluster", name, state="failed", detail="down", succeeded=False)
    return [intend(store.run("killed"), name, [create(APP)])[0] for name in ("eu", "us")]


def forget(store: Store, cluster: str = "us") -> Record:
    with store.lease(cluster, "test", LONG) as lease:
        return store.run("an operator").forget(lease)


def stored(store: Store, cluster: str) -> list[int]:
    """How many rows each of the tables has that say something of a cluster."""
    queries = (
        select(Objects).where(Objects.cluster == cluster),
        select(OpenIntents).where(OpenIntents.chain == cluster),
        select(Identities).where(Identities.cluster == cluster),
        select(Approvals).where(Approvals.cluster == cluster),
        select(StatusRow).where(StatusRow.kind == "cluster", StatusRow.name == cluster),
    )
    with store.database.reading() as connection:
        return [len(connection.execute(query).all()) for query in queries]


def trail(store: Store) -> list[Record]:
    with store.database.reading() as connection:
        order = select(Records).order_by(Records.chain, Records.sequence)
        return [Record._make(row) for row in connection.execute(order)]


@pytest.mark.usefixtures("known")
def test_nothing_is_believed_of_what_is_forgotten_and_the_trail_keeps_it_all(store: Store) -> None:
    before, others = trail(store), stored(store, "eu")
    assert stored(store, "us") == others == [2, 1, 1, 1, 1]
    record = forget(store)
    assert (record.kind, record.action, record.trigger) == (Kind.OPERATOR, FORGET, "an operator")
    assert record.detail == "objects=2 open_intents=1 uid=us-uid"
    assert stored(store, "us") == [0] * 5
    assert stored(store, "eu") == others
    after = trail(store)
    assert set(map(repr, before)) < set(map(repr, after))
    added = [each for each in after if each not in before and each.chain == "us"]
    assert [(each.kind, each.object_name, each.outcome) for each in added] == [
        (Kind.RECOVERED, "app", Outcome.UNKNOWN),
        (Kind.ADOPTED, "db", ""),
        (Kind.ADOPTED, "web", ""),
        (Kind.OPERATOR, "", ""),
    ]
    assert store.half_written("us") is None
    verify(store, store.heads())


@pytest.mark.usefixtures("known")
def test_what_is_met_again_under_that_name_is_new(store: Store) -> None:
    forget(store)
    with store.lease("us", "test", LONG) as lease:
        store.run("sync").identify(lease, "another-uid")
    assert store.written("us") == {}
    apply(store.run("sync"), "us", create(WEB))
    half = store.half_written("us")
    assert half is not None
    assert (half.written, half.unwritten) == (1, ())
    forget(store)
    forget(store)
    verify(store, store.heads())


def test_who_was_to_conclude_what_is_forgotten_meanwhile_does_not(
    store: Store, known: list[Record]
) -> None:
    forget(store)
    with pytest.raises(StoreError, match="is closed already"):
        store.run("late").conclude([Conclusion(known[1], Outcome.APPLIED)])
    verify(store, store.heads())


@pytest.mark.usefixtures("known")
def test_nothing_is_forgotten_while_another_process_writes(store: Store) -> None:
    with store.lease("us", "the service", LONG), pytest.raises(LeaseHeldError, match="the service"):
        forget(store)
    assert stored(store, "us") == [2, 1, 1, 1, 1]


@pytest.mark.usefixtures("known")
def test_who_lost_the_lease_to_one_that_forgets_writes_no_more(store: Store) -> None:
    """Its epoch is of the past for ever."""
    with store.lease("us", "stale", LONG) as stale:
        stale.release()
        forget(store)
        with pytest.raises(LeaseLostError):
            store.run("stale").intend(stale, [create(APP)], ())
        with store.lease("us", "next", LONG), pytest.raises(LeaseLostError):
            store.run("stale").intend(stale, [create(APP)], ())


@pytest.mark.usefixtures("known")
def test_verify_finds_a_cluster_that_is_forgotten_without_its_objects(store: Store) -> None:
    with store.database.writing() as connection:
        append(
            connection,
            "us",
            [Record(kind=Kind.OPERATOR, cluster="us", action=FORGET)],
            store.clock,
        )
    with pytest.raises(BrokenRecordError, match="but not its objects and intents"):
        verify(store)


@pytest.mark.usefixtures("known")
def test_what_stood_in_a_cluster_before_it_was_forgotten_can_be_asked_for(store: Store) -> None:
    last = list(audit.records(store, Filter(cluster="us")))[-1]
    forget(store)
    names = [name for _, name in audit.at(store, "us", datetime.fromisoformat(last.time))]
    assert names == ["db", "web"]

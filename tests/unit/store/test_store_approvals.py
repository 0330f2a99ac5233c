"""Approvals of blocked plans, between threads too."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Barrier

import orjson
import pytest
from sqlalchemy import Connection, select, text

from sync.errors import UsageError
from sync.store import (
    ApprovalError,
    Kind,
    Lease,
    LeaseLostError,
    Recorder,
    Store,
    audit,
    open_store_read_only,
)
from sync.store.approvals import LIFETIME
from sync.store.audit import Filter
from sync.store.models import Approvals
from sync.store.records import stamp
from sync.store.verification import verify
from tests.unit.store.words import LONG, ORIGINS, START, Place, apply, create, delete, group

PLAN, OTHER = "ab" * 32, "abab" + "cd" * 30
WEB, DB = group("web", "10.0.0.0/8"), group("db")
DOCUMENT = orjson.dumps({"summary": {"create": 1, "update": 2, "delete": 3}})


class Watch:
    """A clock that is set by hand, and moves a second each time it is read."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class Unfenced(Lease):
    """A lease that keeps nobody out."""

    def hold(self, connection: Connection) -> None:
        pass


@pytest.fixture
def clock() -> Watch:
    return Watch()


@pytest.fixture
def store(place: Place, clock: Watch) -> Iterator[Store]:
    with place.open(clock=clock) as opened:
        yield opened
        verify(opened, opened.heads())


def block(store: Store, plan: str = PLAN, cluster: str = "eu", *, approvable: bool = True) -> None:
    document = DOCUMENT if approvable else None
    store.run("service").blocked(cluster, ["mass-delete"], plan, "too many", document=document)


def write(store: Store, plan: str = PLAN, run: Recorder | None = None) -> None:
    """Intend a change of an approved plan."""
    with store.lease("eu", "test", LONG) as lease:
        (run or store.run("sync")).intend(lease, [create(WEB)], ORIGINS, approved=plan)


def kinds(store: Store) -> list[str]:
    return [record.kind for record in audit.records(store, Filter(cluster="eu"))]


def test_an_approval_ends_a_day_later_by_the_clock_though_it_was_ahead_once(
    store: Store, clock: Watch
) -> None:
    usual, clock.now = clock.now, START + 1000 * LIFETIME
    apply(store.run("ahead"), "eu", create(DB))
    clock.now = usual
    block(store)
    record = store.run("alice").approve(PLAN)
    assert record.time > stamp(usual + LIFETIME)
    guards, _, by_clock = record.detail.removesuffix(" by the clock)").partition(" (at ")
    assert guards == "mass-delete"
    assert stamp(usual) < by_clock <= stamp(clock.now)
    [approved] = store.approvals()
    assert approved.expires == stamp(datetime.fromisoformat(by_clock) + LIFETIME)
    assert store.approved("eu", PLAN)
    clock.now = usual + 2 * LIFETIME
    assert not store.approved("eu", PLAN)
    with pytest.raises(ApprovalError, match="was used, expired or became void"):
        write(store)
    clock.now = usual
    write(store)
    assert store.approvals() == []


def test_a_plan_waits_is_approved_and_is_written_once(store: Store, clock: Watch) -> None:
    block(store)
    [waiting] = store.approvals()
    assert (waiting.cluster, waiting.plan, waiting.guards) == ("eu", PLAN, "mass-delete")
    assert (waiting.because, waiting.approved, waiting.expires) == ("too many", "", "")
    assert waiting.summary == "1 to create, 2 to update, 3 to delete"
    assert not store.approved("eu", PLAN)

    record = store.run("alice").approve(PLAN)
    assert (record.kind, record.plan, record.trigger) == (Kind.APPROVED, PLAN, "alice")
    assert (record.cluster, record.detail) == ("eu", "mass-delete")
    [approved] = store.approvals()
    assert (approved.approved_by, approved.approved) == ("alice", record.time)
    assert approved.expires == stamp(datetime.fromisoformat(record.time) + LIFETIME)
    assert store.approved("eu", PLAN)
    assert not store.approved("us", PLAN)

    write(store)
    assert not store.approved("eu", PLAN)
    assert store.approvals() == []
    [intent] = audit.records(store, Filter(kind="intent"))
    assert intent.plan == PLAN
    with pytest.raises(ApprovalError, match="was used, expired or became void"):
        write(store)
    assert kinds(store) == [Kind.BLOCKED, Kind.APPROVED, Kind.INTENT]


def test_every_batch_of_the_run_that_uses_it_is_let_through(store: Store) -> None:
    block(store)
    store.run("alice").approve(PLAN)
    run = store.run("sync")
    write(store, run=run)
    write(store, run=run)
    assert kinds(store)[2:] == [Kind.INTENT, Kind.INTENT]


def test_the_first_digits_are_enough(store: Store) -> None:
    block(store)
    assert store.run("alice").approve(PLAN[:8]).plan == PLAN


@pytest.mark.parametrize(
    ("digest", "said"),
    [
        ("", "is not the digest"),
        ("ab", "at least its first 8 digits"),
        ("abababag", "is not the digest"),
        ("%_______", "is not the digest"),
        ("ABABABAB", "is not the digest"),
        (PLAN + "0", "is not the digest"),
        ("0" * 64, "no plan with the digest"),
        ("0" * 8, "no plan with the digest"),
    ],
)
def test_what_names_no_plan_is_a_usage_error(store: Store, digest: str, said: str) -> None:
    block(store)
    run = store.run("alice")
    with pytest.raises(UsageError, match=said):
        run.approve(digest)
    assert not run.begun
    assert kinds(store) == [Kind.BLOCKED]


def test_digits_that_two_plans_share_name_neither(store: Store) -> None:
    first, second = "abababab" + "0" * 56, "abababab" + "1" * 56
    block(store, first)
    block(store, second, "us")
    with pytest.raises(UsageError, match="2 digests of plans begin with abababab"):
        store.run("alice").approve("abababab")
    assert store.run("alice").approve("abababab1").cluster == "us"


def test_what_no_approval_lets_through_says_so(store: Store) -> None:
    block(store, approvable=False)
    assert store.approvals() == []
    with pytest.raises(ApprovalError, match="blocked by mass-delete, cannot be approved"):
        store.run("alice").approve(PLAN)


def test_another_plan_takes_the_place_of_one_that_nobody_approved(store: Store) -> None:
    block(store)
    block(store, OTHER)
    [waiting] = store.approvals()
    assert waiting.plan == OTHER
    with pytest.raises(ApprovalError, match="another plan has taken its place"):
        store.run("alice").approve(PLAN)
    block(store, "ee" * 32, approvable=False)
    assert store.approvals() == []


def test_an_approval_outlives_other_plans(store: Store) -> None:
    block(store)
    store.run("alice").approve(PLAN)
    block(store, OTHER)
    assert [each.plan for each in store.approvals()] == [PLAN, OTHER]
    write(store)
    assert [each.plan for each in store.approvals()] == []


def test_what_happened_to_the_cluster_since_ends_the_waiting(store: Store) -> None:
    block(store)
    apply(store.run("sync"), "eu", create(WEB))
    assert store.approvals() == []
    with pytest.raises(ApprovalError, match="the cluster has newer records"):
        store.run("alice").approve(PLAN)
    block(store)
    store.run("alice").approve(PLAN)


def test_a_second_approval_is_refused_with_who_was_first(store: Store) -> None:
    block(store)
    store.run("alice").approve(PLAN)
    with pytest.raises(ApprovalError, match="already, by alice; the next sync lets it through"):
        store.run("bob").approve(PLAN)


def test_a_used_approval_is_refused_until_the_plan_is_blocked_again(store: Store) -> None:
    block(store)
    store.run("alice").approve(PLAN)
    write(store)
    with pytest.raises(ApprovalError, match="an approval holds once"):
        store.run("alice").approve(PLAN)
    block(store)
    store.run("alice").approve(PLAN)
    write(store)
    assert kinds(store) == 2 * [Kind.BLOCKED, Kind.APPROVED, Kind.INTENT]


def test_an_approval_expires_after_a_day(store: Store, clock: Watch) -> None:
    block(store)
    store.run("alice").approve(PLAN)
    clock.now += LIFETIME - timedelta(seconds=10)
    assert store.approved("eu", PLAN)
    clock.now += timedelta(seconds=10)
    assert not store.approved("eu", PLAN)
    assert store.approvals() == []
    with pytest.raises(ApprovalError, match="expired or became void"):
        write(store)
    with pytest.raises(ApprovalError, match="has expired; the next sync blocks"):
        store.run("alice").approve(PLAN)
    block(store)
    store.run("alice").approve(PLAN)
    assert store.approved("eu", PLAN)


def test_an_approval_does_not_hold_at_the_moment_when_it_expires(
    store: Store, clock: Watch
) -> None:
    block(store)
    record = store.run("alice").approve(PLAN)
    for after, holds in ((timedelta(microseconds=-1), True), (timedelta(), False)):
        # The clock moves a second before it is read.
        clock.now = datetime.fromisoformat(record.time) + LIFETIME + after - timedelta(seconds=1)
        assert store.approved("eu", PLAN) is holds


def test_nothing_is_used_under_a_lease_that_went_to_somebody_else(store: Store) -> None:
    block(store)
    store.run("alice").approve(PLAN)
    with store.lease("eu", "test", LONG) as lease:
        with store.database.writing() as connection:
            connection.execute(text("UPDATE leases SET epoch = epoch + 1, expires_at = 0"))
        with pytest.raises(LeaseLostError):
            store.run("sync").intend(lease, [create(WEB)], ORIGINS, approved=PLAN)
    assert store.approved("eu", PLAN)


def test_a_plan_that_was_never_approved_is_not_written(store: Store) -> None:
    block(store)
    for plan in (PLAN, OTHER):
        run = store.run("sync")
        with pytest.raises(ApprovalError):
            write(store, plan, run)
        assert not run.begun
    assert store.open_intents("eu") == []
    assert kinds(store) == [Kind.BLOCKED]


def test_of_two_that_approve_at_once_one_does(place: Place, store: Store) -> None:
    block(store)
    together = Barrier(4)

    def approve(name: int) -> bool:
        with place.open() as opened:
            together.wait()
            with suppress(ApprovalError):
                opened.run(str(name)).approve(PLAN)
                return True
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(approve, range(4))) == 1
    assert kinds(store) == [Kind.BLOCKED, Kind.APPROVED]


def test_of_two_that_use_one_approval_at_once_one_does(place: Place, store: Store) -> None:
    """Leases keep them apart; even without, the chain does."""
    block(store)
    store.run("alice").approve(PLAN)
    together = Barrier(4)

    def use(name: int) -> bool:
        with place.open(clock=store.clock) as opened:
            together.wait()
            with suppress(ApprovalError):
                lease = Unfenced("eu", "x", 1, "x", opened.database, LONG, math.inf)
                opened.run(str(name)).intend(lease, [create(DB)], ORIGINS, approved=PLAN)
                return True
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(use, range(4))) == 1
    assert kinds(store) == [Kind.BLOCKED, Kind.APPROVED, Kind.INTENT]


def test_plans_that_wait_are_read_where_nothing_may_be_written(place: Place, store: Store) -> None:
    block(store)
    with open_store_read_only(place.url, password=place.password) as reader:
        assert reader.approvals() == store.approvals()
        assert not reader.approved("eu", PLAN)


def test_the_plan_is_kept_as_it_was_blocked(store: Store) -> None:
    block(store)
    assert [each.document for each in store.approvals()] == [DOCUMENT]
    with store.database.reading() as connection:
        assert connection.scalars(select(Approvals.plan)).all() == [PLAN]


def test_records_of_an_approved_plan_name_it_to_the_end(store: Store) -> None:
    apply(store.run("before"), "eu", create(WEB))
    block(store)
    store.run("alice").approve(PLAN)
    run = store.run("sync")
    with store.lease("eu", "test", LONG) as lease:
        intents = run.intend(lease, [delete(WEB)], ORIGINS, approved=PLAN)
        [recovered] = store.run("next").recover(lease, [(intents[0], None)])
    assert recovered.plan == PLAN


def test_an_approval_is_void_once_another_cluster_is_accepted_under_that_name(
    store: Store,
) -> None:
    with store.lease("eu", "test", LONG) as lease:
        store.run("sync").identify(lease, "one")
    block(store)
    store.run("alice").approve(PLAN)
    store.run("bob").accept("eu", "two")
    assert not store.approved("eu", PLAN)
    assert store.approvals() == []
    with pytest.raises(ApprovalError, match="became void meanwhile"):
        write(store)
    with pytest.raises(ApprovalError, match="the cluster has newer records"):
        store.run("alice").approve(PLAN)

    # Blocked again by the cluster before, which still is there, approved, and then it is another.
    block(store)
    store.run("alice").approve(PLAN)
    assert store.approved("eu", PLAN)
    with store.lease("eu", "test", LONG) as lease:
        store.run("sync").identify(lease, "two")
    assert not store.approved("eu", PLAN)
    with pytest.raises(ApprovalError, match="became void meanwhile"):
        write(store)
    assert Kind.INTENT not in kinds(store)

    block(store)
    [waiting] = store.approvals()
    assert (waiting.plan, waiting.approved) == (PLAN, "")
    store.run("alice").approve(PLAN)
    run = store.run("sync")
    write(store, run=run)
    # What is under way by then is finished: it still writes the cluster that was approved.
    store.run("bob").accept("eu", "three")
    write(store, run=run)


def test_an_approval_of_a_cluster_is_void_once_something_else_is_met_under_that_name(
    store: Store,
) -> None:
    block(store)
    store.run("alice").approve(PLAN)
    with store.lease("eu", "test", LONG) as lease:
        store.run("sync").identify(lease, "one")
    assert not store.approved("eu", PLAN)


def test_an_approval_of_another_cluster_stands(store: Store) -> None:
    block(store)
    store.run("alice").approve(PLAN)
    with store.lease("us", "test", LONG) as lease:
        store.run("sync").identify(lease, "one")
        store.run("bob").accept("us", "two")
        store.run("sync").identify(lease, "two")
    assert store.approved("eu", PLAN)

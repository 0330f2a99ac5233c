"""Leases, one holder at a time.

No test holds anything against the clock: each waits for what must come, however slow the machine.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import event, func, select, text

from sync.errors import StoreError, ZonebridgeError
from sync.store import (
    Conclusion,
    LeaseHeldError,
    LeaseLostError,
    Outcome,
    Store,
    open_store_read_only,
)
from sync.store.leases import Waits
from sync.store.models import Bodies, Leases
from sync.store.verification import verify
from tests.unit.store.words import (
    DATABASE,
    LONG,
    ORIGINS,
    WEB,
    Place,
    apply,
    create,
    group,
    names,
    take,
)

SHORT = timedelta(seconds=0.25)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as opened:
        yield opened


@pytest.fixture
def other(place: Place, store: Store) -> Iterator[Store]:
    """The same store, as another process opens it."""
    with place.open() as opened:
        yield opened


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something has come about; pytest's own timeout ends what never does."""
    while not condition():
        time.sleep(0.02)


def expires_at(store: Store) -> int:
    with store.database.reading() as connection:
        return connection.scalars(select(Leases.expires_at)).one()


def count(store: Store) -> int:
    with store.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(Bodies)) or 0


def pass_on(store: Store, holder: str) -> None:
    """What is left when a lease expired and somebody else took it."""
    with store.database.writing() as connection:
        connection.execute(
            text("UPDATE leases SET epoch = epoch + 1, holder = :holder"), {"holder": holder}
        )


def test_a_lease_is_held_by_one_and_let_go_at_the_end(store: Store, other: Store) -> None:
    with store.lease("eu", "alice on a", LONG) as lease:
        assert (lease.cluster, lease.holder, lease.epoch) == ("eu", "alice on a", 1)
        with pytest.raises(LeaseHeldError) as caught, other.lease("eu", "bob on b", LONG):
            pass
        assert (caught.value.exit_code, caught.value.holder) == (7, "alice on a")
        for word in ("cluster eu", "alice on a", "3600 s", "wait, or stop that process"):
            assert word in str(caught.value)
        with other.lease("us", "bob on b", LONG) as another:
            assert another.epoch == 1
    with other.lease("eu", "bob on b", LONG) as successor:
        assert successor.epoch == 2


def test_a_lease_that_is_left_runs_out_before_the_next_one_gets_in(
    store: Store, other: Store
) -> None:
    with store.lease("eu", "alice", LONG) as lease:
        lease.leave()
    assert lease.remaining() < 0
    with pytest.raises(LeaseHeldError, match="alice"), other.lease("eu", "bob", LONG):
        pass
    [held] = other.leases()
    assert held.seconds > 0


def test_the_same_holder_does_not_get_in_twice(store: Store) -> None:
    with store.lease("eu", "alice", LONG):
        with pytest.raises(LeaseHeldError), store.lease("eu", "alice", LONG):
            pass
        [held] = store.leases()
        assert held.epoch == 1


def test_what_is_held_is_listed_for_whoever_only_looks(place: Place, store: Store) -> None:
    with (
        open_store_read_only(place.url, password=place.password) as reader,
        store.lease("us", "bob", LONG),
    ):
        with store.lease("eu", "alice \ud800", LONG):
            eu, us = reader.leases()
        assert (eu.name, eu.holder, eu.epoch) == ("eu", "alice \ufffd", 1)
        assert (us.name, us.holder, us.epoch) == ("us", "bob", 1)
        assert 0 < eu.seconds <= LONG.total_seconds() + 0.01
        assert reader.leases()[0].seconds == 0.0
        with pytest.raises(StoreError, match="reading only"), reader.lease("eu", "carol", LONG):
            pass


def test_a_lease_is_renewed_for_as_long_as_it_is_held(store: Store) -> None:
    with store.lease("eu", "alice", SHORT) as lease:
        first = expires_at(store)
        longest = 0.0
        while expires_at(store) <= first + 2 * SHORT / timedelta(milliseconds=1):
            longest = max(longest, lease.remaining())
        assert longest <= SHORT.total_seconds()
        assert [held.epoch for held in store.leases()] == [lease.epoch]
        eventually(lambda: lease.remaining() > 0)
    assert lease.remaining() <= 0
    assert expires_at(store) == 0


def test_what_remains_is_counted_from_before_the_database_was_asked(store: Store) -> None:
    asked: list[float] = []
    event.listen(store.database.engine, "begin", lambda _: asked.append(time.monotonic()))
    counted: set[float] = set()
    with store.lease("eu", "alice", SHORT) as lease:
        while len(counted) < 3:
            counted.add(lease._until)
            assert max(counted) <= asked[-1] + SHORT.total_seconds()


def test_nothing_remains_of_a_lease_that_somebody_else_took(store: Store, other: Store) -> None:
    with store.lease("eu", "alice", SHORT) as lease:
        pass_on(other, "bob")
        eventually(lambda: lease.remaining() <= 0)
        before = other.leases()
    # Neither renewed nor released: it is no longer ours.
    [held] = other.leases()
    assert (held.holder, held.epoch) == (before[0].holder, before[0].epoch) == ("bob", 2)
    assert expires_at(other) > 0


def test_an_epoch_that_is_counted_anew_is_not_taken_for_ours(store: Store, other: Store) -> None:
    """As where somebody deletes the row, or a standby is promoted that has not seen it."""
    run = store.run("alice")
    with store.lease("eu", "alice", SHORT) as lease:
        with other.database.writing() as connection:
            connection.execute(text("DELETE FROM leases"))
        with other.lease("eu", "alice", LONG) as successor:
            assert successor.epoch == lease.epoch
            with pytest.raises(LeaseLostError):
                run.intend(lease, [create(WEB)], ORIGINS)
            eventually(lambda: lease.remaining() <= 0)
            ends = expires_at(other)
            lease.release()
            assert expires_at(other) == ends


def test_nothing_remains_of_a_lease_while_the_store_cannot_be_reached(
    store: Store, unreachable: Callable[[Store], AbstractContextManager[None]]
) -> None:
    with store.lease("eu", "alice", SHORT) as lease:
        with unreachable(store):
            eventually(lambda: lease.remaining() <= 0)
        # Nobody took it meanwhile: the next beat renews it.
        eventually(lambda: lease.remaining() > 0)
        assert lease.epoch == 1


@pytest.mark.parametrize("error", [None, ZonebridgeError("what went wrong")])
def test_a_store_that_cannot_be_reached_at_the_end_hides_no_other_error(
    store: Store,
    other: Store,
    unreachable: Callable[[Store], AbstractContextManager[None]],
    error: ZonebridgeError | None,
) -> None:
    refused = pytest.raises(ZonebridgeError, match="what went wrong") if error else nullcontext()
    with refused, ExitStack() as down, store.lease("eu", "alice", SHORT) as lease:
        down.enter_context(unreachable(store))
        if error:
            raise error
    assert lease.remaining() <= 0
    assert take(other, "bob") == 2


def test_nothing_is_recorded_under_a_lease_that_went_to_somebody_else(
    store: Store, other: Store
) -> None:
    apply(store.run("before"), "eu", create(WEB))
    run = store.run("alice")
    with store.lease("eu", "alice", LONG) as lease:
        [intent] = run.intend(lease, [create(DATABASE)], ORIGINS)
        pass_on(other, "bob on b")
        before, bodies = other.heads(), count(other)
        late = store.run("alice, late")
        for attempt in (
            lambda: late.intend(lease, [create(group("new"))], ORIGINS),
            lambda: late.adopt(lease, [create(group("new"))], ORIGINS),
            lambda: late.recover(lease, [(intent, group("new"))]),
        ):
            with pytest.raises(LeaseLostError, match="bob on b has taken the lease") as caught:
                attempt()
            assert caught.value.exit_code == 7
        late.finish("exit 7", {})
        assert (other.heads(), count(other)) == (before, bodies)
        # What became of its own intent is still true, while nobody has closed it.
        run.conclude([Conclusion(intent, Outcome.APPLIED)])
    assert sorted(names(other.written("eu"))) == ["db", "web"]
    verify(other, other.heads())


def test_a_successor_closes_what_its_predecessor_left_open(store: Store, other: Store) -> None:
    stale = store.run("alice")
    with store.lease("eu", "alice", LONG) as lease:
        [intent] = stale.intend(lease, [create(WEB)], ORIGINS)
    with other.lease("eu", "bob", LONG) as successor:
        [recovered] = other.run("bob").recover(successor, [(intent, WEB)])
    assert recovered.outcome == Outcome.APPLIED
    with pytest.raises(StoreError, match="closed already"):
        stale.conclude([Conclusion(intent, Outcome.UNKNOWN, "timed out")])
    verify(store, store.heads())


def test_an_expired_lease_cannot_be_taken_while_its_holder_commits(
    store: Store, other: Store
) -> None:
    taken: list[int] = []
    with store.lease("eu", "alice", LONG) as lease:
        with store.database.writing() as connection:
            connection.execute(text("UPDATE leases SET expires_at = 0"))
        with store.database.writing() as connection:
            lease.hold(connection)
            taking = Thread(target=lambda: taken.append(take(other, "bob")))
            taking.start()
            taking.join(timeout=0.3)
            assert taken == []
        taking.join()
        assert taken == [2]


def test_threads_that_race_for_a_free_lease_let_one_of_them_in(store: Store) -> None:
    together = Barrier(6)

    def attempt(number: int) -> int:
        together.wait()
        try:
            with store.lease("eu", f"thread {number}", LONG) as lease:
                together.wait()
                return lease.epoch
        except LeaseHeldError:
            together.wait()
            return 0

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(attempt, range(6))) == [0, 0, 0, 0, 0, 1]


class Waiter:
    """A monotonic clock that moves when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ahead(store: Store, ttl: timedelta, by: str = "4000000000") -> None:
    """A lease that was taken and left while the database's clock was ahead."""
    with store.lease("eu", "alice", ttl) as lease:
        lease.leave()
    with store.database.writing() as connection:
        connection.execute(text(f"UPDATE leases SET expires_at = expires_at + {by}"))


def test_a_lease_from_the_future_is_taken_when_it_stood_for_its_time_to_live(
    place: Place, store: Store
) -> None:
    clock = Waiter()
    ahead(store, timedelta(seconds=30))
    with place.open() as opened:
        other = replace(opened, waits=Waits(clock))
        # The holder's time to live counts, not the waiter's own.
        mine = timedelta(seconds=5)
        for seconds in (0.0, 15.0, 15.2):
            clock.now += seconds
            with pytest.raises(LeaseHeldError, match="ahead") as held, other.lease("eu", "b", mine):
                pass
        assert "lasts 0 s more" in str(held.value)
        clock.now += 0.2
        with other.lease("eu", "bob", mine) as lease:
            assert lease.epoch == 2
    assert other.waits.unchanged("eu", ("", 0, 0)) == 0.0


def test_a_lease_from_the_future_that_is_renewed_is_not_taken(place: Place, store: Store) -> None:
    clock = Waiter()
    with store.lease("eu", "alice", timedelta(hours=1)) as lease, place.open() as opened:
        other = replace(opened, waits=Waits(clock))
        for _ in range(5):
            with pytest.raises(LeaseHeldError), other.lease("eu", "bob", LONG):
                pass
            clock.now += 0.9 * 3600
            with store.database.writing() as connection:
                connection.execute(text("UPDATE leases SET expires_at = expires_at + 1"))
        assert other.leases()[0].epoch == lease.epoch
        # It let nobody in, and so it may still write.
        store.run("alice").intend(lease, [create(WEB)], ORIGINS)


def test_who_held_a_lease_from_the_future_writes_no_more(place: Place, store: Store) -> None:
    clock = Waiter()
    with store.lease("eu", "alice", LONG) as lease, place.open() as opened:
        with store.database.writing() as connection:
            connection.execute(text("UPDATE leases SET expires_at = expires_at + 4000000000"))
        other = replace(opened, waits=Waits(clock))
        with pytest.raises(LeaseHeldError), other.lease("eu", "bob", LONG):
            pass
        clock.now += 3640
        with (
            other.lease("eu", "bob", LONG),
            pytest.raises(LeaseLostError, match="bob has taken the lease"),
        ):
            store.run("alice").intend(lease, [create(WEB)], ORIGINS)


def test_status_has_since_when_a_lease_is_held_and_that_the_clock_was_ahead(store: Store) -> None:
    with store.lease("eu", "alice", LONG):
        [held] = store.leases()
        assert (held.holder, held.ahead, held.ttl) == ("alice", False, 3600.002)
        assert held.since.startswith("20")
        assert held.since.endswith("Z")
    ahead(store, LONG)
    [held] = store.leases()
    assert held.ahead


def test_a_lease_that_is_kept_is_gone_on_with_by_its_holder_alone(
    store: Store, other: Store
) -> None:
    with store.lease("eu", "alice", LONG) as lease:
        lease.keep()
    with pytest.raises(LeaseHeldError), other.lease("eu", "bob", LONG):
        pass
    with store.lease("eu", "alice", LONG) as again:
        assert (again.epoch, again.remaining() > 0) == (lease.epoch, True)
    # It was not kept a second time.
    with other.lease("eu", "bob", LONG) as lease:
        lease.keep()
    other.release_kept()
    for holder, ttl in (("alice", LONG), ("carol", LONG), ("carol", SHORT)):
        # Another holder, or another time to live, is another lease.
        with store.lease("eu", holder, ttl) as lease:
            lease.keep()
    store.release_kept()
    assert take(other, "bob") == lease.epoch + 1


def test_a_kept_lease_is_renewed(store: Store) -> None:
    with store.lease("eu", "alice", SHORT) as lease:
        lease.keep()
    before = expires_at(store)
    eventually(lambda: expires_at(store) > before)
    store.release_kept()
    assert expires_at(store) == 0


def test_a_lease_with_a_request_under_way_is_not_kept(store: Store) -> None:
    with store.lease("eu", "alice", LONG) as lease:
        lease.keep()
        lease.leave()
    with pytest.raises(LeaseHeldError), store.lease("eu", "alice", LONG):
        pass


def test_a_lease_that_was_lost_is_not_kept(store: Store, other: Store) -> None:
    with store.lease("eu", "alice", SHORT) as lease:
        lease.keep()
        pass_on(other, "bob")
        eventually(lambda: lease.remaining() <= 0)
    assert store.kept == {}


def test_a_kept_lease_that_somebody_else_took_is_not_gone_on_with(
    store: Store, other: Store
) -> None:
    with store.lease("eu", "alice", SHORT) as lease:
        lease.keep()
    pass_on(other, "bob")
    with other.database.writing() as connection:
        connection.execute(text("UPDATE leases SET expires_at = expires_at + 3600000"))
    eventually(lambda: lease.remaining() <= 0)
    with pytest.raises(LeaseHeldError, match="bob"), store.lease("eu", "alice", SHORT):
        pass

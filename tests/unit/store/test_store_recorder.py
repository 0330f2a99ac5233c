"""What a run records of intents, outcomes and recoveries, and what the store believes after it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from sync.errors import StoreError
from sync.plan.origin import Origin
from sync.store import (
    BATCH,
    Conclusion,
    Kind,
    Outcome,
    Record,
    Recorder,
    Store,
    audit,
)
from sync.store.audit import Filter
from sync.store.records import hash_of
from sync.store.verification import verify
from tests.unit.store.words import (
    DATABASE,
    LONG,
    ORIGINS,
    START,
    WEB,
    WIDER,
    Place,
    apply,
    create,
    delete,
    group,
    intend,
    names,
    recover,
    ticking,
    update,
)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open(clock=ticking()) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Recorder:
    return store.run("alice")


def test_what_was_applied_is_what_we_believe(store: Store, run: Recorder) -> None:
    apply(run, "eu", create(WEB), create(DATABASE))
    apply(run, "eu", update(WEB, WIDER), delete(DATABASE))
    apply(run, "us", create(WEB))
    assert store.written("eu") == {("GlobalNetworkSet", "web"): WIDER}
    assert store.written("us") == {("GlobalNetworkSet", "web"): WEB}
    assert store.digests("eu") == {("GlobalNetworkSet", "web"): WIDER.digest}
    assert store.written("nowhere") == {}
    assert store.digests("nowhere") == {}


def test_an_intent_is_open_until_it_is_concluded(store: Store, run: Recorder) -> None:
    intents = intend(run, "eu", [create(WEB), create(DATABASE)])
    assert store.open_intents("eu") == intents
    assert store.open_intents("us") == []
    run.conclude([Conclusion(intents[0], Outcome.APPLIED)])
    assert store.open_intents("eu") == intents[1:]


@pytest.mark.parametrize("outcome", [Outcome.NOT_APPLIED, Outcome.FAILED])
def test_what_was_not_applied_changes_nothing_we_believe(
    store: Store, run: Recorder, outcome: Outcome
) -> None:
    apply(run, "eu", create(WEB))
    intents = intend(run, "eu", [update(WEB, WIDER)])
    [record] = run.conclude([Conclusion(intents[0], outcome, "409 Conflict", found=DATABASE)])
    assert (record.error, record.found) == ("409 Conflict", DATABASE.digest)
    assert store.written("eu") == {("GlobalNetworkSet", "web"): WEB}
    assert store.open_intents("eu") == []


def test_an_unknown_outcome_leaves_the_intent_open_until_the_object_is_read(
    store: Store, run: Recorder
) -> None:
    intents = intend(run, "eu", [create(WEB)])
    run.conclude([Conclusion(intents[0], Outcome.UNKNOWN, "timed out")])
    assert store.open_intents("eu") == intents
    assert recover(run, intents[0], WEB).outcome == Outcome.APPLIED
    assert store.open_intents("eu") == []


def test_a_recovery_tells_what_became_of_the_intent(store: Store, run: Recorder) -> None:
    apply(run, "eu", create(WEB))
    for found, outcome in (
        (WEB, Outcome.NOT_APPLIED),
        (None, Outcome.UNKNOWN),
        (group("web", "192.0.2.0/24"), Outcome.UNKNOWN),
        (WIDER, Outcome.APPLIED),
    ):
        [intent] = intend(run, "eu", [update(WEB, WIDER)])
        record = recover(run, intent, found)
        assert (record.kind, record.outcome, record.intent) == (
            "recovered",
            outcome,
            intent.sequence,
        )
        assert store.written("eu").get(("GlobalNetworkSet", "web")) == found
        assert audit.show(store, "eu", record.sequence).found == found
    verify(store, store.heads())


def test_what_was_left_open_is_recovered_in_one_transaction(store: Store, run: Recorder) -> None:
    intents = intend(run, "eu", [create(WEB), create(DATABASE)])
    [of_another] = intend(run, "us", [create(WEB)])
    with store.lease("eu", "alice", LONG) as lease:
        assert run.recover(lease, []) == []
        before = store.heads()
        with pytest.raises(StoreError, match="closed already"):
            run.recover(lease, [(intents[0], WEB), (intents[1], None), (intents[0], WEB)])
        with pytest.raises(ValueError, match="several clusters"):
            run.recover(lease, [(intents[0], WEB), (of_another, WEB)])
        assert store.heads() == before
        assert store.open_intents("eu") == intents
        recovered = run.recover(lease, [(intents[0], WEB), (intents[1], None)])
    assert [record.outcome for record in recovered] == [Outcome.APPLIED, Outcome.NOT_APPLIED]
    assert store.open_intents("eu") == []
    assert names(store.written("eu")) == ["web"]
    verify(store, store.heads())


def test_an_intent_is_closed_once_and_a_second_time_changes_nothing(
    store: Store, run: Recorder
) -> None:
    intents = intend(run, "eu", [create(WEB), create(DATABASE)])
    run.conclude([Conclusion(intents[0], Outcome.APPLIED)])
    before = store.heads()
    with pytest.raises(StoreError, match="closed already"):
        run.conclude([Conclusion(intent, Outcome.APPLIED) for intent in reversed(intents)])
    with pytest.raises(StoreError, match="closed already"):
        run.conclude([Conclusion(intents[1], Outcome.APPLIED)] * 2)
    with pytest.raises(StoreError, match="closed already"):
        recover(run, intents[0], WEB)
    assert store.heads() == before
    assert names(store.written("eu")) == ["web"]


def test_what_happens_to_one_cluster_is_nothing_to_another(store: Store, run: Recorder) -> None:
    apply(run, "eu", create(WEB))
    apply(run, "us", create(WEB))
    [closed] = intend(run, "eu", [delete(WEB)])
    [left] = intend(run, "us", [delete(WEB)])
    assert closed.sequence == left.sequence
    run.conclude([Conclusion(closed, Outcome.APPLIED)])
    assert store.open_intents("us") == [left]
    assert names(store.written("us")) == ["web"]
    # The other one's, which is open, has the same sequence.
    with pytest.raises(StoreError, match="closed already"):
        run.conclude([Conclusion(closed, Outcome.APPLIED)])


def test_a_batch_is_at_most_64_changes_of_one_cluster(run: Recorder) -> None:
    changes = [create(group(f"set-{number}")) for number in range(BATCH + 1)]
    with pytest.raises(ValueError, match="65 changes"):
        intend(run, "eu", changes)
    assert intend(run, "eu", []) == []
    assert run.conclude([]) == []
    several = [
        *intend(run, "eu", changes[:1]),
        *intend(run, "us", changes[:1]),
    ]
    with pytest.raises(ValueError, match="several clusters"):
        run.conclude([Conclusion(intent, Outcome.APPLIED) for intent in several])


def test_an_intent_says_what_is_behind_it(store: Store, run: Recorder) -> None:
    change = create(WEB, rules=("allow web", "allow db"), groups=("g-web",))
    [intent] = intend(run, "eu", [change])
    expected = Record(
        chain="eu",
        sequence=1,
        time="2026-03-03T12:00:01.000000Z",
        run=run.id,
        kind=Kind.INTENT,
        trigger="alice",
        cluster="eu",
        object_kind="GlobalNetworkSet",
        object_name="web",
        action="create",
        cause="configuration",
        after=WEB.digest,
        firewall_version="main 412",
        administrators=("alice", "bob"),
        description="let the web farm grow",
        rules=("allow web", "allow db"),
        groups=("g-web",),
        previous_hash="0" * 64,
    )
    assert intent == expected._replace(hash=hash_of(expected))
    assert audit.show(store, "eu", 1) == audit.Shown(intent, None, WEB, None)


def test_an_intent_names_the_commits_of_every_source(run: Recorder) -> None:
    lab = Origin("lab", "7", ("carol", "bob"), "cables")
    [intent] = intend(run, "eu", [create(WEB)], [*ORIGINS, lab])
    assert intent.firewall_version == "main 412; lab 7"
    assert intent.administrators == ("alice", "bob", "carol")
    assert intent.description == "let the web farm grow; cables"


def test_a_run_is_recorded_from_its_beginning_to_its_end(store: Store, run: Recorder) -> None:
    run.blocked("eu", ["mass-delete", "set-shrink"], "d" * 64)
    run.finish("blocked", {"failed": 0, "applied": 3}, "one cluster waits")
    begun, ended = audit.records(store, Filter(kind="run"))
    [blocked] = audit.records(store, Filter(kind="blocked"))
    assert (begun.chain, begun.action, begun.trigger) == ("_service", "begin", "alice")
    assert (ended.outcome, ended.detail) == ("blocked", "applied=3 failed=0")
    assert (blocked.chain, blocked.plan) == ("eu", "d" * 64)
    assert blocked.detail == "mass-delete, set-shrink"
    assert {begun.run, ended.run, blocked.run} == {run.id}


def test_a_blocked_plan_is_recorded_once_until_something_else_happens(
    store: Store, run: Recorder
) -> None:
    for plan in ("a", "a", "b", "a", "a"):
        run.blocked("eu", ["mass-delete"], plan * 64)
    apply(run, "eu", create(WEB))
    run.blocked("eu", ["mass-delete"], "a" * 64)
    blocked = audit.records(store, Filter(kind="blocked"))
    assert [record.plan[0] for record in blocked] == ["a", "b", "a", "a"]


def test_a_run_that_records_nothing_leaves_no_trace(store: Store, run: Recorder) -> None:
    with store.lease("eu", "alice", LONG) as lease:
        run.adopt(lease, [], ORIGINS)
        assert run.intend(lease, [], ORIGINS) == run.recover(lease, []) == run.conclude([]) == []
    run.finish("done", {"applied": 0})
    assert not run.begun
    assert store.heads() == ()


def test_a_run_begins_once(store: Store, run: Recorder) -> None:
    run.begin()
    run.begin()
    assert run.begun
    run.finish("done", {})
    actions = [record.action for record in audit.records(store, Filter())]
    assert actions == ["begin", "finish"]


def test_a_run_whose_first_record_fails_begins_with_the_next_one(
    store: Store, run: Recorder
) -> None:
    [intent] = intend(store.run("bob"), "eu", [create(WEB)])
    with pytest.raises(StoreError, match="closed already"):
        run.conclude([Conclusion(intent, Outcome.APPLIED)] * 2)
    assert [record.run for record in audit.records(store, Filter(kind="run"))] == [intent.run]
    run.conclude([Conclusion(intent, Outcome.APPLIED)])
    assert [record.run for record in audit.records(store, Filter(kind="run"))] == [
        intent.run,
        run.id,
    ]


def test_the_threads_of_a_run_begin_it_once(store: Store, run: Recorder) -> None:
    clusters = [f"cluster-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(clusters)) as threads:
        list(threads.map(lambda cluster: apply(run, cluster, create(WEB)), clusters))
    [begun] = audit.records(store, Filter(kind="run"))
    assert begun.run == run.id
    assert verify(store, store.heads()).records == 1 + 2 * len(clusters)


def test_a_clock_that_goes_backwards_does_not_take_the_trail_with_it(place: Place) -> None:
    times = iter([START, START, START - timedelta(hours=1), START - timedelta(hours=2), START])
    with place.open(clock=lambda: next(times)) as store:
        run = store.run("alice")
        run.begin()
        run.finish("succeeded", {})
        assert [record.time for record in audit.records(store, Filter())] == [
            "2026-03-03T12:00:00.000000Z"
        ] * 2
        verify(store)


def test_hostile_text_does_not_cost_a_record(store: Store, run: Recorder) -> None:
    hostile = "a\0b \ud800 \x01 \U0001f512 ' \" \\ %s :x"
    change = create(WEB, rules=(hostile, '","'), groups=(hostile,))
    [intent] = intend(run, "eu", [change], [replace(ORIGINS[0], description=hostile)])
    run.conclude([Conclusion(intent, Outcome.FAILED, hostile)])
    [outcome] = audit.records(store, Filter(kind="outcome"))
    assert outcome.error == outcome.rules[0] == "a␀b \ufffd \x01 \U0001f512 ' \" \\ %s :x"
    verify(store, store.heads())

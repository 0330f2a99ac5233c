"""The store's behaviour, the same on SQLite and on PostgreSQL."""

import signal
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from sync.errors import StoreError
from sync.plan.plan import Origin
from sync.store import (
    BATCH,
    Conclusion,
    HalfWritten,
    Kind,
    Outcome,
    Record,
    Recorder,
    Store,
    StoredStatus,
    audit,
    open_store_read_only,
    source_cache,
)
from sync.store.audit import Filter
from sync.store.records import hash_of, stamp
from sync.store.verification import verify
from tests.unit.store.words import (
    LONG,
    ORIGINS,
    START,
    Place,
    apply,
    create,
    delete,
    exported,
    group,
    intend,
    names,
    recover,
    ticking,
    update,
)

WEB = group("web", "10.0.0.0/8")
WIDER = group("web", "10.0.0.0/7")
DATABASE = group("db", "10.1.0.0/16")
MOST = 1 << 16
AFTER = [START + timedelta(seconds=number) for number in range(4)]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place.of(request, tmp_path)


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
        time="2026-03-03T12:00:02.000000Z",
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


def test_the_trail_is_filtered_by_what_a_record_is_about(store: Store, run: Recorder) -> None:
    apply(run, "eu", create(WEB, rules=("allow web", 'a "quoted" one'), groups=("g1",)))
    apply(run, "us", create(DATABASE, rules=("Allow web", "web"), groups=("g1,g2",)))

    def found(wanted: Filter) -> list[str]:
        return [
            record.object_name for record in audit.records(store, replace(wanted, kind="outcome"))
        ]

    assert found(Filter()) == ["web", "db"]
    assert found(Filter(cluster="us")) == ["db"]
    assert found(Filter(object_kind="GlobalNetworkSet", object_name="web")) == ["web"]
    assert found(Filter(rule="allow web")) == ["web"]
    assert found(Filter(rule="web")) == ["db"]
    assert found(Filter(rule='a "quoted" one')) == ["web"]
    assert found(Filter(rule="quoted")) == []
    assert found(Filter(group="g1")) == ["web"]
    assert found(Filter(administrator="bob")) == ["web", "db"]
    assert found(Filter(administrator="carol")) == []
    assert found(Filter(outcome="applied")) == ["web", "db"]
    assert found(Filter(since=START + timedelta(seconds=5))) == ["db"]
    assert found(Filter(until=START + timedelta(seconds=5))) == ["web"]


def test_the_trail_is_listed_oldest_or_newest_first(store: Store, run: Recorder) -> None:
    apply(run, "eu", create(WEB))
    oldest = list(audit.records(store, Filter()))
    assert [record.chain for record in oldest] == ["_service", "eu", "eu"]
    newest = audit.records(store, Filter(), newest_first=True, limit=2)
    assert list(newest) == oldest[:0:-1]


def test_an_exported_line_can_be_verified_without_the_store(store: Store, run: Recorder) -> None:
    for number in range(20):
        apply(run, "eu", *(create(group(f"set-{number}-{part}")) for part in range(BATCH)))
    previous = "0" * 64
    lines = list(audit.export(store, Filter(cluster="eu")))
    assert len(lines) == 20 * BATCH * 2
    for line in lines:
        record = exported(line)
        assert (record.previous_hash, record.hash) == (previous, hash_of(record))
        previous = record.hash


def test_objects_are_shown_as_they_were(store: Store, run: Recorder) -> None:
    moments = {}
    for label, change in (
        ("created", create(WEB)),
        ("two", create(DATABASE)),
        ("widened", update(WEB, WIDER)),
        ("deleted", delete(DATABASE)),
    ):
        [outcome] = apply(run, "eu", change)
        moments[label] = START.fromisoformat(outcome.time)
    web, db = ("GlobalNetworkSet", "web"), ("GlobalNetworkSet", "db")
    assert audit.at(store, "eu", moments["created"] - timedelta(microseconds=1)) == {}
    assert audit.at(store, "eu", moments["created"]) == {web: WEB}
    assert audit.at(store, "eu", moments["two"]) == {db: DATABASE, web: WEB}
    assert audit.at(store, "eu", moments["widened"]) == {db: DATABASE, web: WIDER}
    assert audit.at(store, "eu", moments["deleted"]) == store.written("eu") == {web: WIDER}


def test_a_record_that_is_not_there_is_said_so(store: Store) -> None:
    with pytest.raises(StoreError, match="chain eu has no record 7"):
        audit.show(store, "eu", 7)


def test_a_store_opened_to_look_sees_the_same(place: Place, store: Store, run: Recorder) -> None:
    apply(run, "eu", create(WEB))
    with open_store_read_only(place.url, password=place.password) as reader:
        assert reader.uuid == store.uuid
        assert reader.written("eu") == store.written("eu")
        assert reader.heads() == store.heads()
        assert verify(reader, store.heads()).records == 3
        with pytest.raises(StoreError, match="reading only"):
            reader.run("bob").begin()


def test_two_processes_that_append_at_once_keep_one_chain(place: Place) -> None:
    script = (
        "run = store.run('test')\n"
        "for n in range(30):\n"
        "    run.blocked('eu', ['mass-delete'], f'{run.id} {n}')\n"
        "    apply(run, run.id, create(group(f'{n}')), create(group('x')))\n"
    )
    writers = [place.start(script) for _ in range(2)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with place.open() as store:
        assert verify(store, store.heads()).records == 2 + 2 * 30 * 5
        assert [head.sequence for head in store.heads() if head.chain == "eu"] == [2 * 30]


def test_a_kill_between_intent_and_outcome_leaves_open_intents_and_nothing_else(
    place: Place,
) -> None:
    script = (
        "run = store.run('test')\n"
        "apply(run, 'eu', create(group('old')))\n"
        "intend(run, 'eu', [create(group('web')), delete(group('old'))])\n"
        "print('intended', flush=True)\n"
        "time.sleep(60)\n"
    )
    with place.start(script) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"intended\n"
        writer.send_signal(signal.SIGKILL)
    with place.open() as store:
        assert [intent.object_name for intent in store.open_intents("eu")] == ["web", "old"]
        assert names(store.written("eu")) == ["old"]
        verify(store, store.heads())
        recovery = store.run("test")
        for intent in store.open_intents("eu"):
            recover(recovery, intent, None)
        assert store.written("eu") == {}
        assert store.open_intents("eu") == []
        verify(store, store.heads())


def test_a_standing_is_overwritten_and_keeps_when_it_last_succeeded(
    place: Place, store: Store
) -> None:
    store.stand("source", "main", state="failed", detail="a\0b \ud800", succeeded=False)
    store.stand("cluster", "eu", state="done", detail="3 applied", succeeded=True)
    store.stand("cluster", "eu", state="blocked", detail="mass-delete", succeeded=False)
    expected = [
        StoredStatus("cluster", "eu", stamp(AFTER[3]), stamp(AFTER[2]), "blocked", "mass-delete"),
        StoredStatus("source", "main", stamp(AFTER[1]), "", "failed", "a␀b \ufffd"),
    ]
    assert store.standings() == expected
    with open_store_read_only(place.url, password=place.password) as reader:
        assert reader.standings() == expected
        with pytest.raises(StoreError, match="reading only"):
            reader.stand("cluster", "eu", state="done", detail="", succeeded=True)
    assert verify(store).records == 0


def test_a_cluster_is_half_written_from_its_first_write_to_its_next_success(
    store: Store, run: Recorder
) -> None:
    web, database = (("GlobalNetworkSet", name) for name in ("web", "db"))

    def stand(state: str) -> None:
        store.stand("cluster", "eu", state=state, detail="", succeeded=state == "in sync")

    assert store.half_written("eu") is None
    first, second = intend(run, "eu", [create(WEB), create(DATABASE)])
    opened = "nobody knows yet whether it was written"
    assert store.half_written("eu") == HalfWritten(
        first.time, 0, ((*web, opened), (*database, opened))
    )
    # What was refused as a whole leaves the cluster as it was.
    run.conclude([Conclusion(each, Outcome.FAILED, "403") for each in (first, second)])
    stand("failed")
    assert store.half_written("eu") is None
    apply(run, "eu", create(WEB))
    stand("failed")
    expected = HalfWritten(first.time, 1, ((*database, "403"),))
    assert store.half_written("eu") == expected
    # That later ones come to nothing, or to no end, changes nothing of that.
    stand("blocked")
    assert store.half_written("eu") == expected
    assert store.half_written("us") is None
    apply(run, "eu", create(DATABASE))
    assert store.half_written("eu") == HalfWritten(first.time, 2, ())
    stand("in sync")
    assert store.half_written("eu") is None


def test_a_clock_that_goes_back_leaves_no_cluster_half_written(place: Place) -> None:
    with place.open(clock=lambda: AFTER[3]) as store:
        apply(store.run("alice"), "eu", create(WEB))
    with place.open(clock=lambda: AFTER[0]) as store:
        store.stand("cluster", "eu", state="in sync", detail="", succeeded=True)
        assert store.half_written("eu") is None


def test_what_a_source_was_told_is_found_again_and_overwritten(place: Place, store: Store) -> None:
    memory, other = store.memory("main"), store.memory("other")
    assert memory.recall("list", "a") is None
    memory.remember("list", "a", b"one")
    memory.remember("list", "a\0\ud800", b"\0\xff")
    memory.remember("names", "a", b"")
    other.remember("list", "a", b"theirs")
    memory.remember("list", "a", b"two")
    with open_store_read_only(place.url, password=place.password) as reader:
        for opened in (store, reader):
            found = opened.memory("main")
            names = [("list", "a"), ("list", "a\0\ud800"), ("names", "a"), ("names", "b")]
            assert [found.recall(*each) for each in names] == [b"two", b"\0\xff", b"", None]
            assert opened.memory("other").recall("list", "a") == b"theirs"


def test_a_store_that_is_only_looked_at_remembers_nothing(place: Place, store: Store) -> None:
    store.memory("main").remember("list", "a", b"one")
    with open_store_read_only(place.url, password=place.password) as reader:
        reader.memory("main").remember("list", "a", b"two")
        assert reader.memory("main").recall("list", "a") == b"one"


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"one", id="no zlib"),
        pytest.param(zlib.compress(b"one")[:-1], id="cut off"),
        pytest.param(zlib.compress(b"one") + b"x", id="more behind it"),
        pytest.param(zlib.compress(bytes(2 * MOST)), id="too large"),
    ],
)
def test_what_is_damaged_is_as_if_it_were_not_there(
    store: Store, monkeypatch: pytest.MonkeyPatch, damaged: bytes
) -> None:
    monkeypatch.setattr(source_cache, "_MAX_BYTES", MOST)
    memory = store.memory("main")
    memory.remember("list", "a", bytes(MOST))
    assert memory.recall("list", "a") == bytes(MOST)
    with store.database.writing() as connection:
        connection.execute(text("UPDATE memories SET zlib = :zlib"), {"zlib": damaged})
    assert memory.recall("list", "a") is None


def test_in_the_place_of_what_is_too_large_nothing_is_remembered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_cache, "_MAX_BYTES", MOST)
    memory = store.memory("main")
    memory.remember("list", "a", b"one")
    memory.remember("list", "a", bytes(MOST + 1))
    assert memory.recall("list", "a") == b""

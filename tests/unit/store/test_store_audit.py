"""The trail as it is filtered, listed, exported and shown."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from sync.errors import StoreError
from sync.store import (
    BATCH,
    Recorder,
    Store,
    audit,
    open_store,
    open_store_read_only,
)
from sync.store.audit import Filter
from sync.store.bodies import CHUNK
from sync.store.models import Records
from sync.store.records import hash_of
from sync.store.verification import verify
from tests.unit.store.words import (
    DATABASE,
    START,
    WEB,
    WIDER,
    Place,
    apply,
    create,
    delete,
    exported,
    group,
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
    assert found(Filter(since=START + timedelta(seconds=4))) == ["db"]
    assert found(Filter(until=START + timedelta(seconds=4))) == ["web"]


def test_a_name_is_searched_in_an_index(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/store.db", clock=ticking()) as store:
        apply(store.run("alice"), "eu", create(WEB, rules=("allow web",)))
        query = select(Records).where(*Filter(rule="allow web").conditions())
        with store.database.reading() as connection:
            written = query.order_by(Records.time).compile(connection.engine)
            rows = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {written}", tuple(written.params.values())
            )
            steps = [step for *_, step in rows]
    assert any("SEARCH names USING" in step for step in steps), steps
    assert any("SEARCH records USING INDEX" in step for step in steps), steps


def test_the_trail_is_listed_oldest_or_newest_first(store: Store, run: Recorder) -> None:
    apply(run, "eu", create(WEB))
    oldest = list(audit.records(store, Filter()))
    assert [record.chain for record in oldest] == ["_service", "eu", "eu"]
    newest = audit.records(store, Filter(), newest_first=True, limit=2)
    assert list(newest) == oldest[:0:-1]


def test_an_exported_line_can_be_verified_without_the_store(store: Store, run: Recorder) -> None:
    for number in range(9):
        apply(run, "eu", *(create(group(f"set-{number}-{part}")) for part in range(BATCH)))
    previous = "0" * 64
    lines = list(audit.export(store, Filter(cluster="eu")))
    assert len(lines) == 9 * BATCH * 2 > 2 * CHUNK
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

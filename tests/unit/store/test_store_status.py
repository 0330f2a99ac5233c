"""The status of clusters and sources, and the source cache: overwritten, no part of the trail."""

import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from sync.errors import StoreError
from sync.store import (
    Conclusion,
    HalfWritten,
    Outcome,
    Recorder,
    Store,
    StoredStatus,
    open_store_read_only,
)
from sync.store.records import stamp
from sync.store.verification import verify
from tests.unit.store.words import (
    DATABASE,
    START,
    WEB,
    Place,
    apply,
    create,
    intend,
    ticking,
)

MOST = 1 << 16
AFTER = [START + timedelta(seconds=number) for number in range(4)]


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open(clock=ticking()) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Recorder:
    return store.run("alice")


def test_a_standing_is_overwritten_and_keeps_when_it_last_succeeded(
    place: Place, store: Store
) -> None:
    store.stand("source", "main", state="failed", detail="a\0b \ud800", succeeded=False)
    store.stand("cluster", "eu", state="done", detail="3 applied", succeeded=True)
    store.stand("cluster", "eu", state="blocked", detail="mass-delete", succeeded=False)
    expected = [
        StoredStatus("cluster", "eu", stamp(AFTER[2]), stamp(AFTER[1]), "blocked", "mass-delete"),
        StoredStatus("source", "main", stamp(AFTER[0]), "", "failed", "a␀b \ufffd"),
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
    opened = "its outcome is not known yet"
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
def test_what_is_damaged_is_as_if_it_were_not_there(store: Store, damaged: bytes) -> None:
    memory = replace(store.memory("main"), max_bytes=MOST)
    memory.remember("list", "a", bytes(MOST))
    assert memory.recall("list", "a") == bytes(MOST)
    with store.database.writing() as connection:
        connection.execute(text("UPDATE memories SET zlib = :zlib"), {"zlib": damaged})
    assert memory.recall("list", "a") is None


def test_in_the_place_of_what_is_too_large_nothing_is_remembered(
    store: Store,
) -> None:
    memory = replace(store.memory("main"), max_bytes=MOST)
    memory.remember("list", "a", b"one")
    memory.remember("list", "a", bytes(MOST + 1))
    assert memory.recall("list", "a") == b""

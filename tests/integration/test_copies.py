"""Two processes with copies of one store, and one whose store was restored: who is stopped."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import yaml

from sync.calico.names import RECORD_ANNOTATION, WRITER_ANNOTATION
from sync.cli.exit_codes import of_sync
from sync.reconcile.copied_store import CopiedStoreError
from sync.reconcile.result import Result
from sync.store import Head, Kind, Store
from tests.integration.test_cycle import DB, KIND, WEB, A, B, C, KnownCluster, World, changed
from tests.unit.store.words import new_store, ticking
from tests.words import address, group

MOVED = address("b", "10.0.0.4")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path, "store") as store:
        found = World(tmp_path, store)
        found.keep_in_memory()
        found.export(A, B, C, WEB, DB)
        found.sync()
        yield found


@pytest.fixture
def other(world: World) -> Iterator[World]:
    """The same cluster, synced with a copy of the store as it is now."""
    copy(world.path, "store", "copy")
    with opened(world.path, "copy") as store:
        yield World(world.path, store, kept=world.kept)


def opened(path: Path, name: str) -> Store:
    return new_store(path / f"{name}.db", clock=ticking())


def copy(path: Path, name: str, to: str) -> None:
    with (
        closing(sqlite3.connect(path / f"{name}.db")) as source,
        closing(sqlite3.connect(path / f"{to}.db")) as target,
    ):
        source.backup(target)


def refused(world: World) -> str:
    """What a sync says that writes nothing and records nothing of the cluster, nor does a plan."""
    cluster, trail = world.kept["prod"], world.trail()
    wrote, stands = list(cluster.writes), dict(cluster.documents)
    planned, result = world.only(dry=True), world.only()
    assert isinstance(result.error, CopiedStoreError)
    assert isinstance(planned.error, CopiedStoreError)
    assert of_sync([planned], detailed=False) == of_sync([result], detailed=False) == 8
    assert (cluster.writes, cluster.documents, world.trail()) == (wrote, stands, trail)
    return str(result.error)


def named(document: dict[str, Any]) -> Head:
    return Head.parse(document["metadata"]["annotations"][RECORD_ANNOTATION])


def annotate(cluster: KnownCluster, name: str, **annotations: str) -> None:
    metadata = cluster.documents[KIND, name]["metadata"]
    metadata["annotations"] = {**metadata["annotations"], **annotations}


def test_each_object_names_the_intent_that_it_was_written_under_and_who_wrote_it(
    world: World,
) -> None:
    cluster = world.kept["prod"]
    world.export(A, MOVED, C, WEB, DB)
    world.sync()
    intents = {each.object_name: each for each in world.trail() if each.kind == Kind.INTENT}
    assert len(cluster.documents) == 4
    for (_, name), document in cluster.documents.items():
        intent = intents[name]
        assert named(document) == Head("prod", intent.sequence, intent.hash)
        assert document["metadata"]["annotations"][WRITER_ANNOTATION] == "test"
    assert changed(world.only()) == []


def test_a_file_names_its_record_too_and_is_no_other_object_for_it(world: World) -> None:
    del world.kept["prod"]
    world.export(A, B, WEB)
    world.sync()
    before = world.files()
    document = yaml.safe_load(before["pan.web.yaml"])
    assert not world.store.lacking([named(document)])
    assert changed(world.only()) == []
    assert world.files() == before


def test_what_takes_the_stamp_off_is_no_drift(world: World) -> None:
    del world.kept["prod"].documents[KIND, "pan.web"]["metadata"]["annotations"][RECORD_ANNOTATION]
    assert changed(world.only()) == []


def test_the_one_with_the_copy_is_stopped_once_the_other_has_written(
    world: World, other: World
) -> None:
    # As long as nobody has written anything, they are one and the same.
    assert changed(world.only()) == changed(other.only()) == []
    world.export(A, MOVED, C, WEB, DB)
    assert changed(world.only())
    record = named(world.kept["prod"].documents[KIND, "pan.web"])
    said = refused(other)
    for part in (
        f"prod: {KIND} pan.web was written by test, under record {record.sequence}:{record.hash}",
        " of chain prod, which the store",
        f"{other.store.database.place} ({other.store.uuid}) does not hold",
        "by test; bring the newest copy back",
        "`zonebridge sync --adopt --cluster prod`",
    ):
        assert part in said
    world.export(A, B, C, WEB, DB)
    assert changed(world.only())
    refused(other)


def test_two_that_write_side_by_side_are_both_stopped_at_their_next_sync(
    world: World, other: World
) -> None:
    cluster, results, one = world.kept["prod"], list[Result](), Lock()
    other.kept = {"prod": KnownCluster(world.owner, cluster.documents)}

    def meanwhile(name: str) -> None:
        del name
        # The one has read by now, and is about to write both sets.
        with one:
            if not results:
                other.export(A, MOVED, C, WEB, DB)
                results.append(other.only())

    cluster.before_write = meanwhile
    world.export(A, MOVED, address("c", "10.0.0.6"), WEB, DB)
    mine = world.only()
    assert [each.name for each in results[0].applied] == ["pan.web"]
    assert [each.name for each in mine.applied] == ["pan.db"]
    assert [each.name for each, _ in mine.failed] == ["pan.web"]
    refused(world)
    refused(other)


def test_a_copy_that_deletes_is_noticed_when_the_other_has_written_it_again(
    world: World, other: World
) -> None:
    world.export(A, B, C, WEB)
    assert changed(other.only())
    world.export(A, B, C, WEB, DB)
    assert changed(world.only())
    refused(other)
    assert changed(world.only()) == []


def test_a_store_restored_from_an_older_copy_is_noticed_without_a_head_file(
    world: World,
) -> None:
    copy(world.path, "store", "backup")
    world.export(A, MOVED, C, WEB, DB)
    world.sync()
    world.store.close()
    copy(world.path, "backup", "store")
    with opened(world.path, "store") as store:
        world.store = store
        assert "restored from an older copy" in refused(world)


@pytest.mark.parametrize("repair_drift", [True, False])
def test_the_one_that_is_to_go_on_takes_over_what_the_other_wrote(
    world: World, other: World, *, repair_drift: bool
) -> None:
    world.export(A, MOVED, C, WEB, DB, group("new", "a"), group("same", "c"))
    world.sync()
    cluster = world.kept["prod"]
    # One is wanted as it stands, one otherwise, one not at all; and one the copy wrote itself.
    other.export(A, B, C, WEB, DB, group("same", "c"))
    other.repair_drift = repair_drift
    refused(other)
    other.settings = {"adopt": True}
    cluster.writes.clear()
    planned = other.only(dry=True)
    assert changed(other.only())
    assert planned.plan
    assert {each.name for each in planned.plan.changes} == {"pan.new", "pan.same", "pan.web"}
    assert sorted(cluster.writes) == [
        ("delete", "pan.new"),
        ("replace", "pan.same"),
        ("replace", "pan.web"),
    ]
    assert not other.store.lacking(map(named, cluster.documents.values()))
    other.settings = {}
    cluster.writes.clear()
    assert changed(other.only()) == []
    assert cluster.writes == []
    assert other.verified()
    refused(world)


@pytest.mark.parametrize(
    "record",
    ["", "7", "x", "prod 7:abc", f"prod {'9' * 5000}:{'a' * 64}", f"7:{'a' * 64}", "7:" * 40],
)
def test_what_is_no_record_says_nothing(world: World, record: str) -> None:
    annotate(world.kept["prod"], "pan.web", **{RECORD_ANNOTATION: record})
    assert changed(world.only()) == []


@pytest.mark.parametrize("chain", ["prod", "gone", "a\0b", "_service", "x" * 5000])
@pytest.mark.parametrize("sequence", [0, 1, 10**18 - 1])
def test_a_record_that_is_not_held_is_told_whatever_it_is_called(
    world: World, chain: str, sequence: int
) -> None:
    record = f"{chain} {sequence}:{'a' * 64}"
    annotate(world.kept["prod"], "pan.web", **{RECORD_ANNOTATION: record})
    said = refused(world)
    assert "\0" not in said
    assert len(said) < 1500


def test_who_wrote_it_is_told_as_what_a_server_says_is(world: World) -> None:
    record = f"prod 99:{'a' * 64}"
    annotate(
        world.kept["prod"],
        "pan.web",
        **{RECORD_ANNOTATION: record, WRITER_ANNOTATION: "\x1b[2J <b>token=abcdef</b>"},
    )
    said = refused(world)
    assert "\x1b" not in said
    assert "abcdef" not in said


def test_objects_of_an_entry_that_was_renamed_name_records_of_its_old_chain(world: World) -> None:
    world.stands_for["renamed"] = world.stands_for.pop("prod")
    world.kept["renamed"] = world.kept.pop("prod")
    result = world.only()
    assert result.succeeded
    assert result.plan
    assert len(result.plan.adopted) == 4


def test_objects_that_are_not_ours_are_not_looked_at(world: World) -> None:
    annotate(world.kept["prod"], "pan.web", **{RECORD_ANNOTATION: f"prod 99:{'a' * 64}"})
    world.kept["prod"].documents[KIND, "pan.web"]["metadata"]["labels"] = {}
    world.export(A, B, C, DB)
    assert world.only().succeeded


def test_replicas_of_one_store_take_over_from_one_another(world: World) -> None:
    with opened(world.path, "store") as store:
        replica = World(world.path, store, kept=world.kept)
        for words in ((A, MOVED, C, WEB, DB), (A, B, C, WEB), (A, B, C, WEB, DB)):
            for each in (world, replica):
                each.export(*words)
                assert each.only().succeeded


def test_more_objects_than_one_question_asks_for(world: World) -> None:
    heads = [
        Head("prod", each.sequence, each.hash) for each in world.trail() if each.kind == Kind.INTENT
    ]
    forged = [Head("prod", head.sequence, "f" * 64) for head in heads]
    many = [Head("prod", number, "0" * 64) for number in range(2000)]
    assert world.store.lacking([*heads, *forged, *many]) == {*forged, *many}

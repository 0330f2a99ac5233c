"""A store that is restored, replaced or deleted under a running process."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from sync.errors import AuditBrokenError, StoreError, UsageError
from sync.store import Store, open_store
from sync.store.head_file import hold_to_heads, publish_heads, read_heads
from tests.unit.store.words import (
    DATABASE,
    LONG,
    ORIGINS,
    WEB,
    Place,
    apply,
    create,
    new_store,
)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as opened:
        yield opened


def refuses(store: Store, file: Path | None = None) -> None:
    """Nothing is written to the store, nor published of it."""
    before = file.read_bytes() if file else b""
    run = store.run("late")
    with pytest.raises(AuditBrokenError, match=r"restored from an older copy.*restore the newest"):
        run.begin()
    with pytest.raises(StoreError, match="nothing is written"), store.lease("eu", "me", LONG):
        pytest.fail("a lease of a store that is not the one opened")
    if file:
        with pytest.raises(AuditBrokenError):
            publish_heads(store, file)
        assert file.read_bytes() == before


@pytest.mark.parametrize("published", [True, False])
def test_a_store_restored_from_an_older_copy_is_not_written_on(
    store: Store,
    copied: Callable[[], Callable[[], None]],
    tmp_path: Path,
    *,
    published: bool,
) -> None:
    apply(store.run("test"), "eu", create(WEB))
    restore = copied()
    apply(store.run("test"), "eu", create(DATABASE))
    file = tmp_path / "heads.txt" if published else None
    hold_to_heads(store, file)
    publish_heads(store, file)
    restore()
    refuses(store, file)


def test_an_intent_under_a_lease_is_refused_where_the_store_lost_records(
    store: Store, copied: Callable[[], Callable[[], None]]
) -> None:
    restore = copied()
    run = store.run("test")
    with store.lease("eu", "me", LONG) as lease:
        run.intend(lease, [create(WEB)], ORIGINS)
        restore()
        with pytest.raises(AuditBrokenError, match="which this process or"):
            run.intend(lease, [create(DATABASE)], ORIGINS)


def test_the_newest_copy_is_written_on(
    store: Store, copied: Callable[[], Callable[[], None]]
) -> None:
    apply(store.run("test"), "eu", create(WEB))
    copied()()
    apply(store.run("test"), "eu", create(DATABASE))


def test_what_another_process_published_is_held_to(
    place: Place, store: Store, copied: Callable[[], Callable[[], None]], tmp_path: Path
) -> None:
    apply(store.run("test"), "us", create(WEB))
    file = tmp_path / "heads.txt"
    hold_to_heads(store, file)
    publish_heads(store, file)
    restore = copied()
    with place.open() as other:
        apply(other.run("other"), "eu", create(WEB))
        publish_heads(other, file)
    restore()
    refuses(store, file)


def test_a_standby_knows_by_its_sign_of_life_what_others_recorded(
    place: Place, store: Store, copied: Callable[[], Callable[[], None]]
) -> None:
    apply(store.run("test"), "eu", create(WEB))
    restore = copied()
    with place.open() as other:
        apply(other.run("other"), "eu", create(DATABASE))
    store.beat("standby", LONG)
    restore()
    with pytest.raises(AuditBrokenError, match="no longer holds record"):
        store.beat("standby", LONG)
    refuses(store)


def test_of_two_copies_with_one_head_file_the_second_to_write_is_stopped(tmp_path: Path) -> None:
    heads = tmp_path / "heads.txt"
    with new_store(tmp_path / "store.db") as store:
        apply(store.run("test"), "eu", create(WEB))
        publish_heads(store, heads)
    shutil.copy(tmp_path / "store.db", tmp_path / "copy.db")
    with (
        open_store(f"sqlite:///{tmp_path}/store.db") as store,
        open_store(f"sqlite:///{tmp_path}/copy.db") as copy,
    ):
        hold_to_heads(store, heads)
        hold_to_heads(copy, heads)
        apply(store.run("test"), "eu", create(DATABASE))
        publish_heads(store, heads)
        refuses(copy, heads)


def test_a_head_file_that_cannot_be_read_lets_nothing_be_written(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "heads.txt"
    hold_to_heads(store, file)
    apply(store.run("test"), "eu", create(WEB))
    file.write_text("nonsense")
    with pytest.raises(StoreError, match=r"nothing is written: .*nonsense"):
        store.run("late").begin()
    with pytest.raises(StoreError, match="not published"):
        publish_heads(store, file)
    file.unlink()
    store.run("later").begin()


def test_of_a_store_without_records_no_heads_are_published(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "heads.txt"
    hold_to_heads(store, file)
    publish_heads(store, file)
    assert not file.exists()
    apply(store.run("test"), "eu", create(WEB))
    publish_heads(store, file)
    hold_to_heads(store, file)
    assert [str(each) for each in read_heads(file)] == [str(each) for each in store.heads()]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\n \n"),
        lambda file: file.write_bytes(file.read_bytes()[:-9]),
        lambda file: file.write_bytes(file.read_bytes().replace(b":", b":\xff")),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: (file.unlink(), file.symlink_to("nowhere")),
    ],
    ids=["empty", "blank", "half", "bytes", "directory", "dangling"],
)
def test_a_damaged_head_file_is_not_taken_for_none_nor_written_over(
    store: Store, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    file = tmp_path / "heads.txt"
    apply(store.run("test"), "eu", create(WEB))
    publish_heads(store, file)
    hold_to_heads(store, file)
    damage(file)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"heads\.txt.*restore a file that a sync wrote"):
            hold_to_heads(store, file)
        with pytest.raises(StoreError, match=r"nothing is written: .*heads\.txt"):
            store.run("late").begin()
        with pytest.raises(StoreError, match="not published"):
            publish_heads(store, file)


def test_a_head_file_that_is_missing_is_told_where_the_store_has_records(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "heads.txt"
    with capture_logs() as logged:
        hold_to_heads(store, file)
    assert logged == []
    apply(store.run("test"), "eu", create(WEB))
    with capture_logs() as logged:
        hold_to_heads(store, file)
    assert [each["file"] for each in logged] == [str(file)]


def test_heads_that_the_store_lacks_are_never_published_over(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "heads.txt"
    file.write_text(f"eu 7:{'a' * 64}\n")
    apply(store.run("test"), "eu", create(WEB))
    with pytest.raises(AuditBrokenError, match="record 7 of chain eu"):
        publish_heads(store, file)
    assert file.read_text() == f"eu 7:{'a' * 64}\n"


def test_another_store_in_its_place_is_not_written_on(store: Store) -> None:
    with store.database.engine.connect() as connection:
        off = "DROP TRIGGER store_update"
        if connection.dialect.name == "postgresql":
            off = "ALTER TABLE store DISABLE TRIGGER USER"
        connection.execute(text(off))
        connection.execute(text("UPDATE store SET uuid = 'another'"))
        connection.commit()
    refuses(store)


def gone(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("moved"))


def copied_over(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def without_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


@pytest.mark.parametrize("lose", [gone, moved, copied_over, without_log])
def test_a_file_that_is_no_longer_at_its_path_is_not_written_on(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    path = tmp_path / "store.db"
    heads = tmp_path / "heads.txt"
    with new_store(path) as store:
        apply(store.run("test"), "eu", create(WEB))
        publish_heads(store, heads)
        lose(path)
        there = path.exists()
        refuses(store, heads)
        store.close()
        # Nor is an empty file made in its place.
        if lose is not without_log:
            with pytest.raises(StoreError):
                store.heads()
        assert path.exists() == there


@pytest.mark.parametrize("name", ["link/store.db", "link.db", "real/../real/store.db"])
def test_a_store_behind_a_link_is_held_to_its_log_and_to_where_the_link_leads(
    tmp_path: Path, name: str
) -> None:
    real, other = tmp_path / "real", tmp_path / "other"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "link.db").symlink_to(real / "store.db")
    with open_store(f"sqlite:///{tmp_path}/{name}") as store:
        apply(store.run("test"), "eu", create(WEB))
        without_log(real / "store.db")
        refuses(store)
    with open_store(f"sqlite:///{tmp_path}/{name}") as store:
        real.rename(other)
        shutil.copytree(other, real)
        refuses(store)


def cut(path: Path, copy: Path) -> None:
    del copy
    os.truncate(path.with_name(f"{path.name}-wal"), 0)


def log_copied(path: Path, copy: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(copy.with_name(f"{copy.name}-wal").read_bytes())


def all_copied(path: Path, copy: Path) -> None:
    path.write_bytes(copy.read_bytes())
    log_copied(path, copy)


@pytest.mark.parametrize("restore", [cut, log_copied, all_copied])
def test_a_log_that_is_written_over_in_place_is_not_written_behind(
    tmp_path: Path, restore: Callable[[Path, Path], None]
) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    with new_store(path) as store:
        apply(store.run("test"), "eu", create(WEB))
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
        apply(store.run("test"), "eu", create(DATABASE))
        restore(path, copy)
        refuses(store)


def test_a_log_that_others_have_brought_into_the_file_is_written_on(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with new_store(path) as store:
        for how in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
            apply(store.run(how), how, create(WEB))
            with closing(sqlite3.connect(path)) as other:
                other.execute(f"PRAGMA wal_checkpoint({how})")
            apply(store.run(how), how, create(DATABASE))


def test_a_file_that_goes_while_a_batch_is_committed_lets_nothing_be_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    with new_store(path) as store:
        begins = store.database.writing()
        connection = begins.__enter__()
        connection.execute(text("INSERT INTO bodies (sha256, zlib) VALUES ('a', 'b')"))
        path.unlink()
        with pytest.raises(AuditBrokenError, match="moved or deleted"):
            begins.__exit__(None, None, None)

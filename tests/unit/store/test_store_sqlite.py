"""Opening a SQLite store, to write and to look only, and what can go wrong with the file."""

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, text

from sync.errors import StoreError, UsageError
from sync.store import Store, check, open_store, open_store_read_only, upgrade
from sync.store.head_file import publish_heads
from sync.store.store import NO_UUID
from sync.store.verification import verify
from tests.unit.store.words import WEB, apply, create, empty_store, group, intend, names, ticking


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def store(path: Path, url: str) -> Iterator[Store]:
    path.write_bytes(empty_store())
    with open_store(url, clock=ticking()) as opened:
        apply(opened.run("test"), "eu", create(WEB))
        yield opened


def state(directory: Path) -> dict[str, tuple[str, int]]:
    """Every file of a directory, by its content and the time of its last change."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in directory.iterdir()
    }


def read_everything(url: str) -> list[str]:
    """What a dry run and an audit read."""
    with open_store_read_only(url) as store:
        verify(store)
        store.heads()
        store.open_intents("eu")
        return names(store.written("eu"))


def limit(store: Store, pragma: str) -> None:
    """Open the store's connections anew, with a pragma that brings about an error."""
    store.close()
    event.listen(store.database.engine, "connect", lambda c, _: c.execute(f"PRAGMA {pragma}"))


def test_every_commit_is_on_the_disk_and_foreign_keys_hold(store: Store) -> None:
    with store.database.reading() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers")
        found = [connection.scalar(text(f"PRAGMA {pragma}")) for pragma in pragmas]
    assert found == ["wal", 2, 1, 1]


def test_a_dry_run_with_no_store_reads_an_empty_one_and_makes_none(
    tmp_path: Path, url: str
) -> None:
    assert read_everything(url) == []
    with pytest.raises(StoreError, match="does not exist"):
        open_store_read_only(f"sqlite:///{tmp_path}/no/such/directory/store.db")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_changes_no_byte_of_a_closed_store(
    tmp_path: Path, url: str, store: Store
) -> None:
    store.close()
    before = state(tmp_path)
    assert list(before) == ["store.db"]
    assert read_everything(url) == ["web"]
    assert state(tmp_path) == before


def test_a_dry_run_beside_a_live_writer_sees_its_commits_and_changes_no_byte(
    tmp_path: Path, url: str
) -> None:
    # In another process: within one, SQLite's readers and writers share their memory.
    script = (
        "import sys\n"
        "from sync.store import open_store\n"
        "from tests.unit.store.words import apply, create, group\n"
        "store = open_store(sys.argv[1])\n"
        "apply(store.run('test'), 'eu', create(group('web')))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        before = state(tmp_path)
        assert before.keys() == {"store.db", "store.db-wal", "store.db-shm"}
        assert read_everything(url) == ["web"]
        assert state(tmp_path) == before
        writer.kill()
    assert read_everything(url) == ["web"]
    assert state(tmp_path) == before
    (tmp_path / "store.db-shm").unlink()
    with pytest.raises(StoreError, match="zonebridge db upgrade"):
        read_everything(url)
    upgrade(url)
    assert read_everything(url) == ["web"]


def test_a_store_opened_to_look_refuses_to_write(url: str, store: Store) -> None:
    with open_store_read_only(url) as reader, pytest.raises(StoreError, match="reading only"):
        reader.run("test").begin()
    assert store.uuid == reader.uuid


def test_a_store_keeps_its_uuid(url: str, store: Store) -> None:
    with open_store(url) as again:
        assert again.uuid == store.uuid != NO_UUID


@pytest.mark.parametrize("opening", [open_store, open_store_read_only, check])
@pytest.mark.parametrize(
    ("revision", "remedy"), [("0000", "zonebridge db upgrade"), ("9999", "upgrade zonebridge")]
)
def test_the_schema_of_another_version_is_refused_with_what_to_do(
    url: str, store: Store, opening: object, revision: str, remedy: str
) -> None:
    store.close()
    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    with pytest.raises(StoreError, match=remedy):
        opening(url)  # type: ignore[operator]  # each takes a URL alone


def test_a_newer_schema_is_not_upgraded(url: str, path: Path, store: Store) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer"):
        upgrade(url)


def test_check_names_a_missing_trigger(url: str, path: Path, store: Store) -> None:
    store.close()
    check(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER records_delete")
    with pytest.raises(StoreError, match="records_delete"):
        check(url)


def test_check_names_a_changed_table(url: str, path: Path, store: Store) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP INDEX ix_records_time_chain_sequence")
    with pytest.raises(StoreError, match="ix_records_time_chain_sequence"):
        check(url)


def test_check_without_a_store_says_so(url: str) -> None:
    with pytest.raises(StoreError, match="no store"):
        check(url)


def test_upgrade_makes_a_store_and_is_done_when_it_is_new(url: str) -> None:
    upgrade(url)
    upgrade(url)
    check(url)


def test_a_file_that_is_no_database_is_named(url: str, path: Path) -> None:
    path.write_text("clusters:\n" * 500)
    for opening in (open_store, open_store_read_only):
        with pytest.raises(StoreError, match=r"store\.db is not a SQLite database"):
            opening(url)


def test_someone_elses_database_is_left_alone(url: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE accounts (name TEXT)")
    for opening in (open_store, open_store_read_only, upgrade):
        with pytest.raises(StoreError, match="not zonebridge's"):
            opening(url)


def test_a_missing_directory_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"directory .*/missing of the store .* does not exist"):
        open_store(f"sqlite:///{tmp_path}/missing/store.db")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_the_place_of_the_file_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize(
    "url",
    ["", "store.db", "sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d", "://:secret@"],
)
def test_a_url_that_names_no_store_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match=r"store\.url") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_replacing_a_record_is_refused_as_deleting_it_is(store: Store) -> None:
    with pytest.raises(StoreError, match="append-only"), store.database.writing() as writer:
        writer.execute(text("INSERT OR REPLACE INTO records SELECT * FROM records"))


def test_a_full_disk_loses_nothing_that_was_committed(store: Store) -> None:
    run = store.run("test")
    run.begin()
    with store.database.reading() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
    limit(store, f"max_page_count = {pages}")
    big = [create(group(f"set-{i}", *(f"{i}.{j}.0.0/16" for j in range(200)))) for i in range(64)]
    with pytest.raises(StoreError, match="the disk is full"):
        intend(run, "eu", big)
    assert store.open_intents("eu") == []
    assert verify(store).records == 4


def test_a_read_only_file_is_named(store: Store) -> None:
    limit(store, "query_only = ON")
    with pytest.raises(StoreError, match="cannot be written"):
        store.run("test").begin()


def test_a_lock_that_another_process_keeps_is_named(store: Store, path: Path) -> None:
    limit(store, "busy_timeout = 20")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert names(store.written("eu")) == ["web"]
        with pytest.raises(StoreError, match="locked by another process"):
            store.run("test").begin()


def test_a_head_file_that_a_killed_run_left_half_written_is_removed(
    store: Store, tmp_path: Path
) -> None:
    heads = tmp_path / "published" / "heads"
    heads.parent.mkdir()
    left = heads.with_name(".heads.0123456789abcdef")
    theirs = [heads.with_name(name) for name in (".heads.0123", ".other.0123456789abcdef")]
    for each in (left, *theirs):
        each.write_text("eu 1")
    publish_heads(store, heads)
    assert sorted(heads.parent.iterdir()) == sorted([heads, *theirs])

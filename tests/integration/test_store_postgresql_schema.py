"""Migrations, triggers and refusals, on SQLite and on PostgreSQL."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, text

from sync.errors import StoreError
from sync.store import (
    BATCH,
    audit,
    check,
    open_store,
    open_store_read_only,
    schema,
    triggers,
    upgrade,
)
from sync.store.audit import Filter
from sync.store.database import Database, open_database
from sync.store.store import NO_UUID
from sync.store.verification import verify
from tests.postgresql import Database as PostgreSQL
from tests.postgresql import Server
from tests.unit.store.words import apply, create, group

ZONEBRIDGE = Path(sys.executable).with_name("zonebridge")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db", None
    found = request.getfixturevalue("postgresql_database")
    return found.url, found.password


@pytest.fixture
def database(place: tuple[str, str | None]) -> Iterator[Database]:
    """A database with a store that has records."""
    url, password = place
    with open_store(url, password=password) as store:
        changes = [create(group("web"), rules=("allow web", "a\x00b", "a,b"), groups=("web",))]
        changes += [create(group(f"web-{number}"), rules=("allow web",)) for number in range(300)]
        for start in range(0, len(changes), BATCH):
            apply(store.run("test"), "eu", *changes[start : start + BATCH])
    opened = open_database(url, password)
    yield opened
    opened.close()


def test_the_models_are_what_the_migrations_make(database: Database) -> None:
    with database.writing() as connection:
        command.check(schema.configuration(connection))


def test_the_newest_migration_is_the_revision_we_ask_for(database: Database) -> None:
    with database.reading() as connection:
        scripts = ScriptDirectory.from_config(schema.configuration(connection))
    assert scripts.get_heads() == [schema.REVISION]


def test_down_and_up_again_is_the_same_schema(
    database: Database, place: tuple[str, str | None]
) -> None:
    with database.writing() as connection:
        command.downgrade(schema.configuration(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    with database.writing() as connection:
        command.upgrade(schema.configuration(connection), "head")
        assert triggers.missing(connection) == []
    check(*place)


def test_triggers_that_are_gone_or_disabled_are_made_anew(
    database: Database, place: tuple[str, str | None]
) -> None:
    upgrade(*place)
    with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE records DISABLE TRIGGER records_keep"))
        else:
            connection.execute(text("DROP TRIGGER records_update"))
    with pytest.raises(StoreError, match=r"lacks the triggers records_.*`zonebridge db upgrade`"):
        check(*place)
    upgrade(*place)
    check(*place)


@pytest.mark.parametrize("how", ["DISABLE", "ENABLE REPLICA"])
def test_a_trigger_that_does_not_fire_is_missing(database: Database, how: str) -> None:
    with database.writing() as connection:
        if connection.dialect.name != "postgresql":
            pytest.skip("SQLite's triggers cannot be switched off")
        connection.execute(text(f"ALTER TABLE records {how} TRIGGER records_keep"))
        assert triggers.missing(connection) == ["records_keep"]


_ASIDE = """
CREATE TRIGGER aside BEFORE INSERT ON records FOR EACH ROW
  EXECUTE FUNCTION suppress_redundant_updates_trigger()
"""
_REPLICA = """
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database());
END $$
"""


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (_ASIDE, "trigger aside on records"),
        ("CREATE RULE nothing AS ON DELETE TO bodies DO INSTEAD NOTHING", "rule nothing on bodies"),
        (_REPLICA, "session_replication_role = replica"),
    ],
)
def test_what_else_decides_on_writes_is_named(
    postgresql_database: PostgreSQL, made: str, named: str
) -> None:
    url, password = postgresql_database.url, postgresql_database.password
    with open_store(url, password=password):
        pass
    check(url, password)
    opened = open_database(url, password)
    with opened.writing() as connection:
        connection.execute(text(made))
    opened.close()
    with pytest.raises(
        StoreError, match=rf"did not create, and .*: {named}; run `zonebridge audit"
    ):
        check(url, password)


_FIRES = "EXECUTE FUNCTION zonebridge_append_only()"
_HOLLOW = {
    "postgresql": (
        "BEFORE UPDATE OR DELETE ON records FOR EACH ROW WHEN (false)",
        "BEFORE UPDATE OF error OR DELETE ON records FOR EACH ROW",
        "AFTER DELETE ON records FOR EACH ROW",
    ),
    "sqlite": (
        "BEFORE UPDATE ON records BEGIN SELECT 1; END",
        "BEFORE UPDATE ON records WHEN false BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    ),
}
_NOTHING = """
CREATE OR REPLACE FUNCTION zonebridge_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RETURN OLD; END $$
"""


@pytest.mark.parametrize("number", range(4))
def test_a_trigger_that_refuses_nothing_is_missing(
    database: Database, place: tuple[str, str | None], number: int
) -> None:
    upgrade(*place)
    with database.writing() as connection:
        dialect = connection.dialect.name
        if number < len(_HOLLOW[dialect]):
            name, on = ("keep", " ON records") if dialect == "postgresql" else ("update", "")
            ends = _FIRES if dialect == "postgresql" else ""
            connection.execute(text(f"DROP TRIGGER records_{name}{on}"))
            made = f"CREATE TRIGGER records_{name} {_HOLLOW[dialect][number]} {ends}"
            connection.execute(text(made))
        elif dialect == "postgresql":
            connection.execute(text(_NOTHING))
        else:
            pytest.skip("PostgreSQL has more ways")
    with pytest.raises(StoreError, match=r"lacks the triggers .*records_.*or has others of these"):
        check(*place)
    upgrade(*place)
    check(*place)


@pytest.mark.parametrize("older", ["0001", "0002", "0003", "0004", "0005", "0006"])
def test_a_store_of_an_older_version_keeps_its_trail_when_it_is_upgraded(
    database: Database, place: tuple[str, str | None], older: str
) -> None:
    url, password = place
    with open_store(url, password=password) as store:
        heads = store.heads()
    with database.writing() as connection:
        command.downgrade(schema.configuration(connection), older)
    with pytest.raises(StoreError, match="zonebridge db upgrade"):
        open_store(url, password=password)
    upgrade(*place)
    check(*place)
    with open_store(url, password=password) as store:
        assert verify(store, store.heads()).heads == heads
        assert older != "0001" or store.leases() == ()
        assert store.approvals() == []
        assert store.identities() == {}
        assert len(list(audit.records(store, Filter(rule="allow web")))) == 2 * 301
        for wanted in (Filter(rule="a,b"), Filter(rule="a\u2400b"), Filter(group="web")):
            assert len(list(audit.records(store, wanted))) == 2
        assert store.memory("main").recall("list", "one") is None
        apply(store.run("test"), "eu", create(group("db")))


def test_a_store_that_was_taken_down_is_made_again(
    database: Database, place: tuple[str, str | None]
) -> None:
    with database.writing() as connection:
        command.downgrade(schema.configuration(connection), "base")
    url, password = place
    with open_store(url, password=password) as store:
        assert store.uuid != NO_UUID
    check(*place)


@pytest.mark.parametrize("table", triggers.APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_change_what_was_written(
    database: Database, table: str, statement: str
) -> None:
    column = {"store": "uuid", "bodies": "zlib", "names": "digest", "records": "error"}[table]
    with pytest.raises(StoreError, match=f"{table} is append-only"), database.writing() as writer:
        writer.execute(text(statement.format(table, column, column)))


def test_upgrade_and_check_take_a_database_from_nothing(place: tuple[str, str | None]) -> None:
    with pytest.raises(StoreError, match="no store"):
        check(*place)
    upgrade(*place)
    upgrade(*place)
    check(*place)


@pytest.mark.parametrize("older", ["", "0001"])
def test_of_pods_that_start_at_once_one_upgrades_and_the_others_wait(
    postgresql_server: Server, postgresql_database: PostgreSQL, tmp_path: Path, older: str
) -> None:
    url, password = postgresql_database.url, postgresql_database.password
    if older:
        upgrade(url, password)
        opened = open_database(url, password)
        with opened.writing() as connection:
            command.downgrade(schema.configuration(connection), older)
        opened.close()
    cluster = {"name": "c", "kind": "manifests", "path": "out", "device_groups": []}
    source = {"name": "main", "kind": "file", "path": "x.xml"}
    file = tmp_path / "zonebridge.yaml"
    file.write_text(yaml.safe_dump({"sources": [source], "clusters": [cluster]}))
    # However long the second one takes to start, the first one waits for it here.
    patient = f"{url}&options={quote('-c lock_timeout=0', safe='')}"
    variables = {"ZONEBRIDGE_STORE__URL": patient, "ZONEBRIDGE_STORE__PASSWORD": password}

    with postgresql_server.connect(make_url(url).database or "") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [schema._LOCK])
        pods = [
            subprocess.Popen(
                [ZONEBRIDGE, "--config", file, "db", "upgrade"],
                env={**os.environ, **variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(2)
        ]
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while holder.execute(waiting).fetchone() != (2,):
            ended = [pod.communicate()[0] for pod in pods if pod.poll() is not None]
            assert not ended, "an upgrade did not wait for the lock"
            time.sleep(0.05)
        holder.execute("SELECT pg_advisory_unlock(%s)", [schema._LOCK])
        told = [pod.communicate()[0] for pod in pods]

    assert [pod.returncode for pod in pods] == [0, 0], told
    check(url, password)


def test_a_dry_run_makes_no_store(place: tuple[str, str | None]) -> None:
    url, password = place
    with open_store_read_only(url, password=password) as store:
        assert (store.uuid, store.written("eu"), store.heads()) == (NO_UUID, {}, ())
    probe = open_database(url, password)
    with probe.reading() as connection:
        assert inspect(connection).get_table_names() == []
    probe.close()

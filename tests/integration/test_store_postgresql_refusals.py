"""What only a PostgreSQL server can refuse, and that no refusal tells the password."""

import os
import signal

import pytest
from sqlalchemy import text

from sync.errors import StoreError, UsageError
from sync.store import database, open_store, open_store_read_only, triggers
from tests.postgresql import Database, Server


@pytest.mark.parametrize("table", triggers.APPEND_ONLY)
def test_truncate_is_refused(postgresql_database: Database, table: str) -> None:
    url, password = postgresql_database.url, postgresql_database.password
    with (
        open_store(url, password=password) as store,
        pytest.raises(StoreError, match=f"{table} is append-only"),
        store.database.writing() as writer,
    ):
        writer.execute(text(f"TRUNCATE {table} CASCADE"))


def test_the_wrong_password_is_told_without_either(postgresql_database: Database) -> None:
    for opening in (open_store, open_store_read_only):
        with pytest.raises(StoreError, match=r"store\.password_file") as caught:
            opening(postgresql_database.url, password="not the secret")
        assert "not the secret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_the_password_is_in_no_value_that_is_shown(postgresql_database: Database) -> None:
    with open_store(postgresql_database.url, password=postgresql_database.password) as store:
        shown = f"{store!r} {store.database.engine.url}"
    assert postgresql_database.password not in shown


def test_a_missing_database_is_named(postgresql_database: Database) -> None:
    url = postgresql_database.url.replace("/test_", "/missing_")
    with pytest.raises(StoreError, match="create the database"):
        open_store(url, password=postgresql_database.password)


@pytest.mark.parametrize(
    "server", ["host=127.0.0.1&port=1", "host=/tmp/no-server-here", "host=no-server.invalid"]
)
def test_a_server_that_is_down_is_told(server: str) -> None:
    with pytest.raises(StoreError, match="check that the server is up") as caught:
        open_store(f"postgresql://zonebridge:in-the-url@/store?{server}")
    assert "in-the-url" not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("SET TRANSACTION READ ONLY; DELETE FROM heads", "name the primary server"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "try again when the server is up"),
        ("SELECT * FROM nowhere", "zonebridge db check"),
    ],
)
def test_what_the_server_refuses_is_told_with_what_to_do(
    postgresql_database: Database, statement: str, remedy: str
) -> None:
    url, password = postgresql_database.url, postgresql_database.password
    with open_store(url, password=password) as store:
        with pytest.raises(StoreError, match=remedy), store.database.writing() as writer:
            writer.execute(text(statement))
        assert store.heads() == ()


def test_a_lock_that_another_process_keeps_is_told(postgresql_database: Database) -> None:
    url, password = postgresql_database.url, postgresql_database.password
    impatient = f"{url}&options=-c%20lock_timeout%3D50ms"
    with (
        open_store(url, password=password) as holder,
        open_store(impatient, password=password) as waiting,
    ):
        holder.run("test").begin()
        with holder.database.writing() as connection:
            connection.execute(text("SELECT * FROM heads FOR UPDATE"))
            with pytest.raises(StoreError, match="locked by another process"):
                waiting.run("test").begin()


@pytest.mark.parametrize("busy", [True, False])
def test_a_server_that_falls_silent_is_given_up_and_asked_anew(
    postgresql_database: Database, monkeypatch: pytest.MonkeyPatch, *, busy: bool
) -> None:
    """The system still confirms what a process that hangs was sent: no time limit of TCP tells."""
    monkeypatch.setattr(database, "SILENT_SECONDS", 0.5)
    stopped: list[int] = []

    with open_store(postgresql_database.url, password=postgresql_database.password) as store:
        try:
            if busy:
                writing = store.database.writing()
                connection = writing.__enter__()
                stopped.append(connection.scalars(text("SELECT pg_backend_pid()")).one())
                os.kill(stopped[0], signal.SIGSTOP)
                with pytest.raises(StoreError, match="has not answered for"):
                    writing.__exit__(None, None, None)
            else:
                with store.database.engine.connect() as connection:
                    stopped.append(connection.scalars(text("SELECT pg_backend_pid()")).one())
                os.kill(stopped[0], signal.SIGSTOP)
            store.run("again").begin()
        finally:
            os.kill(stopped[0], signal.SIGCONT)
        assert len(store.heads()) == 1


def test_who_is_frozen_in_a_transaction_keeps_others_out_for_a_while_only(
    postgresql_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 1)
    url, password = postgresql_database.url, postgresql_database.password
    with open_store(url, password=password) as frozen:
        monkeypatch.undo()
        with open_store(url, password=password) as other:
            writing = frozen.database.writing()
            writing.__enter__().execute(text("LOCK TABLE heads"))
            other.run("other").begin()
            with pytest.raises(StoreError, match="idle-in-transaction"):
                writing.__exit__(None, None, None)


def test_a_password_that_is_renewed_is_asked_for_at_the_next_connection(
    postgresql_server: Server,
) -> None:
    held = ["one"]

    def password() -> str:
        if not held:
            raise UsageError("The secret file /x does not exist; create it.")
        return held[0]

    with postgresql_server.connect() as server:
        server.execute("CREATE ROLE renewed LOGIN PASSWORD 'one'")
        server.execute("CREATE DATABASE renewed OWNER renewed")

        def disconnect() -> None:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'renewed'"
            )

        url = postgresql_server.url("renewed").replace("//zonebridge@", "//renewed@")
        try:
            with open_store(url, password=password) as store:
                server.execute("ALTER ROLE renewed PASSWORD 'two'")
                # What is connected stays so.
                assert store.heads() == ()
                disconnect()
                with pytest.raises(StoreError, match=r"store\.password_file"):
                    store.heads()
                held[:] = ["two"]
                assert store.heads() == ()
                # The file may be gone for a moment.
                held.clear()
                disconnect()
                assert store.heads() == ()
        finally:
            disconnect()
            server.execute("DROP DATABASE renewed WITH (FORCE)")
            server.execute("DROP ROLE renewed")
    held.clear()
    with pytest.raises(UsageError):
        open_store(url, password=password)

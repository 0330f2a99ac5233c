"""The triggers that make the trail append-only, for both databases.

Every migration that rebuilds one of these tables calls `create` again, since SQLite drops a table's
triggers with the table. Triggers prevent mistakes; the hashes and the published heads protect
against the database's owner.
"""

from sqlalchemy import Connection, inspect, text

APPEND_ONLY = ("bodies", "names", "records", "store")

_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION zonebridge_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
"""


def create(connection: Connection) -> None:
    """Create the triggers that are missing or disabled, of the tables that exist."""
    present = _present(connection)
    tables = inspect(connection).get_table_names()
    if connection.dialect.name == "postgresql":
        connection.execute(text(_POSTGRESQL_FUNCTION))
    for name, statement in _statements(connection.dialect.name).items():
        table = name.split("_")[0]
        # Migrations create the tables one after another.
        if name not in present and table in tables:
            if connection.dialect.name == "postgresql":
                # A disabled trigger exists, and has no effect.
                connection.execute(text(f"DROP TRIGGER IF EXISTS {name} ON {table}"))
            connection.execute(text(statement))


def drop(connection: Connection) -> None:
    """Drop the existing triggers, before their tables are dropped or rebuilt."""
    for name in _present(connection):
        table = f" ON {name.split('_')[0]}" if connection.dialect.name == "postgresql" else ""
        connection.execute(text(f"DROP TRIGGER {name}{table}"))
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP FUNCTION IF EXISTS zonebridge_append_only()"))


def missing(connection: Connection) -> list[str]:
    """Return the names of triggers that are missing or disabled, sorted."""
    return sorted(_statements(connection.dialect.name).keys() - _present(connection))


def _statements(dialect: str) -> dict[str, str]:
    """Return the statement of each trigger, by its name, which starts with the table's."""
    if dialect == "postgresql":
        refuse = "EXECUTE FUNCTION zonebridge_append_only()"
        return {
            f"{table}_{name}": f"CREATE TRIGGER {table}_{name} BEFORE {events} ON {table}"
            f" FOR EACH {each} {refuse}"
            for table in APPEND_ONLY
            for name, events, each in (
                ("keep", "UPDATE OR DELETE", "ROW"),
                ("truncate", "TRUNCATE", "STATEMENT"),
            )
        }
    return {
        f"{table}_{event}": f"CREATE TRIGGER {table}_{event} BEFORE {event.upper()} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in APPEND_ONLY
        for event in ("update", "delete")
    }


def _present(connection: Connection) -> set[str]:
    if connection.dialect.name == "postgresql":
        query = (
            "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            " WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND pg_table_is_visible(tgrelid)"
        )
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    ours = _statements(connection.dialect.name).keys()
    return ours & set(connection.scalars(text(query)))

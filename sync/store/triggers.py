"""The triggers that make the trail append-only, for both databases.

Every migration that rebuilds one of these tables calls `create` again, since SQLite drops a table's
triggers with the table. Triggers prevent mistakes; the hashes and the published heads protect
against the database's owner.
"""

from sqlalchemy import Connection, inspect, text

APPEND_ONLY = ("bodies", "names", "records", "store")

_POSTGRESQL_BODY = " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END "
_POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION zonebridge_append_only() RETURNS trigger LANGUAGE plpgsql AS
$${_POSTGRESQL_BODY}$$
"""
# The bits of tgtype: 1 each row, 2 before, 8 delete, 16 update, 32 truncate (pg_trigger.h).
_POSTGRESQL_TRIGGERS = """
SELECT tgname FROM pg_trigger
  JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
 WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND pg_table_is_visible(tgrelid)
   AND relname = split_part(tgname, '_', 1)
   AND tgtype = CASE split_part(tgname, '_', 2) WHEN 'keep' THEN 27 ELSE 34 END
   AND tgqual IS NULL AND tgattr::text = '' AND proname = 'zonebridge_append_only'
   AND prosrc = :body
"""
# Any other trigger or rule may turn a write into another one, or into nothing, before ours sees it.
_POSTGRESQL_OTHERS = """
SELECT 'trigger ' || tgname || ' on ' || relname FROM pg_trigger
  JOIN pg_class ON pg_class.oid = tgrelid
 WHERE NOT tgisinternal AND pg_table_is_visible(tgrelid) AND relname = ANY(:tables)
   AND tgname <> ALL(:ours)
 UNION ALL
SELECT 'rule ' || rulename || ' on ' || relname FROM pg_rewrite
  JOIN pg_class ON pg_class.oid = ev_class
 WHERE pg_table_is_visible(ev_class) AND relname = ANY(:tables)
 ORDER BY 1
"""


def create(connection: Connection) -> None:
    """Create the triggers that are missing, disabled or other ones, of the tables that exist."""
    present = _present(connection)
    tables = inspect(connection).get_table_names()
    if connection.dialect.name == "postgresql":
        connection.execute(text(_POSTGRESQL_FUNCTION))
    for name, statement in _statements(connection.dialect.name).items():
        table = name.split("_")[0]
        # Migrations create the tables one after another.
        if name not in present and table in tables:
            # One that is disabled, or does something else, exists and has no effect.
            connection.execute(text(f"DROP TRIGGER IF EXISTS {name}{_on(connection, table)}"))
            connection.execute(text(statement))


def drop(connection: Connection) -> None:
    """Drop the existing triggers, before their tables are dropped or rebuilt."""
    for name in _statements(connection.dialect.name):
        on = _on(connection, name.split("_")[0])
        connection.execute(text(f"DROP TRIGGER IF EXISTS {name}{on}"))
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP FUNCTION IF EXISTS zonebridge_append_only()"))


def missing(connection: Connection) -> list[str]:
    """Return the names of triggers that are missing, disabled or not as `create` makes them."""
    return sorted(_statements(connection.dialect.name).keys() - _present(connection))


def foreign(connection: Connection) -> list[str]:
    """Return what else decides on writes to these tables, on PostgreSQL: triggers and rules that
    `create` does not make, and a session in which triggers do not fire."""
    if connection.dialect.name != "postgresql":
        return []
    ours = [*_statements("postgresql")]
    known = {"tables": [*APPEND_ONLY], "ours": ours}
    found = [*connection.scalars(text(_POSTGRESQL_OTHERS), known)]
    role = connection.scalar(text("SHOW session_replication_role"))
    return found if role == "origin" else [*found, f"session_replication_role = {role}"]


def _on(connection: Connection, table: str) -> str:
    return f" ON {table}" if connection.dialect.name == "postgresql" else ""


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
    ours = _statements(connection.dialect.name)
    if connection.dialect.name == "postgresql":
        found = connection.scalars(text(_POSTGRESQL_TRIGGERS), {"body": _POSTGRESQL_BODY})
        return ours.keys() & set(found)
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    return {name for name, made in connection.execute(text(query)) if ours.get(name) == made}

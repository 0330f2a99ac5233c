"""The schema and its migrations: created in an empty database, upgraded only on request."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, inspect, select, text

from sync.errors import StoreError
from sync.store import triggers
from sync.store.database import Database, open_database
from sync.store.models import Base, Stores
from sync.store.records import Clock, now, stamp
from sync.text import shortened

if TYPE_CHECKING:
    from alembic.config import Config

REVISION = "0007"
"""The newest migration. Revisions are numbers, which shows which one is newer."""

QUEUE_SCHEMA = "c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009"
"""SHA-256 of the tables that Procrastinate must need: those that the migrations create."""

_LOCK = 0x7A6F6E65  # "zone": any number that no one else locks


def upgrade(url: str, password: str | None = None, *, clock: Clock = now) -> None:
    """Upgrade the schema to this version, from any older one or from none, in one transaction."""
    database = open_database(url, password, rebuilding=True)
    try:
        _migrate(database, clock)
    finally:
        database.close()


def check(url: str, password: str | None = None) -> None:
    """Check that the database has the schema of this version; write nothing.

    Raises `StoreError` if there is no store, if its schema is older or newer, if tables or triggers
    are not as the migrations made them, or if something else decides on writes to the trail.
    """
    # Alembic takes long to import, and is needed only to create or check a schema.
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = open_database(url, password, read_only=True)
    try:
        with database.reading() as connection:
            _require_newest(database.place, revision(connection, database.place))
            context = MigrationContext.configure(connection, opts={"include_name": is_ours})
            differences = compare_metadata(context, Base.metadata)
            missing = triggers.missing(connection)
            foreign = triggers.foreign(connection)
    finally:
        database.close()
    if differences:
        raise StoreError(
            f"the tables of the store {database.place} are not as zonebridge created them "
            f"({differences[0]}); restore them from a backup"
        )
    if missing:
        raise StoreError(
            f"the store {database.place} lacks the triggers {', '.join(missing)}, or has others "
            "of these names; run `zonebridge audit verify --head` with a published head, then "
            "`zonebridge db upgrade`, which creates them again"
        )
    if foreign:
        raise StoreError(
            f"the store {database.place} has what zonebridge did not create, and what may change "
            f"or skip writes to the trail: {shortened(foreign, ', ')}; run `zonebridge audit "
            "verify --head` with a published head, then remove it"
        )


def prepare(database: Database, clock: Clock) -> str:
    """Create the schema in an empty database; return the store's UUID.

    Raises `StoreError` if the database is not ours or has another version's schema.
    """
    with database.reading() as connection:
        present = revision(connection, database.place)
    if not present:
        _migrate(database, clock)
    with database.reading() as connection:
        return identity(connection, database.place)


def identity(connection: Connection, place: str) -> str:
    """Return the UUID of a store with this version's schema; `StoreError` for another version's."""
    _require_newest(place, revision(connection, place))
    return connection.scalars(select(Stores.uuid)).one()


def revision(connection: Connection, place: str) -> str:
    """Return the schema's revision, "" if the database is empty; `StoreError` if it is not ours."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        return connection.scalar(text("SELECT version_num FROM alembic_version")) or ""
    if tables:
        raise StoreError(
            f"the database {place} holds tables that are not zonebridge's; name an empty database "
            "in store.url"
        )
    return ""


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Return whether Alembic compares a table: the queue's tables belong to its library."""
    return kind != "table" or not (name or "").startswith("procrastinate_")


def configuration(connection: Connection) -> "Config":
    """Return Alembic's configuration for a connection; wheels have the migrations inside."""
    from alembic.config import Config

    package = Path(__file__).parents[1]
    packaged = package / "_migrations"
    config = Config()
    location = packaged if packaged.is_dir() else package.parent / "migrations"
    config.set_main_option("script_location", str(location).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _migrate(database: Database, clock: Clock) -> None:
    from alembic import command

    with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            # Two processes may find the same empty database; the second one waits here.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        present = revision(connection, database.place)
        if present > REVISION:
            _require_newest(database.place, present)
        command.upgrade(configuration(connection), "head")
        if triggers.missing(connection):
            triggers.create(connection)
        if connection.scalar(select(Stores.uuid)) is None:
            row = {"uuid": str(uuid.uuid4()), "created": stamp(clock())}
            connection.execute(insert(Stores).values(row))


def _require_newest(place: str, present: str) -> None:
    if not present:
        raise StoreError(
            f"there is no store in {place}; `zonebridge db upgrade` creates one, and so does a sync"
        )
    if present < REVISION:
        raise StoreError(
            f"the store {place} has the schema {present} of an older zonebridge, {REVISION} is "
            "needed; run `zonebridge db upgrade`"
        )
    if present > REVISION:
        raise StoreError(
            f"the store {place} has the schema {present} of a newer zonebridge, this one knows "
            f"{REVISION}; upgrade zonebridge"
        )

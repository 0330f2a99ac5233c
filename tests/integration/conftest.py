"""Where the store of a test is: on PostgreSQL, for the tests of `tests/unit/store` too."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import make_url

from sync.store import Store, upgrade
from tests.postgresql import Database, Server
from tests.unit.store.words import Place

END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


@pytest.fixture
def place(postgresql_database: Database) -> Place:
    """A store that holds nothing."""
    upgrade(postgresql_database.url, postgresql_database.password)
    return Place(postgresql_database.url, postgresql_database.password)


@pytest.fixture
def copied(place: Place, postgresql_server: Server) -> Callable[[], Callable[[], None]]:
    """Copies the store as it is now; what it returns restores that copy in place."""
    name = make_url(place.url).database

    def restore() -> None:
        with postgresql_server.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"ALTER DATABASE {name}_copy RENAME TO {name}")

    def copied() -> Callable[[], None]:
        with postgresql_server.connect() as connection:
            connection.execute(END, [name])
            connection.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}")
        return restore

    return copied


@pytest.fixture
def unreachable(
    place: Place, postgresql_server: Server
) -> Callable[[Store], AbstractContextManager[None]]:
    """A context in which the server refuses every connection to the store's database."""
    name = make_url(place.url).database

    @contextmanager
    def unreachable(store: Store) -> Iterator[None]:
        allow = "UPDATE pg_database SET datallowconn = %s WHERE datname = %s"
        with postgresql_server.connect() as server:
            server.execute(allow, [False, name])
            server.execute(END, [name])
            try:
                yield
            finally:
                server.execute(allow, [True, name])

    return unreachable

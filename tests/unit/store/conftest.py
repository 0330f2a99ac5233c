"""Where the store of a test is: on SQLite here, and on PostgreSQL in `tests/integration`."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from sync.store import Store
from tests.unit.store.words import Place, empty_store


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store that holds nothing."""
    path = tmp_path / "store.db"
    path.write_bytes(empty_store())
    return Place(f"sqlite:///{path}", None)


@pytest.fixture
def copied(place: Place, tmp_path: Path) -> Callable[[], Callable[[], None]]:
    """Copies the store as it is now; what it returns restores that copy in place."""
    path, copy = tmp_path / "store.db", tmp_path / "store.db.copy"

    def back_up(source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
            here.backup(there)

    def copied() -> Callable[[], None]:
        back_up(path, copy)
        return lambda: back_up(copy, path)

    return copied


@pytest.fixture
def unreachable(place: Place, tmp_path: Path) -> Callable[[Store], AbstractContextManager[None]]:
    """A context in which another process keeps the store's database locked."""

    @contextmanager
    def unreachable(store: Store) -> Iterator[None]:
        store.close()
        impatient = "PRAGMA busy_timeout = 20"
        event.listen(store.database.engine, "connect", lambda c, _: c.execute(impatient))
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            yield

    return unreachable

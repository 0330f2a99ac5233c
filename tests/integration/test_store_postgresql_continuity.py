"""A store that is restored or replaced, as the unit tests check them on SQLite, on PostgreSQL."""

from tests.unit.store.test_store_continuity import *  # noqa: F403 - each test, with `place` of conftest.py

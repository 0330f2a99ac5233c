"""Status and the source cache, as the unit tests check them on SQLite, on PostgreSQL."""

from tests.unit.store.test_store_status import *  # noqa: F403 - each test, with `place` of conftest.py

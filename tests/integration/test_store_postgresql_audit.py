"""The trail as it is filtered and shown, as the unit tests check them on SQLite, on PostgreSQL."""

from tests.unit.store.test_store_audit import *  # noqa: F403 - each test, with `place` of conftest.py

"""Leases, as the unit tests check them on SQLite, on PostgreSQL."""

from tests.unit.store.test_store_leases import *  # noqa: F403 - each test, with `place` of conftest.py

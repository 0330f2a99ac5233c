"""Intents, outcomes and recoveries, as the unit tests check them on SQLite, on PostgreSQL."""

from tests.unit.store.test_store_recorder import *  # noqa: F403 - each test, with `place` of conftest.py

"""Forgotten clusters, as the unit tests check them on SQLite, on PostgreSQL."""

from tests.unit.store.test_store_forgetting import *  # noqa: F403 - each test, with `place` of conftest.py

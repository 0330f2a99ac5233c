"""The service's sign of life, by an injected clock."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from sync.errors import StoreError
from sync.service.heartbeat import Heartbeat
from sync.store import Store
from tests.clock import Clock
from tests.unit.store.words import new_store


def test_a_write_that_worked_lately_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(0.0)
    with new_store(tmp_path / "store.db") as store:
        heartbeat = Heartbeat(store, "me", clock)
        before = heartbeat.check
        heartbeat.beat()
        assert (before.holds, heartbeat.check.holds) == (False, True)
        clock.now = 31.0  # it is still waiting for a lock
        assert (heartbeat.check.holds, heartbeat.check.says) == (False, "written 31 s ago")
        heartbeat.beat()
        assert heartbeat.check.holds

        def full(*_: object) -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as failing:
            failing.setattr(Store, "beat", full)
            heartbeat.beat()
        failed = heartbeat.check
        heartbeat.beat()
        assert (failed.holds, heartbeat.check.holds) == (False, True)
        assert "the disk is full" in failed.says


def test_a_store_that_can_only_be_read_is_told(tmp_path: Path) -> None:
    with new_store(tmp_path / "store.db") as store:
        heartbeat = Heartbeat(store, "me")
        heartbeat.beat()
        with store.database.engine.connect() as connection:
            connection.execute(text("PRAGMA query_only = ON"))
        heartbeat.beat()
        assert "make the file and its directory writable" in heartbeat.check.says
        assert store.leases() == ()


def test_a_service_is_told_from_one_that_ended_and_one_that_is_silent(tmp_path: Path) -> None:
    with new_store(tmp_path / "store.db") as store:
        assert store.service() is None
        store.beat("me", timedelta(hours=1))
        runs = store.service()
        assert runs
        assert (runs.holder, runs.seconds > 0, runs.released) == ("me", True, False)
        store.beat("me", timedelta(seconds=-1))
        silent = store.service()
        assert silent
        assert (silent.seconds, silent.released) == (0.0, False)
        store.end_service()
        ended = store.service()
        assert ended
        assert ended.released

"""What `zonebridge status` says of a store."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sync.cli import status
from sync.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


def cluster(store: Store) -> dict[str, Any]:
    [found] = status._document(store, ["eu"], [], store.standings())["clusters"]
    return dict(found)


def told(store: Store, capsys: pytest.CaptureFixture[str]) -> str:
    document = status._document(store, ["eu"], [], store.standings())
    status._print({**document, "unconfigured": []})
    return capsys.readouterr().out


def synced(store: Store) -> None:
    store.stand("cluster", "eu", state="in sync", detail="no changes", succeeded=True)


def silence(store: Store) -> None:
    """The service beats, and then no more."""
    store.beat("the service", timedelta(hours=1))
    with store.database.writing() as connection:
        connection.execute(text("UPDATE leases SET expires_at = 1 WHERE name = '_service'"))


def test_what_a_silent_service_noted_counts_for_nothing(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    synced(store)
    store.beat("the service", timedelta(hours=1))
    assert cluster(store)["state"] == "in sync"
    assert "silent" not in told(store, capsys)
    silence(store)
    found = cluster(store)
    assert found["state"] == "failed"
    assert "the last sync that could be noted: in sync: no changes" in found["detail"]
    said = told(store, capsys)
    assert "Service: silent since 20" in said
    assert "the service was killed, or the store is full, locked or read-only" in said
    # Who synced since knows better, and so does one that ended as it should.
    synced(store)
    assert cluster(store)["state"] == "in sync"
    silence(store)
    store.end_service()
    assert cluster(store)["state"] == "in sync"


def test_who_keeps_a_cluster_and_since_when_is_told(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "  kept by: nobody now" in told(store, capsys)
    with store.lease("eu", "alice", timedelta(hours=1)):
        said = told(store, capsys)
        assert "  kept by: alice\n  kept since: 20" in said
        assert "ahead" not in said
        with store.database.writing() as connection:
            connection.execute(text("UPDATE leases SET expires_at = expires_at + 3450000000"))
        assert "by the database, whose clock was ahead" in told(store, capsys)

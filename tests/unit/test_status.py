"""What `zonebridge status` says of a store."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sync.cli import status
from sync.store import BATCH, Store
from tests.unit.store.words import create, group, intend, new_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "store.db") as opened:
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
    assert "the last state in the store: in sync: no changes" in found["detail"]
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
    assert "  kept by: no process" in told(store, capsys)
    with store.lease("eu", "alice", timedelta(hours=1)):
        said = told(store, capsys)
        assert "  kept by: alice\n  kept since: 20" in said
        assert "ahead" not in said
        with store.database.writing() as connection:
            connection.execute(text("UPDATE leases SET expires_at = expires_at + 3450000000"))
        assert "by the database, whose clock was ahead" in told(store, capsys)


def test_of_many_intents_that_a_kill_left_open_a_line_names_a_few_and_counts_the_rest(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [create(group(f"g{number:02}")) for number in range(BATCH)]
    intend(store.run("killed"), "eu", changes[:3])
    [line] = [each for each in told(store, capsys).splitlines() if "not known to be" in each]
    assert line.count("GlobalNetworkSet g") == 3
    assert "more" not in line
    intend(store.run("killed"), "eu", changes[3:])
    [line] = [each for each in told(store, capsys).splitlines() if "not known to be" in each]
    assert line.startswith("  not known to be written: 64 objects (--output json has all): Global")
    assert line.count("GlobalNetworkSet g") == 3
    assert line.endswith("; and 61 more")
    assert len(cluster(store)["half_written"]["unwritten"]) == 64

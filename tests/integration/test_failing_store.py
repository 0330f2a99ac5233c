"""A store that fails while a cluster is written: its lease runs out, as writes may be under way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from sync.errors import StoreError
from tests.integration.test_cycle import WEB, A, B, World
from tests.unit.store.words import new_store


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_store(tmp_path / "store.db") as store:
        yield World(tmp_path, store)


def test_a_lease_under_which_the_store_failed_in_the_middle_of_a_write_is_not_let_go(
    world: World,
) -> None:
    failing: list[str] = []

    def fail(_connection: object) -> None:
        if failing:
            raise StoreError(f"the store failed while {failing.pop()} was written")

    event.listen(world.store.database.engine, "begin", fail)
    # It fails once: when the outcome is recorded, and not when the lease could be let go.
    world.keep_in_memory().before_write = failing.append
    world.export(A, B, WEB)
    with pytest.raises(StoreError, match="failed while"):
        world.sync()
    assert failing == []
    [intent] = world.store.open_intents("prod")
    [lease] = world.store.leases()
    assert (lease.released, intent.cluster) == (False, "prod")
    assert lease.seconds > 0

"""Processes that share a store, on SQLite and on PostgreSQL."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.store import (
    Store,
    audit,
)
from sync.store.audit import Filter
from sync.store.verification import verify
from tests.unit.store.words import (
    Place,
    names,
    recover,
    take,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place.of(request, tmp_path)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as opened:
        yield opened


def test_two_processes_that_append_at_once_keep_one_chain(place: Place) -> None:
    script = (
        "run = store.run('test')\n"
        "for n in range(30):\n"
        "    run.blocked('eu', ['mass-delete'], f'{run.id} {n}')\n"
        "    apply(run, run.id, create(group(f'{n}')), create(group('x')))\n"
    )
    writers = [place.start(script) for _ in range(2)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with place.open() as store:
        assert verify(store, store.heads()).records == 2 + 2 * 30 * 5
        assert [head.sequence for head in store.heads() if head.chain == "eu"] == [2 * 30]


def test_a_kill_between_intent_and_outcome_leaves_open_intents_and_nothing_else(
    place: Place,
) -> None:
    script = (
        "run = store.run('test')\n"
        "apply(run, 'eu', create(group('old')))\n"
        "intend(run, 'eu', [create(group('web')), delete(group('old'))])\n"
        "print('intended', flush=True)\n"
        "time.sleep(60)\n"
    )
    with place.start(script) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"intended\n"
        writer.send_signal(signal.SIGKILL)
    with place.open() as store:
        assert [intent.object_name for intent in store.open_intents("eu")] == ["web", "old"]
        assert names(store.written("eu")) == ["old"]
        verify(store, store.heads())
        recovery = store.run("test")
        for intent in store.open_intents("eu"):
            recover(recovery, intent, None)
        assert store.written("eu") == {}
        assert store.open_intents("eu") == []
        verify(store, store.heads())


def test_the_lease_of_a_killed_process_expires(place: Place, store: Store) -> None:
    script = (
        "while True:\n"  # a machine that stands still loses it before it is used
        "    try:\n"
        "        with store.lease('eu', 'alice', timedelta(seconds=1)) as lease:\n"
        "            store.run('alice').intend(lease, [create(group('web'))], ORIGINS)\n"
        "            print(lease.epoch, flush=True)\n"
        "            time.sleep(600)\n"
        "    except LeaseLostError:\n"
        "        pass\n"
    )
    with place.start(script) as holder:
        assert holder.stdout is not None
        epoch = int(holder.stdout.readline())
        holder.send_signal(signal.SIGKILL)
    assert take(store, "bob") == epoch + 1
    assert [intent.object_name for intent in store.open_intents("eu")] == ["web"]


@pytest.mark.parametrize("processes", [2, 4])
def test_of_processes_that_race_for_a_lease_one_holds_it_at_a_time(
    place: Place, store: Store, processes: int
) -> None:
    script = (
        "run = store.run('test')\n"
        "epochs = []\n"
        "while len(epochs) < 15:\n"
        "    try:\n"
        "        with store.lease('eu', 'the same words', timedelta(hours=1)) as lease:\n"
        "            assert store.open_intents('eu') == []\n"
        "            [intent] = run.intend(lease, [create(group('web'))], ORIGINS)\n"
        "            assert store.open_intents('eu') == [intent]\n"
        "            run.conclude([Conclusion(intent, Outcome.FAILED)])\n"
        "            epochs.append(lease.epoch)\n"
        "    except LeaseHeldError:\n"
        "        time.sleep(0.01)\n"
        "print(epochs)\n"
    )
    racing = [place.start(script) for _ in range(processes)]
    epochs: list[int] = []
    for each in racing:
        written, _ = each.communicate()
        assert each.returncode == 0
        epochs += json.loads(written)
    assert sorted(epochs) == list(range(1, 15 * processes + 1))
    kinds = [record.kind for record in audit.records(store, Filter(cluster="eu"))]
    assert kinds == ["intent", "outcome"] * 15 * processes
    verify(store, store.heads())

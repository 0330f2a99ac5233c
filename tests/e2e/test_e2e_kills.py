"""Killed at any moment: nothing is in a cluster without a record, and no record is untrue."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sync.calico.manifest import Manifest
from sync.calico.ownership import owner_labels
from sync.errors import ZonebridgeError
from sync.store import Store, open_store_read_only
from sync.store.verification import verify
from tests.e2e.installation import SECONDS, Installation, cluster
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import api, reader
from tests.postgresql import Database
from tests.words import rule

GROUPS = 240
ZONES = ("web", "app", "db", "mail")
RULES = 30
KILLS = 40
MANY_KILLS = 500
RECORDS = 200  # of the trail, up to which a kill waits for them

Key = tuple[str, str]


@pytest.mark.timeout(3000)
def test_forty_kills_leave_a_true_trail_in_sqlite(
    place: Installation, calico: ControlPlane
) -> None:
    killed(place, calico, KILLS)


@pytest.mark.timeout(3000)
def test_forty_kills_leave_a_true_trail_in_postgresql(
    place: Installation, calico: ControlPlane, postgresql_database: Database
) -> None:
    killed(place, calico, KILLS, postgresql_database)


@pytest.mark.slow
@pytest.mark.timeout(10_000)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_five_hundred_kills_leave_a_true_trail(
    place: Installation, calico: ControlPlane, request: pytest.FixtureRequest, kind: str
) -> None:
    database = request.getfixturevalue("postgresql_database") if kind == "postgresql" else None
    killed(place, calico, MANY_KILLS, database)


def killed(
    place: Installation, plane: ControlPlane, kills: int, database: Database | None = None
) -> None:
    """Kill syncs while the firewall's configuration and other hands go on changing things."""
    chance = random.Random(kills)
    url = database.url if database else f"sqlite:///{place.directory}/zonebridge.db"
    variables = {"ZONEBRIDGE_STORE__PASSWORD": database.password} if database else {}
    kubeconfig = str(plane.kubeconfig())
    eu = cluster("eu", kind="kubernetes", kubeconfig=kubeconfig, path=None)
    place.configure(eu, store={"url": url}, lease_ttl="2s")
    password = database.password if database else None
    look, seen = looking(plane, url, password), seeing(url, password)
    inside = 0
    for _ in range(kills):
        change(place, chance)
        with start(place, variables) as process:
            kill(process, seen, chance)
        inside += look() > 0
    # Otherwise the kills have shown nothing: they must fall while something is under way.
    assert inside >= kills // 4

    # What was killed holds a lease for a moment; this one, for as long as a slow machine takes.
    with start(place, variables | {"ZONEBRIDGE_LEASE_TTL": "10m"}) as process:
        _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err.decode()
    assert look() == 0
    assert place.run("plan", "--detailed-exitcode", **variables).code == 0
    assert place.run("audit", "verify", **variables).code == 0


def kill(
    process: "subprocess.Popen[bytes]", seen: Callable[[], tuple[int, int]], chance: random.Random
) -> None:
    """Kill a sync by what its trail has come to; most kills fall between intents and outcomes.

    It stands still while that is made sure of, so the slowest look is not too late.
    """
    records, _ = seen()
    records += chance.choice((1, chance.randrange(1, RECORDS)))
    inside = chance.random() < 0.75

    def is_there() -> bool:
        written, intents = seen()
        return written >= records and (intents > 0 or not inside)

    while process.poll() is None:
        if is_there():
            process.send_signal(signal.SIGSTOP)
            if is_there():
                break
            process.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    process.kill()
    process.communicate()


def seeing(url: str, password: str | None) -> Callable[[], tuple[int, int]]:
    """Gives how many records the cluster's trail has, and how many of them are open intents."""

    def seen() -> tuple[int, int]:
        try:
            store = open_store_read_only(url, password=password)
        except ZonebridgeError:
            return 0, 0  # it is not made yet, or being made
        with store:
            heads = [head.sequence for head in store.heads() if head.chain == "eu"]
            return sum(heads), len(store.open_intents("eu"))

    return seen


def change(place: Installation, chance: random.Random) -> None:
    """Another configuration: groups and rules come, go and change; so do sets and chains."""
    groups = {
        f"g{number:03}": [f"10.{number % 200}.{chance.randrange(4)}.0/24"]
        for number in range(GROUPS)
        if chance.random() < 0.8
    }
    rules = [
        rule(
            f"r{number:02}",
            from_=[chance.choice(ZONES)],
            to=[chance.choice(ZONES)],
            source=[chance.choice(sorted(groups))],
            destination=["any"],
            application=["any"],
            service=["any"],
            action=chance.choice(["allow", "deny"]),
        )
        for number in range(RULES)
        if chance.random() < 0.8
    ]
    place.panorama(eu=groups, rules=rules)


def start(place: Installation, variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    return place.start("sync", "--lease-timeout", "60s", **variables)


def looking(plane: ControlPlane, url: str, password: str | None) -> Callable[[], int]:
    """Hold the cluster against the trail, both as they stand; gives how many intents are open."""

    def look() -> int:
        try:
            store = open_store_read_only(url, password=password)
        except Exception:
            if (Path(url.removeprefix("sqlite:///"))).exists():
                raise
            return 0
        with closing(api(plane)) as opened, store:
            found = reader(opened, owner_labels("zonebridge", store.uuid)).read()
            ours = {key: live.manifest for key, live in found.items() if live.manifest}
            return compare(store, ours)

    return look


def compare(store: Store, ours: dict[Key, Manifest]) -> int:
    verify(store)
    written = store.written("eu")
    intents = {
        (each.object_kind, each.object_name): {each.before, each.after}
        for each in store.open_intents("eu")
    }
    for key in ours.keys() | written.keys():
        holds = ours[key].digest if key in ours else ""
        known = written[key].digest if key in written else ""
        assert holds == known or holds in intents.get(key, set()), key
    return len(intents)

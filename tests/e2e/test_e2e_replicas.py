"""Two and three `zonebridge run` on one PostgreSQL: killed, paused, cut off; one writer a cluster.

What holds whatever becomes of a replica: no two leases of a cluster share an epoch, the trail
verifies, and the clusters are what the firewall says. How long a take-over lasts is told by the
leases, which are on the database's clock: a slow machine delays the tests and fails none.
"""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import pytest
from structlog.testing import capture_logs

from sync.store import open_store_read_only
from sync.store.leases import Holding
from tests.e2e.installation import Installation, Running, kubernetes, until
from tests.fault_proxy import FaultProxy, Silence, everything, fault_proxy
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import nets
from tests.postgresql import Database, Server
from tests.tcp_proxy import DatabaseProxy, database_proxy
from zonebridge_simulator.authority import Authority

TTL = timedelta(seconds=4)
# A standby looks when the lease ends by the database; the rest is what a loaded machine needs.
TAKE_OVER = timedelta(seconds=30)
CLUSTERS = ("eu", "us", "ap")


@dataclass
class Replica:
    """A service of ours, with its own way to the database and to API servers."""

    running: Running
    database: DatabaseProxy

    def leads(self, cluster: str) -> bool:
        return self.running.metric(f"lease_held {cluster}") == 1

    def signal(self, number: int) -> None:
        self.running.process.send_signal(number)

    @property
    def pid(self) -> str:
        return f"process {self.running.process.pid}"


@dataclass
class World:
    """An installation of directories `eu`, `us`, `ap` on one database, and replicas for it."""

    place: Installation
    server: Server
    database: Database
    kept: ExitStack
    epochs: list[Callable[[], set[tuple[str, int]]]]

    @property
    def password(self) -> dict[str, str]:
        return {"ZONEBRIDGE_STORE__PASSWORD": self.database.password}

    def configure(self, *clusters: str | dict[str, object], **keys: object) -> None:
        self.place.configure(
            *clusters,
            **{
                "store": {"url": self.database.url},
                "lease_ttl": f"{TTL.seconds}s",
                "poll_interval": "1s",
                **keys,
            },
        )

    def replica(self, **variables: str) -> Replica:
        proxy = self.kept.enter_context(database_proxy(self.server))
        name = self.database.url.split("@/")[1].split("?")[0]
        variables |= {"ZONEBRIDGE_STORE__URL": proxy.url(name)} | self.password
        running = self.kept.enter_context(self.place.running(**variables))
        self.epochs.append(lambda: _epochs(running))
        return Replica(running, proxy)

    def lease(self, cluster: str) -> Holding:
        """The lease of a cluster, as the database has it."""
        with (
            capture_logs(),
            open_store_read_only(self.database.url, password=self.database.password) as store,
        ):
            return next(each for each in store.leases() if each.name == cluster)

    def now(self) -> datetime:
        """The database's time."""
        with self.server.connect() as connection:
            found = connection.execute("SELECT clock_timestamp()").fetchone()
        assert found
        return found[0]  # type: ignore[no-any-return]  # a timestamp

    def taken_by(self, replica: Replica, cluster: str) -> datetime:
        """Wait until a replica has the lease of a cluster; when it took it, by the database."""
        until(lambda: self.lease(cluster).holder.endswith(replica.pid), f"it leads {cluster}")
        return datetime.fromisoformat(self.lease(cluster).since)

    def says(self, number: int) -> dict[str, list[str]]:
        """Let the firewall say another thing; gives what a directory then has to hold."""
        self.place.panorama(eu={"web": [f"10.1.0.{number}/32"], "db": ["10.2.0.0/24"]})
        return {"pan.db.yaml": ["10.2.0.0/24"], "pan.web.yaml": [f"10.1.0.{number}/32"]}

    def verified(self) -> None:
        """Nothing was doubled or lost, by the trail and by what each replica says it held."""
        self.place.done("audit", "verify", **self.password)
        assert self.place.run("plan", "--detailed-exitcode", **self.password).code == 0
        seen: set[tuple[str, int]] = set()
        for of_replica in self.epochs:
            found = of_replica()
            assert not seen & found
            seen |= found


def _epochs(running: Running) -> set[tuple[str, int]]:
    """The leases that a replica says it took; of one that was killed the last line may lack."""
    lines = running.log.read_bytes().split(b"\n")[:-1]
    events = [orjson.loads(line) for line in lines]
    return {(e["cluster"], e["epoch"]) for e in events if e["event"] == "lease taken"}


@contextmanager
def worlds(place: Installation, server: Server, database: Database) -> Iterator[World]:
    with ExitStack() as kept:
        made = World(place, server, database, kept, [])
        made.configure(*({"name": name} | _directory(name) for name in CLUSTERS))
        yield made


def _directory(name: str) -> dict[str, object]:
    group = {"name": "dg-eu", "mode": "enforced"}
    return {"kind": "manifests", "path": name, "device_groups": [group]}


@pytest.fixture
def world(
    place: Installation, postgresql_server: Server, postgresql_database: Database
) -> Iterator[World]:
    with worlds(place, postgresql_server, postgresql_database) as made:
        yield made


def written(world: World, wanted: dict[str, list[str]]) -> bool:
    return all(world.place.written(name) == wanted for name in CLUSTERS)


def kill(replica: Replica) -> None:
    replica.signal(signal.SIGKILL)
    replica.running.process.wait()


def pause(replica: Replica) -> None:
    replica.signal(signal.SIGSTOP)


def goes_on(replica: Replica) -> None:
    replica.signal(signal.SIGCONT)


# --- one fault ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        pytest.param(kill, None, id="killed"),
        pytest.param(pause, goes_on, id="paused"),
        pytest.param(
            lambda r: r.database.silence(), lambda r: r.database.heal(), id="database silent"
        ),
        pytest.param(
            lambda r: r.database.refuse(), lambda r: r.database.heal(), id="database refuses"
        ),
    ],
)
def test_what_the_first_one_led_the_second_one_leads_and_the_first_writes_nothing_more(
    world: World, fault: Callable[[Replica], None], end: Callable[[Replica], None] | None
) -> None:
    first = world.replica()
    wanted = world.says(1)
    until(lambda: written(world, wanted), "all is written")
    second = world.replica()
    until(lambda: "standing by for" in second.running.get("/readyz")[1], "it stands by")
    # Whoever is there first has all: load is shared only as clusters are let go of.
    assert [first.leads(name) for name in CLUSTERS] == [True] * 3

    before = world.now()
    fault(first)
    taken = [world.taken_by(second, name) for name in CLUSTERS]
    assert max(taken) - before < TAKE_OVER
    wanted = world.says(2)
    until(lambda: written(world, wanted), "the second one writes")
    if end:
        # It wakes with what it knew, and the firewall has moved meanwhile.
        wanted = world.says(3)
        end(first)
        until(lambda: not any(first.leads(name) for name in CLUSTERS), "it knows that it lost")
        until(lambda: written(world, wanted), "the second one goes on")
        assert [second.leads(name) for name in CLUSTERS] == [True] * 3
        assert first.running.stop() == 0
    assert second.running.stop() == 0
    world.verified()


def test_one_that_is_cut_off_from_its_api_server_gives_way_to_one_that_is_not(
    world: World, calico: ControlPlane, authority: Authority
) -> None:
    with fault_proxy(calico, authority) as proxy:
        world.configure(kubernetes("eu", calico.kubeconfig(), "dg-eu"))
        first = world.replica(ZONEBRIDGE_CLUSTERS__0__KUBECONFIG=str(proxy.kubeconfig()))
        until(lambda: set(nets(calico)) == {"pan.db", "pan.web"}, "all is written")
        second = world.replica()
        until(lambda: "standing by for" in second.running.get("/readyz")[1], "it stands by")
        cut(proxy)
        before = world.now()
        world.says(2)
        until(lambda: nets(calico)["pan.web"] == ["10.1.0.2/32"], "the second one writes")
        assert world.taken_by(second, "eu") - before < TAKE_OVER
        proxy.heal()
        world.says(3)
        until(lambda: nets(calico)["pan.web"] == ["10.1.0.3/32"], "one of them writes")
        assert {each.running.stop() for each in (first, second)} == {0}
        world.verified()


def cut(proxy: FaultProxy) -> None:
    proxy.fail(everything, Silence(head=False))
    proxy.cut()


# --- faults by chance -----------------------------------------------------------------------------


def test_of_three_none_writes_what_it_may_not_whatever_befalls_them(
    world: World, calico: ControlPlane
) -> None:
    world.configure(
        kubernetes("eu", calico.kubeconfig(), "dg-eu"),
        *({"name": name} | _directory(name) for name in ("us", "ap")),
    )
    chance = random.Random(3)
    replicas = [world.replica() for _ in range(3)]
    for number, fault in enumerate(("pause", "silence", "kill", "refuse", "pause"), 10):
        wanted = world.says(number)
        # In the middle of whatever it does: who leads is known by the lease alone.
        until(lambda: world.lease("eu").seconds > 0, "somebody leads")
        hit = next(
            (each for each in replicas if world.lease("eu").holder.endswith(each.pid)),
            chance.choice(replicas),
        )
        if fault == "kill":
            kill(hit)
            replicas.remove(hit)
            replicas.append(world.replica())
        elif fault == "pause":
            pause(hit)
        else:
            getattr(hit.database, fault)()

        def arrived(wanted: dict[str, list[str]] = wanted) -> bool:
            web = wanted["pan.web.yaml"]
            in_directories = all(world.place.written(name) == wanted for name in ("us", "ap"))
            return nets(calico).get("pan.web") == web and in_directories

        until(arrived, f"after {fault} another one writes")
        if fault == "pause":
            goes_on(hit)
        hit.database.heal()
    assert {each.running.stop() for each in replicas} == {0}
    assert nets(calico)["pan.web"] == ["10.1.0.14/32"]
    world.verified()

"""`zonebridge run` with a queue, and `zonebridge worker`: forty clusters, one hangs, one dies."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.installation import Installation, Running, cluster, kubernetes, until
from tests.postgresql import Database, Server

MANY = [f"c{number:02}" for number in range(40)]


@dataclass
class World:
    """An installation of directories on one database, each for `dg-eu`."""

    place: Installation
    server: Server
    database: Database
    kept: ExitStack

    def configure(self, *clusters: str | dict[str, object], **keys: object) -> None:
        self.place.configure(
            *(cluster(each, "dg-eu") if isinstance(each, str) else each for each in clusters),
            **{
                "store": {"url": self.database.url},
                "engine": {"kind": "procrastinate"},
                "poll_interval": "1s",
                "lease_ttl": "6s",
                **keys,
            },
        )

    @property
    def password(self) -> dict[str, str]:
        return {"ZONEBRIDGE_STORE__PASSWORD": self.database.password}

    def run(self) -> Running:
        return self.kept.enter_context(self.place.running(**self.password))

    def worker(self, *arguments: str) -> Running:
        command = ("worker", *arguments)
        return self.kept.enter_context(self.place.running(*command, **self.password))

    def says(self, number: int) -> dict[str, list[str]]:
        """Let the firewall say another thing; gives what a directory then has to hold."""
        self.place.panorama(eu={"web": [f"10.1.0.{number}/32"], "db": ["10.2.0.0/24"]})
        return {"pan.db.yaml": ["10.2.0.0/24"], "pan.web.yaml": [f"10.1.0.{number}/32"]}

    def waiting(self) -> set[str]:
        """The clusters that have a task, due or not."""
        name = self.database.url.split("@/")[1].split("?")[0]
        with self.server.connect(name) as connection:
            return {lock for (lock,) in connection.execute("SELECT lock FROM procrastinate_jobs")}


@pytest.fixture
def world(
    place: Installation, postgresql_server: Server, postgresql_database: Database
) -> Iterator[World]:
    with ExitStack() as kept:
        yield World(place, postgresql_server, postgresql_database, kept)


def has(world: World, names: list[str], wanted: dict[str, list[str]]) -> bool:
    return all(world.place.written(name) == wanted for name in names)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of an API server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = {"server": f"https://127.0.0.1:{listener.getsockname()[1]}"}
        written = tmp_path / "silent.kubeconfig"
        document = {
            "clusters": [{"name": "c", "cluster": server}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        written.write_text(yaml.safe_dump(document))
        yield written


def test_four_workers_keep_forty_clusters_though_one_hangs_and_workers_die(
    world: World, silent: Path
) -> None:
    world.configure(*MANY, kubernetes("hangs", silent, "dg-eu"))
    wanted = world.says(1)
    service = world.run()
    # With two slots each: a cluster that took more than one would hold up a worker.
    workers = [world.worker("--slots", "2") for _ in range(4)]
    until(lambda: has(world, MANY, wanted), "all is written")
    # The service itself wrote nothing, and nobody did it alone.
    assert service.metric("cluster_syncs_total") == 0
    until(lambda: sum(each.metric("cluster_syncs_total") for each in workers) >= len(MANY), "told")
    assert sum(each.metric("cluster_syncs_total") > 0 for each in workers) > 1
    # Only what hangs has a task: it is done, or waits for its next try.
    until(lambda: world.waiting() <= {"hangs"}, "nothing else is left to do")
    until(lambda: service.metric("queue_length") <= 1, "the queue is short")

    frozen, dead, *others = workers
    frozen.process.send_signal(signal.SIGSTOP)
    wanted = world.says(2)
    until(lambda: has(world, MANY, wanted), "what one was to do, others do")
    wanted = world.says(3)
    until(lambda: any(world.place.written(name) == wanted for name in MANY), "it has begun")
    dead.process.kill()
    until(lambda: has(world, MANY, wanted), "what one was doing, others do")
    # It wakes with a configuration of two ago, and leases that others have had since.
    wanted = world.says(4)
    frozen.process.send_signal(signal.SIGCONT)
    until(lambda: has(world, MANY, wanted), "all is written")
    until(lambda: world.waiting() <= {"hangs"}, "nothing else is left to do")
    assert has(world, MANY, wanted)
    (world.place.directory / MANY[0] / "globalnetworkset" / "pan.web.yaml").unlink()
    until(lambda: has(world, MANY, wanted), "drift is repaired")
    assert {each.stop() for each in (*others, frozen, service)} == {0}
    world.place.done("audit", "verify", **world.password)
    of_directories = [word for name in MANY for word in ("--cluster", name)]
    planned = world.place.run("plan", "--detailed-exitcode", *of_directories, **world.password)
    assert planned.code == 0


def test_a_worker_beside_an_embedded_engine_is_told_what_is_wrong(world: World) -> None:
    world.configure("eu", engine={"kind": "embedded"})
    refused = world.place.run("worker", **world.password)
    assert refused.code == 64
    assert "engine.kind is embedded" in refused.err


def test_a_queue_needs_a_postgresql(world: World) -> None:
    world.configure("eu", store={"url": "sqlite:///zonebridge.db"})
    refused = world.place.run("run")
    assert refused.code == 64
    assert "engine.kind: procrastinate needs a PostgreSQL in store.url" in refused.err

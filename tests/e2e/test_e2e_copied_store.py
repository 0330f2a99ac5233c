"""Two installations with copies of one store and one cluster, a real API server."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sync.calico.names import RECORD_ANNOTATION, WRITER_ANNOTATION
from tests.e2e.installation import Done, Installation, kubernetes, sentences, until
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import nets, sets
from tests.postgresql import PASSWORD, Server

GROWN = {"web": ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.5/32"], "db": ["10.2.0.0/24"]}


@dataclass(frozen=True, slots=True)
class Pair:
    """An installation, and what makes another one of it with a copy of its store."""

    place: Installation
    cluster: ControlPlane
    copied: Callable[[Path], None]
    variables: dict[str, str]

    def copy(self) -> Installation:
        other = Installation(self.place.directory.with_name("other"))
        other.directory.mkdir()
        shutil.copy(self.place.directory / "panorama.xml", other.directory)
        self.copied(other.directory)
        return other

    def done(self, place: Installation, *arguments: str) -> Done:
        return place.done(*arguments, **self.variables)

    def refused(self, place: Installation, *arguments: str) -> str:
        """What a command says that ends with 8 and leaves the cluster and its chain as it was."""
        before, records = sets(self.cluster), self.records(place)
        done = place.run(*arguments, **self.variables)
        assert done.code == 8, done.err
        assert (sets(self.cluster), self.records(place)) == (before, records)
        [sentence] = sentences(done)
        return sentence

    def records(self, place: Installation) -> list[dict[str, Any]]:
        return place.records("--cluster", "eu", **self.variables)


def configure(place: Installation, plane: ControlPlane, **keys: object) -> None:
    place.configure(
        kubernetes("eu", plane.kubeconfig()), poll_interval="1s", lease_ttl="6s", **keys
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(
    request: pytest.FixtureRequest, place: Installation, calico: ControlPlane
) -> Iterator[Pair]:
    def by_file(directory: Path) -> None:
        with (
            closing(sqlite3.connect(place.directory / "zonebridge.db")) as source,
            closing(sqlite3.connect(directory / "zonebridge.db")) as target,
        ):
            source.backup(target)
        configure(Installation(directory), calico)

    if request.param == "sqlite":
        configure(place, calico)
        yield Pair(place, calico, by_file, {})
        return

    server: Server = request.getfixturevalue("postgresql_server")
    names = [f"test_{uuid4().hex}" for _ in range(2)]

    def made(name: str, template: str) -> None:
        with server.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def by_template(directory: Path) -> None:
        made(names[1], names[0])
        configure(Installation(directory), calico, store={"url": server.url(names[1])})

    with ExitStack() as kept:
        for name in names:
            kept.callback(gone, server, name)
        made(names[0], "template0")
        configure(place, calico, store={"url": server.url(names[0])})
        yield Pair(place, calico, by_template, {"ZONEBRIDGE_STORE__PASSWORD": PASSWORD})


def gone(server: Server, name: str) -> None:
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_a_second_holder_of_a_store_is_stopped_and_the_one_that_is_to_go_on_adopts(
    pair: Pair,
) -> None:
    place = pair.place
    pair.done(place, "sync")
    other = pair.copy()
    assert pair.done(other, "plan", "--detailed-exitcode").out.startswith(
        "Cluster eu (ENFORCED): no changes"
    )
    place.panorama(eu=GROWN)
    pair.done(place, "sync")
    web = sets(pair.cluster)["pan.web"]["metadata"]["annotations"]
    chain, _, record = web[RECORD_ANNOTATION].partition(" ")
    assert (chain, record) in {
        ("eu", f"{each['sequence']}:{each['hash']}")
        for each in pair.records(place)
        if each["kind"] == "intent"
    }
    said = pair.refused(other, "sync")
    assert f"GlobalNetworkSet pan.web was written by {web[WRITER_ANNOTATION]}, under" in said
    assert record in said
    assert "nothing is written to the cluster by zonebridge sync by " in said
    assert "GlobalNetworkSet pan.web" in pair.refused(other, "plan")

    # Nor does a service with the copy write anything, however long; it says so, and stays.
    before = sets(pair.cluster)
    with other.running(**pair.variables) as service:
        until(lambda: service.metric("cluster_syncs_total eu failed") >= 1, "it has looked")
        status, body = service.get("/readyz")
        assert status == 503
        assert "GlobalNetworkSet pan.web was written by" in body
        assert service.get("/livez")[0] == 200
        assert service.stop() == 0
    assert sets(pair.cluster) == before

    # The first one is not held up by that, and learns of the second when that has taken over.
    pair.done(place, "sync")
    assert "GlobalNetworkSet pan.web" in pair.done(other, "sync", "--dry-run", "--adopt").out
    pair.done(other, "sync", "--adopt", "--cluster", "eu")
    assert nets(pair.cluster)["pan.web"] == ["10.1.0.1/32", "10.1.0.2/32"]
    other.panorama(eu=GROWN)
    pair.done(other, "sync")
    pair.done(other, "audit", "verify")
    assert "GlobalNetworkSet pan.web was written by" in pair.refused(place, "sync")
    assert nets(pair.cluster) == GROWN_SETS


GROWN_SETS = {f"pan.{name}": held for name, held in GROWN.items()}

"""The whole service in one process: what it logs, how it is probed, and how it ends."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apscheduler.schedulers.base as scheduling
import pytest
from structlog.testing import capture_logs

from sync.calico.ownership import owner_labels
from sync.errors import StoreError, UsageError
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.service import heartbeat, host, worker
from sync.service import service as whole
from sync.service.configuration import ConfigurationFile, digest
from sync.service.host import Host
from sync.service.metrics import Metrics
from sync.service.service import Service, Timing
from sync.sources.snapshot_cache import keep, kept
from sync.store import Recorder, Store
from sync.store.audit import Filter, records
from sync.store.source_cache import StoredMemory
from sync.store.verification import verify
from sync.translate.compiler import Options
from sync.transport.stopping import Stopping
from tests.unit.service.words import SaidSource, WatchedCluster, until
from tests.unit.store.words import new_store
from tests.words import address, group

TIMING = Timing(
    poll_interval=timedelta(seconds=0.05),
    lease_ttl=timedelta(minutes=10),  # none runs out because a machine is slow
    resync_interval=timedelta(hours=1),
    max_source_age=timedelta(minutes=10),
)
SHORT = timedelta(seconds=3)  # a worker without a lease looks again after a part of it


@dataclass
class Standing(SaidSource):
    """A source that does not answer while it is `held`; `waiting` is set once it was asked."""

    held: bool = False
    goes: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)

    def revision(self) -> str:
        if self.held:
            self.waiting.set()
            assert self.goes.wait(60)
        return super().revision()


@dataclass
class World:
    store: Store
    source: Standing
    cluster: WatchedCluster
    log: list[Any]
    file: Path
    stopping: Stopping = field(default_factory=Stopping)
    asked: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    timing: Timing = TIMING
    following: Callable[[], Service | None] = lambda: None
    metrics: Metrics = field(default_factory=Metrics)

    def ask(self, path: str) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def events(self) -> list[str]:
        return [each["event"] for each in self.log]


def service(
    world: World, head_file: Path | None = None, cluster: WatchedCluster | None = None
) -> Service:
    cluster = cluster or world.cluster
    return Service(
        [world.source],
        [Cluster("prod", (TierBinding("main", "dg"),), cluster, cluster.writer, cluster, True)],
        world.store,
        Options((), True, cluster.owner),
        world.timing,
        trigger="a test",
        holder="the service",
        head_file=head_file,
        metrics=world.metrics,
        stopping=Stopping(),
    )


def host_of(world: World, head_file: Path | None = None) -> Host:
    return Host(
        service(world, head_file),
        ConfigurationFile(world.file, lambda: world.following(), world.metrics, digest(world.file)),
        world.store,
        world.metrics,
        holder="the service",
        asked=world.asked,
        stopping=world.stopping,
    )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(worker, "SETTLE_SECONDS", 0.02)
    with new_store(tmp_path / "store.db") as store, capture_logs() as log:
        source = Standing()
        source.says(address("a", "10.0.0.1"), group("web", "a"), version="1")
        cluster = WatchedCluster(owner_labels("test", store.uuid))
        yield World(store, source, cluster, log, tmp_path / "zonebridge.yaml")


@contextmanager
def serving(world: World, head_file: Path | None = None) -> Iterator[None]:
    made = host_of(world, head_file)
    thread = threading.Thread(target=made.serve, args=["127.0.0.1:0"])
    thread.start()
    try:
        until(lambda: "serving" in world.events())
        world.port = next(each["port"] for each in world.log if each["event"] == "serving")
        yield
    finally:
        world.source.goes.set()
        world.stopping.set()
        thread.join()
    assert world.events()[-1] == "stopped"


def test_it_writes_is_ready_and_ends(world: World) -> None:
    with serving(world):
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]})
        assert world.ask("/livez")[0] == world.ask("/readyz")[0] == 200
    assert [each.seconds for each in world.store.leases()] == [0]


def test_firewalls_that_lag_behind_are_told_when_that_changes(world: World) -> None:
    def lags(**groups: tuple[str, ...]) -> None:
        world.source.not_pushed = groups
        world.source.moves()

    def told() -> list[tuple[str, str]]:
        return [
            (each["event"], each.get("detail", ""))
            for each in world.log
            if "every firewall" in each["event"]
        ]

    def noted() -> list[str]:
        return [each.detail for each in world.store.standings() if each.kind == "source"]

    with serving(world):
        until(lambda: noted() == ["1"])
        lags(dg=("0001",))
        until(lambda: noted() == ["1; device group dg of main is not pushed to 0001"])
        world.source.says(version="2")
        until(lambda: noted() == ["2; device group dg of main is not pushed to 0001"])
        lags(dg=("0001",), other=("0002",))
        until(lambda: len(told()) == 2)
        lags()
        until(lambda: noted() == ["2"])
    first = "device group dg of main is not pushed to 0001"
    assert told() == [
        ("not pushed to every firewall", first),
        (
            "not pushed to every firewall",
            f"{first}; device group other of main is not pushed to 0002",
        ),
        ("pushed to every firewall", ""),
    ]


def test_a_source_that_is_slower_than_its_polls_is_no_news(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(world):
        until(lambda: world.cluster.writes)
        world.source.held = True
        assert world.source.waiting.wait(60)
        # Long enough for polls to be left out.
        threading.Event().wait(0.5)
        assert world.ask("/livez")[0] == 200
    # What goes to Python's own log would be no JSON.
    assert [record.getMessage() for record in caplog.records if record.levelno >= 30] == []


def test_a_poll_that_fails_as_nobody_foresaw_is_logged_and_tried_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    real = world.source.read
    left = iter(range(2))

    def read() -> Any:
        if next(left, None) is not None:
            raise RuntimeError("a bug")
        return real()

    world.source.read = read  # type: ignore[method-assign]
    with serving(world):
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]})
    assert "a bug" in str([each for each in world.log if each["log_level"] == "error"])
    assert [record.getMessage() for record in caplog.records if record.levelno >= 30] == []


def test_a_store_that_cannot_be_asked_makes_it_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beat(self: Store, *_: object) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    with serving(world):
        until(lambda: world.ask("/readyz")[0] == 200)
        with monkeypatch.context() as failing:
            failing.setattr(Store, "beat", beat)
            until(lambda: world.ask("/readyz")[0] == 503)
            assert "s ago; the disk is full" in world.ask("/readyz")[1]
            assert world.ask("/livez")[0] == 200
        until(lambda: world.ask("/readyz")[0] == 200)
        assert world.store.service() is not None
    ended = world.store.service()
    assert ended
    assert ended.released


def test_it_says_for_whom_it_stands_by(world: World) -> None:
    with world.store.lease("prod", "another service", timedelta(hours=1)), serving(world):
        until(lambda: "standing by" in world.events())
        until(lambda: "standing by for another service, for " in world.ask("/readyz")[1])
        until(lambda: world.ask("/readyz")[0] == 200)


def test_a_write_that_fails_makes_it_not_ready_though_smaller_ones_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def intend(self: Recorder, *_: object, **__: object) -> Any:
        raise StoreError("the disk is full")

    world.timing = replace(TIMING, lease_ttl=SHORT)
    with serving(world):
        until(lambda: world.ask("/readyz")[0] == 200)
        with monkeypatch.context() as failing:
            failing.setattr(Recorder, "intend", intend)
            world.source.says(address("a", "10.0.0.2"), group("web", "a"), version="2")
            until(lambda: "[-] cluster prod: the disk is full" in world.ask("/readyz")[1])
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.2/32"]})
        until(lambda: world.ask("/readyz")[0] == 200)


def test_a_store_that_goes_under_it_lets_nothing_more_be_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    with serving(world):
        until(lambda: world.ask("/readyz")[0] == 200)
        until(lambda: world.cluster.nets())
        (tmp_path / "store.db").unlink()
        until(lambda: "the store was replaced" in world.ask("/readyz")[1])
        world.source.says(address("a", "10.0.0.2"), group("web", "a"), version="2")
        until(lambda: "[-] cluster prod: " in world.ask("/readyz")[1])
        assert world.ask("/livez")[0] == 200
    assert world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]}
    assert not (tmp_path / "store.db").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_ended_with_a_bug_makes_it_not_live(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(world.cluster, "read", read)
    with serving(world):
        # At its start it is not live for a moment either.
        until(lambda: "[-] cluster prod: has ended with an error" in world.ask("/livez")[1])
        assert world.ask("/livez")[0] == 503


def test_a_service_that_starts_while_its_source_is_down_keeps_its_clusters(world: World) -> None:
    before = time.time()
    with serving(world):
        until(lambda: "synced" in world.events())
        until(lambda: kept(world.store.memory("main")))
    world.cluster.by_hand(("GlobalNetworkSet", "pan.web"), "192.0.2.1/32")
    world.source.error = "the disk is on fire"
    world.log.clear()
    world.stopping = Stopping()
    with serving(world):
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]})
        # What clusters are kept at was read not long ago.
        status, said = world.ask("/readyz")
        assert (status, "the disk is on fire" in said) == (200, True)
        metrics = world.ask("/metrics")[1]
    label = 'zonebridge_source_last_success_timestamp_seconds{source="main"} '
    [told] = [line.removeprefix(label) for line in metrics.splitlines() if line.startswith(label)]
    assert before <= float(told) <= time.time()
    [remembered] = [each for each in world.log if each["event"] == "configuration remembered"]
    assert (remembered["version"], remembered["source"]) == ("1", "main")
    assert world.events().index("configuration remembered") < world.events().index("serving")
    changes = list(records(world.store, Filter(cluster="prod", outcome="applied")))
    assert (changes[-1].object_name, changes[-1].cause) == ("pan.web", "drift")
    assert verify(world.store)


def test_what_is_remembered_too_long_makes_it_not_ready(world: World) -> None:
    found = world.source.read()
    keep(world.store.memory("main"), found, time.time() - 3600)
    world.source.error = "the disk is on fire"
    with serving(world):
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]})
        status, said = world.ask("/readyz")
    assert (status, "read 36" in said) == (503, True)


def test_a_store_that_does_not_remember_stops_no_poll_and_is_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: StoredMemory, *_: object) -> Any:
        raise StoreError("the disk is full")

    with monkeypatch.context() as failing:
        failing.setattr(StoredMemory, "recall", fails)
        failing.setattr(StoredMemory, "remember", fails)
        with serving(world):
            until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]})
            world.source.says(address("a", "10.0.0.2"), group("web", "a"), version="2")
            until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.2/32"]})
            reads = world.source.reads
            world.source.moves()
            until(lambda: world.source.reads > reads)
            told = ["the store fails", "the last answer is not remembered"]
            assert [event for event in world.events() if event in told] == told
            syncs = world.events().count("synced")
            failing.undo()
            until(lambda: kept(world.store.memory("main")))
            # Workers of a queue know of nothing but what is remembered.
            until(lambda: world.events().count("synced") > syncs)


def test_heads_go_to_the_file_and_one_that_cannot_be_written_is_told(
    world: World, tmp_path: Path
) -> None:
    heads = tmp_path / "none" / "heads"
    world.timing = replace(TIMING, lease_ttl=SHORT)
    with serving(world, heads):
        until(lambda: any("cannot write the heads" in str(each) for each in world.log))
        heads.parent.mkdir()
        world.source.says(address("a", "10.0.0.1"), version="2")
        until(heads.exists)
        until(lambda: not world.cluster.nets())


def test_an_address_that_is_taken_starts_nothing(world: World) -> None:
    with serving(world):
        until(lambda: world.cluster.writes)
        with pytest.raises(UsageError, match=r"health\.bind"):
            host_of(world).serve(f"127.0.0.1:{world.port}")


def test_polls_go_on_when_the_clock_is_set_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wall(datetime):
        ahead = timedelta(hours=1)

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + cls.ahead

    monkeypatch.setattr(scheduling, "datetime", Wall)
    monkeypatch.setattr(whole, "datetime", Wall)
    monkeypatch.setattr(host, "LOOK_SECONDS", 0.05)
    with serving(world):
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]})
        Wall.ahead = timedelta(0)
        world.source.says(address("b", "10.0.0.2"), group("web", "b"), version="2")
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.2/32"]})
    assert "the clock was set back" in world.events()


# --- one configuration after another --------------------------------------------------------------


@pytest.fixture
def reloads(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[Service | None], None]:
    """Have a service follow, or None: the configuration says what it said."""
    monkeypatch.setattr(host, "PAUSE_SECONDS", 0.02)

    def follow(service: Service | None) -> None:
        told = iter([service])
        world.following = lambda: next(told, None)
        world.asked.set()

    return follow


def test_a_service_that_follows_goes_on_with_the_leases_and_says_why(
    world: World, reloads: Callable[[Service | None], None]
) -> None:
    with serving(world):
        until(lambda: world.cluster.nets())
        [before] = world.store.leases()
        taken = world.events().count("lease taken")
        cluster = WatchedCluster(owner_labels("test", world.store.uuid))
        cluster.documents = dict(world.cluster.documents)
        world.source.says(address("a", "10.0.0.2"), group("web", "a"), version="2")
        reloads(service(world, cluster=cluster))
        until(lambda: cluster.nets() == {"pan.web": ["10.0.0.2/32"]})
        until(lambda: world.events().count("lease taken") == taken + 1)
        [after] = world.store.leases()
        assert (after.epoch, after.holder) == (before.epoch, before.holder)
        assert world.ask("/livez")[0] == 200
        assert "zonebridge_config_last_reload_successful 1.0" in world.ask("/metrics")[1]
    assert [each.seconds for each in world.store.leases()] == [0]
    [*_, last] = records(world.store, Filter(cluster="prod", outcome="applied"))
    assert "configuration reloaded" in last.trigger
    assert verify(world.store)


def test_a_service_that_ends_while_a_standby_waits_gives_it_nothing_of_what_is_kept(
    world: World, reloads: Callable[[Service | None], None]
) -> None:
    with serving(world):
        until(lambda: world.cluster.nets())
        # The next one does not have the cluster: nobody here goes on with it.
        following = Service(
            [world.source],
            [],
            world.store,
            Options((), True, world.cluster.owner),
            world.timing,
            trigger="a test",
            holder="the service",
            head_file=None,
            metrics=world.metrics,
            stopping=Stopping(),
        )
        assert 'zonebridge_lease_held{cluster="prod"} 1.0' in world.ask("/metrics")[1]
        reloads(following)
        until(lambda: [each.seconds for each in world.store.leases()] == [0])
        until(lambda: "prod" not in world.ask("/metrics")[1])
        assert "cluster prod" not in world.ask("/livez")[1]
    # What was written there stays.
    assert world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]}


def test_a_service_that_follows_while_its_source_is_down_has_what_was_read_last(
    world: World, reloads: Callable[[Service | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: StoredMemory, *_: object) -> Any:
        raise StoreError("the disk is full")

    # Not even the store has it.
    monkeypatch.setattr(StoredMemory, "remember", fails)
    with serving(world):
        until(lambda: world.cluster.nets())
        world.source.revision_error = "the disk is on fire"
        cluster = WatchedCluster(owner_labels("test", world.store.uuid))
        cluster.documents = dict(world.cluster.documents)
        cluster.by_hand(("GlobalNetworkSet", "pan.web"), "192.0.2.1/32")
        reloads(service(world, cluster=cluster))
        until(lambda: cluster.nets() == {"pan.web": ["10.0.0.1/32"]})


def test_asking_for_what_is_in_use_ends_nothing(
    world: World, reloads: Callable[[Service | None], None]
) -> None:
    with serving(world):
        until(lambda: "lease taken" in world.events())
        reloads(None)
        until(lambda: "configuration unchanged" in world.events())
        assert "stopping" not in world.events()
        assert world.events().count("lease taken") == 1
        assert "[+] configuration: loaded " in world.ask("/readyz")[1]


def test_what_is_asked_to_end_while_another_service_follows_ends(
    world: World, reloads: Callable[[Service | None], None]
) -> None:
    with serving(world):
        until(lambda: world.cluster.nets())
        following = service(world)
        real = following.recall

        def recall(before: Service | None = None) -> None:
            world.stopping.set()
            real(before)

        following.recall = recall  # type: ignore[method-assign]
        reloads(following)
        until(lambda: "stopped" in world.events())
    assert [each.seconds for each in world.store.leases()] == [0]


def test_a_service_that_does_not_end_for_the_next_one_is_not_live_in_the_end(
    world: World, reloads: Callable[[Service | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(world):
        until(lambda: world.cluster.nets())
        world.source.held = True
        assert world.source.waiting.wait(60)
        reloads(service(world))
        until(lambda: "ending for another configuration" in world.ask("/livez")[1])
        assert world.ask("/livez")[0] == 200
        monkeypatch.setattr(host, "HANDOVER_SECONDS", 0.0)
        until(lambda: world.ask("/livez")[0] == 503)
        world.source.held = False
        world.source.goes.set()
        until(lambda: world.ask("/livez")[0] == 200)


def test_a_standby_that_reloads_stands_by_and_takes_over_with_what_is_new(
    world: World, reloads: Callable[[Service | None], None]
) -> None:
    world.timing = replace(TIMING, lease_ttl=SHORT)
    cluster = WatchedCluster(owner_labels("test", world.store.uuid))
    with ExitStack() as another:
        another.enter_context(world.store.lease("prod", "another service", timedelta(hours=1)))
        with serving(world):
            until(lambda: world.events().count("standing by") == 1)
            reloads(service(world, cluster=cluster))
            until(lambda: world.events().count("standing by") == 2)
            assert (world.cluster.writes, cluster.writes, world.store.kept) == ([], [], {})
            another.close()
            until(lambda: cluster.nets() == {"pan.web": ["10.0.0.1/32"]})
    assert world.cluster.writes == []

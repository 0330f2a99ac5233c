"""The worker of one cluster, over a real store and a cluster in memory."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from sync.calico.manifest import Manifest
from sync.calico.objects import GlobalNetworkPolicy, GlobalNetworkSet
from sync.calico.ownership import merged, ours_of, owner_labels, stamp
from sync.clusters.cluster import ClusterFacts, NotWrittenError, Selectable, WatchNotice
from sync.errors import ClusterError, StoreError
from sync.plan.changes import Cause
from sync.plan.guards import Blocker
from sync.plan.plan import Plan
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.reconcile.result import Result
from sync.service import tasks
from sync.service import worker as module
from sync.service.metrics import Metrics
from sync.service.sources import PolledSource
from sync.service.worker import ClusterWorker
from sync.store import Kind, Lease, LeaseHeldError, Record, Store
from sync.store.audit import Filter, records
from sync.store.verification import verify
from sync.translate.compiler import Options
from tests.clock import Clock
from tests.unit.service.words import SaidSource, WatchedCluster, until
from tests.unit.store.words import new_store
from tests.words import address, group, rule

TTL = timedelta(minutes=10)  # none runs out because a machine is slow
SHORT = timedelta(seconds=3)  # a worker without a lease looks again after a part of it
LAST_RETRY = module.LAST_RETRY
WEB = ("GlobalNetworkSet", "pan.web")
TIER, UNKNOWN = "firewallpolicy", "firewallpolicy.pan-unknown-zone"
A, B = address("a", "10.0.0.1"), address("b", "10.0.0.3")
USES_WEB = rule("in", from_=["any"], to=["db"], source=["web"], service=["any"])


class Failing:
    """A store whose `written` fails as long as it is told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fails = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def written(self, cluster: str) -> Any:
        if self.fails:
            self.fails -= 1
            raise StoreError("the disk is full")
        return self._store.written(cluster)


@dataclass
class World:
    """A worker of the cluster `prod`, and all that it works on."""

    store: Store
    failing: Failing
    cluster: WatchedCluster
    source: SaidSource = field(default_factory=SaidSource)
    metrics: Metrics = field(default_factory=Metrics)
    published: int = 0
    unpublishable: str = ""
    repair_drift: bool = True
    resync_interval: timedelta = timedelta(hours=1)
    lease_ttl: timedelta = TTL

    def __post_init__(self) -> None:
        self.polled = PolledSource(self.source, self.store.memory("main"))
        self.worker = self._worker()

    def _worker(self) -> ClusterWorker:
        prod = Cluster(
            "prod",
            (TierBinding("main", "dg"),),
            self.cluster,
            self.cluster.writer,
            self.cluster,
            self.repair_drift,
        )
        return ClusterWorker(
            cluster=prod,
            sources={"main": self.polled},
            store=cast("Store", self.failing),
            options=Options((), True, self.cluster.owner),
            trigger="a test",
            holder="the worker",
            lease_ttl=self.lease_ttl,
            resync_interval=self.resync_interval,
            publish_heads=self._publish,
            metrics=self.metrics,
            stopping=threading.Event(),
        )

    def short_of_time(self) -> None:
        """Leases that are soon looked at again."""
        self.lease_ttl = SHORT
        self.worker = self._worker()
        self.hurry()

    def hurry(self) -> None:
        self.worker.retry_seconds = self.worker.repair_seconds = module.FIRST_RETRY

    def _publish(self) -> None:
        if self.unpublishable:
            raise StoreError(self.unpublishable)
        self.published += 1

    def say(self, **groups: list[str]) -> None:
        """Let the firewall say this, and the worker know."""
        words = [group(name, *held) for name, held in groups.items()]
        self.source.says(A, B, *words, version=str(groups))
        self.polled.poll()
        self.worker.wake("configuration")

    def syncs(self, state: str | None = None) -> int:
        """How many syncs ended, or ended in a state."""
        [family] = [each for each in self.metrics.registry.collect() if "syncs" in each.name]
        return sum(
            int(sample.value)
            for sample in family.samples
            if state in (None, sample.labels["state"])
        )

    def held(self) -> bool:
        found = self.metrics.registry.get_sample_value("zonebridge_lease_held", {"cluster": "prod"})
        return bool(found)

    def idle(self) -> bool:
        """Whether nothing is left to look at."""
        worker = self.worker
        return "prod" in [each.name for each in self.store.leases()] and not (
            worker._seen or worker._beside or worker._unseen or worker._reasons
        )

    def trail(self) -> list[Record]:
        return list(records(self.store, Filter(cluster="prod")))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let the worker work; at the end the trail must verify."""
        thread = threading.Thread(target=self.worker.work, name="cluster prod")
        thread.start()
        try:
            yield
        finally:
            self.worker.stopping.set()
            self.worker.stop()
            thread.join()
        assert not self.held()
        assert verify(self.store).records >= 0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.02)
    monkeypatch.setattr(module, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(module, "LAST_RETRY", 0.05)
    with new_store(tmp_path / "store.db") as store:
        made = World(store, Failing(store), WatchedCluster(owner_labels("test", store.uuid)))
        made.hurry()
        yield made


def settled(world: World, **nets: list[str]) -> int:
    """Wait until the cluster holds this and nothing is left to do; how many syncs that took."""
    wanted = {f"pan.{name}": held for name, held in nets.items()}
    until(lambda: world.cluster.nets() == wanted and world.syncs("in sync") and world.idle())
    # A sync that is under way ends before the next one begins.
    world.cluster.missed()
    before = world.syncs()
    until(lambda: world.syncs() > before and world.idle())
    return world.syncs()


def test_it_waits_for_its_source_and_then_writes(world: World) -> None:
    with world.working():
        until(world.held)
        assert world.syncs() == 0
        world.say(web=["a", "b"])
        settled(world, web=["10.0.0.1/32", "10.0.0.3/32"])
        world.say(web=["a"], db=["b"])
        settled(world, web=["10.0.0.1/32"], db=["10.0.0.3/32"])
        world.say()
        settled(world)
    assert all("configuration" in each.trigger for each in world.trail()[-2:])


def test_what_it_wrote_itself_is_no_reason_to_sync(world: World) -> None:
    with world.working():
        world.say(web=["a"], db=["b"])
        before = settled(world, web=["10.0.0.1/32"], db=["10.0.0.3/32"])
        reads, recorded = world.cluster.reads, len(world.trail())
        for key, document in list(world.cluster.documents.items()):
            world.cluster.changed(key, ours_of(document))
        until(world.idle)
        # What is no reason has been looked at by now; what follows is one.
        world.cluster.by_hand(WEB, "192.0.2.0/24")
        until(lambda: world.cluster.nets()["pan.web"] == ["10.0.0.1/32"])
        until(lambda: world.syncs() == before + 1 and world.idle())
        assert world.cluster.reads == reads + 1
        assert len(world.trail()) == recorded + 2


@pytest.mark.parametrize("verb", ["create", "replace", "delete"])
def test_a_write_that_no_watch_tells_of_is_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    with world.working():
        if verb != "create":
            world.say(web=["a"])
            settled(world, web=["10.0.0.1/32"])
        write = getattr(world.cluster, verb)
        lies: list[Manifest] = []

        def lie(what: Any, *more: Any) -> None:
            manifest = what if isinstance(what, Manifest) else what.manifest
            if manifest.name == "pan.web" and not lies:
                lies.append(manifest)
            else:
                write(what, *more)

        monkeypatch.setattr(module, "TOLD_SECONDS", 0.05)
        monkeypatch.setattr(world.cluster, verb, lie)
        shall = {} if verb == "delete" else {"web": ["b"]}
        world.say(**shall)
        wanted = {"pan.web": ["10.0.0.3/32"]} if shall else {}
        until(lambda: lies and world.cluster.nets() == wanted)
        until(world.idle)
    assert "untold writes" in world.trail()[-1].trigger


def test_writes_that_a_watch_tells_of_are_not_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLD_SECONDS", 3600)
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        world.say(web=["b"])
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.3/32"]})
        until(lambda: world.worker._untold_at < math.inf and not world.worker._untold)


@pytest.mark.parametrize("removed", [True, False])
def test_what_another_hand_did_is_put_back_once_and_recorded(world: World, removed: bool) -> None:
    with world.working():
        world.say(web=["a"])
        before = settled(world, web=["10.0.0.1/32"])
        if removed:
            world.cluster.removed_by_hand(WEB)
        else:
            world.cluster.by_hand(WEB, "0.0.0.0/0")
        until(lambda: world.cluster.nets().get("pan.web") == ["10.0.0.1/32"])
        until(lambda: world.syncs() > before and world.idle())
        assert world.syncs() == before + 1
    intent, outcome = world.trail()[-2:]
    assert (intent.cause, outcome.outcome) == ("drift", "applied")
    assert intent.trigger == "a test: drift"


def test_the_last_good_configuration_is_held_while_the_source_fails(world: World) -> None:
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        world.source.error = "half written"
        world.source.moves()
        world.polled.poll()
        assert world.polled.error
        world.cluster.removed_by_hand(WEB)
        settled(world, web=["10.0.0.1/32"])


def test_whoever_changes_an_object_back_each_time_is_answered_ever_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_RETRY", 1000.0)
    world.say(web=["a"])
    with world.working():
        settled(world, web=["10.0.0.1/32"])
        world.cluster.fights = True
        world.cluster.by_hand(WEB, "192.0.2.0/24")
        until(lambda: world.worker.repair_seconds >= 0.3)
        repairs = len([each for each in world.trail() if each.cause == Cause.DRIFT])
        assert repairs < 200
        # The firewall's own changes do not wait for that.
        world.cluster.fights = False
        world.say(web=["a", "b"])
        settled(world, web=["10.0.0.1/32", "10.0.0.3/32"])


def test_where_another_has_a_copy_of_the_store_it_stands_still_and_is_not_ready(
    world: World,
) -> None:
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        assert world.worker.checks() == []
        theirs = world.cluster.documents[WEB]
        strange = stamp(f"prod 99:{'a' * 64}", "the other one")
        world.cluster.documents[WEB] = merged(ours_of(theirs), theirs, strange)
        recorded, wrote = world.trail(), list(world.cluster.writes)
        before = world.syncs("failed")
        world.say(web=["a"], db=["b"])
        # However often it is tried again.
        until(lambda: world.syncs("failed") >= before + 3)
        [check] = world.worker.checks()
        assert not check.holds
        assert "was written by the other one" in check.says
        assert (world.trail(), world.cluster.writes) == (recorded, wrote)
        world.cluster.documents[WEB] = theirs
        settled(world, web=["10.0.0.1/32"], db=["10.0.0.3/32"])
        assert world.worker.checks() == []


def test_drift_that_is_left_is_told_and_no_loop(world: World) -> None:
    world.repair_drift = False
    world.worker = world._worker()
    world.hurry()
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        recorded = len(world.trail())
        before = world.syncs()
        world.cluster.by_hand(WEB, "192.0.2.0/24")
        until(lambda: world.syncs("drift left") == 1 and world.idle())
        until(lambda: world.worker._retry_at == math.inf)
        assert world.syncs() == before + 1
        assert len(world.trail()) == recorded
    [standing] = world.store.standings()
    assert (standing.state, bool(standing.succeeded)) == ("drift left", True)


def test_a_sync_that_fails_is_tried_again_until_it_succeeds(world: World) -> None:
    left = iter(range(4))

    def refuse(name: str) -> None:
        if name == "pan.web" and next(left, None) is not None:
            raise NotWrittenError("no room")

    world.cluster.before_write = refuse
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("in sync"))
        assert world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]}
        assert world.syncs("failed") == 4
        until(lambda: world.worker._retry_at == math.inf)
    outcomes = [each for each in world.trail() if each.outcome]
    of_set = [each.outcome for each in outcomes if each.object_name == "pan.web"]
    assert of_set == 4 * ["failed"] + ["applied"]
    others = [
        (each.object_name, each.outcome) for each in outcomes if each.object_name != "pan.web"
    ]
    assert others == [(TIER, "applied"), (UNKNOWN, "applied")]


def test_a_cluster_that_is_down_is_brought_to_the_newest_state(world: World) -> None:
    down = threading.Event()
    real = world.cluster.read

    def read() -> Any:
        if down.is_set():
            raise ClusterError("nobody answers")
        return real()

    world.cluster.read = read  # type: ignore[method-assign]
    down.set()
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("failed") >= 3)
        world.say(web=["b"])
        assert world.cluster.writes == []
        down.clear()
        settled(world, web=["10.0.0.3/32"])
    assert world.cluster.writes == [("create", name) for name in (TIER, "pan.web", UNKNOWN)]


@dataclass
class Away:
    """Lets a cluster fail for as long as it is told to."""

    cluster: WatchedCluster
    reads: bool = False
    writes: bool = False

    def __post_init__(self) -> None:
        real = self.cluster.read

        def read() -> Any:
            if self.reads:
                raise ClusterError("nobody answers")
            return real()

        def write(name: str) -> None:
            if self.writes:
                raise NotWrittenError(f"no room for {name}")

        self.cluster.read = read  # type: ignore[method-assign]
        self.cluster.before_write = write

    def ends(self) -> None:
        self.reads = self.writes = False
        self.cluster.noticed("Tier", WatchNotice.BACK)


@pytest.mark.parametrize("what", ["reads", "writes"])
def test_a_cluster_that_answers_again_is_synced_however_late_the_next_try_was(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 1_000.0)
    monkeypatch.setattr(module, "RETURN_SECONDS", 0.01)
    world.hurry()
    away = Away(world.cluster, **{what: True})
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("failed") == 1)
        away.ends()
        settled(world, web=["10.0.0.1/32"])


def test_a_cluster_that_answers_again_while_a_sync_fails_is_synced_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 1_000.0)
    monkeypatch.setattr(module, "RETURN_SECONDS", 0.01)
    world.hurry()
    real, times = world.cluster.read, iter(range(1))

    def read() -> Any:
        if next(times, None) is not None:
            world.cluster.noticed("Tier", WatchNotice.BACK)
            raise ClusterError("nobody answered")
        return real()

    world.cluster.read = read  # type: ignore[method-assign]
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])


def test_a_cluster_that_comes_and_goes_is_tried_no_sooner_than_a_while_after_the_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 1_000.0)
    monkeypatch.setattr(module, "RETURN_SECONDS", 500.0)
    world.hurry()
    Away(world.cluster, reads=True)
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("failed") == 1 and world.worker._retry_at < math.inf)
        for _ in range(100):
            world.cluster.noticed("Tier", WatchNotice.BACK)
        until(lambda: not world.worker._returned)
        assert world.worker._retry_at == world.worker._return_at
        assert world.syncs() == 1


def test_a_cluster_that_comes_and_goes_does_not_fill_the_trail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 1_000.0)
    monkeypatch.setattr(module, "LAST_RETRY", 500.0)
    monkeypatch.setattr(module, "RETURN_SECONDS", 0.0)
    world.hurry()
    Away(world.cluster, writes=True)
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("failed") == 1 and world.worker._retry_at < math.inf)
        recorded = len(world.trail())
        world.cluster.noticed("Tier", WatchNotice.BACK)
        until(lambda: not world.worker._returned)
        assert world.worker._retry_at - time.monotonic() > 400
        assert len(world.trail()) == recorded


def test_drift_is_looked_at_as_soon_as_an_outage_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETURN_SECONDS", 0.01)
    away = Away(world.cluster)
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        away.writes = True
        world.worker.retry_seconds = 1_000.0
        world.say(web=["b"])
        until(lambda: world.syncs("failed") == 1)
        away.ends()
        settled(world, web=["10.0.0.3/32"])
        world.cluster.by_hand(WEB, "0.0.0.0/0")
        settled(world, web=["10.0.0.3/32"])


@pytest.mark.parametrize("what", ["reads", "writes"])
def test_what_is_pending_arrives_within_a_minute_however_long_an_outage_was(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 1.0)
    monkeypatch.setattr(module, "LAST_RETRY", LAST_RETRY)
    clock = world.worker.clock = Clock()
    world.hurry()
    away = Away(world.cluster, **{what: True})
    pauses = []
    with world.working():
        world.say(web=["a"])
        for _ in range(12):
            until(lambda: clock.now < world.worker._retry_at < math.inf)
            pauses.append(world.worker._retry_at - clock.now)
            clock.now = world.worker._retry_at
            world.worker.stop()
        until(lambda: clock.now < world.worker._retry_at < math.inf)
        # No watch tells that writes work again.
        away.reads = away.writes = False
        clock.now += 60
        world.worker.stop()
        settled(world, web=["10.0.0.1/32"])
    for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 32, *[60] * 6], strict=True):
        assert longest / 2 <= pause <= longest
    # Several clusters are not tried in step.
    assert len(set(pauses[6:])) > 1


def test_a_whole_cluster_is_read_again_after_a_while_however_quiet_it_is(world: World) -> None:
    world.resync_interval = timedelta(milliseconds=50)
    world.worker = world._worker()
    world.hurry()
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("in sync") and world.idle())
        recorded = len(world.trail())
        # Another hand's, of which no watch tells.
        until(lambda: world.syncs() >= 3)
        document = Manifest.of(world.cluster.documents[WEB]).document()
        world.cluster.documents[WEB] = document | {"spec": {"nets": ["0.0.0.0/0"]}}
        until(lambda: world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]})
    assert "a test: resync" in {each.trigger for each in world.trail()[recorded:]}
    sample = "zonebridge_cluster_relists_total"
    assert (world.metrics.registry.get_sample_value(sample, {"cluster": "prod"}) or 0) >= 3


def test_metrics_tell_how_watches_fare(world: World) -> None:
    def value(name: str, **labels: str) -> float | None:
        return world.metrics.registry.get_sample_value(f"zonebridge_{name}", labels)

    of_tiers = {"cluster": "prod", "kind": "Tier"}
    for notice in WatchNotice:
        world.metrics.watched("prod", "Tier", notice)
    for how in ("lasted", "short", "silent", "gone", "refused", "broken"):
        assert value("watches_ended_total", **of_tiers, how=how) == 1
    assert value("watch_lists_total", **of_tiers) == 1
    assert value("cluster_returns_total", cluster="prod") == 1
    assert value("watch_last_heard_timestamp_seconds", **of_tiers)


def test_a_block_is_recorded_once_however_often_it_is_seen(world: World) -> None:
    foreign = {"kind": "GlobalNetworkSet", "metadata": {"name": "pan.web"}, "spec": {}}
    world.cluster.documents[WEB] = foreign
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("blocked") >= 5)
        # Once with what was written all the same, and once when that was done.
        others = 2 * [Kind.INTENT, Kind.OUTCOME]
        assert [each.kind for each in world.trail()] == [Kind.BLOCKED, *others, Kind.BLOCKED]
        assert world.trail()[0].detail == "foreign-object"
        assert "zonebridge_blocked" in world.metrics.exposition().decode()
        del world.cluster.documents[WEB]
        until(lambda: world.syncs("in sync"))
        assert world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]}
    written = [Kind.INTENT, Kind.OUTCOME]
    kinds = [each.kind for each in world.trail()]
    assert kinds == [Kind.BLOCKED, *others, Kind.BLOCKED, *written]
    assert 'guard="foreign-object"' not in world.metrics.exposition().decode()


def test_a_block_waits_for_an_operator_and_is_not_tried_again_like_a_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_RETRY", 1_000.0)
    world.cluster.documents[WEB] = {
        "kind": "GlobalNetworkSet",
        "metadata": {"name": "pan.web"},
        "spec": {},
    }
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("blocked") and world.worker._retry_at < math.inf)
        # A failure would be tried again in a fiftieth of a second.
        assert world.worker._retry_at - time.monotonic() > 400


@pytest.mark.parametrize(("tries", "most"), [(0, 1), (1, 2), (20, 60)])
def test_a_worker_of_a_queue_looks_at_a_block_in_a_while_however_often_it_tried(
    tries: int, most: float
) -> None:
    blocker = Blocker("foreign-policy", "somebody else's policy", approvable=True)
    plan = Plan("prod", (), (), (), (), (blocker,), (), 0)
    failed = Result("prod", error=ClusterError("nobody answers"))
    assert tasks.pause(Result("prod", plan), None, tries) == 60
    assert most / 2 <= tasks.pause(failed, None, tries) <= most


def theirs(world: World, *names: str) -> None:
    """Policies of others that alone stand in our tier beside our own."""
    for key, found in list(world.cluster.documents.items()):
        if "theirs" in found["metadata"]["name"]:
            del world.cluster.documents[key]
    for name in names:
        policy = GlobalNetworkPolicy(f"{TIER}.theirs-{name}", TIER, 1, "all()").manifest()
        world.cluster.documents[policy.kind, policy.name] = policy.document()


def test_a_policy_of_others_is_warned_of_when_it_comes_or_changes(world: World) -> None:
    def warned(*names: str) -> list[str]:
        """What a sync warns of, with these policies there."""
        theirs(world, *names)
        before = world.syncs()
        with capture_logs() as log:
            world.worker.wake("a look")
            until(lambda: world.syncs() > before and world.idle())
            # The next sync begins when what this one has to say is said.
            settled(world, web=["10.0.0.1/32"])
        return [each["detail"] for each in log if each["log_level"] == "warning"]

    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        [said] = warned("one")
        assert f"1 policy of others in the tier {TIER} (" in said
        assert warned("one") == []
        [said] = warned("one", "two")
        assert f"2 policies of others in the tier {TIER} (" in said
        assert warned() == []
        assert len(warned("one")) == 1
    [standing] = world.store.standings()
    assert standing.state == "in sync"
    assert f"1 policy of others in the tier {TIER} (" in standing.detail


def test_a_set_of_others_that_counts_as_a_group_of_ours_is_noticed_as_it_comes_and_goes(
    world: World,
) -> None:
    def told(name: str, labels: dict[str, str] | None) -> None:
        key = ("GlobalNetworkSet", name)
        world.cluster.documents.pop(key, None)
        if labels is not None:
            document = GlobalNetworkSet(name, ("192.0.2.0/24",), tuple(labels.items())).manifest()
            world.cluster.documents[key] = document.document()
        found = None if labels is None else Selectable(*key, labels)
        world.cluster.labelled(key, found)

    def detail() -> str:
        (standing,) = world.store.standings()
        return str(standing.detail)

    with world.working():
        world.source.says(A, B, group("web", "a"), USES_WEB, version="1")
        world.polled.poll()
        world.worker.wake("configuration")
        until(lambda: world.syncs("in sync") and world.idle())
        syncs = world.syncs()
        told("theirs", {"team": "blue"})
        told("theirs", {"team": "red", "firewall.tigera.io/dmz": ""})
        until(world.idle)
        assert world.syncs() == syncs

        with capture_logs() as log:
            told("theirs", {"firewall.tigera.io/address-group": "web"})
            until(lambda: world.syncs() > syncs and world.idle())
            until(lambda: "GlobalNetworkSet theirs (" in detail())
            until(lambda: any(each.get("guard") == "foreign-set" for each in log))
        syncs = world.syncs()
        told("theirs", {"firewall.tigera.io/address-group": "web", "team": "blue"})
        until(world.idle)
        assert world.syncs() == syncs
        told("theirs", None)
        until(lambda: "theirs" not in detail() and world.syncs() > syncs)
        assert world.syncs() == syncs + 1


def test_a_calico_that_is_known_to_fail_is_warned_of_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = ClusterFacts(calico_version="v3.32.0")
    monkeypatch.setattr(world.cluster, "facts", lambda zone_label: facts)
    with capture_logs() as log, world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        settled(world, web=["10.0.0.1/32"])
    [warned] = [each["detail"] for each in log if each["log_level"] == "warning"]
    assert "cluster prod runs Calico v3.32.0 with nftablesMode Auto" in warned
    [standing] = world.store.standings()
    assert (standing.state, warned in standing.detail) == ("in sync", True)


def test_a_store_that_fails_for_a_while_is_survived(world: World) -> None:
    world.short_of_time()
    world.failing.fails = 2
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        assert world.failing.fails == 0
        world.failing.fails = 1
        world.cluster.removed_by_hand(WEB)
        settled(world, web=["10.0.0.1/32"])
    assert world.store.open_intents("prod") == []


def test_a_store_that_failed_is_no_more_told_by_who_stands_by_for_another(world: World) -> None:
    world.short_of_time()
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        world.failing.fails = 10**6
        world.cluster.removed_by_hand(WEB)
        until(world.worker.checks)
        with world.store.database.writing() as connection:
            connection.execute(
                text(
                    "UPDATE leases SET holder = 'another', epoch = epoch + 1, expires_at = 1 << 60"
                )
            )
        until(lambda: [each.holds for each in world.worker.checks()] == [True])


def _stolen(world: World, thief: ExitStack) -> Lease:
    """The lease of the cluster, taken between two renewals by its holder."""
    while True:
        with world.store.database.writing() as connection:
            connection.execute(text("UPDATE leases SET expires_at = 0"))
        with suppress(LeaseHeldError):
            return thief.enter_context(world.store.lease("prod", "a thief", TTL))


def test_a_lease_that_went_to_another_is_taken_anew(world: World) -> None:
    world.short_of_time()
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        with ExitStack() as thief:
            stolen = _stolen(world, thief)
            world.say(web=["b"])
            until(lambda: not world.held())
            assert world.cluster.nets() == {"pan.web": ["10.0.0.1/32"]}
            assert stolen.remaining() > 0
        until(world.held)
        settled(world, web=["10.0.0.3/32"])
        [holding] = world.store.leases()
        assert (holding.holder, holding.epoch) == ("the worker", stolen.epoch + 1)


def test_it_stands_by_while_another_holds_the_lease(world: World) -> None:
    with world.store.lease("prod", "another", TTL), world.working():
        world.say(web=["a"])
        # It has looked once it says so, and looks again.
        until(lambda: "zonebridge_lease_held" in world.metrics.exposition().decode())
        assert not world.held()
        assert world.cluster.writes == []
        assert world.syncs() == 0


def test_who_stands_by_takes_over_as_the_lease_of_one_that_died_ends(world: World) -> None:
    with world.store.database.writing() as connection:
        connection.execute(
            text(
                "INSERT INTO leases (name, holder, epoch, expires_at) VALUES ('prod', 'dead', 1,"
                " CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) + 1000)"
            )
        )
    # Its own time to live, of which it would wait for a third, is ten minutes.
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])


def test_one_that_cannot_read_the_cluster_gives_way_where_others_may_stand_by(
    world: World,
) -> None:
    world.failing.shared = True  # type: ignore[attr-defined]  # as a PostgreSQL says
    world.short_of_time()
    away = Away(world.cluster, reads=True)
    with ExitStack() as kept, world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("failed"))

        def is_taken() -> bool:
            with suppress(LeaseHeldError):
                kept.enter_context(world.store.lease("prod", "another", TTL))
                return True
            return False

        until(is_taken)
        until(lambda: not world.held())
        kept.close()
        away.ends()
        settled(world, web=["10.0.0.1/32"])


def test_one_that_gave_way_goes_on_at_once_when_the_cluster_answers_it_again(
    world: World,
) -> None:
    world.failing.shared = True  # type: ignore[attr-defined]  # as a PostgreSQL says
    away = Away(world.cluster, reads=True)
    with world.working():
        world.say(web=["a"])
        until(lambda: world.syncs("failed") and not world.held())
        away.reads = False

        def answers() -> bool:
            world.cluster.noticed("Tier", WatchNotice.BACK)
            return bool(world.syncs("in sync"))

        until(answers)
        settled(world, web=["10.0.0.1/32"])


def test_heads_that_could_not_be_published_are_told_until_they_are(world: World) -> None:
    world.short_of_time()
    world.unpublishable = "the disk is full"
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        until(world.worker.checks)
        reads = world.cluster.reads
        until(lambda: world.cluster.reads > reads + 1)
        assert [each.says for each in world.worker.checks()] == ["the disk is full"]
        world.unpublishable = ""
        until(lambda: world.published == 1)
        until(lambda: not world.worker.checks())


def test_heads_are_published_only_after_a_sync_that_recorded_something(world: World) -> None:
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        assert world.published == 1
        assert world.syncs() > 1


def test_a_cluster_that_is_another_one_waits_for_an_operator_and_then_goes_on(
    world: World,
) -> None:
    world.cluster.uid = "one"
    with world.working():
        world.say(web=["a"])
        settled(world, web=["10.0.0.1/32"])
        world.cluster.uid = "two"
        wrote = list(world.cluster.writes)
        world.say(web=["a", "b"])
        until(lambda: world.syncs("failed") > 2)
        assert world.cluster.writes == wrote
        run = world.store.run("an operator")
        run.accept("prod", "two")
        settled(world, web=["10.0.0.1/32", "10.0.0.3/32"])
    assert world.store.identities()["prod"].uid == "two"

"""Whole cycles over a real store: from an exported configuration to files and an audit trail."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from sqlalchemy import text

from sync.calico import names
from sync.calico.manifest import Manifest
from sync.calico.names import INSTANCE, MANAGED_BY, STORE
from sync.calico.objects import (
    POLICIES,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    Pairs,
    StagedGlobalNetworkPolicy,
    Tier,
)
from sync.calico.objects import Rule as CalicoRule
from sync.calico.ownership import owner_labels
from sync.cli.exit_codes import first_code, of_sync
from sync.cli.verify import Judged
from sync.clusters.cluster import ClusterFacts, Key, LiveObject, NotWrittenError, Selectable
from sync.clusters.in_memory import GivenReader
from sync.clusters.manifests import ManifestsReader, ManifestsWatcher, ManifestsWriter
from sync.errors import ClusterError, SourceError, UsageError
from sync.firewall.configuration import Snapshot
from sync.net.addresses import network
from sync.options import ZoneDefinition, ZoneOptions
from sync.plan.changes import Action, Cause, Change
from sync.plan.origin import NotPushed
from sync.plan.rollout import Rollout
from sync.reconcile.cycle import compare_cycle, plan_cycle, run_cycle
from sync.reconcile.desired import Cluster, InvalidObjectError, rolled_out
from sync.reconcile.device_groups import TierBinding
from sync.reconcile.result import Result
from sync.sources.export import ExportSource
from sync.sources.snapshot_cache import kept
from sync.store import (
    BATCH,
    Kind,
    Lease,
    Outcome,
    Record,
    Store,
    open_store,
)
from sync.store.audit import Filter, at, records, show
from sync.store.verification import verify
from sync.translate.compiler import Options
from sync.translate.fidelity import Report, Status
from sync.verify.proof import Proof
from tests.memory import MemoryCluster
from tests.unit.store.words import new_store, ticking
from tests.words import Word, address, document, dynamic, group, rule

KIND = "GlobalNetworkSet"
POLICY, STAGED = "GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"
TIER, UNKNOWN = "firewallpolicy", "firewallpolicy.pan-unknown-zone"
TTL = timedelta(minutes=10)  # none runs out because a machine is slow
PROBE = 8
A, B, C = address("a", "10.0.0.1"), address("b", "10.0.0.3"), address("c", "10.0.0.5")
WEB, DB = group("web", "a", "b"), group("db", "c")
USES_WEB = rule("in", from_=["any"], to=["db"], source=["web"], service=["any"])


class Killed(BaseException):
    """What a signal raises: nothing may catch it."""


@dataclass
class KnownCluster(MemoryCluster):
    """A cluster in memory of which there is more to know."""

    known: ClusterFacts = field(default_factory=ClusterFacts)

    def facts(self, zone_label: str) -> ClusterFacts:
        del zone_label
        return self.known


@dataclass(frozen=True)
class SaidSource:
    """A source that gives this snapshot."""

    name: str
    snapshot: Snapshot

    def revision(self) -> str:
        raise NotImplementedError

    def read(self) -> Snapshot:
        return self.snapshot


@dataclass
class World:
    """A directory with exports, a store, and clusters that stand for device groups.

    `kept` are the clusters in memory by name; any other is a directory. `settings` are what every
    cluster's configuration says besides, and `mode` that of each device group.
    """

    path: Path
    store: Store
    stands_for: dict[str, tuple[tuple[str, str], ...]] = field(
        default_factory=lambda: {"prod": (("main", "dg"),)}
    )
    kept: dict[str, KnownCluster] = field(default_factory=dict)
    repair_drift: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    mode: Literal["enforced", "staged"] = "staged"
    tags: tuple[str, ...] = ()
    zones: ZoneOptions = field(default_factory=ZoneOptions)
    stopping: Callable[[], bool] = lambda: False

    @property
    def owner(self) -> Pairs:
        return owner_labels("test", self.store.uuid)

    def export(self, *words: Word, source: str = "main", data: bytes | None = None) -> None:
        """Let a source say this of the device group `dg`, or exactly these bytes."""
        (self.path / f"{source}.xml").write_bytes(data or document((), {"dg": words}))

    def keep_in_memory(self, name: str = "prod") -> KnownCluster:
        return self.kept.setdefault(name, KnownCluster(self.owner))

    def folder(self, cluster: str = "prod") -> Path:
        return self.path / cluster / KIND.lower()

    def files(self, cluster: str = "prod") -> dict[str, bytes]:
        """The files of a cluster's sets by name."""
        folder = self.folder(cluster)
        return {each.name: each.read_bytes() for each in folder.glob("*")}

    def nets(self, name: str, cluster: str = "prod") -> list[str]:
        spec = yaml.safe_load(self.files(cluster)[f"{name}.yaml"])["spec"]
        return list(spec.get("nets", []))

    def sync(self, *only: str, dry: bool = False) -> dict[str, Result]:
        """One cycle over everything, or only these; the results by cluster."""
        used = {source for pairs in self.stands_for.values() for source, _ in pairs}
        sources = [ExportSource(name, self.path / f"{name}.xml") for name in sorted(used)]
        chosen = only or tuple(self.stands_for)
        clusters = [self.cluster(name, dry=dry) for name in chosen]
        translation = Options(self.tags, True, self.owner, zones=self.zones)
        if dry:
            results = plan_cycle(sources, clusters, self.store, translation)
        else:
            run = self.store.run("test")
            run.begin()
            results = run_cycle(
                sources, clusters, self.store, translation, run, self._lease, self.stopping
            )
            run.finish("done", {})
        assert tuple(result.cluster for result in results) == chosen
        return {result.cluster: result for result in results}

    @contextmanager
    def _lease(self, cluster: str) -> Iterator[Lease]:
        """Its lease; one that an unknown outcome left behind has run out by now."""
        with self.store.database.writing() as connection:
            # Of this cluster alone: a cycle holds those of others by then.
            expired = text("UPDATE leases SET expires_at = 0 WHERE name = :name")
            connection.execute(expired, {"name": cluster})
        with self.store.lease(cluster, "test", TTL) as lease:
            yield lease

    def only(self, *, dry: bool = False) -> Result:
        (result,) = self.sync(dry=dry).values()
        return result

    def cluster(self, name: str, *, dry: bool = False) -> Cluster:
        pairs, path = self.stands_for[name], self.path / name
        kept = self.kept.get(name)
        writer = (
            kept.writer
            if kept
            else lambda remaining, stopping: ManifestsWriter(path, remaining=remaining)
        )
        tiers = [TIER, *(f"{TIER}-{number}" for number in range(2, len(pairs) + 1))][: len(pairs)]
        return Cluster(
            name,
            tuple(
                TierBinding(source, group, tier, order, self.mode)
                for order, ((source, group), tier) in enumerate(zip(pairs, tiers, strict=True), 101)
            ),
            kept or ManifestsReader(path, self.owner),
            None if dry else writer,
            kept or ManifestsWatcher(path),
            self.repair_drift,
            others=tuple(each for each in self.stands_for if each != name),
            **{"directory": kept is None, **self.settings},
        )

    def wrote(self, cluster: str = "prod") -> bool:
        """Whether anything at all stands in a cluster's directory."""
        return (self.path / cluster).exists()

    def trail(self, cluster: str = "prod") -> list[Record]:
        return list(records(self.store, Filter(cluster=cluster)))

    def verified(self) -> int:
        """Hold the whole trail against itself; how many records it has."""
        return verify(self.store).records


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_store(tmp_path / "store.db", clock=ticking()) as store:
        yield World(tmp_path, store)


def changed(result: Result) -> list[tuple[Action, str]]:
    """What was written."""
    assert result.error is None
    assert result.failed == ()
    return [(change.action, change.name) for change in result.applied]


def sets(result: Result) -> list[tuple[Action, str]]:
    """What was written of sets."""
    written = changed(result)
    kinds = [change.kind for change in result.applied]
    return [each for kind, each in zip(kinds, written, strict=True) if kind == KIND]


def outcomes(trail: Sequence[Record]) -> list[tuple[str, str]]:
    return [(each.object_name, each.outcome) for each in trail if each.outcome]


# --- from one cycle to the next -------------------------------------------------------------------


def test_the_first_sync_creates_and_the_second_changes_nothing(world: World) -> None:
    world.export(A, B, C, WEB, DB)
    assert changed(world.only()) == [
        (Action.CREATE, name) for name in (TIER, "pan.db", "pan.web", UNKNOWN)
    ]
    assert world.nets("pan.web") == ["10.0.0.1/32", "10.0.0.3/32"]
    before, count, trail = world.files(), world.verified(), world.trail()
    assert set(before) == {"pan.db.yaml", "pan.web.yaml"}

    second = world.only()
    assert changed(second) == []
    assert second.plan is not None
    assert second.plan.unchanged == 4
    assert world.files() == before
    assert world.trail() == trail
    # A run has two records, when it began and when it ended, and there is nothing else to say.
    assert world.verified() == count + 2


def test_an_edit_changes_the_sets_concerned_and_no_other(world: World) -> None:
    world.export(A, B, C, WEB, DB, group("all", "web", "db"))
    world.sync()
    before = world.files()
    world.export(A, B, address("c", "10.0.0.7"), WEB, DB, group("all", "web", "db"))
    assert changed(world.only()) == [(Action.UPDATE, "pan.all"), (Action.UPDATE, "pan.db")]
    assert world.nets("pan.db") == ["10.0.0.7/32"]
    assert world.files()["pan.web.yaml"] == before["pan.web.yaml"]
    assert changed(world.only()) == []


def test_the_order_of_the_export_does_not_matter(world: World) -> None:
    world.export(A, B, C, WEB, DB)
    world.sync()
    world.export(DB, C, group("web", "b", "a"), B, A)
    assert changed(world.only()) == []


def test_a_group_that_is_gone_is_deleted(world: World) -> None:
    world.export(A, B, C, WEB, DB)
    world.sync()
    world.export(A, B, WEB)
    assert changed(world.only()) == [(Action.DELETE, "pan.db")]
    assert set(world.files()) == {"pan.web.yaml"}
    assert set(world.store.written("prod")) == {
        ("Tier", TIER),
        (KIND, "pan.web"),
        (STAGED, UNKNOWN),
    }
    assert changed(world.only()) == []
    assert world.verified()


def test_growth_is_written_before_what_goes(world: World) -> None:
    cluster = world.keep_in_memory("prod")
    world.export(A, C, group("old", "a"), group("same", "a"))
    world.sync()
    cluster.writes.clear()
    world.export(A, C, group("new", "a"), group("same", "a", "c"))
    world.sync()
    assert cluster.writes == [("create", "pan.new"), ("replace", "pan.same"), ("delete", "pan.old")]


def test_only_the_groups_with_a_tag_or_a_rule_are_written(world: World) -> None:
    world.tags = ("k8s",)
    world.export(
        A, group("x", "a", tags=("k8s",)), group("y", "a"), group("z", "a"), rule("r", source=["z"])
    )
    assert sets(world.only()) == [(Action.CREATE, "pan.x"), (Action.CREATE, "pan.z")]


def test_a_large_group_is_written_in_more_than_one_batch(world: World) -> None:
    world.export(A)
    world.sync()
    before = len(world.trail())
    world.export(A, *(group(f"g{number}", "a") for number in range(BATCH + 3)))
    assert len(changed(world.only())) == BATCH + 3
    kinds = [record.kind for record in world.trail()][before:]
    # A few first, and only when one of them was taken the others.
    assert kinds[: 2 * PROBE] == [*([Kind.INTENT] * PROBE), *([Kind.OUTCOME] * PROBE)]
    assert kinds[2 * PROBE :][:BATCH] == [Kind.INTENT] * (BATCH + 3 - PROBE) + [Kind.OUTCOME] * 5
    assert kinds.count(Kind.INTENT) == kinds.count(Kind.OUTCOME) == BATCH + 3


# --- a dry run ------------------------------------------------------------------------------------


def test_a_dry_run_plans_what_a_sync_does_and_writes_nothing(world: World) -> None:
    world.export(A, B, WEB)
    dry = world.only(dry=True)
    assert dry.plan is not None
    assert dry.applied == ()
    assert not world.wrote()
    assert world.verified() == 0
    assert world.only().plan == dry.plan


# --- files of others ------------------------------------------------------------------------------


def test_a_file_made_by_hand_survives(world: World) -> None:
    world.export(A, B, WEB)
    world.sync()
    other = world.folder() / "mine.yaml"
    other.write_text("kind: GlobalNetworkSet\nmetadata: {name: mine}\nspec: {nets: [10.0.0.0/8]}\n")
    note = world.folder() / "NOTES.txt"
    note.write_text("hands off")
    world.export(A, DB, C)
    world.sync()
    assert set(world.files()) == {"pan.db.yaml", "mine.yaml", "NOTES.txt"}


def test_a_file_of_others_in_our_place_holds_back_itself_alone_and_stays(world: World) -> None:
    world.export(A, B, C, WEB, DB)
    world.folder().mkdir(parents=True)
    foreign = world.folder() / "pan.web.yaml"
    foreign.write_text("# mine\n")
    result = world.only()
    assert result.plan is not None
    assert [blocker.guard for blocker in result.plan.blockers] == ["foreign-object"]
    assert result.state == "blocked"
    assert len(changed(result)) == 3
    assert "; nothing waits for that, 3 others written" in result.detail
    assert foreign.read_bytes() == b"# mine\n"
    record = world.trail()[0]
    assert (record.kind, record.detail, record.plan) == (
        Kind.BLOCKED,
        "foreign-object",
        result.plan.digest,
    )
    # It is said again when the others are written, and never more.
    trail = [len(world.trail()) for _ in range(3) if world.only()]
    assert trail == 3 * [1 + 6 + 1]
    foreign.unlink()
    assert changed(world.only()) == [(Action.CREATE, "pan.web")]


def test_a_set_of_others_holds_back_what_selects_it_until_it_is_adopted(world: World) -> None:
    world.mode = "enforced"
    cluster = world.keep_in_memory()
    rules = (allow("r", from_=["web"], source=["web"]), allow("s", from_=["db"], source=["db"]))
    theirs = GlobalNetworkSet("pan.web", ("192.0.2.0/24",)).manifest()
    world.export(A, B, C, WEB, DB, *rules)
    put(cluster, theirs)
    dry = world.only(dry=True)
    result = world.only()
    assert dry.plan == result.plan
    assert result.plan is not None
    assert (result.state, result.error) == ("blocked", None)
    written = {name for _, name in changed(result)}
    waits = {change.name for change, _ in result.plan.waiting}
    assert {TIER, "pan.db"} <= written
    assert WEB_CHAIN in waits
    assert not written & waits
    assert cluster.documents[KIND, "pan.web"] == theirs.document()
    document = result.plan.document()
    assert (document["partial"], document["summary"]["blocked"]) == (True, True)
    assert [each["name"] for each in document["held"]] == ["pan.web"]
    assert {each["name"] for each in document["waiting"]} == waits
    assert "zonebridge adopt GlobalNetworkSet pan.web" in result.detail

    # What an operator lets us take over is the object as it was seen.
    run = world.store.run("somebody")
    run.let_adopt("prod", result.plan.held)
    changed_since = GlobalNetworkSet("pan.web", ("198.51.100.0/24",)).manifest()
    cluster.documents[KIND, "pan.web"] = changed_since.document()
    assert world.only().state == "blocked"
    assert cluster.documents[KIND, "pan.web"] == changed_since.document()
    cluster.documents[KIND, "pan.web"] = theirs.document()
    result = world.only()
    assert result.state == "in sync"
    assert {"pan.web", *waits} <= {name for _, name in changed(result)}
    # It holds once.
    cluster.documents[KIND, "pan.web"] = theirs.document()
    assert world.only().state == "blocked"
    assert world.verified()


def test_a_set_of_others_in_our_place_that_ours_would_select_holds_back_everything(
    world: World,
) -> None:
    world.mode = "enforced"
    cluster = world.keep_in_memory()
    world.export(A, B, C, WEB, DB, allow("r", from_=["web"], source=["web"]))
    labels = {names.ADDRESS_GROUP_LABEL: "web"}
    theirs = GlobalNetworkSet("pan.web", ("0.0.0.0/0",), tuple(labels.items())).manifest()
    put(cluster, theirs)
    result = world.only()
    assert result.plan is not None
    # What it holds would count as the address group's: it is judged as what it is.
    assert {each.guard for each in result.plan.blockers} == {"foreign-object", "foreign-set"}
    assert not result.plan.partial
    assert result.plan.waiting == ()
    assert [*cluster.documents.values()] == [theirs.document()]
    # Without the labels it holds back what counts on it alone.
    put(cluster, GlobalNetworkSet("pan.web", ("0.0.0.0/0",)).manifest())
    result = world.only()
    assert result.plan is not None
    assert {each.guard for each in result.plan.blockers} == {"foreign-object"}
    assert result.plan.partial


@pytest.mark.parametrize("ours", [False, True])
def test_a_tier_of_others_holds_back_all_that_is_in_it(world: World, *, ours: bool) -> None:
    world.mode = "enforced"
    cluster = world.keep_in_memory()
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]))
    if ours:
        world.sync()
    theirs = Tier(TIER, 7).manifest()
    put(cluster, theirs)
    world.export(A, B, C, WEB, DB, allow("r", from_=["web"], source=["web", "db"]))
    result = world.only()
    assert result.plan is not None
    assert result.state == "blocked"
    assert cluster.documents["Tier", TIER] == theirs.document()
    # Where policies of ours stand in it, nobody knows what they do now.
    assert result.plan.partial is not ours
    assert not any(kind in POLICIES for kind, _ in cluster.documents) or ours
    assert {name for _, name in changed(result)} <= ({"pan.web", "pan.db"} if not ours else set())


def without(cluster: KnownCluster, key: tuple[str, str], *labels: str) -> None:
    """A hand takes labels off an object."""
    metadata = cluster.documents[key]["metadata"]
    metadata["labels"] = {
        name: value for name, value in metadata["labels"].items() if name not in labels
    }


@pytest.mark.parametrize("label", [MANAGED_BY, INSTANCE, STORE])
@pytest.mark.parametrize("repair", [True, False])
def test_a_label_of_ours_that_a_hand_took_off_is_drift_and_holds_up_nothing(
    world: World, label: str, *, repair: bool
) -> None:
    world.mode = "enforced"
    cluster = world.keep_in_memory()
    world.export(A, B, C, WEB, USES_WEB)
    assert world.only().state == "in sync"
    keys = [key for key in cluster.documents if key[0] != "Tier"]
    assert {kind for kind, _ in keys} == {"GlobalNetworkSet", "GlobalNetworkPolicy"}
    for key in keys:
        without(cluster, key, label)
    world.repair_drift = repair
    result = world.only()
    assert result.plan
    found = result.plan.changes if repair else result.plan.drift
    assert (result.plan.blockers, result.state) == ((), "in sync" if repair else "drift left")
    assert {(each.kind, each.name) for each in found} == set(keys)
    assert {each.cause for each in found} == {Cause.DRIFT}
    for key in keys:
        assert (label in cluster.documents[key]["metadata"]["labels"]) == repair
    assert world.verified()


def test_what_a_hand_took_a_label_off_goes_when_nothing_wants_it_any_more(world: World) -> None:
    world.mode = "enforced"
    cluster = world.keep_in_memory()
    stays = allow("stays", from_=["db"], to=["db"])
    world.export(A, B, C, WEB, USES_WEB, stays)
    world.sync()
    for key in list(cluster.documents):
        if key[0] != "Tier":
            without(cluster, key, STORE)
    world.export(A, stays)
    assert world.only().state == "in sync"
    assert not [name for kind, name in cluster.documents if kind == "GlobalNetworkSet"]


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {MANAGED_BY: "zonebridge"},
        {INSTANCE: "test", STORE: "another"},
        {INSTANCE: "test", MANAGED_BY: "Helm"},
    ],
)
def test_what_somebody_else_claims_or_nothing_tells_is_ours_stays_as_it_is(
    world: World, labels: dict[str, str]
) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB)
    world.sync()
    key = (KIND, "pan.web")
    cluster.documents[key]["metadata"]["labels"] = labels
    before = deepcopy(cluster.documents)
    result = world.only()
    assert result.plan
    assert [each.guard for each in result.plan.blockers] == ["foreign-object"]
    assert cluster.documents == before


def test_what_we_never_wrote_is_not_ours_by_one_label(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB)
    world.sync()
    key = (KIND, "pan.web")
    copied = deepcopy(cluster.documents[key])
    copied["metadata"]["name"] = "pan.db"
    cluster.documents[KIND, "pan.db"] = copied
    without(cluster, (KIND, "pan.db"), STORE)
    world.export(A, B, C, WEB, DB)
    result = world.only()
    assert result.plan
    assert [each.guard for each in result.plan.blockers] == ["foreign-object"]


def test_the_same_export_with_another_store_owns_nothing_here(world: World, tmp_path: Path) -> None:
    world.export(A, B, WEB)
    world.sync()
    before = world.files()
    with open_store(f"sqlite:///{tmp_path}/other.db") as store:
        result = World(tmp_path, store).only()
    assert result.plan is not None
    assert result.plan.blockers
    assert world.files() == before


# --- drift ----------------------------------------------------------------------------------------


def unstamped(files: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    """The lines of files but for the record that each names."""
    return {
        name: [line for line in data.splitlines() if b"zonebridge.io/record" not in line]
        for name, data in files.items()
    }


def test_what_another_hand_changed_is_repaired_and_recorded(world: World) -> None:
    world.export(A, B, C, WEB, DB)
    world.sync()
    before = world.files()
    (world.folder() / "pan.db.yaml").unlink()
    web = world.folder() / "pan.web.yaml"
    web.write_text(web.read_text().replace("10.0.0.3/32", "0.0.0.0/0"))
    result = world.only()
    assert changed(result) == [(Action.CREATE, "pan.db"), (Action.UPDATE, "pan.web")]
    assert {change.cause for change in result.applied} == {Cause.DRIFT}
    assert unstamped(world.files()) == unstamped(before)
    assert world.verified()


def test_drift_that_is_only_reported_stays(world: World) -> None:
    world.repair_drift = False
    world.export(A, B, C, WEB, DB)
    world.sync()
    (world.folder() / "pan.db.yaml").unlink()
    world.export(A, WEB, B, C, DB, group("new", "a"))
    result = world.only()
    assert changed(result) == [(Action.CREATE, "pan.new")]
    assert result.plan is not None
    assert [change.name for change in result.plan.drift] == ["pan.db"]
    assert "pan.db.yaml" not in world.files()


def test_what_is_gone_already_is_recorded_as_gone(world: World) -> None:
    world.export(A, B, C, WEB, DB)
    world.sync()
    (world.folder() / "pan.db.yaml").unlink()
    world.export(A, B, WEB)
    assert changed(world.only()) == [(Action.DELETE, "pan.db")]
    assert changed(world.only()) == []


# --- an object that fails -------------------------------------------------------------------------


def failing(*names: str, error: type[BaseException] = NotWrittenError) -> Callable[[str], None]:
    def before_write(name: str) -> None:
        if name in names:
            raise error(f"{name} was refused")

    return before_write


def nothing(name: str) -> None:
    pass


def test_one_object_that_fails_stops_no_other_and_heals_on_the_next_run(world: World) -> None:
    cluster = world.keep_in_memory("prod")
    world.export(A, B, C, WEB, DB, group("all", "web"))
    cluster.before_write = failing("pan.db")
    result = world.only()
    assert [change.name for change in result.applied] == [TIER, "pan.all", "pan.web", UNKNOWN]
    assert [(change.name, said) for change, said in result.failed] == [
        ("pan.db", "pan.db was refused")
    ]
    assert outcomes(world.trail()) == [
        (TIER, Outcome.APPLIED),
        ("pan.all", Outcome.APPLIED),
        ("pan.db", Outcome.FAILED),
        ("pan.web", Outcome.APPLIED),
        (UNKNOWN, Outcome.APPLIED),
    ]
    assert [each.error for each in world.trail() if each.error] == ["pan.db was refused"]
    assert world.store.open_intents("prod") == []
    assert (KIND, "pan.db") not in world.store.written("prod")

    cluster.before_write = nothing
    assert changed(world.only()) == [(Action.CREATE, "pan.db")]
    assert changed(world.only()) == []
    assert world.verified()


def test_a_failure_in_one_step_does_not_stop_the_next_step(world: World) -> None:
    cluster = world.keep_in_memory("prod")
    world.export(A, B, C, WEB, DB)
    world.sync()
    world.export(A, B, C, group("new", "a"), group("web", "a"))
    cluster.before_write = failing("pan.new")
    result = world.only()
    assert [change.name for change in result.applied] == ["pan.web", "pan.db"]


@pytest.mark.parametrize("happened", [False, True])
def test_a_write_that_nobody_knows_the_end_of_stays_open_until_it_is_read_back(
    world: World, happened: bool
) -> None:
    cluster = world.keep_in_memory("prod")
    world.export(A, B, WEB)
    cluster.before_write = failing("pan.web", error=ClusterError)
    result = world.only()
    assert [change.name for change, _ in result.failed] == ["pan.web"]
    (intent,) = world.store.open_intents("prod")
    assert intent.object_name == "pan.web"
    assert outcomes(world.trail()) == [
        (TIER, Outcome.APPLIED),
        ("pan.web", Outcome.UNKNOWN),
        (UNKNOWN, Outcome.APPLIED),
    ]

    if happened:
        ((change, _),) = result.failed
        assert change.after is not None
        cluster.documents[KIND, "pan.web"] = change.after.document()
    cluster.before_write = nothing
    again = world.only()
    recovered = next(each for each in world.trail() if each.kind == Kind.RECOVERED)
    assert recovered.outcome == (Outcome.APPLIED if happened else Outcome.NOT_APPLIED)
    assert changed(again) == ([] if happened else [(Action.CREATE, "pan.web")])
    assert world.store.open_intents("prod") == []
    assert world.verified()


# --- being killed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("at_write", [0, 63, 70, 2 * BATCH + 11])
def test_a_kill_at_any_write_leaves_open_intents_that_the_next_run_closes(
    world: World, at_write: int
) -> None:
    cluster = world.keep_in_memory("prod")
    total = 1 + (2 * BATCH + 10) + 1  # the tier, the sets and the policy
    world.export(A, *(group(f"g{number:03}", "a") for number in range(total - 2)))
    calls = itertools.count()

    def dying(name: str) -> None:
        if next(calls) >= at_write:
            raise Killed

    cluster.before_write = dying
    with pytest.raises(Killed):
        world.sync()
    assert len(cluster.documents) == at_write
    open_names = {(each.object_kind, each.object_name) for each in world.store.open_intents("prod")}
    known = world.store.written("prod").keys()
    assert known <= cluster.documents.keys() <= known | open_names
    assert len(open_names) <= 2 * BATCH
    world.verified()

    cluster.before_write = nothing
    result = world.only()
    assert len(changed(result)) == total - at_write
    recovered = [each for each in world.trail() if each.kind == Kind.RECOVERED]
    assert len(recovered) == len(open_names)
    applied = {each.object_name for each in recovered if each.outcome == Outcome.APPLIED}
    assert len(applied) == at_write - len(known)
    assert world.store.open_intents("prod") == []
    assert world.store.written("prod").keys() == cluster.documents.keys()
    assert changed(world.only()) == []
    world.verified()


def test_a_kill_between_a_file_and_its_outcome_is_recovered_from_the_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.export(A, B, C, WEB, DB)
    world.sync()
    world.export(A, C, group("web", "a"))
    real = ManifestsWriter.replace

    def killed(
        self: ManifestsWriter, manifest: Manifest, live: LiveObject, stamp: Pairs = ()
    ) -> None:
        real(self, manifest, live, stamp)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ManifestsWriter, "replace", killed)
        with pytest.raises(Killed):
            world.sync()
    assert [each.object_name for each in world.store.open_intents("prod")] == ["pan.web"]
    assert changed(world.only()) == [(Action.DELETE, "pan.db")]
    recovered = [each for each in world.trail() if each.kind == Kind.RECOVERED]
    assert [(each.object_name, each.outcome) for each in recovered] == [
        ("pan.web", Outcome.APPLIED)
    ]
    world.verified()


def test_what_neither_we_nor_the_past_wrote_is_recovered_as_unknown(world: World) -> None:
    cluster = world.keep_in_memory("prod")
    world.export(A, B, WEB)
    cluster.before_write = failing("pan.web", error=Killed)
    with pytest.raises(Killed):
        world.sync()
    plan = world.only(dry=True).plan
    assert plan is not None
    (other,) = (change.after for change in plan.changes if change.kind == KIND)
    assert other is not None
    cluster.documents[KIND, "pan.web"] = other.document() | {"spec": {"nets": ["0.0.0.0/0"]}}
    cluster.before_write = nothing
    assert changed(world.only()) == [(Action.UPDATE, "pan.web"), (Action.CREATE, UNKNOWN)]
    recovered = next(each for each in world.trail() if each.kind == Kind.RECOVERED)
    assert recovered.outcome == Outcome.UNKNOWN
    world.verified()


# --- several sources and clusters -----------------------------------------------------------------


def test_a_source_that_fails_leaves_its_clusters_alone_and_others_go_on(world: World) -> None:
    world.stands_for = {
        "first": (("main", "dg"),),
        "both": (("main", "dg"), ("second", "dg")),
        "other": (("second", "dg"),),
    }
    world.export(A, B, WEB)
    world.export(A, B, WEB, source="second")
    world.sync()
    before = {name: world.files(name) for name in world.stands_for}
    world.export(data=b"<config><shared>", source="main")
    world.export(A, B, C, WEB, DB, source="second")
    results = world.sync()
    for name in ("first", "both"):
        error = results[name].error
        assert isinstance(error, SourceError)
        assert "main.xml cannot be read as XML" in str(error)
        assert results[name].plan is None
        assert world.files(name) == before[name]
    assert changed(results["other"]) == [(Action.CREATE, "pan.db")]
    world.verified()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'<response status="error"><msg>x</msg></response>',
        b"<config><shared/></config>",
        document((), {"another": (A, WEB)}),
        document((), {"dg": (A, WEB)}, parents={"dg": "gone"}),
    ],
    ids=["empty", "error", "no groups", "another group", "no parent"],
)
def test_a_device_group_that_cannot_be_had_deletes_nothing(world: World, data: bytes) -> None:
    world.export(A, B, WEB)
    world.sync()
    before, trail = world.files(), world.trail()
    world.export(data=data or b" ")
    result = world.only()
    assert isinstance(result.error, SourceError)
    assert world.files() == before
    assert world.trail() == trail


def test_a_sync_keeps_what_it_read_for_a_service_and_never_begins_with_it(world: World) -> None:
    memory = world.store.memory("main")
    world.export(A, B, WEB)
    world.only(dry=True)
    assert kept(memory) is None
    world.sync()
    first = kept(memory)
    assert first
    world.export(A, B, C, WEB, DB)
    world.sync()
    last = kept(memory)
    assert last
    assert first[0] < last[0]
    assert first[1].provenance.version != last[1].provenance.version

    (world.path / "main.xml").unlink()
    assert isinstance(world.only().error, SourceError)
    assert kept(memory) == last


def test_a_missing_file_is_a_source_that_fails(world: World) -> None:
    error = world.only().error
    assert isinstance(error, SourceError)
    assert "correct the path of the source" in str(error)


def test_a_cluster_that_fails_holds_up_no_other(world: World) -> None:
    world.stands_for = {"bad": (("main", "dg"),), "good": (("main", "dg"),)}
    (world.path / "bad").write_text("not a directory")
    world.export(A, B, WEB)
    results = world.sync()
    assert isinstance(results["bad"].error, ClusterError)
    assert changed(results["good"]) == [
        (Action.CREATE, name) for name in (TIER, "pan.web", UNKNOWN)
    ]


def test_a_clash_of_names_stops_the_cluster_before_anything_is_written(world: World) -> None:
    world.export(A, group("web   . .-.db", "a"), group("web .- #- _db", "a"), group("x", "a"))
    assert isinstance(world.only().error, SourceError)
    assert not world.wrote()
    assert world.trail() == []


def test_an_object_that_does_not_validate_stops_the_cluster(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.export(A, B, WEB)
    monkeypatch.setattr(
        "sync.reconcile.desired.validate",
        lambda manifest: ["spec.nets[0] is wrong"] if manifest.kind == KIND else [],
    )
    error = world.only().error
    assert isinstance(error, InvalidObjectError)
    assert "GlobalNetworkSet pan.web" in str(error)
    assert "spec.nets[0] is wrong" in str(error)
    assert not world.wrote()


def widened(found: tuple[Rollout, Report]) -> tuple[Rollout, Report]:
    """The same, but for the allows of a port, which are of any."""
    rollout, report = found
    made = {}
    for key, manifest in rollout.manifests.items():
        document = manifest.document()
        for rule_ in document["spec"].get("egress", ()):
            if rule_["action"] == "Pass":
                rule_.get("destination", {}).pop("ports", None)
        made[key] = Manifest.of(document)
    return replace(rollout, manifests=made), report


def test_what_allows_more_than_the_firewall_is_never_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = world.keep_in_memory()
    monkeypatch.setattr(
        "sync.reconcile.desired.rolled_out", lambda *given: widened(rolled_out(*given))
    )
    world.export(allow("web to db", from_=["web"], to=["db"], service=["service-https"]))
    for dry in (True, False):
        result = world.only(dry=dry)
        assert result.plan is not None
        (blocker,) = result.plan.blockers
        assert (blocker.guard, blocker.approvable) == ("verification", False)
        assert "egress of a pod of zone web (" in blocker.message
        assert "the firewall denies it ('interzone-default'), Calico allows it" in blocker.message
        assert f"({WEB_CHAIN}[egress 0] as rule 'web to db')" in blocker.message
        assert of_sync([result], detailed=False) == 6
    assert cluster.documents == {}
    assert [record.kind for record in world.trail()] == [Kind.BLOCKED]
    monkeypatch.undo()
    assert world.only().state == "in sync"


def praised(*given: Any) -> tuple[Rollout, Report]:
    """A translation whose report says that every rule is exact."""
    rollout, report = rolled_out(*given)
    rules = [replace(each, status=Status.EXACT, reasons=()) for each in report.rules]
    return rollout, replace(report, rules=tuple(rules))


def test_what_is_less_than_exact_where_the_report_says_exact_waits_for_an_approval(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = world.keep_in_memory()
    monkeypatch.setattr("sync.reconcile.desired.rolled_out", praised)
    world.export(allow("by name", from_=["web"], to=["db"], application=["ssl"]))
    result = world.only()
    assert result.plan is not None
    (blocker,) = result.plan.blockers
    assert (blocker.guard, blocker.approvable) == ("report-mismatch", True)
    said = "the report says that rule 'by name' of device group dg is exact, and it is not: by the "
    assert blocker.message.startswith(
        f"{said}proof its applications and services are not all ports"
    )
    assert ", as in ingress of a pod of zone db (" in blocker.message
    assert "nothing is opened" in blocker.message
    assert of_sync([result], detailed=False) == 3
    assert cluster.documents == {}
    world.store.run("somebody").approve(result.plan.digest)
    assert world.only().error is None
    assert (STAGED, WEB_CHAIN) in cluster.documents


def test_no_approval_lets_through_what_opens_a_flow_where_the_report_is_wrong_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.keep_in_memory()
    monkeypatch.setattr(
        "sync.reconcile.desired.rolled_out", lambda *given: widened(praised(*given))
    )
    world.export(
        allow("web to db", from_=["web"], to=["db"], service=["service-https"]),
        allow("by name", from_=["web"], to=["db"], application=["ssl"]),
    )
    result = world.only()
    assert result.plan is not None
    (blocker,) = result.plan.blockers
    assert (blocker.guard, blocker.approvable) == ("verification", False)
    assert of_sync([result], detailed=False) == 6


def test_what_the_proof_cannot_decide_waits_for_an_approval(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = world.keep_in_memory()
    because = "tier firewallpolicy: the selector asks for more"
    proof = Proof(undecided=(because,))
    monkeypatch.setattr("sync.reconcile.planning.proof_of", lambda *_, **__: proof)
    world.export(allow("web to db", from_=["web"], to=["db"]))
    result = world.only()
    assert result.plan is not None
    (blocker,) = result.plan.blockers
    assert (blocker.guard, blocker.approvable) == ("undecided", True)
    assert because in blocker.message
    assert of_sync([result], detailed=False) == 3
    world.store.run("somebody").approve(result.plan.digest)
    assert world.only().error is None
    assert (STAGED, WEB_CHAIN) in cluster.documents


def test_what_a_move_is_brought_back_to_is_not_proven_again(world: World) -> None:
    """It was, when it was written; whoever asks for a proof is told that there is none."""
    cluster = world.keep_in_memory()
    world.export(*long_chain(1))
    world.sync()
    world.export(*long_chain(2))
    cluster.before_write = failing(names.policy_part_name(TIER, "web", "b", 2))
    assert world.only().state == "failed"
    world.export(*long_chain(3))
    result = world.only(dry=True)
    assert result.report is not None
    assert (result.error, result.proof) == (None, None)
    judged = Judged(result.cluster, result.report, result.proof)
    assert not judged.holds
    assert "is not decided" in next(judged.lines())
    assert "the next sync rolls it back first" in judged.document()["undecided"][0]


def test_a_failed_proof_goes_before_a_cluster_that_cannot_be_reached() -> None:
    assert first_code({5, 6}) == 6
    assert first_code({4, 6}) == 4
    assert first_code(()) == 0


def test_drift_is_put_back_without_a_proof_and_a_dry_run_may_ask_for_one(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(allow("web to db", from_=["web"], to=["db"]))
    assert world.only().proof is not None
    cluster.documents[STAGED, WEB_CHAIN]["spec"]["order"] = 7
    repaired = world.only()
    assert [(change.name, change.cause) for change in repaired.applied] == [
        (WEB_CHAIN, Cause.DRIFT)
    ]
    assert repaired.proof is None
    assert world.only().proof is None


def test_a_change_of_the_configuration_is_proven_though_drift_is_beside_it(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(allow("web to db", from_=["web"], to=["db"]))
    world.sync()
    cluster.documents[STAGED, UNKNOWN]["spec"]["order"] = 7
    world.export(allow("web to db", from_=["web"], to=["db"]), allow("dmz", from_=["dmz"]))
    planned = world.only(dry=True)
    assert planned.plan is not None
    causes = {each.cause for each in planned.plan.changes}
    assert causes == {Cause.DRIFT, Cause.CONFIGURATION}
    assert planned.proof is not None
    assert world.only().proof is not None


def test_sources_are_read_under_the_leases_of_all_clusters(world: World) -> None:
    """What was read without the lease may be older than what another process wrote since."""
    world.stands_for = {"east": (("main", "dg"),), "west": (("main", "dg"),)}
    world.export(A, B, WEB)
    held: set[str] = set()
    seen: list[set[str]] = []

    @contextmanager
    def lease_of(cluster: str) -> Iterator[Lease]:
        with world.store.lease(cluster, "test", TTL) as lease:
            held.add(cluster)
            yield lease
            held.remove(cluster)

    class Watching(ExportSource):
        def read(self) -> Snapshot:
            seen.append(set(held))
            return super().read()

    run = world.store.run("test")
    run.begin()
    results = run_cycle(
        [Watching("main", world.path / "main.xml")],
        [world.cluster(name) for name in world.stands_for],
        world.store,
        Options((), True, world.owner),
        run,
        lease_of,
        lambda: False,
    )
    assert [each.error for each in results] == [None, None]
    assert seen == [{"east", "west"}]
    assert held == set()


def test_several_device_groups_of_one_cluster_stand_beside_each_other(world: World) -> None:
    world.stands_for = {"prod": (("main", "dg"), ("second", "dg"))}
    world.export(A, B, WEB)
    world.export(A, C, group("web", "c"), source="second")
    # The first one listed keeps the plain names.
    second, name = f"{TIER}-2", f"pan.{names.mapped('second/dg/web')}"
    written = changed(world.only())
    assert sorted(written) == [
        (Action.CREATE, each)
        for each in sorted([TIER, second, "pan.web", name, UNKNOWN, f"{second}.pan-unknown-zone"])
    ]
    assert world.nets("pan.web") == ["10.0.0.1/32", "10.0.0.3/32"]
    assert world.nets(name) == ["10.0.0.5/32"]
    result = world.only()
    assert result.plan is not None
    assert [origin.source for origin in result.plan.origins] == ["main", "second"]


# --- between two exports --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["enforced", "staged"])
@pytest.mark.parametrize("directory", [False, True], ids=["kubernetes", "manifests"])
def test_a_comparison_is_the_plan_of_what_would_have_been_written(
    world: World, mode: Literal["enforced", "staged"], directory: bool
) -> None:
    def rules(*names: str) -> list[Word]:
        return [allow(name, from_=["web"], to=["db"], source=[f"10.0.0.{name}"]) for name in names]

    old = [A, B, C, WEB, DB, *rules("1", "2", "3")]
    new = [A, B, C, group("web", "a"), *rules("3", "1", "4")]
    world.mode, world.settings = mode, {"directory": directory}
    world.keep_in_memory()
    world.export(*old)
    world.sync()
    world.export(*new)
    planned = world.only(dry=True).plan
    assert planned is not None
    assert len(planned.changes) > 2

    world.export(*old, source="old")
    cluster = replace(world.cluster("prod", dry=True), reader=GivenReader({}), watcher=None)
    (compared,) = compare_cycle(
        [ExportSource("main", world.path / "old.xml")],
        [ExportSource("main", world.path / "main.xml")],
        [cluster],
        Options(world.tags, True, world.owner, zones=world.zones),
    )
    assert compared.plan is not None
    assert compared.proof is not None
    [old_origin] = compared.plan.compared_with
    assert old_origin.version != planned.origins[0].version
    assert replace(compared.plan, compared_with=()) == planned


# --- firewalls that lag behind --------------------------------------------------------------------


def test_a_plan_names_the_firewalls_of_its_own_device_groups(world: World) -> None:
    world.export(A, WEB)
    whole = ExportSource("main", world.path / "main.xml").read()
    lags = {"dg": ("0001", "0002"), "other": ("0003",)}
    said = SaidSource("main", replace(whole, not_pushed=lags))
    results = plan_cycle(
        [said],
        [world.cluster("prod", dry=True)],
        world.store,
        Options(world.tags, True, world.owner, zones=world.zones),
    )
    [plan] = [result.plan for result in results]
    assert plan is not None
    assert plan.not_pushed == (NotPushed("main", "dg", ("0001", "0002")),)


# --- what is left out -----------------------------------------------------------------------------


def test_what_does_not_reach_the_cluster_is_in_the_plan(world: World) -> None:
    world.export(A, group("web", "a", "gone"), address("bad", "x"), rule("r"), dynamic("d", "'"))
    plan = world.only(dry=True).plan
    assert plan is not None
    here = "/config/devices/entry[@name='localhost.localdomain']/device-group/entry[@name='dg']"
    assert [left.subject for left in plan.left_out] == [
        f"{here}/address-group/entry[@name='d']/dynamic",
        f"{here}/address/entry[@name='bad']/ip-netmask",
        "address group 'd'",
        "address group 'web'",
        "rules of device group 'dg'",
    ]


def test_remarks_on_other_device_groups_are_theirs(world: World) -> None:
    groups: Mapping[str, Sequence[Word]] = {
        "dg": (A, WEB),
        "up": (address("bad", "x"),),
        "aside": (address("worse", "x"),),
    }
    world.export(data=document((address("shared", "x"),), groups, parents={"dg": "up"}))
    plan = world.only(dry=True).plan
    assert plan is not None
    said = " ".join(left.subject for left in plan.left_out)
    assert "'bad'" in said
    assert "'shared'" in said
    assert "'worse'" not in said


# --- the audit trail ------------------------------------------------------------------------------


def held(world: World) -> dict[Key, Manifest]:
    """What stands in the directory now."""
    live = ManifestsReader(world.path / "prod", world.owner).read()
    return {key: found.manifest for key, found in live.items() if found.manifest}


def test_the_trail_shows_what_stood_in_the_directory_at_any_time(world: World) -> None:
    stood: list[tuple[datetime, dict[Key, Manifest]]] = [(world.store.clock(), {})]
    for words in (
        (A, B, C, WEB, DB),
        (A, B, C, group("web", "c"), DB),
        (A, B, C, group("web", "c")),
        (A, B, C, group("web", "c")),
        (A, B, C, WEB, DB, group("new")),
        (A,),
    ):
        world.export(*words)
        world.sync()
        stood.append((world.store.clock(), held(world)))
    assert len({tuple(sets) for _, sets in stood}) > 3
    for time, expected in stood:
        assert at(world.store, "prod", time) == expected
    world.verified()


def test_a_record_says_what_changed_why_and_from_which_version(world: World) -> None:
    world.export(A, B, WEB)
    world.sync()
    world.export(A, B, group("web", "a"))
    world.sync()
    intent = [each for each in world.trail() if each.kind == Kind.INTENT][-1]
    assert (intent.action, intent.cause, intent.object_name) == (
        Action.UPDATE,
        Cause.CONFIGURATION,
        "pan.web",
    )
    assert intent.groups == ("web",)
    assert intent.trigger == "test"
    assert intent.firewall_version.startswith("main sha256:")
    assert intent.before != intent.after


def test_what_another_hand_made_as_it_shall_be_is_recorded(world: World) -> None:
    """A second name for one directory: its sets are taken over, and the trail says so."""
    world.export(A, B, WEB)
    world.only()
    files = world.files()
    (world.path / "renamed").symlink_to(world.path / "prod")
    world.stands_for = {"renamed": (("main", "dg"),)}
    result = world.only()
    assert result.applied == ()
    assert result.plan is not None
    assert len(result.plan.adopted) == 3
    assert world.files() == files
    assert sorted(kind for kind, _ in world.store.written("renamed")) == [KIND, STAGED, "Tier"]
    adopted = records(world.store, Filter(cluster="renamed", kind="adopted"))
    assert [(record.object_name, record.groups) for record in adopted] == [
        ("pan.web", ("web",)),
        (UNKNOWN, ()),
        (TIER, ()),
    ]
    verify(world.store)
    plan = world.only(dry=True).plan
    assert plan is not None
    assert plan.adopted == ()


# --- policies -------------------------------------------------------------------------------------


def allow(name: str, **lists: Sequence[str] | str) -> Word:
    """An allow for any application and service, from anywhere to anywhere but for `lists`."""
    said: dict[str, Sequence[str] | str] = {
        "from_": ["any"],
        "to": ["any"],
        "source": ["any"],
        "destination": ["any"],
        "application": ["any"],
        "service": ["any"],
        "action": "allow",
    }
    return rule(name, rulebase="pre", **{**said, **lists})


def kinds(cluster: KnownCluster) -> dict[str, list[str]]:
    """The names of what a cluster holds, by kind."""
    return {
        kind: sorted(name for _, name in found)
        for kind, found in itertools.groupby(sorted(cluster.documents), key=lambda key: key[0])
    }


WEB_CHAIN, DB_CHAIN = f"{TIER}.pan-zone-web", f"{TIER}.pan-zone-db"


def test_a_rule_becomes_chains_in_the_tier_of_its_device_group(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, C, WEB, DB, allow("r", from_=["web"], to=["db"], source=["web"]))
    first = world.only()
    assert first.error is None
    assert [name for _, name in cluster.writes[:3]] == [TIER, "pan.db", "pan.web"]
    assert sorted(cluster.writes[3:]) == [
        ("create", name) for name in (UNKNOWN, DB_CHAIN, WEB_CHAIN)
    ]
    assert kinds(cluster) == {
        KIND: ["pan.db", "pan.web"],
        STAGED: [UNKNOWN, DB_CHAIN, WEB_CHAIN],
        "Tier": [TIER],
    }
    assert changed(world.only()) == []
    assert world.verified()


def test_staged_policies_are_removed_once_those_that_enforce_stand(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]))
    world.sync()
    cluster.writes.clear()
    world.mode = "enforced"
    assert world.only().error is None
    assert [verb for verb, _ in cluster.writes] == ["create", "create", "delete", "delete"]
    assert kinds(cluster) == {KIND: ["pan.web"], POLICY: [UNKNOWN, WEB_CHAIN], "Tier": [TIER]}
    assert changed(world.only()) == []


def test_a_zone_that_no_rule_names_any_more_loses_its_chain_before_its_sets_go(
    world: World,
) -> None:
    cluster = world.keep_in_memory()
    stays = allow("stays", from_=["db"], to=["db"])
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]), stays)
    world.sync()
    cluster.writes.clear()
    world.export(A, B, stays)
    assert world.only().error is None
    assert cluster.writes[-2:] == [("delete", WEB_CHAIN), ("delete", "pan.web")]


def test_what_became_of_each_rule_is_in_the_report(world: World) -> None:
    world.export(
        A,
        group("web", "a", "gone"),
        allow("first", from_=["web"], source=["web"]),
        allow("users", source_user=["alice"]),
    )
    result = world.only(dry=True)
    report = result.report
    assert report is not None
    assert report.cluster == "prod"
    assert [(each.name, each.status, len(each.calico) > 0) for each in report.rules] == [
        ("first", Status.NARROWED, True),
        ("users", Status.LEFT_OUT, False),
    ]
    assert [(each.name, each.status) for each in report.groups] == [("web", Status.NARROWED)]
    assert [zone.name for zone in report.zones] == ["web"]
    assert result.plan is not None
    assert ("rules of device group 'dg'", "1 narrowed, 1 left-out; see `zonebridge report`") in [
        (left.subject, left.reason) for left in result.plan.left_out
    ]


# --- what else there is to know of a cluster ------------------------------------------------------


def nets_to_pods(cluster: KnownCluster, name: str, of: str) -> list[list[str]]:
    """The nets that egress of a chain gives a rule towards pods, Calico rule by Calico rule."""
    egress = cluster.documents[STAGED, name]["spec"]["egress"]
    return [
        each["destination"].get("nets", [])
        for each in egress
        if each["metadata"]["annotations"][names.RULE_ANNOTATION] == of
        and "selector" in each["destination"]
    ]


@pytest.mark.parametrize(
    ("settings", "known", "expected"),
    [
        ({}, None, ["10.0.0.0/8", "192.0.2.0/24"]),
        ({}, "10.1.0.0/16", ["10.1.0.0/16"]),
        # What is configured is not asked for.
        ({"pod_cidrs": network("10.2.0.0/16")}, "10.1.0.0/16", ["10.2.0.0/16"]),
        ({"pod_cidrs": network("192.0.2.0/25")}, None, ["192.0.2.0/25"]),
    ],
)
def test_where_pods_are_narrows_what_an_allow_inlines_and_no_deny(
    world: World, settings: dict[str, Any], known: str | None, expected: list[str]
) -> None:
    cluster = world.keep_in_memory()
    cluster.known = ClusterFacts(pod_networks=network(known) if known else None)
    world.settings = settings
    lists = {"from_": ["web"], "to": ["db"], "destination": ["wide", "far"]}
    world.export(
        address("wide", "10.0.0.0/8"),
        address("far", "192.0.2.0/24"),
        allow("let", **lists),
        allow("stop", **lists, action="deny"),
    )
    assert world.only().error is None
    assert nets_to_pods(cluster, WEB_CHAIN, "let") == [expected]
    assert nets_to_pods(cluster, WEB_CHAIN, "stop") == [["10.0.0.0/8", "192.0.2.0/24"]]


def test_pods_that_came_to_lie_elsewhere_change_the_chain(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(
        address("wide", "10.0.0.0/8"),
        allow("let", from_=["web"], to=["db"], destination=["wide"]),
    )
    cluster.known = ClusterFacts(pod_networks=network("10.1.0.0/16"))
    world.sync()
    cluster.known = ClusterFacts(pod_networks=network("10.2.0.0/16"))
    assert changed(world.only()) == [(Action.UPDATE, WEB_CHAIN)]
    assert nets_to_pods(cluster, WEB_CHAIN, "let") == [["10.2.0.0/16"]]


@pytest.mark.parametrize("dry", [False, True])
def test_a_cluster_with_windows_nodes_is_refused_and_no_other(world: World, dry: bool) -> None:
    world.stands_for = {"windows": (("main", "dg"),), "linux": (("main", "dg"),)}
    cluster = world.keep_in_memory("windows")
    cluster.known = ClusterFacts(windows_nodes=("win-1", "win-2"))
    world.export(A, B, WEB)
    results = world.sync(dry=dry)
    error = results["windows"].error
    assert isinstance(error, ClusterError)
    assert "cluster windows has Windows nodes (win-1)" in str(error)
    assert "windows: ignore" in str(error)
    assert results["windows"].plan is None
    assert results["windows"].state == "failed"
    assert cluster.writes == []
    assert world.trail("windows") == []
    assert results["linux"].succeeded


def test_windows_nodes_without_zoned_pods_are_nobodys_business(world: World) -> None:
    cluster = world.keep_in_memory()
    cluster.known = ClusterFacts(windows_nodes=("win-1",))
    world.settings = {"refuse_windows": False}
    world.export(A, B, WEB)
    assert len(changed(world.only())) == 3


def test_a_label_on_pods_that_names_no_zone_is_told(world: World) -> None:
    """They are denied everything, which nobody means."""
    cluster = world.keep_in_memory()
    cluster.known = ClusterFacts(
        zone_labels={"web": ("shop/web-1",), "wbe": ("shop/web-2", "shop/web-3")}
    )
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]))
    plan = world.only().plan
    assert plan is not None
    (told,) = (each for each in plan.left_out if each.subject.startswith("pods"))
    assert told.subject == "pods labelled firewall.tigera.io/zone: 'wbe'"
    assert told.reason == (
        "no zone has its pods by that label; unless a definition has them, they are to be "
        "denied everything (shop/web-2, shop/web-3); correct the label"
    )


def test_a_calico_that_is_known_to_fail_is_warned_of_and_written(world: World) -> None:
    cluster = world.keep_in_memory()
    cluster.known = ClusterFacts(calico_version="v3.32.0")
    world.export(A, B, WEB)
    result = world.only()
    assert (result.state, result.plan is not None and len(result.plan.warnings)) == ("in sync", 1)
    assert "runs Calico v3.32.0 with nftablesMode Auto" in result.detail
    assert result.detail.startswith("3 written, 0 unchanged; cluster prod runs ")


def test_a_warning_is_no_other_plan_to_approve(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB)
    plans = []
    for version in ("v3.32.2", "v3.32.0"):
        cluster.known = ClusterFacts(calico_version=version)
        plan = world.sync(dry=True)["prod"].plan
        assert plan is not None
        plans.append(plan)
    assert [len(plan.warnings) for plan in plans] == [0, 1]
    assert plans[0].digest == plans[1].digest


def test_a_cluster_whose_facts_cannot_be_had_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB)

    def facts(zone_label: str) -> ClusterFacts:
        raise ClusterError("nobody answers")

    monkeypatch.setattr(cluster, "facts", facts)
    result = world.only()
    assert isinstance(result.error, ClusterError)
    assert cluster.writes == []


def put(cluster: MemoryCluster, *manifests: Manifest) -> None:
    """Let objects of others stand in a cluster."""
    for each in manifests:
        cluster.documents[each.kind, each.name] = each.document()


def theirs(name: str, tier: str = TIER) -> Manifest:
    """A policy of somebody else that allows everything."""
    return GlobalNetworkPolicy(name, tier, 1, "all()", egress=(CalicoRule("Allow"),)).manifest()


@pytest.mark.parametrize(
    ("held", "named"),
    [
        ((theirs(f"{TIER}.theirs"),), f"GlobalNetworkPolicy {TIER}.theirs"),
        ((), "NetworkPolicy shop/theirs"),
    ],
    ids=["of the cluster", "of a namespace"],
)
def test_a_policy_of_others_in_our_tier_blocks_until_it_is_approved(
    world: World, held: Sequence[Manifest], named: str
) -> None:
    world.stands_for = {"prod": (("main", "dg"),), "other": (("main", "dg"),)}
    cluster = world.keep_in_memory()
    put(cluster, *held)
    if not held:
        cluster.known = ClusterFacts(
            foreign_policies={TIER: (named,), "default": ("NetworkPolicy shop/elsewhere",)}
        )
    put(cluster, theirs("default.elsewhere", "default"))
    before = dict(cluster.documents)
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]))

    results = world.sync()
    assert results["other"].succeeded
    plan = results["prod"].plan
    assert plan is not None
    assert (results["prod"].state, results["prod"].applied) == ("blocked", ())
    assert not results["prod"].succeeded
    (blocker,) = plan.blockers
    assert (blocker.guard, blocker.approvable, plan.approvable) == ("foreign-policy", True, True)
    assert f"1 policy of others in the tier {TIER} ({named})" in blocker.message
    assert results["prod"].detail == blocker.message
    assert cluster.documents == before
    (standing,) = (each for each in world.store.standings() if each.name == "prod")
    assert (standing.state, bool(standing.succeeded)) == ("blocked", False)
    (waiting,) = world.store.approvals()
    assert (waiting.cluster, waiting.plan) == ("prod", plan.digest)

    world.store.run("alice").approve(plan.digest)
    written = world.sync()["prod"]
    assert len(changed(written)) == 4
    assert before.items() <= cluster.documents.items()
    again = world.sync()["prod"]
    assert again.state == "in sync"
    told = "1 rule written smaller (none new)"
    assert again.detail == f"no changes; 4 unchanged; {told}; {blocker.message}"
    assert world.verified()


def labelled_set(name: str = "partners", **labels: str) -> Manifest:
    """A set of somebody else with the label of an address group of ours."""
    carried = ((names.ADDRESS_GROUP_LABEL, "web"), *labels.items())
    return GlobalNetworkSet(name, ("192.0.2.0/24",), carried).manifest()


def test_a_set_of_others_that_counts_as_a_group_of_ours_blocks_until_it_is_approved(
    world: World,
) -> None:
    cluster = world.keep_in_memory()
    put(cluster, labelled_set())
    cluster.known = ClusterFacts(
        selectable=(Selectable("HostEndpoint", "node-1", {names.ADDRESS_GROUP_LABEL: "web"}),)
    )
    before = dict(cluster.documents)
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]))
    result = world.only()
    plan = result.plan
    assert plan is not None
    (blocker,) = plan.blockers
    assert (blocker.guard, result.state, plan.approvable) == ("foreign-set", "blocked", True)
    assert "GlobalNetworkSet partners (firewall.tigera.io/address-group: web)" in blocker.message
    assert "HostEndpoint node-1 (" in blocker.message
    assert cluster.documents == before

    world.store.run("alice").approve(plan.digest)
    assert len(changed(world.only())) == 4
    again = world.only()
    assert (again.state, again.plan and again.plan.let_through) == ("in sync", (blocker,))
    assert blocker.message in again.detail
    # What came since nobody approved.
    put(cluster, labelled_set("more"))
    world.export(A, B, group("web", "a"), allow("r", from_=["web"], source=["web"]))
    assert world.only().state == "blocked"
    assert world.verified()


def test_what_guards_could_not_see_is_in_the_plan(world: World) -> None:
    cluster = world.keep_in_memory()
    cluster.known = ClusterFacts(
        foreign_policies_because="grant policies", selectable_because="grant sets"
    )
    world.export(A, B, WEB)
    plan = world.only().plan
    assert plan is not None
    seen = "does not see them all"
    assert [(each.subject, each.reason) for each in plan.left_out] == [
        ("policies of others", f"the guard foreign-policy {seen}: grant policies"),
        ("sets and host endpoints of others", f"the guard foreign-set {seen}: grant sets"),
    ]


# --- sources that hold less -----------------------------------------------------------------------

LINE = {"dg": "up"}


def inherit(world: World, *words: Word, up: Sequence[Word], parents: Mapping[str, str]) -> None:
    """Let the source say this of `dg`, and of `up`."""
    world.export(data=document((), {"dg": words, "up": up}, parents=parents))


@pytest.mark.parametrize(
    ("own", "up", "parents", "said"),
    [
        ((), (B,), LINE, "device group dg held rules or addresses for the tier firewallpolicy and"),
        (
            (A, WEB),
            (),
            LINE,
            "device group up held rules or addresses for the tier firewallpolicy ",
        ),
        (
            (A, WEB),
            (B,),
            {},
            "device group up held rules or addresses for the tier firewallpolicy,",
        ),
    ],
    ids=["emptied", "emptied above", "moved"],
)
def test_a_device_group_that_holds_nothing_any_more_deletes_nothing_until_it_is_approved(
    world: World,
    own: Sequence[Word],
    up: Sequence[Word],
    parents: Mapping[str, str],
    said: str,
) -> None:
    inherit(world, A, WEB, up=(B,), parents=LINE)
    world.sync()
    before = world.files()
    assert world.nets("pan.web") == ["10.0.0.1/32", "10.0.0.3/32"]

    inherit(world, *own, up=up, parents=parents)
    held = world.only()
    assert (held.state, held.applied) == ("blocked", ())
    assert held.plan
    (blocker,) = held.plan.blockers
    assert (blocker.guard, blocker.approvable) == ("empty-source", True)
    assert blocker.message.startswith(said)
    assert held.detail == blocker.message
    assert of_sync([held], detailed=False) == 3
    assert world.files() == before

    world.store.run("alice").approve(held.plan.digest)
    assert changed(world.only())
    assert world.files() != before
    again = world.only()
    assert (again.state, changed(again)) == ("in sync", [])
    assert again.plan
    assert again.plan.let_through == ()
    assert world.verified()


def test_a_device_group_that_is_whole_again_goes_on_by_itself(world: World) -> None:
    inherit(world, A, WEB, up=(B,), parents=LINE)
    world.sync()
    inherit(world, up=(B,), parents=LINE)
    assert world.only().state == "blocked"
    inherit(world, A, group("web", "a"), up=(B,), parents=LINE)
    assert changed(world.only()) == [(Action.UPDATE, "pan.web")]


def test_a_device_group_that_comes_to_hold_something_is_nobodys_business(world: World) -> None:
    inherit(world, A, group("web", "a"), up=(), parents=LINE)
    world.sync()
    inherit(world, A, group("web", "a"), up=(B,), parents=LINE)
    assert changed(world.only()) == [(Action.UPDATE, TIER)]
    inherit(world, A, group("web", "a"), up=(), parents=LINE)
    assert world.only().state == "blocked"


@pytest.mark.parametrize("said", ["", "[", '["dg"', '["gone"]'])
def test_what_another_hand_made_of_the_annotation_is_put_back_and_guards_nothing(
    world: World, said: str
) -> None:
    cluster = world.keep_in_memory()
    inherit(world, A, WEB, up=(B,), parents=LINE)
    world.sync()
    annotations = cluster.documents["Tier", TIER]["metadata"]["annotations"]
    assert annotations[names.SCOPES_ANNOTATION] == '["dg","up"]'
    annotations[names.SCOPES_ANNOTATION] = said
    repaired = world.only()
    assert changed(repaired) == [(Action.UPDATE, TIER)]
    assert repaired.applied[0].cause is Cause.DRIFT
    # What was written counts, not what another hand has made of it.
    annotations = cluster.documents["Tier", TIER]["metadata"]["annotations"]
    annotations[names.SCOPES_ANNOTATION] = said
    inherit(world, up=(B,), parents=LINE)
    assert world.only().state == "blocked"


def test_a_tier_of_an_older_version_guards_nothing_and_learns(world: World) -> None:
    cluster = world.keep_in_memory()
    inherit(world, A, WEB, up=(B,), parents=LINE)
    world.sync()
    older = Tier(TIER, 101, labels=world.owner).manifest()
    run = world.store.run("test")
    with world.store.lease("prod", "test", TTL) as lease:
        run.adopt(lease, [Change(None, older, Cause.DRIFT)], ())
    put(cluster, older)
    inherit(world, up=(B,), parents=LINE)
    result = world.only()
    assert (Action.UPDATE, TIER) in changed(result)
    annotations = cluster.documents["Tier", TIER]["metadata"]["annotations"]
    assert annotations[names.SCOPES_ANNOTATION] == '["up"]'


# --- what others left behind ----------------------------------------------------------------------


THEIR_WEB = "firewall.tigera.io/zone == 'web'"


def left_behind(mode: str = "staged") -> list[Manifest]:
    """What stands where a set and a chain of ours shall stand."""
    kind = StagedGlobalNetworkPolicy if mode == "staged" else GlobalNetworkPolicy
    return [
        GlobalNetworkSet(
            "pan.web", ("192.0.2.0/24",), annotations=((names.NAME_ANNOTATION, "old"),)
        ).manifest(),
        kind(WEB_CHAIN, TIER, 7, THEIR_WEB, egress=(CalicoRule("Allow"),)).manifest(),
    ]


@pytest.mark.parametrize("mode", ["staged", "enforced"])
def test_adoption_takes_over_what_stands_in_our_place_and_says_what_it_was(
    world: World, mode: Literal["staged", "enforced"]
) -> None:
    world.mode = mode
    cluster = world.keep_in_memory()
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]))
    put(cluster, *left_behind(mode))
    other = GlobalNetworkSet("pan.other", ("192.0.2.0/24",)).manifest()
    put(cluster, other)
    for held in cluster.documents.values():
        held["metadata"].setdefault("annotations", {})["example.com/note"] = "theirs"
    before = dict(cluster.documents)
    assert world.only().state == "blocked"
    assert before.items() <= cluster.documents.items()
    # Where a policy of others stands in our tier, nothing is written.
    partial = [(Action.CREATE, TIER)] if mode == "staged" else []
    assert [(verb, name) for verb, name in cluster.writes] == partial

    world.settings = {"adopt": True}
    dry = world.only(dry=True)
    result = world.only()
    assert dry.plan == result.plan
    assert changed(result) == [
        *([] if partial else [(Action.CREATE, TIER)]),
        (Action.UPDATE, "pan.web"),
        # What it denies for others comes before what a policy of theirs denied begins to pass.
        (Action.CREATE, UNKNOWN),
        (Action.UPDATE, WEB_CHAIN),
    ]
    intents = [each for each in world.trail() if each.kind == Kind.INTENT]
    assert {each.cause for each in intents} == {Cause.CONFIGURATION}
    wrote = world.store.written("prod")
    for stood in left_behind(mode):
        # The set too is written once, and before the policies: what was foreign in it goes first.
        (of_it,) = (each for each in intents if each.object_name == stood.name)
        shown = show(world.store, of_it.chain, of_it.sequence)
        assert shown.before == stood
        assert shown.after == wrote[stood.kind, stood.name]
        kept = cluster.documents[stood.kind, stood.name]["metadata"]["annotations"]
        assert kept["example.com/note"] == "theirs"
    assert "old" in next(each.groups for each in intents if each.object_name == "pan.web")
    # What nothing of ours is to replace stays, and the next sync knows of nothing more to do.
    key = (other.kind, other.name)
    assert cluster.documents[key] == before[key]
    world.settings = {}
    assert changed(world.only()) == []
    assert world.verified()


def test_a_tier_in_which_policies_of_others_stay_is_not_opened_as_it_is_taken_over(
    world: World,
) -> None:
    world.mode = "enforced"
    cluster = world.keep_in_memory()
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]))
    put(cluster, Tier(TIER, 7, "Deny").manifest(), *left_behind("enforced"))
    stays = GlobalNetworkPolicy(f"{TIER}.stays", TIER, 8, "all()", egress=(CalicoRule("Pass"),))
    put(cluster, stays.manifest())
    before = dict(cluster.documents)
    world.settings = {"adopt": True}
    result = world.only()
    assert result.plan is not None
    assert [each.guard for each in result.plan.blockers] == ["foreign-policy", "live-tier"]
    assert result.plan.approvable
    message = result.plan.blockers[1].message
    assert "would move from order 7 to 101" in message
    assert f"({TIER}.stays" not in message
    assert f"1 foreign policy is in it (GlobalNetworkPolicy {TIER}.stays)" in message
    assert cluster.documents == before
    # With an approval it is taken over, and denies at its end as before.
    world.store.run("alice").approve(result.plan.digest)
    approved = world.only()
    assert approved.state == "in sync"
    assert cluster.documents["Tier", TIER]["spec"] == {"order": 101, "defaultAction": "Deny"}
    assert approved.plan is not None
    [warning, without_essentials] = approved.plan.warnings
    assert "essentials" in without_essentials
    assert f"tier {TIER} keeps its default action Deny while 1 enforced policy" in warning
    assert changed(world.only()) == []
    # Nothing holds it back once they are gone: what is taken over itself is nobody else's.
    del cluster.documents["GlobalNetworkPolicy", f"{TIER}.stays"]
    assert changed(world.only()) == [(Action.UPDATE, TIER)]
    assert cluster.documents["Tier", TIER]["spec"] == {"order": 101, "defaultAction": "Pass"}


def test_a_tier_that_another_hand_shut_is_opened_only_while_nothing_of_others_stands_in_it(
    world: World,
) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB)
    assert world.only().state == "in sync"
    cluster.documents["Tier", TIER]["spec"] = {"order": 101, "defaultAction": "Deny"}
    put(cluster, theirs(f"{TIER}.theirs"))
    result = world.only()
    assert result.plan is not None
    assert result.plan.changes == ()
    [warning] = result.plan.warnings
    assert "keeps its default action Deny" in warning
    del cluster.documents["GlobalNetworkPolicy", f"{TIER}.theirs"]
    assert world.only().state == "in sync"
    assert cluster.documents["Tier", TIER]["spec"]["defaultAction"] == "Pass"


@pytest.mark.parametrize(
    ("key", "value"),
    [("projectcalico.org/orchestrator", "k8s"), ("projectcalico.org/namespace", "shop")],
)
def test_a_set_of_ours_that_another_hand_makes_a_pod_is_put_back(
    world: World, key: str, value: str
) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB)
    assert world.only().state == "in sync"
    labels = cluster.documents[KIND, "pan.web"]["metadata"]["labels"]
    labels |= {key: value, "team": "blue"}
    assert changed(world.only()) == [(Action.UPDATE, "pan.web")]
    labels = cluster.documents[KIND, "pan.web"]["metadata"]["labels"]
    assert (key in labels, labels["team"]) == (False, "blue")


def test_a_take_over_that_nobody_saw_the_end_of_is_recovered(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB)
    put(cluster, left_behind()[0])
    world.settings = {"adopt": True}
    cluster.before_write = failing("pan.web", error=Killed)
    with pytest.raises(Killed):
        world.sync()
    cluster.before_write = nothing
    assert (Action.UPDATE, "pan.web") in changed(world.only())
    recovered = [each for each in world.trail() if each.kind == Kind.RECOVERED]
    # What does not carry our labels tells nothing of what we did.
    assert [(each.object_name, each.outcome) for each in recovered] == [
        ("pan.web", Outcome.UNKNOWN)
    ]
    assert world.verified()


def test_what_another_installation_claims_is_not_taken_over(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(A, B, WEB)
    labels = owner_labels("another", world.store.uuid)
    put(cluster, GlobalNetworkSet("pan.web", ("192.0.2.0/24",), labels).manifest())
    world.settings = {"adopt": True}
    result = world.only()
    assert result.plan is not None
    assert (result.state, result.plan.approvable) == ("blocked", False)
    assert "pan.web" not in {name for _, name in cluster.writes}


# --- chains that move -----------------------------------------------------------------------------


def long_chain(third: int) -> list[Word]:
    """So many rules of the zone `web` that they need several policies; each has `third` in it."""
    return [
        allow(
            f"rule {number}",
            from_=["web"],
            destination=[f"10.{third}.{number // 250}.{number % 250}"],
        )
        for number in range(400)
    ]


def parts_held(cluster: KnownCluster) -> set[str]:
    """The policies of the chain of `web` that a cluster holds: its first one, and `a2` or `b1`."""
    prefix = f"{TIER}.pan-part-{names.mapped('web')}-"
    return {
        name.removeprefix(prefix)
        for _, name in cluster.documents
        if name == WEB_CHAIN or name.startswith(prefix)
    }


def test_a_chain_that_changes_wholly_moves_in_front_and_the_old_one_goes(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(*long_chain(1))
    world.sync()
    parts = len(parts_held(cluster))
    assert parts > 2
    assert parts_held(cluster) == {WEB_CHAIN, *(f"a{number}" for number in range(2, parts + 1))}
    cluster.writes.clear()
    world.export(*long_chain(2))
    assert world.only().error is None
    assert parts_held(cluster) == {f"b{number}" for number in range(1, parts + 1)}
    assert [verb for verb, _ in cluster.writes] == parts * ["create"] + parts * ["delete"]
    assert changed(world.only()) == []


def test_a_directory_keeps_its_file_names_when_a_chain_changes_wholly(world: World) -> None:
    cluster = world.keep_in_memory()
    world.settings = {"directory": True}
    world.export(*long_chain(1))
    world.sync()
    held = parts_held(cluster)
    cluster.writes.clear()
    world.export(*long_chain(2))
    assert world.only().error is None
    assert parts_held(cluster) == held
    assert [verb for verb, _ in cluster.writes] == len(held) * ["replace"]
    assert changed(world.only()) == []


def test_a_chain_that_moved_comes_back_where_it_may_move_no_more(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(*long_chain(1))
    world.sync()
    before = parts_held(cluster)
    world.export(*long_chain(2))
    world.sync()
    assert parts_held(cluster).isdisjoint(before)
    world.settings = {"directory": True}
    assert world.only().error is None
    assert parts_held(cluster) == before
    assert changed(world.only()) == []


def test_a_move_that_fails_midway_leaves_the_old_chain_whole_and_goes_on(world: World) -> None:
    cluster = world.keep_in_memory()
    world.export(*long_chain(1))
    world.sync()
    old = dict(cluster.documents)
    parts = len(parts_held(cluster))
    world.export(*long_chain(2), allow("other", from_=["db"]))
    second = names.policy_part_name(TIER, "web", "b", 2)
    cluster.before_write = failing(second)
    result = world.only()
    assert result.state == "failed"
    assert [change.name for change, _ in result.failed] == [second]
    # The rest of the new chain, and the whole old one, which was to go.
    assert result.left == (parts - 2) + parts
    assert old.items() <= cluster.documents.items()
    assert (STAGED, DB_CHAIN) in cluster.documents
    cluster.before_write = nothing
    again = changed(world.only())
    assert [action for action, _ in again] == (parts - 1) * [Action.CREATE] + parts * [
        Action.DELETE
    ]
    assert again[0] == (Action.CREATE, second)
    assert parts_held(cluster) == {f"b{number}" for number in range(1, parts + 1)}
    assert changed(world.only()) == []
    assert world.verified()


def test_what_lost_our_labels_is_not_wanted_back_while_a_move_is(world: World) -> None:
    """An overtaken move keeps what stands, but nothing that another hand has taken."""
    cluster = world.keep_in_memory()
    world.export(*long_chain(1), A, B, WEB)
    world.sync()
    set_ = cluster.documents[KIND, "pan.web"]
    set_["metadata"]["labels"] = {"theirs": ""}
    world.export(*long_chain(2))
    cluster.before_write = failing(names.policy_part_name(TIER, "web", "b", 2))
    assert world.only().state == "failed"
    cluster.before_write = nothing
    world.export(*long_chain(3))
    # What another hand did to it is told, for as long as it stands there.
    assert world.only().state == "drift left"
    assert cluster.documents[KIND, "pan.web"] == set_
    assert changed(world.only()) == []
    assert world.verified()


def test_a_copy_of_our_policy_that_is_no_policy_of_ours_goes_with_its_labels(world: World) -> None:
    """Whoever copies one, labels and all, may leave out what a chain is judged by."""
    cluster = world.keep_in_memory()
    world.export(*long_chain(1))
    world.sync()
    ours = cluster.documents[STAGED, WEB_CHAIN]
    name = names.policy_part_name(TIER, "web", "b", 1)
    spec = {key: each for key, each in ours["spec"].items() if key not in ("order", "selector")}
    metadata = {**ours["metadata"], "name": name}
    cluster.documents[STAGED, name] = {**ours, "metadata": metadata, "spec": spec}
    world.export(*long_chain(2))
    assert world.only().error is None
    assert cluster.documents[STAGED, name]["spec"]["order"] < 0
    assert changed(world.only()) == []


# --- a configuration that does not fit ------------------------------------------------------------


@pytest.mark.parametrize("dry", [False, True])
def test_zones_that_do_not_fit_one_cluster_are_its_error_alone(world: World, dry: bool) -> None:
    world.stands_for = {"bad": (("main", "dg"),), "good": (("second", "dg"),)}
    world.zones = ZoneOptions(definitions={"out": ZoneDefinition(networks=("0.0.0.0/0",))})
    world.export(A, B, WEB, allow("r", from_=["web"], to=["out"]))
    world.export(A, B, WEB, allow("r", to=["out"]), source="second")
    results = world.sync(dry=dry)
    error = results["bad"].error
    assert isinstance(error, UsageError)
    assert "the networks of 'web' are not known" in str(error)
    assert (results["bad"].state, results["bad"].plan) == ("failed", None)
    assert not world.wrote("bad")
    assert results["good"].succeeded
    assert world.wrote("good") != dry


def test_drift_of_a_set_is_repaired_all_the_same_where_a_new_policy_names_it(world: World) -> None:
    cluster = world.keep_in_memory()
    world.repair_drift = False
    world.export(A, B, WEB, allow("r", from_=["web"]))
    world.sync()
    del cluster.documents["GlobalNetworkSet", "pan.web"]
    assert world.only().state == "drift left"
    world.export(A, B, WEB, allow("r", from_=["web"], source=["web"]))
    assert world.only().state == "in sync"
    assert ("GlobalNetworkSet", "pan.web") in cluster.documents

"""A plan is written only where what was shown or reviewed agrees with it, and what is shown waits
for nobody."""

import io
import os
import pty
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from sync.calico.ownership import owner_labels
from sync.cli.agreed import Shown, changes_of, differing, reviewed, writes
from sync.cli.progress import ProgressLine, cut
from sync.cli.screen import Screen
from sync.errors import UsageError
from sync.plan.changes import Change
from sync.plan.guards.foreign import foreign_policy
from sync.plan.plan import Plan
from sync.reconcile.agreement import Agreed, PlanDiffersError, always
from sync.reconcile.cluster_identity import ForeignClusterError
from sync.reconcile.cycle import plan_cycle, run_cycle
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.reconcile.result import Result
from sync.store import Identity, Store, open_store
from sync.store.audit import Filter, records
from sync.store.verification import verify
from sync.tracing import Progress, step, watched
from sync.translate.compiler import Options
from tests.unit.plan.words import a_set, create
from tests.unit.service.words import SaidSource, WatchedCluster
from tests.words import address, group

A, B = a_set("a", "10.0.0.1/32"), a_set("b", "10.0.0.2/32")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


class World:
    """A cluster in memory and its source."""

    def __init__(self, store: Store) -> None:
        self.store, self.source = store, SaidSource()
        self.cluster = WatchedCluster(owner_labels("test", store.uuid))
        self.accept = False
        self.says("10.0.0.1")

    def says(self, value: str) -> None:
        self.source.says(address("a", value), group("web", "a"), version=value)

    def planned(self) -> Plan:
        [result] = plan_cycle([self.source], [self._entry], self.store, self._options)
        assert result.plan
        return result.plan

    def sync(self, agreed: Agreed) -> Result:
        run = self.store.run("a test")
        run.begin()
        [result] = run_cycle(
            [self.source],
            [self._entry],
            self.store,
            self._options,
            run,
            lambda name: self.store.lease(name, "a test", timedelta(minutes=10)),
            lambda: False,
            agreed,
        )
        return result

    @property
    def _options(self) -> Options:
        return Options((), True, self.cluster.owner)

    @property
    def _entry(self) -> Cluster:
        binding = TierBinding("main", "dg")
        writer = self.cluster.writer
        return Cluster("prod", (binding,), self.cluster, writer, None, True, accept=self.accept)


def plan(*changes: Change, cluster: str = "prod") -> Plan:
    return Plan(cluster, (), changes, (), (), (), (), 0)


# --- under the lease ------------------------------------------------------------------------------


def test_what_is_written_is_what_was_shown_or_nothing(store: Store) -> None:
    world = World(store)
    shown = world.planned()
    world.says("10.0.0.2")
    result = world.sync(Shown({"prod": shown}))
    assert isinstance(result.error, PlanDiffersError)
    assert "it would otherwise create GlobalNetworkSet pan.web" in str(result.error)
    assert world.cluster.documents == {}
    assert (result.state, result.written, store.standings()) == ("blocked", (), store.standings())
    assert [each for each in store.standings() if each.kind == "cluster"] == []
    # The new plan comes with it, and is written once it was shown.
    assert result.plan
    assert result.plan.digest != shown.digest
    assert world.sync(Shown({"prod": result.plan})).succeeded
    assert world.planned().changes == ()


def test_a_cluster_that_could_not_be_planned_is_not_written_unseen(store: Store) -> None:
    result = World(store).sync(Shown({}))
    assert isinstance(result.error, PlanDiffersError)
    assert "was not shown before" in str(result.error)


def elsewhere(world: World) -> None:
    """Let the entry reach another cluster, which holds nothing yet, and accept that."""
    world.cluster.uid = "one"
    assert world.sync(always).succeeded
    world.cluster.uid = "two"
    world.cluster.documents.clear()
    world.cluster.writes.clear()


def accepted(store: Store) -> list[str]:
    """The records about which cluster it is since the first one."""
    found = records(store, Filter(cluster="prod"))
    return [each.action for each in found if each.object_kind == "Namespace"][1:]


@pytest.mark.parametrize("refusing", ["another digest", "another plan shown"])
def test_a_cluster_is_not_accepted_with_a_plan_that_is_refused(store: Store, refusing: str) -> None:
    world = World(store)
    elsewhere(world)
    world.accept = True
    shown = world.planned()
    trail = list(records(store, Filter(cluster="prod")))
    world.says("10.0.0.9")
    agreed = reviewing(shown.digest) if refusing == "another digest" else Shown({"prod": shown})
    result = world.sync(agreed)
    assert isinstance(result.error, PlanDiffersError)
    assert result.accepted == ""
    assert list(records(store, Filter(cluster="prod"))) == trail
    assert store.identities() == {"prod": Identity("one")}
    assert (world.cluster.documents, world.cluster.writes) == ({}, [])
    # The operator has accepted nothing, so the next sync is refused.
    world.accept = False
    assert isinstance(world.sync(always).error, ForeignClusterError)


def test_a_cluster_is_accepted_with_the_plan_that_was_reviewed(store: Store) -> None:
    world = World(store)
    elsewhere(world)
    world.accept = True
    result = world.sync(reviewing(f"prod={world.planned().digest}"))
    assert result.succeeded
    assert result.accepted.startswith("Cluster prod is the cluster whose kube-system")
    assert accepted(store) == ["accept-cluster", "identify"]
    assert store.identities() == {"prod": Identity("two")}
    assert set(world.cluster.documents) == set(store.written("prod"))
    assert verify(store)
    # Accepted again, there is nothing to accept.
    again = world.sync(always)
    assert (again.accepted, again.succeeded, accepted(store)[2:]) == ("", True, [])


def test_another_cluster_that_appears_while_one_is_accepted_is_not_written(store: Store) -> None:
    world = World(store)
    elsewhere(world)
    world.accept = True

    def moves(plan: Plan) -> None:
        world.cluster.uid = "three"

    result = world.sync(moves)
    assert isinstance(result.error, ForeignClusterError)
    assert world.cluster.writes == []
    assert store.identities() == {"prod": Identity("one", "two")}


# --- what differs ---------------------------------------------------------------------------------


def test_a_difference_names_the_first_few_objects() -> None:
    many = [create(a_set(f"s{number}")) for number in range(9)]
    said = differing(changes_of(plan(create(A))), plan(*many))
    assert said == (
        "it would also create GlobalNetworkSet s0, create GlobalNetworkSet s1, create "
        "GlobalNetworkSet s2, create GlobalNetworkSet s3, create GlobalNetworkSet s4 and 4 more, "
        "it would no longer create GlobalNetworkSet a"
    )
    assert "order or guards" in differing(changes_of(plan(create(A))), plan(create(A)))


def test_a_blocked_plan_writes_nothing_unless_a_part_of_it() -> None:
    blocked = replace(plan(create(A)), blockers=(foreign_policy("fw", ["x"]),))
    assert (writes(plan(create(A))), writes(plan()), writes(blocked)) == (True, False, False)


# --- what was reviewed ----------------------------------------------------------------------------


def reviewing(*given: str, clusters: tuple[str, ...] = ("prod", "lab")) -> Agreed:
    return reviewed(given, clusters, Screen("json", verbose=False))


def test_a_digest_agrees_to_its_plan_alone() -> None:
    for agreed in (
        reviewing(plan(create(A)).digest),
        reviewing(f"prod={plan(create(A)).digest}"),
        reviewing(plan(create(B)).digest, plan(create(A)).digest),
    ):
        agreed(plan(create(A)))
        with pytest.raises(PlanDiffersError, match="nothing of it was written"):
            agreed(plan(create(a_set("c"))))
        with pytest.raises(PlanDiffersError):
            agreed(plan(create(A), cluster="lab"))


def test_a_cluster_without_changes_needs_a_digest_only_if_it_is_named() -> None:
    reviewing(plan(create(A)).digest)(plan())
    with pytest.raises(PlanDiffersError, match="and no longer"):
        reviewing(f"prod={plan(create(A)).digest}")(plan())


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"clusters": [7]}', b'{"clusters": [{"cluster": "prod", "plan": 7}]}'],
)
def test_a_file_that_holds_no_plans_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="is neither"):
        reviewing(str(file))
    with pytest.raises(UsageError, match="is neither"):
        reviewing(str(tmp_path))


def test_a_file_has_the_digest_and_what_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    documents = [
        {"cluster": "prod", "plan": plan(create(A)).document()},
        {"cluster": "lab", "plan": None},
        {"cluster": "gone", "plan": plan(cluster="gone").document()},
    ]
    file.write_bytes(orjson.dumps({"clusters": documents}))
    agreed = reviewing(str(file))
    agreed(plan(create(A)))
    with pytest.raises(PlanDiffersError, match="it would also create GlobalNetworkSet b"):
        agreed(plan(create(A), create(B)))


# --- a reader that does not read, and a terminal that was stopped ---------------------------------


def test_a_reader_that_does_not_read_keeps_nothing_from_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a pager is, whose reader is at the first page: the pipe is full."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as other, os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        screen = Screen("text", verbose=False, patience=0.01)
        large = plan(*(create(a_set(f"set-{number:0700}")) for number in range(200)))
        screen.before_writing(large)
        screen.before_writing(plan(create(A), cluster="lab"))
        # Both returned, though not all is printed. It is, once somebody reads.
        found: list[bytes] = []
        reader = threading.Thread(
            target=lambda: found.extend(iter(lambda: os.read(other.fileno(), 65536), b""))
        )
        reader.start()
        screen.end([Result("prod", large), Result("lab", plan(create(A), cluster="lab"))], [])
        stream.close()
        reader.join()
    shown = b"".join(found).decode()
    assert shown.count("+ GlobalNetworkSet set-") == 200
    assert shown.index("Cluster prod: ") < shown.index("Cluster lab: ")


def test_an_output_that_cannot_be_written_stops_no_sync_and_is_reported_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # of no encoding
    screen = Screen("text", verbose=False)
    screen.before_writing(plan(create(A)))
    screen.before_writing(plan(create(A), cluster="lab"))
    with pytest.raises(TypeError, match="encoding"):
        screen.end([Result("prod", plan(create(A)))], [])


def test_nobody_is_asked_about_a_plan_that_could_not_be_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(TypeError, match="encoding"):
        Screen("text", verbose=False).show(plan(create(A)))


def test_a_line_is_as_wide_as_the_terminal_at_most_and_holds_no_control_characters() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, os.fdopen(ours, "rb", buffering=0) as shown:
        line = ProgressLine(stream, lambda: 40)
        with watched(line):
            with step("write", cluster="a\x1b[2J東京" + "x" * 99) as here:
                here.count(1200, 4000)
            with step("conclude"), line.cleared():
                pass
        line.end()
        # A loaded system hands over what was written to a terminal piece by piece.
        os.write(theirs, b"end")
        read = b""
        while not read.endswith(b"end"):
            read += shown.read(65536)
    drawn = read.decode().removesuffix("end").split("\r\x1b[K")
    assert r"a\x1b[2J東京" in drawn[1]
    assert all(each.isprintable() for each in drawn)
    assert drawn[-1] == ""
    assert max(map(len, drawn)) < 40
    assert cut("東京", 3) == "東"
    assert cut("abc", 3) == "abc"


def test_watchers_see_steps_of_every_thread_and_only_within_the_block() -> None:
    def reading() -> None:
        with step("read", source="main"):
            pass

    seen: list[Progress] = []
    with watched(seen.append):
        thread = threading.Thread(target=reading)
        thread.start()
        thread.join()
        with step("write", cluster="prod") as here:
            here.count(1, 2)
    with step("write", cluster="prod") as here:
        here.count(2, 2)
    assert seen == [
        Progress("read", "main"),
        Progress("read", "main", ended=True),
        Progress("write", "prod"),
        Progress("write", "prod", 1, 2),
        Progress("write", "prod", ended=True),
    ]

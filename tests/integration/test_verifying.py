"""What stands in a cluster is proven as it stands: half-written, changed by a hand, or in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from sync.calico.ownership import owner_labels
from sync.cli.verify import JudgedLive
from sync.clusters.cluster import ClusterFacts, NotWrittenError
from sync.firewall.configuration import Provenance, Snapshot
from sync.options import ZoneDefinition, ZoneOptions
from sync.queries.explain import Explained, asked_of, explained
from sync.queries.verification import Verified, verified
from sync.reconcile.cycle import run_cycle
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import Read, TierBinding
from sync.reconcile.result import Result
from sync.store import Lease, Store
from sync.translate.compiler import Options
from tests.memory import MemoryCluster
from tests.unit.store.words import new_store, ticking
from tests.words import Word, address, document, group, read, rule

TIER = "firewallpolicy"
WEB, DB = f"{TIER}.pan-zone-web", f"{TIER}.pan-zone-db"
UNKNOWN = f"{TIER}.pan-unknown-zone"
POLICY, SET = "GlobalNetworkPolicy", "GlobalNetworkSet"
TTL = timedelta(minutes=10)  # none runs out because a machine is slow


class Killed(BaseException):
    """What a signal raises: nothing may catch it."""


@dataclass
class Known(MemoryCluster):
    """A cluster that tells of namespaced policies too."""

    known: ClusterFacts = field(default_factory=ClusterFacts)

    def facts(self, zone_label: str) -> ClusterFacts:
        del zone_label
        return self.known


@dataclass
class Place:
    """A cluster in memory that stands for one device group, and what the firewall says of it."""

    store: Store
    mode: Literal["enforced", "staged"] = "enforced"
    words: tuple[Word, ...] = ()

    def __post_init__(self) -> None:
        self.memory = Known(owner_labels("test", self.store.uuid))
        self.options = Options(
            (),
            True,
            self.memory.owner,
            zones=ZoneOptions(
                definitions={
                    "web": ZoneDefinition(networks=()),
                    "db": ZoneDefinition(networks=("10.2.0.0/16",)),
                }
            ),
        )

    @property
    def cluster(self) -> Cluster:
        here = TierBinding("main", "one", TIER, 101, self.mode)
        memory = self.memory
        return Cluster("c", (here,), memory, memory.writer, memory, repair_drift=True)

    def say(self, *words: Word) -> None:
        """Let the firewall have exactly this."""
        self.words = words

    def read(self) -> Snapshot:
        return Snapshot(read(document((), {"one": self.words})), Provenance("main", "memory", "1"))

    def sync(self) -> Result:
        source = Source(self.read())
        run = self.store.run("test")
        (result,) = run_cycle(
            [source], [self.cluster], self.store, self.options, run, self._lease, lambda: False
        )
        return result

    @contextmanager
    def _lease(self, cluster: str) -> Iterator[Lease]:
        with self.store.lease(cluster, "test", TTL) as lease:
            yield lease

    def refuse(self, *names: str, error: type[BaseException] = NotWrittenError) -> None:
        """Let writes of these objects fail, and only these."""

        def before_write(name: str) -> None:
            if name in names:
                raise error(f"{name} was refused")

        self.memory.before_write = before_write

    @property
    def reads(self) -> Read:
        return {"main": self.read()}

    def verified(self) -> Verified:
        return verified(self.cluster, self.reads, self.store, self.options)

    def explained(self, port: str = "22/tcp") -> Explained:
        asked = asked_of("web", "db", port, None)
        return explained(
            self.cluster, self.reads, self.store, self.options, asked, live=True, verbose=False
        )

    def spec(self, name: str, kind: str = POLICY) -> dict[str, Any]:
        """The spec of an object that stands, for another hand."""
        found: dict[str, Any] = self.memory.documents[kind, name]["spec"]
        return found

    def put(self, name: str, kind: str = POLICY, **spec: Any) -> None:
        """Another hand's object."""
        labels = spec.pop("labels", {})
        self.memory.documents[kind, name] = {
            "apiVersion": "projectcalico.org/v3",
            "kind": kind,
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
        }


@dataclass(frozen=True)
class Source:
    snapshot: Snapshot
    name: str = "main"

    def revision(self) -> str:
        raise NotImplementedError

    def read(self) -> Snapshot:
        return self.snapshot


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with new_store(tmp_path / "store.db", clock=ticking()) as store:
        yield Place(store)


def between(name: str, action: str, *groups: str, port: str = "any") -> Word:
    return rule(name, from_=["web"], to=["db"], source=["any"], destination=groups or ["any"],
                application=["any"], service=[port], action=action)  # fmt: skip


A, B = address("a", "10.2.0.1"), address("b", "10.2.0.9")


def opened(found: Verified) -> list[tuple[str, str]]:
    """Who decides the flows that are open, and the firewall's rule that denies them."""
    return [(each.where, each.rule) for each in found.opened]


def text(found: Verified) -> str:
    return "\n".join(JudgedLive(found).lines())


# --- in order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["enforced", "staged"])
def test_what_a_sync_has_written_holds_as_it_stands(
    place: Place, mode: Literal["enforced", "staged"]
) -> None:
    place.mode = mode
    place.say(A, group("g", "a"), between("yes", "allow", "g"))
    assert place.sync().succeeded
    found = place.verified()
    assert (found.holds, found.unlike.pending, found.unlike.drift) == (True, (), ())
    assert {each.state for each in found.chains} == {"new"}
    assert text(found).startswith("Cluster c, as the cluster holds it: the proof holds: ")
    assert ("is staged: its policies are judged as if" in text(found)) is (mode == "staged")


def test_a_cluster_that_was_never_written_is_open_and_says_what_is_pending(place: Place) -> None:
    place.say(between("yes", "allow", port="service-https"))
    found = place.verified()
    assert not found.holds
    assert {each.where for each in found.opened} == {f"no policy of tier {TIER}"}
    assert {each.state for each in found.chains} == {"missing"}
    assert "; not written yet: create GlobalNetworkPolicy firewallpolicy.pan-" in text(found)
    assert "  Not written yet: 4 changes pending: " in text(found)


def test_staged_policies_enforce_nothing_where_they_shall_be_enforced(place: Place) -> None:
    place.mode = "staged"
    place.say(between("no", "deny"))
    place.sync()
    assert place.verified().holds
    place.mode = "enforced"
    found = place.verified()
    assert not found.holds
    assert {each.where for each in found.opened} == {f"no policy of tier {TIER}"}


# --- half-written ---------------------------------------------------------------------------------


def test_a_refused_write_leaves_open_what_the_old_policy_allows_and_says_so(place: Place) -> None:
    place.say(between("ssh", "allow"))
    place.sync()
    place.say(between("ssh", "deny"))
    place.refuse(DB)
    result = place.sync()
    assert [change.name for change in result.applied] == [WEB]
    assert result.detail.startswith(
        f"1 of 2 changes not written: GlobalNetworkPolicy {DB}: {DB} was refused;"
    )
    found = place.verified()
    # Each side carries the whole match: the other end is what still allows it.
    assert opened(found) == [(f"{DB}[ingress 0]", "ssh")]
    assert not found.out_of_sync
    assert not found.undecided
    assert [(each.zone, each.state) for each in found.chains] == [("db", "old"), ("web", "new")]
    said = text(found)
    assert "the proof FAILS" in said
    assert f"; not written yet: update GlobalNetworkPolicy {DB}\n" in said
    assert f"  Not written yet: 1 change pending: update GlobalNetworkPolicy {DB}\n" in said
    assert "  Chain of zone db in tier firewallpolicy is old: policies 1 in the old state." in said
    assert "  Half-written since " in said

    half = place.store.half_written("c")
    assert half is not None
    assert half.written == 1
    assert half.unwritten == ((POLICY, DB, f"{DB} was refused"),)

    shown = place.explained()
    assert shown.verdict == "deny"
    assert [(each.action, each.name) for each in shown.pending] == [("update", DB)]
    (note,) = shown.notes
    assert note == (
        f"half-written since {half.since}: 1 change pending, and of what decides here: "
        f"update GlobalNetworkPolicy {DB}"
    )
    place.refuse()
    assert place.sync().succeeded
    assert place.store.half_written("c") is None
    assert place.verified().holds
    assert (place.explained().pending, place.explained().notes) == ((), ())


def test_a_new_allow_that_is_written_at_one_end_alone_is_out_of_sync(place: Place) -> None:
    place.say(between("ssh", "deny"))
    place.sync()
    place.say(between("ssh", "allow"))
    place.refuse(DB)
    place.sync()
    found = place.verified()
    assert (opened(found), found.undecided, found.holds) == ([], (), False)
    assert [(each.where, each.rule) for each in found.out_of_sync] == [(f"{DB}[ingress 0]", "ssh")]
    assert "the proof is out of sync: " in text(found)
    assert "  ! out of sync: ingress of a pod of zone db (" in text(found)


def test_sets_that_are_not_written_yet_are_named_with_what_they_leave_open(place: Place) -> None:
    place.say(A, B, group("g", "a", "b"), between("yes", "allow", "g"))
    place.sync()
    place.say(A, B, group("g", "a"), between("yes", "allow", "g"))
    found = place.verified()
    assert "yes" not in {rule for _, rule in opened(found)}
    assert found.opened
    assert "; not written yet: update " in text(found)
    assert place.sync().succeeded
    assert place.verified().holds


def test_a_kill_leaves_a_cluster_half_written_though_no_sync_could_say_so(place: Place) -> None:
    place.say(between("ssh", "allow"))
    place.sync()
    place.say(between("ssh", "deny"))
    place.refuse(DB, error=Killed)
    with pytest.raises(Killed):
        place.sync()
    half = place.store.half_written("c")
    assert half is not None
    assert {name for _, name, _ in half.unwritten} == {WEB, DB}
    assert {why for *_, why in half.unwritten} == {"its outcome is not known yet"}
    assert place.verified().half == half
    assert opened(place.verified()) == [(f"{DB}[ingress 0]", "ssh")]


def test_a_cluster_of_which_nothing_was_written_is_not_half_written(place: Place) -> None:
    place.say(between("ssh", "allow"))
    place.sync()
    place.say(between("ssh", "deny"))
    place.refuse(WEB, DB)
    assert place.sync().state == "failed"
    assert place.store.half_written("c") is None


# --- other hands ----------------------------------------------------------------------------------


def test_a_rule_that_a_hand_adds_is_open_and_the_hand_is_told_from_what_is_pending(
    place: Place,
) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.spec(DB)["ingress"].insert(0, {"action": "Pass", "protocol": "TCP"})
    found = place.verified()
    assert {each.where for each in found.opened} == {f"{DB}[ingress 0]"}
    assert found.unlike.pending == ()
    assert [each.name for each in found.unlike.drift] == [DB]
    assert [(each.zone, each.state) for each in found.chains] == [("db", "altered"), ("web", "new")]
    assert f"  Drift: 1 object: GlobalNetworkPolicy {DB}" in text(found)


def test_policies_that_are_gone_leave_their_zone_to_what_still_stands(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    del place.memory.documents[POLICY, DB]
    found = place.verified()
    assert (opened(found), found.undecided) == ([], ())
    assert {each.where.partition("[")[0] for each in found.out_of_sync} == {UNKNOWN}
    del place.memory.documents[POLICY, UNKNOWN]
    found = place.verified()
    assert {each.where for each in found.opened} == {f"no policy of tier {TIER}"}
    assert {each.flow.local for each in found.opened} == {
        "a pod of zone db",
        "a pod whose label names no zone",
    }


def test_a_policy_that_lost_our_labels_counts_as_it_stands(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.memory.documents[POLICY, DB]["metadata"]["labels"].clear()
    found = place.verified()
    assert found.holds
    assert [(each.zone, each.state) for each in found.chains] == [("db", "altered"), ("web", "new")]
    (note,) = found.notes
    assert note.startswith(f"{POLICY} {DB} is in the place of one of ours: it does not carry the")
    place.spec(DB)["ingress"].insert(0, {"action": "Pass"})
    assert {each.where for each in place.verified().opened} == {f"{DB}[ingress 0]"}


def test_a_foreign_policy_in_our_tier_is_named_and_counts(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    first: dict[str, Any] = {"tier": TIER, "order": -1_000_000, "selector": "all()"}
    place.put(f"{TIER}.theirs", **first, types=["Ingress"], ingress=[{"action": "Deny"}])
    found = place.verified()
    assert f"{POLICY} {TIER}.theirs of others is in tier {TIER} and counts as it is" in (
        found.notes
    )
    assert not found.opened
    place.put(f"{TIER}.theirs", **first, types=["Ingress"], ingress=[{"action": "Pass"}])
    assert {each.where for each in place.verified().opened} == {f"{TIER}.theirs[ingress 0]"}


def test_what_others_stage_hides_nothing(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.spec(DB)["ingress"].insert(0, {"action": "Pass"})
    deny: dict[str, Any] = {"tier": TIER, "order": -1_000_000, "selector": "all()"}
    deny |= {"types": ["Ingress", "Egress"], "ingress": [{"action": "Deny"}]}
    for mode in ("enforced", "staged"):
        place.put(f"{TIER}.theirs", "StagedGlobalNetworkPolicy", **deny)
        found = place.verified()
        assert found.opened, mode
        told = f"StagedGlobalNetworkPolicy {TIER}.theirs of others is in tier {TIER} and"
        assert f"{told} decides nothing" in found.notes
        place.put(f"{TIER}.odd", "StagedGlobalNetworkPolicy", **deny, applyOnForward=True)
        assert not place.verified().undecided
        place.mode = "staged"


def test_a_foreign_set_that_a_selector_selects_counts_with_its_nets(place: Place) -> None:
    c = address("c", "192.0.2.1")
    anywhere = rule("yes", from_=["any"], to=["db"], source=["g"], destination=["any"],
                    application=["any"], service=["any"], action="allow")  # fmt: skip
    place.say(c, group("g", "c"), anywhere)
    place.sync()
    labels = {"firewall.tigera.io/address-group": "g"}
    place.put("theirs", SET, labels=labels, nets=["192.0.2.9/32"])
    found = place.verified()
    (note,) = found.notes
    assert note.startswith("GlobalNetworkSet theirs of others carries labels that policies in our")
    assert {each.flow.far_address for each in found.opened} == {(4, 0xC0000209)}
    place.memory.documents[SET, "theirs"]["metadata"]["labels"] = {"another": "label"}
    assert place.verified().holds


def test_what_stands_at_another_place_counts_as_what_it_is(place: Place) -> None:
    """A file may hold another kind than its folder says, and is applied all the same."""
    place.say(between("no", "deny"))
    place.sync()
    first: dict[str, Any] = {"tier": TIER, "order": -1_000_000, "selector": "all()"}
    place.put(f"{TIER}.x", POLICY, **first, types=["Ingress"], ingress=[{"action": "Pass"}])
    documents = place.memory.documents
    documents[SET, "x"] = documents.pop((POLICY, f"{TIER}.x"))
    assert {each.where for each in place.verified().opened} == {f"{TIER}.x[ingress 0]"}


@pytest.mark.parametrize(
    "labels", [{"firewall.tigera.io/address-group": 1}, {"a": ["b"]}, {1: "a"}, ["a"]]
)
def test_a_set_that_cannot_be_read_is_not_decided(place: Place, labels: Any) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.put("theirs", SET, labels=labels, nets=["10.0.0.0/8"])
    (undecided,) = place.verified().undecided
    assert undecided.startswith("GlobalNetworkSet theirs is not judged: ")
    assert place.explained().verdict == "unknown"


def test_a_tier_whose_order_cannot_be_read_is_not_decided(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.spec(TIER, "Tier")["order"] = "first"
    assert place.verified().undecided[0].startswith(f"Tier {TIER} is not judged: its order is not")


def test_a_selector_that_cannot_be_judged_is_not_decided_and_never_equal(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.spec(DB)["ingress"].insert(0, {"action": "Pass", "source": {"selector": "app == 'x'"}})
    found = place.verified()
    assert not found.holds
    assert any("selectors use labels that no zone has" in each for each in found.undecided)


@pytest.mark.parametrize(
    "spec",
    [
        {"applyOnForward": True},
        {"selector": "app =="},
        {"order": "first"},
        {"ingress": [{"action": "Log"}]},
        {"ingress": "none"},
    ],
)
def test_a_policy_that_cannot_be_judged_is_not_decided(place: Place, spec: dict[str, Any]) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.spec(DB).update(spec)
    found = place.verified()
    assert not found.holds
    assert f"{POLICY} {DB} is not judged: " in found.undecided[0]
    # Nobody knows what it decides: neither that it denies what it did, nor that it does not.
    assert not [each for each in found.opened if each.where.startswith("no policy")]
    assert any("cannot be judged" in each for each in found.undecided[1:])


def test_what_stands_before_a_policy_that_cannot_be_judged_is_judged(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.spec(DB)["ingress"].insert(0, {"action": "Pass"})
    place.put(f"{TIER}.last", tier=TIER, order=1_000_000_000, selector="all()", applyOnForward=True)
    found = place.verified()
    assert {each.where for each in found.opened} == {f"{DB}[ingress 0]"}
    assert found.undecided


def test_namespaced_policies_in_our_tier_leave_it_undecided(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.memory.known = ClusterFacts(foreign_policies={TIER: ("NetworkPolicy shop/a",)})
    assert place.verified().undecided == (
        f"NetworkPolicy shop/a is in tier {TIER} too, and is not judged",
    )
    place.memory.known = ClusterFacts(foreign_policies={TIER: ("StagedNetworkPolicy shop/a",)})
    assert place.verified().holds
    place.memory.known = ClusterFacts(foreign_policies_because="the right is missing")
    assert "the right is missing" in place.verified().undecided[0]


def test_policies_whose_tier_is_gone_are_not_decided(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    del place.memory.documents["Tier", TIER]
    found = place.verified()
    assert not found.holds
    assert found.undecided[0].startswith(f"tier {TIER} does not exist in the cluster")


def test_a_tier_of_others_is_none_of_ours(place: Place) -> None:
    place.say(between("no", "deny"))
    place.sync()
    place.put("security", "Tier", order=5, defaultAction="Deny")
    place.put("security.odd", tier="security", order=1, selector="all()", applyOnForward=True)
    assert place.verified().holds

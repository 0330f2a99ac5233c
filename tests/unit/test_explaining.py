"""What somebody asks about, from words to a flow, and what stands in a cluster of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync.calico.ownership import owner_labels
from sync.clusters.cluster import ClusterFacts, Workload
from sync.errors import UsageError
from sync.firewall.configuration import Provenance, Snapshot
from sync.queries.explain import AskedEnd, Explained, asked_of, end_of, explained, packet_of
from sync.reconcile.desired import Cluster, desired
from sync.reconcile.device_groups import Read, TierBinding
from sync.store import Store
from sync.translate.compiler import Options
from sync.verify.packet_space import Packet
from tests.memory import MemoryCluster
from tests.unit.store.words import new_store
from tests.words import document, read, rule

LABEL = "firewall.tigera.io/zone"
GIVEN = {"projectcalico.org/orchestrator": "k8s", "projectcalico.org/namespace": "shop"}
WEB_POD = (4, 0x0AF40105)  # 10.244.1.5
RULE = rule("yes", from_=["web"], to=["db"], service=["any"], action="allow")


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("web", AskedEnd("web", None, "web")),
        ("Zone 1.b_c-d", AskedEnd("Zone 1.b_c-d", None, "Zone 1.b_c-d")),
        ("10.1.2.3", AskedEnd("", (4, 0x0A010203), "10.1.2.3")),
        ("2001:db8::1", AskedEnd("", (6, 0x20010DB8 << 96 | 1), "2001:db8::1")),
        ("web@10.1.2.3", AskedEnd("web", (4, 0x0A010203), "web@10.1.2.3")),
        ("a@b@::1", AskedEnd("a@b", (6, 1), "a@b@::1")),
    ],
)
def test_an_end_is_a_zone_an_address_or_both(text: str, end: AskedEnd) -> None:
    assert end_of(text) == end


@pytest.mark.parametrize("text", ["", "web@", "web@db", "10.0.0.0/8", "a@10.0.0.0/8", "web@10.1"])
def test_what_is_no_end_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an end of a flow"):
        end_of(text)


@pytest.mark.parametrize(
    ("port", "packet"),
    [
        ("443/tcp", Packet(6, 50_000, 443, None)),
        ("53/UDP", Packet(17, 50_000, 53, None)),
        ("0/sctp", Packet(132, 50_000, 0, None)),
        ("icmp", Packet(1, 0, 0, (8, 0))),
        ("icmp6", Packet(58, 0, 0, (128, 0))),
        ("0/icmp", Packet(1, 0, 0, (0, 0))),
        ("3:1/icmp", Packet(1, 0, 0, (3, 1))),
        ("135/icmpv6", Packet(58, 0, 0, (135, 0))),
        ("ip/47", Packet(47, 0, 0, None)),
        ("ip/0", Packet(0, 0, 0, None)),
    ],
)
def test_a_packet_is_a_port_with_its_protocol_or_icmp_or_a_protocol(
    port: str, packet: Packet
) -> None:
    assert packet_of(port, None) == packet


@pytest.mark.parametrize(
    "port",
    [
        *("", "443", "tcp", "/tcp", "tcp/443", "65536/tcp", "-1/tcp", "４４３/tcp", "443/tcp\n"),
        *("99999999999999999999/tcp", "256/icmp", "3:256/icmp", ":1/icmp", "3:/icmp", "8/ping"),
        *("ip/6", "ip/1", "ip/58", "ip/256", "ip/", "47/ip", "80-90/tcp", "80/tcp,443/tcp"),
    ],
)
def test_what_says_no_traffic_is_refused(port: str) -> None:
    with pytest.raises(UsageError, match="says no traffic"):
        packet_of(port, None)


def test_a_source_port_goes_with_ports_alone() -> None:
    assert packet_of("443/tcp", 0) == Packet(6, 0, 443, None)
    with pytest.raises(UsageError, match="icmp type 8 code 0 has no source port"):
        packet_of("icmp", 1024)


@pytest.mark.parametrize(
    ("source", "destination", "port", "because"),
    [
        ("10.0.0.1", "::1", "80/tcp", "of two IP versions"),
        ("web@10.0.0.1", "db@10.0.0.1", "80/tcp", "is both ends"),
        ("10.0.0.1", "web", "icmp6", "is of IPv6"),
        ("web", "2001:db8::1", "icmp", "is of IPv4"),
    ],
)
def test_ends_that_no_flow_joins_are_refused(
    source: str, destination: str, port: str, because: str
) -> None:
    with pytest.raises(UsageError, match=because):
        asked_of(source, destination, port, None)


# --- a cluster ------------------------------------------------------------------------------------


class Place:
    """A cluster in memory with two tiers, written as a sync writes it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.memory = Known(owner_labels("test", store.uuid))
        self.read: Read = {
            "main": Snapshot(
                read(document((), {"one": [RULE], "two": [RULE]})),
                Provenance("main", "memory", "1"),
            )
        }
        self.cluster = Cluster(
            "c",
            (
                TierBinding("main", "one", "fw1", 1, "enforced"),
                TierBinding("main", "two", "fw2", 2, "staged"),
            ),
            self.memory,
            None,
            self.memory,
            repair_drift=True,
        )
        self.options = Options((), True, self.memory.owner)
        shall = desired(self.cluster, self.read, {}, {}, self.options)
        for key, manifest in shall.rollout.manifests.items():
            self.memory.documents[key] = manifest.document()

    def policy(self, name: str, kind: str = "GlobalNetworkPolicy", **spec: Any) -> None:
        """Another hand's policy."""
        self.memory.documents[kind, name] = {
            "apiVersion": "projectcalico.org/v3",
            "kind": kind,
            "metadata": {"name": name},
            "spec": {"tier": "fw1", "selector": "all()", "types": ["Egress"], **spec},
        }

    def explained(self, source: str = "web", *, live: bool = True) -> Explained:
        asked = asked_of(source, "db", "443/tcp", None)
        return explained(
            self.cluster, self.read, self.store, self.options, asked, live=live, verbose=False
        )


class Known(MemoryCluster):
    """A cluster that tells of namespaced policies too."""

    known = ClusterFacts()

    def facts(self, zone_label: str) -> ClusterFacts:
        del zone_label
        return self.known


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with new_store(tmp_path / "store.db") as store:
        yield Place(store)


def sentences(found: Explained) -> list[str]:
    return [*found.notes, *(each.sentence for each in found.unseen)]


def test_what_stands_as_it_was_written_is_what_shall_be(place: Place) -> None:
    for live in (True, False):
        found = place.explained(live=live)
        assert (found.verdict, found.now, sentences(found)) == ("allow", "allow", [])


def test_a_policy_that_is_not_judged_is_named_and_leaves_it_open(place: Place) -> None:
    place.policy("fw1.odd", order=1, applyOnForward=True)
    found = place.explained()
    (sentence,) = sentences(found)
    assert sentence.startswith(
        "GlobalNetworkPolicy fw1.odd is not judged: fw1.odd says applyOnForward, which is not"
    )
    assert (found.verdict, found.now) == ("unknown", "unknown")
    assert place.explained(live=False).verdict == "allow"


def test_one_that_is_staged_leaves_what_is_done_now_as_it_is(place: Place) -> None:
    place.policy("fw1.odd", "StagedGlobalNetworkPolicy", order=1, applyOnForward=True)
    found = place.explained()
    assert (found.verdict, found.now) == ("unknown", "allow")


def test_one_of_another_tier_is_none_of_ours(place: Place) -> None:
    place.policy("security.odd", tier="security", order=1, applyOnForward=True)
    assert sentences(place.explained()) == []


def test_an_allow_that_skips_a_tier_of_ours_is_not_judged(place: Place) -> None:
    place.policy("fw1.skips", order=1, egress=[{"action": "Allow"}])
    found = place.explained()
    assert found.verdict == "unknown"
    assert "GlobalNetworkPolicy fw1.skips is not judged" in sentences(found)[0]
    # In the tier that is asked last it skips none.
    place.memory.documents["Tier", "fw1"]["spec"]["order"] = 3
    assert place.explained().verdict == "allow"


def test_a_policy_without_an_order_is_asked_last(place: Place) -> None:
    place.policy("fw1.last", egress=[{"action": "Deny"}])
    assert place.explained().verdict == "allow"
    place.policy("fw1.first", order=-10_000, egress=[{"action": "Deny"}])
    found = place.explained()
    assert (found.verdict, found.now) == ("deny", "deny")


def test_namespaced_policies_in_our_tiers_leave_it_open(place: Place) -> None:
    place.memory.known = ClusterFacts(foreign_policies={"fw1": ("NetworkPolicy shop/stop",)})
    found = place.explained()
    assert sentences(found) == ["NetworkPolicy shop/stop stands in tier fw1 too, and is not judged"]
    assert found.verdict == "unknown"
    place.memory.known = ClusterFacts(foreign_policies_because="cluster c refuses to list them")
    assert "cluster c refuses to list them" in sentences(place.explained())[0]


def test_a_tier_that_does_not_stand_is_said_to(place: Place) -> None:
    place.memory.documents.clear()
    found = place.explained()
    *missing, pending = sentences(found)
    assert missing == [
        f"tier fw{number} does not exist in cluster c; a sync has to write it" for number in (1, 2)
    ]
    assert pending.startswith("not written yet: 8 changes pending, and of what decides here: ")
    assert ("create", "Tier", "fw1") in [(it.action, it.kind, it.name) for it in found.pending]
    assert found.verdict == "allow"


def test_two_pods_of_other_labels_at_one_address_leave_it_open(place: Place) -> None:
    pods = [
        Workload(f"shop/{zone}-1", (WEB_POD,), {LABEL: zone, **GIVEN}) for zone in ("web", "db")
    ]
    place.memory.pods = pods[:1]
    found = place.explained("10.244.1.5")
    assert (found.source, found.verdict) == ("pod shop/web-1 (10.244.1.5)", "allow")
    place.memory.pods = pods
    found = place.explained("10.244.1.5")
    assert found.source == "pod shop/db-1 or shop/web-1 (10.244.1.5)"
    assert "shop/db-1 and shop/web-1 both have 10.244.1.5" in sentences(found)[0]
    assert found.verdict == "unknown"
    assert place.explained("web@10.244.1.5").verdict == "allow"

"""Pods that would lose DNS or the API server as rules first come to them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from sync.calico.manifest import Manifest
from sync.clusters.cluster import (
    ClusterFacts,
    CriticalEndpoint,
    CriticalEndpoints,
    Key,
    LiveObject,
    Workload,
)
from sync.firewall.zone_networks import NOTHING
from sync.options import Essential, ZoneOptions
from sync.plan.differences import differences
from sync.plan.guards import Blocker
from sync.reconcile.cut_off import cut_off
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from tests.translation import translate
from tests.words import Word, rule, seen_by

Manifests = Mapping[tuple[str, str], Manifest]

LABEL = "firewall.tigera.io/zone"
V4 = 4
DNS_POD = (V4, 0x0AF40003)  # 10.244.0.3
WEB_POD = (V4, 0x0AF40105)
API_SERVER = (V4, 0xC000020A)  # 192.0.2.10
DNS = CriticalEndpoint("cluster DNS", "10.244.0.3", DNS_POD, 17, 53)
API = CriticalEndpoint("the API server", "192.0.2.10", API_SERVER, 6, 6443)
ESSENTIAL = Essential("egress", "all()", "", ("192.0.2.10/32",), ("6443/tcp",))


def workload(name: str, address: tuple[int, int], **labels: str) -> Workload:
    given = {"projectcalico.org/orchestrator": "k8s", "projectcalico.org/namespace": "default"}
    zone = {LABEL: labels.pop("zone")} if "zone" in labels else {}
    return Workload(name, (address,), {**labels, **zone, **given})


class Cluster:
    """A cluster that tells of its lifelines, and counts how often it is asked."""

    def __init__(self, found: CriticalEndpoints) -> None:
        self.found = found
        self.asked = 0

    def read(self) -> Mapping[Key, LiveObject]:
        raise AssertionError("nobody asks for that here")

    def facts(self, zone_label: str) -> ClusterFacts:
        raise AssertionError("nobody asks for that here")

    def identity(self) -> str:
        raise AssertionError("nobody asks for that here")

    def lifelines(self) -> CriticalEndpoints:
        self.asked += 1
        return self.found

    def pods_at(self, addresses: Collection[tuple[int, int]]) -> Sequence[Workload]:
        raise AssertionError("nobody asks for that here")


PODS = (
    workload("kube-system/coredns", DNS_POD, **{"k8s-app": "kube-dns"}),
    workload("shop/web-1", WEB_POD, zone="web"),
    workload("shop/tool", (V4, 0x0AF40107)),
)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(CriticalEndpoints(PODS, (DNS, API)))


def desired(*words: Word, mode: Any = "enforced", **zones: Any) -> Manifests:
    """What a device group becomes, by default one with an allow from web to db."""
    words = words or (rule("out", from_=["web"], to=["db"], service=["any"]),)
    target = Target("main", seen_by("dg", {"dg": words}), "fw", 1, mode, NOTHING)
    options = Options((), True, (), zones=ZoneOptions(**zones))
    return translate("c", [target], options, {}).manifests


def guarded(
    cluster: Cluster, wanted: Manifests, standing: Manifests | None = None
) -> list[Blocker]:
    """The guard's blockers where `standing` was written before."""
    changes = differences(wanted, standing or {}, {}).changes
    return cut_off(changes, wanted, (standing or {}).values(), cluster)


def test_a_first_enforcement_that_cuts_pods_off_is_held_back_and_says_by_what(
    cluster: Cluster,
) -> None:
    (blocker,) = guarded(cluster, desired())
    assert (blocker.guard, blocker.approvable) == ("essentials", True)
    assert blocker.message == (
        "1 workload would lose the API server (shop/web-1 to 192.0.2.10 port 6443: "
        "fw.pan-zone-web[egress 3], rule 'interzone-default'); add what they need to "
        "zones.essentials"
    )


def test_a_rule_that_denies_dns_is_named_for_it(cluster: Cluster) -> None:
    shut = rule("shut", from_=["web"], to=["any"], service=["any"], action="deny")
    found = guarded(cluster, desired(shut, rule("r", from_=["web"], to=["db"])))
    assert [each.covers for each in found] == ["cluster DNS", "the API server"]
    assert (
        "shop/web-1 to kube-system/coredns port 53: fw.pan-zone-web[egress 0]" in found[0].message
    )
    assert "rule 'shut'" in found[0].message


def test_the_other_end_has_a_say_too(cluster: Cluster) -> None:
    """DNS itself in a zone that takes nothing from others."""
    pods = (workload("kube-system/coredns", DNS_POD, zone="db"), *PODS[1:])
    cluster.found = CriticalEndpoints(pods, (DNS,))
    assert guarded(cluster, desired()) == []
    (blocker,) = guarded(cluster, desired(unzoned_pods="deny"))
    assert "(shop/tool to kube-system/coredns port 53: fw.pan-zone-db[ingress" in blocker.message
    assert "rule 'unzoned-pods'" in blocker.message


def test_a_label_that_names_no_zone_cuts_off_too(cluster: Cluster) -> None:
    """DNS itself with a mistyped zone: every pod would lose it."""
    pods = (workload("kube-system/coredns", DNS_POD, zone="typo"), *PODS[1:])
    cluster.found = CriticalEndpoints(pods, (DNS,))
    (blocker,) = guarded(cluster, desired())
    assert "2 workloads would lose cluster DNS" in blocker.message
    assert "fw.pan-unknown-zone[ingress 0]" in blocker.message


def test_a_new_zone_that_an_older_chain_keeps_out_counts(cluster: Cluster) -> None:
    dns = workload("kube-system/coredns", DNS_POD, zone="db", **{"k8s-app": "kube-dns"})
    cluster.found = CriticalEndpoints((dns, *PODS[1:]), (DNS,))
    egress = Essential("egress", "all()", "k8s-app == 'kube-dns'")
    pods_of_db = (rule("r", from_=["db"], to=["lab"], service=["any"]),)
    first = desired(*pods_of_db, essentials=(egress,))
    web = rule("w", from_=["web"], to=["lab"], service=["any"])
    (blocker,) = guarded(cluster, desired(*pods_of_db, web, essentials=(egress,)), first)
    assert "(shop/web-1 to kube-system/coredns port 53: fw.pan-zone-db[ingress" in blocker.message


def test_essentials_and_zones_that_hold_it_let_it_through(cluster: Cluster) -> None:
    assert guarded(cluster, desired(essentials=(ESSENTIAL,))) == []
    cluster.found = CriticalEndpoints(PODS, (DNS,))
    assert guarded(cluster, desired()) == []
    assert cluster.asked == 2


def test_only_chains_that_are_new_are_asked_about(cluster: Cluster) -> None:
    first = desired()
    assert guarded(cluster, first, first) == []
    assert guarded(cluster, desired(mode="staged")) == []
    longer = (
        rule("out", from_=["web"], to=["db"], service=["any"]),
        rule("more", from_=["web"], to=["db"], service=["any"]),
    )
    assert guarded(cluster, desired(*longer), first) == []
    assert cluster.asked == 0
    # A zone that comes later is first enforced then, and so is one that was only staged.
    lab = rule("lab", from_=["lab"], to=["db"], service=["any"])
    assert guarded(cluster, desired(*longer, lab), first) == []
    assert cluster.asked == 1
    assert len(guarded(cluster, first, desired(mode="staged"))) == 1


def test_what_a_right_is_missing_for_is_not_known(cluster: Cluster) -> None:
    cluster.found = CriticalEndpoints(unknown_because="cluster c refuses to list pods")
    (blocker,) = guarded(cluster, desired())
    assert (blocker.guard, blocker.approvable) == ("essentials", True)
    assert "cluster c refuses to list pods; see that zones.essentials has" in blocker.message


def test_a_lifeline_that_is_nowhere_to_be_found_is_not_known(cluster: Cluster) -> None:
    missing = "cluster c has no EndpointSlices of cluster DNS"
    cluster.found = CriticalEndpoints(PODS, (API,), (missing,))
    lost, unknown = guarded(cluster, desired())
    assert "1 workload would lose the API server" in lost.message
    assert f"is unknown: {missing}; see that zones.essentials has" in unknown.message
    assert unknown.approvable
    # Where no pod is in a zone yet, none can lose it.
    cluster.found = CriticalEndpoints((PODS[0],), (API,), (missing,))
    assert guarded(cluster, desired()) == []


def test_pods_of_another_family_cannot_lose_it(cluster: Cluster) -> None:
    v6 = workload("shop/web-1", (6, 0xFD00 << 112), zone="web")
    cluster.found = CriticalEndpoints((v6,), (API,))
    assert guarded(cluster, desired()) == []


def test_what_cannot_be_judged_is_not_known(cluster: Cluster) -> None:
    wanted = dict(desired())
    document = wanted["GlobalNetworkPolicy", "fw.pan-zone-web"].document()
    document["spec"]["egress"].insert(0, {"action": "Log"})
    wanted["GlobalNetworkPolicy", "fw.pan-zone-web"] = Manifest.of(document)
    (blocker,) = guarded(cluster, wanted)
    assert (blocker.guard, blocker.approvable) == ("essentials", True)
    assert "cannot be judged: fw.pan-zone-web[egress 0] holds something" in blocker.message

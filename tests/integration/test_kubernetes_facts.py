"""What a real API server tells beside our objects, and that it holds policies as they were sent."""

import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.calico.manifest import Manifest
from sync.calico.objects import (
    KINDS,
    EntityRule,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    Icmp,
    Object,
    Rule,
    StagedGlobalNetworkPolicy,
    Tier,
)
from sync.calico.ownership import owner_labels
from sync.calico.validator import validate
from sync.clusters.cluster import ClusterFacts, FelixSettings, Key, NotWrittenError
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.reader import PAGE
from sync.clusters.kubernetes.watcher import SELECTABLE, KubernetesWatcher
from sync.net.addresses import AddressSet, network
from sync.plan.differences import differences
from tests.kubernetes_cluster import GUEST, NATIVE, ControlPlane
from tests.kubernetes_words import (
    OWNER,
    api,
    grantee,
    made,
    put,
    reader,
    rights_by_kind,
    writer,
)

CALICO = f"/apis/{NATIVE}"
PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
TIERS = f"{CALICO}/tiers"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
HELD = "projectcalico.org/tier-controller"
HOST = {"node": "n", "expectedIPs": ["192.0.2.1"]}


@pytest.fixture
def prod(calico: ControlPlane) -> Iterator[Api]:
    """The cluster, with neither pods nor nodes, which `calico` would keep from test to test."""
    found = api(calico, sleep=lambda seconds: None)
    bare(calico)
    yield found
    found.close()
    bare(calico)


def bare(plane: ControlPlane) -> None:
    with plane.connected() as connection:
        connection.request("DELETE", f"{PODS}?gracePeriodSeconds=0")
        connection.request("DELETE", NODES)


def pool(plane: ControlPlane, name: str, cidr: str, **spec: Any) -> None:
    document = {
        "apiVersion": NATIVE,
        "kind": "IPPool",
        "metadata": {"name": name},
        "spec": {"cidr": cidr, **spec},
    }
    plane.request("POST", f"{CALICO}/ippools", document)


def pod(
    plane: ControlPlane, name: str, *addresses: str, phase: str = "Running", **spec: Any
) -> None:
    """A pod as its kubelet would have brought it up."""
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "web", "image": "web"}], **spec},
    }
    ips = [{"ip": each} for each in addresses]
    status = {"phase": phase, "podIPs": ips, **({"podIP": addresses[0]} if addresses else {})}
    with plane.connected() as connection:
        connection.request("POST", PODS, document)
        connection.request("PATCH", f"{PODS}/{name}/status", {"status": status})


def node(plane: ControlPlane, name: str, *addresses: str, system: str = "linux") -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/os": system}},
    }
    told = [{"type": "InternalIP", "address": each} for each in addresses]
    status = {"status": {"addresses": [*told, {"type": "Hostname", "address": name}]}}
    with plane.connected() as connection:
        connection.request("POST", NODES, document)
        connection.request("PATCH", f"{NODES}/{name}/status", status)


def namespaced(plane: ControlPlane, kind: str, name: str, **spec: Any) -> None:
    document = {
        "apiVersion": NATIVE,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": "all()", **spec},
    }
    plural = f"{kind.lower().removesuffix('y')}ies"
    plane.request("POST", f"{CALICO}/namespaces/default/{plural}", document)


def grant(plane: ControlPlane, rules: list[dict[str, Any]]) -> None:
    """Give the guest these rights and no others."""
    binding = {
        "metadata": {"name": "given"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "given",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": GUEST}],
    }
    plane.request("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "given"}, "rules": rules})
    plane.request("POST", f"{RBAC}/clusterrolebindings", binding)


def facts(prod: Api, page: int = PAGE) -> ClusterFacts:
    return reader(prod, page=page).facts("firewall.tigera.io/zone")


def networks(*cidrs: str) -> AddressSet:
    return AddressSet.union(map(network, cidrs))


# --- where pods are -------------------------------------------------------------------------------


def test_pods_are_where_the_pools_are_if_every_pod_is_seen_in_one(
    prod: Api, calico: ControlPlane
) -> None:
    pool(calico, "v4", "10.48.0.0/16")
    pool(calico, "v6", "fd00:10::/64")
    pool(calico, "old", "10.32.0.0/16", disabled=True)
    pod(calico, "web", "10.48.0.7", "fd00:10::7")
    pod(calico, "older", "10.32.255.255")
    pod(calico, "waiting", phase="Pending")
    found = facts(prod)
    assert found.pod_networks == networks("10.48.0.0/16", "10.32.0.0/16", "fd00:10::/64")
    assert found.pod_networks_because == ""


@pytest.mark.parametrize(
    "addresses", [["10.49.0.0"], ["10.47.255.255"], ["10.48.0.7", "fd00:10::1"]], ids=str
)
def test_one_pod_elsewhere_makes_them_unknown_and_is_named(
    prod: Api, calico: ControlPlane, addresses: list[str]
) -> None:
    pool(calico, "v4", "10.48.0.0/16")
    pod(calico, "web", *addresses)
    pod(calico, "a", "192.0.2.1")
    found = facts(prod)
    assert found.pod_networks is None
    assert "(default/a: 192.0.2.1 and 1 more)" in found.pod_networks_because
    assert "give its pod_cidrs" in found.pod_networks_because


def test_a_pod_without_an_address_of_its_own_tells_nothing(prod: Api, calico: ControlPlane) -> None:
    pool(calico, "v4", "10.48.0.0/16")
    pod(calico, "agent", "192.0.2.1", hostNetwork=True)
    pod(calico, "done", "192.0.2.2", phase="Succeeded")
    pod(calico, "crashed", "192.0.2.3", phase="Failed")
    assert facts(prod).pod_networks == networks("10.48.0.0/16")


def test_a_pod_that_is_lost_from_sight_counts(prod: Api, calico: ControlPlane) -> None:
    pool(calico, "v4", "10.48.0.0/16")
    pod(calico, "lost", "192.0.2.1", phase="Unknown")
    assert facts(prod).pod_networks is None


def test_without_pools_nobody_knows(prod: Api, calico: ControlPlane) -> None:
    pod(calico, "web", "10.48.0.7")
    found = facts(prod)
    assert found.pod_networks is None
    assert "has no IPPools" in found.pod_networks_because


def test_the_zones_of_labelled_pods_are_told(prod: Api, calico: ControlPlane) -> None:
    pod(calico, "lost", "10.48.0.7")
    labels = {"metadata": {"labels": {"firewall.tigera.io/zone": "wbe"}}}
    calico.request("PATCH", f"{PODS}/lost", labels)
    assert facts(prod).zone_labels == {"wbe": ("default/lost",)}


def test_pods_on_every_page_are_seen(prod: Api, calico: ControlPlane) -> None:
    pool(calico, "v4", "10.48.0.0/16")
    for number in range(6):
        pod(calico, f"web-{number}", f"10.48.0.{number}")
    assert facts(prod, page=2).pod_networks == networks("10.48.0.0/16")
    pod(calico, "web-6", "192.0.2.1")
    assert "default/web-6" in facts(prod, page=2).pod_networks_because


# --- nodes and others' policies -------------------------------------------------------------------


def test_nodes_tell_their_addresses_and_which_run_windows(prod: Api, calico: ControlPlane) -> None:
    node(calico, "b", "192.0.2.2", "2001:db8::2")
    node(calico, "w", "192.0.2.9", system="windows")
    node(calico, "a", "192.0.2.1")
    found = facts(prod)
    assert found.windows_nodes == ("w",)
    assert found.node_addresses == ("192.0.2.1", "192.0.2.2", "192.0.2.9", "2001:db8::2")
    assert found.nodes_because == ""


def test_namespaced_policies_are_told_by_the_tier_they_stand_in(
    prod: Api, calico: ControlPlane
) -> None:
    namespaced(calico, "NetworkPolicy", "fw.web", tier="fw")
    namespaced(calico, "StagedNetworkPolicy", "fw.web", tier="fw")
    namespaced(calico, "NetworkPolicy", "db")
    found = facts(prod)
    assert found.foreign_policies == {
        "default": ("NetworkPolicy default/db",),
        "fw": ("NetworkPolicy default/fw.web", "StagedNetworkPolicy default/fw.web"),
    }
    assert found.foreign_policies_because == ""


def labelled(plane: ControlPlane, kind: str, name: str, spec: Any = None, **labels: str) -> None:
    """A set of a namespace, or a host endpoint."""
    document = {
        "apiVersion": NATIVE,
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec or {},
    }
    within = "namespaces/default/" if kind == "NetworkSet" else ""
    plane.request("POST", f"{CALICO}/{within}{kind.lower()}s", document)


def test_sets_of_namespaces_and_host_endpoints_are_told_with_their_labels(
    prod: Api, calico: ControlPlane
) -> None:
    labelled(calico, "NetworkSet", "plain", {"nets": ["192.0.2.0/24"]})
    labelled(calico, "NetworkSet", "pods", {"nets": ["192.0.2.0/24"]}, role="web")
    default = ["projectcalico-default-allow"]
    labelled(calico, "HostEndpoint", "auto", {**HOST, "profiles": default}, role="db")
    labelled(calico, "HostEndpoint", "hand", {**HOST, "profiles": ["edge"]})
    found = facts(prod, page=1)
    assert found.selectable_because == ""
    told = {f"{each.kind} {each.name}": each for each in found.selectable}
    assert {name: each.labels for name, each in told.items()} == {
        "NetworkSet default/plain": {},
        "NetworkSet default/pods": {"role": "web"},
        "HostEndpoint auto": {"role": "db"},
        "HostEndpoint hand": {},
    }
    assert told["NetworkSet default/pods"].seen_by_selectors == {
        "role": "web",
        "projectcalico.org/namespace": "default",
        "pcns.projectcalico.org/name": "default",
        "pcns.kubernetes.io/metadata.name": "default",
    }
    assert [each.profiles for each in told.values()].count(()) == 3
    assert told["HostEndpoint hand"].profiles == ("edge",)
    assert len({each.spec for each in told.values()}) == 3


def test_sets_that_may_not_be_read_are_unknown_and_the_right_is_named(
    prod: Api, calico: ControlPlane
) -> None:
    del prod
    labelled(calico, "NetworkSet", "pods", role="web")
    labelled(calico, "HostEndpoint", "hand", HOST)
    rule = {"apiGroups": ["projectcalico.org"], "verbs": ["list"]}
    grant(calico, [{**rule, "resources": ["networksets"]}])
    found = facts(api(calico, kubeconfig=calico.kubeconfig(calico.guest_token)))
    # Without its namespace's labels it is seen by its own.
    assert [(each.kind, each.labels) for each in found.selectable] == [
        ("NetworkSet", {"role": "web"})
    ]
    for resource in ("hostendpoints", "namespaces"):
        assert f'cannot list resource "{resource}"' in found.selectable_because
    assert "grant the user this in the cluster" in found.selectable_because


def says(plane: ControlPlane, kind: str, name: str, **spec: Any) -> None:
    document = {"apiVersion": NATIVE, "kind": kind, "metadata": {"name": name}, "spec": spec}
    plane.request("POST", f"{CALICO}/{kind.lower()}s", document)


def test_the_calico_and_its_data_plane_are_told(prod: Api, calico: ControlPlane) -> None:
    says(calico, "ClusterInformation", "default", calicoVersion="v3.32.0")
    says(calico, "FelixConfiguration", "default", nftablesMode="Auto")
    says(calico, "FelixConfiguration", "node.a", bpfEnabled=True)
    found = facts(prod)
    assert found.calico_version == "v3.32.0"
    assert found.felix == {
        "default": FelixSettings("Auto"),
        "node.a": FelixSettings(bpf_enabled=True),
    }
    assert found.calico_because == ""


# --- rights ---------------------------------------------------------------------------------------


def test_the_printed_rights_are_enough_for_all_facts(prod: Api, calico: ControlPlane) -> None:
    pool(calico, "v4", "10.48.0.0/16")
    pod(calico, "web", "10.48.0.7")
    node(calico, "w", "192.0.2.9", system="windows")
    namespaced(calico, "NetworkPolicy", "db")
    labelled(calico, "NetworkSet", "pods", role="web")
    labelled(calico, "HostEndpoint", "hand", HOST)
    says(calico, "ClusterInformation", "default", calicoVersion="v3.32.0")
    says(calico, "FelixConfiguration", "default", nftablesMode="Auto")
    grant(calico, rights_by_kind(grantee())["ClusterRole"]["rules"])
    guest = api(calico, kubeconfig=calico.kubeconfig(calico.guest_token))
    assert facts(guest) == facts(prod)
    assert facts(guest).pod_networks
    assert len(facts(guest).selectable) == 2
    assert facts(guest).felix


def test_a_right_that_is_missing_leaves_one_fact_unknown_and_says_so(calico: ControlPlane) -> None:
    guest = api(calico, kubeconfig=calico.kubeconfig(calico.guest_token))
    found = facts(guest)
    assert (found.pod_networks, found.windows_nodes, found.foreign_policies) == (None, (), {})
    for because, resource in (
        (found.pod_networks_because, "ippools"),
        (found.nodes_because, "nodes"),
        (found.foreign_policies_because, "networkpolicies"),
        (found.foreign_policies_because, "stagednetworkpolicies"),
        (found.calico_because, "clusterinformations"),
    ):
        assert f'cannot list resource "{resource}"' in because
        assert "grant the user this in the cluster" in because


def test_what_may_be_read_is_told_where_the_rest_may_not(prod: Api, calico: ControlPlane) -> None:
    pool(calico, "v4", "10.48.0.0/16")
    namespaced(calico, "NetworkPolicy", "db")
    rule = {"apiGroups": ["projectcalico.org"], "verbs": ["list"]}
    grant(calico, [{**rule, "resources": ["ippools", "networkpolicies"]}])
    found = facts(api(calico, kubeconfig=calico.kubeconfig(calico.guest_token)))
    assert found.pod_networks is None
    assert 'cannot list resource "pods"' in found.pod_networks_because
    assert found.foreign_policies == {"default": ("NetworkPolicy default/db",)}
    assert '"stagednetworkpolicies"' in found.foreign_policies_because


def test_the_printed_rights_are_enough_to_write_and_remove_tier_and_policies(
    calico: ControlPlane,
) -> None:
    grant(calico, rights_by_kind(grantee())["ClusterRole"]["rules"])
    guest = api(calico, kubeconfig=calico.kubeconfig(calico.guest_token))
    rules = (Rule("Deny"),)
    written = [
        Tier("firewallpolicy", 101, labels=OWNER).manifest(),
        policy("firewallpolicy.pan-zone-web", tier="firewallpolicy", ingress=rules),
        policy("firewallpolicy.pan-zone-web", staged=True, tier="firewallpolicy", ingress=rules),
    ]
    for each in written:
        writer(guest).create(each)
        writer(guest).replace(each, reader(guest).read()[each.kind, each.name])
    for each in reversed(written):
        writer(guest).delete(reader(guest).read()[each.kind, each.name])
    left = reader(guest).read()
    assert not any((each.kind, each.name) in left for each in written)


# --- what is written of policies and tiers --------------------------------------------------------


def policy(name: str = "fw.pan-zone-web", *, staged: bool = False, **fields: Any) -> Manifest:
    kind: Callable[..., Object] = StagedGlobalNetworkPolicy if staged else GlobalNetworkPolicy
    given = {"tier": "fw", "order": 100, "selector": "zone == 'web'", "labels": OWNER}
    return kind(name, **given | fields).manifest()


GROUP = EntityRule(
    selector="firewall.tigera.io/address-group == 'web'", namespace_selector="global()"
)
NOTES = (
    ("firewall.tigera.io/rule", 'Web, Zürich "x"\n'),
    ("firewall.tigera.io/rank", "7"),
    ("firewall.tigera.io/source", "main"),
)
RULES = {
    "bare": Rule("Deny"),
    "pass": Rule("Pass", annotations=NOTES),
    "ports": Rule("Allow", "TCP", destination=EntityRule(ports=(80, "8000:8080", 65535))),
    "source ports": Rule("Allow", "UDP", source=EntityRule(ports=("1:1023",), not_ports=(53,))),
    "not ports": Rule("Allow", "SCTP", destination=EntityRule(not_ports=("1:5", 9))),
    "number": Rule("Deny", 47),
    "udplite": Rule("Deny", "UDPLite"),
    "icmp": Rule("Deny", "ICMP", 4, icmp=Icmp(8)),
    "icmp code": Rule("Deny", "ICMP", 4, icmp=Icmp(0, 0)),
    "icmpv6": Rule("Pass", "ICMPv6", 6, EntityRule(not_selector="has(app)"), icmp=Icmp(254, 255)),
    "v4": Rule("Pass", ip_version=4, source=EntityRule(nets=("10.0.0.0/8",))),
    "v6": Rule("Pass", ip_version=6, destination=EntityRule(nets=("2001:db8::/32", "::/0"))),
    "all of v4": Rule("Pass", ip_version=4, destination=EntityRule(nets=("0.0.0.0/0",))),
    "not nets": Rule("Deny", ip_version=4, source=EntityRule(not_nets=("10.0.0.0/8",))),
    "group": Rule("Pass", source=GROUP),
    "not a group": Rule(
        "Pass", destination=EntityRule(not_selector="has(a) && !has(projectcalico.org/namespace)")
    ),
    "nets and not selector": Rule(
        "Pass",
        ip_version=4,
        destination=EntityRule(
            not_selector="projectcalico.org/orchestrator == 'k8s'", nets=("10.0.0.0/8",)
        ),
    ),
}


@pytest.mark.parametrize("staged", [False, True], ids=["enforced", "staged"])
def test_every_kind_of_rule_reads_back_as_it_was_sent(prod: Api, *, staged: bool) -> None:
    rules = tuple(RULES.values())
    whole = policy(staged=staged, ingress=rules, egress=rules[::-1], annotations=NOTES)
    reads_back(prod, whole)


@pytest.mark.parametrize("staged", [False, True], ids=["enforced", "staged"])
@pytest.mark.parametrize(
    "fields",
    [
        {"types": ("Egress",), "egress": (Rule("Deny"),)},
        {"types": ("Ingress",), "ingress": (Rule("Deny"),)},
        {"types": ("Egress",)},
        {"types": ("Ingress", "Egress")},
        {"order": 0},
        {"order": -(2**53) + 1},
        {"order": 2**53 - 1},
        {"selector": "all()", "annotations": (("firewall.tigera.io/name", "Zürich"),)},
    ],
    ids=str,
)
def test_every_policy_reads_back_as_it_was_sent(
    prod: Api, fields: dict[str, Any], *, staged: bool
) -> None:
    reads_back(prod, policy(staged=staged, **fields))


@pytest.mark.parametrize(
    "each",
    [
        Tier("fw", 101, labels=OWNER),
        Tier("fw", 2**53 - 1, "Deny", labels=OWNER, annotations=NOTES[:1]),
        Tier("fw", -5, labels=OWNER),
        GlobalNetworkSet("pan.none", (), OWNER),
        GlobalNetworkSet("pan.all", ("0.0.0.0/0", "10.0.0.0/8", "::/0"), OWNER, NOTES),
    ],
    ids=repr,
)
def test_tiers_and_sets_read_back_as_they_were_sent(prod: Api, each: Object) -> None:
    reads_back(prod, each.manifest())


def reads_back(prod: Api, manifest: Manifest) -> None:
    """An object is held as it was created, and as it was written over another one."""
    assert validate(manifest) == ()
    key = (manifest.kind, manifest.name)
    writer(prod).create(manifest)
    assert reader(prod).read()[key].manifest == manifest
    document = manifest.document()
    document["metadata"].setdefault("annotations", {})["firewall.tigera.io/x"] = "other"
    writer(prod).replace(Manifest.of(document), reader(prod).read()[key])
    writer(prod).replace(manifest, reader(prod).read()[key])
    assert reader(prod).read()[key].manifest == manifest
    writer(prod).delete(reader(prod).read()[key])
    assert key not in reader(prod).read()


cidrs = {
    4: st.sampled_from(["10.0.0.0/8", "10.0.0.0/16", "172.16.0.1/32", "192.0.2.0/24"]),
    6: st.sampled_from(["2001:db8::/32", "2001:db8::1/128", "fd00::/8"]),
}
port = st.integers(1, 65535)
ports = st.lists(port, max_size=4, unique=True).map(lambda found: tuple(sorted(found)))
selectors = st.sampled_from(["", "all()", "has(a)", "a == 'b' && !(c in {'d', 'e'})"])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    version = draw(st.sampled_from([4, 6]))
    protocol = draw(st.sampled_from([None, "TCP", "UDP", "SCTP", "ICMP", "ICMPv6", 1, 47, 255]))
    if protocol in ("ICMP", "ICMPv6"):
        version = 4 if protocol == "ICMP" else 6
    has_ports = protocol in ("TCP", "UDP", "SCTP")

    def end() -> EntityRule:
        nets = draw(st.lists(cidrs[version], max_size=3, unique=True))
        excluded = draw(st.lists(cidrs[version], max_size=2, unique=True))
        return EntityRule(
            selector=draw(selectors),
            not_selector=draw(selectors),
            namespace_selector=draw(st.sampled_from(["", "global()", "env == 'prod'"])),
            nets=tuple(sorted(nets)),
            not_nets=tuple(sorted(excluded)),
            ports=draw(ports) if has_ports else (),
            not_ports=draw(ports) if has_ports else (),
        )

    return Rule(
        draw(st.sampled_from(["Allow", "Deny", "Pass"])),
        protocol,
        draw(st.sampled_from([None, version])),
        end(),
        end(),
        Icmp(draw(st.integers(0, 254)), draw(st.none() | st.integers(0, 255)))
        if protocol in ("ICMP", "ICMPv6") and draw(st.booleans())
        else None,
        draw(st.sampled_from([(), NOTES[:1], NOTES])),
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rules(), max_size=4), st.lists(rules(), max_size=4), st.booleans())
def test_whatever_passes_the_validator_reads_back_as_it_was_sent(
    prod: Api, ingress: list[Rule], egress: list[Rule], staged: bool
) -> None:
    kept = [tuple(each for each in some if passes(each)) for some in (ingress, egress)]
    manifest = policy(staged=staged, ingress=kept[0], egress=kept[1])
    key = (manifest.kind, manifest.name)
    found = reader(prod).read().get(key)
    if found:
        writer(prod).replace(manifest, found)
    else:
        writer(prod).create(manifest)
    assert reader(prod).read()[key].manifest == manifest


def passes(rule: Rule) -> bool:
    return validate(policy(ingress=(rule,))) == ()


def test_what_others_do_to_policies_and_tiers_is_seen(prod: Api, calico: ControlPlane) -> None:
    rule = (Rule("Deny"),)
    ours = [Tier("fw", 101, labels=OWNER).manifest()]
    ours += [policy(staged=staged, ingress=rule) for staged in (False, True)]
    for each in ours:
        writer(prod).create(each)
    told: dict[Key, list[Manifest | None]] = {}
    missed: list[None] = []
    stopping = Event()
    watching = api(calico)
    try:
        KubernetesWatcher(watching, OWNER).watch(
            lambda key, manifest: told.setdefault(key, []).append(manifest),
            lambda key, found: None,
            lambda: missed.append(None),
            stopping,
        )
        until(lambda: len(missed) == len(KINDS) + len(SELECTABLE))
        for each in ours:
            path = f"{CALICO}/{KINDS[each.kind]}/{each.name}"
            calico.request("PATCH", path, {"spec": {"order": 7}})
            calico.request("DELETE", path)
        until(lambda: [found[-1] for found in told.values()] == [None] * len(ours))
    finally:
        stopping.set()
        watching.close()
    for each in ours:
        [drifted, _] = told[each.kind, each.name]
        assert drifted is not None
        document = each.document()
        document["spec"]["order"] = 7
        assert drifted == Manifest.of(document)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- tiers that others hold on to -----------------------------------------------------------------

FW = Tier("fw", 101, labels=OWNER).manifest()


def tier(plane: ControlPlane) -> dict[str, Any]:
    found: dict[str, Any] = plane.request("GET", f"{TIERS}/fw")
    return found


def test_a_tier_keeps_the_finalizers_of_others(prod: Api, calico: ControlPlane) -> None:
    writer(prod).create(FW)
    calico.request("PATCH", f"{TIERS}/fw", {"metadata": {"finalizers": [HELD]}})
    moved = Tier("fw", 102, labels=OWNER).manifest()
    writer(prod).replace(moved, reader(prod).read()["Tier", "fw"])
    assert tier(calico)["metadata"]["finalizers"] == [HELD]
    assert tier(calico)["spec"]["order"] == 102


def test_a_tier_that_others_still_use_is_not_called_removed(
    prod: Api, calico: ControlPlane
) -> None:
    writer(prod).create(FW)
    # As Calico's controllers do with every tier, until no policy is in it.
    calico.request("PATCH", f"{TIERS}/fw", {"metadata": {"finalizers": [HELD]}})
    for _ in range(2):
        with pytest.raises(NotWrittenError, match="tier-controller"):
            writer(prod).delete(reader(prod).read()["Tier", "fw"])
    assert reader(prod).read()["Tier", "fw"].manifest == FW
    calico.request("PATCH", f"{TIERS}/fw", {"metadata": {"finalizers": None}})
    assert ("Tier", "fw") not in reader(prod).read()


# --- adoption -------------------------------------------------------------------------------------

KEY = ("GlobalNetworkSet", "pan.web")
WEB = made("pan.web", "10.0.0.1/32")
OTHER_STORE = owner_labels("test", "11111111-2222-4333-8444-555555555555")
OTHER_INSTANCE = owner_labels("elsewhere", "11111111-2222-4333-8444-555555555555")


def test_what_others_left_behind_is_taken_over_with_what_is_theirs_on_it(
    prod: Api, calico: ControlPlane
) -> None:
    put(calico, "pan.web", "192.0.2.0/24")
    put(calico, "pan.unwanted", "192.0.2.0/24")
    foreign = {"labels": {"team": "blue", "firewall.tigera.io/old": ""}, "finalizers": ["a.b/c"]}
    calico.request("PATCH", f"{CALICO}/globalnetworksets/pan.web", {"metadata": foreign})
    live = reader(prod).read()
    assert live[KEY].manifest is None
    [blocker] = differences({KEY: WEB}, {}, live).blockers
    assert blocker.guard == "foreign-object"

    found = differences({KEY: WEB}, {}, live, adopt=True)
    assert found.blockers == ()
    [change] = found.changes
    assert change.before == live[KEY].stands
    assert change.before is not None
    assert change.before.document()["spec"] == {"nets": ["192.0.2.0/24"]}
    assert change.before.document()["metadata"]["labels"] == {"firewall.tigera.io/old": ""}
    writer(prod).replace(WEB, live[KEY])

    assert reader(prod).read()[KEY].manifest == WEB
    metadata = calico.request("GET", f"{CALICO}/globalnetworksets/pan.web")["metadata"]
    assert metadata["labels"] == {**dict(OWNER), "team": "blue"}
    assert metadata["finalizers"] == ["a.b/c"]
    assert differences({KEY: WEB}, {KEY: WEB}, reader(prod).read()).unchanged == 1
    assert reader(prod).read()["GlobalNetworkSet", "pan.unwanted"].manifest is None


def test_what_a_lost_store_wrote_is_taken_over_and_another_installations_is_not(prod: Api) -> None:
    writer(prod, OTHER_STORE).create(made("pan.web", "10.0.0.1/32", owner=OTHER_STORE))
    writer(prod, OTHER_INSTANCE).create(made("pan.db", "10.0.0.2/32", owner=OTHER_INSTANCE))
    live = reader(prod).read()
    theirs = ("GlobalNetworkSet", "pan.db")
    wanted = {KEY: WEB, theirs: made("pan.db", "10.0.0.3/32")}
    found = differences(wanted, {}, live, adopt=True)
    assert [change.name for change in found.changes] == ["pan.web"]
    [blocker] = found.blockers
    assert "belongs to another installation (zonebridge.io/instance: elsewhere)" in blocker.message
    with pytest.raises(AssertionError):
        writer(prod).replace(wanted[theirs], live[theirs])
    writer(prod).replace(WEB, live[KEY])
    assert reader(prod).read()[KEY].manifest == WEB


def test_what_another_hand_changes_meanwhile_is_not_taken_over(
    prod: Api, calico: ControlPlane
) -> None:
    put(calico, "pan.web", "192.0.2.0/24")
    seen = reader(prod).read()[KEY]
    path = f"{CALICO}/globalnetworksets/pan.web"
    calico.request("PATCH", path, {"spec": {"nets": ["198.51.100.0/24"]}})
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        writer(prod).replace(WEB, seen)
    seen = reader(prod).read()[KEY]
    # A label of theirs is no obstacle: it is kept.
    calico.request("PATCH", path, {"metadata": {"labels": {"team": "blue"}}})
    writer(prod).replace(WEB, seen)
    assert reader(prod).read()[KEY].manifest == WEB

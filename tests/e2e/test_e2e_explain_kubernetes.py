"""`zonebridge explain` against a real API server: pods by their addresses, and what stands."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.installation import Done, Installation, everything, kubernetes, sentences
from tests.kubernetes_cluster import GROUP, GUEST, ControlPlane
from tests.words import address, document, rule

NAMESPACE = "/api/v1/namespaces/default"
POLICIES = f"/apis/{GROUP}/v3/globalnetworkpolicies"
ZONE = "firewall.tigera.io/zone"
RULES = [
    address("db-1", "10.244.9.20"),
    rule("web to db", from_=["web"], to=["db"], source=["any"], destination=["db-1"],
         service=["service-https"], application=["any"], action="allow"),
]  # fmt: skip
ZONES = {"definitions": {"web": {"networks": []}, "db": {"networks": ["10.2.0.0/16"]}}}

WEB, DB, OTHER_DB = "10.244.9.10", "10.244.9.20", "10.244.9.21"
NOWHERE, UNZONED, ON_NODE = "10.244.9.30", "10.244.9.31", "192.0.2.9"
WEB6 = "fd00:9::10"


@pytest.fixture
def eu(place: Installation, calico: ControlPlane) -> Iterator[ControlPlane]:
    """The one cluster of the installation, with pods of zones and pods of none."""
    described = kubernetes("eu", calico.kubeconfig(), pod_cidrs=["10.244.0.0/16", "fd00:9::/64"])
    place.configure(described, zones=ZONES)
    place.export(document(groups={"dg-eu": RULES}))
    pod(calico, "web-1", WEB, WEB6, zone="web")
    pod(calico, "db-1", DB, zone="db")
    pod(calico, "db-2", OTHER_DB, zone="db")
    pod(calico, "misspelt", NOWHERE, zone="bd")
    pod(calico, "plain", UNZONED)
    pod(calico, "agent", ON_NODE, zone="web", hostNetwork=True)
    yield calico
    calico.request("DELETE", f"{NAMESPACE}/pods?gracePeriodSeconds=0")


def pod(plane: ControlPlane, name: str, *addresses: str, zone: str = "", **spec: Any) -> None:
    document = {
        "metadata": {"name": name, "labels": {ZONE: zone} if zone else {}},
        "spec": {"containers": [{"name": "main", "image": "main"}], **spec},
    }
    status = {
        "phase": "Running",
        "podIP": addresses[0],
        "podIPs": [{"ip": each} for each in addresses],
    }
    with plane.connected() as connection:
        connection.request("POST", f"{NAMESPACE}/pods", document)
        connection.request("PATCH", f"{NAMESPACE}/pods/{name}/status", {"status": status})


def edited(plane: ControlPlane, name: str, edit: Callable[[Any], object]) -> None:
    """What another hand makes of a policy, as `kubectl edit` does."""
    path = f"{POLICIES}/firewallpolicy.{name}"
    held = plane.request("GET", path)
    edit(held)
    plane.request("PUT", f"{path}?fieldManager=kubectl-edit", held)


def enforce(place: Installation) -> None:
    """Sync it, though this cluster tells of no DNS that its pods could lose."""
    (cluster,) = place.run("sync", "--output", "json").json["clusters"]
    place.done("approve", cluster["plan"]["digest"])
    place.done("sync")


def explain(place: Installation, source: str, destination: str, *options: str) -> Done:
    asked = ("--from", source, "--to", destination, "--port", "443/tcp")
    return place.run("explain", *asked, *options)


def explained(place: Installation, *asked: str) -> str:
    done = explain(place, *asked)
    assert (done.code, done.err) == (0, "")
    return done.out


@pytest.mark.usefixtures("eu")
def test_the_pods_at_two_addresses_are_named_with_the_rules_that_they_meet(
    place: Installation,
) -> None:
    before = everything(place.directory)
    allowed = """\
Cluster eu, in its desired state: pod default/web-1 (10.244.9.10) to pod default/db-1 \
(10.244.9.20), tcp/443 from port 50000: our tiers allow it

Egress of pod default/web-1 (10.244.9.10), tier firewallpolicy, device group main/dg-eu
  the firewall allows it: dg-eu pre 1 'web to db'
  Calico allows it: firewallpolicy.pan-zone-web[egress 0], as 'web to db'

Ingress of pod default/db-1 (10.244.9.20), tier firewallpolicy, device group main/dg-eu
  the firewall allows it: dg-eu pre 1 'web to db'
  Calico allows it: firewallpolicy.pan-zone-db[ingress 0], as 'web to db'
"""
    assert explained(place, WEB, DB) == allowed
    assert everything(place.directory) == before
    enforce(place)
    assert explained(place, WEB, DB) == allowed
    stands = allowed.replace("in its desired state", "as its objects stand")
    assert explained(place, WEB, DB, "--live") == stands
    # The other pod of the same zone is not the one that the rule names.
    shown = explained(place, WEB, OTHER_DB, "--live")
    assert ", tcp/443 from port 50000: our tiers deny it\n" in shown
    assert "  the firewall denies it: interzone-default\n" in shown


def test_live_shows_what_a_hand_edit_does_and_without_it_what_shall_be_is_shown(
    place: Installation, eu: ControlPlane
) -> None:
    enforce(place)
    edited(eu, "pan-zone-db", lambda it: it["spec"]["ingress"].insert(0, {"action": "Deny"}))
    live = explained(place, WEB, DB, "--live")
    assert live.splitlines()[0].endswith(": our tiers deny it")
    assert "  Calico allows it: firewallpolicy.pan-zone-web[egress 0], as 'web to db'\n" in live
    assert live.endswith("  Calico denies it: firewallpolicy.pan-zone-db[ingress 0]\n")
    assert explained(place, WEB, DB).splitlines()[0].endswith(": our tiers allow it")


def test_live_shows_what_a_policy_does_that_asks_for_other_labels_of_a_known_pod(
    place: Installation, eu: ControlPlane
) -> None:
    """All labels of a pod at an address are known, those of any pod of a zone are not."""
    enforce(place)
    namespace = "pcns.kubernetes.io/metadata.name"
    deny = {"action": "Deny", "source": {"selector": f"{namespace} == 'default'"}}
    edited(eu, "pan-zone-db", lambda it: it["spec"]["ingress"].insert(0, deny))
    live = explained(place, WEB, DB, "--live")
    assert live.splitlines()[0].endswith(": our tiers deny it")
    assert "perhaps" not in live
    live = explained(place, "web", DB, "--live")
    assert live.splitlines()[0].endswith(": it depends")
    perhaps = (
        "  Calico perhaps denies it: firewallpolicy.pan-zone-db[ingress 0]: policies use labels"
    )
    assert perhaps in live


@pytest.mark.usefixtures("eu")
def test_a_pod_whose_label_names_no_zone_is_denied_by_the_policy_for_such_pods(
    place: Installation,
) -> None:
    enforce(place)
    misspelt, db = f"pod default/misspelt ({NOWHERE})", f"pod default/db-1 ({DB})"
    traffic = "tcp/443 from port 50000"
    shown = explained(place, NOWHERE, DB, "--live")
    assert shown.splitlines()[:5] == [
        f"Cluster eu, as its objects stand: {misspelt} to {db}, {traffic}: our tiers deny it",
        "",
        f"Egress of {misspelt}, tier firewallpolicy, device group main/dg-eu",
        "  the firewall: no zone of this device group",
        "  Calico denies it: firewallpolicy.pan-unknown-zone[egress 0]",
    ]


@pytest.mark.usefixtures("eu")
def test_a_pod_without_a_zone_meets_no_policy_of_its_own_and_those_of_the_other_end(
    place: Installation,
) -> None:
    enforce(place)
    found = explain(place, UNZONED, DB, "--live", "--output", "json").json
    (cluster,) = found["clusters"]
    egress, ingress = (each["cases"][0] for each in cluster["sides"])
    assert (cluster["from"], cluster["verdict"]) == (f"pod default/plain ({UNZONED})", "allow")
    assert egress["firewall"] is None
    assert egress["calico"]["decider"]["calico"] == "no policy of tier firewallpolicy selects it"
    assert ingress["firewall"]["decider"]["rule"] == "unzoned-pods"
    assert ingress["calico"]["decider"]["rule"] == "unzoned-pods"


@pytest.mark.usefixtures("eu")
def test_an_address_that_no_pod_has_is_no_pod(place: Installation) -> None:
    (cluster,) = explain(place, WEB, "10.244.9.99", "--output", "json").json["clusters"]
    assert cluster["to"] == "10.244.9.99"
    (note,) = cluster["notes"]
    assert note.startswith("10.244.9.99 is in the networks of pods, but no known pod")
    # A pod on its node's network is its node; policies of pods are not for it.
    (cluster,) = explain(place, ON_NODE, DB, "--output", "json").json["clusters"]
    assert (cluster["from"], cluster["notes"]) == (ON_NODE, [])
    assert [each["direction"] for each in cluster["sides"]] == ["ingress"]


@pytest.mark.usefixtures("eu")
def test_a_pod_is_found_by_its_second_address(place: Installation) -> None:
    shown = explained(place, WEB6, "2001:db8::1")
    assert f": pod default/web-1 ({WEB6}) to 2001:db8::1, tcp/443" in shown


@pytest.mark.usefixtures("eu")
def test_a_zone_that_is_given_goes_before_the_pod_at_the_address(place: Installation) -> None:
    """What would be if its label said so."""
    asked = explained(place, f"web@{NOWHERE}", DB)
    assert f": a pod of zone web at {NOWHERE} to pod default/db-1 ({DB}), tcp/443" in asked
    assert asked.splitlines()[0].endswith(": our tiers allow it")


def test_without_the_right_to_see_pods_the_right_that_lacks_is_said(
    place: Installation, eu: ControlPlane
) -> None:
    place.configure(kubernetes("eu", eu.kubeconfig(user=GUEST)), zones=ZONES)
    done = explain(place, WEB, DB)
    assert (done.code, done.out) == (5, "")
    (error,) = sentences(done)
    assert "grant the user this in the cluster" in error


def test_live_goes_by_a_policy_of_another_hand_that_names_no_order(
    place: Installation, eu: ControlPlane
) -> None:
    """As most that people write; Calico asks it after all that have one."""
    enforce(place)
    by_hand = {"tier": "firewallpolicy", "selector": "all()", "egress": [{"action": "Deny"}]}
    document = {
        "apiVersion": f"{GROUP}/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "firewallpolicy.by-hand"},
        "spec": by_hand,
    }
    eu.request("POST", POLICIES, document)
    assert explained(place, WEB, DB, "--live").splitlines()[0].endswith(": our tiers allow it")
    shown = explained(place, UNZONED, DB, "--live")
    assert "  Calico denies it: firewallpolicy.by-hand[egress 0]\n" in shown


def test_live_says_of_a_namespaced_policy_in_the_tier_that_it_is_there(
    place: Installation, eu: ControlPlane
) -> None:
    """It stands before ours and denies what they allow: nobody may be told "allowed" alone."""
    enforce(place)
    by_hand = {
        "tier": "firewallpolicy",
        "order": 1,
        "selector": "all()",
        "types": ["Ingress", "Egress"],
        "ingress": [{"action": "Deny"}],
        "egress": [{"action": "Deny"}],
    }
    document = {
        "apiVersion": f"{GROUP}/v3",
        "kind": "NetworkPolicy",
        "metadata": {"name": "firewallpolicy.by-hand", "namespace": "default"},
        "spec": by_hand,
    }
    path = f"/apis/{GROUP}/v3/namespaces/default/networkpolicies"
    eu.request("POST", path, document)
    try:
        done = explain(place, WEB, DB, "--live")
    finally:
        eu.request("DELETE", f"{path}/firewallpolicy.by-hand")
    assert "firewallpolicy.by-hand" in done.out + done.err

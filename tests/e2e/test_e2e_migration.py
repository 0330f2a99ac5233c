"""The way from Tigera's Panorama integration, as docs/migration.md has it, on a real API server."""

from typing import Any

import pytest

from tests import tigera
from tests.e2e.installation import Done, Installation, kubernetes
from tests.kubernetes_cluster import GROUP, ControlPlane
from tests.words import address, document, group, rule

CALICO = f"/apis/{GROUP}/v3"
PLURALS = {
    "Tier": "tiers",
    "GlobalNetworkSet": "globalnetworksets",
    "GlobalNetworkPolicy": "globalnetworkpolicies",
}
HASHED = "pan.web-servers-ri4np"
POLICY = "firewallpolicy.pan-zone-web"
OLD_ZONE = "firewallpolicy.pan-zone-old"
ALL = {"selector": "firewall.tigera.io/zone == 'db'"}
LEFT = (
    tigera.tier(),
    tigera.network_set("web", "10.1.0.1/32", tags=["prod"]),
    tigera.network_set("Web Servers", "10.1.0.2/32", name=HASHED),
    tigera.policy("web", egress=[tigera.rule("Allow", "destination", ALL, protocol="TCP")]),
    tigera.policy("old", ingress=[tigera.rule("Deny", "source", {})]),
)
RULES = [
    address("web-1", "10.1.0.1"),
    address("web-2", "10.1.0.2"),
    group("web", "web-1"),
    group("Web Servers", "web-2"),
    rule(
        "web to db",
        from_=["web"],
        to=["db"],
        source=["web", "Web Servers"],
        destination=["any"],
        service=["any"],
        application=["any"],
        action="allow",
    ),
]


@pytest.fixture
def eu(place: Installation, calico: ControlPlane) -> ControlPlane:
    place.export(document(groups={"dg-eu": RULES}))
    for each in LEFT:
        written = each.document()
        # A label that no server takes is none that theirs had.
        for key, value in [*written["metadata"]["labels"].items()]:
            if " " in value:
                written["metadata"]["labels"][key] = "web-servers"
        calico.request("POST", f"{CALICO}/{PLURALS[each.kind]}", written)
    return calico


def configured(place: Installation, eu: ControlPlane, **keys: object) -> None:
    device_group = {"name": "dg-eu", **keys}
    place.configure(
        kubernetes(
            "eu",
            eu.kubeconfig(path=place.directory / "kubeconfig"),
            device_groups=[device_group],
            pod_cidrs=["10.244.0.0/16"],
        ),
        zones={"definitions": {"db": {"networks": ["10.2.0.0/16"]}}},
    )


def held(eu: ControlPlane, kind: str, name: str) -> Any:
    return eu.request("GET", f"{CALICO}/{PLURALS[kind]}/{name}")


def names(eu: ControlPlane, kind: str, tier: str = "") -> list[str]:
    found = eu.request("GET", f"{CALICO}/{PLURALS[kind]}")["items"]
    return [
        each["metadata"]["name"] for each in found if tier in ("", each["spec"].get("tier", ""))
    ]


def approved(place: Installation, done: Done) -> None:
    [cluster] = done.json["clusters"]
    place.done("approve", cluster["plan"]["digest"])


def guards(done: Done) -> list[str]:
    [cluster] = done.json["clusters"]
    return [each["guard"] for each in cluster["plan"]["blockers"]]


def test_a_trial_in_a_tier_of_its_own_leaves_what_theirs_enforce_until_theirs_are_removed(
    place: Installation, eu: ControlPlane
) -> None:
    before = held(eu, "GlobalNetworkPolicy", POLICY)
    configured(place, eu, tier="panorama", order=100, mode="staged")
    said = place.run("plan")
    assert "GlobalNetworkSet pan.web was written by Tigera's Panorama integration" in said.out
    place.done("sync", "--adopt")
    assert held(eu, "GlobalNetworkPolicy", POLICY) == before
    assert held(eu, "Tier", "firewallpolicy")["spec"]["defaultAction"] == "Deny"
    assert held(eu, "GlobalNetworkSet", "pan.web")["metadata"]["labels"]["zonebridge.io/instance"]
    # The name by hash is theirs, and goes by hand.
    eu.request("DELETE", f"{CALICO}/globalnetworksets/{HASHED}")

    configured(place, eu, tier="panorama", order=100, mode="enforced")
    place.done("sync")
    assert held(eu, "GlobalNetworkPolicy", POLICY) == before
    for name in names(eu, "GlobalNetworkPolicy", "firewallpolicy"):
        eu.request("DELETE", f"{CALICO}/globalnetworkpolicies/{name}")
    eu.request("DELETE", f"{CALICO}/tiers/firewallpolicy")
    assert "no changes" in place.done("plan").out
    place.done("verify", "--live")
    place.done("audit", "verify")


def test_in_their_own_tier_the_end_stays_deny_until_the_last_of_theirs_is_removed(
    place: Installation, eu: ControlPlane
) -> None:
    configured(place, eu, mode="enforced")
    done = place.run("sync", "--adopt", "--output", "json")
    assert guards(done) == ["foreign-policy"]
    [cluster] = done.json["clusters"]
    [message] = [each["message"] for each in cluster["plan"]["blockers"]]
    assert (
        f"(GlobalNetworkPolicy {OLD_ZONE}; 1 of them by Tigera's Panorama integration)" in message
    )
    assert "name a tier of its own in device_groups[].tier" in message
    [warning, *_] = cluster["plan"]["warnings"]
    assert warning.startswith("tier firewallpolicy keeps its default action Deny while")
    assert held(eu, "Tier", "firewallpolicy")["spec"]["defaultAction"] == "Deny"
    approved(place, done)
    place.done("sync", "--adopt")
    assert held(eu, "Tier", "firewallpolicy")["spec"]["defaultAction"] == "Deny"
    assert "zonebridge.io/instance" in held(eu, "GlobalNetworkPolicy", POLICY)["metadata"]["labels"]
    assert (
        "zonebridge.io/instance"
        not in (held(eu, "GlobalNetworkPolicy", OLD_ZONE)["metadata"]["labels"])
    )
    eu.request("DELETE", f"{CALICO}/globalnetworkpolicies/{OLD_ZONE}")
    place.done("sync")
    assert held(eu, "Tier", "firewallpolicy")["spec"]["defaultAction"] == "Pass"
    assert "no changes" in place.done("plan").out

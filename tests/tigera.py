"""A cluster as Tigera's Panorama integration leaves it, and as its users have changed it since.

The shapes are those that its public documentation ("Panorama policy integration") and manifests
show: a tier without a default action (Calico's own is Deny), one GlobalNetworkPolicy a zone
(`<tier>.pan-zone-<zone>`, order 1000) with Allow and Deny rules by the labels of zones and address
groups, and one GlobalNetworkSet an address group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from sync.calico.manifest import Manifest

Key = tuple[str, str]
API = "projectcalico.org/v3"
PREFIX = "firewall.tigera.io"
TIER = "firewallpolicy"
SYSTEM_TIER = {"projectcalico.org/system-tier": "true"}
NOTED = {f"{PREFIX}/type": "Panorama"}


def tier(
    name: str = TIER,
    order: float = 101,
    default_action: str | None = None,
    *,
    labels: Mapping[str, str] = SYSTEM_TIER,
) -> Manifest:
    """Their tier; they never state its default action."""
    spec: dict[str, Any] = {"order": order}
    if default_action:
        spec["defaultAction"] = default_action
    return _object("Tier", name, spec, labels)


def network_set(group: str, *nets: str, name: str = "", tags: Sequence[str] = ()) -> Manifest:
    """Their set of an address group; `name` differs where they added a hash to it."""
    labels = {f"{PREFIX}/address-group": group, **{f"{PREFIX}/{tag}": "" for tag in tags}}
    annotations = {
        **NOTED,
        f"{PREFIX}/object-type": "AddressGroup",
        f"{PREFIX}/name": group,
        f"{PREFIX}/device-groups": "shared",
        f"{PREFIX}/errors": "",
    }
    spec = {"nets": list(nets)} if nets else {}
    return _object("GlobalNetworkSet", name or f"pan.{group}", spec, labels, annotations)


def policy(
    zone: str,
    egress: Sequence[Mapping[str, Any]] = (),
    ingress: Sequence[Mapping[str, Any]] = (),
    *,
    tier: str = TIER,
    order: float = 1000,
    name: str = "",
) -> Manifest:
    """Their policy of a zone; `name` differs where they added a hash to it."""
    spec: dict[str, Any] = {
        "tier": tier,
        "order": order,
        "selector": f"{PREFIX}/zone == '{zone}'",
        "types": [kind for kind, some in (("Ingress", ingress), ("Egress", egress)) if some],
    }
    spec |= {"egress": list(egress)} if egress else {}
    spec |= {"ingress": list(ingress)} if ingress else {}
    return _object(
        "GlobalNetworkPolicy",
        name or f"{tier}.pan-zone-{zone}",
        spec,
        {"projectcalico.org/tier": tier},
        {
            **NOTED,
            f"{PREFIX}/object-type": "Zone",
            f"{PREFIX}/latest_cache_update": "01-01-2022 09:01:01",
        },
    )


def rule(
    action: str, far: str, entity: Mapping[str, Any], *, name: str = "r", **more: Any
) -> dict[str, Any]:
    """A rule of theirs; `far` is the side that `entity` constrains."""
    other = "source" if far == "destination" else "destination"
    annotations = {
        f"{PREFIX}/rule": name,
        f"{PREFIX}/source": "zone.any",
        f"{PREFIX}/destination": "zone.any",
        f"{PREFIX}/rank": "0",
    }
    return {
        "action": action,
        far: dict(entity),
        other: {},
        "metadata": {"annotations": annotations},
        **more,
    }


def _object(
    kind: str,
    name: str,
    spec: Mapping[str, Any],
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    metadata = {"name": name, "labels": dict(labels)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return Manifest.of({"apiVersion": API, "kind": kind, "metadata": metadata, "spec": dict(spec)})


# --- drawn at random ------------------------------------------------------------------------------


@dataclass(frozen=True)
class LeftBehind:
    """What stands in a cluster: theirs, and what others wrote into their tier."""

    objects: Mapping[Key, Manifest]

    def __str__(self) -> str:
        return "\n".join(f"  {each.document()}" for each in self.objects.values())


def left_behind(
    random: Random, tier_name: str, zones: Sequence[str], groups: Sequence[str], nets: Sequence[str]
) -> LeftBehind:
    """Draw what the integration and its users may have left in a tier."""
    made = [
        tier(
            tier_name,
            random.choice((101, 101, 7)),
            random.choice((None, None, "Deny", "Pass", "Pass")),
            labels={},  # labels of others stay, and a trace of writes does not have them
        )
    ]
    made += [
        network_set(group, *random.sample(nets, random.randint(0, 2)))
        for group in groups
        if random.random() < 0.7
    ]
    for zone in zones:
        if random.random() < 0.8:
            egress, ingress = (
                _rules(random, far, zones, groups, nets) for far in ("destination", "source")
            )
            if egress or ingress:
                order = random.choice((1000, 1000, 0, 1, -20000, 30000, 10**6))
                made.append(policy(zone, egress, ingress, tier=tier_name, order=order))
    made += [
        _of_others(random, tier_name, number, zones)
        for number in range(random.choice((0, 0, 1, 2)))
    ]
    return LeftBehind({(each.kind, each.name): each for each in made})


def _rules(
    random: Random, far: str, zones: Sequence[str], groups: Sequence[str], nets: Sequence[str]
) -> list[dict[str, Any]]:
    found = []
    for _ in range(random.randint(0, 4)):
        entity: dict[str, Any] = random.choice(
            (
                {},
                {"selector": f"{PREFIX}/zone == '{random.choice(zones)}'"},
                {"nets": [random.choice(nets)]},
                *(
                    [{"selector": f"{PREFIX}/address-group == '{random.choice(groups)}'"}]
                    if groups
                    else []
                ),
            )
        )
        more: dict[str, Any] = {}
        if random.random() < 0.4:
            more["protocol"] = random.choice(("TCP", "UDP"))
        action = random.choice(("Allow", "Allow", "Deny", "Deny", "Pass"))
        found.append(rule(action, far, entity, **more))
    return found


def _of_others(random: Random, tier_name: str, number: int, zones: Sequence[str]) -> Manifest:
    """A policy that a user or their older integration wrote into the tier, or a staged one."""
    kind = random.choice(
        ("GlobalNetworkPolicy", "GlobalNetworkPolicy", "StagedGlobalNetworkPolicy")
    )
    spec: dict[str, Any] = {
        "tier": tier_name,
        "order": random.choice((-(10**6), 5, 2000, 10**7)),
        "selector": random.choice(
            (f"has({PREFIX}/zone)", "all()", f"{PREFIX}/zone == '{random.choice(zones)}'")
        ),
        "types": ["Ingress", "Egress"],
        **({"stagedAction": "Set"} if kind.startswith("Staged") else {}),
    }
    for direction, far in (("egress", "destination"), ("ingress", "source")):
        if random.random() < 0.6:
            action = random.choice(("Pass", "Deny", "Deny", "Deny", "Allow"))
            spec[direction] = [rule(action, far, {"selector": f"has({PREFIX}/zone)"})]
    name = random.choice((f"{tier_name}.theirs-{number}", f"{tier_name}.pan-zone-web-a1b2c"))
    return _object(kind, name, spec, {"projectcalico.org/tier": tier_name})

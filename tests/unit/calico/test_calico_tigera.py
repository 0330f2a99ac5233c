"""What Tigera's Panorama integration left is recognised by its shape."""

from typing import Any

import pytest

from sync.calico.ownership import foreign_because, owner_labels
from sync.calico.tigera import written_by
from tests import tigera

OWNER = owner_labels("test", "00000000-0000-0000-0000-000000000000")
INTEGRATION = "was written by Tigera's Panorama integration"


def first_version(name: str, selector: str) -> dict[str, Any]:
    return {
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"tier": "fw", "selector": selector},
    }


@pytest.mark.parametrize(
    "document",
    [
        tigera.network_set("web", "10.0.0.1/32").document(),
        tigera.policy("web").document(),
        first_version("fw.panw-zone-web", "zone == 'web'"),
        first_version("fw.panw-pass-to-next-tier", "has(zone)"),
    ],
)
def test_sets_and_policies_of_the_integration_are_named(document: dict[str, Any]) -> None:
    assert written_by(document) == foreign_because(document, OWNER) == INTEGRATION


def test_a_tier_that_tigera_keeps_is_named_as_such() -> None:
    assert "a controller of Tigera's keeps" in written_by(tigera.tier().document())
    assert written_by(tigera.tier(labels={}).document()) == ""


@pytest.mark.parametrize(
    "document",
    [
        first_version("fw.panw-zone-web", "app == 'web'"),
        first_version("fw.mine", "zone == 'web'"),
        {"kind": "GlobalNetworkSet", "metadata": {"name": "pan.web"}},
        {"kind": "GlobalNetworkSet", "metadata": {"name": "x", "annotations": "none"}},
        {"kind": "GlobalNetworkPolicy", "metadata": None, "spec": {"selector": 7}},
    ],
)
def test_objects_of_others_are_not(document: dict[str, Any]) -> None:
    assert written_by(document) == ""


def test_what_another_store_of_ours_wrote_is_not_tigeras() -> None:
    document = tigera.network_set("web").document()
    document["metadata"]["labels"] |= dict(owner_labels("test", "another"))
    assert "another store" in foreign_because(document, OWNER)

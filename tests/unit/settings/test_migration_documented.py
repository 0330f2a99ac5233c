"""The page for those who come from Tigera's integration names what that had, and our keys."""

import re
from pathlib import Path
from typing import Any

import pytest

from sync.calico.names import FIREWALL_PREFIX
from sync.settings import schema

PAGE = Path(__file__).parents[3] / "docs" / "migration.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and line != "| theirs | ours |"
]
THEIRS = " ".join(row[0] for row in ROWS)
KEY = re.compile(r"[a-z_]+(\[\])?(\.[a-z_]+(\[\])?)*")


@pytest.mark.parametrize(
    "setting",
    [
        *("FW_HOSTNAME", "FW_USERNAME", "FW_PASSWORD", "FW_APIKEY", "FW_INSECURE_SKIP_VERIFY"),
        *("FW_DEVGROUP", "FW_POLICY_TIER", "FW_POLICY_TIER_ORDER", "FW_POLICY_ORDER"),
        *("FW_POLL_INTERVAL", "FW_TIMEOUT", "TSEE_PASS_TO_NEXT_TIER", "TSEE_NETWORK_PREFIX"),
        *("TSEE_TIER_PREFIX", "TSEE_TIER_ORDER", "ENABLED_CONTROLLERS", "LOG_LEVEL"),
        *("panorama.rules.filter", "panorama.address-groups.filter", "panorama.device-group"),
    ],
)
def test_each_of_their_settings_has_a_row(setting: str) -> None:
    assert f"`{setting}`" in THEIRS


@pytest.mark.parametrize("name", ["type", "object-type", "name", "device-groups", "errors", "rule"])
def test_each_of_their_annotations_has_a_row(name: str) -> None:
    assert f"`{FIREWALL_PREFIX}/{name}`" in THEIRS or f"`/{name}`" in THEIRS


@pytest.mark.parametrize(
    "habit",
    [
        "allowedEgressDomains",
        "pan.web-servers-ri4np",
        "`shared`",
        "tigera-policy-integration-error",
        "projectcalico.org/system-tier",
        "Their tier ended with Deny",
        "`tier: firewallpolicy`",
    ],
)
def test_each_of_their_habits_is_told(habit: str) -> None:
    assert habit in TEXT


def keys_of(section: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The keys of a section of the schema, whatever else may stand in its place."""
    found: dict[str, Any] = {}
    for each in (section, *section.get("anyOf", ()), *section.get("allOf", ())):
        if "$ref" in each:
            found |= keys_of(root["$defs"][each["$ref"].rpartition("/")[2]], root)
        found |= each.get("properties", {})
        if "items" in each:
            found |= keys_of(each["items"], root)
    return found


def test_the_keys_of_ours_exist() -> None:
    root = schema()
    every = keys_of(root, root)
    device_groups = {"device_groups": keys_of(every["clusters"], root)["device_groups"]}
    named = [name for row in ROWS for name in re.findall("`([^`]+)`", row[1])]
    paths = {name.partition(":")[0] for name in named if KEY.fullmatch(name.partition(":")[0])}
    # Others are words of the firewall, values, annotations.
    paths = {path for path in paths if path in every or "." in path or "[" in path}
    assert {"sources[].hosts", "rules.filter", "zones.unzoned_pods", "drift"} <= paths
    for path in paths:
        section, known = root, every | device_groups
        for step in path.replace("[]", "").split("."):
            assert step in known, path
            section = known[step]
            known = keys_of(section, root)

"""Emptied rulebases that nobody is asked about twice, and ways around the question."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cycle import A, B, World, changed
from tests.integration.test_empty_rulebases import BEFORE, GROUP, allows, blocked
from tests.unit.store.words import new_store, ticking


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_store(tmp_path / "store.db", clock=ticking()) as store:
        found = World(tmp_path, store)
        found.keep_in_memory()
        yield found


def emptied(world: World) -> None:
    """Approve that the rules of BEFORE go; no sync has written it yet."""
    world.export(*BEFORE)
    world.only()
    world.export(A, B, GROUP)
    result = blocked(world)
    assert result.plan
    world.store.run("alice").approve(result.plan.digest)


def test_what_a_backup_restores_of_an_approved_emptying_goes_again(world: World) -> None:
    """Policies that allow what the firewall denies must not stand because nobody asked twice."""
    kept = world.kept["prod"]
    emptied(world)
    old = deepcopy(kept.documents)
    assert changed(world.only())
    for key, each in old.items():
        kept.documents.setdefault(key, each)
    result = world.only()
    assert result.state == "in sync", result.detail


def test_a_copy_of_ours_goes_whatever_it_says_of_its_origin(world: World) -> None:
    world.mode = "enforced"
    world.export(A, B, GROUP, allows("one"))
    assert changed(world.only())
    kept = world.kept["prod"]
    [key] = [each for each in kept.documents if each[1].endswith("pan-zone-web")]
    copy: dict[str, Any] = deepcopy(kept.documents[key])
    copy["metadata"]["name"] = "firewallpolicy.pan-part-copy-b1"
    first = copy["spec"]["egress"][0]
    annotations = {**first["metadata"]["annotations"], "firewall.tigera.io/device-group": "shared"}
    everything = {"action": "Allow", "metadata": {"annotations": annotations}}
    copy["spec"] |= {"order": 1, "egress": [everything], "ingress": [], "types": ["Egress"]}
    kept.documents[key[0], copy["metadata"]["name"]] = copy
    result = world.only()
    assert result.state == "in sync", result.detail

"""Emptied rulebases that nobody is asked about twice, and ways around the question."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sync.clusters.cluster import NotWrittenError
from tests.integration.test_cycle import A, B, World, changed
from tests.integration.test_empty_rulebases import BEFORE, GROUP, allows, blocked, policies
from tests.unit.store.words import new_store, ticking
from tests.words import Word, rule


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


def test_an_approved_emptying_that_failed_half_way_goes_on(world: World) -> None:
    kept = world.kept["prod"]
    emptied(world)
    failed: list[str] = []

    def refuses_once(name: str) -> None:
        if not failed:
            failed.append(name)
            raise NotWrittenError("refused")

    kept.before_write = refuses_once
    assert world.only().state == "failed"
    result = world.only()
    assert result.state == "in sync", result.detail


def refuses_all(name: str) -> None:
    raise NotWrittenError(f"{name} refused")


@pytest.mark.parametrize("kept", [b"", b"[", b"7", b"{}"])
def test_what_was_let_go_asks_again_where_nothing_remembers_it(world: World, kept: bytes) -> None:
    emptied(world)
    world.kept["prod"].before_write = refuses_all
    assert world.only().state == "failed"
    world.kept["prod"].before_write = lambda name: None
    world.store.memory("cluster/prod").remember("let-go", "", kept)
    world.export(A, GROUP)
    blocked(world)


def test_rules_that_came_back_before_they_were_gone_are_missed_again(world: World) -> None:
    cluster = world.kept["prod"]
    emptied(world)
    cluster.before_write = refuses_all
    assert world.only().state == "failed"
    world.export(*BEFORE, allows("new"))
    assert world.only().state == "failed"
    cluster.before_write = lambda name: None
    world.export(A, GROUP)
    blocked(world)


def test_what_was_let_go_is_of_the_cluster_that_it_was_approved_for(world: World) -> None:
    cluster = world.kept["prod"]
    cluster.uid = "one"
    emptied(world)
    cluster.before_write = refuses_all
    assert world.only().state == "failed"
    cluster.before_write = lambda name: None
    cluster.uid, world.settings = "two", {"accept": True}
    blocked(world)
    world.settings = {}
    blocked(world)


def plain(name: str, rulebase: str = "pre") -> Word:
    """An allow that needs no set."""
    return rule(
        name,
        from_=["web"],
        to=["db"],
        source=["a"],
        destination=["any"],
        service=["any"],
        application=["any"],
        action="allow",
        rulebase=rulebase,
    )


def test_a_cluster_that_waits_for_a_foreign_object_is_guarded_elsewhere(world: World) -> None:
    """Its state is never a success, and its policies are written all the same."""
    kept = world.kept["prod"]
    kept.documents["GlobalNetworkSet", "pan.web"] = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkSet",
        "metadata": {"name": "pan.web"},
        "spec": {"nets": ["10.9.9.9/32"]},
    }
    world.export(A, B, GROUP, plain("one"), plain("two"), plain("last", "post"))
    assert world.only().applied
    before = policies(world)
    world.export(A, B, GROUP, plain("last", "post"))
    world.only()
    assert policies(world) == before


def test_rules_that_a_failed_sync_wrote_are_missed_too(world: World) -> None:
    kept = world.kept["prod"]

    def refuses(name: str) -> None:
        if name == "pan.web":
            raise NotWrittenError("refused")

    world.export(A, B, plain("one"), plain("two"), plain("last", "post"), GROUP)
    kept.before_write = refuses
    result = world.only()
    assert result.failed
    kept.before_write = lambda name: None
    before = policies(world)
    world.export(A, B, GROUP, plain("last", "post"))
    world.only()
    assert policies(world) == before

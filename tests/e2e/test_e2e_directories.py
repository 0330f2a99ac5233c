"""Directories of manifests from machines that begin with an empty store each time."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from sync.calico import limits
from sync.calico.names import INSTANCE, STORE
from tests.e2e.installation import TIER, Installation, cluster, kubernetes
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import nets
from tests.words import address, document, group

WEB = {"web": ["10.1.0.1/32", "10.1.0.2/32"]}
EU = {**WEB, "db": ["10.2.0.0/24"]}


def another_machine(place: Installation) -> None:
    """Forget the store, as a runner does that is thrown away."""
    for file in place.directory.glob("zonebridge.db*"):
        file.unlink()


def contents(place: Installation) -> Mapping[Path, bytes]:
    return {file: file.read_bytes() for file in (place.directory / "eu").rglob("*.yaml")}


def of_eu(place: Installation, **keys: object) -> None:
    place.configure(cluster("eu"), **keys)


def test_another_machine_finds_the_files_of_the_installation_as_its_own(
    place: Installation,
) -> None:
    of_eu(place)
    place.done("sync")
    before = contents(place)
    another_machine(place)
    planned = place.done("plan", "--output", "json", "--detailed-exitcode")
    assert planned.json["clusters"][0]["plan"]["blockers"] == []
    place.done("sync", "--detailed-exitcode")
    assert contents(place) == before
    another_machine(place)
    # Nor does it rewrite what it need not take over.
    place.done("sync", "--adopt")
    assert contents(place) == before


def test_an_empty_place_gets_the_same_files_from_any_machine(place: Installation) -> None:
    of_eu(place)
    place.done("sync")
    first = {file: yaml.safe_load(data) for file, data in contents(place).items()}
    for file in first:
        file.unlink()
    another_machine(place)
    place.done("sync")
    second = {file: yaml.safe_load(data) for file, data in contents(place).items()}
    assert first.keys() == second.keys()
    for file, one in first.items():
        # The stamps name the record, and each store has records of its own.
        for each in (one, second[file]):
            stamps = each["metadata"]["annotations"]
            for key in [key for key in stamps if key.startswith("zonebridge.io/")]:
                del stamps[key]
        assert one == second[file]


def test_another_machine_removes_what_is_no_longer_wanted(place: Installation) -> None:
    of_eu(place)
    place.done("sync")
    another_machine(place)
    place.panorama(eu=WEB)
    place.done("sync")
    assert place.files("eu") == ["pan.web.yaml"]


def test_files_that_an_older_version_marked_with_its_store_are_still_ours(
    place: Installation,
) -> None:
    of_eu(place)
    place.done("sync")
    for file, data in contents(place).items():
        file.write_bytes(data.replace(b"store: manifests", b"store: 1b4e28ba-2fa1-11d2-883f-0016"))
    another_machine(place)
    planned = place.done("plan", "--output", "json").json["clusters"][0]["plan"]
    assert (planned["summary"]["update"], planned["blockers"]) == (len(contents(place)), [])
    place.done("sync")
    assert place.run("plan", "--detailed-exitcode").code == 0


def test_another_instance_is_kept_out(place: Installation) -> None:
    of_eu(place)
    place.done("sync")
    before = contents(place)
    another_machine(place)
    of_eu(place, instance="elsewhere")
    refused = place.run("sync")
    assert refused.code == 3
    assert f"belongs to another installation ({INSTANCE}: zonebridge)" in refused.out
    assert contents(place) == before


def test_installations_of_one_instance_are_told_apart_by_an_id(place: Installation) -> None:
    of_eu(place, store={"id": "team-a"})
    place.done("sync")
    before = contents(place)
    [web] = [data for file, data in before.items() if file.name == "pan.web.yaml"]
    assert yaml.safe_load(web)["metadata"]["labels"][STORE] == "team-a"
    another_machine(place)
    of_eu(place, store={"id": "team-b"})
    refused = place.run("sync")
    assert refused.code == 3
    assert "was written with another store (team-a)" in refused.out
    assert contents(place) == before
    of_eu(place, store={"id": "team-a"})
    place.done("sync", "--detailed-exitcode")
    assert contents(place) == before


def test_a_live_cluster_still_belongs_to_one_store(
    place: Installation, calico: ControlPlane
) -> None:
    """Neither another store of the instance nor a directory that was applied is taken for ours."""
    live = kubernetes("eu", calico.kubeconfig())
    place.configure(live)
    place.done("sync")
    before = nets(calico)
    another_machine(place)
    place.panorama(eu=WEB)
    for keys in ({}, {"store": {"id": "team-a"}}):
        place.configure(live, **keys)
        refused = place.run("sync")
        assert refused.code == 3
        assert "was written with another store" in refused.out
        assert nets(calico) == before


# --- kustomization.yaml ---------------------------------------------------------------------------


def listed(place: Installation) -> list[str]:
    found = yaml.safe_load((place.directory / "eu" / "kustomization.yaml").read_bytes())
    assert found["sortOptions"] == {"order": "fifo"}
    names: list[str] = found["resources"]
    return names


def test_the_kustomization_lists_our_files_tiers_first(place: Installation) -> None:
    of_eu(place)
    place.done("sync")
    file = place.directory / "eu" / "kustomization.yaml"
    assert not file.exists()
    # On request alone, and though nothing else changes.
    place.configure(cluster("eu", kustomization=True))
    mine = {"apiVersion": "v1", "kind": "GlobalNetworkSet", "metadata": {"name": "mine"}}
    place.put("eu", mine)
    assert f"{file.name} is missing; a sync writes it" in place.done("plan").out
    place.done("sync", "--detailed-exitcode")
    assert file.name not in place.done("plan").out
    policy, tier = TIER
    web, db = (f"globalnetworkset/pan.{name}.yaml" for name in ("web", "db"))
    assert listed(place) == [tier, db, web, policy]
    place.panorama(eu=WEB)
    place.done("sync")
    assert listed(place) == [tier, web, policy]
    # It is kept, whoever edits it, unless it is no longer ours.
    file.write_bytes(file.read_bytes() + b"# edited\n")
    assert f"{file.name} was changed; a sync writes it" in place.done("plan").out
    place.done("sync")
    assert b"edited" not in file.read_bytes()
    place.configure(cluster("eu"))
    place.done("sync")
    assert not file.exists()


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_a_kustomization_of_others_stays_and_the_plan_says_so(
    place: Installation, name: str
) -> None:
    place.configure(cluster("eu", kustomization=True))
    theirs = place.directory / "eu" / name
    theirs.parent.mkdir()
    theirs.write_text("resources: []\n")
    for command in ("plan", "sync"):
        done = place.done(command, "--output", "json")
        [warning] = [
            each for each in done.json["clusters"][0]["plan"]["warnings"] if "kustomization" in each
        ]
        assert name in warning
    assert theirs.read_text() == "resources: []\n"
    found = [each.name for each in theirs.parent.iterdir() if each.is_file()]
    assert found == [name]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_folder_in_the_place_of_the_kustomization_is_left(
    place: Installation, wanted: bool
) -> None:
    place.configure(cluster("eu", kustomization=wanted))
    folder = place.directory / "eu" / "kustomization.yaml"
    folder.mkdir(parents=True)
    assert ("is not ours" in place.done("sync").out) == wanted
    assert folder.is_dir()


def test_a_blocked_sync_leaves_the_kustomization(place: Installation) -> None:
    place.configure(cluster("eu", kustomization=True))
    place.done("sync")
    before = contents(place)
    place.panorama(eu={})
    assert place.run("sync").code == 3
    assert contents(place) == before


# --- sizes ----------------------------------------------------------------------------------------


def test_no_file_is_larger_than_kubectl_apply_takes(place: Installation) -> None:
    """A set that a cluster gets as one is several ones in a directory."""
    large = {"web": [f"10.{n >> 15 & 255}.{n >> 7 & 255}.{n * 2 & 255}/32" for n in range(10_000)]}
    place.panorama(eu=large)
    of_eu(place)
    place.done("sync")
    files = place.files("eu")
    assert len(files) == 2
    assert all(len(data) < limits.APPLIED_BYTES for data in contents(place).values())
    assert sorted(net for each in place.written("eu").values() for net in each) == sorted(
        large["web"]
    )
    place.panorama(eu={"web": large["web"][1:]})
    planned = place.done("plan", "--output", "json").json["clusters"][0]["plan"]
    assert planned["summary"]["update"] == 1


def test_what_cannot_be_cut_is_refused_with_a_remedy(place: Installation) -> None:
    tags = tuple(f"a tag of many {number:05}" for number in range(4_000))
    place.export(
        document(groups={"dg-eu": [address("a", "10.1.0.1/32"), group("web", "a", tags=tags)]})
    )
    of_eu(place)
    refused = place.run("sync")
    assert refused.code == 1
    assert "GlobalNetworkSet pan.web has" in refused.err
    assert "take tags off the address group" in refused.err
    assert contents(place) == {}

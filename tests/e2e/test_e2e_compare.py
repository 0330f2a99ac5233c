"""`zonebridge plan --from … --to …`: two exports on a laptop, and nothing else."""

import re
import shutil
from pathlib import Path

import pytest
from lxml import etree

from tests.e2e.installation import Installation, cluster, everything, kubernetes, sentences
from tests.words import address, document, group, rule

RULE = rule(
    "parcels to carriers", from_=["app"], to=["vpn"], source=["any"], destination=["any"],
    service=["service-https"], application=["any"], action="allow",
).xml  # fmt: skip
STORE = re.compile(r'"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"')


def edited(data: bytes) -> bytes:
    """The demo's document with a rule more, a group that grew, and a device group emptied."""
    root = etree.fromstring(data)
    eu, us = (
        root.find(f"devices/entry/device-group/entry[@name='datacenter-{name}']")
        for name in ("eu", "us")
    )
    assert eu is not None
    assert us is not None
    rules = eu.find("pre-rulebase/security/rules")
    assert rules is not None
    rules.append(etree.fromstring(RULE))
    members = eu.find("address-group/entry[@name='app-servers']/static")
    assert members is not None
    etree.SubElement(members, "member").text = "dns-1"
    for child in us:
        if child.tag in ("address", "address-group", "pre-rulebase", "post-rulebase"):
            us.remove(child)
    return etree.tostring(root)


@pytest.fixture
def laptop(demo: Path, tmp_path: Path) -> Installation:
    """The demo's configuration with its document as `old.xml`, and an edited one as `new.xml`."""
    directory = tmp_path / "config" / "demo"
    directory.mkdir(parents=True)
    shutil.copy(demo / "zonebridge.yaml", directory)
    data = (demo / "panorama.xml").read_bytes()
    (directory / "old.xml").write_bytes(data)
    (directory / "new.xml").write_bytes(edited(data))
    return Installation(directory)


def test_what_changes_between_two_exports_is_what_a_sync_would_change(
    laptop: Installation, tmp_path: Path
) -> None:
    before = everything(tmp_path)
    compared = laptop.run("plan", "--from", "old.xml", "--to", "new.xml", "--output", "json")
    # An emptied device group is nothing that a sync would just write.
    assert (compared.code, compared.err) == (3, "")
    assert everything(tmp_path) == before

    source = laptop.directory / "panorama.xml"
    (tmp_path / "build" / "demo").mkdir(parents=True)
    shutil.copy(laptop.directory / "old.xml", source)
    laptop.done("sync")
    shutil.copy(laptop.directory / "new.xml", source)
    planned = laptop.run("plan", "--output", "json")
    assert planned.code == 3
    for one, other in zip(compared.json["clusters"], planned.json["clusters"], strict=True):
        assert one["plan"]["summary"] == other["plan"]["summary"]
        assert STORE.sub("STORE", str(one["plan"]["changes"]).replace("'", '"')) == STORE.sub(
            "STORE", str(other["plan"]["changes"]).replace("'", '"')
        )
        assert one["plan"]["origins"] == other["plan"]["origins"]
        assert one["plan"]["blockers"] == other["plan"]["blockers"]
        assert other["plan"]["compared_with"] == []
        [old] = one["plan"]["compared_with"]
        assert (old["source"], old["version"] != one["plan"]["origins"][0]["version"]) == (
            "main",
            True,
        )
    eu, us = (each["plan"] for each in compared.json["clusters"])
    assert any("parcels to carriers" in each["rules"] for each in eu["changes"])
    assert {each["action"] for each in us["changes"]} >= {"delete", "update"}


def test_people_and_pipelines_get_the_usual_plan(laptop: Installation) -> None:
    sides = ("plan", "--from", "old.xml", "--to", "main=new.xml", "--cluster", "prod-eu")
    done = laptop.run(*sides, "--verbose", "--detailed-exitcode")
    assert done.code == 2
    lines = done.out.splitlines()
    assert lines[0].startswith("Cluster prod-eu (staged): ")
    assert re.fullmatch(
        r"From source main, version sha256:\w{64}, to version sha256:\w{64}\.", lines[1]
    )
    grown = "  ~ GlobalNetworkSet pan.app-servers (nets: +"
    assert [line for line in lines if line.startswith(grown)]
    assert any("# parcels to carriers" in line for line in lines)
    assert "prod-us" not in done.out
    marked = laptop.done(*sides, "--output", "markdown").out.splitlines()
    assert marked[4].startswith("From source main, version sha256:")
    back = laptop.run("plan", "--from", "new.xml", "--to", "new.xml", "--detailed-exitcode")
    assert back.code == 0


def test_no_cluster_no_panorama_and_no_store_is_needed(place: Installation, tmp_path: Path) -> None:
    """Whatever the configuration names is missing, and the directory cannot be written."""
    place.configure(
        kubernetes("live", "none/kubeconfig", "dg-eu", exec_plugins=["none"]),
        cluster("eu", path="none/eu"),
        sources=[
            {
                "name": "main",
                "kind": "panorama",
                "hosts": ["panorama.invalid"],
                "api_key_file": "none/key",
                "ca_file": "none/ca.pem",
            }
        ],
        store={"url": "postgresql+psycopg://z@store.invalid/z", "password_file": "none/password"},
    )
    away = tmp_path / "away"
    away.mkdir()
    (place.directory / "panorama.xml").rename(away / "a.xml")
    # No scope comes back empty, which a guard would hold.
    spare = [address("spare", "10.9.9.9")]
    (away / "b=main.xml").write_bytes(document(spare, {"dg-eu": [group("web")]}))
    before = everything(tmp_path)
    config = str(place.directory / "zonebridge.yaml")
    done = place.run("--config", config, "plan", "--from", "a.xml", "--to", "b=main.xml", cwd=away)
    assert (done.code, done.err) == (0, "")
    for name in ("live", "eu"):
        said = "0 to create, 1 to update, 1 to delete; 2 unchanged."
        assert f"Cluster {name} (ENFORCED): {said}" in done.out
    assert everything(tmp_path) == before


def test_clusters_without_an_export_of_each_source_are_left_out(place: Installation) -> None:
    def in_tier(source: str, order: int) -> dict[str, object]:
        named = {"source": source, "name": "dg-eu", "mode": "staged"}
        return named | {"tier": f"tier-{source}", "order": order}

    place.configure(
        cluster("eu", device_groups=[in_tier("main", 101)]),
        cluster("test", device_groups=[in_tier("lab", 101)]),
        cluster("all", device_groups=[in_tier("main", 101), in_tier("lab", 102)]),
        sources=[{"name": name, "kind": "file", "path": f"{name}.xml"} for name in ("main", "lab")],
    )
    main = ("--from", "main=panorama.xml", "--to", "main=panorama.xml")
    lab = ("--from", "lab=panorama.xml", "--to", "lab=panorama.xml")
    done = place.done("plan", *main)
    assert [line for line in done.out.splitlines() if "Cluster" in line] == [
        "Cluster eu (staged): no changes; 4 unchanged."
    ]
    assert done.err.splitlines() == [
        f"cluster {name} is left out: --from and --to have no export of lab"
        for name in ("test", "all")
    ]
    whole = place.done("plan", *main, *lab)
    assert (whole.out.count("no changes"), whole.err) == (3, "")
    none = place.run("plan", *main, "--cluster", "test")
    assert (none.code, none.out) == (64, "")
    assert "no cluster has an export of each of its sources" in none.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "panorama.xml"), "--to has no export of the source main"),
        (("--to", "panorama.xml"), "--from has no export of the source main"),
        (("--from", "a", "--from", "main=b", "--to", "c"), "--from names two files for the source"),
        (("--from", "", "--to", "panorama.xml"), "--from '' names no file"),
        (("--from", "a", "--to", "main="), "--to 'main=' names no file"),
        (("--from", "a", "--to", "b", "--cluster", "uu"), "there is no cluster 'uu'"),
    ],
)
def test_a_mistake_in_the_sides_is_64_and_one_sentence(
    place: Installation, arguments: tuple[str, ...], says: str
) -> None:
    done = place.run("plan", *arguments)
    assert (done.code, done.out) == (64, "")
    [sentence] = sentences(done)
    assert says in sentence


def test_a_file_that_cannot_be_read_is_4_and_named(place: Installation) -> None:
    (place.directory / "bad.xml").write_text("<config>")
    (place.directory / "other.xml").write_bytes(document(groups={"dg-uk": []}))
    for sides, names in (
        (("none.xml", "panorama.xml"), "cannot read none.xml"),
        (("panorama.xml", "bad.xml"), "bad.xml"),
        (("other.xml", "panorama.xml"), "other.xml: the configuration has no device group 'dg-eu'"),
    ):
        done = place.run("plan", "--from", sides[0], "--to", sides[1], "--cluster", "eu")
        assert (done.code, done.out) == (4, "")
        [sentence] = sentences(done)
        assert names in sentence


def test_a_sync_takes_no_sides(place: Installation) -> None:
    for command in (("sync",), ("sync", "--dry-run")):
        done = place.run(*command, "--from", "panorama.xml", "--to", "panorama.xml")
        assert (done.code, done.out) == (64, "")


def test_the_flows_that_change_between_two_exports_are_named(laptop: Installation) -> None:
    old = (laptop.directory / "old.xml").read_bytes()
    (laptop.directory / "renamed.xml").write_bytes(old.replace(b"resolve-names", b"find-names"))
    sides = ("--cluster", "prod-eu", "--from", "old.xml", "--to")
    renamed = laptop.done("plan", *sides, "renamed.xml", "--flows")
    assert "~ StagedGlobalNetworkPolicy" in renamed.out
    assert renamed.out.count("no flow changes") == 2
    moved = old.replace(b"<ip-netmask>10.10.1.53/32", b"<ip-netmask>10.10.1.54/32")
    (laptop.directory / "moved.xml").write_bytes(moved)
    edited = laptop.done("plan", *sides, "moved.xml", "--flows", "--output", "json")
    [cluster] = edited.json["clusters"]
    assert (cluster["flows"]["allowed"], cluster["flows"]["denied"]) == ([], [])
    staged = cluster["flows"]["staged"]
    assert any("to 10.10.1.54/32" in each["text"] for each in staged["allowed"])
    assert any("to 10.10.1.53/32" in each["text"] for each in staged["denied"])
    assert staged["unknown"] == []
    refused = laptop.run("sync", "--flows")
    assert (refused.code, refused.out) == (64, "")


def test_what_changed_for_each_rule_between_two_exports_is_reported(laptop: Installation) -> None:
    sides = ("report", "--cluster", "prod-eu", "--diff", "old.xml", "main=new.xml")
    done = laptop.done(*sides)
    assert "rules: 1 added" in done.out
    assert "'parcels to carriers' (allow, " in done.out
    assert "\nFlows" in done.out
    marked = laptop.done(*sides, "--output", "markdown")
    assert "### Rules of device group main/datacenter" in marked.out
    [cluster] = laptop.done(*sides, "--output", "json").json["clusters"]
    assert cluster["rules"][0]["change"] in ("added", "changed")
    for wrong in (("--output", "html"), ("--rule", "browse")):
        refused = laptop.run(*sides, *wrong)
        assert (refused.code, refused.out) == (64, "")
    assert laptop.run(*sides[:3], "--diff", "old.xml", "none.xml").code == 4

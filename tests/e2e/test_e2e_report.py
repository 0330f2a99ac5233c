"""`zonebridge report` and `zonebridge zones`, as a firewall engineer meets them."""

import pytest

from tests.e2e.installation import Installation
from tests.words import address, document, rule

EU = [
    address("db-1", "10.2.0.1"),
    rule("web to db", from_=["web"], to=["db"], source=["any"], destination=["db-1"],
         service=["any"], application=["any"], action="allow"),
    rule("bad users", from_=["web"], to=["any"], source=["any"], destination=["any"],
         service=["any"], application=["any"], source_user=["mallory"], action="deny"),
    rule("dns", from_=["web"], to=["db"], source=["any"], destination=["any"],
         service=["any"], application=["any"], action="allow"),
]  # fmt: skip
ZONES = {
    "definitions": {
        "web": {"networks": []},
        "db": {
            "networks": ["10.2.0.0/16"],
            "workloads": {"namespace_selector": "team == 'db'"},
        },
    }
}


@pytest.fixture
def place(place: Installation) -> Installation:
    place.configure(zones=ZONES)
    place.export(document(groups={"dg-eu": EU, "dg-us": EU[:2]}))
    return place


def test_every_rule_has_one_line_with_what_became_of_it(place: Installation) -> None:
    lines = place.done("report", "--cluster", "eu").out.splitlines()
    assert lines[0].startswith("Cluster eu: 3 rules: 2 exact, 0 narrowed, 1 widened,")
    found = [line for line in lines if " dg-eu pre " in line]
    assert [line.split()[0] for line in found] == ["exact", "widened", "exact"]
    assert "dg-eu pre 1 'web to db' -> firewallpolicy.pan-zone-db[ingress 0]" in found[0]
    assert "mallory" in found[1]


def test_a_rule_that_can_never_match_is_told_first_and_by_which_rule(place: Installation) -> None:
    lines = place.done("report", "--cluster", "eu").out.splitlines()
    assert "  ! 1 allow rule can never match here: dns." in lines[:4]
    (dns,) = (line for line in lines if "'dns'" in line and " pre 3 " in line)
    assert "it never matches here: all that it matches is taken by 'bad users' (widened)" in dns
    found = place.done("report", "--cluster", "eu", "--output", "json").json
    shadows = {each["name"]: each["shadow"] for each in found["rules"]}
    assert shadows["dns"]["calico"]["extent"] == "whole"
    assert shadows["dns"]["firewall"]["extent"] == "part"
    assert [each["name"] for each in shadows["dns"]["firewall"]["by"]] == ["web to db"]
    assert shadows["web to db"]["calico"]["extent"] == "none"


def test_the_document_names_each_calico_rule(place: Installation) -> None:
    found = place.done("report", "--output", "json").json
    assert found["errors"] == []
    eu = [each for each in found["rules"] if each["cluster"] == "eu"]
    assert [each["status"] for each in eu] == ["exact", "widened", "exact"]
    assert [each["name"] for each in found["rules"] if each["cluster"] == "us"] == ["web to db"]
    assert "firewallpolicy.pan-zone-web[egress 0]" in eu[0]["calico"]
    assert {
        each["name"]: each["networks"] for each in found["zones"] if each["cluster"] == "eu"
    } == {"web": [], "db": ["10.2.0.0/16"]}


def test_markdown_and_the_page_are_whole_documents(place: Installation) -> None:
    shown = place.done("report", "--output", "markdown").out
    assert shown.startswith("## eu\n")
    assert "\n\n## us\n" in shown
    page = place.done("report", "--output", "html").out
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    assert page.count("<h2 ") == 2


def test_one_rule_is_shown_alone_however_it_is_shown(place: Installation) -> None:
    shown = place.done("report", "--rule", "web to db").out
    assert shown.count("Cluster ") == shown.count(": 1 rule: 1 exact,") == 2
    assert [line.strip()[:5] for line in shown.splitlines() if " pre " in line] == 2 * ["exact"]
    assert "Zones" not in shown
    found = place.done("report", "--rule", "web to db", "--output", "json").json
    assert [each["cluster"] for each in found["rules"]] == ["eu", "us"]
    assert found["zones"] == found["groups"] == found["errors"] == []
    # A cluster without the rule is left out.
    shown = place.done("report", "--rule", "dns").out
    assert shown.startswith("Cluster eu: 1 rule: ")
    assert shown.count("Cluster ") == 1
    for output in ("markdown", "html"):
        page = place.done("report", "--rule", "dns", "--output", output).out
        assert " pre 3" in page
        assert "web to db" not in page


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("web to dbs", "did you mean 'web to db'?"), ("", "`zonebridge report` lists all there are")],
)
def test_a_rule_that_no_cluster_has_is_64(place: Installation, name: str, remedy: str) -> None:
    done = place.run("report", "--rule", name)
    assert (done.code, done.out) == (64, "")
    assert done.errors == [f"error: there is no rule {name!r}; {remedy}"]


def test_a_rule_may_be_in_the_cluster_that_could_not_be_looked_at(place: Installation) -> None:
    done = place.run(
        *("report", "--rule", "nowhere"), ZONEBRIDGE_CLUSTERS__0__DEVICE_GROUPS__0__NAME="dg-uk"
    )
    assert done.code == 4
    assert done.out == ""
    assert "no cluster that could be read has a rule 'nowhere'" in done.err
    assert "no device group 'dg-uk'" in done.err


def test_zones_say_which_label_pods_need(place: Installation) -> None:
    shown = place.done("zones", "--cluster", "eu").out
    assert "kubectl label pod POD firewall.tigera.io/zone=web" in shown
    assert "firewall.tigera.io/zone=db" not in shown
    assert "10.2.0.0/16 (configured)" in shown
    assert shown.count("depends on pod labels alone") == 1
    found = place.done("zones", "--cluster", "eu", "--output", "json").json
    assert {each["name"]: each["by_pod_label"] for each in found["zones"]} == {
        "web": True,
        "db": False,
    }


def test_zones_without_known_networks_say_what_to_do(place: Installation) -> None:
    place.configure()
    shown = place.done("zones", "--cluster", "us").out
    assert shown.startswith("Cluster us: 2 zones, 2 without known networks.\n")
    assert "Set `zones.definitions.NAME.networks`: [] if a zone is pods only" in shown


@pytest.mark.parametrize("command", ["report", "zones"])
def test_what_fails_ends_as_a_plan_would(place: Installation, command: str) -> None:
    assert place.run(command, "--cluster", "asia").code == 64
    (place.directory / "panorama.xml").unlink()
    done = place.run(command)
    assert done.code == place.run("plan").code == 4
    assert [line.partition(":")[0] for line in done.errors] == ["error", "error"]
    found = place.run(command, "--output", "json")
    assert found.code == 4
    assert [each["cluster"] for each in found.json["errors"]] == ["eu", "us"]


@pytest.mark.parametrize("command", ["report", "zones"])
def test_nothing_is_written(place: Installation, command: str) -> None:
    before = sorted(place.directory.rglob("*"))
    place.done(command)
    assert sorted(place.directory.rglob("*")) == before


@pytest.mark.parametrize("command", ["report", "zones"])
def test_a_plan_that_is_blocked_is_told_all_the_same(place: Installation, command: str) -> None:
    place.done("sync")
    theirs = place.directory / "eu" / "tier" / "firewallpolicy.yaml"
    theirs.write_text("kind: Tier\nmetadata: {name: firewallpolicy}\n")
    assert place.run("plan").code == 3
    assert place.done(command).out.startswith("Cluster eu: ")


def test_no_line_of_the_matrix_begins_with_a_command_of_a_pipeline(place: Installation) -> None:
    name = "::error::x"
    place.configure("eu", zones={"definitions": {name: {"networks": []}}})
    hostile = rule("in", from_=[name], to=[name], source=["any"], destination=["any"],
                   service=["any"], application=["any"], action="allow")  # fmt: skip
    place.export(document(groups={"dg-eu": [hostile]}))
    shown = place.done("zones").out
    assert "\\x3a:error::x -> " in shown
    assert [each for each in shown.splitlines() if each.lstrip().startswith("::")] == []

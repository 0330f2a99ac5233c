"""`zonebridge verify`, as a firewall engineer and a pipeline meet it."""

import pytest

from tests.e2e.installation import Installation
from tests.words import address, document, rule

RULES = [
    address("db-1", "10.2.0.1"),
    rule("web to db", from_=["web"], to=["db"], destination=["db-1"], service=["service-https"],
         source=["any"], application=["any"], action="allow"),
    rule("names", from_=["web"], to=["db"], source=["any"], destination=["any"],
         service=["application-default"], application=["ssl"], action="allow"),
    rule("bad users", from_=["web"], to=["any"], source=["any"], destination=["any"],
         service=["any"], application=["any"], source_user=["mallory"], action="deny"),
]  # fmt: skip
ZONES = {
    "definitions": {"web": {"networks": []}, "db": {"networks": ["10.2.0.0/16"]}},
    "essentials": [
        {"direction": "egress", "on": "all()", "cidrs": ["10.96.0.10/32"], "ports": ["53/udp"]}
    ],
}


@pytest.fixture
def place(place: Installation) -> Installation:
    place.configure("eu", zones=ZONES)
    place.export(document(groups={"dg-eu": RULES}))
    return place


def test_a_proof_that_holds_says_what_it_took_for_given(place: Installation) -> None:
    done = place.done("verify")
    first, *accepted = done.out.splitlines()
    assert first.startswith("Cluster eu: the proof holds: ")
    assert accepted[0] == "  Taken as the configuration accepts it:"
    assert accepted[1] == "    essential: egress on all(): 10.96.0.10/32 53/udp"
    assert accepted[2].startswith("    rule 'names': App-ID ssl is taken by its default ports")
    assert ", as in ingress of a pod of zone db (" in accepted[2]
    assert accepted[2].endswith("tcp/443 from port 0")
    assert len(accepted) == 3
    # Nothing was written anywhere, nor is anything to be written for it to be proven.
    assert place.beside("eu") == []
    place.done("sync")
    assert place.done("verify").out == done.out


def test_the_document_keeps_its_keys(place: Installation) -> None:
    found = place.done("verify", "--output", "json").json
    assert found["errors"] == []
    (cluster,) = found["clusters"]
    (accepted,) = cluster.pop("accepted")
    assert (accepted["source"], accepted["target"], accepted["name"]) == ("main", "dg-eu", "names")
    assert (accepted["device_group"], accepted["rulebase"], accepted["position"]) == (
        "dg-eu",
        "pre",
        2,
    )
    # Two zones, labels of no zone and no zone at all, each way.
    assert cluster.pop("lists") == 8
    assert cluster.pop("rules") > 8
    assert cluster == {
        "cluster": "eu",
        "holds": True,
        "disagreements": [],
        "undecided": [],
        "essentials": ["egress on all(): 10.96.0.10/32 53/udp"],
    }


def test_a_source_that_fails_proves_nothing(place: Installation) -> None:
    place.export(b"<config")
    done = place.run("verify", "--output", "json")
    assert done.code == 4
    assert done.json["clusters"] == []
    assert [each["cluster"] for each in done.json["errors"]] == ["eu"]

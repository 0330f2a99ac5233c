"""`zonebridge which`, as whoever asks about an address meets it."""

import pytest

from tests.e2e.installation import Installation, cluster, everything, kubernetes
from tests.words import address, document, dynamic, group, rule

SHARED = [
    address("host-1", "10.1.2.3", tags=("prod",)),
    group("web-servers", "host-1"),
    group("web", "web-servers"),
    dynamic("in-prod", "'prod'"),
]
EU = [
    rule("web to db", from_=["web"], to=["db"], source=["web"], destination=["any"],
         service=["any"], action="allow"),
    rule("old", from_=["any"], to=["any"], source=["any"], destination=["10.1.0.0/16"],
         action="deny", disabled="yes"),
]  # fmt: skip
ZONES = {"definitions": {"web": {"networks": ["10.1.0.0/16"]}, "db": {"networks": []}}}


@pytest.fixture
def place(place: Installation) -> Installation:
    place.configure(zones=ZONES)
    place.export(document(SHARED, groups={"dg-eu": EU, "dg-us": []}))
    return place


def test_everything_that_holds_an_address_is_told(place: Installation) -> None:
    assert (
        place.done("which", "10.1.2.3").out
        == """\
Cluster eu: 10.1.2.3 is in 3 sets
  pan.in-prod (10.1.2.3/32)
  pan.web (10.1.2.3/32)
  pan.web-servers (10.1.2.3/32)

Device group main/dg-eu
  Address objects
    host-1 (ip-netmask 10.1.2.3)
  Address groups
    in-prod > host-1 (10.1.2.3), by its filter 'prod'
    web > web-servers > host-1 (10.1.2.3)
    web-servers > host-1 (10.1.2.3)
  Zones
    'web': 10.1.0.0/16, configured
  Rules
    dg-eu pre 1 'web to db' (allow): source by 'web'
    dg-eu pre 2 'old' (deny, disabled): destination by '10.1.0.0/16'
  For any address: 0 rules by source, 1 by destination

Cluster us: 10.1.2.3 is in 3 sets
  pan.in-prod (10.1.2.3/32)
  pan.web (10.1.2.3/32)
  pan.web-servers (10.1.2.3/32)

Device group main/dg-us
  Address objects
    host-1 (ip-netmask 10.1.2.3)
  Address groups
    in-prod > host-1 (10.1.2.3), by its filter 'prod'
    web > web-servers > host-1 (10.1.2.3)
    web-servers > host-1 (10.1.2.3)
  Zones
    'web': 10.1.0.0/16, configured
  For any address: 0 rules by source, 0 by destination
"""
    )


def test_the_sets_are_those_that_a_sync_writes(place: Installation) -> None:
    place.done("sync")
    found = place.done("which", "10.1.2.3", "--cluster", "eu", "--output", "json").json
    named = {f"{each['name']}.yaml": each["nets"] for each in found["sets"]}
    assert named == {
        file: nets for file, nets in place.written("eu").items() if "10.1.2.3/32" in nets
    }
    assert named


def test_the_document_has_lists_of_everything(place: Installation) -> None:
    found = place.done("which", "10.1.0.0/16", "--cluster", "eu", "--output", "json").json
    assert found.keys() == {
        *("address", "sets", "objects", "groups", "zones", "rules", "device_groups", "errors")
    }
    assert (found["address"], found["errors"]) == ("10.1.0.0/16", [])
    assert {each["holds"] for each in found["groups"]} == {"part"}
    assert [(each["name"], each["holds"]) for each in found["zones"]] == [("web", "all")]
    assert [[end["holds"] for end in each["ends"]] for each in found["rules"]] == [
        ["part"],
        ["all"],
    ]
    assert {each["cluster"] for each in found["rules"]} == {"eu"}


def test_no_cluster_is_asked_and_nothing_is_written(place: Installation) -> None:
    place.configure(kubernetes("eu", "nowhere.yaml", pod_cidrs=["10.1.0.0/16"]), zones=ZONES)
    before = everything(place.directory)
    shown = place.done("which", "10.1.2.3").out
    assert "Pods: it lies in clusters[].pod_cidrs" in shown
    assert everything(place.directory) == before


def test_without_registered_addresses_a_dynamic_group_only_may_hold_it(
    place: Installation,
) -> None:
    shown = place.done("which", "192.0.2.1", "--cluster", "us").out
    reason = "it is dynamic, and registered addresses are not known here"
    assert f"  Address groups that may hold it\n    'in-prod': {reason}\n" in shown
    shown = place.done("which", "192.0.2.1", ZONEBRIDGE_REGISTERED_IPS="optional").out
    assert "may hold it" not in shown


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ("web-1", "write 10.1.2.3, 10.1.0.0/16, 2001:db8::1 or 2001:db8::/32"),
        ("10.1.2.3/24", "write 10.1.2.0/24 for the network, or 10.1.2.3 for the address"),
    ],
)
def test_what_is_no_address_is_a_usage_error(place: Installation, asked: str, remedy: str) -> None:
    done = place.run("which", asked)
    assert (done.code, done.out) == (64, "")
    (error,) = done.errors
    assert error.startswith(f"error: {asked!r} is ")
    assert error.endswith(remedy)


def test_what_fails_ends_as_a_report_would(place: Installation) -> None:
    assert place.run("which").code == 64
    assert place.run("which", "10.1.2.3", "--cluster", "asia").code == 64
    place.configure("eu", cluster("us", "dg-uk"), zones=ZONES)
    done = place.run("which", "10.1.2.3")
    assert done.code == place.run("report").code == 4
    assert done.out.startswith("Cluster eu: 10.1.2.3 is in 3 sets\n")
    assert "no device group 'dg-uk'" in done.err
    (place.directory / "panorama.xml").unlink()
    done = place.run("which", "10.1.2.3", "--output", "json")
    assert done.code == 4
    assert done.errors == place.run("report").errors
    assert [each["cluster"] for each in done.json["errors"]] == ["eu", "us"]

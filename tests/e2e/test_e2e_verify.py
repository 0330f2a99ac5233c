"""`zonebridge verify`, as a firewall engineer and a pipeline meet it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml

from sync.calico.manifest import Manifest
from sync.plan.changes import Cause, Change
from sync.store import Conclusion, Outcome, open_store
from tests.e2e.installation import Installation, everything
from tests.words import Word, address, document, rule

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
    assert accepted[0] == "  Assumed, since the configuration accepts it:"
    assert accepted[1] == "    essential: egress on all(): 10.96.0.10/32 53/udp"
    assert accepted[2].startswith(
        "    rule 'names': App-ID ssl is matched by its default ports alone"
    )
    assert ", as in ingress of a pod of zone db (" in accepted[2]
    assert accepted[2].endswith("tcp/443 from port 50000")
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


# --- what stands ----------------------------------------------------------------------------------

DB, WEB = (f"firewallpolicy.pan-zone-{zone}" for zone in ("db", "web"))


def edited(place: Installation, name: str, edit: Callable[[Any], object]) -> None:
    """What another hand makes of a policy's file."""
    file = place.directory / "eu" / "globalnetworkpolicy" / f"{name}.yaml"
    held = yaml.safe_load(file.read_bytes())
    edit(held)
    file.write_text(yaml.safe_dump(held), encoding="utf-8")


def test_live_proves_the_files_as_they_stand(place: Installation) -> None:
    place.done("sync")
    before = everything(place.directory)
    done = place.done("verify", "--live")
    first, *accepted = done.out.splitlines()
    assert first.startswith("Cluster eu, as the cluster holds it: the proof holds: ")
    assert accepted == place.done("verify").out.splitlines()[1:]
    assert everything(place.directory) == before

    edited(place, DB, lambda it: it["spec"]["ingress"].insert(0, {"action": "Pass"}))
    done = place.run("verify", "--live")
    assert done.code == 6
    assert "the proof FAILS" in done.out
    assert f"Calico allows it ({DB}[ingress 0])\n" in done.out
    assert f"  Drift: 1 object: GlobalNetworkPolicy {DB}\n" in done.out
    # What would be written is as right as it was.
    assert place.done("verify").code == 0

    place.done("sync")
    assert place.run("verify", "--live").code == 0


def test_live_says_what_a_commit_opens_until_it_is_written(place: Installation) -> None:
    place.done("sync")
    denied = [
        Word(each.place, each.xml.replace("allow</action>", "deny</action>")) for each in RULES
    ]
    place.export(document(groups={"dg-eu": denied}))
    done = place.run("verify", "--live", "--output", "json")
    assert done.code == 6
    (cluster,) = done.json["clusters"]
    assert (cluster["cluster"], cluster["live"], cluster["holds"]) == ("eu", True, False)
    assert cluster["disagreements"] == [*cluster["opened"], *cluster["out_of_sync"]]
    assert cluster["out_of_sync"] == cluster["undecided"] == cluster["drift"] == []
    assert any(
        "; not written yet: update GlobalNetworkPolicy firewallpolicy.pan-zone-" in each
        for each in cluster["opened"]
    )
    assert {each["action"] for each in cluster["pending"]} == {"update"}
    assert {(each["tier"], each["zone"], each["state"]) for each in cluster["chains"]} == {
        ("firewallpolicy", "web", "old"),
        ("firewallpolicy", "db", "old"),
    }
    # It waits for a sync, and none was left in the middle.
    assert cluster["half_written"] is None
    place.done("sync")
    (cluster,) = place.done("verify", "--live", "--output", "json").json["clusters"]
    assert (cluster["holds"], cluster["pending"]) == (True, [])


def test_live_does_not_decide_what_a_hand_wrote_that_cannot_be_judged(place: Installation) -> None:
    place.done("sync")
    edited(place, DB, lambda it: it["spec"].update(applyOnForward=True))
    done = place.run("verify", "--live")
    assert done.code == 6
    assert "the proof is not decided" in done.out
    assert f"  ? GlobalNetworkPolicy {DB} is not judged: {DB} holds applyOnForward" in done.out


def test_a_sync_that_was_left_in_the_middle_is_half_written_until_one_comes_to_its_end(
    place: Installation,
) -> None:
    place.done("sync")
    (cluster,) = place.done("status", "--output", "json").json["clusters"]
    assert (cluster["state"], cluster["half_written"]) == ("in sync", None)
    # As a killed sync leaves the trail, and the cluster: one of two objects was written.
    with open_store(f"sqlite:///{place.directory}/zonebridge.db") as store:
        stood, other = (store.written("eu")["GlobalNetworkPolicy", name] for name in (DB, WEB))
        document = stood.document()
        document["spec"]["ingress"].insert(0, {"action": "Pass"})
        change = Change(stood, Manifest.of(document), Cause.CONFIGURATION)
        with store.lease("eu", "test", timedelta(minutes=10)) as lease:
            run = store.run("test")
            gone = Change(other, None, Cause.CONFIGURATION)
            written, _ = run.intend(lease, [change, gone], [])
            run.conclude([Conclusion(written, Outcome.APPLIED)])
    edited(place, DB, lambda it: it["spec"]["ingress"].insert(0, {"action": "Pass"}))
    (cluster,) = place.done("status", "--output", "json").json["clusters"]
    assert (cluster["state"], cluster["half_written"]["since"]) == ("half-written", written.time)
    shown = place.done("status").out.splitlines()
    assert shown[0] == (
        f"Cluster eu: half-written since {written.time}: no sync has completed since, or one "
        "is writing now"
    )
    assert shown[2].startswith(f"  not known to be written: GlobalNetworkPolicy {WEB}: ")
    done = place.run("verify", "--live")
    assert done.code == 6
    assert f"; not written yet: update GlobalNetworkPolicy {DB}\n" in done.out
    assert f"  Half-written since {written.time}: " in done.out
    asked = ("--from", "web", "--to", "db", "--port", "22/tcp", "--live")
    assert (
        f"  half-written since {written.time}: 1 change pending, and of what decides here: update "
        f"GlobalNetworkPolicy {DB}\n"
    ) in place.done("explain", *asked).out
    (explained,) = place.done("explain", *asked, "--output", "json").json["clusters"]
    assert explained["pending"] == [{"action": "update", "kind": "GlobalNetworkPolicy", "name": DB}]

    place.done("sync", "--lease-timeout", "10s")
    (cluster,) = place.done("status", "--output", "json").json["clusters"]
    assert (cluster["state"], cluster["half_written"]) == ("in sync", None)
    assert place.run("verify", "--live").code == 0

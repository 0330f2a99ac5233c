"""An object of others in our place: held, and taken over when an operator says so."""

from pathlib import Path

import pytest

from tests.e2e.installation import Installation, until

THEIRS = {
    "apiVersion": "projectcalico.org/v3",
    "kind": "GlobalNetworkSet",
    "metadata": {"name": "pan.web"},
    "spec": {"nets": ["192.0.2.0/24"]},
}


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    made = Installation.in_directory(tmp_path / "here")
    made.configure("eu")
    made.put("eu", THEIRS)
    return made


def test_the_rest_is_written_and_the_remedy_that_is_named_works(place: Installation) -> None:
    planned = place.run("plan")
    assert planned.code == 3
    assert "`zonebridge adopt GlobalNetworkSet pan.web`" in planned.out
    assert place.run("adopt", "GlobalNetworkSet", "pan.web").code == 1  # no store yet
    done = place.run("sync")
    assert done.code == 3
    assert "Written: 3; failed: 0." in done.out
    assert place.files("eu") == ["pan.db.yaml", "pan.web.yaml"]
    [cluster] = place.done("status", "--output", "json").json["clusters"]
    assert cluster["state"] == "blocked"
    assert "zonebridge adopt GlobalNetworkSet pan.web" in cluster["detail"]

    asked = place.done("adopt", "GlobalNetworkSet", "pan.web", "--cluster", "eu")
    assert "The next sync of cluster eu takes over GlobalNetworkSet pan.web" in asked.out
    [record] = place.records("--kind", "operator")
    assert (record["action"], record["object_name"]) == ("adopt", "pan.web")
    assert place.run("plan").code == 0
    [pending] = place.done("status", "--output", "json").json["clusters"][0]["adoptions"]
    assert (pending["kind"], pending["name"]) == ("GlobalNetworkSet", "pan.web")
    assert pending["asked_by"].startswith("zonebridge adopt by ")
    shown = place.done("status").out
    assert (
        f"  to be taken over: GlobalNetworkSet pan.web by a sync before {pending['expires']}"
        in shown
    )
    # Once more is no mistake, and no other record.
    again = place.done("adopt", "globalnetworkset", "pan.web")
    assert again.out == "The next sync of cluster eu takes over GlobalNetworkSet pan.web already.\n"
    assert len(place.records("--kind", "operator")) == 1
    place.done("sync")
    [cluster] = place.done("status", "--output", "json").json["clusters"]
    assert (cluster["state"], cluster["adoptions"]) == ("in sync", [])
    place.done("audit", "verify")


def test_what_is_not_in_the_way_cannot_be_adopted(place: Installation) -> None:
    place.run("sync")
    done = place.run("adopt", "GlobalNetworkSet", "pan.db")
    assert done.code == 64
    assert "no foreign GlobalNetworkSet pan.db is in the place of" in done.err
    assert place.run("adopt", "GlobalNetworkSet", "pan.web", "--cluster", "us").code == 64
    (place.directory / "eu" / "globalnetworkset" / "pan.web.yaml").write_text("# mine\n")
    done = place.run("adopt", "GlobalNetworkSet", "pan.web")
    assert done.code == 64
    assert "cannot be taken over" in done.err
    assert place.records("--kind", "operator") == []


def test_a_service_that_runs_follows(place: Installation) -> None:
    place.configure("eu", poll_interval="1s", lease_ttl="10m")
    theirs = ["192.0.2.0/24"]
    with place.running() as service:
        until(lambda: service.metric("cluster_syncs_total eu blocked") > 0, "it is held up")
        assert place.written("eu") == {"pan.db.yaml": ["10.2.0.0/24"], "pan.web.yaml": theirs}
        # It keeps the lease: the other remedy is not to be had beside it.
        assert place.run("sync", "--adopt").code == 7
        place.done("adopt", "GlobalNetworkSet", "pan.web")
        # Its next sync need not wait for a minute.
        grown = {"web": ["10.1.0.1/32"], "db": ["10.2.0.0/24", "10.3.0.0/24"]}
        place.panorama(eu=grown)
        until(
            lambda: place.written("eu") == {f"pan.{name}.yaml": grown[name] for name in grown},
            "what was in the way is taken over",
        )
        until(lambda: service.metric("cluster_syncs_total eu in sync") > 0, "it is in sync")
    taken = [each for each in place.records("--kind", "intent") if each["object_name"] == "pan.web"]
    [asked] = place.records("--kind", "operator")
    assert taken[0]["before"] == asked["before"] != ""
    place.done("audit", "verify")

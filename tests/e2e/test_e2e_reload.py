"""`zonebridge run` and a configuration that changes under it, as the installed command."""

import signal
from pathlib import Path

from tests.e2e.installation import Installation, Running, until
from tests.words import rule

FILES = {"pan.db.yaml": ["10.2.0.0/24"], "pan.web.yaml": ["10.1.0.1/32", "10.1.0.2/32"]}
GROWN = {"web": ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.5/32"], "db": ["10.2.0.0/24"]}


def configure(place: Installation, *clusters: str, **keys: object) -> None:
    """In place, as an editor may; no lease runs out because a machine is slow."""
    place.configure(*clusters, **{"poll_interval": "1s", "lease_ttl": "10m", **keys})


def told(service: Running, event: str) -> list[dict[str, object]]:
    """The lines of the log about an event; the last one may still be written."""
    return [each for each in service.logged() if each["event"] == event]


def refused(service: Running) -> list[object]:
    event = "configuration rejected; the previous one stays in use"
    return [each["error"] for each in told(service, event)]


def test_a_changed_configuration_is_taken_up_and_a_bad_one_changes_nothing(
    place: Installation,
) -> None:
    configure(place, "eu")
    with place.running() as service:
        until(lambda: place.written("eu") == FILES, "every set is there")
        [starting] = told(service, "starting")
        groups = "main/dg-eu to tier firewallpolicy, order 101, enforced"
        assert starting["clusters"] == [f"eu: manifests {place.directory / 'eu'}; {groups}"]
        assert (starting["engine"], starting["drift"]) == ("embedded", "repair")
        assert (starting["instance"], starting["poll_interval"]) == ("zonebridge", "1s")
        assert service.metric("config_last_reload_successful") == 1

        configure(place, "eu", "us")
        until(lambda: place.written("us") == FILES, "the new cluster has every set")
        [reloaded] = told(service, "configuration reloaded")
        assert reloaded["changed"] == ["clusters[us]: added"]
        [trigger] = {each["trigger"] for each in place.records("--cluster", "us")}
        assert "configuration reloaded" in trigger

        (place.directory / "zonebridge.yaml").write_text("clusters: [}", encoding="utf-8")
        until(lambda: service.metric("config_last_reload_successful") == 0, "it is refused")
        assert place.run("config", "check").err == f"error: {refused(service)[0]}\n"
        assert "[+] configuration: the one of " in service.get("/readyz")[1]
        place.panorama(eu=GROWN)
        until(lambda: place.written("us")["pan.web.yaml"] == GROWN["web"], "the old one stays")

        configure(place, "eu", "us", instance="other")
        until(lambda: len(refused(service)) == 2, "another instance is refused")
        assert "instance: needs a restart" in str(refused(service)[1])

        configure(place, "eu")
        until(
            lambda: (
                service.metric("config_last_reload_successful") == 1
                and "zonebridge_lease_held us" not in service.metrics()
            ),
            "a cluster less is taken up",
        )
        # It stays as it was, and is told.
        assert place.written("us")["pan.web.yaml"] == GROWN["web"]
        status = place.done("status", "--output", "json").json
        assert [each["name"] for each in status["unconfigured"]] == ["us"]
        assert status["unconfigured"][0]["holder"] is None
        assert service.stop() == 0
        assert len(told(service, "configuration reloaded")) == 2
    place.done("audit", "verify")


def test_a_hangup_reads_the_configuration_and_ends_nothing(place: Installation) -> None:
    configure(place)
    with place.running() as service:
        until(lambda: place.written("eu") == place.written("us") == FILES, "every set is there")
        service.process.send_signal(signal.SIGHUP)
        until(lambda: told(service, "configuration unchanged"), "it was read")
        configure(place, drift="report")
        service.process.send_signal(signal.SIGHUP)
        until(lambda: told(service, "configuration reloaded"), "it is taken up")
        # Whatever of it is under way.
        assert service.stop() == 0
        assert told(service, "stopped")
    # No lease is left.
    place.done("sync")
    place.done("audit", "verify")


def test_a_config_map_that_the_kubelet_swaps_is_taken_up(place: Installation) -> None:
    configure(place, "eu")
    named = place.directory / "zonebridge.yaml"

    def volume(name: str) -> None:
        """Another directory of the volume, to which one link is moved."""
        (place.directory / name).mkdir()
        named.rename(place.directory / name / "zonebridge.yaml")
        link = place.directory / "..data_tmp"
        link.symlink_to(name)
        link.rename(place.directory / "..data")
        named.symlink_to(Path("..data", "zonebridge.yaml"))

    volume("..1")
    with place.running() as service:
        until(lambda: place.written("eu") == FILES, "every set is there")
        named.unlink()
        configure(place, "eu", "us")
        volume("..2")
        until(lambda: place.written("us") == FILES, "the new cluster has every set")
        assert service.stop() == 0


def test_a_configuration_that_names_a_file_that_comes_later_is_taken_up_then(
    place: Installation,
) -> None:
    missing = "later.xml"
    configure(place, "eu")
    with place.running() as service:
        until(lambda: place.written("eu") == FILES, "every set is there")
        source = {"name": "main", "kind": "file", "path": missing}
        configure(place, "eu", sources=[source])
        until(lambda: refused(service), "it is refused")
        assert missing in str(refused(service)[0])
        (place.directory / "panorama.xml").rename(place.directory / missing)
        until(lambda: told(service, "configuration reloaded"), "it is taken up")
        assert len(refused(service)) == 1
        assert service.stop() == 0


def test_a_configuration_that_does_not_fit_the_zones_of_its_source_is_refused(
    place: Installation,
) -> None:
    every = {key: ["any"] for key in ("source", "destination", "service", "application")}
    flow = rule("web to db", from_=["web"], to=["db"], action="allow", **every)
    place.panorama(eu={"web": ["10.1.0.1/32"]}, rules=[flow])
    configure(place, "eu")
    with place.running() as service:
        until(lambda: place.files("eu") == ["pan.web.yaml"], "every set is there")
        configure(place, "eu", zones={"definitions": {"web": {"networks": ["0.0.0.0/0"]}}})
        until(lambda: refused(service), "it is refused")
        assert place.run("config", "check").err == f"error: {refused(service)[0]}\n"
        assert "zones.definitions gives 0.0.0.0/0" in str(refused(service)[0])
        place.panorama(eu={"web": ["10.1.0.2/32"]}, rules=[flow])
        until(lambda: place.written("eu") == {"pan.web.yaml": ["10.1.0.2/32"]}, "the old one stays")
        assert service.stop() == 0

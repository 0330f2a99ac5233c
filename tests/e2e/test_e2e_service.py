"""`zonebridge run`: what it keeps, survives and tells, as the installed command."""

import signal
import socket
import time
from contextlib import ExitStack
from functools import partial

import pytest

from tests.e2e.installation import (
    SECONDS,
    Installation,
    Running,
    kubernetes,
    objects,
    sentences,
    until,
)
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import edit, nets, remove
from tests.postgresql import Database

WEB = ["10.1.0.1/32", "10.1.0.2/32"]
BOTH = {"pan.db": ["10.2.0.0/24"], "pan.web": WEB}
FILES = {f"{name}.yaml": held for name, held in BOTH.items()}
GROWN = {"web": [*WEB, "10.1.0.5/32"], "db": ["10.2.0.0/24"]}
SERIES = {
    "build_info",
    "source_last_attempt_timestamp_seconds",
    "source_last_success_timestamp_seconds",
    "source_polls_total",
    "cluster_last_attempt_timestamp_seconds",
    "cluster_last_success_timestamp_seconds",
    "cluster_syncs_total",
    "changes_total",
    "drift_left",
    "drift_total",
    "objects",
    "lease_held",
    "sync_duration_seconds_count",
}
QUIET = 25  # answers in a row


@pytest.fixture
def eu(place: Installation, calico: ControlPlane) -> ControlPlane:
    """The one cluster of the installation."""
    configure(place, kubernetes("eu", calico.kubeconfig()))
    return calico


def configure(place: Installation, *clusters: str | dict[str, object], **keys: object) -> None:
    """As quick as the configuration allows; no lease runs out because a machine is slow."""
    place.configure(*clusters, **{"poll_interval": "1s", "lease_ttl": "10m", **keys})


def settled(service: Running) -> float:
    """Wait until no cluster is synced for a while; how many syncs there were.

    The while is a number of answers, so that a service that gets no time does not look settled.
    """
    deadline = time.monotonic() + SECONDS
    syncs, quiet = service.metric("cluster_syncs_total"), 0
    while quiet < QUIET:
        time.sleep(0.1)
        before, syncs = syncs, service.metric("cluster_syncs_total")
        quiet = quiet + 1 if syncs == before else 0
        assert time.monotonic() < deadline, "it syncs again and again"
    return syncs


# --- what it keeps --------------------------------------------------------------------------------


def test_it_keeps_a_cluster_as_the_firewall_says_and_no_other_hand_prevails(
    place: Installation, eu: ControlPlane
) -> None:
    with place.running() as service:
        until(lambda: nets(eu) == BOTH, "every set is there")
        place.panorama(eu=GROWN)
        until(lambda: nets(eu)["pan.web"] == GROWN["web"], "the edit is taken up")
        settled(service)

        remove(eu, "pan.db")
        until(lambda: "pan.db" in nets(eu), "the deleted set is back")
        edit(eu, "pan.web", {"spec": {"nets": ["0.0.0.0/0"]}})
        until(lambda: nets(eu)["pan.web"] == GROWN["web"], "the edited set is back")
        syncs = settled(service)
        drift = [each for each in place.records("--kind", "intent") if each["cause"] == "drift"]
        assert [(each["object_name"], each["action"]) for each in drift] == [
            ("pan.db", "create"),
            ("pan.web", "update"),
        ]
        assert drift[1]["detail"].startswith("found changed by kubectl-edit at ")
        assert drift[1]["trigger"].startswith("zonebridge run by ")
        recorded = place.records()
        # What others put on a set is none of our business, though the watch tells of it.
        edit(eu, "pan.web", {"metadata": {"labels": {"team": "blue"}}})
        assert settled(service) == syncs
        assert place.records() == recorded

        assert {f"zonebridge_{name}" for name in SERIES} <= {
            name.split(" ")[0] for name in service.metrics()
        }
        assert service.metric("drift_total eu") == 2
        assert service.metric("objects eu") == objects(2)
        assert service.metric("lease_held eu") == 1
        assert service.get("/livez")[0] == service.get("/readyz")[0] == 200

        assert service.stop() == 0
    logged = service.logged()
    assert "serving" in [each["event"] for each in logged]
    assert logged[-1]["event"] == "stopped"
    assert all(each["level"] == "info" for each in logged)
    # The lease is free at once.
    place.done("sync")
    place.done("audit", "verify")


def test_the_last_good_state_is_held_while_the_export_cannot_be_read(
    place: Installation, eu: ControlPlane
) -> None:
    configure(place, kubernetes("eu", eu.kubeconfig()), health={"max_source_age": "4s"})
    with place.running() as service:
        until(lambda: nets(eu) == BOTH, "every set is there")
        until(lambda: service.get("/readyz")[0] == 200, "it is ready")
        export = place.directory / "panorama.xml"
        good = export.read_bytes()

        place.export(good[: len(good) // 2])
        until(lambda: service.get("/readyz")[0] == 503, "it is not ready any more")
        _, said = service.get("/readyz")
        assert "[-] source main: read " in said
        assert "panorama.xml" in said
        assert service.get("/livez")[0] == 200
        remove(eu, "pan.web")
        until(lambda: nets(eu) == BOTH, "drift is repaired from the last good configuration")

        export.unlink()
        until(lambda: "cannot read" in service.get("/readyz")[1], "the file is missed")
        edit(eu, "pan.db", {"spec": {"nets": ["192.0.2.0/24"]}})
        until(lambda: nets(eu) == BOTH, "drift is repaired from the last good configuration")

        place.export(good)
        until(lambda: service.get("/readyz")[0] == 200, "it is ready again")
        assert service.stop() == 0
        polls = [each["event"] for each in service.logged() if each.get("source")]
        # Each kind of failure is told once, however often the source was polled.
        assert polls == [
            "configuration read",
            "source failed",
            "source failed",
            "source answers again",
        ]
    assert nets(eu) == BOTH
    place.done("audit", "verify")


def test_it_starts_from_the_last_good_state_while_the_export_cannot_be_read(
    place: Installation, eu: ControlPlane
) -> None:
    configure(place, kubernetes("eu", eu.kubeconfig()), health={"max_source_age": "4s"})
    place.done("sync")
    (place.directory / "panorama.xml").unlink()
    remove(eu, "pan.web")
    assert place.run("sync").code == 4
    with place.running() as service:
        until(lambda: nets(eu) == BOTH, "drift is repaired from what the sync has read")
        until(
            lambda: "[-] source main: read " in service.get("/readyz")[1],
            "what was read is too old to be ready with",
        )
        assert service.stop() == 0
        assert "configuration remembered" in [each["event"] for each in service.logged()]
    place.done("audit", "verify")


def test_it_outlives_an_outage_of_the_cluster(place: Installation, eu: ControlPlane) -> None:
    with place.running() as service:
        until(lambda: nets(eu) == BOTH, "every set is there")
        # Who does not know what became of a write lets the lease run out, which takes long here.
        settled(service)
        eu.stop()

        def failed_more_often_than(before: float) -> bool:
            return service.metric("cluster_syncs_total eu failed") > before

        for mail in ("10.4.0.1/32", "10.4.0.2/32"):
            place.panorama(eu={"web": WEB, "mail": [mail]})
            before = service.metric("cluster_syncs_total eu failed")
            until(partial(failed_more_often_than, before), "it has tried")
        assert service.get("/livez")[0] == 200
        eu.start()
        wanted = {"pan.mail": ["10.4.0.2/32"], "pan.web": WEB}
        until(lambda: nets(eu) == wanted, "the cluster has the newest state")
        remove(eu, "pan.web")
        until(lambda: nets(eu) == wanted, "it watches again")
        settled(service)
        assert service.stop() == 0
        assert service.logged()[-1]["event"] == "stopped"
    place.done("audit", "verify")
    assert place.run("plan", "--detailed-exitcode").code == 0


def test_a_cluster_that_is_down_from_the_start_holds_up_no_other(
    place: Installation, calico: ControlPlane, second_calico: ControlPlane
) -> None:
    configure(
        place, kubernetes("eu", calico.kubeconfig()), kubernetes("us", second_calico.kubeconfig())
    )
    second_calico.stop()
    with place.running() as service:
        until(lambda: nets(calico) == BOTH, "the other one is synced")
        place.panorama(eu=GROWN)
        until(lambda: nets(calico)["pan.web"] == GROWN["web"], "the other one follows")
        assert service.metric("cluster_syncs_total us in sync") == 0
        second_calico.start()
        until(lambda: nets(second_calico) == nets(calico), "it is synced once it is up")
        assert service.stop() == 0


def test_drift_that_is_only_to_be_reported_is_left_and_told(
    place: Installation, calico: ControlPlane
) -> None:
    configure(place, kubernetes("eu", calico.kubeconfig()), drift="report")
    with place.running() as service:
        until(lambda: nets(calico) == BOTH, "every set is there")
        settled(service)
        recorded = place.records()
        edit(calico, "pan.web", {"spec": {"nets": ["192.0.2.0/24"]}})
        until(lambda: service.metric("drift_left eu") == 1, "the drift is seen")
        settled(service)
        assert nets(calico)["pan.web"] == ["192.0.2.0/24"]
        assert place.done("status").out.startswith("Cluster eu: drift left")
        assert place.records() == recorded
        assert service.stop() == 0


# --- beside others --------------------------------------------------------------------------------


def test_a_sync_beside_it_names_it_or_waits_for_it(place: Installation) -> None:
    configure(place)
    with place.running() as service:
        until(lambda: place.written("eu") == place.written("us") == FILES, "every set is there")
        settled(service)
        named = f"process {service.process.pid}"
        refused = place.run("sync")
        assert refused.code == 7
        for sentence in sentences(refused):
            assert sentence.count("is held by zonebridge run by ") == 1
            assert named in sentence

        status = place.done("status", "--output", "json").json
        for found in status["clusters"]:
            assert found["state"] == "in sync"
            assert found["holder"].endswith(named)
            assert found["succeeded"]
            assert (found["objects"], found["open_intents"]) == (objects(2), 0)
        [source] = status["sources"]
        assert (source["name"], source["state"]) == ("main", "read")
        told = place.done("status").out
        assert told.count(f"  kept by: {status['clusters'][0]['holder']}\n") == 2
        for found in (*status["clusters"], source):
            assert f"  last success: {found['succeeded'][:16]}" in told

        waiting = place.start("sync", "--lease-timeout", f"{SECONDS}s")
        try:
            # It has begun once its run is recorded.
            until(lambda: place.records("--kind", "run")[-1]["action"] == "begin", "it waits")
            assert waiting.poll() is None
            assert service.stop() == 0
            waiting.communicate(timeout=SECONDS)
            assert waiting.returncode == 0
        finally:
            waiting.kill()
            waiting.communicate()
    place.done("audit", "verify")
    assert "kept by: no process" in place.done("status").out


def test_of_two_on_one_store_each_cluster_has_one_and_the_other_takes_over(
    place: Installation, calico: ControlPlane, postgresql_database: Database
) -> None:
    configure(
        place,
        kubernetes("eu", calico.kubeconfig()),
        "us",
        store={"url": postgresql_database.url},
        lease_ttl="2s",
    )
    password = {"ZONEBRIDGE_STORE__PASSWORD": postgresql_database.password}
    with ExitStack() as kept:
        both = [kept.enter_context(place.running(**password)) for _ in range(2)]

        def led(cluster: str) -> list[bool]:
            return [each.metric(f"lease_held {cluster}") == 1 for each in both]

        def one_leads_each() -> bool:
            return all(sorted(led(cluster)) == [False, True] for cluster in ("eu", "us"))

        until(one_leads_each, "each cluster is led by one")
        until(lambda: nets(calico) == BOTH and place.written("us") == FILES, "all is there")
        until(one_leads_each, "each cluster is led by one")
        # Leases are short here, and a machine that stands still for one leaves nobody a leader.
        leaders: list[Running] = []

        def one_leads() -> bool:
            leaders.extend(each for each in both if each.metric("lease_held eu"))
            return bool(leaders)

        until(one_leads, "one leads")
        leader = leaders[0]
        other = next(each for each in both if each is not leader)
        leader.process.send_signal(signal.SIGKILL)
        leader.process.wait()
        remove(calico, "pan.web")
        (place.directory / "us" / "globalnetworkset" / "pan.web.yaml").unlink()
        until(
            lambda: other.metric("lease_held eu") == other.metric("lease_held us") == 1,
            "the other one leads",
        )
        until(lambda: nets(calico) == BOTH and place.written("us") == FILES, "it repairs")
        assert other.stop() == 0
    place.done("audit", "verify", **password)
    for chain in ("eu", "us"):
        of_chain = place.records("--cluster", chain, **password)
        assert [each["sequence"] for each in of_chain] == list(range(1, len(of_chain) + 1))
    assert place.run("plan", "--detailed-exitcode", **password).code == 0


def test_a_taken_port_is_a_mistake_in_the_configuration(place: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        done = place.run("run", ZONEBRIDGE_HEALTH__BIND=bind)
    assert done.code == 64
    [sentence] = sentences(done)
    assert sentence.startswith(f"cannot listen on {bind}: Address already in use")
    assert "health.bind" in sentence
    assert place.files("eu") == []

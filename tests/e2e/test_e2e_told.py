"""Who is told: the webhook and Kubernetes Events of the installed command."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.e2e.installation import Installation, kubernetes, until
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import put, remove

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
BLOCKED = 3


class Receiver:
    """Verifies each call as a receiver would, and keeps what it says."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.port = 0

    def types(self) -> list[str]:
        return [each["type"] for each in self.told]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            Webhook(SECRET).verify(body, dict(self.headers))
            found.told.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def configure(place: Installation, plane: ControlPlane, receiver: Receiver) -> None:
    file = Path(place.directory) / "webhook-secret"
    file.touch(mode=0o600)
    file.write_text(f"{SECRET}\n")
    place.configure(
        kubernetes("eu", plane.kubeconfig()),
        poll_interval="1s",
        webhook=f"http://127.0.0.1:{receiver.port}/T0KEN",
        webhook_secret_file="webhook-secret",
    )


def reasons(plane: ControlPlane) -> list[str]:
    """The reasons of the Events on tiers."""
    items = plane.request("GET", EVENTS)["items"]
    return sorted(each["reason"] for each in items if each["regarding"]["kind"] == "Tier")


def test_what_blocks_a_cluster_is_told_once_and_so_is_its_end(
    place: Installation, calico: ControlPlane, receiver: Receiver
) -> None:
    calico.request("DELETE", EVENTS)
    configure(place, calico, receiver)
    put(calico, "pan.web", "192.0.2.0/24")
    # One-shot syncs tell it as one of them, and the service knows that it was told.
    assert place.run("sync").code == BLOCKED
    assert place.run("sync").code == BLOCKED
    assert receiver.types() == ["cluster.blocked"]
    assert receiver.told[0]["data"]["guards"] == ["foreign-object"]
    with place.running() as service:
        until(lambda: service.metric("blocked eu") == 1, "the service is blocked too")
        until(lambda: "PlanBlocked" in reasons(calico), "an Event says so")
        remove(calico, "pan.web")
        until(lambda: len(receiver.told) == 2, "the end of it is told")
        until(lambda: "SyncRecovered" in reasons(calico), "an Event says that too")
        assert service.stop() == 0
        assert not any("T0KEN" in str(each) for each in service.logged())
    assert receiver.types() == ["cluster.blocked", "cluster.recovered"]
    assert reasons(calico) == ["PlanBlocked", "SyncRecovered"]


def test_dry_runs_tell_nobody_and_nothing_shows_the_url(
    place: Installation, calico: ControlPlane, receiver: Receiver
) -> None:
    calico.request("DELETE", EVENTS)
    configure(place, calico, receiver)
    put(calico, "pan.web", "192.0.2.0/24")
    assert place.run("plan").code == BLOCKED
    assert place.run("sync", "--dry-run").code == BLOCKED
    assert not receiver.told
    assert not reasons(calico)
    assert "T0KEN" not in place.done("config", "check").out

"""What the pods of the chart run, run here: the same arguments, environment and files."""

import http.client
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.chart import example, render, settings
from tests.e2e.installation import COMMAND
from tests.kubernetes_cluster import _free_ports


def test_what_the_pods_run_is_a_service_that_their_probes_reach(tmp_path: Path, demo: Path) -> None:
    (port,) = _free_ports(1)
    source = {"name": "main", "kind": "file", "path": "/etc/zonebridge/files/export/panorama.xml"}
    groups = [{"name": "datacenter-eu", "mode": "staged"}]
    cluster = {"name": "out", "kind": "manifests", "path": "/var/lib/zonebridge/out"}
    values = {
        "config.sources": [source],
        "config.clusters": [{**cluster, "device_groups": groups}],
        "config.health": {"bind": f"0.0.0.0:{port}"},
        "files.export": {"configMap": "export"},
    }
    given = settings([f"{key}={json.dumps(value)}" for key, value in values.items()])
    rendered = render(example("minimal"), *given)
    service, test = rendered.pods()

    def here(text: str) -> str:
        for place in ("/etc/zonebridge/", "/var/lib/"):
            text = text.replace(place, f"{tmp_path}{place}")
        return text

    for directory in ("etc/zonebridge/config", "etc/zonebridge/files/export", "var/lib/zonebridge"):
        (tmp_path / directory).mkdir(parents=True)
    config = tmp_path / "etc/zonebridge/config/zonebridge.yaml"
    config.write_text(here(rendered.configuration))
    shutil.copy(demo / "panorama.xml", tmp_path / "etc/zonebridge/files/export")

    def start(container: dict[str, Any]) -> "subprocess.Popen[str]":
        # What the kubelet knows of the pod it would have told: Events go nowhere here.
        variables = {
            each["name"]: here(each["value"]) for each in container["env"] if "value" in each
        }
        return subprocess.Popen(
            [COMMAND, *container["args"]],
            env={**os.environ, **variables},
            cwd=tmp_path / "var/lib/zonebridge",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(container: dict[str, Any]) -> None:
        process = start(container)
        told, _ = process.communicate()
        assert process.returncode == 0, told

    (upgrade,) = service["spec"]["initContainers"]
    (main,) = service["spec"]["containers"]
    ended(upgrade)
    running = start(main)
    try:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = main[probe]["httpGet"]["path"]
            while answer(port, path) != 200:
                assert running.poll() is None, running.communicate()[0]
                time.sleep(0.1)
        for container in test["spec"]["containers"]:
            ended(container)
    finally:
        running.terminate()
        told, _ = running.communicate()
    assert running.returncode == 0, told


def answer(port: int, path: str) -> int:
    """The status of an answer, 0 while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()

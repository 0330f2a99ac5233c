"""A real API server takes what the chart makes, in a namespace that refuses privileges."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart import CHART, EXAMPLES, NAMESPACE, RELEASE, example, helm, path_of, render
from tests.kubernetes_cluster import OWN_DEFINITIONS, ApiError, ControlPlane

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A server with the namespace of the chart and the Prometheus Operator's definitions."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"metadata": {"name": NAMESPACE, "labels": labels}}
    definitions = [
        yaml.safe_load(file.read_text()) for file in (OWN_DEFINITIONS / "monitoring").iterdir()
    ]
    with control_plane.connected() as api:
        with contextlib.suppress(ApiError):  # there since an earlier module
            api.request("POST", "/api/v1/namespaces", namespace)
        for definition in definitions:
            api.request("POST", DEFINITIONS, definition)
        for definition in definitions:
            _wait_served(control_plane, definition)
        yield control_plane
        for definition in definitions:
            api.request("DELETE", f"{DEFINITIONS}/{definition['metadata']['name']}")


def _wait_served(plane: ControlPlane, definition: dict[str, Any]) -> None:
    plural = definition["spec"]["names"]["plural"]
    with plane.connected() as api:
        while True:
            with contextlib.suppress(ApiError):
                api.request("GET", f"/apis/monitoring.coreos.com/v1/{plural}")
                return


@pytest.fixture
def installed(server: ControlPlane, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of the server; what the release leaves there is removed."""
    yield server.kubeconfig(path=tmp_path / "kubeconfig")
    claims = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
    with server.connected() as api:
        for claim in api.request("GET", claims)["items"]:
            one = f"{claims}/{claim['metadata']['name']}"
            api.request("PATCH", one, {"metadata": {"finalizers": None}})
            api.request("DELETE", one)


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_the_server_takes_every_object_and_every_pod(values: Path, server: ControlPlane) -> None:
    rendered = render(values)
    pods = [
        {**pod, "apiVersion": "v1", "kind": "Pod", "metadata": {**pod["metadata"], "name": f"p{n}"}}
        for n, pod in enumerate(rendered.pods())
    ]
    with server.connected() as api:
        for found in [*rendered.objects, *pods]:
            # Strict: a field that its kind does not have is an error.
            api.request("POST", f"{path_of(found)}?dryRun=All&fieldValidation=Strict", found)


def test_a_release_is_installed_upgraded_rolled_back_and_leaves_its_trail(
    server: ControlPlane, installed: Path
) -> None:
    # Other tests have the server next, and what a policy refuses ends some time after it is gone.
    without = ("--set", "admissionPolicies.enabled=false")

    def run(*arguments: str | Path) -> str:
        done = helm(*arguments, "--namespace", NAMESPACE, "--kubeconfig", installed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"

    notes = run("install", RELEASE, CHART, "--values", example("minimal"), *without)
    assert "exec deployment/zb-zonebridge --container zonebridge -- zonebridge status" in notes
    assert server.request("GET", f"{deployments}/zb-zonebridge")["spec"]["replicas"] == 1

    run("upgrade", RELEASE, CHART, "--values", example("ha-postgresql"), *without)
    assert server.request("GET", f"{deployments}/zb-zonebridge")["spec"]["replicas"] == 3

    workers = ("upgrade", RELEASE, CHART, "--values", example("workers"), *without)
    notes = run(*workers)
    assert "rollout status deployment/zb-zonebridge-workers" in notes
    # As the autoscaler does.
    path = f"{deployments}/zb-zonebridge-workers"
    server.request("PATCH", path, {"spec": {"replicas": 5}})
    names = ("zb-zonebridge", "zb-zonebridge-workers")
    before = [server.request("GET", f"{deployments}/{name}") for name in names]
    run(*workers, "--set", "config.drift=report")
    service, others = [server.request("GET", f"{deployments}/{name}") for name in names]
    # It takes up another configuration by itself, and they do not.
    assert service["spec"] == before[0]["spec"]
    assert others["spec"]["template"] != before[1]["spec"]["template"]
    assert others["spec"]["replicas"] == 5

    run("rollback", RELEASE, "1")
    assert server.request("GET", f"{deployments}/zb-zonebridge")["spec"]["replicas"] == 1

    notes = run("upgrade", RELEASE, CHART, "--values", example("cronjob"), *without)
    assert "create job zb-zonebridge-first --from=cronjob/zb-zonebridge" in notes
    assert server.request("GET", deployments)["items"] == []

    run("uninstall", RELEASE)
    claims = server.request("GET", f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims")
    assert [claim["metadata"]["name"] for claim in claims["items"]] == ["zb-zonebridge"]

    # And is found again.
    run("install", RELEASE, CHART, "--values", example("minimal"), *without)
    run("uninstall", RELEASE)

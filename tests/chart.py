"""The chart as helm renders it."""

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes_cluster import program

CHART = Path(__file__).parent.parent / "helm" / "zonebridge"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE = "zb"
NAMESPACE = "zonebridge-chart"
GLOBAL = {
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
"""Kinds that are in no namespace."""


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm away from the developer's settings. Skips, or fails in CI, where it is not built."""
    helm = program("helm")
    with tempfile.TemporaryDirectory() as home:
        places = {f"HELM_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(
            [helm, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": home, **places},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the chart makes of some values."""

    objects: tuple[dict[str, Any], ...]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> dict[str, Any]:
        """The object of the kind whose name ends so."""
        (found,) = (each for each in self.of(kind) if each["metadata"]["name"].endswith(suffix))
        return found

    def pods(self) -> list[dict[str, Any]]:
        """Each pod, or template of pods: metadata and spec."""
        templates = [found["spec"]["template"] for found in self.of("Deployment")]
        templates += [
            found["spec"]["jobTemplate"]["spec"]["template"] for found in self.of("CronJob")
        ]
        return templates + self.of("Pod")

    @property
    def configuration(self) -> str:
        """`zonebridge.yaml` as it is mounted."""
        maps = [each["data"] for each in self.of("ConfigMap") if "zonebridge.yaml" in each["data"]]
        (data,) = maps
        text: str = data["zonebridge.yaml"]
        return text


def path_of(found: Mapping[str, Any]) -> str:
    """The path of the API that objects like this one are posted to."""
    version, kind = found["apiVersion"], found["kind"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = found["metadata"].get("namespace", NAMESPACE)
    within = "" if kind in GLOBAL else f"/namespaces/{namespace}"
    plural = (
        f"{kind.lower().removesuffix('y')}ies" if kind.endswith("Policy") else f"{kind.lower()}s"
    )
    return f"{group}{within}/{plural}"


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def template(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *arguments)


def render(values: Path, *arguments: str) -> Rendered:
    """Render an example with more arguments of helm's, such as `--set`."""
    done = template("--values", values, *arguments)
    assert done.returncode == 0, done.stderr
    return Rendered(tuple(found for found in yaml.safe_load_all(done.stdout) if found))


def refused(values: Path, *arguments: str) -> str:
    """What helm says of values that it does not take."""
    done = template("--values", values, *arguments)
    assert done.returncode, "helm takes these values"
    return done.stderr


def example(name: str) -> Path:
    return CHART / "ci" / f"{name}-values.yaml"


def settings(values: Sequence[str]) -> list[str]:
    """The arguments that set these values, `key=JSON`."""
    return [argument for value in values for argument in ("--set-json", value)]

"""Builds the control plane that cluster tests run against, helm and actionlint, from Go modules.

    python tests/controlplane/build.py [program …]
    python tests/controlplane/build.py --run program [argument …]

Without names: all of them. Each module's programs lie in a folder of
`ZONEBRIDGE_CACHE` (`~/.cache/zonebridge`) that is named for its go.mod and go.sum, so a change of
version builds anew and nothing else does. The first build takes about eleven minutes on two cores.

Where `KUBEBUILDER_ASSETS` names a folder with kube-apiserver and etcd, those are used and no
control plane is built. Without that and without Go, cluster tests are skipped, and without Go those
of the chart; in CI that fails.
"""

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CONTROL_PLANE = ("kube-apiserver", "etcd", "kubectl")
PACKAGES = {
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "kubectl": ("kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    "helm": ("helm", "helm.sh/helm/v3/cmd/helm"),
    "actionlint": ("actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),
}
"""Of each program: the folder with its go.mod, and its package."""


class NoProgramsError(Exception):
    """The programs are neither given nor can they be built here; the message says why."""


def find(name: str) -> Path | None:
    """The program, None where it is neither given nor built.

    Raises `NoProgramsError` if `KUBEBUILDER_ASSETS` names a folder that is no control plane.
    """
    given = _given()
    path = given / name if given and name in CONTROL_PLANE else _built(name)
    return path if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the control plane of the cluster tests.")
    parser.add_argument(
        "programs", nargs="*", metavar="program", help=f"of {', '.join(PACKAGES)}", default=[]
    )
    parser.add_argument(
        "--run", nargs=argparse.REMAINDER, help="build this program and run it", metavar="program …"
    )
    asked = parser.parse_args(arguments)
    names = asked.run[:1] if asked.run else asked.programs or list(PACKAGES)
    if unknown := [name for name in names if name not in PACKAGES]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(PACKAGES)}")
    try:
        _provide(names)
    except NoProgramsError as error:
        print(f"what needs {', '.join(names)} is skipped: {error}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    except subprocess.CalledProcessError as error:
        print(f"control plane: `{' '.join(error.cmd)}` failed", file=sys.stderr)
        return 1
    if asked.run:
        found = find(asked.run[0])
        assert found is not None
        return subprocess.run([found, *asked.run[1:]], check=False).returncode
    return 0


def _provide(names: Sequence[str]) -> None:
    given = _given()
    if given:
        print(f"control plane: that of KUBEBUILDER_ASSETS, {given}", flush=True)
        names = [name for name in names if name not in CONTROL_PLANE]
    if not names:
        return
    cache = cache_of("controlplane")
    with alone(cache, "control plane"):
        missing = [name for name in names if not _built(name).is_file()]
        if not missing:
            print(f"control plane: {', '.join(names)} lie ready in {cache}", flush=True)
            return
        _require_go()
        print(f"control plane: building {', '.join(missing)} into {cache}", flush=True)
        for name in missing:
            _build(name)


def _given() -> Path | None:
    value = os.environ.get("KUBEBUILDER_ASSETS")
    if not value:
        return None
    folder = Path(value)
    if lacking := [name for name in ("kube-apiserver", "etcd") if not (folder / name).is_file()]:
        raise NoProgramsError(f"KUBEBUILDER_ASSETS names {folder}, without {', '.join(lacking)}")
    return folder


def cache_of(what: str) -> Path:
    """The folder that keeps what the tests build once, of one kind."""
    base = os.environ.get("ZONEBRIDGE_CACHE")
    return (Path(base) if base else Path.home() / ".cache" / "zonebridge") / what


def _built(name: str) -> Path:
    module, _ = PACKAGES[name]
    flags = [*_flags(module), platform.system(), platform.machine()]
    parts = [(FOLDER / module / file).read_bytes() for file in ("go.mod", "go.sum")]
    key = hashlib.sha256(b"\0".join([*parts, *map(str.encode, flags)])).hexdigest()
    return cache_of("controlplane") / key[:16] / name


@contextmanager
def alone(cache: Path, what: str) -> Iterator[None]:
    """Hold the lock of a cache's folder, which is made where it is missing.

    The system releases it however this process ends.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{what}: another process is building it, waiting", flush=True)
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def _require_go() -> None:
    if shutil.which("go") is None:
        raise NoProgramsError("Go is not installed")
    asked = subprocess.run(
        ["go", "env", "GOVERSION"],
        cwd=FOLDER / "kubernetes",
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        raise NoProgramsError(f"this Go is too old: {asked.stderr.strip()}")


def _build(name: str) -> None:
    module, package = PACKAGES[name]
    path = _built(name)
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        new = Path(made) / name
        command = ["go", "build", "-mod=readonly", "-trimpath", *_flags(module)]
        subprocess.run(
            [*command, "-o", str(new), package],
            cwd=FOLDER / module,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            check=True,
        )
        # The program appears whole or not at all.
        new.replace(path)


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}


def _flags(module: str) -> list[str]:
    """What the projects' own builds tell the linker: without it, every version reads v0.0.0."""
    match module:
        case "kubernetes":
            version = _version(module, "k8s.io/kubernetes")
            major, minor, _ = version.removeprefix("v").split(".", 2)
            place = "k8s.io/component-base/version."
            values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
            values = {place + key: value for key, value in values.items()}
        case "helm":
            _, minor, _ = _version(module, "k8s.io/client-go").split(".", 2)
            values = {
                "helm.sh/helm/v3/internal/version.version": _version(module, "helm.sh/helm/v3")
            }
            for place in ("pkg/lint/rules", "pkg/chartutil"):
                values[f"helm.sh/helm/v3/{place}.k8sVersionMajor"] = "1"
                values[f"helm.sh/helm/v3/{place}.k8sVersionMinor"] = minor
        case _:
            values = {}
    settings = [f"-X {name}={value}" for name, value in values.items()]
    return ["-ldflags", " ".join(["-s", "-w", *settings])]


def _version(module: str, dependency: str) -> str:
    text = (FOLDER / module / "go.mod").read_text()
    found = re.search(rf"^(?:require|\t) ?{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{module}/go.mod does not require {dependency}")
    return found[1]


if __name__ == "__main__":
    sys.exit(main())

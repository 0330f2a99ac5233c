"""The image: what is in it, who runs in it, and that two builds of it are one."""

import os
import re
import signal
import stat
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sync import __version__
from tests.conftest import ROOT
from tests.e2e.installation import Installation, objects, until
from tests.image.build import REVISION
from tests.image.unpacked import USER, Image, main_process, terminate
from tests.kubernetes_cluster import free_ports

PLACE = "/var/lib/zonebridge"
LABEL = "org.opencontainers.image."
COMPILERS = {"gcc", "cc", "c++", "g++", "clang", "make", "ld", "as", "tcc", "rustc", "go"}
CACHES = ("root/.cache", "var/cache/apt/archives", "var/lib/apt/lists", "tmp", "build")


def files(image: Image, *below: str) -> Iterator[Path]:
    for folder in below or (".",):
        for directory, _, names in os.walk(image.root / folder):
            yield from (Path(directory, name) for name in names)


def packages(image: Image) -> Path:
    [found] = (image.root / "opt/zonebridge/lib").glob("python3*/site-packages")
    return found


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    """A configuration and an export; the directory is the image's working directory."""
    return Installation.in_directory(tmp_path / "place")


def test_two_builds_are_the_same(image: Image) -> None:
    first, second = image.builds
    assert first["layers"] == second["layers"]
    assert len(first["layers"]) >= 2  # the base, and ours
    assert first["id"] == second["id"]


def test_a_container_starts_zonebridge_as_a_user_with_a_number_that_is_not_root(
    image: Image,
) -> None:
    assert image.config["User"] == f"{USER}:{USER}"
    assert image.config["Entrypoint"] == ["zonebridge"]
    assert "Cmd" not in image.config
    assert image.config["WorkingDir"] == PLACE
    done = image.run("--version")
    assert (done.returncode, done.stdout) == (0, f"zonebridge {__version__}\n"), done.stderr


def test_labels_say_what_it_is_and_of_which_commit(image: Image) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = image.config["Labels"]
    assert labels[f"{LABEL}title"] == project["name"]
    assert labels[f"{LABEL}description"] == project["description"]
    assert labels[f"{LABEL}version"] == __version__
    assert labels[f"{LABEL}revision"] == REVISION
    assert labels[f"{LABEL}base.name"].startswith("localhost/zonebridge-base:")
    assert labels[f"{LABEL}licenses"] == project["license"]
    assert labels[f"{LABEL}source"] == project["urls"]["Homepage"]


def test_the_image_s_user_owns_the_place_of_the_store_and_can_write_nothing_else_of_ours(
    image: Image,
) -> None:
    store = image.root / PLACE.lstrip("/")
    assert (store.stat().st_uid, store.stat().st_gid) == (USER, USER)
    assert not list(store.iterdir())
    for path in (image.root / "opt/zonebridge").rglob("*"):
        status = path.lstat()
        assert status.st_uid == status.st_gid == 0, path
        assert path.is_symlink() or not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH), path


def test_no_program_gives_a_user_more_rights(image: Image) -> None:
    regular = [path for path in files(image) if path.is_file() and not path.is_symlink()]
    assert len(regular) > 1000
    found = [path for path in regular if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not found
    assert not [path for path in regular if "security.capability" in os.listxattr(path)]


def test_it_holds_no_compiler_installer_or_cache(image: Image) -> None:
    programs = {path.name for path in files(image, "usr/bin", "usr/local/bin", "opt")}
    assert not programs & COMPILERS
    ours = image.root / "opt/zonebridge"
    packages = {path.name.split("-")[0].lower() for path in ours.rglob("*.dist-info")}
    assert "zonebridge" in packages
    assert not packages & {"pip", "setuptools", "wheel", "hatchling", "uv"}
    assert not [path for path in ours.rglob("pip*") if path.parent.name in {"bin", "site-packages"}]
    for cache in CACHES:
        held = image.root / cache
        assert not held.exists() or not any(path.is_file() for path in held.rglob("*")), cache


def test_it_holds_what_the_lock_file_says_and_no_more(image: Image) -> None:
    folder = "/" + str(packages(image).relative_to(image.root))
    script = f"""
import importlib.metadata
for each in importlib.metadata.distributions(path=[{folder!r}]):
    print(each.name, each.version)
"""
    done = image.run("-c", script, entrypoint=("python3",))
    names_and_versions = (line.split() for line in done.stdout.splitlines())
    found = {
        f"{re.sub('[-_.]+', '-', name).lower()}=={version}" for name, version in names_and_versions
    }
    lines = (ROOT / "requirements" / "runtime.txt").read_text().splitlines()
    locked = [line.removesuffix(" \\") for line in lines if line[:1].isalnum()]
    # What is locked with a condition may be for other machines or other Pythons.
    everywhere = {line for line in locked if ";" not in line}
    ours = {f"zonebridge=={__version__}"}
    assert everywhere | ours <= found <= {line.split()[0] for line in locked} | ours, done.stderr


def test_nothing_of_the_tests_is_in_it(image: Image) -> None:
    names = {path.name for path in files(image, str(packages(image) / "sync"))}
    assert "main.py" in names
    assert not [name for name in names if name.startswith("test_") or name == "conftest.py"]
    for name in ("tests", "trustme", "pytest"):
        assert not (packages(image) / name).exists()
    assert not (image.root / "build").exists()


def test_every_module_of_ours_is_imported_from_bytecode_that_is_there_already(
    image: Image,
) -> None:
    script = """
import importlib, pathlib, pkgutil, psycopg, ssl, sync
for each in pkgutil.walk_packages(sync.__path__, "sync."):
    module = importlib.import_module(each.name)
    assert pathlib.Path(module.__spec__.cached).is_file(), each.name
    print(each.name)
assert psycopg.pq.__impl__ == "binary"
# The authorities that the base trusts are those of connections without one of their own.
assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 50
"""
    done = image.run("-c", script, entrypoint=("python3",))
    assert done.returncode == 0, done.stderr
    found = set(done.stdout.split())
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "sync").rglob("*.py")
    }
    assert found == modules - {"sync"}


def test_a_dry_run_needs_no_place_to_write(image: Image, place: Installation) -> None:
    done = image.run("sync", "--dry-run", readable={PLACE: place.directory})
    assert done.returncode == 0, done.stderr
    assert "Cluster eu (ENFORCED): 4 to create" in done.stdout
    assert not (place.directory / "zonebridge.db").exists()


def test_a_whole_sync_writes_to_its_volumes_alone(
    image: Image, place: Installation, tmp_path: Path
) -> None:
    """Everything else is read-only, /tmp too: whatever wrote elsewhere would fail."""
    store, written = tmp_path / "store", tmp_path / "written"
    store.mkdir()
    written.mkdir()
    place.configure({**_cluster(), "path": "/srv/gitops"})
    keys = {
        "readable": {"/etc/zonebridge": place.directory},
        "writable": {PLACE: store, "/srv/gitops": written},
        "variables": {
            "ZONEBRIDGE_CONFIG": "/etc/zonebridge/zonebridge.yaml",
            "ZONEBRIDGE_STORE__URL": f"sqlite:///{PLACE}/zonebridge.db",
        },
    }
    for arguments in (("db", "upgrade"), ("sync",), ("audit", "verify"), ("db", "check")):
        done = image.run(*arguments, **keys)
        assert done.returncode == 0, (arguments, done.stderr)
    sets = sorted(path.name for path in (written / "globalnetworkset").iterdir())
    assert sets == ["pan.db.yaml", "pan.web.yaml"]
    assert yaml.safe_load((written / "globalnetworkset" / sets[1]).read_bytes())["spec"]["nets"]
    assert f"no changes; {objects(2)} unchanged" in image.run("plan", **keys).stdout
    assert {path.name for path in store.iterdir()} <= {
        "zonebridge.db",
        "zonebridge.db-wal",
        "zonebridge.db-shm",
    }


def _cluster() -> dict[str, object]:
    device_group = {"name": "dg-eu", "mode": "enforced"}
    return {"name": "eu", "kind": "manifests", "device_groups": [device_group]}


def test_the_service_as_process_1_ends_in_good_order(
    image: Image, place: Installation, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    [port] = free_ports(1)
    with (
        log.open("wb") as opened,
        image.running(
            "run",
            log=opened,
            writable={PLACE: place.directory},
            variables={"ZONEBRIDGE_HEALTH__BIND": f"127.0.0.1:{port}"},
        ) as process,
    ):
        until(lambda: len(place.files("us")) == 2 or process.poll() is not None, "a cycle")
        assert process.poll() is None, log.read_text()
        status = Path(f"/proc/{main_process(process)}/status").read_text()
        assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n" in status
        assert "CapBnd:\t0000000000000000\n" in status
        assert status.split("NSpid:\t")[1].split("\n")[0].split()[-1] == "1"
        assert terminate(process) == 0, log.read_text()


def test_a_command_as_process_1_ends_when_asked_to(
    image: Image, place: Installation, tmp_path: Path
) -> None:
    """The kernel gives process 1 no default action: a kubelet would wait out its patience."""
    pipe = place.directory / "zonebridge.yaml"
    pipe.unlink()
    os.mkfifo(pipe)
    # To read and to write at once: whoever reads waits for what never comes.
    keeper = os.open(pipe, os.O_RDWR)
    log = tmp_path / "log"
    with (
        log.open("wb") as opened,
        image.running("plan", log=opened, writable={PLACE: place.directory}) as process,
    ):
        until(lambda: _holds(process, pipe.name) or process.poll() is not None, "it reads")
        assert terminate(process) == 128 + signal.SIGTERM, log.read_text()
    os.close(keeper)


def _holds(process: "subprocess.Popen[bytes]", name: str) -> bool:
    """Whether process 1 of a container has a file of this name open."""
    with suppress(FileNotFoundError):
        opened = Path(f"/proc/{main_process(process)}/fd").iterdir()
        return any(path.readlink().name == name for path in opened)
    return False


def test_the_variables_of_opentelemetry_alone_have_it_export_spans(
    image: Image, place: Installation
) -> None:
    told: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        done = image.run(
            "sync",
            writable={PLACE: place.directory},
            variables={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
        )
        server.shutdown()
        thread.join()
    assert done.returncode == 0, done.stderr
    requests = [ExportTraceServiceRequest.FromString(body) for body in told]
    scopes = [
        scope for each in requests for one in each.resource_spans for scope in one.scope_spans
    ]
    names = {span.name for scope in scopes for span in scope.spans}
    assert {"read", "sync", "live", "plan", "write"} <= names, done.stderr


def test_the_image_is_built_with_what_the_project_is_built_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = (ROOT / "requirements" / "build.in").read_text().split()
    assert wanted == project["build-system"]["requires"]


@pytest.mark.parametrize("engine", ["docker", "podman", "/usr/bin/buildah"])
def test_each_engine_is_told_the_commit_s_time_and_what_the_labels_say(engine: str) -> None:
    """Buildah itself is tried by the image of these tests."""
    told = ["IMAGE=registry.example/zb:1", f"REVISION={REVISION}", "SOURCE_DATE_EPOCH=12"]
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "image", f"ENGINE={engine}", *told],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.replace("\\\n", " ").split()
    assert words[:2] == [engine, "build"]
    # Docker knows no such option: BuildKit takes the time from the argument.
    assert ("--timestamp" in words) == (engine != "docker")
    arguments = {after for word, after in pairwise(words) if word == "--build-arg"}
    [base] = [each for each in arguments if each.startswith("BASE=")]
    assert f"ARG {base}\n" in (ROOT / "Dockerfile").read_text()
    assert arguments == {
        base,
        "SOURCE_DATE_EPOCH=12",
        f"VERSION={__version__}",
        f"REVISION={REVISION}",
    }
    assert words[words.index("--tag") + 1] == "registry.example/zb:1"

"""An installation to try: a configuration, a Panorama document and the installed command."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e import warm
from tests.kubernetes_cluster import free_ports
from tests.words import Word, address, document, group
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.panorama import Panorama

COMMAND = Path(sys.executable).with_name("zonebridge")
SECONDS = 120

# What a shell of the developer may hold and a test must not see.
_NOT_HANDED_DOWN = ("ZONEBRIDGE_", "NO_COLOR", "FORCE_COLOR", "PYTHON")

Groups = Mapping[str, Sequence[str]]
"""Address groups: name -> networks."""

TIER = ("globalnetworkpolicy/firewallpolicy.pan-unknown-zone.yaml", "tier/firewallpolicy.yaml")
"""What a cluster's directory holds of a device group without rules, beside its sets."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """The lines on stderr that are no log."""
        return [line for line in self.err.splitlines() if not line.startswith("{")]


@dataclass(frozen=True, slots=True)
class Running:
    """A `zonebridge run` that answers on `port` and logs to a file."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        """The status and the body that its endpoint answers with."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`, as `name` or `name value value`."""
        status, text = self.get("/metrics")
        assert status == 200
        return {
            " ".join([sample.name, *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def metric(self, name: str) -> float:
        """The sum of a metric of ours over all values of the labels that are not named."""
        wanted = f"zonebridge_{name} "
        return sum(value for each, value in self.metrics().items() if f"{each} ".startswith(wanted))

    def logged(self) -> list[dict[str, Any]]:
        """Every line of the log; anything that is not a JSON object fails."""
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines()]

    def stop(self) -> int:
        """End it in good order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@dataclass(frozen=True, slots=True)
class Installation:
    """A directory with `zonebridge.yaml` and `panorama.xml`.

    The clusters `eu` and `us` stand for the device groups `dg-eu` and `dg-us`.
    """

    directory: Path

    @classmethod
    def in_directory(cls, directory: Path) -> Self:
        directory.mkdir(parents=True)
        made = cls(directory)
        made.configure()
        made.panorama(eu={"web": ["10.1.0.1/32", "10.1.0.2/32"], "db": ["10.2.0.0/24"]})
        return made

    def configure(self, *clusters: str | dict[str, object], **keys: object) -> None:
        """Write the configuration, with clusters by name or whole; `keys` are added to it."""
        configuration = {
            "sources": [{"name": "main", "kind": "file", "path": "panorama.xml"}],
            "clusters": [
                cluster(each) if isinstance(each, str) else each
                for each in clusters or ("eu", "us")
            ],
            **keys,
        }
        (self.directory / "zonebridge.yaml").write_text(
            yaml.safe_dump(configuration), encoding="utf-8"
        )

    def panorama(
        self,
        eu: Groups,
        us: Groups | None = None,
        shared: Groups | None = None,
        rules: Sequence[Word] = (),
    ) -> None:
        """Write the Panorama document; what `us` leaves out is as in `eu`, `rules` are shared."""
        device_groups = {"dg-eu": eu, "dg-us": eu if us is None else us}
        every = (*device_groups.values(), shared or {})
        networks = {net for groups in every for nets in groups.values() for net in nets}
        written = document(
            shared=[
                *(address(net, net) for net in sorted(networks)),
                *_words(shared or {}),
                *rules,
            ],
            groups={name: _words(groups) for name, groups in device_groups.items()},
        )
        self.export(written)

    def export(self, data: bytes) -> None:
        """Let the Panorama document be these bytes; a service that polls never sees half of it."""
        written = self.directory / "panorama.xml.new"
        written.write_bytes(data)
        written.replace(self.directory / "panorama.xml")

    def run(
        self,
        *arguments: str,
        under: Sequence[str] = (),
        cwd: str | Path = "",
        **variables: str,
    ) -> Done:
        """Run `zonebridge` in the directory, through the command `under` where there is one."""
        return self._run([*under, COMMAND, *arguments], variables, cwd)

    def done(self, *arguments: str, **variables: str) -> Done:
        """Run `zonebridge`, which must end with 0."""
        done = self._run([COMMAND, *arguments], variables)
        assert done.code == 0, done.err
        return done

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[bytes]":
        """Begin to run `zonebridge`, output to pipes."""
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.directory,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @contextmanager
    def running(self, *arguments: str, **variables: str) -> Iterator[Running]:
        """Let `zonebridge run`, or what `arguments` say, run as long as the context lasts."""
        [port] = free_ports(1)
        log = self.directory / f"run-{port}.log"
        variables["ZONEBRIDGE_HEALTH__BIND"] = f"127.0.0.1:{port}"
        with log.open("wb") as opened:
            process = subprocess.Popen(
                [COMMAND, *(arguments or ("run",))],
                cwd=self.directory,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=opened,
            )
        started = Running(process, port, log)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with suppress(OSError):
                return started.get("/livez")[0] == 200
            return False

        try:
            until(answers, "the service answers")
            yield started
        finally:
            process.kill()
            process.wait()

    def shell(self, line: str, **variables: str) -> Done:
        """Run a line of bash in which `zonebridge` is the command; a pipe fails with any part."""
        variables["PATH"] = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
        return self._run(["bash", "-o", "pipefail", "-c", line], variables)

    def _run(
        self, command: Sequence[str | Path], variables: Mapping[str, str], cwd: str | Path = ""
    ) -> Done:
        directory, given = self.directory / cwd, environment(**variables)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            # What Python itself reads when it starts, only a new one does.
            if command[0] == COMMAND and all(name.startswith("ZONEBRIDGE_") for name in variables):
                code = warm.run([*map(str, command)], directory, given, out, err, SECONDS)
            else:
                code = subprocess.run(
                    command,
                    cwd=directory,
                    env=given,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    timeout=SECONDS,
                    check=False,
                ).returncode
            out.seek(0)
            err.seek(0)
            return Done(code, out.read().decode(errors="replace"), err.read().decode())

    def put(self, name: str, document: Mapping[str, Any]) -> None:
        """Let another hand write an object into a cluster's directory."""
        folder = self.directory / name / document["kind"].lower()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{document['metadata']['name']}.yaml").write_text(yaml.safe_dump(document))

    def files(self, name: str) -> list[str]:
        """The manifests of sets in a cluster's directory."""
        return sorted(file.name for file in self._sets(name).glob("*.yaml"))

    def beside(self, name: str) -> list[str]:
        """The manifests in a cluster's directory that are none of sets, with their folder."""
        directory = self.directory / name
        found = (file for file in directory.rglob("*.yaml") if file.parent != self._sets(name))
        return sorted(str(file.relative_to(directory)) for file in found)

    def written(self, name: str) -> dict[str, list[str]]:
        """The sets that stand in a cluster's directory: file -> its nets."""
        return {
            file: yaml.safe_load((self._sets(name) / file).read_bytes())["spec"].get("nets", [])
            for file in self.files(name)
        }

    def _sets(self, name: str) -> Path:
        return self.directory / name / "globalnetworkset"

    def records(self, *arguments: str, **variables: str) -> list[dict[str, Any]]:
        """The records that `audit list` finds."""
        listed = self.done("audit", "list", "--output", "json", *arguments, **variables)
        found: list[dict[str, Any]] = listed.json
        return found


def objects(sets: int) -> int:
    """How many objects a cluster holds with so many sets, of a device group without rules."""
    return sets + len(TIER)


def cluster(name: str, group: str = "", **keys: object) -> dict[str, object]:
    """A cluster of manifests in a directory of its name, for the device group of that name."""
    device_group = {"name": group or f"dg-{name}", "mode": "enforced"}
    return {"name": name, "kind": "manifests", "path": name, "device_groups": [device_group]} | keys


def kubernetes(
    name: str, kubeconfig: Path | str, group: str = "", **keys: object
) -> dict[str, object]:
    """A Kubernetes cluster, for the device group of its name or another one."""
    of_kind = {"kind": "kubernetes", "kubeconfig": str(kubeconfig)}
    described = cluster(name, group) | of_kind | keys
    del described["path"]
    return described


def panorama_source(
    place: Installation, panorama: Panorama, authority: Authority, **keys: object
) -> dict[str, object]:
    """A source that is the Panorama, its API key in a file; `keys` of None are left out."""
    file = place.directory / "key"
    file.touch(mode=0o600)
    file.write_text(f"{panorama.api_key}\n")
    source = {
        "name": "main",
        "kind": "panorama",
        "hosts": [panorama.host],
        "port": panorama.port,
        "api_key_file": "key",
        "ca_file": str(authority.ca_file),
        **keys,
    }
    return {key: value for key, value in source.items() if value is not None}


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)


def _words(groups: Groups) -> list[Word]:
    return [group(name, *nets) for name, nets in groups.items()]


def environment(**variables: str) -> dict[str, str]:
    """The variables that commands run with."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(_NOT_HANDED_DOWN)
    }
    return {**kept, **variables}


def everything(directory: Path) -> dict[str, tuple[object, ...]]:
    """Every file and directory under one, and itself: rights, owner, time, content."""
    return {str(path.relative_to(directory)): _state(path) for path in _all(directory)}


def _all(directory: Path) -> Iterable[Path]:
    yield directory
    yield from directory.rglob("*")


def _state(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content = path.read_bytes() if path.is_file() else b""
    return (status.st_mode, status.st_uid, status.st_ino, status.st_mtime_ns, content)


def without_rights() -> Sequence[str]:
    """What to run a command under so that the rights of files hold for it, for root too."""
    if os.geteuid() != 0:
        return ()
    return _usable("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def as_nobody_known() -> Sequence[str]:
    """What to run a command under so that its user has a number and no name."""
    return _usable("unshare", "--user", "--map-user=12345")


def _usable(*command: str) -> Sequence[str]:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"{command[0]} is not allowed here: {tried.stderr.decode().strip()}")
    return command


def sentences(done: Done) -> Iterator[str]:
    """The error sentences on stderr, without `error: `; anything else there fails."""
    for line in done.errors:
        assert line.startswith("error: "), done.err
        yield line.removeprefix("error: ")

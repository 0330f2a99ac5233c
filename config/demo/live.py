"""`make demo-live`: the service on a Panorama that is simulated: a commit, an outage, recovery."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import yaml

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
SECONDS = 120
CLUSTER = "prod-eu"
# No proxy of the user's stands between this and the service.
OPENER = build_opener(ProxyHandler({}))


class Demo:
    """A directory with the demo company's Panorama and one of its clusters."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self.health = f"127.0.0.1:{free_port()}"
        self.document = directory / "panorama.xml"
        self.document.write_bytes((HERE / "panorama.xml").read_bytes())
        self.simulator = (
            "zonebridge-simulator", "panorama.xml", "--bind", f"127.0.0.1:{free_port()}"
        )  # fmt: skip

    def configure(self) -> None:
        """The demo's configuration, with the source that the simulator says it is."""
        source = self.directory / "zonebridge-simulator" / "source.yaml"
        self.until(source.exists, "the simulator starts")
        found = yaml.safe_load((HERE / "zonebridge.yaml").read_bytes())
        found |= yaml.safe_load(source.read_bytes())
        found["clusters"] = [each for each in found["clusters"] if each["name"] == CLUSTER]
        found["clusters"][0]["path"] = CLUSTER
        found["store"] = {"url": "sqlite:///zonebridge.db"}
        found["health"] = {"bind": self.health}
        found["poll_interval"] = "1s"
        (self.directory / "zonebridge.yaml").write_text(yaml.safe_dump(found))

    def commit(self, old: bytes, new: bytes) -> None:
        """Write the document anew, whole at once, as it is after an administrator's change."""
        before = self.document.read_bytes()
        require(before.count(old) == 1, f"the document holds {old.decode()} once")
        written = self.document.with_suffix(".new")
        written.write_bytes(before.replace(old, new))
        written.replace(self.document)

    def zonebridge(self, *arguments: str) -> str:
        """Run one command as a user would; what it says, which is printed too."""
        say(f"$ zonebridge {' '.join(arguments)}")
        said = self._output(*arguments)
        print(said, end="", flush=True)
        return said

    @contextmanager
    def running(self, *command: str) -> Iterator[None]:
        """Let a program run as long as the context lasts; it must end well."""
        process = subprocess.Popen(
            [PROGRAMS / command[0], *command[1:]], stderr=subprocess.STDOUT, **self._as_user()
        )
        self._started[command[0]] = process
        try:
            say(f"$ {' '.join(command)} &")
            yield
            process.terminate()
            require(process.wait(SECONDS) == 0, f"{command[0]} ends with 0")
        finally:
            del self._started[command[0]]
            process.kill()
            process.wait()

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds, as long as what was started runs."""
        end = time.monotonic() + SECONDS
        while not holds():
            for name, process in self._started.items():
                require(process.poll() is None, f"{name} runs")
            require(time.monotonic() < end, what)
            time.sleep(0.3)

    def files(self) -> dict[Path, bytes]:
        """What stands in the cluster's directory."""
        return {file: file.read_bytes() for file in (self.directory / CLUSTER).rglob("*.yaml")}

    def changes(self) -> float:
        """How many changes the service has written, in syncs that have ended."""
        return self.count("zonebridge_changes_total", 'result="applied"')

    def polls(self, result: str) -> float:
        """How often the service asked the Panorama with success, or with failure."""
        return self.count("zonebridge_source_polls_total", f'result="{result}"')

    def count(self, metric: str, label: str) -> float:
        """The sum of what the service counts; 0 as long as it does not answer."""
        try:
            with OPENER.open(f"http://{self.health}/metrics", timeout=SECONDS) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        found = (line for line in lines if line.startswith(metric) and label in line)
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def _output(self, *arguments: str) -> str:
        return subprocess.run(
            [PROGRAMS / "zonebridge", *arguments],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            **self._as_user(),
        ).stdout

    def _as_user(self) -> dict[str, Any]:
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        environment["ZONEBRIDGE_CONFIG"] = "zonebridge.yaml"
        return {"cwd": self.directory, "env": environment, "stdin": subprocess.DEVNULL}


def say(line: str) -> None:
    print(f"\n{line}", flush=True)


def require(holds: bool, what: str) -> None:  # noqa: FBT001 - as `assert`, which -O would remove
    if not holds:
        sys.exit(f"error: it does not hold that {what}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def main() -> None:
    """The first sync, a commit, an outage and its end; each comes about as it is said, or 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="zonebridge-demo-") as directory:
        live(Demo(Path(directory)))
    print("\nA commit was taken up, an outage outlived, and nothing is left running.")


def live(demo: Demo) -> None:
    with ExitStack() as service:
        say("# A Panorama, simulated, with the configuration of the demo company.")
        with demo.running(*demo.simulator):
            demo.configure()
            say("# The service reads it and writes the first state of a cluster.")
            service.enter_context(demo.running("zonebridge", "run"))
            demo.until(demo.changes, "the first sync writes")
            demo.zonebridge("status")
            written = demo.changes()

            say("# An administrator replaces a database server and commits.")
            demo.commit(b"10.20.40.11/32", b"10.20.40.12/32")
            demo.until(lambda: demo.changes() > written, "the commit is written")
            demo.zonebridge("audit", "list", "--object", "pan.db-servers", "--limit", "2")
            said = demo.zonebridge("plan")
            require("version 53, committed by " in said, "the commit is known with who made it")
            require(": no changes" in said, "the service has written all of it")

            committed = demo.files()
            changed = b"10.20.40.12/32" in b"".join(committed.values())
            require(changed, "what stands in the cluster is what was committed")

            say("# The Panorama goes down.")
        demo.until(lambda: demo.polls("failure"), "the outage is seen")
        said = demo.zonebridge("status")
        require("Source main: failed" in said, "the outage is told")
        require(demo.files() == committed, "the cluster stays as it is")
        say("# What stands in the cluster is as it was. The Panorama comes back.")
        before = demo.polls("success")
        with demo.running(*demo.simulator):
            demo.until(lambda: demo.polls("success") > before, "the source is read again")
            said = demo.zonebridge("status")
            require("Source main: read" in said, "it is told that the source answers again")
            require(demo.files() == committed, "the cluster stays as it is")
            demo.zonebridge("audit", "verify")


if __name__ == "__main__":
    main()

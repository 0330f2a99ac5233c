"""A `zonebridge-simulator` that runs beside an installation."""

import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.e2e.installation import COMMAND, SECONDS, Installation, environment, until

SIMULATOR = COMMAND.with_name("zonebridge-simulator")


@dataclass(frozen=True)
class Simulator:
    """One that runs in an installation's directory, on its `panorama.xml`."""

    process: "subprocess.Popen[bytes]"
    place: Installation

    @property
    def directory(self) -> Path:
        return self.place.directory / "zonebridge-simulator"

    @property
    def said(self) -> str:
        """What it said on stdout until now."""
        return (self.place.directory / "simulator.out").read_text()

    @property
    def complained(self) -> str:
        return (self.place.directory / "simulator.err").read_text()

    @property
    def source(self) -> dict[str, Any]:
        """What it says that a configuration shall hold."""
        printed = self.said.split("\n\n")[1]
        assert printed.strip() == (self.directory / "source.yaml").read_text().strip()
        found: dict[str, Any] = yaml.safe_load(printed)
        return found

    def get(self, path: str, **headers: str) -> tuple[int, str, str | None]:
        """The status, the body and the tag of a page."""
        port = self.source["sources"][0]["port"]
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS, context=context) as answer:
                return answer.status, answer.read().decode(), answer.headers["ETag"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.headers["ETag"]

    def candidate(self) -> str:
        key = (self.directory / "api-key").read_text().strip()
        query = urlencode({"type": "config", "action": "get", "xpath": "/config/shared"})
        return self.get(f"/api/?{query}", **{"X-PAN-KEY": key})[1]


@contextmanager
def simulator(
    place: Installation, *arguments: str, command: Path = SIMULATOR
) -> Iterator[Simulator]:
    """Serve the installation's document, as long as the context lasts."""
    out, err = (place.directory / f"simulator.{name}" for name in ("out", "err"))
    with out.open("wb") as said, err.open("wb") as complained:
        process = subprocess.Popen(
            [command, "panorama.xml", *(arguments or ("--bind", "127.0.0.1:0"))],
            cwd=place.directory,
            env=environment(PYTHONUNBUFFERED="1"),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=complained,
        )
    started = Simulator(process, place)

    def serves() -> bool:
        assert process.poll() is None, started.complained
        return "in its environment.\n" in started.said

    try:
        until(serves, "it serves")
        yield started
    finally:
        process.kill()
        process.wait()

"""How many calls a large Panorama is read with, and how long that takes, beside pan-os-python.

    python -m benchmarks.panorama

The simulator of the tests serves the document over HTTPS from a process of its own. The bulk
reader and pan-os-python's object tree (refreshall of the same kinds, the running configuration)
read it in turns, each in a fresh process, with and without the time that a call to a Panorama
somewhere else takes. The table gives ratios of each turn, and their median: the machine's own
seconds say little. Nothing is resolved on either side.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

import structlog

from benchmarks.reading import peak_mib

if TYPE_CHECKING:
    from sync.sources.panorama.connection import PanoramaConnection

# What a reading hands back: something that keeps its objects alive, and how many it found.
Reading = Callable[[], tuple[object, int]]


@dataclass(frozen=True)
class Served:
    """Where the simulator listens, the key it takes, and the authority of its certificate."""

    port: int
    key: str
    ca_file: str


@dataclass(frozen=True)
class Measured:
    """One reading in a process of its own.

    `seconds` pass from the first call to the finished objects, `processor` of them are this
    process's own work; `peak` is its largest resident memory in MiB less what it began with.
    """

    calls: int
    seconds: float
    processor: float
    peak: float
    objects: int


# --- the sides ------------------------------------------------------------------------------------


def zonebridge(line: PanoramaConnection, key: str) -> Reading:
    """The bulk reader: the parts of the configuration between two looks at its version, and what
    it asks besides (the firewalls and Panorama's own App-IDs), with nothing known before."""
    from sync.sources import NoMemory
    from sync.sources.panorama.client import ApiKey, PanoramaHost
    from sync.sources.panorama.registered_ips import RegistrationCache
    from sync.sources.panorama.source import PanoramaSource

    member = PanoramaHost(line, lambda: ApiKey(key))
    source = PanoramaSource(
        "main",
        [member],
        timedelta(minutes=15),
        timedelta(seconds=30),
        device_groups=(),
        devices=(),
        last_told=RegistrationCache("main", NoMemory(), 1800),
    )

    def read() -> tuple[object, int]:
        configuration = source.read().configuration
        groups = configuration.device_groups.values()
        scopes = [configuration.shared, *(group.scope for group in groups)]
        rulebases = [scope.rulebases for scope in scopes]
        many = sum(len(scope.objects.addresses) for scope in scopes)
        return configuration, many + sum(len(each.pre) + len(each.post) for each in rulebases)

    return read


def kind_by_kind(line: PanoramaConnection, key: str) -> Reading:
    """pan-os-python as its documentation has it: a call for each kind in each scope."""
    from tests.object_tree import Verified, refresh

    tree = Verified(line, key)

    def read() -> tuple[object, int]:
        refresh(tree)
        return tree, _many(tree)

    return read


def whole_groups(line: PanoramaConnection, key: str) -> Reading:
    """The fewest calls that pan-os-python can do with: all device groups whole in one of them."""
    from panos.panorama import DeviceGroup

    from tests.object_tree import Verified, refresh_shared, refresh_templates

    tree = Verified(line, key)

    def read() -> tuple[object, int]:
        refresh_shared(tree)
        DeviceGroup.refreshall(tree, running_config=True)
        refresh_templates(tree)
        return tree, _many(tree)

    return read


def _many(tree: object) -> int:
    from panos.objects import AddressGroup, AddressObject
    from panos.policies import SecurityRule

    kinds = (AddressObject, AddressGroup, SecurityRule)
    found = [tree.findall(kind, recursive=True) for kind in kinds]  # type: ignore[attr-defined]  # pan-os-python has no types
    return sum(map(len, found))


OURS = "zonebridge"
SIDES: dict[str, Callable[[PanoramaConnection, str], Reading]] = {
    OURS: zonebridge,
    "refreshall, kind by kind": kind_by_kind,
    "refreshall, whole groups": whole_groups,
}


# --- measuring ------------------------------------------------------------------------------------


def measure_here(side: str, served: Served, latency: float) -> Measured:
    """One reading in this very process, which should be a fresh one."""
    # Standard output is the result's: the simulator has no App-IDs of its own, which is warned of.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    from sync.sources.panorama.connection import AT_ONCE, PanoramaConnection, tls_context

    class Far(PanoramaConnection):
        """A line that counts its calls, each of which is on its way for a while."""

        calls = 0

        def _answer(self, form: Mapping[str, str], key: str | None) -> bytes:
            self.calls += 1
            time.sleep(latency)
            return super()._answer(form, key)

    context = tls_context("main", Path(served.ca_file).read_bytes(), verify=True)
    line = Far("main", "127.0.0.1", served.port, context, BoundedSemaphore(AT_ONCE))
    read = SIDES[side](line, served.key)
    before = peak_mib()
    start, worked = time.perf_counter(), time.process_time()
    kept, objects = read()
    seconds, processor = time.perf_counter() - start, time.process_time() - worked
    peak = peak_mib() - before
    del kept
    return Measured(line.calls, seconds, processor, peak, objects)


def measure(side: str, served: Served, latency: float) -> Measured:
    """One reading in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.panorama", "--side", side]
    command += ["--served", json.dumps(vars(served)), "--latency", str(latency)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} could not read the simulator:\n{done.stderr}")
    return Measured(**json.loads(done.stdout))


def serve(path: Path) -> None:
    """The simulator, until its standard input ends; where it is stands on its output."""
    from zonebridge_simulator.authority import Authority
    from zonebridge_simulator.panorama import Panorama

    authority = Authority.make(path.parent)
    with Panorama(path.read_bytes(), authority) as panorama:
        served = Served(panorama.port, panorama.api_key, str(authority.ca_file))
        print(json.dumps(vars(served)), flush=True)
        sys.stdin.read()


@contextmanager
def serving(path: Path) -> Iterator[Served]:
    """The simulator in a process of its own: it would take time from what is measured."""
    command = [sys.executable, "-m", "benchmarks.panorama", "--serve", str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield Served(**json.loads(server.stdout.readline()))
        finally:
            # The end of its input is the end of its work.
            server.communicate()


def table(rounds: list[dict[str, Measured]]) -> str:
    """Each other side as a multiple of ours: the median of all turns, with the least and most."""
    header = f"{'':26}{'calls':>8}{'time':>26}{'processor':>26}{'memory':>10}"
    lines = [header]
    for side in SIDES:
        line = f"{side:26}{rounds[0][side].calls:8}"
        if side == OURS:
            lines.append(line)
            continue
        for name in ("seconds", "processor"):
            ratios = [getattr(each[side], name) / getattr(each[OURS], name) for each in rounds]
            line += f"{f'{median(ratios):.1f}× ({min(ratios):.1f} to {max(ratios):.1f})':>26}"
        memory = median(each[side].peak / each[OURS].peak for each in rounds)
        lines.append(f"{line}{memory:9.1f}×")
    return "\n".join(lines)


def main() -> None:
    """Measure every side in turn and print the tables."""
    parser = argparse.ArgumentParser(description="Measure how a large Panorama is read.")
    parser.add_argument("--runs", type=int, default=3, help="readings of each side")
    parser.add_argument("--addresses", type=int, default=50_000)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds, in the second table")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--served", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    if options.side is not None:
        served = Served(**options.served)
        print(json.dumps(vars(measure_here(options.side, served, options.latency))))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "panorama.xml"
        size = f"--addresses={options.addresses}"
        command = [sys.executable, "-m", "benchmarks.generate", str(path), size]
        subprocess.run(command, check=True)
        with serving(path) as served:
            compare(served, options.runs, [0.0, options.latency])


def compare(served: Served, runs: int, latencies: list[float]) -> None:
    """Every side so many times, in turns, so that a busy minute does not fall on one alone."""
    for latency in latencies:
        rounds = [{side: measure(side, served, latency) for side in SIDES} for _ in range(runs)]
        print(f"A call takes {latency * 1000:.0f} ms longer than on loopback, {runs} turns:")
        print(f"{table(rounds)}\n")
        if len({each.objects for found in rounds for each in found.values()}) > 1:
            print("They did not find the same, so the comparison is not fair.\n")


if __name__ == "__main__":
    main()

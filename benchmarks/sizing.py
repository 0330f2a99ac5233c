"""What the service needs for clusters of some sizes: memory, processor time and disk.

    python -m benchmarks.sizing

For each size `zonebridge run` as it is installed, in a process of its own, with a store in SQLite,
before a real kube-apiserver and etcd that hold nothing of ours: a first sync, a rest, and one
changed address. Memory and processor time are those of that process alone, as the kernel counts
them, and do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.generate import generate

SIZES = (1_000, 5_000, 20_000)
"""Objects, nearly: address groups are four fifths of them."""

_ZONES = 20
_COMMAND = str(Path(sys.executable).with_name("zonebridge"))
_LONGEST_SECONDS = 7_200.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used so far: seconds of processor time, and at most so many MiB."""

    seconds: float
    peak: float

    @classmethod
    def by(cls, process: int) -> Used:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{process}/status").read_text()
        ticks = int(fields[11]) + int(fields[12])
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return cls(ticks / _TICKS, int(found[1]) / 1024)


def measure(directory: Path, objects: int, rest: float) -> None:
    """Run the service for one size and print its row."""
    groups = objects * 4 // 5
    source = directory / "panorama.xml"
    source.write_bytes(
        generate(
            addresses=objects * 4,
            groups=groups,
            rules=objects * 2 // 5,
            one_device_group=True,
            wildcards=False,
        )
    )
    configuration = {
        "sources": [{"name": "main", "kind": "file", "path": source.name}],
        "clusters": [
            {
                "name": "bench",
                "kind": "kubernetes",
                "kubeconfig": "kubeconfig",
                "pod_cidrs": ["100.64.0.0/10"],
                "device_groups": [{"name": "site-a", "mode": "enforced"}],
            }
        ],
        "zones": {
            "definitions": {
                f"zone-{number:02}": {"networks": [f"10.{number * 8}.0.0/13"]}
                for number in range(1, _ZONES + 1)
            }
        },
        "health": {"bind": f"127.0.0.1:{_free_port()}"},
    }
    (directory / "zonebridge.yaml").write_text(yaml.safe_dump(configuration))
    with _running(directory) as service:
        _until(lambda: _succeeded(directory) is not None, service, directory)
        first = Used.by(service.pid)
        written, store = _stored(directory)
        time.sleep(rest)
        rested = Used.by(service.pid)
        synced = _succeeded(directory)
        document = source.read_bytes()
        member = re.search(rb"<static>\s*<member>(site-a-host-\d+)<", document)
        assert member
        entry = rb'(<entry name="%s">).*?(</entry>)' % member[1]
        address = rb"\1<ip-netmask>10.20.30.40</ip-netmask>\2"
        changed = re.sub(entry, address, document, count=1, flags=re.DOTALL)
        source.with_suffix(".new").write_bytes(changed)
        source.with_suffix(".new").replace(source)
        _until(lambda: _succeeded(directory) != synced, service, directory)
        after = Used.by(service.pid)
        grown = _stored(directory)[1] - store
    print(
        f"| {written:,} | {after.peak:.0f} MiB | {first.seconds:.0f} s "
        f"| {(rested.seconds - first.seconds) / rest:.1%} of a core "
        f"| {after.seconds - rested.seconds:.1f} s | {store / 1024**2:.0f} MiB "
        f"| {grown / 1024:.0f} KiB |",
        flush=True,
    )


@contextmanager
def _running(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([_COMMAND, "run"], cwd=directory, stdout=log, stderr=log)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _succeeded(directory: Path) -> str | None:
    """When the cluster was last brought in sync; None if it is not."""
    command = [_COMMAND, "status", "--output", "json"]
    done = subprocess.run(command, cwd=directory, capture_output=True, check=False)
    if done.returncode:
        return None  # the store is not made yet
    (cluster,) = json.loads(done.stdout)["clusters"]
    return str(cluster["succeeded"]) if cluster["state"] == "in sync" else None


def _until(done: Callable[[], bool], service: subprocess.Popen[bytes], directory: Path) -> None:
    end = time.monotonic() + _LONGEST_SECONDS
    while not done():
        if service.poll() is not None or time.monotonic() > end:
            tail = (directory / "log").read_text()[-2_000:]
            raise SystemExit(f"the service did not bring the cluster in sync: {tail}")
        time.sleep(2)


def _stored(directory: Path) -> tuple[int, int]:
    """The objects that the store says stand in the cluster, and its size in bytes."""
    with closing(sqlite3.connect(directory / "zonebridge.db")) as store:
        ((objects,),) = store.execute("SELECT count(*) FROM objects")
        ((pages,),) = store.execute("PRAGMA page_count")
        ((size,),) = store.execute("PRAGMA page_size")
    return objects, pages * size


def main() -> None:
    """Measure each size in turn and print the table."""
    from tests.kubernetes_cluster import install, started

    parser = argparse.ArgumentParser(description="Measure what the service needs.")
    parser.add_argument("--objects", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rest", type=float, default=120, help="seconds without any change")
    options = parser.parse_args()
    print("| objects | memory | first sync | at rest | one change | store | its growth |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for objects in options.objects:
        with started() as plane, tempfile.TemporaryDirectory() as made:
            directory = Path(made)
            plane.kubeconfig(path=directory / "kubeconfig")
            install(plane)
            measure(directory, objects, options.rest)


if __name__ == "__main__":
    main()

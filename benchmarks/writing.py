"""How fast a first sync writes a cluster, beside yardsticks.

    python -m benchmarks.writing

A real kube-apiserver and etcd; the same sets, created by a loop of eight threads over the official
client, by such a loop over its bare connections with everything prepared, by `zonebridge sync`, by
`kubectl apply --server-side`, and by `curl --parallel` over eight connections, in which there is no
Python and which leaves no record: of all these it comes nearest to the server's own time. A sync is
timed twice: from the export, which it has to read, translate and compare with the cluster, to the
last record of its trail; and from the first of these records, when its plan is there and writing
begins as the others' does. They take turns, each round in the other direction, and the table gives
the ratios of sides that ran in the same round: between rounds a shared machine may change its speed
by half. All share its processors with the server, so a rate is one over the processor time that an
object costs on both sides.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from sync.clusters.kubernetes.auth.kubeconfig import Access

Seconds = dict[str, float]
"""What was timed, and how long it took."""

THREADS = 8
RESOURCE = "/apis/projectcalico.org/v3/globalnetworksets"


def zonebridge(directory: Path) -> Seconds:
    """A first sync into a new SQLite store."""
    from sync import assembly
    from sync.reconcile.cycle import run_cycle
    from sync.settings import load

    settings = load(directory / "zonebridge.yaml", {})
    with assembly.store_of(settings, write=True) as store:
        run = store.run("benchmark")
        began = time.time()
        run.begin()
        (result,) = run_cycle(
            assembly.sources(settings, store),
            assembly.clusters(settings, store, write=True, only=()),
            store,
            assembly.options(settings, store),
            run,
            partial(store.lease, holder="benchmark", ttl=settings.lease_ttl),
            lambda: False,
        )
        run.finish("done", {})
        ended = time.time()
    if result.error or result.failed or not result.applied:
        raise SystemExit(f"the sync failed: {result.detail}")
    with closing(sqlite3.connect(directory / "zonebridge.db")) as trail:
        ((first,),) = trail.execute("SELECT min(time) FROM records WHERE chain = 'bench'")
    writing = datetime.fromisoformat(first).timestamp()
    return {"the writes of a sync": ended - writing, "a whole sync": ended - began}


def bare(directory: Path) -> Seconds:
    """Every document sent as it is, by threads that share one pool of connections."""
    from sync.clusters.kubernetes.auth.kubeconfig import connect

    client = connect(access(directory)).client
    configuration = client.configuration
    headers = {
        "Content-Type": "application/json",
        "Authorization": configuration.auth_settings()["BearerToken"]["value"],
    }
    bodies = [line.encode() for line in (directory / "sets.jsonl").read_text().splitlines()]

    def create(body: bytes) -> int:
        answer = client.rest_client.pool_manager.request(
            "POST", f"{configuration.host}{RESOURCE}", body=body, headers=headers
        )
        return int(answer.status)

    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        statuses = set(pool.map(create, bodies))
    seconds = time.perf_counter() - started
    if statuses != {201}:
        raise SystemExit(f"creates were answered with {statuses}")
    return {"a loop over bare connections": seconds}


def client(directory: Path) -> Seconds:
    """The official Python client, as one would write the loop with it."""
    from kubernetes.client import CustomObjectsApi

    from sync.clusters.kubernetes.auth.kubeconfig import connect

    api = CustomObjectsApi(connect(access(directory)).client)
    documents = [json.loads(line) for line in (directory / "sets.jsonl").read_text().splitlines()]
    create = partial(
        api.create_cluster_custom_object, "projectcalico.org", "v3", "globalnetworksets"
    )
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(create, documents))
    return {"a loop over the official client": time.perf_counter() - started}


def access(directory: Path) -> Access:
    """The kubeconfig of the benchmark's cluster."""
    from sync.clusters.kubernetes.auth.kubeconfig import Access

    return Access(
        cluster="bench",
        kubeconfig=directory / "kubeconfig",
        context=None,
        exec_plugins=(),
        exec_timeout=timedelta(seconds=10),
        insecure_skip_tls_verify=False,
    )


def kubectl(directory: Path) -> Seconds:
    """`kubectl apply --server-side` of one file with every document."""
    from tests.controlplane.build import find

    program = find("kubectl")
    if program is None:
        raise SystemExit("kubectl is not built: run `make controlplane`")
    command = [str(program), "apply", "--server-side", "-f", str(directory / "sets.yaml")]
    started = time.perf_counter()
    subprocess.run(
        command,
        env={**os.environ, "KUBECONFIG": str(directory / "kubeconfig")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return {"kubectl apply --server-side": time.perf_counter() - started}


def curl(directory: Path) -> Seconds:
    """`curl --parallel` with each document as a request of its own."""
    program = shutil.which("curl")
    if program is None:
        raise SystemExit("curl is missing: install it, for instance with apt-get install curl")
    kubeconfig = yaml.safe_load((directory / "kubeconfig").read_text())
    [cluster], [user] = kubeconfig["clusters"], kubeconfig["users"]
    authority = directory / "authority.crt"
    authority.write_bytes(base64.b64decode(cluster["cluster"]["certificate-authority-data"]))
    bodies = directory / "bodies"
    bodies.mkdir(exist_ok=True)
    shared = [
        f"url = {cluster['cluster']['server']}{RESOURCE}",
        f"cacert = {authority}",
        f'header = "Authorization: Bearer {user["user"]["token"]}"',
        'header = "Content-Type: application/json"',
        "http1.1",
        "output = /dev/null",
        'write-out = "%{http_code}\\n"',
    ]
    requests = []
    for number, line in enumerate((directory / "sets.jsonl").read_text().splitlines()):
        body = bodies / f"{number}.json"
        body.write_text(line)
        requests.append("\n".join([*shared, f"data-binary = @{body}"]))
    (directory / "curl.config").write_text("\nnext\n".join(requests))
    command = [program, "--parallel", "--parallel-max", str(THREADS)]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--config", str(directory / "curl.config")], capture_output=True, check=False
    )
    seconds = time.perf_counter() - started
    if (statuses := Counter(done.stdout.split())) != {b"201": len(requests)}:
        raise SystemExit(f"{statuses}: {done.stderr.decode()[-1_000:]}")
    return {"curl --parallel": seconds}


SIDES = {
    "bare": bare,
    "client": client,
    "zonebridge": zonebridge,
    "curl": curl,
    "kubectl": kubectl,
}


def main() -> None:
    """Measure every side in turn and print the table."""
    parser = argparse.ArgumentParser(description="Measure how fast a first sync writes.")
    parser.add_argument("--sets", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=5, help="of each side")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(SIDES[options.side](options.directory)))
        return
    compare(options.sets, options.runs)


def compare(sets: int, runs: int) -> None:
    """Every side `runs` times, each time into an empty cluster."""
    from tests.kubernetes_cluster import install, started

    taken: defaultdict[str, list[float]] = defaultdict(list)
    with started() as plane, tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        plane.kubeconfig(path=directory / "kubeconfig")
        install(plane)
        prepare(directory, sets)
        for number in range(runs):
            for side in list(SIDES)[:: -1 if number % 2 else 1]:
                (directory / "zonebridge.db").unlink(missing_ok=True)
                install(plane)
                for what, seconds in measure(side, directory).items():
                    taken[what].append(seconds)
    print(f"{sets:,} sets into an empty cluster, {runs} rounds: median (least to most)")
    ours = [what for what in taken if what.endswith("sync")]
    for mine, other in product(ours, taken.keys() - ours):
        ratios = [theirs / its for its, theirs in zip(taken[mine], taken[other], strict=True)]
        print(
            f"  rate of {mine} / rate of {other}: {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    for what, all_seconds in taken.items():
        print(f"  {what}: {', '.join(f'{sets / each:.0f}' for each in all_seconds)} sets a second")


def prepare(directory: Path, sets: int) -> None:
    """The same sets for every side: as a Panorama document, as JSON lines, as YAML."""
    from sync import assembly
    from sync.reconcile.cycle import plan_cycle
    from sync.settings import load
    from tests.words import address, document, group

    addresses = [
        address(f"a{number}", f"10.{number >> 8}.{number & 255}.0/24") for number in range(2_000)
    ]
    groups = [
        group(f"g{number}", *(f"a{(number * 7 + member * 31) % 2_000}" for member in range(20)))
        for number in range(sets)
    ]
    (directory / "panorama.xml").write_bytes(document(addresses, {"dg": groups}))
    configuration = {
        "sources": [{"name": "main", "kind": "file", "path": "panorama.xml"}],
        "clusters": [
            {
                "name": "bench",
                "kind": "kubernetes",
                "kubeconfig": "kubeconfig",
                "device_groups": [{"name": "dg", "mode": "staged"}],
            }
        ],
    }
    (directory / "zonebridge.yaml").write_text(yaml.safe_dump(configuration))
    settings = load(directory / "zonebridge.yaml", {})
    with assembly.store_of(settings, write=False) as store:
        (result,) = plan_cycle(
            assembly.sources(settings, store),
            assembly.clusters(settings, store, write=False, only=()),
            store,
            assembly.options(settings, store),
        )
    if result.plan is None:
        raise SystemExit(f"there is no plan: {result.detail}")
    # zonebridge writes a tier and its last policy besides.
    documents = [
        change.after
        for change in result.plan.changes
        if change.after and change.kind == "GlobalNetworkSet"
    ]
    (directory / "sets.jsonl").write_bytes(b"".join(each.body + b"\n" for each in documents))
    (directory / "sets.yaml").write_text(
        yaml.dump_all((each.document() for each in documents), Dumper=yaml.CSafeDumper)
    )


def measure(side: str, directory: Path) -> Seconds:
    """One side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.writing", "--side", side]
    done = subprocess.run(
        [*command, "--directory", str(directory)], stdout=subprocess.PIPE, check=True
    )
    seconds: Seconds = json.loads(done.stdout)
    return seconds


if __name__ == "__main__":
    main()

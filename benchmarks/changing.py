"""What one change costs a service in a cluster of thousands of objects, beside its first sync.

    python -m benchmarks.changing

Each sync goes the way of the service: a poll that reads the source anew, the cluster read whole,
everything translated, proven and compared, what changed written, and the snapshot remembered. The
API server is a stand-in, so that what is measured is ours alone: the processor's time of one
process, that of the writers included. The last two changes are those of a process that has seen
one before.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median

from benchmarks.generate import generate
from benchmarks.reading import peak_mib

_ZONES = 20
_PODS = "100.64.0.0/10"
_TTL = timedelta(hours=1)
_HOST = b"site-a-host-01000"
_RULE = b"site-a-rule-00500"

Figures = dict[str, float]


def _with_address(text: bytes) -> Callable[[bytes], bytes]:
    def changed(document: bytes) -> bytes:
        entry = rb'(<entry name="%s">).*?(</entry>)' % _HOST
        made = rb"\1<ip-netmask>%s</ip-netmask>\2" % text
        return re.sub(entry, made, document, count=1, flags=re.DOTALL)

    return changed


def _turned(document: bytes) -> bytes:
    """The document where an allow is a deny, or the other way round."""
    found = re.search(rb'<entry name="%s".*?<action>(\w+)' % _RULE, document, re.DOTALL)
    assert found
    action = b"deny" if found[1] == b"allow" else b"allow"
    return document[: found.start(1)] + action + document[found.end(1) :]


SYNCS: dict[str, Callable[[bytes], bytes] | None] = {
    "first sync": None,
    "nothing changed": None,
    "first change": _with_address(b"10.20.30.40"),
    "one address": _with_address(b"10.20.30.41"),
    "one rule": _turned,
}


def measure_here(directory: Path) -> Figures:
    """All syncs in this very process, which should be a fresh one: seconds, counts, MiB."""
    from sync.calico.ownership import owner_labels
    from sync.cli.main import collect_seldom
    from sync.clusters.kubernetes.reader import KubernetesReader
    from sync.clusters.kubernetes.writer import KubernetesWriter
    from sync.net.addresses import network
    from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
    from sync.reconcile.cycle import sync_cluster
    from sync.reconcile.desired import Cluster
    from sync.reconcile.device_groups import TierBinding
    from sync.reconcile.result import note_cluster
    from sync.service.sources import PolledSource
    from sync.sources.export import ExportSource
    from sync.store import open_store
    from sync.translate.compiler import Options
    from tests.kubernetes_stand_in import StandIn

    collect_seldom()
    document = directory / "panorama.xml"
    api = StandIn("bench")
    figures: Figures = {}
    with open_store(f"sqlite:///{directory / 'zonebridge.db'}") as store:
        owner = owner_labels("bench", store.uuid)
        definitions = {
            f"zone-{number:02}": ZoneDefinition(networks=(f"10.{number * 8}.0.0/13",))
            for number in range(1, _ZONES + 1)
        }
        options = Options(
            (),
            registered_known=True,
            owner=owner,
            rules=RuleOptions(),
            zones=ZoneOptions(definitions=definitions),
        )
        cluster = Cluster(
            "bench",
            (TierBinding("main", "site-a", mode="enforced"),),
            KubernetesReader(api, owner),
            lambda remaining, stopping: KubernetesWriter(
                api, owner, remaining=remaining, stopping=stopping, seconds=20
            ),
            None,
            repair_drift=True,
            pod_cidrs=network(_PODS),
        )
        source = PolledSource(ExportSource("main", document), store.memory("main"))
        with store.lease("bench", "benchmark", _TTL) as lease:
            for what, change in SYNCS.items():
                if change:
                    document.write_bytes(change(document.read_bytes()))
                began = time.process_time()
                source.poll()
                source.remember()
                run = store.run("benchmark")
                read = {"main": source.last_good}
                result = sync_cluster(cluster, read, store, options, run, lease, lambda: False)
                run.finish("done", {})
                note_cluster(store, result)
                figures[what] = time.process_time() - began
                if not result.succeeded or bool(result.applied) == (what == "nothing changed"):
                    raise SystemExit(f"{what}: {result.detail}")
                figures[f"writes, {what}"] = len(result.applied)
                figures[f"memory after, {what}"] = _resident_mib()
    figures["objects"] = sum(map(len, api.kept.values()))
    figures["peak memory"] = peak_mib()
    return figures


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def compare(directory: Path, document: bytes, runs: int) -> None:
    """Measure, each run in a process of its own, and print the figures."""
    taken: list[Figures] = []
    for _ in range(runs):
        (directory / "panorama.xml").write_bytes(document)
        (directory / "zonebridge.db").unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.changing", "--directory", str(directory)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        taken.append(json.loads(done.stdout))
    print(f"{taken[0]['objects']:,.0f} objects, {runs} runs: median (least to most)")
    for what in [*SYNCS][1:]:
        ratios = [run[what] / run["first sync"] for run in taken]
        print(
            f"  {what} / first sync: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    for what in SYNCS:
        seconds = ", ".join(f"{run[what]:.1f}" for run in taken)
        writes, memory = taken[0][f"writes, {what}"], taken[0][f"memory after, {what}"]
        print(f"  {what}: {seconds} s, {writes:.0f} writes, {memory:.0f} MiB after it")
    print(f"  peak memory: {taken[0]['peak memory']:.0f} MiB")


def main() -> None:
    """Generate the document, measure, print."""
    parser = argparse.ArgumentParser(description="Measure what one change costs a service.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--addresses", type=int, default=20_000)
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--rules", type=int, default=2_000)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.directory is not None:
        print(json.dumps(measure_here(options.directory)))
        return
    document = generate(
        addresses=options.addresses,
        groups=options.groups,
        rules=options.rules,
        one_device_group=True,
        wildcards=False,
    )
    with tempfile.TemporaryDirectory() as directory:
        compare(Path(directory), document, options.runs)


if __name__ == "__main__":
    main()

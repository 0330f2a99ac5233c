"""How long a report takes beside translating alone, each part of it.

    python -m benchmarks.reporting

One device group sees everything; its 20 zones have configured networks, and the cluster knows
where its pods are. Each run has a process of its own; times are of the processor, the table gives
the median of the ratios within a run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.generate import generate

_ZONES = 20
_PODS = "100.64.0.0/10"

Figures = dict[str, float]


def measure_here(path: Path) -> Figures:
    """One run in this very process, which should be a fresh one: seconds of each part."""
    from sync.firewall.effective import effective
    from sync.firewall.zone_networks import NOTHING
    from sync.net.addresses import network
    from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
    from sync.reconcile.desired import rolled_out
    from sync.reconcile.verification import judged_groups, settings_of
    from sync.render.page import Sheet, html
    from sync.sources.export import ExportSource
    from sync.translate.compiler import Options
    from sync.translate.network_sets import Target
    from sync.verify.matrix import matrices

    definitions = {
        f"zone-{number:02}": ZoneDefinition(networks=(f"10.{number * 8}.0.0/13",))
        for number in range(1, _ZONES + 1)
    }
    options = Options(
        (),
        registered_known=True,
        owner=(("app.kubernetes.io/managed-by", "zonebridge"),),
        rules=RuleOptions(),
        zones=ZoneOptions(definitions=definitions),
        pod_cidrs=network(_PODS),
    )
    configuration = ExportSource("main", path).read().configuration
    device_group = effective(configuration, "site-a")
    target = Target("main", device_group, "firewallpolicy", 101, "enforced", NOTHING)
    taken: Figures = {}
    began = time.process_time()

    def done(part: str) -> None:
        nonlocal began
        taken[part] = time.process_time() - began
        began = time.process_time()

    rollout, report = rolled_out("cluster", [target], options, {})
    done("translate")
    documents = [each.document() for each in rollout.manifests.values()]
    found = matrices(judged_groups([target]), documents, settings_of(options))
    done("who may reach whom")
    html([replace(Sheet(report), matrices=tuple(found))])
    done("the page")
    return taken


def main() -> None:
    """Generate the document, measure, print."""
    parser = argparse.ArgumentParser(description="Measure how long a report takes.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rules", type=int, default=3_000)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file is not None:
        print(json.dumps(measure_here(options.file)))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "panorama.xml"
        path.write_bytes(
            generate(
                addresses=options.rules * 5,
                groups=options.rules // 2,
                rules=options.rules,
                one_device_group=True,
                wildcards=False,
            )
        )
        command = [sys.executable, "-m", "benchmarks.reporting", "--file", str(path)]
        runs: list[Figures] = []
        for _ in range(options.runs):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout))
    print(f"{'':24}{'ratio to translating':>24}")
    for part in [*runs[0]][1:]:
        print(f"{part:24}{median(run[part] / run['translate'] for run in runs):23.2f}×")


if __name__ == "__main__":
    main()

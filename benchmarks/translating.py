"""How long a large rulebase takes to translate and plan, beside reading and resolving it.

    python -m benchmarks.translating

One device group sees everything; its 20 zones have configured networks, and the cluster knows
where its pods are, as a cluster with Calico's IPPools does. Each run has a process of its own;
times are of the processor, the table gives the median of the ratios within a run.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.generate import generate
from benchmarks.reading import peak_mib

_ZONES = 20
_PODS = "100.64.0.0/10"

Figures = dict[str, float]


def measure_here(path: Path) -> Figures:
    """One run in this very process, which should be a fresh one: seconds, counts, bytes."""
    from sync.calico.references import DIRECTIONS, rules
    from sync.calico.validator import validate
    from sync.firewall.effective import effective
    from sync.firewall.groups import resolve_groups
    from sync.firewall.zone_networks import NOTHING
    from sync.net.addresses import network
    from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
    from sync.plan.differences import differences
    from sync.plan.plan import make_plan
    from sync.reconcile.desired import rolled_out
    from sync.sources.export import ExportSource
    from sync.translate.compiler import Options
    from sync.translate.network_sets import Target

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
    stages: Figures = {}
    gc.collect()
    began = time.process_time()

    def done(stage: str) -> None:
        nonlocal began
        stages[stage] = time.process_time() - began
        began = time.process_time()

    configuration = ExportSource("main", path).read().configuration
    device_group = effective(configuration, "site-a")
    done("read")
    resolve_groups(device_group.objects.addresses, registered_known=True)
    done("resolve")
    target = Target("main", device_group, "firewallpolicy", 101, "enforced", NOTHING)
    found = rolled_out("cluster", [target], options, {})[0]
    # It resolves the groups itself, and that is on the other side of the comparison already.
    began += stages["resolve"]
    done("translate")
    problems = [each for manifest in found.manifests.values() for each in validate(manifest)]
    if problems:
        raise SystemExit(f"what was translated is not valid: {problems[0]}")
    done("validate")
    plan = make_plan(
        "cluster", [], differences(found.manifests, {}, {}), [], repair_drift=True, live={}
    )
    plan.steps()
    done("plan")
    peak = peak_mib()
    bodies = [manifest.body for manifest in found.manifests.values()]
    return {
        **stages,
        "firewall rules": len(device_group.rules),
        "Calico rules": sum(
            len(rules(manifest.document(), direction))
            for manifest in found.manifests.values()
            for direction in DIRECTIONS
        ),
        "objects": len(bodies),
        "largest object, bytes": max(map(len, bodies)),
        "peak memory, MiB": peak,
    }


def compare(path: Path, runs: int) -> None:
    """Measure, each run in a process of its own, and print the figures."""
    taken: list[Figures] = []
    for _ in range(runs):
        command = [sys.executable, "-m", "benchmarks.translating", "--file", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{path} could not be translated:\n{done.stderr}")
        taken.append(json.loads(done.stdout))
    for count in [*taken[0]][5:]:
        print(f"{count:24}{taken[0][count]:14,.0f}")
    print(f"\n{'':24}{'ratio to reading and resolving':>32}")
    total = [0.0] * runs
    for stage in ("translate", "validate", "plan"):
        ratios = [run[stage] / (run["read"] + run["resolve"]) for run in taken]
        total = [each + ratio for each, ratio in zip(total, ratios, strict=True)]
        print(f"{stage:24}{median(ratios):31.2f}×")
    print(f"{'together':24}{median(total):31.2f}×  ({min(total):.2f} to {max(total):.2f})")


def main() -> None:
    """Generate the document, measure, print."""
    parser = argparse.ArgumentParser(description="Measure how a large rulebase is translated.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--addresses", type=int, default=50_000)
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument(
        "--wildcards", action="store_true", help="with wildcard objects, which cost the most"
    )
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file is not None:
        print(json.dumps(measure_here(options.file)))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "panorama.xml"
        path.write_bytes(
            generate(
                addresses=options.addresses,
                groups=options.groups,
                rules=options.rules,
                one_device_group=True,
                wildcards=options.wildcards,
            )
        )
        compare(path, options.runs)


if __name__ == "__main__":
    main()

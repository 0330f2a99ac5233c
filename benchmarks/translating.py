"""How long a large rulebase takes to translate and plan, beside reading and resolving it.

    python -m benchmarks.translating

Each run of the generated rulebase (`benchmarks.rulebase`) has a process of its own; times are of
the processor, the table gives the median of the ratios within a run.
"""

from __future__ import annotations

import argparse
import gc
import json
from pathlib import Path
from statistics import median

from benchmarks.reading import peak_mib
from benchmarks.rulebase import Figures, Stages, device_group_of, generated, runs_of, target_of
from benchmarks.rulebase import options as options_here


def measure_here(path: Path) -> Figures:
    """One run in this very process, which should be a fresh one: seconds, counts, bytes."""
    from sync.calico.references import DIRECTIONS, rules
    from sync.calico.validator import validate
    from sync.firewall.groups import resolve_groups
    from sync.plan.differences import differences
    from sync.plan.plan import make_plan
    from sync.reconcile.desired import rolled_out

    options = options_here()
    gc.collect()
    stages = Stages()
    device_group = device_group_of(path)
    stages.done("read")
    resolve_groups(device_group.objects.addresses, registered_known=True)
    stages.done("resolve")
    found = rolled_out("cluster", [target_of(device_group)], options, {})[0]
    # It resolves the groups itself, and that is on the other side of the comparison already.
    stages.done("translate", but=stages.taken["resolve"])
    problems = [each for manifest in found.manifests.values() for each in validate(manifest)]
    if problems:
        raise SystemExit(f"what was translated is not valid: {problems[0]}")
    stages.done("validate")
    plan = make_plan(
        "cluster", [], differences(found.manifests, {}, {}), [], repair_drift=True, live={}
    )
    plan.steps()
    stages.done("plan")
    peak = peak_mib()
    bodies = [manifest.body for manifest in found.manifests.values()]
    return {
        **stages.taken,
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
    taken = runs_of("benchmarks.translating", path, runs)
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
    with generated(
        options.rules,
        addresses=options.addresses,
        groups=options.groups,
        wildcards=options.wildcards,
    ) as path:
        compare(path, options.runs)


if __name__ == "__main__":
    main()

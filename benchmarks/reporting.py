"""How long a report takes beside translating alone, each part of it.

    python -m benchmarks.reporting

Each run of the generated rulebase (`benchmarks.rulebase`) has a process of its own; times are of
the processor, the table gives the median of the ratios within a run.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.rulebase import Figures, Stages, device_group_of, generated, runs_of, target_of
from benchmarks.rulebase import options as options_here


def measure_here(path: Path) -> Figures:
    """One run in this very process, which should be a fresh one: seconds of each part."""
    from sync.reconcile.desired import rolled_out
    from sync.reconcile.shadows import shadowed
    from sync.reconcile.verification import judged_groups, settings_of
    from sync.render.page import Sheet, html
    from sync.verify.matrix import matrices
    from sync.verify.tiers import Tiers

    options, target = options_here(), target_of(device_group_of(path))
    stages = Stages()
    rollout, report = rolled_out("cluster", [target], options, {})
    stages.done("translate")
    documents = [each.document() for each in rollout.manifests.values()]
    tiers = Tiers(judged_groups([target]), documents, settings_of(options))
    report = shadowed(report, tiers)
    stages.done("what rules hide")
    found = matrices(tiers)
    stages.done("who may reach whom")
    html([replace(Sheet(report), matrices=tuple(found))])
    stages.done("the page")
    return stages.taken


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
    with generated(options.rules) as path:
        runs = runs_of("benchmarks.reporting", path, options.runs)
    print(f"{'':24}{'ratio to translating':>24}")
    for part in [*runs[0]][1:]:
        print(f"{part:24}{median(run[part] / run['translate'] for run in runs):23.2f}×")


if __name__ == "__main__":
    main()

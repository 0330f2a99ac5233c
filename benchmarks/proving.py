"""How long the proof of a large rulebase takes, beside its translation.

    python -m benchmarks.proving

The generated rulebase (`benchmarks.rulebase`) is read and translated, and the objects are proven
to give the firewall's verdicts; then again with two hundred pairs of neighbouring Calico rules
exchanged, which the proof has to look into one by one. Between the two, the rules that earlier ones
hide are found. Each run has a process of its own and times what the processor did for it.
"""

from __future__ import annotations

import argparse
import gc
import json
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from benchmarks.reading import peak_mib
from benchmarks.rulebase import Figures, Stages, device_group_of, generated, runs_of, target_of
from benchmarks.rulebase import options as options_here

_SWAPS = 200


def measure_here(path: Path) -> Figures:
    """One run in this very process, which should be a fresh one: seconds, counts, MiB."""
    from sync.reconcile.desired import rolled_out
    from sync.reconcile.verification import judged_groups, settings_of
    from sync.verify.proof import prove
    from sync.verify.shadows import in_calico, on_firewall
    from sync.verify.tiers import Tiers

    device_group, options = device_group_of(path), options_here()
    targets = [target_of(device_group)]
    groups, settings = judged_groups(targets), settings_of(options)
    gc.collect()
    stages = Stages()
    rollout, report = rolled_out("cluster", targets, options, {})
    stages.done("translate")
    documents = [each.document() for each in rollout.manifests.values()]
    del rollout
    before = peak_mib()
    stages.skip()
    proof = prove(groups, documents, settings)
    stages.done("prove")
    if not proof.holds:
        raise SystemExit(f"the proof does not hold: {proof}")
    after = peak_mib()
    places = {where: each.place for each in report.rules for where in each.calico}
    stages.skip()
    tiers = Tiers(groups, documents, settings)
    in_calico(tiers, places)
    for tier in tiers.each:
        on_firewall(tier)
    stages.done("shadows")
    swap(documents)
    stages.skip()
    prove(groups, documents, settings)
    stages.done("prove swapped")
    return {
        **stages.taken,
        "firewall rules": len(device_group.rules),
        "Calico rules": proof.rules,
        "peak memory before, MiB": before,
        "peak memory, MiB": after,
    }


def swap(documents: list[dict[str, Any]]) -> None:
    """Exchange neighbouring rules of one action, which changes no verdict."""
    random = Random(1)
    places = [
        (rules, at)
        for document in documents
        if document["kind"].endswith("Policy")
        for rules in (document["spec"].get(way, []) for way in ("egress", "ingress"))
        for at in range(len(rules) - 1)
        if rules[at]["action"] == rules[at + 1]["action"]
        and rules[at].get("metadata") != rules[at + 1].get("metadata")
    ]
    for rules, at in random.sample(places, min(_SWAPS, len(places))):
        rules[at], rules[at + 1] = rules[at + 1], rules[at]


def main() -> None:
    """Generate the document, measure, print."""
    parser = argparse.ArgumentParser(description="Measure how a large rulebase is proven.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file is not None:
        print(json.dumps(measure_here(options.file)))
        return
    with generated(options.rules) as path:
        taken = runs_of("benchmarks.proving", path, options.runs)
    for count in [*taken[0]][4:]:
        print(f"{count:24}{taken[0][count]:14,.0f}")
    print(f"\n{'':24}{'ratio to translating':>32}")
    for stage in ("prove", "shadows", "prove swapped"):
        ratios = [run[stage] / run["translate"] for run in taken]
        print(f"{stage:24}{median(ratios):31.2f}×  ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()

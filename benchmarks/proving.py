"""How long the proof of a large rulebase takes, beside its translation.

    python -m benchmarks.proving

A generated rulebase with twenty zones is read and translated, and the objects are proven to give
the firewall's verdicts; then again with two hundred pairs of neighbouring Calico rules exchanged,
which the proof has to look into one by one. Between the two, the rules that earlier ones hide are
found. Each run has a process of its own and times what the
processor did for it.
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
from random import Random
from statistics import median
from typing import Any

from benchmarks.generate import generate
from benchmarks.reading import peak_mib

_ZONES = 20
_PODS = "100.64.0.0/10"
_SWAPS = 200

Figures = dict[str, float]


def measure_here(path: Path) -> Figures:
    """One run in this very process, which should be a fresh one: seconds, counts, MiB."""
    from sync.firewall.effective import effective
    from sync.firewall.zone_networks import NOTHING
    from sync.net.addresses import network
    from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
    from sync.reconcile.desired import rolled_out
    from sync.sources.export import ExportSource
    from sync.translate.compiler import Options
    from sync.translate.network_sets import Target
    from sync.verify.profiles import DeviceGroup
    from sync.verify.proof import Settings, prove
    from sync.verify.shadows import in_calico, on_firewall

    definitions = {
        f"zone-{number:02}": ZoneDefinition(networks=(f"10.{number * 8}.0.0/13",))
        for number in range(1, _ZONES + 1)
    }
    zones, pods = ZoneOptions(definitions=definitions), network(_PODS)
    device_group = effective(ExportSource("main", path).read().configuration, "site-a")
    options = Options((), registered_known=True, owner=(("app", "x"),), zones=zones, pod_cidrs=pods)
    target = Target("main", device_group, "firewallpolicy", 101, "enforced", NOTHING)
    gc.collect()
    began = time.process_time()
    rollout, report = rolled_out("cluster", [target], options, {})
    manifests = rollout.manifests
    translated = time.process_time() - began
    documents = [each.document() for each in manifests.values()]
    del manifests, rollout
    before = peak_mib()
    group = DeviceGroup("main", device_group, NOTHING, "firewallpolicy")
    settings = Settings(RuleOptions(), zones, pods)
    began = time.process_time()
    proof = prove([group], documents, settings)
    proven = time.process_time() - began
    if not proof.holds:
        raise SystemExit(f"the proof does not hold: {proof}")
    after = peak_mib()
    places = {where: each.place for each in report.rules for where in each.calico}
    began = time.process_time()
    in_calico([group], documents, settings, places)
    on_firewall(group, settings)
    shadows = time.process_time() - began
    swap(documents)
    began = time.process_time()
    prove([group], documents, settings)
    return {
        "translate": translated,
        "prove": proven,
        "shadows": shadows,
        "prove swapped": time.process_time() - began,
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
    taken: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "panorama.xml"
        number = options.rules
        path.write_bytes(
            generate(
                addresses=5 * number,
                groups=number // 2,
                rules=number,
                one_device_group=True,
                wildcards=False,
            )
        )
        for _ in range(options.runs):
            command = [sys.executable, "-m", "benchmarks.proving", "--file", str(path)]
            taken.append(json.loads(subprocess.check_output(command, text=True)))
    for count in [*taken[0]][4:]:
        print(f"{count:24}{taken[0][count]:14,.0f}")
    print(f"\n{'':24}{'ratio to translating':>32}")
    for stage in ("prove", "shadows", "prove swapped"):
        ratios = [run[stage] / run["translate"] for run in taken]
        print(f"{stage:24}{median(ratios):31.2f}×  ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()

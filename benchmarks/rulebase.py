"""One generated rulebase, as the benchmarks that translate, prove and report it have it.

One device group sees everything; its 20 zones have configured networks, and the cluster knows
where its pods are, as a cluster with Calico's IPPools does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generate import generate

if TYPE_CHECKING:
    from sync.firewall.effective import EffectiveDeviceGroup
    from sync.translate.compiler import Options
    from sync.translate.network_sets import Target

Figures = dict[str, float]

_ZONES = 20
_PODS = "100.64.0.0/10"


@contextmanager
def generated(
    rules: int, *, addresses: int = 0, groups: int = 0, wildcards: bool = False
) -> Iterator[Path]:
    """The document in a file; without numbers it has five addresses a rule, and half a group."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "panorama.xml"
        path.write_bytes(
            generate(
                addresses=addresses or rules * 5,
                groups=groups or rules // 2,
                rules=rules,
                one_device_group=True,
                wildcards=wildcards,
            )
        )
        yield path


def runs_of(module: str, path: Path, runs: int) -> list[Figures]:
    """What a benchmark measures in a document, each time in a process of its own."""
    taken: list[Figures] = []
    for _ in range(runs):
        command = [sys.executable, "-m", module, "--file", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{module} failed:\n{done.stderr}")
        taken.append(json.loads(done.stdout))
    return taken


def device_group_of(path: Path) -> EffectiveDeviceGroup:
    """The device group, read and resolved."""
    from sync.firewall.effective import effective
    from sync.sources.export import ExportSource

    return effective(ExportSource("main", path).read().configuration, "site-a")


def target_of(device_group: EffectiveDeviceGroup) -> Target:
    """Where its rules go."""
    from sync.firewall.zone_networks import NOTHING
    from sync.translate.network_sets import Target

    return Target("main", device_group, "firewallpolicy", 101, "enforced", NOTHING)


def options() -> Options:
    """The settings of its cluster."""
    from sync.net.addresses import network
    from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
    from sync.translate.compiler import Options

    definitions = {
        f"zone-{number:02}": ZoneDefinition(networks=(f"10.{number * 8}.0.0/13",))
        for number in range(1, _ZONES + 1)
    }
    return Options(
        (),
        registered_known=True,
        owner=(("app.kubernetes.io/managed-by", "zonebridge"),),
        rules=RuleOptions(),
        zones=ZoneOptions(definitions=definitions),
        pod_cidrs=network(_PODS),
    )


class Stages:
    """Processor seconds of each stage of a run."""

    def __init__(self) -> None:
        self.taken: Figures = {}
        self._began = time.process_time()

    def done(self, stage: str, *, but: float = 0.0) -> None:
        """A stage ended and the next one begins; `but` seconds of it are not counted."""
        self.taken[stage] = time.process_time() - self._began - but
        self.skip()

    def skip(self) -> None:
        """The next stage begins here: what came before is not counted."""
        self._began = time.process_time()

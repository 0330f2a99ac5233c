"""Translation and rollout in one call, for tests of what a cluster gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sync.calico.manifest import Manifest
from sync.reconcile.desired import rolled_out
from sync.settings import Settings
from sync.translate.compiler import Options
from sync.translate.fidelity import Report
from sync.translate.network_sets import Target


@dataclass(frozen=True)
class Translated:
    """Every object that a cluster gets next, by (kind, name), and what became of each rule."""

    manifests: dict[tuple[str, str], Manifest]
    report: Report
    returning: bool


def translate(
    cluster: str,
    targets: Sequence[Target],
    options: Options,
    standing: Mapping[tuple[str, str], Manifest],
) -> Translated:
    """What a cluster in which this stands of ours gets next."""
    rollout, report = rolled_out(cluster, targets, options, standing)
    return Translated(rollout.manifests, report, rollout.returning)


def settings_of_one_cluster() -> Settings:
    """A configuration that says nothing but what it has to: one export, one directory."""
    return Settings.model_validate(
        {
            "sources": [{"name": "main", "kind": "file", "path": "x"}],
            "clusters": [
                {
                    "name": "c",
                    "kind": "manifests",
                    "path": "o",
                    "device_groups": [{"name": "x", "mode": "enforced"}],
                }
            ],
        }
    )

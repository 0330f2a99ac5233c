"""Whole configurations to manifests: as they are written, and in short what each rule became."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from sync import assembly
from sync.calico.manifest import Manifest
from sync.calico.names import (
    CHAIN_ANNOTATION,
    DEVICE_GROUP_ANNOTATION,
    LIST_LABEL,
    RANK_ANNOTATION,
    RULE_ANNOTATION,
)
from sync.calico.ownership import owner_labels
from sync.calico.validator import validate
from sync.clusters.manifests import render
from sync.errors import SourceError
from sync.firewall.configuration import Configuration
from sync.firewall.effective import effective
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from sync.firewall.zone_networks import derived
from sync.settings import load
from sync.translate.compiler import Options
from sync.translate.fidelity import Report
from sync.translate.network_sets import Target
from sync.translate.zones import PODS
from tests.conftest import ROOT, samples
from tests.naive.documents import shuffled
from tests.translation import Translated, translate

OWNER = owner_labels("golden", "00000000-0000-4000-8000-000000000000")
OPTIONS = Options(tags=(), registered_known=False, owner=OWNER)
DEMO = ROOT / "config" / "demo" / "panorama.xml"

# The samples that there are snapshots of, by the first digits of their SHA-256.
SAMPLES = {
    "nested-device-groups.xml": "296c8f23c2ea1508",
    "panorama-10.0-lab.xml": "9cda0e7241a1f8d3",
    "panorama-10.1-iron-skillet.xml": "4a4d5a0666e4d988",
    "panorama-11.1.6-trimmed.xml": "9941d5506d711c9b",
}
DIGITS = 16
MANY = 20  # items of a list that are shown
FEW = 3  # where it stands in every other line

Manifests = Mapping[tuple[str, str], Manifest]


class Yaml(SingleFileSnapshotExtension):
    """One readable file for each snapshot."""

    _write_mode = WriteMode.TEXT
    file_extension = "yaml"


class Text(Yaml):
    file_extension = "txt"


def translated(data: bytes, options: Options = OPTIONS) -> dict[str, Translated]:
    """What a cluster of its own gets of every device group, enforced."""
    configuration = read_configuration(parse(data, "export.xml"))
    found: dict[str, Translated] = {}
    for name in configuration.device_groups:
        try:
            target = target_of(configuration, name)
        except SourceError:
            # A sample without its whole hierarchy: nobody knows what it means.
            continue
        made = found[name] = translate("golden", [target], options, {})
        assert not [problem for each in made.manifests.values() for problem in validate(each)]
    return found


def target_of(configuration: Configuration, device_group: str) -> Target:
    return Target(
        source="main",
        device_group=effective(configuration, device_group),
        tier="firewallpolicy",
        order=101,
        mode="enforced",
        derived=derived(configuration, device_group),
    )


def of_rules(manifest: Manifest) -> bool:
    """Whether it is of a zone's chain, or a set that only rules have a use for."""
    metadata = manifest.document()["metadata"]
    return CHAIN_ANNOTATION in metadata.get("annotations", {}) or LIST_LABEL in metadata["labels"]


def rendered(manifests: Manifests) -> bytes:
    """All of them, as one file holds them."""
    return b"---\n".join(render(each.document()) for _, each in sorted(manifests.items()))


# --- in short -------------------------------------------------------------------------------------


def shown(device_groups: Mapping[str, Translated]) -> str:
    """Everything of a configuration in lines: objects, a line for each rule, and the report.

    The selector of a zone's workloads is `pods of <zone>`, that of all pods `pods`. A long list
    ends in a digest, as the head of each object does.
    """
    lines = []
    for name, made in device_groups.items():
        lines += [f"=== {name} ===", ""]
        lines += (f"pods of {zone.name}: {zone.workloads}" for zone in made.report.zones)
        pods = {zone.workloads: f"pods of {zone.name}" for zone in made.report.zones}
        pods[PODS] = "pods"
        for _, manifest in sorted(made.manifests.items()):
            lines += ["", *_object_lines(manifest, pods)]
        lines += ["", *_report_lines(made.report), ""]
    return "\n".join(lines)


def _object_lines(manifest: Manifest, pods: Mapping[str, str]) -> Iterator[str]:
    spec = dict(manifest.document()["spec"])
    directions = {direction: spec.pop(direction, []) for direction in ("egress", "ingress")}
    yield f"{manifest.kind} {manifest.name}  # sha256 {manifest.digest[:DIGITS]}"
    for key, value in sorted(spec.items()):
        yield f"  {key} {_said(value, pods)}"
    for direction, rules in directions.items():
        for position, rule in enumerate(rules):
            yield f"  {direction} {position}: {_rule_line(rule, position, pods)}"


def _rule_line(rule: Mapping[str, Any], position: int, pods: Mapping[str, str]) -> str:
    """A rule whole, but for the annotations that say how the firewall's rule read."""
    match = [key for key in rule.keys() - {"action", "metadata"} if rule[key]]
    match.sort(key=lambda key: (key == "destination", key))
    said = " ".join([rule["action"], *(f"{key} {_said(rule[key], pods)}" for key in match)])
    annotations = rule.get("metadata", {}).get("annotations")
    if not annotations:
        return said
    assert annotations[RANK_ANNOTATION] == str(position)
    return f"{said}  # {annotations[RULE_ANNOTATION]} ({annotations[DEVICE_GROUP_ANNOTATION]})"


def _said(value: Any, pods: Mapping[str, str], few: int = MANY) -> str:
    if isinstance(value, dict):
        inner = (
            f"{key} {_said(each, pods, FEW if key in ('nets', 'notNets') else MANY)}"
            for key, each in sorted(value.items())
        )
        return f"({'; '.join(inner)})"
    if isinstance(value, list):
        return _short(value, few)
    said = str(value)
    # The longest first, for one may be a part of another.
    for selector in sorted(pods, key=len, reverse=True):
        said = said.replace(selector, pods[selector])
    return said


def _short(listed: list[Any], few: int) -> str:
    """A list with its first items, and a digest of it where there are more."""
    words = [str(each) for each in listed]
    if len(words) <= few:
        return " ".join(words)
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:DIGITS]
    return f"{' '.join(words[:few])} … {len(words)} in all, sha256 {digest}"


def _report_lines(report: Report) -> Iterator[str]:
    for rule in report.rules:
        place = f"{rule.device_group} {rule.rulebase} {rule.position}"
        calico = _short(list(rule.calico), FEW)
        yield f"{rule.status} {rule.name!r} ({place}): {'; '.join(rule.reasons)} -> {calico}"
    for group in report.groups:
        yield f"{group.status} group {group.name!r}: {'; '.join(group.reasons)}"
    for zone in report.zones:
        networks = "unknown" if zone.networks is None else _short(list(zone.networks), FEW)
        yield f"zone {zone.name!r}: {networks}; {zone.origin}"


# --- the demo -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_groups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Translated]:
    """The demo with its own settings."""
    nothing = tmp_path_factory.mktemp("store") / "none.db"
    variables = {"ZONEBRIDGE_STORE__URL": f"sqlite:///{nothing}"}
    settings = load(DEMO.with_name("zonebridge.yaml"), variables)
    with assembly.store_of(settings, write=False) as store:
        options = replace(assembly.options(settings, store), owner=OWNER)
    return translated(DEMO.read_bytes(), options)


@pytest.mark.parametrize("device_group", ["datacenter-eu", "datacenter-us", "depots", "global"])
def test_the_demo_becomes_these_manifests(
    demo_groups: dict[str, Translated], device_group: str, snapshot: SnapshotAssertion
) -> None:
    manifests = demo_groups[device_group].manifests
    # What rules have for themselves would be a megabyte.
    held = {key: each for key, each in manifests.items() if not of_rules(each)}
    assert rendered(held).decode() == snapshot(extension_class=Yaml)


@pytest.mark.parametrize("device_group", ["datacenter-eu", "datacenter-us"])
def test_the_rules_of_the_demo_become_these(
    demo_groups: dict[str, Translated], device_group: str, snapshot: SnapshotAssertion
) -> None:
    assert shown({device_group: demo_groups[device_group]}) == snapshot(extension_class=Text)


def test_the_demo_is_read_without_a_remark() -> None:
    assert read_configuration(parse(DEMO.read_bytes(), "export.xml")).remarks == ()


# --- the samples ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_becomes_these_manifests(name: str, snapshot: SnapshotAssertion) -> None:
    [data] = [path.read_bytes() for path in samples() if path.name == name] or [b""]
    if not hashlib.sha256(data).hexdigest().startswith(SAMPLES[name]):
        pytest.skip(f"PANORAMA_SAMPLES has no {name}, or another one than the snapshot is of")
    assert shown(translated(data)) == snapshot(extension_class=Text)


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.name)
def test_every_sample_gives_the_same_bytes_whatever_its_order(path: Path) -> None:
    data = path.read_bytes()
    if b"<device-group>" not in data:
        # Among the samples is a firewall's.
        with pytest.raises(SourceError, match="the configuration of a firewall"):
            parse(data, path.name)
        return
    expected = manifests(data)
    assert expected
    assert manifests(data) == expected
    for seed in range(3):
        assert manifests(shuffled(data.decode(), Random(seed)).encode()) == expected


def manifests(data: bytes) -> dict[str, bytes]:
    return {name: rendered(made.manifests) for name, made in translated(data).items()}

"""The chart grants in the cluster of its release what `zonebridge rbac` prints for it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.controlplane.build import NoProgramsError, find
from tests.e2e.installation import Installation, kubernetes

TEMPLATES = ROOT / "helm" / "zonebridge" / "templates"
VALUES: dict[str, Any] = {
    "rbac": {"create": True, "tiers": []},
    "admissionPolicies": {
        "enabled": True,
        "account": True,
        "labels": True,
        "allowAdoption": False,
        "exemptUsers": [],
        "exemptGroups": [],
    },
}
NAMES = """\
{{- define "zonebridge.serviceAccountName" -}}{{ .Values.account }}{{- end -}}
{{- define "zonebridge.writerAccountName" -}}
{{ .Values.writer | default .Values.account }}
{{- end -}}
{{- define "zonebridge.labels" -}}
helm.sh/chart: zonebridge
{{- end -}}
"""
"""What the templates take of the rest of the chart, which says it in its own way."""


def program() -> str:
    try:
        path = find("helm")
        reason = "helm is not built: run `python tests/controlplane/build.py helm`"
    except NoProgramsError as error:
        path, reason = None, str(error)
    if path is not None:
        return str(path)
    if os.environ.get("CI"):
        pytest.fail(f"the chart cannot be rendered: {reason}")
    pytest.skip(f"tests of the chart are skipped: {reason}")


def rendered(directory: Path, namespace: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """What the two templates make of values, without Helm's labels."""
    templates = directory / "templates"
    templates.mkdir(parents=True)
    for name in ("rbac.yaml", "admission.yaml"):
        shutil.copy(TEMPLATES / name, templates)
    (templates / "_names.tpl").write_text(NAMES)
    (directory / "Chart.yaml").write_text("{apiVersion: v2, name: zonebridge, version: 1.0.0}")
    (directory / "values.yaml").write_text(yaml.safe_dump(values))
    done = subprocess.run(
        [program(), "template", "release", str(directory), "--namespace", namespace],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = [document for document in yaml.safe_load_all(done.stdout) if document]
    for document in found:
        assert document["metadata"].pop("labels") == {"helm.sh/chart": "zonebridge"}
    return sorted(found, key=_place)


def printed(place: Installation, *options: str) -> list[dict[str, Any]]:
    """The same of the command, but for the account, which is another template's."""
    found = yaml.safe_load_all(place.done("rbac", "--cluster", "here", *options).out)
    return sorted((each for each in found if each["kind"] != "ServiceAccount"), key=_place)


def _place(document: dict[str, Any]) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def here(**keys: object) -> dict[str, object]:
    described = kubernetes("here", "", "dg-eu", **keys)
    del described["kubeconfig"]
    return described


def groups(*tiers: str) -> list[dict[str, object]]:
    """Device groups, the first of which names no tier."""
    first: list[dict[str, object]] = [{"name": "dg-eu", "mode": "staged"}]
    named = [
        {"name": "dg-us", "mode": "staged", "tier": tier, "order": 200 + number}
        for number, tier in enumerate(tiers)
    ]
    return [*first, *named]


ODD = ["CN=<a&b>", 'say "x"', "\u00fc\\"]


@pytest.mark.parametrize(
    ("configuration", "keys", "policies", "tiers", "options"),
    [
        ({}, {}, {}, [], []),
        ({"device_groups": groups("perimeter")}, {"instance": "zb.2"}, {}, [], []),
        ({"device_groups": []}, {}, {}, [], []),
        (
            {},
            {"zones": {"label": "example.com/zone"}},
            {},
            ["old", "firewallpolicy"],
            ["--tier", "old", "--tier", "firewallpolicy"],
        ),
        (
            {},
            {},
            {"allowAdoption": True, "exemptUsers": ODD, "exemptGroups": ODD},
            [],
            [
                "--allow-adoption",
                *(f"--exempt-{what}={each}" for what in ("user", "group") for each in ODD),
            ],
        ),
    ],
    ids=["plain", "tiers", "emptied", "options", "exempted"],
)
def test_the_chart_grants_what_is_printed(
    place: Installation,
    configuration: dict[str, object],
    keys: dict[str, object],
    policies: dict[str, object],
    tiers: list[str],
    options: list[str],
) -> None:
    elsewhere = {"name": "dg-us", "mode": "staged", "tier": "elsewhere"}
    away = kubernetes("away", "kubeconfig", device_groups=[elsewhere])
    place.configure(here(**configuration), away, **keys)
    values = {
        **VALUES,
        "account": "the-account",
        "rbac": {**VALUES["rbac"], "tiers": tiers},
        "admissionPolicies": {**VALUES["admissionPolicies"], **policies},
        "config": yaml.safe_load((place.directory / "zonebridge.yaml").read_text()),
    }
    wanted = printed(place, "--service-account", "net/the-account", *options)
    assert rendered(place.directory / "chart", "net", values) == wanted
    assert len(wanted) == 8


def test_the_chart_grants_a_service_beside_workers_what_is_printed_read_only(
    place: Installation,
) -> None:
    place.configure(here())
    config = yaml.safe_load((place.directory / "zonebridge.yaml").read_text())
    values = {**VALUES, "account": "reader", "writer": "writer", "config": config}
    writes = printed(place, "--service-account", "net/writer")
    reads = printed(place, "--service-account", "net/reader", "--read-only")
    assert len(reads) == 2
    wanted = sorted([*writes, *reads], key=_place)
    assert rendered(place.directory / "chart", "net", values) == wanted


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"rbac": {"create": False, "tiers": []}}, 4),
        ({"admissionPolicies": {**VALUES["admissionPolicies"], "enabled": False}}, 4),
        ({"admissionPolicies": {**VALUES["admissionPolicies"], "account": False}}, 6),
        ({"admissionPolicies": {**VALUES["admissionPolicies"], "labels": False}}, 6),
    ],
)
def test_each_part_can_be_left_away(
    place: Installation, changes: dict[str, Any], kinds: int
) -> None:
    config = {"clusters": [here()]}
    values = {**VALUES, "account": "zonebridge", "config": config, **changes}
    assert len(rendered(place.directory / "chart", "net", values)) == kinds


def test_a_release_that_writes_other_clusters_alone_is_granted_nothing_in_its_own(
    place: Installation,
) -> None:
    config = {"clusters": [kubernetes("away", "/etc/kubeconfig", "dg-eu")]}
    values = {**VALUES, "account": "zonebridge", "config": config}
    assert rendered(place.directory / "chart", "net", values) == []

"""Alerts, runbooks, dashboard and documents hold to the metrics that there are."""

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from sync.cli.main import COMMANDS
from sync.plan.guards import Blocker
from sync.plan.plan import Plan
from sync.reconcile.result import Result
from sync.service.metrics import Metrics

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
FILES = ROOT / "helm" / "zonebridge" / "files"
NAME = re.compile(r"\bzonebridge_[a-z_]+\b")
PARTS = ("_bucket", "_sum", "_count")
OF_THE_STORE = {"zonebridge_audit"}
"""Words of the documents that look like metrics."""


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", DOCS / "generate_metrics.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def collectors() -> Iterator[MetricWrapperBase]:
    """What a service's registry collects from; what it tells of itself lacks what has no series."""
    for collector in Metrics().registry._collector_to_names:
        assert isinstance(collector, MetricWrapperBase)
        yield collector


def labels_of() -> dict[str, set[str]]:
    """The labels of each series that `/metrics` can have, by its name."""
    found: dict[str, set[str]] = {}
    for collector in collectors():
        [family] = collector.describe()
        labels = {*collector._labelnames}
        if family.type == "histogram":
            found |= {family.name + part: {*labels, "le"} for part in PARTS}
        else:
            found[family.name + ("_total" if family.type == "counter" else "")] = labels
    return found


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    assert len({group["name"] for group in groups}) == len(groups)
    rules = [rule for group in groups for rule in group["rules"]]
    found = {rule["alert"]: rule for rule in rules}
    assert len(found) == len(rules)
    return found


def dashboard() -> Any:
    return json.loads((FILES / "dashboard.json").read_text())


def expressions() -> Iterator[str]:
    for rule in alerts().values():
        yield rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            # What Grafana puts there.
            yield target["expr"].replace("$__rate_interval", "5m").replace("$", "x")


def selectors(expression: Any) -> Iterator[Any]:
    """Every selector of series in an expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if (within := getattr(expression, part, None)) is not None:
            yield from selectors(within)
    for each in getattr(expression, "args", None) or ():
        yield from selectors(each)


def test_the_reference_is_generated_from_the_registry() -> None:
    assert (DOCS / "metrics.md").read_text() == generator().reference(), "run `make metrics`"


def test_every_metric_has_a_type_and_a_sentence() -> None:
    for collector in collectors():
        [family] = collector.describe()
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")


@pytest.mark.parametrize("expression", [*expressions()])
def test_every_expression_parses_and_asks_for_series_that_there_are(expression: str) -> None:
    known = labels_of()
    found = [*selectors(promql_parser.parse(expression))]
    assert {each.name for each in found} == {*NAME.findall(expression)}
    assert found
    for selector in found:
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= known[selector.name], selector.name


@pytest.mark.parametrize("expression", [*expressions()])
def test_what_is_grouped_by_is_a_label_of_what_is_grouped(expression: str) -> None:
    known = labels_of()
    # Prometheus adds these to whatever it scrapes.
    scraped = {"job", "instance"}
    for grouped, rest in re.findall(r"\bby \(([a-z_, ]+)\) \((.*)", expression):
        name = NAME.search(rest)
        assert name
        assert {each.strip() for each in grouped.split(",")} <= known[name[0]] | scraped


@pytest.mark.parametrize("name", [*alerts()])
def test_an_alert_says_what_it_is_and_leads_to_its_runbook(name: str) -> None:
    rule = alerts()[name]
    assert {*rule} == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[1-9][0-9]*m", rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    told = rule["annotations"]
    assert {*told} == {"summary", "description", "runbook_url"}
    assert all(text.strip() for text in told.values())
    assert told["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    # A template may only use labels that the result has.
    known = {"job", "instance", *(label for labels in labels_of().values() for label in labels)}
    used = {*re.findall(r"\$labels\.([a-z]+)", str(told))}
    assert used <= known
    assert all(re.search(rf"\bby \([a-z_, ]*\b{label}\b", rule["expr"]) for label in used)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    text = (DOCS / "runbooks.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert {*sections} == {*alerts()}
    for section in sections.values():
        assert re.findall(r"^- \*\*(.*?)\*\*:", section, re.MULTILINE) == [
            "What it means",
            "What is safe meanwhile",
            "What to look at",
            "What to do",
        ]


def test_who_no_longer_leads_a_cluster_tells_nothing_of_how_it_stands() -> None:
    metrics = Metrics()
    for cluster in ("eu", "us"):
        metrics.held(cluster, held=True)
        metrics.synced(
            Result(
                cluster, Plan(cluster, (), (), (), (), (Blocker("essentials", "x", True),), (), 3)
            ),
            1,
        )
    metrics.held("eu", held=False)
    told = metrics.exposition().decode()
    for name in ("blocked", "cluster_state", "drift_left", "objects"):
        assert f'zonebridge_{name}{{cluster="eu"' not in told
        assert f'zonebridge_{name}{{cluster="us"' in told
    assert 'zonebridge_lease_held{cluster="eu"} 0.0' in told


def test_a_cluster_that_a_worker_gave_back_lacks_no_leader_and_stands_as_the_store_says() -> None:
    metrics = Metrics()
    metrics.held("eu", held=True)
    metrics.synced(Result("eu"), 1)
    metrics.handed_on("eu")
    told = metrics.exposition().decode()
    assert 'zonebridge_lease_held{cluster="eu"' not in told
    assert 'zonebridge_cluster_state{cluster="eu"' not in told
    for state in ("failed", "in sync"):
        metrics.stands("eu", state)
    told = metrics.exposition().decode()
    assert 'zonebridge_cluster_state{cluster="eu",state="in sync"} 1.0' in told
    assert 'state="failed"} 1.0' not in told


def test_a_worker_is_not_taken_for_a_service_that_polls() -> None:
    (series,) = selectors(promql_parser.parse(alerts()["ZonebridgeAbsent"]["expr"]))
    worker = Metrics()
    worker.queued(3)
    worker.synced(Result("eu"), 1)
    assert f"\n{series.name}" not in worker.exposition().decode()


def test_documents_name_no_metric_that_there_is_not() -> None:
    known = {*labels_of(), *(name.removesuffix("_bucket") for name in labels_of())}
    for document in DOCS.glob("*.md"):
        named = {*NAME.findall(document.read_text())} - OF_THE_STORE
        assert named <= known, document.name


def test_commands_that_runbooks_name_are_there() -> None:
    text = (DOCS / "runbooks.md").read_text()
    named = {*re.findall(r"`zonebridge ([a-z]+)(?: ([a-z]+)|(?: --[a-z]+)*)[ `]", text)}
    assert ("audit", "list") in named
    for name, below in named:
        command = getattr(importlib.import_module(COMMANDS[name]), name)
        assert not below or below in command.commands


def test_the_dashboard_has_its_rows_and_a_data_source_to_choose() -> None:
    found = dashboard()
    assert [each["title"] for each in found["panels"] if each["type"] == "row"] == [
        "Clusters",
        "Sources",
        "Drift",
        "Guards",
        "Latency",
        "Store",
    ]
    assert found["templating"]["list"][0]["type"] == "datasource"
    ids = [each["id"] for each in found["panels"]]
    assert len({*ids}) == len(ids)
    for panel in found["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["targets"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["description"]
    for variable in found["templating"]["list"][1:]:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr] # it matches, or the test fails
        assert label in labels_of()[name]

"""The seam of the cycle's steps: spans where they are asked for, and nothing else where not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

from sync import tracing as module
from sync.calico.ownership import owner_labels
from sync.reconcile.cycle import run_cycle
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.store import Store
from sync.tracing import observed, step, tracing
from sync.translate.compiler import Options
from tests.unit.service.words import SaidSource, WatchedCluster
from tests.unit.store.words import new_store
from tests.words import address, group

SECRET = "S3cret-of-a-server"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(module.Tracing, "tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "store.db") as opened:
        yield opened


def synced(store: Store, cluster: WatchedCluster) -> None:
    from datetime import timedelta

    source = SaidSource()
    source.says(address("a", "10.0.0.1"), group("web", "a"), version="17")
    run = store.run("a test")
    run_cycle(
        [source],
        [Cluster("prod", (TierBinding("main", "dg"),), cluster, cluster.writer, None, True)],
        store,
        Options((), True, cluster.owner),
        run,
        lambda name: store.lease(name, "a test", timedelta(minutes=10)),
        lambda: False,
    )


def test_a_sync_is_a_span_and_so_is_each_of_its_steps(
    spans: InMemorySpanExporter, store: Store
) -> None:
    synced(store, WatchedCluster(owner_labels("test", store.uuid)))
    found = by_name(spans)
    assert {*found} == {
        "read", "sync", "live", "plan", "translate", "prove", "write", "conclude",
    }  # fmt: skip
    told = attributes(found["sync"])
    assert told["zonebridge.cluster"] == "prod"
    assert told["zonebridge.state"] == "in sync"
    assert len(str(told["zonebridge.plan"])) == 64
    assert told["zonebridge.run"]
    assert attributes(found["read"]) == {"zonebridge.source": "main", "zonebridge.version": "17"}
    assert attributes(found["translate"])["zonebridge.source.main"] == "17"
    within = found["sync"].get_span_context()
    assert within is not None
    for name in ("live", "plan", "write"):
        parent = found[name].parent
        assert parent is not None
        assert parent.span_id == within.span_id
    outer = found["plan"].get_span_context()
    translated = found["translate"].parent
    assert outer is not None
    assert translated is not None
    assert translated.span_id == outer.span_id


def test_an_error_is_told_by_its_kind_and_never_by_its_words(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="S3cret"), step("live", cluster="prod"):
        raise ValueError(SECRET)
    (span,) = spans.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert SECRET not in span.to_json()


def test_whoever_listens_is_told_how_long_steps_took_and_nobody_else() -> None:
    heard: list[str] = []
    with observed(lambda name, seconds: heard.append(f"{name} {seconds >= 0}")), step("plan"):
        pass
    with step("write"):
        pass
    assert heard == ["plan True"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=str,
)
def test_without_being_asked_nothing_is_traced(environ: dict[str, str]) -> None:
    with tracing(environ, "1"):
        assert module.Tracing.tracer is None


def test_an_exporter_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as log, tracing({"OTEL_TRACES_EXPORTER": "zipkin"}, "1"):
        assert module.Tracing.tracer is None
    assert "knows otlp" in log[0]["event"]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"}
    with capture_logs() as log, tracing(environ, "1"):
        assert module.Tracing.tracer is None
    assert "zonebridge[otel]" in log[0]["event"]


def test_the_environment_alone_configures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "bridge-eu")
    provider = module._provider(environ, "1.2")
    assert provider is not None
    found = provider.resource.attributes
    assert (found["service.name"], found["service.version"]) == ("bridge-eu", "1.2")
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    other = module._provider(environ, "1.2")
    assert other is not None
    assert other.resource.attributes["service.name"] == "zonebridge"
    provider.shutdown()
    other.shutdown()

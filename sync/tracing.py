"""The steps of a cycle as they happen: timed for observers, and exported as OpenTelemetry spans.

    with step("plan", cluster="prod") as here:
        here.set("digest", …)

Spans are created if the extra `zonebridge[otel]` is installed and the `OTEL_…` variables of the
environment ask for it (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
Otherwise OpenTelemetry is not imported. A terminal shows what is under way (`watched`).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from sync.redaction import redact

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LAST_SECONDS: Final = 3.0  # for the last export at the end of the process

Observer = Callable[[str, float], None]
"""Called with the name of a step that ended, and its duration in seconds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A step under way: how many of its parts are done, where it has a `total`, or that it ended.

    `about` is the cluster or the source that it is about.
    """

    step: str
    about: str
    done: int = 0
    total: int = 0
    ended: bool = False


Watcher = Callable[[Progress], None]
"""Called by any thread when a step begins, gets on or ends; must be quick and not raise."""


class Step:
    """A step in progress; `span` is the span of it, if a collector is configured."""

    def __init__(self, name: str, about: str, span: Any) -> None:
        self._name, self._about, self._span = name, about, span

    def set(self, key: str, value: str | int) -> None:
        """Set the attribute `zonebridge.<key>`; never a secret, since it leaves the process."""
        if self._span:
            self._span.set_attribute(f"zonebridge.{key}", value)

    def count(self, done: int, total: int) -> None:
        """Report that `done` of `total` parts are done; only watchers hear of it."""
        _watch(Progress(self._name, self._about, done, total))


_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


class Tracing:
    """The tracer and the watcher of this process; None if there is none."""

    tracer: "Tracer | None" = None
    watcher: Watcher | None = None


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Within the block, call `watcher` for the steps of all threads as they happen."""
    before, Tracing.watcher = Tracing.watcher, watcher
    try:
        yield
    finally:
        Tracing.watcher = before


def _watch(progress: Progress) -> None:
    if watcher := Tracing.watcher:
        watcher(progress)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Within the block, call `observer` for each step of this thread that ends."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextmanager
def step(name: str, **attributes: str | int) -> Iterator[Step]:
    """Run the block as one step, nested in the current step of this thread."""
    began = time.monotonic()
    about = str(attributes.get("cluster", attributes.get("source", "")))
    _watch(Progress(name, about))
    try:
        with _span(name, attributes) as span:
            yield Step(name, about, span)
    finally:
        _watch(Progress(name, about, ended=True))
        if observer := _observer.get():
            observer(name, time.monotonic() - began)


@contextmanager
def _span(name: str, attributes: Mapping[str, str | int]) -> Iterator[Any]:
    if Tracing.tracer is None:
        yield None
        return
    from opentelemetry.trace import StatusCode

    # Error messages stay in the log and the trail: they may quote a server.
    with Tracing.tracer.start_as_current_span(
        name,
        attributes={f"zonebridge.{key}": value for key, value in attributes.items()},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


@contextmanager
def tracing(environ: Mapping[str, str], version: str) -> Iterator[None]:
    """Create spans within the block if the environment asks for them; export all at its end."""
    provider = _provider(environ, version)
    if provider is None:
        yield
        return
    Tracing.tracer = provider.get_tracer("zonebridge", version)
    try:
        yield
    finally:
        Tracing.tracer = None
        # A collector that hangs must not delay the shutdown.
        ending = threading.Thread(target=provider.shutdown, name="tracing", daemon=True)
        ending.start()
        ending.join(_LAST_SECONDS)


def _provider(environ: Mapping[str, str], version: str) -> "TracerProvider | None":
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    wanted = exporter or any(environ.get(key) for key in _ENDPOINTS)
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not wanted or exporter == "none" or disabled:
        return None
    if exporter not in ("", "otlp"):
        structlog.get_logger().warning(
            "no traces: OTEL_TRACES_EXPORTER knows otlp and none", exporter=redact(exporter)
        )
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        structlog.get_logger().warning(
            "no traces: OpenTelemetry is not installed; install zonebridge[otel], or unset "
            "OTEL_EXPORTER_OTLP_ENDPOINT"
        )
        return None
    library = logging.getLogger("opentelemetry")
    library.addHandler(_Failures())
    library.propagate = False
    resource = Resource.create({SERVICE_VERSION: version})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "zonebridge"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _Failures(logging.Handler):
    """Write the library's failures to our log, without repeating the last one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg != self._said:
            self._said = str(record.msg)
            structlog.get_logger().warning("tracing failed", error=redact(record.getMessage()))

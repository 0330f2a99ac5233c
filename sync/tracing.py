"""The steps of a cycle as they happen: timed for observers, and exported as OpenTelemetry spans.

    with step("plan", cluster="prod") as here:
        here.set("digest", …)

Spans are created if the extra `zonebridge[otel]` is installed and the `OTEL_…` variables of the
environment ask for it (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
Otherwise OpenTelemetry is not imported.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from sync.redaction import redact

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LAST_SECONDS: Final = 3.0  # for the last export at the end of the process

Observer = Callable[[str, float], None]
"""Called with the name of a step that ended, and its duration in seconds."""


class Step(Protocol):
    """A step in progress."""

    def set(self, key: str, value: str | int) -> None:
        """Set the attribute `zonebridge.<key>`; never a secret, since it leaves the process."""


class _Untold:
    def set(self, key: str, value: str | int) -> None:
        """Do nothing: no collector is configured."""


class _Told:
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, key: str, value: str | int) -> None:
        self._span.set_attribute(f"zonebridge.{key}", value)


_UNTOLD: Final = _Untold()
_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


class Tracing:
    """The tracer of this process; None if tracing is off."""

    tracer: "Tracer | None" = None


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
    try:
        with _span(name, attributes) as found:
            yield found
    finally:
        if observer := _observer.get():
            observer(name, time.monotonic() - began)


@contextmanager
def _span(name: str, attributes: Mapping[str, str | int]) -> Iterator[Step]:
    if Tracing.tracer is None:
        yield _UNTOLD
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
            yield _Told(span)
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

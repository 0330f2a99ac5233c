"""What the service keeps, runs and shows."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from sync.settings.models.section import Section, valid
from sync.settings.problems import Problem
from sync.settings.values import (
    Bind,
    Duration,
    EnvironmentSecret,
    FilePath,
    LabelValue,
    StoreUrl,
    is_loopback,
)


class Store(Section):
    """Where state and the audit trail are kept."""

    url: StoreUrl = Field(default="sqlite:///zonebridge.db", validate_default=True)
    """sqlite:///FILE (one replica; FILE may be relative to the configuration file) or
    postgresql+psycopg://USER@HOST/DATABASE. Never with a password."""
    password_file: FilePath | None = None
    """File that holds the password of a PostgreSQL url."""
    password: EnvironmentSecret | None = None
    """The password itself, from the environment only; takes precedence over password_file."""
    id: LabelValue | None = None
    """Label value that the files of manifests carry as their store; null: a directory belongs to
    the instance, whatever its store."""

    @model_validator(mode="after")
    def _fits_url(self) -> Self:
        given = [key for key in ("password_file", "password") if getattr(self, key)]
        if self.url.startswith("sqlite"):
            text = "belongs to a PostgreSQL url; remove it, or change store.url"
            return valid(self, [Problem((key,), text) for key in given])
        return self


class Audit(Section):
    """The audit trail."""

    retention: Duration | None = None
    """How long records stay in the store; null: permanently. Older ones move to archive."""
    archive: FilePath | None = None
    """Directory that records older than retention move to."""
    head_file: FilePath | None = None
    """File that the heads of all chains are written to, so that missing records show; null:
    none."""


class Engine(Section):
    """What runs the service's tasks."""

    kind: Literal["embedded", "procrastinate"] = "embedded"
    """embedded: threads of the service. procrastinate: `zonebridge worker` processes, and a queue
    in the PostgreSQL of store.url."""


class Health(Section):
    """The service's endpoint for probes and metrics."""

    bind: Bind = "0.0.0.0:8081"
    """Address and port of /livez, /readyz and /metrics."""
    max_source_age: Duration = timedelta(minutes=30)
    """Readiness fails when a source was last read longer ago than this."""


class Log(Section):
    """What goes to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe event that is written."""
    format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, JSON elsewhere."""


class Web(Section):
    """The dashboard."""

    bind: Bind = "127.0.0.1:8080"
    """Address and port of the dashboard."""
    auth: Literal["none", "token", "kubernetes"] = "none"
    """How users authenticate; none only if bind is a loopback address."""

    @model_validator(mode="after")
    def _none_only_on_loopback(self) -> Self:
        open_to_others = self.auth == "none" and not is_loopback(self.bind)
        text = "none is only for a loopback address; set token or kubernetes, or bind to 127.0.0.1"
        return valid(self, [Problem(("auth",), text)] if open_to_others else [])

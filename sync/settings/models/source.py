"""Where firewall configurations come from."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sync.settings.models.section import Section, keys_of_other_kinds, valid
from sync.settings.problems import Problem
from sync.settings.values import Duration, EnvironmentSecret, FilePath, Name, Text, Whole

Port = Annotated[Whole, Field(ge=1, le=65_535)]


class Source(Section):
    """A Panorama, or a file exported from one."""

    name: Name
    """What device groups and the audit trail call this source; unique."""
    kind: Literal["panorama", "file"]
    """panorama: read over its XML API. file: a configuration exported from Panorama."""
    path: FilePath | None = None
    """The exported XML file. Kind file only, and required there."""
    hosts: tuple[Text, ...] = ()
    """Host names or addresses: one, or the two of an HA pair, of which the active one is read.
    Kind panorama only, and required there."""
    port: Port = 443
    """TCP port of the XML API. Kind panorama only."""
    api_key_file: FilePath | None = None
    """File that holds the API key. Kind panorama only; instead of username and password_file."""
    api_key: EnvironmentSecret | None = None
    """The API key itself, from the environment only; takes precedence over api_key_file."""
    username: Text | None = None
    """Administrator for whom an API key is generated; needs password_file. Kind panorama only."""
    password_file: FilePath | None = None
    """File that holds the password of username. Kind panorama only."""
    password: EnvironmentSecret | None = None
    """The password itself, from the environment only; takes precedence over password_file."""
    ca_file: FilePath | None = None
    """PEM file of the authorities that may sign Panorama's certificate; null: the system's.
    Kind panorama only."""
    verify_tls: bool = True
    """false accepts any certificate, with a warning at every start. Kind panorama only."""
    full_read_interval: Duration = timedelta(minutes=15)
    """How often everything is read although Panorama reports no change. Kind panorama only."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        problems = keys_of_other_kinds(self, _SOURCE_KEYS, self.kind)
        if self.kind == "file" and self.path is None:
            problems.append(Problem(("path",), "is missing; kind file needs it"))
        if self.kind == "panorama":
            if not self.hosts:
                problems.append(Problem(("hosts",), "is missing; kind panorama needs it"))
            key = self.api_key_file or self.api_key
            if not key and not (self.username and (self.password_file or self.password)):
                text = "is missing; name it, or username and password_file"
                problems.append(Problem(("api_key_file",), text))
        return valid(self, problems)


_SOURCE_KEYS = {
    "file": ("path",),
    "panorama": (
        "hosts",
        "port",
        "api_key_file",
        "api_key",
        "username",
        "password_file",
        "password",
        "ca_file",
        "verify_tls",
        "full_read_interval",
    ),
}

"""The whole configuration, and the checks across its sections."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sync.settings.models.cluster import Cluster, DeviceGroup, Guard
from sync.settings.models.section import duplicates, valid
from sync.settings.models.service import Audit, Engine, Health, Log, Store, Web
from sync.settings.models.source import Source
from sync.settings.models.translation import AddressGroups, Rules, Zones
from sync.settings.problems import Problem, did_you_mean
from sync.settings.sources import configuration_file, loading, sources
from sync.settings.values import Duration, FilePath, LabelValue, WebhookUrl, Whole

LeaseTime = Annotated[Duration, Field(ge=timedelta(seconds=2))]


class Settings(BaseSettings):
    """The whole configuration. `sync.settings.load` is the way to get one."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        case_sensitive=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    instance: LabelValue = "zonebridge"
    """Label value of the objects that this installation owns; one for each installation that shares
    a cluster."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """Where firewall configurations come from."""
    poll_interval: Duration = timedelta(seconds=10)
    """How often the service asks a source whether anything changed."""
    store: Store = Field(default_factory=Store)
    """Where state and the audit trail are kept."""
    lease_ttl: LeaseTime = timedelta(seconds=30)
    """How long a cluster stays reserved for a process that died; at least 2s. No request to a
    cluster takes longer than half of it."""
    resync_interval: Duration = timedelta(minutes=15)
    """How often the service reads a whole cluster again, however healthy its watch looks."""
    address_groups: AddressGroups = Field(default_factory=AddressGroups)
    """Which address groups become network sets."""
    rules: Rules = Field(default_factory=Rules)
    """Which rules become policies, and how."""
    fqdn: Literal["skip", "resolve"] = "skip"
    """FQDN objects. skip: a group that holds one is open. resolve: resolved by this machine's DNS,
    for plain allows only (more permissive)."""
    fqdn_grace: Duration = timedelta(hours=1)
    """How long an address stays after the last DNS answer with it expired. With fqdn: resolve
    only."""
    edl: Literal["skip", "fetch"] = "skip"
    """External dynamic lists of addresses. skip: lists and groups that use one are open. fetch:
    read over HTTPS."""
    edl_max_bytes: Annotated[Whole, Field(ge=1)] = 16_777_216
    """Bytes; a longer list counts as a failed download. With edl: fetch only."""
    registered_ips: Literal["required", "optional"] = "required"
    """Addresses registered at run time. required: a dynamic group without them is open. optional:
    it has only its configured members (more permissive)."""
    registered_interval: Duration = timedelta(seconds=30)
    """How often zonebridge asks sources of kind panorama for addresses registered at run time, and
    for firewalls that are out of sync."""
    zones: Zones = Field(default_factory=Zones)
    """How the ends of a flow are assigned to zones."""
    guard: Guard = Field(default_factory=Guard)
    """When a plan needs approval."""
    drift: Literal["repair", "report"] = "repair"
    """Objects of ours that others changed. repair: reverted and recorded. report: only shown."""
    clusters: tuple[Cluster, ...] = Field(min_length=1)
    """The clusters that objects are written to."""
    audit: Audit = Field(default_factory=Audit)
    """The audit trail."""
    engine: Engine = Field(default_factory=Engine)
    """What runs the service's tasks."""
    health: Health = Field(default_factory=Health)
    """The service's endpoint for probes and metrics."""
    webhook: WebhookUrl | None = None
    """URL that is called when a plan is blocked, or a cluster or source fails or recovers; null:
    none."""
    webhook_url_file: FilePath | None = None
    """File that holds that URL, if it is a secret itself; instead of webhook."""
    webhook_secret_file: FilePath | None = None
    """File that holds the secret that calls are signed with (whsec_ and base64); null: unsigned."""
    webhook_ca_file: FilePath | None = None
    """PEM file of the authorities that may sign its certificate; null: the system's."""
    log: Log = Field(default_factory=Log)
    """What goes to stderr."""
    web: Web = Field(default_factory=Web)
    """The dashboard."""

    def __init__(
        self,
        *,
        _file: Path | None = None,
        _environ: Mapping[str, str] = os.environ,
        **document: Any,
    ) -> None:
        """Load the configuration, a file with the environment overlaid, as described in `load`.

        If a document is given, it is the whole configuration instead; `ValidationError` lists its
        problems.
        """
        if document:
            super().__init__(**document)
        else:
            with loading(configuration_file(_file, _environ), _environ):
                super().__init__()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not our signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not our signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not our signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Replace pydantic-settings' sources by ours.

        Its own environment source cannot set list items, and stops at the first invalid variable.
        """
        return sources(settings_cls) or (init_settings,)

    @field_validator("sources")
    @classmethod
    def _sources_differ(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return valid(sources, duplicates(((i, "name"), s.name) for i, s in enumerate(sources)))

    @field_validator("clusters")
    @classmethod
    def _clusters_fit(
        cls, clusters: tuple[Cluster, ...], info: ValidationInfo
    ) -> tuple[Cluster, ...]:
        problems = duplicates(((i, "name"), c.name) for i, c in enumerate(clusters))
        problems += duplicates(
            ((i, "path"), os.path.realpath(c.path)) for i, c in enumerate(clusters) if c.path
        )
        if "sources" in info.data:  # else the sources are invalid, and cannot be compared
            names = [source.name for source in info.data["sources"]]
            for i, cluster in enumerate(clusters):
                problems += [
                    Problem((i, "device_groups", *problem.place), problem.text)
                    for problem in _source_problems(cluster.device_groups, names)
                ]
        return valid(clusters, problems)

    @model_validator(mode="after")
    def _queue_has_its_database(self) -> Self:
        text = "procrastinate needs a PostgreSQL in store.url; name one, or use embedded"
        alone = self.engine.kind == "procrastinate" and self.store.url.startswith("sqlite")
        return valid(self, [Problem(("engine", "kind"), text)] if alone else [])

    @model_validator(mode="after")
    def _allowing_ends_nothing(self) -> Self:
        problems = []
        for cluster in self.clusters:
            ordered = sorted(cluster.device_groups, key=lambda group: group.order)
            first, later = ordered[:1], ordered[1:]
            if later and self.rules.allow_as == "Allow":
                text = (
                    f"Allow in tier {first[0].tier} would decide flows before tier "
                    f"{later[0].tier} in cluster {cluster.name}; use Pass"
                )
                problems.append(Problem(("rules", "allow_as"), text))
        return valid(self, problems)

    @model_validator(mode="after")
    def _one_webhook(self) -> Self:
        problems = []
        if self.webhook and self.webhook_url_file:
            problems.append(Problem(("webhook_url_file",), "goes with no webhook; remove one"))
        if not (self.webhook or self.webhook_url_file):
            problems += [
                Problem((key,), "goes with webhook or webhook_url_file; name one, or remove it")
                for key in ("webhook_secret_file", "webhook_ca_file")
                if getattr(self, key)
            ]
        return valid(self, problems)

    def source_of(self, group: DeviceGroup) -> Source:
        """Return the source of a device group of this configuration."""
        return next(s for s in self.sources if group.source in (None, s.name))


def _source_problems(groups: tuple[DeviceGroup, ...], names: list[str]) -> list[Problem]:
    problems = []
    for i, group in enumerate(groups):
        if group.source is None and len(names) > 1:
            text = f"is missing; there are several sources ({', '.join(names)}), name one"
            problems.append(Problem((i, "source"), text))
        if group.source is not None and group.source not in names:
            text = f"there is no source {group.source}; {did_you_mean(group.source, names)}"
            problems.append(Problem((i, "source"), text))
    return problems + duplicates(
        ((i, "name"), f"{group.source or names[0]}/{group.name}") for i, group in enumerate(groups)
    )

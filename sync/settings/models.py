"""The whole configuration as frozen models: every key, its unit, default and interaction.

The text under a key is its description, in the JSON Schema too. Field names are the keys.
"""

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sync.settings.problems import Problem, ProblemsError, did_you_mean
from sync.settings.values import (
    Bind,
    ClusterName,
    Duration,
    EnvironmentSecret,
    FilePath,
    LabelKey,
    LabelValue,
    Name,
    Network,
    PortAndProtocol,
    StoreUrl,
    Text,
    TierName,
    WebhookUrl,
    Whole,
    is_loopback,
)

_T = TypeVar("_T")

Percent = Annotated[Whole, Field(ge=0, le=100)]
Count = Annotated[Whole, Field(ge=0)]
LeaseTime = Annotated[Duration, Field(ge=timedelta(seconds=2))]
Port = Annotated[Whole, Field(ge=1, le=65_535)]
Order = Annotated[Whole, Field(ge=0, le=2**53 - 1)]  # Calico reads it as a float64
Ports = Annotated[tuple[PortAndProtocol, ...], Field(max_length=50)]  # Calico's most for a rule


class Section(BaseModel):
    """A mapping in the configuration: nothing in it can be changed, nothing unknown be added."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


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
    """The API key itself, from the environment only; goes before api_key_file."""
    username: Text | None = None
    """Administrator for whom an API key is generated; needs password_file. Kind panorama only."""
    password_file: FilePath | None = None
    """File that holds the password of username. Kind panorama only."""
    password: EnvironmentSecret | None = None
    """The password itself, from the environment only; goes before password_file."""
    ca_file: FilePath | None = None
    """PEM file of the authorities that may sign Panorama's certificate; null: the system's.
    Kind panorama only."""
    verify_tls: bool = True
    """false accepts any certificate, with a warning at every start. Kind panorama only."""
    full_read_interval: Duration = timedelta(minutes=15)
    """How often everything is read although Panorama reports no change. Kind panorama only."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        problems = _misplaced(self, _SOURCE_KEYS, self.kind)
        if self.kind == "file" and self.path is None:
            problems.append(Problem(("path",), "is missing; kind file needs it"))
        if self.kind == "panorama":
            if not self.hosts:
                problems.append(Problem(("hosts",), "is missing; kind panorama needs it"))
            key = self.api_key_file or self.api_key
            if not key and not (self.username and (self.password_file or self.password)):
                text = "is missing; name it, or username and password_file"
                problems.append(Problem(("api_key_file",), text))
        return _sound(self, problems)


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


class Store(Section):
    """Where state and the audit trail are kept."""

    url: StoreUrl = Field(default="sqlite:///zonebridge.db", validate_default=True)
    """sqlite:///FILE (one replica; FILE may be relative to the configuration file) or
    postgresql+psycopg://USER@HOST/DATABASE. Never with a password."""
    password_file: FilePath | None = None
    """File that holds the password of a PostgreSQL url."""
    password: EnvironmentSecret | None = None
    """The password itself, from the environment only; goes before password_file."""

    @model_validator(mode="after")
    def _fits_url(self) -> Self:
        given = [key for key in ("password_file", "password") if getattr(self, key)]
        if self.url.startswith("sqlite"):
            text = "belongs to a PostgreSQL url; remove it, or change store.url"
            return _sound(self, [Problem((key,), text) for key in given])
        return self


class AddressGroups(Section):
    """Which address groups become network sets."""

    tags: tuple[Text, ...] = ()
    """Only groups with one of these tags, and those that rules use; empty: every group."""


class Rules(Section):
    """Which rules become policies, and what is done with what Calico cannot say."""

    filter: str = ""
    """Expression over rule tags, as in "(k8s OR shared) AND NOT legacy"; empty: every rule."""
    applications: Literal["ports", "strict"] = "ports"
    """ports: an App-ID stands for its default ports. strict: such allow rules are left out."""
    devices: tuple[Text, ...] = ()
    """Serial numbers that the clusters stand for, for rules with a target."""
    deny_applications: Literal["widen", "ports"] = "widen"
    """widen: a deny of an App-ID whose ports are not surely known, or known from zonebridge's own
    table alone, denies every service. ports: it is left at the known ones, which is more
    permissive."""
    filter_denies: bool = False
    """true: filter leaves out deny rules too, which is more permissive."""
    allow_as: Literal["Pass", "Allow"] = "Pass"
    """Pass: later tiers may narrow what is allowed. Allow: they may not."""
    accept_dropped_members: tuple[Text, ...] = ()
    """Rules or tags whose deny may lose a member that Calico cannot say (more permissive)."""
    accept_dropped_denies: tuple[Text, ...] = ()
    """Rules or tags whose deny may be left out if Calico cannot say it (more permissive)."""


class Essential(Section):
    """A flow that zoned pods must never lose, judged before all rules."""

    direction: Literal["ingress", "egress"]
    """Seen from the zoned pod."""
    on: Text
    """Selector of the zoned pods, as in all()."""
    pods: Text | None = None
    """Selector of the pods at the other end; null: none, then cidrs is needed."""
    cidrs: tuple[Network, ...] = ()
    """Networks at the other end."""
    ports: Ports = ()
    """Ports of the flow, as in 53/udp; empty: every port."""

    @model_validator(mode="after")
    def _has_another_end(self) -> Self:
        text = "is missing, and so are cidrs; name one of them"
        return _sound(self, [] if self.pods or self.cidrs else [Problem(("pods",), text)])


class Workloads(Section):
    """Which pods belong to a zone."""

    selector: Text | None = None
    """Selector over pod labels. Whoever creates a pod sets these: prefer namespace_selector."""
    namespace_selector: Text | None = None
    """Selector over namespace labels; with selector, both must match."""

    @model_validator(mode="after")
    def _select_something(self) -> Self:
        text = "is empty; give it selector or namespace_selector, or remove it"
        return _sound(self, [] if self.selector or self.namespace_selector else [Problem((), text)])


class Zone(Section):
    """What is in one zone."""

    workloads: Workloads | None = None
    """The zone's pods; null: those with the zone's label."""
    networks: tuple[Network, ...] | None = None
    """The zone's networks outside pods; []: pods only; null: derived, or unknown."""


class Zones(Section):
    """Where a flow's ends are."""

    label: LabelKey = "firewall.tigera.io/zone"
    """Key of the pod label that names a pod's zone."""
    derive_networks: bool = True
    """Take the networks behind a zone from its template's interfaces and static routes."""
    trust_addresses: bool = False
    """true: an allow towards a zone without known networks stands on its addresses alone."""
    unzoned_pods: Literal["pass", "deny"] = "pass"
    """Flows between a zoned pod and one without a zone, where no rule speaks."""
    unknown_addresses: Literal["deny", "pass"] = "deny"
    """Flows with an address outside pods that is in no zone, where no rule speaks."""
    essentials: tuple[Essential, ...] = ()
    """Flows that come before all rules, such as cluster DNS."""
    definitions: dict[str, Zone] = Field(default_factory=dict)
    """Zones by name, in order of rank; zones by label alone need no entry."""

    @field_validator("definitions")
    @classmethod
    def _definitions_differ(cls, definitions: dict[str, Zone]) -> dict[str, Zone]:
        problems = [
            Problem((name,), "is PAN-OS's own word and no zone of yours; remove it")
            for name in definitions
            if name in ("any", "multicast")
        ]
        if "" in definitions:
            problems.append(Problem(("",), "is no name of a zone; give it one"))
        holders: dict[Network, str] = {}
        for name, zone in definitions.items():
            for i, network in enumerate(zone.networks or ()):
                holder = holders.setdefault(network, name)
                if holder != name:
                    text = f"{network} is a network of zone {holder!r} too; leave it to one of them"
                    problems.append(Problem((name, "networks", i), text))
        return _sound(definitions, problems)


class PrefixLengths(Section):
    """The shortest prefixes that an address group may hold."""

    ipv4: Annotated[Whole, Field(ge=0, le=32)] = 8
    """Bits."""
    ipv6: Annotated[Whole, Field(ge=0, le=128)] = 16
    """Bits."""


class Guard(Section):
    """When a plan is too large a step to be applied without approval."""

    max_delete_percent: Percent = 30
    """Share of a cluster's objects that one plan may delete."""
    max_shrink_percent: Percent = 50
    """Share of its addresses that a set may lose."""
    max_grow_factor: Annotated[Whole, Field(ge=1)] = 10
    """How many times its size a set may become."""
    min_existing: Count = 10
    """Below this many objects (or addresses of a set) the three limits above do not judge."""
    min_prefix_length: PrefixLengths = Field(default_factory=PrefixLengths)
    """A shorter prefix in an address group is refused."""
    exempt: tuple[Text, ...] = ()
    """Address groups that max_shrink_percent, max_grow_factor and min_prefix_length do not
    judge."""
    not_pushed: Literal["ignore", "wait"] = "ignore"
    """wait: a device group that is not pushed to its firewalls yet blocks the plan."""


class ClusterGuard(Section):
    """What differs from `guard` for one cluster; null: nothing."""

    max_delete_percent: Percent | None = None
    """As in guard."""
    max_shrink_percent: Percent | None = None
    """As in guard."""
    max_grow_factor: Annotated[Whole, Field(ge=1)] | None = None
    """As in guard."""
    min_existing: Count | None = None
    """As in guard."""
    min_prefix_length: PrefixLengths | None = None
    """As in guard; replaces both lengths there."""
    exempt: tuple[Text, ...] | None = None
    """As in guard; replaces the list there."""
    not_pushed: Literal["ignore", "wait"] | None = None
    """As in guard."""


class DeviceGroup(Section):
    """A device group whose address groups and rules a cluster gets, and the tier they go to."""

    source: Name | None = None
    """Name of the source that holds it; may be left out if there is only one source."""
    name: Text
    """Name of the device group in Panorama."""
    tier: TierName = "firewallpolicy"
    """Calico tier of its policies; one tier holds one device group."""
    order: Order = 101
    """Order of the tier among the cluster's tiers, lowest first; unique within a cluster."""
    mode: Literal["enforced", "staged"]
    """enforced: policies take effect. staged: they only report what they would do."""


class Cluster(Section):
    """Where objects go: a Kubernetes cluster, or a directory of manifests."""

    name: ClusterName
    """What commands, logs and the audit trail call this cluster; unique."""
    kind: Literal["kubernetes", "manifests"]
    """kubernetes: written over its API. manifests: one YAML file an object in a directory."""
    path: FilePath | None = None
    """Directory of the manifests. Kind manifests only, and required there; no two share one."""
    kubeconfig: FilePath | None = None
    """Kubeconfig file; null: the pod's own cluster. Kind kubernetes only."""
    context: Text | None = None
    """Context in kubeconfig; null: its current one at the start. Kind kubernetes only."""
    exec_plugins: tuple[Text, ...] = ()
    """Commands that kubeconfig may run for credentials. Kind kubernetes only."""
    exec_timeout: Duration = timedelta(seconds=30)
    """How long such a command may take. Kind kubernetes only."""
    insecure_skip_tls_verify: bool = False
    """true: a kubeconfig that does not verify the API server is accepted. Kind kubernetes only."""
    pod_cidrs: tuple[Network, ...] = ()
    """Networks that hold every pod; empty: the cluster's IPPools, where they do, else unknown."""
    windows: Literal["refuse", "ignore"] = "refuse"
    """What to do with a cluster that has Windows nodes, which skip rules. Kind kubernetes only."""
    guard: ClusterGuard = Field(default_factory=ClusterGuard)
    """What differs from guard for this cluster."""
    device_groups: tuple[DeviceGroup, ...]
    """What this cluster gets, the first one with the plain names of sets; `[]`: ours is removed."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problems = _misplaced(self, _CLUSTER_KEYS, self.kind)
        if self.kind == "manifests" and self.path is None:
            problems.append(Problem(("path",), "is missing; kind manifests needs it"))
        for key in ("tier", "order"):
            problems += _repeated(
                (("device_groups", i, key), getattr(group, key))
                for i, group in enumerate(self.device_groups)
            )
        return _sound(self, problems)


_CLUSTER_KEYS = {
    "manifests": ("path",),
    "kubernetes": (
        "kubeconfig",
        "context",
        "exec_plugins",
        "exec_timeout",
        "insecure_skip_tls_verify",
        "windows",
    ),
}


class Audit(Section):
    """The audit trail."""

    retention: Duration | None = None
    """How long records stay in the store; null: for ever. Older ones move to archive."""
    archive: FilePath | None = None
    """Directory that records older than retention move to."""
    head_file: FilePath | None = None
    """File that the heads of all chains are written to, so that a cut tail shows; null: none."""


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
    """How users prove who they are; none only where bind is a loopback address."""

    @model_validator(mode="after")
    def _none_only_on_loopback(self) -> Self:
        open_to_others = self.auth == "none" and not is_loopback(self.bind)
        text = "none is only for a loopback address; set token or kubernetes, or bind to 127.0.0.1"
        return _sound(self, [Problem(("auth",), text)] if open_to_others else [])


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
    """Label value of what this installation owns; one for each installation that shares a
    cluster."""
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
    """FQDN objects. skip: the group that holds one is open. resolve: by this machine's DNS, for
    plain allows only (more permissive)."""
    fqdn_grace: Duration = timedelta(hours=1)
    """How long an address stays after the last answer of DNS that had it ran out. With
    fqdn: resolve only."""
    edl: Literal["skip", "fetch"] = "skip"
    """External dynamic lists of addresses. skip: what uses one is open. fetch: read by HTTPS."""
    edl_max_bytes: Annotated[Whole, Field(ge=1)] = 16_777_216
    """Bytes; a longer list counts as one that could not be fetched. With edl: fetch only."""
    registered_ips: Literal["required", "optional"] = "required"
    """Addresses registered at run time. required: a dynamic group without them is open.
    optional: it is what the configuration holds (more permissive)."""
    registered_interval: Duration = timedelta(seconds=30)
    """How often sources of kind panorama are asked for addresses registered at run time, and for
    firewalls that have not what was committed."""
    zones: Zones = Field(default_factory=Zones)
    """Where a flow's ends are."""
    guard: Guard = Field(default_factory=Guard)
    """When a plan needs approval."""
    drift: Literal["repair", "report"] = "repair"
    """Objects of ours that others changed. repair: put back and recorded. report: only shown."""
    clusters: tuple[Cluster, ...] = Field(min_length=1)
    """Where objects go."""
    audit: Audit = Field(default_factory=Audit)
    """The audit trail."""
    engine: Engine = Field(default_factory=Engine)
    """What runs the service's tasks."""
    health: Health = Field(default_factory=Health)
    """The service's endpoint for probes and metrics."""
    webhook: WebhookUrl | None = None
    """URL that is told when a plan is blocked, or a cluster or source fails or recovers; null:
    none."""
    webhook_url_file: FilePath | None = None
    """File that holds that URL, where it is a secret itself; instead of webhook."""
    webhook_secret_file: FilePath | None = None
    """File that holds the secret that calls are signed with (whsec_ and base64); null: unsigned."""
    webhook_ca_file: FilePath | None = None
    """PEM file of the authorities that may sign its certificate; null: the system's."""
    log: Log = Field(default_factory=Log)
    """What goes to stderr."""
    web: Web = Field(default_factory=Web)
    """The dashboard."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - not our signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not our signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not our signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not our signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """One source: the file with the environment laid over it by `environment.overlay`.

        pydantic-settings' own reading of the environment cannot reach into list items and stops
        at the first variable it cannot read.
        """
        return (init_settings,)

    @field_validator("sources")
    @classmethod
    def _sources_differ(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return _sound(sources, _repeated(((i, "name"), s.name) for i, s in enumerate(sources)))

    @field_validator("clusters")
    @classmethod
    def _clusters_fit(
        cls, clusters: tuple[Cluster, ...], info: ValidationInfo
    ) -> tuple[Cluster, ...]:
        problems = _repeated(((i, "name"), c.name) for i, c in enumerate(clusters))
        problems += _repeated(
            ((i, "path"), os.path.realpath(c.path)) for i, c in enumerate(clusters) if c.path
        )
        if "sources" in info.data:  # else they have problems of their own, and nothing can be said
            names = [source.name for source in info.data["sources"]]
            for i, cluster in enumerate(clusters):
                problems += [
                    Problem((i, "device_groups", *problem.place), problem.text)
                    for problem in _source_problems(cluster.device_groups, names)
                ]
        return _sound(clusters, problems)

    @model_validator(mode="after")
    def _queue_has_its_database(self) -> Self:
        text = "procrastinate needs a PostgreSQL in store.url; name one, or use embedded"
        alone = self.engine.kind == "procrastinate" and self.store.url.startswith("sqlite")
        return _sound(self, [Problem(("engine", "kind"), text)] if alone else [])

    @model_validator(mode="after")
    def _allowing_ends_nothing(self) -> Self:
        problems = []
        for cluster in self.clusters:
            ordered = sorted(cluster.device_groups, key=lambda group: group.order)
            first, later = ordered[:1], ordered[1:]
            if later and self.rules.allow_as == "Allow":
                text = (
                    f"Allow in tier {first[0].tier} would end the judgement before tier "
                    f"{later[0].tier} in cluster {cluster.name}; use Pass"
                )
                problems.append(Problem(("rules", "allow_as"), text))
        return _sound(self, problems)

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
        return _sound(self, problems)

    def source_of(self, group: DeviceGroup) -> Source:
        """The source that holds a device group of this configuration."""
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
    return problems + _repeated(
        ((i, "name"), f"{group.source or names[0]}/{group.name}") for i, group in enumerate(groups)
    )


def _misplaced(
    section: Section, keys_of_kind: Mapping[str, tuple[str, ...]], kind: str
) -> list[Problem]:
    """The keys that belong to another kind and say something."""
    fields = type(section).model_fields
    return [
        Problem((key,), f"belongs to kind {other}; remove it, or change kind")
        for other, keys in keys_of_kind.items()
        for key in keys
        if other != kind and getattr(section, key) != fields[key].default
    ]


def _repeated(values: Iterable[tuple[tuple[str | int, ...], Any]]) -> list[Problem]:
    """A problem at each place whose value stood at an earlier place of the same list."""
    seen: set[Any] = set()
    problems = []
    for place, value in values:
        if value in seen:
            text = f"{value} is already used by an earlier one; each must be different"
            problems.append(Problem(place, text))
        seen.add(value)
    return problems


def _sound(value: _T, problems: list[Problem]) -> _T:
    if problems:
        raise ProblemsError(problems)
    return value

"""Where objects go, and how large a step a plan may take there."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sync.settings.models.section import Section, duplicates, keys_of_other_kinds, valid
from sync.settings.problems import Problem
from sync.settings.values import (
    ClusterName,
    Duration,
    FilePath,
    Name,
    Network,
    Text,
    TierName,
    Whole,
)

Percent = Annotated[Whole, Field(ge=0, le=100)]
Count = Annotated[Whole, Field(ge=0)]
Order = Annotated[Whole, Field(ge=0, le=2**53 - 1)]  # Calico reads it as a float64


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
    """Below this many objects (or addresses of a set) the three limits above do not apply."""
    min_prefix_length: PrefixLengths = Field(default_factory=PrefixLengths)
    """A shorter prefix in an address group is refused."""
    exempt: tuple[Text, ...] = ()
    """Address groups that max_shrink_percent, max_grow_factor and min_prefix_length do not apply
    to."""
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
    """kubernetes: written over its API. manifests: one YAML file for each object in a directory."""
    path: FilePath | None = None
    """Directory of the manifests. Kind manifests only, and required there; no two share one."""
    kustomization: bool = False
    """true: a kustomization.yaml in path lists our files. Kind manifests only."""
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
    """Networks that hold every pod; empty: the cluster's IPPools, if they do, else unknown."""
    windows: Literal["refuse", "ignore"] = "refuse"
    """What to do with a cluster that has Windows nodes, which skip rules. Kind kubernetes only."""
    guard: ClusterGuard = Field(default_factory=ClusterGuard)
    """Overrides of guard for this cluster."""
    device_groups: tuple[DeviceGroup, ...]
    """The device groups of this cluster; the first one has the plain names of sets; `[]`: our
    objects are removed."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problems = keys_of_other_kinds(self, _CLUSTER_KEYS, self.kind)
        if self.kind == "manifests" and self.path is None:
            problems.append(Problem(("path",), "is missing; kind manifests needs it"))
        for key in ("tier", "order"):
            problems += duplicates(
                (("device_groups", i, key), getattr(group, key))
                for i, group in enumerate(self.device_groups)
            )
        return valid(self, problems)


_CLUSTER_KEYS = {
    "manifests": ("path", "kustomization"),
    "kubernetes": (
        "kubeconfig",
        "context",
        "exec_plugins",
        "exec_timeout",
        "insecure_skip_tls_verify",
        "windows",
    ),
}

"""The settings that control the translation of rules; docs/configuration.md has the keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Essential:
    """A flow that zoned pods may always have, before all rules. Ports are text: `53/udp`."""

    direction: Literal["ingress", "egress"]
    on: str
    pods: str = ""
    cidrs: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneDefinition:
    """A configured zone: selectors of its pods ("" for none); `networks` is None if not given."""

    selector: str = ""
    namespace_selector: str = ""
    networks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """`rules` of the configuration."""

    filter: str = ""
    applications: Literal["ports", "strict"] = "ports"
    devices: tuple[str, ...] = ()
    deny_applications: Literal["widen", "ports"] = "widen"
    filter_denies: bool = False
    allow_as: Literal["Pass", "Allow"] = "Pass"
    accept_dropped_members: tuple[str, ...] = ()
    accept_dropped_denies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneOptions:
    """`zones` of the configuration; `definitions` are in order of rank."""

    label: str = "firewall.tigera.io/zone"
    derive_networks: bool = True
    trust_addresses: bool = False
    unzoned_pods: Literal["pass", "deny"] = "pass"
    unknown_addresses: Literal["deny", "pass"] = "deny"
    essentials: tuple[Essential, ...] = ()
    definitions: Mapping[str, ZoneDefinition] = field(default_factory=dict)

"""The Calico objects that we write, as values, and their documents.

A document holds exactly what a cluster gives back, so that reading it shows no drift: Go leaves
out an empty list but writes an empty `source` and `destination` (the struct tags in
`api/pkg/apis/projectcalico/v3`), and `spec.tier`, `spec.types` and the tier's label are stated
because an API server would add them.

Nothing is checked here: `sync.calico.validator` judges the manifest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from sync.calico.manifest import Manifest
from sync.calico.names import TIER_LABEL

API_VERSION: Final = "projectcalico.org/v3"

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Tier": "tiers",
        "GlobalNetworkSet": "globalnetworksets",
        "GlobalNetworkPolicy": "globalnetworkpolicies",
        "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
    }
)
"""The kinds we write, each with its resource name."""

POLICIES: Final = ("GlobalNetworkPolicy", "StagedGlobalNetworkPolicy")
"""The kinds that hold rules."""

Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""Labels or annotations: keys with their values, each key once."""

Direction: TypeAlias = Literal["Ingress", "Egress"]


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier. Lower orders come first; a chain of ours holds all that it denies, so it passes."""

    name: str
    order: int
    default_action: Literal["Pass", "Deny"] = "Pass"
    labels: Pairs = ()
    annotations: Pairs = ()

    def manifest(self) -> Manifest:
        spec = {"order": self.order, "defaultAction": self.default_action}
        return _manifest("Tier", self.name, dict(self.labels), self.annotations, spec)


@dataclass(frozen=True, slots=True)
class GlobalNetworkSet:
    """A labelled set of CIDRs; `nets` are canonical. Without nets it matches no address."""

    name: str
    nets: tuple[str, ...]
    labels: Pairs = ()
    annotations: Pairs = ()

    def manifest(self) -> Manifest:
        # Absent and empty mean the same to Calico, but only an absent list survives the Go types
        # of an aggregated API server as it was sent.
        spec = _stated(nets=self.nets or None)
        return _manifest("GlobalNetworkSet", self.name, dict(self.labels), self.annotations, spec)


@dataclass(frozen=True, slots=True)
class EntityRule:
    """One end of a flow; all given fields must match, and empty ones do not constrain.

    So an empty `nets` is every address: where a rule's list came out empty, leave out the rule.
    Ports are numbers or ranges `first:last`.
    """

    selector: str = ""
    not_selector: str = ""
    namespace_selector: str = ""
    nets: tuple[str, ...] = ()
    not_nets: tuple[str, ...] = ()
    ports: tuple[int | str, ...] = ()
    not_ports: tuple[int | str, ...] = ()

    def with_ports(
        self, ports: tuple[int | str, ...], not_ports: tuple[int | str, ...] = ()
    ) -> "EntityRule":
        """The same end for these ports only."""
        return EntityRule(
            self.selector,
            self.not_selector,
            self.namespace_selector,
            self.nets,
            self.not_nets,
            ports,
            not_ports,
        )

    def document(self) -> dict[str, Any]:
        return _stated(
            selector=self.selector or None,
            notSelector=self.not_selector or None,
            namespaceSelector=self.namespace_selector or None,
            nets=self.nets or None,
            notNets=self.not_nets or None,
            ports=self.ports or None,
            notPorts=self.not_ports or None,
        )


@dataclass(frozen=True, slots=True)
class Icmp:
    """An ICMP type (0-254), and a code of it (0-255) or None for any."""

    type: int
    code: int | None = None

    def document(self) -> dict[str, Any]:
        return _stated(type=self.type, code=self.code)


ANY: Final = EntityRule()
"""Any end."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `protocol` is Calico's name for it (`TCP`, `ICMPv6`, ...) or a number 1-255."""

    action: Literal["Allow", "Deny", "Pass"]
    protocol: str | int | None = None
    ip_version: Literal[4, 6] | None = None
    source: EntityRule = ANY
    destination: EntityRule = ANY
    icmp: Icmp | None = None
    annotations: Pairs = ()

    def annotated(self, annotations: Pairs) -> "Rule":
        """The same rule with these annotations only."""
        return Rule(
            self.action,
            self.protocol,
            self.ip_version,
            self.source,
            self.destination,
            self.icmp,
            annotations,
        )

    def document(self) -> dict[str, Any]:
        always = {
            "action": self.action,
            "source": self.source.document(),
            "destination": self.destination.document(),
        }
        return always | _stated(
            protocol=self.protocol,
            ipVersion=self.ip_version,
            icmp=self.icmp and self.icmp.document(),
            metadata={"annotations": dict(self.annotations)} if self.annotations else None,
        )


@dataclass(frozen=True, slots=True)
class GlobalNetworkPolicy:
    """Rules for the pods that `selector` selects, at `order` in a tier; lower orders come first."""

    name: str
    tier: str
    order: int
    selector: str
    types: tuple[Direction, ...] = ("Ingress", "Egress")
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    labels: Pairs = ()
    annotations: Pairs = ()

    def manifest(self) -> Manifest:
        return _policy("GlobalNetworkPolicy", self, {})


@dataclass(frozen=True, slots=True)
class StagedGlobalNetworkPolicy(GlobalNetworkPolicy):
    """A policy that is only evaluated and logged; the same fields, another kind."""

    def manifest(self) -> Manifest:
        return _policy("StagedGlobalNetworkPolicy", self, {"stagedAction": "Set"})


Object: TypeAlias = Tier | GlobalNetworkSet | GlobalNetworkPolicy | StagedGlobalNetworkPolicy


def _policy(
    kind: str,
    policy: GlobalNetworkPolicy | StagedGlobalNetworkPolicy,
    staging: Mapping[str, str],
) -> Manifest:
    spec = {
        "tier": policy.tier,
        "order": policy.order,
        "selector": policy.selector,
        "types": policy.types,
        **staging,
        **_stated(
            ingress=[rule.document() for rule in policy.ingress] or None,
            egress=[rule.document() for rule in policy.egress] or None,
        ),
    }
    labels = dict(policy.labels) | {TIER_LABEL: policy.tier}
    return _manifest(kind, policy.name, labels, policy.annotations, spec)


def _manifest(
    kind: str, name: str, labels: Mapping[str, str], annotations: Pairs, spec: Mapping[str, Any]
) -> Manifest:
    metadata = {"name": name} | _stated(
        labels=labels or None, annotations=dict(annotations) or None
    )
    return Manifest.of(
        {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    )


def _stated(**fields: object) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}

"""Which groups and rules are translated, and where the ends of a flow are."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sync.settings.models.section import Section, valid
from sync.settings.problems import Problem
from sync.settings.values import LabelKey, Network, PortAndProtocol, Text

Ports = Annotated[tuple[PortAndProtocol, ...], Field(max_length=50)]  # Calico's limit for one rule


class AddressGroups(Section):
    """Which address groups become network sets."""

    tags: tuple[Text, ...] = ()
    """Only groups with one of these tags, and those that rules use; empty: every group."""


class Rules(Section):
    """Which rules become policies, and what is done with what Calico cannot express."""

    filter: str = ""
    """Expression over rule tags, as in "(k8s OR shared) AND NOT legacy"; empty: every rule."""
    applications: Literal["ports", "strict"] = "ports"
    """ports: an App-ID matches its default ports. strict: such allow rules are left out."""
    devices: tuple[Text, ...] = ()
    """Serial numbers of the firewalls whose rules apply to the clusters, for rules with a
    target."""
    deny_applications: Literal["widen", "ports"] = "widen"
    """widen: a deny of an App-ID whose ports are not surely known, or known only from
    zonebridge's own table, denies every service. ports: it denies only the known ones, which is
    more permissive."""
    filter_denies: bool = False
    """true: filter leaves out deny rules too, which is more permissive."""
    allow_as: Literal["Pass", "Allow"] = "Pass"
    """Pass: later tiers may narrow what is allowed. Allow: they may not."""
    accept_dropped_members: tuple[Text, ...] = ()
    """Rules or tags whose deny may lose a member that Calico cannot express (more permissive)."""
    accept_dropped_denies: tuple[Text, ...] = ()
    """Rules or tags whose deny may be left out if Calico cannot express it (more permissive)."""


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
        return valid(self, [] if self.pods or self.cidrs else [Problem(("pods",), text)])


class Workloads(Section):
    """Which pods belong to a zone."""

    selector: Text | None = None
    """Selector over pod labels. Users who create a pod set these: prefer namespace_selector."""
    namespace_selector: Text | None = None
    """Selector over namespace labels; with selector, both must match."""

    @model_validator(mode="after")
    def _select_something(self) -> Self:
        text = "is empty; give it selector or namespace_selector, or remove it"
        return valid(self, [] if self.selector or self.namespace_selector else [Problem((), text)])


class Zone(Section):
    """What is in one zone."""

    workloads: Workloads | None = None
    """The zone's pods; null: those with the zone's label."""
    networks: tuple[Network, ...] | None = None
    """The zone's networks outside pods; []: pods only; null: derived, or unknown."""


class Zones(Section):
    """How the ends of a flow are assigned to zones."""

    label: LabelKey = "firewall.tigera.io/zone"
    """Key of the pod label that names a pod's zone."""
    derive_networks: bool = True
    """Take the networks behind a zone from its template's interfaces and static routes."""
    trust_addresses: bool = False
    """true: an allow towards a zone without known networks applies to its addresses anywhere
    outside known zones."""
    unzoned_pods: Literal["pass", "deny"] = "pass"
    """Flows between a zoned pod and one without a zone, where no rule matches."""
    unknown_addresses: Literal["deny", "pass"] = "deny"
    """Flows with an address outside pods that is in no zone, where no rule matches."""
    essentials: tuple[Essential, ...] = ()
    """Flows that come before all rules, such as cluster DNS."""
    definitions: dict[str, Zone] = Field(default_factory=dict)
    """Zones by name, in order of rank; zones by label alone need no entry."""

    @field_validator("definitions")
    @classmethod
    def _definitions_differ(cls, definitions: dict[str, Zone]) -> dict[str, Zone]:
        problems = [
            Problem((name,), "is a word of PAN-OS and cannot be a zone; remove it")
            for name in definitions
            if name in ("any", "multicast")
        ]
        if "" in definitions:
            problems.append(Problem(("",), "cannot be the name of a zone; give it one"))
        holders: dict[Network, str] = {}
        for name, zone in definitions.items():
            for i, network in enumerate(zone.networks or ()):
                holder = holders.setdefault(network, name)
                if holder != name:
                    text = f"{network} is a network of zone {holder!r} too; leave it to one of them"
                    problems.append(Problem((name, "networks", i), text))
        return valid(definitions, problems)

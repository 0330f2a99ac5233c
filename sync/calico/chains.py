"""The policies of a zone in a tier, one after the other, and the two places where they can be.

A chain is in one of two generations: `a` has the orders from 1 up, `b` those from 0 down, before
it. Written front to back and removed back to front, every flow meets the old chain's verdict or the
new one's and never a third.
"""

from dataclasses import dataclass
from typing import Final, Literal

from sync.calico import names
from sync.calico.manifest import Manifest
from sync.calico.objects import GlobalNetworkPolicy, Pairs, Rule, StagedGlobalNetworkPolicy

Generation = Literal["a", "b"]

LAST_DEFAULT: Final = "unknown-addresses"
"""The name of the rule that ends a chain."""

GAP: Final = 10_000
"""Between the orders of a chain's policies; its zone decides where in the gap."""


RuleId = tuple[str, str, str, str, int]
"""A rule of the firewall: source, device group that is translated, device group that holds the
rule, rulebase, and the position there from 1."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The rule of the firewall that the Calico rule at a position of a policy came from.

    `direction` is `egress` or `ingress`; `position` counts from 0 there.
    """

    rule: RuleId
    direction: str
    position: int


@dataclass(frozen=True, slots=True)
class Part:
    """The content of one policy of a chain; `origins` leaves out default rules."""

    egress: tuple[Rule, ...]
    ingress: tuple[Rule, ...]
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneChain:
    """The policies of one zone in one tier, whichever generation they are written in."""

    tier: str
    zone: str
    selector: str
    staged: bool
    place: int
    labels: Pairs
    parts: tuple[Part, ...]

    @property
    def kind(self) -> str:
        return "StagedGlobalNetworkPolicy" if self.staged else "GlobalNetworkPolicy"

    def laid(self, generation: Generation) -> list[Manifest]:
        """Its manifests in a generation, first to last."""
        first = 1 if generation == "a" else 1 - len(self.parts)
        return [
            self._policy(generation, number, part, first + number - 1).manifest()
            for number, part in enumerate(self.parts, 1)
        ]

    def _policy(
        self, generation: Generation, number: int, part: Part, slot: int
    ) -> GlobalNetworkPolicy | StagedGlobalNetworkPolicy:
        name = names.policy_part_name(self.tier, self.zone, generation, number)
        if generation == "a" and number == 1:
            name = names.policy_name(self.tier, self.zone)
        kind = StagedGlobalNetworkPolicy if self.staged else GlobalNetworkPolicy
        return kind(
            name=name,
            tier=self.tier,
            order=slot * GAP + self.place,
            selector=self.selector,
            egress=part.egress,
            ingress=part.ingress,
            labels=self.labels,
            annotations=((names.CHAIN_ANNOTATION, self.zone),),
        )

    def is_policy(self, generation: Generation, kind: str, name: str) -> bool:
        """Whether an object is a policy of this chain in a generation, however many there are."""
        if kind != self.kind:
            return False
        if generation == "a" and name == names.policy_name(self.tier, self.zone):
            return True
        prefix = names.policy_part_name(self.tier, self.zone, generation, 0).removesuffix("0")
        return name.startswith(prefix) and name.removeprefix(prefix).isdigit()

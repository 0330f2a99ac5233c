"""What became of a rule, a group or a zone on its way to Calico, and why."""

from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """How faithful Calico rules are to the firewall's rule; the worst status that applies counts.

    `narrowed` is an allow that shrank, `widened` a deny that grew: both are safe. `more-permissive`
    is a loss that the configuration accepts.
    """

    EXACT = 0
    NARROWED = 1
    WIDENED = 2
    LEFT_OUT = 3
    MORE_PERMISSIVE = 4

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Loss:
    """One difference between Calico and the firewall: a clause for a firewall engineer."""

    status: Status
    reason: str


def worst(losses: "tuple[Loss, ...]") -> Status:
    """The status that follows from these losses."""
    return max((loss.status for loss in losses), default=Status.EXACT)


@dataclass(frozen=True, slots=True)
class RuleFidelity:
    """One rule of the effective rulebase of the device group `target` of `source`.

    `position` counts from 1 in its rulebase (`pre` or `post`) of `device_group`, the scope that
    holds it. `calico` names every rule it became: `policy[egress 3]`, counted from 0. `nat` names
    the NAT rules that translate some of its destinations.
    """

    source: str
    target: str
    device_group: str
    rulebase: str
    position: int
    name: str
    uuid: str
    allow: bool
    disabled: bool
    status: Status
    reasons: tuple[str, ...]
    calico: tuple[str, ...]
    nat: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str, str, str, int]:
        """Its position among the rules of all targets of a cluster."""
        return self.source, self.target, self.device_group, self.rulebase, self.position


@dataclass(frozen=True, slots=True)
class GroupFidelity:
    """One address group that a cluster gets; `exact`, or `narrowed` where something is missing."""

    name: str
    status: Status
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ZoneFidelity:
    """One zone of the device group `target` of `source`.

    `workloads` is the selector of its pods, `networks` its CIDRs or None where they are unknown;
    `origin` says where they come from, or why they are unknown. `rules` are the rules that name
    the zone. `by_pod_label`: the creator of a pod can put it into the zone.
    """

    source: str
    target: str
    name: str
    label_value: str
    workloads: str
    networks: tuple[str, ...] | None
    origin: str
    rules: tuple[str, ...]
    by_pod_label: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The fidelity of every rule, group and zone that one cluster gets.

    `rules` are in the order of evaluation, per target; `essentials` are the flows before them.
    """

    cluster: str
    rules: tuple[RuleFidelity, ...]
    groups: tuple[GroupFidelity, ...]
    zones: tuple[ZoneFidelity, ...]
    essentials: tuple[str, ...]

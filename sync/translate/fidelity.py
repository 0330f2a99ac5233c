"""What became of a rule, a group or a zone on its way to Calico, and why."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Literal

from sync.firewall.reasons import Reason
from sync.firewall.rules import Rule


class Status(IntEnum):
    """How faithful Calico rules are to the firewall's rule; the worst status that applies counts.

    `narrowed` is an allow that shrank, `widened` a deny that grew: both are safe. `more-permissive`
    is a loss that the configuration accepts.

    The others have no Calico rules, and no loss: `disabled` on the firewall; `not-targeted` at the
    firewalls that the clusters stand for; `matches-nothing`, on the firewall either;
    `not-enforced`, since no pod or network here is one of its ends.
    """

    EXACT = 0
    NARROWED = 1
    WIDENED = 2
    LEFT_OUT = 3
    MORE_PERMISSIVE = 4
    NOT_ENFORCED = 5
    MATCHES_NOTHING = 6
    NOT_TARGETED = 7
    DISABLED = 8

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")

    @property
    def without_loss(self) -> bool:
        """Whether Calico decides as the firewall does, with or without Calico rules."""
        return self is Status.EXACT or self >= Status.NOT_ENFORCED


@dataclass(frozen=True, slots=True)
class Loss:
    """One difference between Calico and the firewall: a clause for a firewall engineer.

    `kinds` are those of the reason: they say what to do. `about` names what it is about.
    Of a list with `no_rest`, nothing is known: what it is without the unknown is nothing.
    """

    status: Status
    reason: str
    kinds: frozenset[Reason]
    about: str = ""
    no_rest: bool = False


def loss(status: Status, reason: str, *kinds: Reason, about: str = "") -> Loss:
    """A difference, with one kind of reason at least."""
    return Loss(status, reason, frozenset(kinds), about)


def worst(losses: "tuple[Loss, ...]") -> Status:
    """The status that follows from these losses."""
    return max((each.status for each in losses), default=Status.EXACT)


class Extent(StrEnum):
    """How much of a rule earlier ones take.

    It is `empty` if no pod here is an end of its flows, and `unknown` where that would take too
    long to find out.
    """

    NONE = "none"
    PART = "part"
    WHOLE = "whole"
    EMPTY = "empty"
    UNKNOWN = "unknown"


Place = tuple[str, str, str, str, int]
"""A rule: source and device group of its target, the scope that holds it, rulebase, position."""


@dataclass(frozen=True, slots=True)
class Taker:
    """A rule before another one that takes some of its flows.

    `place` is None for what is no rule of the firewall's: an essential flow, or a default of an
    earlier tier. `widened`: it takes some of them only because it is larger than on the firewall.
    `targeted`: not every firewall of its device group has it.
    """

    name: str
    place: Place | None
    allow: bool
    widened: bool = False
    targeted: bool = False


@dataclass(frozen=True, slots=True)
class Shadow:
    """What rules before a rule leave of it, over all of its zones.

    `by` are those rules, in their order; `more`: there are others, which are not named. `flow` is
    one that the rule loses, if it can be to a rule that decides otherwise; "" if it loses none.
    `because` says why the extent is unknown.
    """

    extent: Extent
    by: tuple[Taker, ...] = ()
    flow: str = ""
    because: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True)
class RuleFidelity:
    """One rule of the effective rulebase of the device group `target` of `source`.

    `position` counts from 1 in its rulebase (`pre` or `post`) of `device_group`, the scope that
    holds it. `calico` names every rule it became: `policy[egress 3]`, counted from 0. `nat` names
    the NAT rules that translate some of its destinations. `remedies` says what to do about each of
    the `reasons`. `shadow` is what earlier rules leave of it in Calico, `firewall_shadow` on the
    firewall; None where nobody asked, or without rules that could match. `rule` is the rule as
    Panorama has it. It is its target's `own` if no other device group has it.
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
    remedies: tuple[str, ...] = ()
    shadow: Shadow | None = None
    firewall_shadow: Shadow | None = None
    rule: Rule | None = None
    own: bool = False

    @property
    def place(self) -> Place:
        """Its position among the rules of all targets of a cluster."""
        return self.source, self.target, self.device_group, self.rulebase, self.position


@dataclass(frozen=True, slots=True)
class GroupFidelity:
    """One address group that a cluster gets; `exact`, or `narrowed` where something is missing.

    `remedies` says what to do about the `reasons` together.
    """

    name: str
    status: Status
    reasons: tuple[str, ...]
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneFidelity:
    """One zone of the device group `target` of `source`.

    `workloads` is the selector of its pods, `networks` its CIDRs or None where they are unknown;
    `origin` says where they come from, or why they are unknown. `rules` are the rules that name
    the zone. `by_pod_label`: the creator of a pod can put it into the zone. `remedies` says what to
    do about unknown networks, and about such pods.
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
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceGroupFidelity:
    """One device group of a cluster, and the tier of its rules; `zones` counts those it names."""

    source: str
    target: str
    tier: str
    mode: Literal["enforced", "staged"]
    zones: int


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
    device_groups: tuple[DeviceGroupFidelity, ...] = ()

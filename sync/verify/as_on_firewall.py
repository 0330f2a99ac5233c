"""The rules as the firewall itself reads them: no setting accepts a loss there."""

from collections.abc import Sequence
from dataclasses import replace

from sync.options import RuleOptions
from sync.verify.firewall_semantics import Bound, Rulebase, RuleSemantics
from sync.verify.packet_space import Entry, Place
from sync.verify.profiles import DeviceGroup, Networks, Profiles
from sync.verify.settings import Settings


def as_on_firewall(
    group: DeviceGroup,
    networks: Networks,
    profiles: Profiles,
    settings: Settings,
    bound: Bound,
    *,
    read: Sequence[RuleSemantics] | None = None,
) -> Rulebase:
    """Read what the rules of a device group `surely` match, or `perhaps`.

    A rule of App-IDs, or of `application-default`, surely matches nothing: no port tells the
    application of a flow. What is registered at run time counts only where every firewall reports
    it. `read` is as for `Rulebase`.
    """
    return Rulebase(
        group,
        networks,
        profiles,
        RuleOptions(devices=settings.rules.devices, applications="strict"),
        replace(settings.zones, trust_addresses=False),
        registered_known=False,
        bound=bound,
        read=read,
    )


def of_unknown_action(rules: Rulebase) -> frozenset[Place]:
    """The rules whose action cannot be read: each may allow, and may deny."""
    return frozenset(
        each.place
        for each in rules.meant
        if any("<action>" in why for why in each.placed.rule.unreadable)
    )


def key_of(entry: Entry) -> Place | str:
    """What is equal for both readings of a rule: its place, or the name of a default."""
    return entry.place or entry.rule

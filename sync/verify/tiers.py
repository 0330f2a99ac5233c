"""The tiers of a cluster and the rulebases of their device groups, read once for all that judge.

device groups, documents, settings  ->  the profiles of the cluster's pods, and its tiers
a tier, when it is asked for them   ->  its policies; its rules as the firewall itself has them

The proof, the report, the zone matrix and `explain` compare the two.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf
from typing import Any

from sync.verify.as_on_firewall import as_on_firewall
from sync.verify.calico_semantics import Policies
from sync.verify.essentials import essential_policies
from sync.verify.firewall_semantics import Rulebase
from sync.verify.profiles import DeviceGroup, Networks, Profiles, networks_of, zones_named
from sync.verify.selectors import Labels
from sync.verify.settings import Settings


class Tier:
    """One tier, and the rulebase of its device group.

    `elsewhere` are the zones that only other device groups name, `profiles` those of the cluster.
    `UnreadableError` where policies are asked for that cannot be judged.
    """

    def __init__(
        self,
        group: DeviceGroup,
        elsewhere: frozenset[str],
        documents: Sequence[Mapping[str, Any]],
        profiles: Profiles,
        settings: Settings,
        *,
        last: bool,
    ) -> None:
        """`last`: no tier of ours comes later."""
        self.group = group
        self.elsewhere = elsewhere
        self.documents = documents
        self.profiles = profiles
        self.settings = settings
        self.zones = zones_named(group)
        self._last = last

    @cached_property
    def networks(self) -> Networks:
        """The addresses outside pods of its zones."""
        return networks_of(self.group, self.settings.zones, self.elsewhere)

    @cached_property
    def policies(self) -> Policies:
        """Its policies, over the sets of the cluster."""
        return Policies(self.group.tier, self.documents, self.profiles, last=self._last)

    @cached_property
    def essentials(self) -> frozenset[str]:
        """The names of its policies that pass essential flows."""
        return essential_policies(self.group.tier, self.documents, self.settings.zones.essentials)

    @cached_property
    def surely(self) -> Rulebase:
        """What its rules surely match on the firewall itself."""
        return as_on_firewall(self.group, self.networks, self.profiles, self.settings, "surely")

    @cached_property
    def perhaps(self) -> Rulebase:
        """What its rules may match on the firewall itself."""
        return as_on_firewall(self.group, self.networks, self.profiles, self.settings, "perhaps")


class Tiers:
    """The tiers of one cluster; `each` of them in the order of its device groups."""

    def __init__(
        self,
        groups: Sequence[DeviceGroup],
        documents: Sequence[Mapping[str, Any]],
        settings: Settings,
        pods: Sequence[Labels] = (),
    ) -> None:
        """`documents` are all sets, tiers and policies of ours; `pods` as for `Profiles`."""
        self.settings = settings
        named = {group.tier: zones_named(group) for group in groups}
        every = frozenset(settings.zones.definitions).union(*named.values())
        self.profiles = Profiles(every, settings.zones, pods)
        self._orders = {
            each["metadata"]["name"]: each["spec"]["order"]
            for each in documents
            if each["kind"] == "Tier"
        }
        last = max((group.tier for group in groups), key=self._order, default="")
        self.each = tuple(
            Tier(
                group,
                frozenset[str]().union(*named.values()) - named[group.tier],
                documents,
                self.profiles,
                settings,
                last=group.tier == last,
            )
            for group in groups
        )

    def as_asked(self) -> list[Tier]:
        """Each tier, in the order in which Calico asks them; one that does not exist comes last."""
        return sorted(self.each, key=lambda each: self._order(each.group.tier))

    def _order(self, tier: str) -> tuple[float, str]:
        return self._orders.get(tier, inf), tier

"""The settings of a cluster, as far as the proof and all that reads like it depend on them."""

from dataclasses import dataclass, field

from sync.net.addresses import AddressSet
from sync.options import RuleOptions, ZoneOptions


@dataclass(frozen=True, slots=True)
class Settings:
    """What the proof assumes: the settings of a cluster.

    `pods` hold every pod of the cluster; None: they are unknown.
    """

    rules: RuleOptions = field(default_factory=RuleOptions)
    zones: ZoneOptions = field(default_factory=ZoneOptions)
    pods: AddressSet | None = None
    registered_known: bool = True

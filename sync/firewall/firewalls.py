"""Which firewalls a device group has, of those that the settings name."""

from collections.abc import Collection
from dataclasses import dataclass

from sync.firewall.configuration import Configuration, family_of


@dataclass(frozen=True, slots=True)
class Firewalls:
    """The `serials` of the firewalls of a device group and of those below it; `known`: of all."""

    serials: frozenset[str] = frozenset()
    known: bool = True

    def among(self, devices: Collection[str]) -> frozenset[str]:
        """Those of `rules.devices` that have the device group's rules.

        None: the setting speaks of other device groups only, so that any of its firewalls counts.
        A configuration that lists no firewall here leaves the setting as it is.
        """
        if not self.serials and self.known:
            return frozenset(devices)
        ours = self.serials & {*devices}
        return ours if self.known or not ours else frozenset(devices)


NO_FIREWALLS = Firewalls()


def firewalls_of(configuration: Configuration, device_group: str) -> Firewalls:
    """The firewalls of a device group, as far as they can be read."""
    family = family_of(configuration, device_group)
    return Firewalls(
        frozenset(serial for group in family for serial, _ in group.devices),
        not any(group.unreadable for group in family),
    )

"""Warn of settings that replace or name what a firewall's configuration has otherwise.

Nothing of this is an error: such a setting may be meant, but more often it is a misunderstanding
or a typing error, and then flows are open that an operator believes closed.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, NamedTuple

from sync.firewall.configuration import SHARED, Configuration, Scope
from sync.firewall.zone_networks import Derived
from sync.net.addresses import AddressSet, network
from sync.options import RuleOptions, ZoneOptions
from sync.reconcile.device_groups import TierBinding

_NAMED: Final = 4  # networks, rules or firewalls in a warning


class FromTemplates(NamedTuple):
    """What the templates of a device group give to its zones."""

    device_group: str
    derived: Derived


@dataclass(frozen=True, slots=True)
class Used:
    """All device groups of all clusters, as (source, name), and the configurations of their
    sources; of a source that was not read there is none."""

    device_groups: Collection[tuple[str, str]]
    configurations: Mapping[str, Configuration]

    @classmethod
    def by(
        cls, bindings: Iterable[TierBinding], configurations: Mapping[str, Configuration]
    ) -> "Used":
        """What these device groups of clusters use."""
        return cls({(each.source, each.name) for each in bindings}, configurations)


def replaced_networks(zones: ZoneOptions, given: Iterable[FromTemplates]) -> list[str]:
    """Return a warning for each zone and device group of which the configured networks leave out
    some that templates give to the zone."""
    if not zones.derive_networks:
        return []
    configured = {
        name: each.networks for name, each in zones.definitions.items() if each.networks is not None
    }
    return [
        f"zones.definitions.{zone}.networks leaves out {_first(left)}, which the templates of "
        f"device group {here.device_group} give to this zone; configured networks apply to all "
        "device groups and replace those of templates, so add them here, unless the zone does "
        "not have them"
        for here in given
        for zone in configured
        if (left := _left_out(zone, configured, here.derived))
    ]


def _left_out(
    zone: str, configured: Mapping[str, tuple[str, ...]], derived: Derived
) -> tuple[str, ...]:
    """The networks of templates of which a part belongs to the zone no longer.

    The longest prefix counts: what other zones hold within a network is not the zone's.
    """
    prefixes = derived.networks.get(zone, ())
    if not prefixes:
        return ()
    held = AddressSet.union(map(network, configured[zone]))
    of_others = [
        each
        for name, networks in (*derived.networks.items(), *configured.items())
        if name != zone
        for each in networks
    ]
    return tuple(
        prefix
        for prefix in prefixes
        if (missing := network(prefix) - held)
        and missing - AddressSet.union(network(each) for each in of_others if _within(each, prefix))
    )


def _within(inner: str, outer: str) -> bool:
    one, other = ip_network(inner, strict=False), ip_network(outer, strict=False)
    return (
        one.version == other.version
        and one.prefixlen >= other.prefixlen
        and one.supernet(new_prefix=other.prefixlen) == other
    )


def unknown_names(rules: RuleOptions, used: Used) -> list[str]:
    """Return warnings about rules, tags and firewalls in the settings that no source has.

    Nothing is said where not all device groups of all clusters are known.
    """
    if not used.device_groups or not all(
        source in used.configurations and name in used.configurations[source].device_groups
        for source, name in used.device_groups
    ):
        return []
    return [*_unknown_rules(rules, used), *_unknown_devices(rules, used)]


def _unknown_rules(rules: RuleOptions, used: Used) -> Iterator[str]:
    settings = {
        "accept_dropped_members": rules.accept_dropped_members,
        "accept_dropped_denies": rules.accept_dropped_denies,
    }
    if not any(settings.values()):
        return
    known = {
        name
        for scope in _scopes(used)
        for rule in (*scope.rulebases.pre, *scope.rulebases.post)
        for name in (rule.name, *rule.tags)
    }
    for key, named in settings.items():
        unknown = sorted({*named} - known)
        if unknown:
            yield (
                f"rules.{key}: no rule of the clusters' device groups has the name or tag "
                f"{_first(map(repr, unknown))}; correct or remove it"
            )


def _unknown_devices(rules: RuleOptions, used: Used) -> Iterator[str]:
    groups = [
        group
        for source in {source for source, _ in used.device_groups}
        for group in used.configurations[source].device_groups.values()
    ]
    known = {serial for group in groups for serial, _ in group.devices}
    # Without devices an export has none to compare with, or they could not all be read.
    unknown = sorted({*rules.devices} - known)
    if known and unknown and not any(group.unreadable for group in groups):
        yield (
            f"rules.devices: no device group of the sources has the firewall {_first(unknown)}; "
            "correct or remove the serial number"
        )


def _scopes(used: Used) -> Iterator[Scope]:
    """The scopes of all device groups and their ancestors."""
    for source in {source for source, _ in used.device_groups}:
        yield used.configurations[source].shared
    seen = set()
    for source, name in used.device_groups:
        groups = used.configurations[source].device_groups
        at = name
        while at in groups and at != SHARED and (source, at) not in seen:
            seen.add((source, at))
            yield groups[at].scope
            at = groups[at].parent


def _first(named: Iterable[str]) -> str:
    shown = list(named)
    more = len(shown) - _NAMED
    return ", ".join(shown[:_NAMED]) + (f" and {more} more" if more > 0 else "")

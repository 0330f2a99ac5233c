"""The addresses behind each zone, as far as templates and stacks surely define them.

A zone's networks are those of its interfaces and of the static routes that lead out of them, by
longest prefix within each virtual router (`sync.firewall.routing`). What a firewall holds locally
is not in the document at all, and links are taken to be up.

An address counts as a zone's only if every view that leads it anywhere leads it there; where two
views differ, both zones are unknown. A default route is a view of every address like any other
route. What may lead any address anywhere leaves every zone of the device group unknown. A router
without a view of an address contradicts no other: several routers may have different parts of the
network.

Sources: PAN-OS networking administrator's guide ("Virtual Routers", "Static Routes"), Panorama
administrator's guide ("Templates and Template Stacks").
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sync.firewall.configuration import Configuration, DeviceGroup, family_of
from sync.firewall.parse.xml import brief
from sync.firewall.prefixes import (
    DEFAULT_ROUTES,
    Prefix,
    addresses_of,
    cidr_of,
    nested,
    order_of,
    within,
)
from sync.firewall.routing import RouterView, router_views
from sync.firewall.stacks import stacked_firewalls
from sync.net.addresses import AddressSet


@dataclass(frozen=True, slots=True)
class Derived:
    """The zones that the templates and stacks of a device group name, in name order.

    `networks` holds the CIDRs of zones whose networks are known, IPv4 first, ascending. Where
    those of two zones overlap the longer prefix counts. `unknown_because` gives one clause for
    every other zone. `everything_else` are the known zones that a default route leads to, each with
    the CIDRs in `networks` that are left of it: they give way to any other network, however short
    its prefix, and hold only while every other zone's networks are known. `may_hold` has prefixes
    that lead to a zone of unknown networks, default routes apart: some of what it may hold.
    """

    zones: tuple[str, ...]
    networks: Mapping[str, tuple[str, ...]]
    unknown_because: Mapping[str, str]
    everything_else: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    may_hold: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


NOTHING = Derived((), {}, {})


def derived(configuration: Configuration, device_group: str) -> Derived:
    """The networks of zones according to the templates of a device group and of those below it.

    An interface without a zone, a zone of another virtual system and a route that discards hold
    their addresses back from every zone of that router. `KeyError` for a device group that is
    not in the configuration (`sync.firewall.effective` refuses it first).
    """
    groups = family_of(configuration, device_group)
    firewalls, gaps = stacked_firewalls(configuration, groups)
    gaps += _forwarding(configuration, groups)
    zones = tuple(sorted({zone.name for firewall in firewalls for zone in firewall.zones}))
    unknown: dict[str, str] = {}
    views: list[RouterView] = []
    for firewall in firewalls:
        seen, unseen = router_views(firewall, unknown)
        views += seen
        gaps += unseen
    if gaps:
        unknown = dict.fromkeys(zones, gaps[0])
    else:
        _find_contradictions(views, unknown)
    networks, everything_else = _networks(views, unknown)
    return Derived(
        zones,
        {zone: networks[zone] for zone in zones if zone not in unknown},
        dict(sorted(unknown.items())),
        everything_else,
        _may_hold(views, unknown),
    )


def _forwarding(configuration: Configuration, groups: Iterable[DeviceGroup]) -> list[str]:
    """One clause for each scope whose rules send packets another way than routes do."""
    scopes = {"Shared": configuration.shared}
    for group in groups:
        name = group.name
        while name in configuration.device_groups and f"device group {name!r}" not in scopes:
            scopes[f"device group {name!r}"] = configuration.device_groups[name].scope
            name = configuration.device_groups[name].parent
    return [
        f"{name} has policy-based forwarding or SD-WAN rules, which overrule routes"
        for name, scope in scopes.items()
        if scope.forwards_by_policy
    ]


def _find_contradictions(views: list[RouterView], unknown: dict[str, str]) -> None:
    """Mark as unknown the zones to which two views lead the same addresses."""
    # Which views speak of a prefix, and which of them lead it to a zone.
    spoken: dict[Prefix, set[int]] = {}
    led: dict[Prefix, dict[str, set[int]]] = {}
    for number, view in enumerate(views):
        for prefix, ends in view.claims.items():
            spoken.setdefault(prefix, set()).add(number)
            zones = led.setdefault(prefix, {})
            for zone in sorted(each for each in ends if each is not None):
                zones.setdefault(zone, set()).add(number)
    for prefix, around in nested(led):
        # Only the longest prefix of a view that holds this one is its word on it.
        answered: set[int] = set()
        for outer in (prefix, *reversed(around)) if led[prefix] else ():
            for zone, here in led[prefix].items():
                for other, by in led[outer].items():
                    if zone == other or {zone, other} <= unknown.keys() or not by - answered:
                        continue
                    first, second = views[min(here)].name, views[min(by - answered)].name
                    because = brief(
                        f"{first} and {second} disagree about {cidr_of(prefix)}, which leads to "
                        f"{zone!r} in the one and to {other!r} in the other"
                    )
                    remedy = "set networks in zones.definitions"
                    for each in (zone, other):
                        unknown.setdefault(each, f"{because}: {remedy}")
            answered |= spoken[outer]


def _networks(
    views: list[RouterView], unknown: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """The CIDRs of each known zone, and those of them that are left of default routes.

    A prefix stays as it is routed, so that longer ones in it can still be told from it, unless
    something in it is no known zone's. Then it is cut into what is left of it without the longer
    prefixes of its router.
    """
    pieces: dict[str, set[str]] = {}
    defaults: dict[str, set[str]] = {}
    cut: dict[tuple[Prefix, tuple[Prefix, ...]], list[str]] = {}
    for view in views:
        ordered = sorted(view.claims)
        for prefix, ends in view.claims.items():
            zone = min((each for each in ends if each is not None), default=None)
            if zone is None or zone in unknown:
                continue
            longer = tuple(within(prefix, ordered))
            if all(
                end is not None and end not in unknown
                for each in longer
                for end in view.claims[each]
            ):
                longer = ()
            if (prefix, longer) not in cut:
                cut[prefix, longer] = (
                    addresses_of(prefix) - AddressSet.union(map(addresses_of, longer))
                ).cidrs()
            pieces.setdefault(zone, set()).update(cut[prefix, longer])
            if prefix in DEFAULT_ROUTES:
                defaults.setdefault(zone, set()).update(cut[prefix, longer])
    return _sorted(pieces), _sorted(defaults)


def _may_hold(views: list[RouterView], unknown: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The prefixes, other than default routes, that any view leads to each unknown zone."""
    found: dict[str, set[str]] = {}
    for view in views:
        for prefix, ends in view.claims.items():
            for zone in ends if prefix not in DEFAULT_ROUTES else ():
                if zone is not None and zone in unknown:
                    found.setdefault(zone, set()).add(cidr_of(prefix))
    return _sorted(found)


def _sorted(found: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {zone: tuple(sorted(found[zone], key=order_of)) for zone in sorted(found)}

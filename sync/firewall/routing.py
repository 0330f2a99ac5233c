"""The zones to which one virtual router leads addresses, by interfaces and static routes.

The zone of an address depends on the virtual router by which a packet comes in, and nothing here
says by which it does: each router of each virtual system of each firewall has its own view. A
router that learns routes, or whose addresses are not in the document, may lead any address to its
zones, and so may a layer 2 or virtual wire zone, which forwards without a router.

A router has no view of an address that it has no route for, discards or leads to an interface
without a zone: it drops such packets before it asks any rule. Nor does a router count that has no
interface in a zone of the device group, since no packet that its rules judge comes in by it. What
leads to another virtual system's interface is in an external zone, if the system has one.

Sources: PAN-OS networking administrator's guide ("Virtual Routers", "Static Routes", "Layer 2
Interfaces", "Virtual Wire Interfaces"), PAN-OS administrator's guide ("Communication Between
Virtual Systems").
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sync.firewall.parse.xml import brief
from sync.firewall.prefixes import Prefix, cidr_of, inside, nested, prefix_of
from sync.firewall.stacks import StackedFirewall
from sync.firewall.templates import Interface, StaticRoute, VirtualRouter, Zone

# Addresses of one link only, which no router leads to.
_LINK_LOCAL: Prefix = (6, 0xFE80 << 112, 0xFEC0 << 112)
# Next hops that leave by the route's interface.
_BY_INTERFACE = frozenset({"", "none", "ip-address", "ipv6-address", "fqdn"})
_BY_ADDRESS = frozenset({"ip-address", "ipv6-address"})
# Zones that forward without a router. A zone of no known kind may be one; a tap forwards nothing.
_BRIDGING: Mapping[str, str] = {
    "layer2": "a layer2 zone",
    "virtual-wire": "a virtual-wire zone",
    "": "a zone of no one known kind",
}


@dataclass(frozen=True, slots=True)
class RouterView:
    """The view of a virtual router of a virtual system: the zones each prefix may lead to.

    None stands for no zone: what leads there is dropped. `name` is the router's, for messages.
    """

    name: str
    claims: Mapping[Prefix, frozenset[str | None]]


_NO_ZONE: frozenset[str | None] = frozenset({None})


def router_views(
    firewall: StackedFirewall, unknown: dict[str, str]
) -> tuple[list[RouterView], list[str]]:
    """The views of a firewall, and a clause for each way by which any address may be anywhere.

    Its zones that cannot be known for a reason of their own go into `unknown`.
    """
    unseen = [
        brief(
            f"zone {zone.name!r} of {firewall.name} is {_BRIDGING[zone.kind]}: what comes in by it "
            "is not routed, and any address may be behind it"
        )
        for zone in firewall.zones
        if zone.kind in _BRIDGING and zone.interfaces
    ]
    routers_of: dict[str, list[VirtualRouter]] = {}
    for router in firewall.routers.values():
        for name in router.interfaces:
            routers_of.setdefault(name, []).append(router)
    for zone in firewall.zones:
        if problem := _zone_problem(firewall, zone, routers_of):
            unknown.setdefault(zone.name, brief(f"{problem} ({firewall.name})"))
    views: list[RouterView] = []
    for system in sorted({zone.vsys for zone in firewall.zones}):
        seen, more = _views_of_system(firewall, system, routers_of)
        views += seen
        unseen += more
    led: set[str | None] = set()
    for view in views:
        for prefix, ends in view.claims.items():
            led |= ends
            if len(ends) > 1:
                because = f"{cidr_of(prefix)} leads to more than one end in {view.name}"
                _not_known(ends, because, unknown)
    for zone in firewall.zones:
        if zone.name not in led:
            unknown.setdefault(
                zone.name,
                brief(f"no address or route leads to its interfaces ({firewall.name})"),
            )
    return views, unseen


def _views_of_system(
    firewall: StackedFirewall, system: str, routers_of: Mapping[str, list[VirtualRouter]]
) -> tuple[list[RouterView], list[str]]:
    """The view of each router that packets of a virtual system enter by, or why it is unknown."""
    zones = [zone for zone in firewall.zones if zone.vsys == system]
    alone = len(zones) == len(firewall.zones)
    place = f"of {firewall.name}" + ("" if alone else f" ({system})")
    zones_of: dict[str, frozenset[str | None]] = {}
    for zone in zones:
        for name in zone.interfaces:
            zones_of[name] = zones_of.get(name, frozenset()) | {zone.name}
    # What is led to another virtual system, or to a shared gateway, passes such a zone.
    outside = frozenset(zone.name for zone in zones if zone.kind == "external") or _NO_ZONE
    views: list[RouterView] = []
    unseen: list[str] = []
    for router in firewall.routers.values():
        if not any(name in zones_of for name in router.interfaces):
            continue
        ends_of = {name: zones_of.get(name, outside) for name in router.interfaces}
        claims, problems = _claims(firewall, router, ends_of)
        shared = [name for name in router.interfaces if len(routers_of[name]) > 1]
        problems += [f"its interface {name!r} is in another one too" for name in shared]
        view = RouterView(f"virtual router {router.name!r} {place}", _candidates(claims))
        views.append(view)
        if problems:
            unseen.append(brief(f"{view.name}: {problems[0]}"))
    for name in sorted(zones_of.keys() - routers_of.keys()):
        # Their zones are unknown; that others have the same addresses is to be seen.
        interface = firewall.interfaces.get(name, Interface(name))
        prefixes = filter(None, map(prefix_of, interface.addresses))
        views.append(
            RouterView(f"interface {name!r} {place}", dict.fromkeys(prefixes, zones_of[name]))
        )
    return views, unseen


def _zone_problem(
    firewall: StackedFirewall, zone: Zone, routers_of: Mapping[str, list[VirtualRouter]]
) -> str:
    if zone.name in firewall.contested:
        return "templates define it differently"
    if zone.kind != "layer3":
        return f"it is a {zone.kind} zone, not a layer3 zone" if zone.kind else "it is of no kind"
    if not zone.interfaces:
        return "it has no interfaces"
    for name in zone.interfaces:
        if name not in routers_of:
            return f"its interface {name!r} is in no virtual router"
    return ""


def _not_known(ends: Iterable[str | None], because: str, unknown: dict[str, str]) -> None:
    for zone in ends:
        if zone is not None:
            unknown.setdefault(zone, brief(because))


# A prefix, where it leads, and whether it may be withdrawn in favour of a shorter one.
_Claim = tuple[Prefix, frozenset[str | None], bool]


def _claims(
    firewall: StackedFirewall, router: VirtualRouter, ends_of: Mapping[str, frozenset[str | None]]
) -> tuple[list[_Claim], list[str]]:
    """The view by a router's interfaces and static routes, and why that is not all.

    Names of address objects are not resolved: which of the objects of a name a template means is
    the firewall's to know.
    """
    problems = [*router.unreadable]
    if router.dynamic:
        problems.append(f"it learns routes by {', '.join(router.dynamic)}")
    claims: list[_Claim] = []
    connected: list[tuple[Prefix, str]] = []
    for name in router.interfaces:
        interface = firewall.interfaces.get(name)
        if interface is None:
            problems.append(f"its interface {name!r} is not in the templates")
            continue
        elsewhere = [*interface.unreadable]
        if name in firewall.learning:
            elsewhere.append("GlobalProtect")
        if elsewhere:
            problems.append(f"its interface {name!r} has addresses from {', '.join(elsewhere)}")
        for written in interface.addresses:
            prefix = prefix_of(written)
            if prefix is None:
                problems.append(
                    f"its interface {brief(name)!r} has the address {written!r}, a name or a "
                    "variable"
                )
            else:
                connected.append((prefix, name))
                if not inside(prefix, _LINK_LOCAL):
                    claims.append((prefix, ends_of[name], False))
    for route in router.routes:
        prefix, ends, problem = _route(route, connected, ends_of)
        if problem:
            problems.append(f"its static route {route.name!r} {problem}")
        if prefix is not None and ends is not None:
            claims.append((prefix, ends, route.monitored))
    return claims, problems


def _route(
    route: StaticRoute,
    connected: Iterable[tuple[Prefix, str]],
    ends_of: Mapping[str, frozenset[str | None]],
) -> tuple[Prefix | None, frozenset[str | None] | None, str]:
    """Where a static route leads from and to, each None if that is not known, and why it is not."""
    prefix = prefix_of(route.destination)
    kind, hop = route.next_hop
    problem = f"cannot be read: {route.unreadable[0]}" if route.unreadable else ""
    if prefix is None:
        problem = f"has the destination {route.destination!r}, which is not a network"
    if kind == "discard":
        return prefix, _NO_ZONE, problem
    if kind not in _BY_INTERFACE:
        return prefix, None, f"leads on by {kind} {hop}".rstrip()
    if route.interface:
        if route.interface not in ends_of:
            return prefix, None, f"leads to {route.interface!r}, which is not an interface of it"
        return prefix, ends_of[route.interface], problem
    at = prefix_of(hop) if kind in _BY_ADDRESS else None
    names = {name for network, name in connected if at is not None and inside(at, network)}
    if len(names) != 1:
        said = f"the next hop {hop!r}" if hop else "no next hop"
        return prefix, None, f"has {said}, which is in no single network of its interfaces"
    return prefix, ends_of[names.pop()], problem


def _candidates(claims: Iterable[_Claim]) -> dict[Prefix, frozenset[str | None]]:
    """Where each prefix may lead: a route that may be withdrawn leaves the next shorter one's."""
    ends: dict[Prefix, frozenset[str | None]] = {}
    stays: set[Prefix] = set()
    for prefix, to, withdrawn in claims:
        ends[prefix] = ends.get(prefix, frozenset()) | to
        if not withdrawn:
            stays.add(prefix)
    for prefix, around in nested(ends):
        if prefix not in stays and around:
            ends[prefix] |= ends[around[-1]]
    return ends

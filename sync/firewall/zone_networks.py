"""Which addresses lie behind which zone, as far as templates and stacks surely say.

A zone's networks are those of its interfaces and of the static routes that lead out of them, by
longest prefix within each virtual router. What a firewall holds locally is not in the document at
all, and links are taken to be up.

The zone of an address depends on the virtual router by which a packet comes in, and nothing here
says by which it does: each router of each virtual system of each firewall has its own view. An
address counts as a zone's only if every view that leads it anywhere leads it there; where two
views differ, both zones are unknown. A default route is a view of every address like any other
route. A router that learns routes, or whose addresses are not in the document, may lead any address
to its zones, and so may a layer 2 or virtual wire zone, which forwards without a router: either
leaves every zone of the device group unknown.

A router has no view of an address that it has no route for, discards or leads to an interface
without a zone: it drops such packets before it asks any rule. That several routers have different
parts of the network is therefore no contradiction. Nor does a router count that has no interface
in a zone of the device group, since no packet that its rules judge comes in by it. What leads to
another virtual system's interface is in an external zone, if the system has one.

Sources: PAN-OS networking administrator's guide ("Virtual Routers", "Static Routes", "Layer 2
Interfaces", "Virtual Wire Interfaces"), PAN-OS administrator's guide ("Communication Between
Virtual Systems"), Panorama administrator's guide ("Templates and Template Stacks").
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sync.firewall.configuration import Configuration, DeviceGroup, family_of
from sync.firewall.parse.xml import brief
from sync.firewall.templates import (
    Interface,
    Network,
    StaticRoute,
    TemplateStack,
    VirtualRouter,
    Zone,
)
from sync.net import addresses
from sync.net.addresses import AddressSet

# A network as (family, first address, first address past it); they sort by where they begin.
_Prefix = tuple[int, int, int]

# Addresses of one link only, which no router leads to.
_LINK_LOCAL: _Prefix = (6, 0xFE80 << 112, 0xFEC0 << 112)
_DEFAULTS: frozenset[_Prefix] = frozenset({(4, 0, addresses.V4_END), (6, 0, addresses.V6_END)})
# Next hops that leave by the route's interface.
_BY_INTERFACE = frozenset({"", "none", "ip-address", "ipv6-address", "fqdn"})
_BY_ADDRESS = frozenset({"ip-address", "ipv6-address"})
_OTHERWISE = "another template that says otherwise"
# Zones that forward without a router. A zone of no known kind may be one; a tap forwards nothing.
_BRIDGING: Mapping[str, str] = {
    "layer2": "a layer2 zone",
    "virtual-wire": "a virtual-wire zone",
    "": "a zone of no one known kind",
}


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
    """What the templates of a device group and of those below it say of their zones' networks.

    An interface without a zone, a zone of another virtual system and a route that discards hold
    their addresses back from every zone of that router. `KeyError` for a device group that is
    not in the configuration (`sync.firewall.effective` refuses it first).
    """
    groups = family_of(configuration, device_group)
    firewalls, gaps = _firewalls(configuration, groups)
    gaps += _forwarding(configuration, groups)
    zones = tuple(sorted({zone.name for firewall in firewalls for zone in firewall.zones}))
    unknown: dict[str, str] = {}
    ways: list[_Way] = []
    for firewall in firewalls:
        seen, unseen = _ways(firewall, unknown)
        ways += seen
        gaps += unseen
    if gaps:
        unknown = dict.fromkeys(zones, gaps[0])
    else:
        _find_contradictions(ways, unknown)
    networks, everything_else = _networks(ways, unknown)
    return Derived(
        zones,
        {zone: networks[zone] for zone in zones if zone not in unknown},
        dict(sorted(unknown.items())),
        everything_else,
        _may_hold(ways, unknown),
    )


# --- which templates ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Firewall:
    """The layers of a stack laid over one another, as every firewall of the stack has them.

    `zones` are those of the virtual systems that the device group has, `contested` the names of
    those of which two layers say different things.
    """

    name: str
    zones: tuple[Zone, ...]
    contested: frozenset[str]
    interfaces: Mapping[str, Interface]
    routers: Mapping[str, VirtualRouter]
    learning: frozenset[str]


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


# The virtual systems that a device group has of a firewall; None for all of them.
_Systems = frozenset[str] | None


def _firewalls(
    configuration: Configuration, groups: Iterable[DeviceGroup]
) -> tuple[list[_Firewall], list[str]]:
    """The firewalls of device groups, and one clause for whatever leaves zones of them unnamed."""
    stacks, templates, gaps = _named(configuration, groups)
    # Stacks of the same layers are one firewall here, however many there are.
    laid: dict[tuple[Network, tuple[str, ...], _Systems], _Firewall] = {}
    for name, systems in stacks.items():
        stack = configuration.stacks[name]
        layers, missing = _layers(configuration, stack)
        gaps += missing
        key = (stack.network, stack.templates, systems)
        if key not in laid:
            laid[key] = _lay(f"stack {name!r}", layers, systems)
        found = {zone.vsys for layer in layers for zone in layer.zones}
        absent = (systems or frozenset()) - found
        if not found:
            gaps.append(f"the templates of stack {name!r} name no zones")
        elif absent:
            gaps.append(
                f"the templates of stack {name!r} name no zones of {', '.join(sorted(absent))}"
            )
    for name in templates:
        network = configuration.templates[name].network
        gaps += [f"of template {name!r} {each}" for each in network.unreadable]
        if (Network(), (name,), None) not in laid:
            laid[Network(), (name,), None] = _lay(f"template {name!r}", [network], None)
    return list(laid.values()), gaps


def _named(
    configuration: Configuration, groups: Iterable[DeviceGroup]
) -> tuple[dict[str, _Systems], list[str], list[str]]:
    """The stacks and the single templates of device groups, and one clause for what is missing."""
    stacks_of: dict[str, list[str]] = {}
    for stack in configuration.stacks.values():
        for serial in stack.devices:
            stacks_of.setdefault(serial, []).append(stack.name)
    gaps: list[str] = []
    stacks: dict[str, _Systems] = {}
    templates: dict[str, None] = {}
    for group in groups:
        gaps += [f"of device group {group.name!r} {each}" for each in group.unreadable]
        for serial, systems in group.devices:
            found = stacks_of.get(serial, [])
            if len(found) != 1:
                many = "more than one template stack" if found else "no template stack"
                gaps.append(f"firewall {serial} is in {many}")
            for name in found:
                earlier = stacks.get(name, frozenset())
                wanted = earlier is not None and bool(systems)
                stacks[name] = frozenset({*(earlier or ()), *systems}) if wanted else None
        for name in group.references:
            if name in configuration.stacks:
                stacks[name] = None
            if name in configuration.templates:
                templates[name] = None
            if name not in configuration.stacks and name not in configuration.templates:
                gaps.append(f"the reference template {name!r} is not in the configuration")
    return stacks, list(templates), gaps


def _layers(configuration: Configuration, stack: TemplateStack) -> tuple[list[Network], list[str]]:
    """A stack's own network, then those of its templates in order, and what is missing."""
    layers = [stack.network]
    unread = (*stack.unreadable, *stack.network.unreadable)
    gaps = [f"of stack {stack.name!r} {each}" for each in unread]
    for name in stack.templates:
        template = configuration.templates.get(name)
        if template is None:
            gaps.append(f"template {name!r} of stack {stack.name!r} is not in the configuration")
        else:
            layers.append(template.network)
            gaps += [f"of template {name!r} {each}" for each in template.network.unreadable]
    return layers, gaps


def _lay(name: str, layers: list[Network], systems: _Systems) -> _Firewall:
    """Layers over one another: an earlier definition counts if it says all that later ones say.

    Where a later one says more, nobody knows here what of the two the firewall gets.
    """
    zones: dict[tuple[str, str], Zone] = {}
    interfaces: dict[str, Interface] = {}
    routers: dict[str, VirtualRouter] = {}
    contested: set[str] = set()
    if systems is not None and not any(
        zone.vsys in systems for layer in layers for zone in layer.zones
    ):
        systems = None
    for layer in layers:
        for zone in layer.zones:
            if systems is None or zone.vsys in systems:
                first = zones.setdefault((zone.vsys, zone.name), zone)
                both = {*first.interfaces, *zone.interfaces}
                if zone.kind != first.kind or both != {*first.interfaces}:
                    contested.add(zone.name)
                    kind = first.kind
                    if zone.kind != kind and zone.interfaces:
                        kind = "" if first.interfaces else zone.kind
                    zones[zone.vsys, zone.name] = replace(
                        first, kind=kind, interfaces=tuple(sorted(both))
                    )
        for interface in layer.interfaces:
            upper = interfaces.setdefault(interface.name, interface)
            interfaces[interface.name] = _interfaces_laid(upper, interface)
        for router in layer.routers:
            over = routers.setdefault(router.name, router)
            routers[router.name] = _routers_laid(over, router)
    learning = frozenset(each for layer in layers for each in layer.learning)
    return _Firewall(
        name, tuple(zones.values()), frozenset(contested), interfaces, routers, learning
    )


def _interfaces_laid(first: Interface, second: Interface) -> Interface:
    both = {*first.addresses, *second.addresses}
    unreadable = {*first.unreadable, *second.unreadable}
    if both == {*first.addresses} and unreadable == {*first.unreadable}:
        return first
    return Interface(first.name, tuple(sorted(both)), tuple(sorted({*unreadable, _OTHERWISE})))


def _routers_laid(first: VirtualRouter, second: VirtualRouter) -> VirtualRouter:
    both = VirtualRouter(
        first.name,
        tuple(dict.fromkeys([*first.interfaces, *second.interfaces])),
        tuple(dict.fromkeys([*first.routes, *second.routes])),
        tuple(dict.fromkeys([*first.dynamic, *second.dynamic])),
        tuple(dict.fromkeys([*first.unreadable, *second.unreadable])),
    )
    if both == first:
        return first
    otherwise = "templates say different things of it"
    return replace(both, unreadable=tuple(dict.fromkeys([*both.unreadable, otherwise])))


# --- one virtual router ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """What a virtual router of a virtual system says: the zones each prefix may lead to.

    None stands for no zone: what leads there is dropped. `name` is the router's, for messages.
    """

    name: str
    claims: Mapping[_Prefix, frozenset[str | None]]


_NO_ZONE: frozenset[str | None] = frozenset({None})


def _ways(firewall: _Firewall, unknown: dict[str, str]) -> tuple[list[_Way], list[str]]:
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
    ways: list[_Way] = []
    for system in sorted({zone.vsys for zone in firewall.zones}):
        seen, more = _ways_of_system(firewall, system, routers_of)
        ways += seen
        unseen += more
    led: set[str | None] = set()
    for way in ways:
        for prefix, ends in way.claims.items():
            led |= ends
            if len(ends) > 1:
                because = f"{_cidr(prefix)} leads to more than one end in {way.name}"
                _not_known(ends, because, unknown)
    for zone in firewall.zones:
        if zone.name not in led:
            unknown.setdefault(
                zone.name,
                brief(f"no address or route leads to its interfaces ({firewall.name})"),
            )
    return ways, unseen


def _ways_of_system(
    firewall: _Firewall, system: str, routers_of: Mapping[str, list[VirtualRouter]]
) -> tuple[list[_Way], list[str]]:
    """What each router says by which packets of a virtual system come in, and of each why not."""
    zones = [zone for zone in firewall.zones if zone.vsys == system]
    alone = len(zones) == len(firewall.zones)
    place = f"of {firewall.name}" + ("" if alone else f" ({system})")
    zones_of: dict[str, frozenset[str | None]] = {}
    for zone in zones:
        for name in zone.interfaces:
            zones_of[name] = zones_of.get(name, frozenset()) | {zone.name}
    # What is led to another virtual system, or to a shared gateway, passes such a zone.
    outside = frozenset(zone.name for zone in zones if zone.kind == "external") or _NO_ZONE
    ways: list[_Way] = []
    unseen: list[str] = []
    for router in firewall.routers.values():
        if not any(name in zones_of for name in router.interfaces):
            continue
        ends_of = {name: zones_of.get(name, outside) for name in router.interfaces}
        claims, problems = _claims(firewall, router, ends_of)
        shared = [name for name in router.interfaces if len(routers_of[name]) > 1]
        problems += [f"its interface {name!r} is in another one too" for name in shared]
        way = _Way(f"virtual router {router.name!r} {place}", _candidates(claims))
        ways.append(way)
        if problems:
            unseen.append(brief(f"{way.name}: {problems[0]}"))
    for name in sorted(zones_of.keys() - routers_of.keys()):
        # Their zones are unknown; that others have the same addresses is to be seen.
        interface = firewall.interfaces.get(name, Interface(name))
        prefixes = filter(None, map(_prefix, interface.addresses))
        ways.append(_Way(f"interface {name!r} {place}", dict.fromkeys(prefixes, zones_of[name])))
    return ways, unseen


def _zone_problem(
    firewall: _Firewall, zone: Zone, routers_of: Mapping[str, list[VirtualRouter]]
) -> str:
    if zone.name in firewall.contested:
        return "templates say different things of it"
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
_Claim = tuple[_Prefix, frozenset[str | None], bool]


def _claims(
    firewall: _Firewall, router: VirtualRouter, ends_of: Mapping[str, frozenset[str | None]]
) -> tuple[list[_Claim], list[str]]:
    """What the interfaces and static routes of a router say, and why that is not all.

    Names of address objects are not resolved: which of the objects of a name a template means is
    the firewall's to know.
    """
    problems = [*router.unreadable]
    if router.dynamic:
        problems.append(f"it learns routes by {', '.join(router.dynamic)}")
    claims: list[_Claim] = []
    connected: list[tuple[_Prefix, str]] = []
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
            prefix = _prefix(written)
            if prefix is None:
                problems.append(
                    f"its interface {brief(name)!r} has the address {written!r}, a name or a "
                    "variable"
                )
            else:
                connected.append((prefix, name))
                if not _inside(prefix, _LINK_LOCAL):
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
    connected: Iterable[tuple[_Prefix, str]],
    ends_of: Mapping[str, frozenset[str | None]],
) -> tuple[_Prefix | None, frozenset[str | None] | None, str]:
    """Where a static route leads from and to, each None if that is not known, and why it is not."""
    prefix = _prefix(route.destination)
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
    at = _prefix(hop) if kind in _BY_ADDRESS else None
    names = {name for network, name in connected if at is not None and _inside(at, network)}
    if len(names) != 1:
        said = f"the next hop {hop!r}" if hop else "no next hop"
        return prefix, None, f"has {said}, which is in no single network of its interfaces"
    return prefix, ends_of[names.pop()], problem


def _candidates(claims: Iterable[_Claim]) -> dict[_Prefix, frozenset[str | None]]:
    """Where each prefix may lead: a route that may be withdrawn leaves the next shorter one's."""
    ends: dict[_Prefix, frozenset[str | None]] = {}
    stays: set[_Prefix] = set()
    for prefix, to, withdrawn in claims:
        ends[prefix] = ends.get(prefix, frozenset()) | to
        if not withdrawn:
            stays.add(prefix)
    for prefix, around in _nested(ends):
        if prefix not in stays and around:
            ends[prefix] |= ends[around[-1]]
    return ends


# --- all of them together -------------------------------------------------------------------------


def _find_contradictions(ways: list[_Way], unknown: dict[str, str]) -> None:
    """Mark as unknown the zones to which two views lead the same addresses."""
    # Which views speak of a prefix, and which of them lead it to a zone.
    spoken: dict[_Prefix, set[int]] = {}
    led: dict[_Prefix, dict[str, set[int]]] = {}
    for number, way in enumerate(ways):
        for prefix, ends in way.claims.items():
            spoken.setdefault(prefix, set()).add(number)
            zones = led.setdefault(prefix, {})
            for zone in sorted(each for each in ends if each is not None):
                zones.setdefault(zone, set()).add(number)
    for prefix, around in _nested(led):
        # Only the longest prefix of a view that holds this one is its word on it.
        answered: set[int] = set()
        for outer in (prefix, *reversed(around)) if led[prefix] else ():
            for zone, here in led[prefix].items():
                for other, by in led[outer].items():
                    if zone == other or {zone, other} <= unknown.keys() or not by - answered:
                        continue
                    first, second = ways[min(here)].name, ways[min(by - answered)].name
                    because = brief(
                        f"{first} and {second} disagree about {_cidr(prefix)}, which leads to "
                        f"{zone!r} in the one and to {other!r} in the other"
                    )
                    remedy = "set networks in zones.definitions"
                    for each in (zone, other):
                        unknown.setdefault(each, f"{because}: {remedy}")
            answered |= spoken[outer]


def _networks(
    ways: list[_Way], unknown: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """The CIDRs of each known zone, and those of them that are left of default routes.

    A prefix stays as it is routed, so that longer ones in it can still be told from it, unless
    something in it is no known zone's. Then it is cut into what is left of it without the longer
    prefixes of its router.
    """
    pieces: dict[str, set[str]] = {}
    defaults: dict[str, set[str]] = {}
    cut: dict[tuple[_Prefix, tuple[_Prefix, ...]], list[str]] = {}
    for way in ways:
        ordered = sorted(way.claims)
        for prefix, ends in way.claims.items():
            zone = min((each for each in ends if each is not None), default=None)
            if zone is None or zone in unknown:
                continue
            longer = tuple(_within(prefix, ordered))
            if all(
                end is not None and end not in unknown
                for each in longer
                for end in way.claims[each]
            ):
                longer = ()
            if (prefix, longer) not in cut:
                cut[prefix, longer] = (_set(prefix) - AddressSet.union(map(_set, longer))).cidrs()
            pieces.setdefault(zone, set()).update(cut[prefix, longer])
            if prefix in _DEFAULTS:
                defaults.setdefault(zone, set()).update(cut[prefix, longer])
    return _sorted(pieces), _sorted(defaults)


def _may_hold(ways: list[_Way], unknown: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The prefixes, other than default routes, that any view leads to each unknown zone."""
    found: dict[str, set[str]] = {}
    for way in ways:
        for prefix, ends in way.claims.items():
            for zone in ends if prefix not in _DEFAULTS else ():
                if zone is not None and zone in unknown:
                    found.setdefault(zone, set()).add(_cidr(prefix))
    return _sorted(found)


def _sorted(found: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {zone: tuple(sorted(found[zone], key=_order)) for zone in sorted(found)}


# --- prefixes -------------------------------------------------------------------------------------


def _prefix(text: str) -> _Prefix | None:
    """A network, or a host; None for a name or a variable."""
    try:
        found = addresses.network(text)
    except ValueError:
        return None
    return (4, *_ends(found.v4)) if found.v4 else (6, *_ends(found.v6))


def _ends(bounds: tuple[int, ...]) -> tuple[int, int]:
    return bounds[0], bounds[-1]


def _order(cidr: str) -> _Prefix:
    found = _prefix(cidr)
    assert found is not None
    return found


def _set(prefix: _Prefix) -> AddressSet:
    family, first, past = prefix
    return AddressSet(v4=(first, past)) if family == 4 else AddressSet(v6=(first, past))


def _cidr(prefix: _Prefix) -> str:
    return _set(prefix).cidrs()[0]


def _inside(inner: _Prefix, outer: _Prefix) -> bool:
    return inner[0] == outer[0] and outer[1] <= inner[1] and inner[2] <= outer[2]


def _within(prefix: _Prefix, ordered: list[_Prefix]) -> Iterator[_Prefix]:
    """Those of sorted prefixes that are longer and inside this one."""
    family, first, past = prefix
    start = bisect_left(ordered, (family, first, 0))
    end = bisect_left(ordered, (family, past, 0))
    for each in ordered[start:end]:
        if each != prefix and each[2] <= past:
            yield each


def _nested(prefixes: Iterable[_Prefix]) -> Iterator[tuple[_Prefix, list[_Prefix]]]:
    """Each prefix after all those around it, which come along, the widest first."""
    around: list[_Prefix] = []
    for prefix in sorted(prefixes, key=lambda each: (each[0], each[1], -each[2])):
        while around and not _inside(prefix, around[-1]):
            around.pop()
        yield prefix, around
        around.append(prefix)

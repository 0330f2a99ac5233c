"""The firewalls of a device group, as its template stacks lay templates over one another.

Sources: Panorama administrator's guide ("Templates and Template Stacks"), PAN-OS administrator's
guide ("Communication Between Virtual Systems").
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sync.firewall.configuration import Configuration, DeviceGroup
from sync.firewall.templates import Interface, Network, TemplateStack, VirtualRouter, Zone

_OTHERWISE = "another template that defines it differently"


@dataclass(frozen=True, slots=True)
class StackedFirewall:
    """The layers of a stack laid over one another, as every firewall of the stack has them.

    `zones` are those of the virtual systems that the device group has, `contested` the names of
    those that two layers define differently.
    """

    name: str
    zones: tuple[Zone, ...]
    contested: frozenset[str]
    interfaces: Mapping[str, Interface]
    routers: Mapping[str, VirtualRouter]
    learning: frozenset[str]


# The virtual systems that a device group has of a firewall; None for all of them.
_Systems = frozenset[str] | None


def stacked_firewalls(
    configuration: Configuration, groups: Iterable[DeviceGroup]
) -> tuple[list[StackedFirewall], list[str]]:
    """The firewalls of device groups, and one clause for whatever leaves zones of them unnamed."""
    stacks, templates, gaps = _named(configuration, groups)
    # Stacks of the same layers are one firewall here, however many there are.
    laid: dict[tuple[Network, tuple[str, ...], _Systems], StackedFirewall] = {}
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


def _lay(name: str, layers: list[Network], systems: _Systems) -> StackedFirewall:
    """Layers over one another: an earlier definition counts if it holds all that later ones hold.

    Where a later one holds more, it is unknown which of the two the firewall gets.
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
    return StackedFirewall(
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
    otherwise = "templates define it differently"
    return replace(both, unreadable=tuple(dict.fromkeys([*both.unreadable, otherwise])))

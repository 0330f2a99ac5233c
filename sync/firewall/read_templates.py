"""Zones, interfaces and routes of templates and template stacks, from their XML."""

from collections.abc import Sequence

from lxml.etree import _Element

from sync.firewall.templates import Interface, Network, StaticRoute, VirtualRouter, Zone
from sync.firewall.xml import Remarks, entries, members, text

_DEVICE = "config/devices/entry"
# Where an interface gets addresses that the document does not hold.
_ADDRESS_SOURCES = ("dhcp-client", "pppoe", "dynamic-ipv6", "inherited")


_ZONE_KINDS = frozenset({"layer3", "layer2", "virtual-wire", "tap", "external", "tunnel"})
_PROTOCOLS = ("bgp", "ospf", "ospfv3", "rip")


def read_network(holders: Sequence[_Element], remarks: Remarks) -> Network:
    """The network part of a template or stack; several elements where it stands twice."""
    devices = [device for holder in holders for device in holder.iterfind(_DEVICE)]
    return Network(
        zones=tuple(sorted(_zones(devices, remarks), key=lambda zone: (zone.vsys, zone.name))),
        interfaces=tuple(sorted(_interfaces(devices, remarks), key=lambda each: each.name)),
        routers=tuple(sorted(_routers(devices, remarks), key=lambda router: router.name)),
    )


def _zones(devices: Sequence[_Element], remarks: Remarks) -> list[Zone]:
    zones: list[Zone] = []
    systems = entries([each for device in devices for each in device.iterfind("vsys")], remarks)
    for vsys, system in systems:
        for name, entry in entries(system.iterfind("zone"), remarks):
            kinds = [child for child in entry.iterfind("network/*") if child.tag in _ZONE_KINDS]
            interfaces = [name for child in kinds for name in members(child, remarks) or ()]
            kind = str(kinds[0].tag) if len(kinds) == 1 else ""
            zones.append(Zone(name, vsys, kind, tuple(sorted(interfaces))))
    return zones


def _interfaces(devices: Sequence[_Element], remarks: Remarks) -> list[Interface]:
    """Every layer 3 interface and unit: ethernet, aggregate, vlan, loopback and tunnel alike."""
    found: list[Interface] = []
    for device in devices:
        for kind in device.iterfind("network/interface/*"):
            holders = [kind] if kind.find("entry") is not None else []
            holders += kind.iterfind("units")
            for name, entry in entries(holders, remarks):
                layer3 = entry.find("layer3")
                inner = entry if layer3 is None else layer3
                found.append(_interface(name, inner, remarks))
                for unit, unit_entry in entries(inner.iterfind("units"), remarks):
                    found.append(_interface(unit, unit_entry, remarks))
    return found


def _interface(name: str, element: _Element, remarks: Remarks) -> Interface:
    addresses = [address for address, _ in entries(element.iterfind("ip"), remarks)]
    addresses += [address for address, _ in entries(element.iterfind("ipv6/address"), remarks)]
    unreadable = [tag for tag in _ADDRESS_SOURCES if _switched_on(element, tag)]
    return Interface(name, tuple(sorted(addresses)), tuple(unreadable))


def _switched_on(element: _Element, tag: str) -> bool:
    """Whether any such element is there and not explicitly switched off."""
    return any(
        all(text(enable) != "no" for enable in each.iterfind("enable"))
        for each in element.iterfind(f".//{tag}")
    )


def _routers(devices: Sequence[_Element], remarks: Remarks) -> list[VirtualRouter]:
    found: list[VirtualRouter] = []
    for device in devices:
        for name, entry in entries(device.iterfind("network/virtual-router"), remarks):
            found.append(_router(name, [entry], remarks))
        for name, entry in entries(device.iterfind("network/logical-router"), remarks):
            # The advanced routing engine's router holds its parts by VRF.
            found.append(_router(name, list(entry.iterfind("vrf/entry")), remarks))
    return found


def _router(name: str, parts: Sequence[_Element], remarks: Remarks) -> VirtualRouter:
    interfaces: list[str] = []
    routes: list[StaticRoute] = []
    dynamic: set[str] = set()
    unreadable: list[str] = []
    for part in parts:
        for listed in part.iterfind("interface"):
            found = members(listed, remarks)
            if found is None:
                unreadable.append("its interfaces cannot be read")
            interfaces += found or ()
        for table in ("routing-table/ip/static-route", "routing-table/ipv6/static-route"):
            for route, entry in entries(part.iterfind(table), remarks):
                routes.append(_route(route, entry))
        # A virtual router holds its routing protocols in `protocol`, a VRF beside its interfaces.
        for path in ("protocol/*", *_PROTOCOLS):
            for protocol in part.iterfind(path):
                if any(text(enable) == "yes" for enable in protocol.iterfind("enable")):
                    dynamic.add(str(protocol.tag))
    return VirtualRouter(
        name,
        tuple(sorted(interfaces)),
        tuple(sorted(routes, key=lambda route: (route.destination, route.name))),
        tuple(sorted(dynamic)),
        tuple(unreadable),
    )


def _route(name: str, entry: _Element) -> StaticRoute:
    destination, interface = entry.find("destination"), entry.find("interface")
    hop = ("", "")
    for child in entry.iterfind("nexthop/*"):
        hop = (str(child.tag), text(child))
    return StaticRoute(
        name,
        "" if destination is None else text(destination),
        "" if interface is None else text(interface),
        hop,
    )

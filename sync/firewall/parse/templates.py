"""Zones, interfaces and routes of templates and template stacks, from their XML.

Nothing that could move an address to another zone goes unsaid: what is left out, with a remark,
and what is not known is in the `unreadable` of the value that it belongs to. Source of the
elements: the PAN-OS configuration schema (`network`, `vsys/entry/zone`).
"""

from collections.abc import Sequence

from lxml.etree import _Element

from sync.firewall.parse.xml import Remarks, entries, members, text
from sync.firewall.templates import Interface, Network, StaticRoute, VirtualRouter, Zone

_DEVICE = "config/devices/entry"
# Where an interface gets addresses that the document does not hold.
_ADDRESS_SOURCES = ("dhcp-client", "pppoe", "dynamic-ipv6", "inherited")
# Interfaces of other sorts (cellular, SD-WAN) have addresses and ways of their own.
_INTERFACE_KINDS = frozenset({"ethernet", "aggregate-ethernet", "vlan", "loopback", "tunnel"})
_ZONE_KINDS = frozenset({"layer3", "layer2", "virtual-wire", "tap", "external", "tunnel"})
_PROTOCOLS = ("bgp", "ospf", "ospfv3", "rip")
# They are listed with the protocols and bring no routes.
_REDISTRIBUTION = frozenset({"redist-profile", "redist-profile-ipv6"})
# Tunnels that lead only where routes lead.
_ROUTED_TUNNELS = frozenset({"ipsec", "gre"})
_ROUTE_PARTS = frozenset(
    {
        *("destination", "interface", "nexthop", "route-table", "path-monitor", "bfd"),
        *("metric", "admin-dist", "option", "description", "tag"),
    }
)


def read_network(holders: Sequence[_Element], remarks: Remarks) -> Network:
    """The network part of a template or stack; several elements if it is repeated."""
    devices = [device for holder in holders for device in holder.iterfind(_DEVICE)]
    before = len(remarks)
    zones, interfaces = _zones(devices, remarks), _interfaces(devices, remarks)
    routers = _routers(devices, remarks)
    return Network(
        zones=tuple(sorted(zones, key=lambda zone: (zone.vsys, zone.name))),
        interfaces=tuple(sorted(interfaces, key=lambda each: each.name)),
        routers=tuple(sorted(routers, key=lambda router: router.name)),
        learning=tuple(sorted(_learning(devices))),
        unreadable=("part of its network cannot be read",) if len(remarks) > before else (),
    )


def _zones(devices: Sequence[_Element], remarks: Remarks) -> list[Zone]:
    zones: list[Zone] = []
    systems = entries([each for device in devices for each in device.iterfind("vsys")], remarks)
    for vsys, system in systems:
        for name, entry in entries(system.iterfind("zone"), remarks):
            kinds = [
                child
                for child in entry.iterfind("network/*")
                if child.tag in _ZONE_KINDS or child.find("member") is not None
            ]
            interfaces = [name for child in kinds for name in members(child, remarks) or ()]
            known = len(kinds) == 1 and kinds[0].tag in _ZONE_KINDS
            kind = str(kinds[0].tag) if known else ""
            zones.append(Zone(name, vsys, kind, tuple(sorted(interfaces))))
    return zones


def _interfaces(devices: Sequence[_Element], remarks: Remarks) -> list[Interface]:
    """Every layer 3 interface and unit: ethernet, aggregate, vlan, loopback and tunnel alike."""
    found: list[Interface] = []
    for device in devices:
        for kind in device.iterfind("network/interface/*"):
            holders = [kind] if kind.find("entry") is not None else []
            holders += kind.iterfind("units")
            sort = () if kind.tag in _INTERFACE_KINDS else (str(kind.tag),)
            for name, entry in entries(holders, remarks):
                parts = entry.findall("layer3") or [entry]
                found.append(_interface(name, parts, sort, remarks))
                units = [units for part in parts for units in part.iterfind("units")]
                for unit, unit_entry in entries(units, remarks):
                    found.append(_interface(unit, [unit_entry], sort, remarks))
    return found


def _interface(
    name: str, parts: Sequence[_Element], sort: tuple[str, ...], remarks: Remarks
) -> Interface:
    unreadable = [*sort]
    found = [ip for part in parts for ip in part.iterfind("ip")]
    addresses = [address for address, _ in entries(found, remarks)]
    for ipv6 in (each for part in parts for each in part.iterfind("ipv6")):
        enabled = [text(each) for each in ipv6.iterfind("enabled")]
        given = list(entries(ipv6.iterfind("address"), remarks))
        if not given or enabled == ["no"]:
            continue
        addresses += [address for address, _ in given]
        on = [text(each) for _, entry in given for each in entry.iterfind("enable-on-interface")]
        if enabled != ["yes"] or any(each != "yes" for each in on):
            unreadable.append("IPv6 that is not switched on")
    unreadable += [
        tag for tag in _ADDRESS_SOURCES if any(_switched_on(part, tag) for part in parts)
    ]
    return Interface(name, tuple(sorted(addresses)), tuple(unreadable))


def _switched_on(element: _Element, tag: str) -> bool:
    """Whether any such element is there and not explicitly switched off."""
    return any(
        all(text(enable) != "no" for enable in each.iterfind("enable"))
        for each in element.iterfind(f".//{tag}")
    )


def _learning(devices: Sequence[_Element]) -> set[str]:
    """The tunnel interfaces whose other end brings its addresses along."""
    return {
        text(interface)
        for device in devices
        for kind in device.iterfind("network/tunnel/*")
        for entry in kind.iterfind("entry")
        if kind.tag not in _ROUTED_TUNNELS or entry.find("global-protect-satellite") is not None
        for interface in entry.iterfind("tunnel-interface")
    }


def _routers(devices: Sequence[_Element], remarks: Remarks) -> list[VirtualRouter]:
    found: list[VirtualRouter] = []
    for device in devices:
        for name, entry in entries(device.iterfind("network/virtual-router"), remarks):
            found.append(_router(name, [entry], remarks))
        for name, entry in entries(device.iterfind("network/logical-router"), remarks):
            # The advanced routing engine's router holds its parts by VRF.
            found.append(_router(name, entry.findall("vrf/entry"), remarks))
    return found


def _router(name: str, parts: Sequence[_Element], remarks: Remarks) -> VirtualRouter:
    interfaces: list[str] = []
    routes: list[StaticRoute] = []
    dynamic: set[str] = set()
    unreadable: list[str] = ["it has several VRFs"] if len(parts) > 1 else []
    for part in parts:
        for listed in part.iterfind("interface"):
            found = members(listed, remarks)
            if found is None:
                unreadable.append("its interfaces cannot be read")
            interfaces += found or ()
        before = len(remarks)
        for table in ("routing-table/ip/static-route", "routing-table/ipv6/static-route"):
            for route, entry in entries(part.iterfind(table), remarks):
                if _for_unicast(entry):
                    routes.append(_route(route, entry))
        if len(remarks) > before:
            unreadable.append("its static routes cannot be read")
        if part.find("rib-filter//*") is not None:
            unreadable.append("it filters its routes")
        # A virtual router holds its routing protocols in `protocol`, a VRF beside its interfaces.
        for path in ("protocol/*", *_PROTOCOLS):
            for protocol in part.iterfind(path):
                if protocol.tag not in _REDISTRIBUTION and _runs(protocol):
                    dynamic.add(str(protocol.tag))
    return VirtualRouter(
        name,
        tuple(sorted(interfaces)),
        tuple(sorted(routes, key=lambda route: (route.destination, route.name))),
        tuple(sorted(dynamic)),
        tuple(unreadable),
    )


def _runs(protocol: _Element) -> bool:
    """Whether a protocol has settings, and is not switched off by them."""
    enabled = [text(each) for each in protocol.iterfind("enable")]
    return enabled != ["no"] and len(protocol) > 0


def _for_unicast(route: _Element) -> bool:
    tables = [str(child.tag) for child in route.iterfind("route-table/*")]
    return tables not in (["no-install"], ["multicast"])


def _route(name: str, entry: _Element) -> StaticRoute:
    tags = [str(child.tag) for child in entry]
    unreadable = [f"<{tag}> is not known" for tag in {*tags} - _ROUTE_PARTS]
    unreadable += [f"<{tag}> occurs more than once" for tag in {*tags} if tags.count(tag) > 1]
    if any(child.tag not in ("unicast", "both") for child in entry.iterfind("route-table/*")):
        unreadable.append("<route-table> is not known")
    hops = [(str(child.tag), text(child)) for child in entry.iterfind("nexthop/*")]
    if len(hops) > 1:
        unreadable.append("<nexthop> has more than one")
    destination, interface = entry.find("destination"), entry.find("interface")
    return StaticRoute(
        name,
        "" if destination is None else text(destination),
        "" if interface is None else text(interface),
        hops[0] if hops else ("", ""),
        monitored=_is_monitored(entry),
        unreadable=tuple(sorted(unreadable)),
    )


def _is_monitored(route: _Element) -> bool:
    profiles = [text(each) for each in route.iterfind("bfd/profile")]
    return _switched_on(route, "path-monitor") or any(each not in ("", "None") for each in profiles)

"""Where each virtual router leads an address, read the slow way from templates and stacks.

Sources: PAN-OS networking administrator's guide ("Virtual Routers", "Static Routes"), PAN-OS
administrator's guide ("Communication Between Virtual Systems").

A packet comes in by one router of one virtual system of one firewall, and that router alone says
in which zone its other end is. Nothing here is put together from several routers.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network

from tests.naive.flows import span

Ends = frozenset[str | None]
_DYNAMIC = ("bgp", "ospf", "ospfv3", "rip")
_ROUTED_KINDS = ("layer3", "tap", "tunnel", "external")


@dataclass(frozen=True)
class Router:
    """One router as one virtual system has it, with the zones of its interfaces.

    `routes` are prefixes, where each leads (None: to no zone, where packets are dropped) and
    whether it may be withdrawn. One that is not `readable` may lead any address to any zone.
    """

    readable: bool
    routes: tuple[tuple[str, Ends, bool], ...] = ()

    def leads(self, family: int, address: int, without: Iterable[str]) -> tuple[int, Ends]:
        """The length of the longest prefix around an address and where it may lead; (-1, none).

        What leads to one of the zones `without` does not count.
        """
        by_length: dict[int, list[tuple[Ends, bool]]] = {}
        for prefix, ends, monitored in self.routes:
            version, first, last = span(prefix)
            if version == family and first <= address <= last and not ends & {*without}:
                by_length.setdefault(ip_network(prefix).prefixlen, []).append((ends, monitored))
        longest, found = -1, frozenset[str | None]()
        for length, claims in sorted(by_length.items(), reverse=True):
            longest = max(longest, length)
            found = found.union(*(ends for ends, _ in claims))
            if not all(monitored for _, monitored in claims):
                break
        return longest, found


@dataclass(frozen=True)
class Routing:
    """The zones of a device group's templates, and the routers that its packets come in by.

    `without_addresses` are zones to which no router leads, or not by all their interfaces.
    """

    zones: tuple[str, ...]
    routers: tuple[Router, ...]
    without_addresses: frozenset[str]


def routing(document: bytes, device_group: str) -> Routing:
    """What the templates and stacks say that a device group and those below it name."""
    config = ET.fromstring(document)
    zones: set[str] = set()
    led: set[str | None] = set()
    apart: set[str] = set()
    routers: list[Router] = []
    for layers, systems in _firewalls(config, device_group):
        network = _Network(layers)
        named = {vsys for vsys, _ in network.zones}
        if systems and not systems & named:
            systems = set()
        if not named or (systems - named):
            routers.append(Router(readable=False))
        for vsys in sorted(systems or named):
            found = {name: each for (of, name), each in network.zones.items() if of == vsys}
            zones |= {*found}
            apart |= {
                name
                for name, (kind, interfaces) in found.items()
                if kind != "layer3" or any(each not in network.routed for each in interfaces)
            }
            routers += network.routers(found)
    for router in routers:
        for _, ends, _ in router.routes:
            led |= ends
    return Routing(tuple(sorted(zones)), tuple(routers), frozenset(apart | (zones - led)))


def _firewalls(config: ET.Element, device_group: str) -> list[tuple[list[ET.Element], set[str]]]:
    """The layers of each template or stack, uppermost first, and its virtual systems or none."""
    groups = {each.attrib["name"]: each for each in config.findall("devices/entry/device-group/*")}
    parents = {
        each.attrib["name"]: (each.findtext("parent-dg") or "").strip()
        for each in config.findall("readonly/devices/entry/device-group/entry")
    }
    family = {device_group}
    for _ in groups:
        family |= {name for name, parent in parents.items() if parent in family}
    stacks = {e.attrib["name"]: e for e in config.findall("devices/entry/template-stack/entry")}
    templates = {e.attrib["name"]: e for e in config.findall("devices/entry/template/entry")}
    wanted: list[tuple[str, set[str]]] = []
    for name in sorted(family):
        for device in groups[name].findall("devices/entry"):
            systems = {each.attrib["name"] for each in device.findall("vsys/entry")}
            for stack, entry in stacks.items():
                serials = {each.attrib["name"] for each in entry.findall("devices/entry")}
                if device.attrib["name"] in serials:
                    wanted.append((stack, systems))
        references = groups[name].findall("reference-templates/member")
        wanted += [((member.text or "").strip(), set()) for member in references]
    found = []
    for name, systems in wanted:
        if name in stacks:
            entry = stacks[name]
            names = [(each.text or "").strip() for each in entry.findall("templates/member")]
            found.append(([entry, *(templates[each] for each in names)], systems))
        else:
            found.append(([templates[name]], systems))
    return found


class _Network:
    """The network part of layers over one another; what two of them define cannot be read."""

    def __init__(self, layers: Sequence[ET.Element]) -> None:
        self.zones: dict[tuple[str, str], tuple[str, list[str]]] = {}
        self._interfaces: dict[str, list[str] | None] = {}
        self._routers: dict[str, list[ET.Element]] = {}
        for layer in layers:
            for vsys in layer.findall("config/devices/entry/vsys/entry"):
                for zone in vsys.findall("zone/entry"):
                    kinds = list(zone.findall("network/*"))
                    kind = kinds[0].tag if len(kinds) == 1 else ""
                    members = [(m.text or "").strip() for k in kinds for m in k.findall("member")]
                    key = (vsys.attrib["name"], zone.attrib["name"])
                    self.zones[key] = ("" if key in self.zones else kind, members)
            network = "config/devices/entry/network"
            for interface in layer.findall(f"{network}/interface/*/entry"):
                self._read(interface.attrib["name"], interface.find("layer3"))
                for unit in interface.findall("layer3/units/entry"):
                    self._read(unit.attrib["name"], unit)
            for kind in ("virtual-router", "logical-router"):
                for router in layer.findall(f"{network}/{kind}/entry"):
                    parts = [router] if kind == "virtual-router" else router.findall("vrf/entry")
                    self._routers.setdefault(router.attrib["name"], []).extend(parts)
        self.routed = [
            (member.text or "").strip()
            for parts in self._routers.values()
            for part in parts
            for member in part.findall("interface/member")
        ]

    def _read(self, name: str, part: ET.Element | None) -> None:
        addresses: list[str] | None = []
        if part is not None:
            written = [*part.findall("ip/entry"), *part.findall("ipv6/address/entry")]
            addresses = [each.attrib["name"] for each in written]
            if part.find("dhcp-client") is not None or any("$" in each for each in addresses):
                addresses = None
        self._interfaces[name] = None if name in self._interfaces else addresses

    def routers(self, zones: dict[str, tuple[str, list[str]]]) -> list[Router]:
        """The routers that packets of these zones, of one virtual system, come in by."""
        external = frozenset(name for name, (kind, _) in zones.items() if kind == "external")
        found = [
            Router(readable=False)
            for kind, interfaces in zones.values()
            if interfaces and kind not in _ROUTED_KINDS
        ]

        def ends(interface: str) -> Ends:
            mine = {name for name, (_, interfaces) in zones.items() if interface in interfaces}
            return frozenset(mine) or external or frozenset({None})

        mine = {each for _, interfaces in zones.values() for each in interfaces}
        for parts in self._routers.values():
            listed = [
                (m.text or "").strip() for part in parts for m in part.findall("interface/member")
            ]
            if not mine & {*listed}:
                continue
            routes = [] if len(parts) > 1 else self._routes(parts[0], listed, ends)
            if routes is None or len(parts) > 1 or any(self.routed.count(e) > 1 for e in listed):
                found.append(Router(readable=False))
            else:
                found.append(Router(True, tuple(routes)))
        return found

    def _routes(
        self, router: ET.Element, interfaces: Sequence[str], ends: Callable[[str], Ends]
    ) -> list[tuple[str, Ends, bool]] | None:
        """The routes of a router; None if it may have any."""
        for protocol in _DYNAMIC:
            for each in (*router.findall(f"protocol/{protocol}"), *router.findall(protocol)):
                if (each.findtext("enable") or "") != "no":
                    return None
        routes: list[tuple[str, Ends, bool]] = []
        connected: list[tuple[str, str]] = []
        for name in interfaces:
            addresses = self._interfaces.get(name)
            if addresses is None:
                return None
            for address in addresses:
                net = str(ip_interface(address).network)
                connected.append((net, name))
                routes.append((net, ends(name), False))
        for table in ("ip", "ipv6"):
            for route in router.findall(f"routing-table/{table}/static-route/entry"):
                prefix = (route.findtext("destination") or "").strip()
                out = (route.findtext("interface") or "").strip()
                hops = list(route.findall("nexthop/*"))
                monitored = route.find("path-monitor") is not None
                if hops and hops[0].tag == "discard":
                    routes.append((prefix, frozenset({None}), monitored))
                    continue
                if hops and hops[0].tag not in ("ip-address", "ipv6-address"):
                    return None
                if not out:
                    family, first, _ = span((hops[0].text or "").strip())
                    outs = {name for net, name in connected if _holds(net, family, first)}
                    if len(outs) != 1:
                        return None
                    out = outs.pop()
                routes.append((prefix, ends(out), monitored))
        return routes


def _holds(net: str, family: int, address: int) -> bool:
    version, first, last = span(net)
    return version == family and first <= address <= last

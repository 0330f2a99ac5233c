"""Random templates and stacks: several routers, virtual systems and firewalls over few addresses.

The routers mostly speak of one world, so that they agree often enough to be believed; each may
leave out a part of it, have a default route, or say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from random import Random

from tests.words import Word, entry, members, tag, text


@dataclass(frozen=True)
class Templates:
    """What stands beside the device groups, and what each device group says of its firewalls."""

    devices: str
    groups: Mapping[str, Sequence[Word]]


def templates(
    random: Random, groups: Sequence[str], zones: Sequence[str], nets: Sequence[str], *, tame: bool
) -> Templates:
    """Templates with some of these zones, which have some of these networks."""
    world = {net: random.choice(zones) for net in nets}
    default = random.choice(zones)
    # In many worlds nobody has a default route, or nothing is odd: else few would be known.
    odd = not tame and random.random() < 0.4
    defaults = random.choice((0.0, 0.0, 0.3, 0.9))
    found: list[str] = []
    stacks: list[str] = []
    words: dict[str, list[Word]] = {group: [] for group in groups}
    for number in range(random.choice((1, 1, 2, 3))):
        writer = _Firewall(random, world, default, defaults, odd=odd)
        parts = writer.parts([*zones])
        names = [f"t{number}"]
        if len(parts) > 1 and random.random() < 0.3:
            # Zones in one template of the stack, networks in another.
            names.append(f"t{number}-more")
            found.append(entry(names[1], _config(parts[1:])))
            parts = parts[:1]
        found.append(entry(names[0], _config(parts)))
        serial = f"00{number + 1}"
        devices = tag("devices", entry(serial))
        stacks.append(entry(f"s{number}", members("templates", names), devices))
        group = random.choice(groups)
        systems = ""
        if writer.systems > 1 and random.random() < 0.5:
            systems = tag("vsys", entry(random.choice(("vsys1", "vsys2"))))
        if systems or random.random() < 0.7:
            words[group].append(Word("devices", entry(serial, systems)))
        else:
            words[group].append(Word("reference-templates", text("member", f"s{number}")))
    return Templates(tag("template", *found) + tag("template-stack", *stacks), words)


def _config(parts: Sequence[str]) -> str:
    device = tag("devices", *(entry("localhost.localdomain", each) for each in parts))
    return tag("config", device)


class _Firewall:
    def __init__(
        self, random: Random, world: Mapping[str, str], default: str, defaults: float, *, odd: bool
    ) -> None:
        self._random = random
        self._world = world
        self._default = default
        self._defaults = defaults
        self._odd = odd
        self._routes = 0
        self.systems = 2 if random.random() < 0.25 else 1

    def odd(self, of: float) -> bool:
        return self._odd and self._random.random() < of

    def parts(self, zones: Sequence[str]) -> list[str]:
        """The zones, and the routers with their interfaces."""
        random = self._random
        chosen = random.sample(zones, random.randint(1, len(zones)))
        routers: list[list[tuple[str, str]]] = [[] for _ in range(random.choice((1, 1, 2, 3)))]
        by_system: dict[str, list[str]] = {}
        number = 0
        for zone in chosen:
            kind = self._random.choice(("layer2", "virtual-wire", "tap")) if self.odd(0.05) else ""
            held: list[str] = []
            for _ in range(1 if random.random() < 0.8 else 2):
                number += 1
                held.append(f"ethernet1/{number}")
                if not kind:
                    random.choice(routers).append((held[-1], zone))
            inner = tag("network", members(kind or "layer3", held))
            system = f"vsys{random.randint(1, self.systems)}"
            by_system.setdefault(system, []).append(entry(zone, inner))
        for system in by_system if self.systems > 1 else ():
            if random.random() < 0.2:
                network = tag("network", members("external", ["vsys1", "vsys2"]))
                by_system[system].append(entry(f"to-{system}", network))
        if random.random() < 0.2:
            number += 1
            random.choice(routers).append((f"ethernet1/{number}", ""))
        vsys = tag("vsys", *(entry(name, tag("zone", *held)) for name, held in by_system.items()))
        return [vsys, *(self._router(f"vr-{n}", held) for n, held in enumerate(routers) if held)]

    def _router(self, name: str, interfaces: Sequence[tuple[str, str]]) -> str:
        """A router and its interfaces, which have a zone each, or none."""
        random = self._random
        out = {zone: interface for interface, zone in interfaces}
        ethernet, routes = [], {"ip": "", "ipv6": ""}
        nets = {zone: [net for net, of in self._world.items() if of == zone] for zone in out}
        taken = set()
        for interface, zone in interfaces:
            held: list[str] = []
            for net in random.sample(nets[zone], min(len(nets[zone]), random.randint(0, 2))):
                if net not in taken:
                    taken.add(net)
                    held.append(f"{ip_network(net)[1]}/{ip_network(net).prefixlen}")
            if not held and not nets[zone] and random.random() < 0.9:
                held.append(f"172.16.{random.randrange(256)}.1/30")
            ethernet.append(self._interface(interface, held))
        for zone in out:
            for net in nets[zone]:
                if net not in taken and random.random() < 0.6:
                    routes["ipv6" if ":" in net else "ip"] += self._route(net, out[zone])
        zone = self._default if self._default in out and random.random() < 0.9 else ""
        zone = zone or random.choice(sorted(out))
        if random.random() < self._defaults:
            for net, table in (("0.0.0.0/0", "ip"), ("::/0", "ipv6")):
                if random.random() < 0.7:
                    routes[table] += self._route(net, out[zone])
        if self.odd(0.3):
            net = random.choice([*self._world])
            routes["ipv6" if ":" in net else "ip"] += self._route(
                net, random.choice([*out.values()])
            )
        tables = "".join(
            tag(table, tag("static-route", found)) for table, found in routes.items() if found
        )
        protocol = tag("protocol", tag("bgp", text("enable", "yes"))) if self.odd(0.05) else ""
        inner = [
            members("interface", [interface for interface, _ in interfaces]),
            tag("routing-table", tables) if tables else "",
        ]
        kind = "virtual-router"
        if random.random() < 0.15:
            kind, inner = "logical-router", [tag("vrf", entry("default", *inner, protocol[10:-11]))]
        else:
            inner.append(protocol)
        made = tag(kind, entry(name, *inner))
        return tag("network", tag("interface", tag("ethernet", *ethernet)), made)

    def _interface(self, name: str, held: Sequence[str]) -> str:
        v4 = [entry(each) for each in held if ":" not in each]
        v6 = [entry(each) for each in held if ":" in each]
        parts = tag("ip", *v4) if v4 else ""
        parts += tag("ipv6", text("enabled", "yes"), tag("address", *v6)) if v6 else ""
        if self.odd(0.04):
            parts = tag("dhcp-client", text("enable", "yes"))
        return entry(name, tag("layer3", parts))

    def _route(self, net: str, out: str) -> str:
        kind, hop = ("ipv6-address", "2001:db8:ff::1") if ":" in net else ("ip-address", "10.9.9.9")
        inner = [text("interface", out), tag("nexthop", text(kind, hop))]
        if self.odd(0.1):
            inner = [tag("nexthop", tag("discard"))]
        elif self.odd(0.04):
            inner = [tag("nexthop", text("next-vr", "vr-0"))]
        elif self.odd(0.1):
            inner.append(tag("path-monitor", text("enable", "yes")))
        self._routes += 1
        return entry(f"route {self._routes}", text("destination", net), *inner)

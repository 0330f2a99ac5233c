"""Services of a rule to the traffic they serve, and what traffic is: protocols and their ports."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sync.firewall.objects import Service, ServiceGroup
from sync.net.ports import ALL_PORTS, PortSet, ports

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

_NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmp6"}


@dataclass(frozen=True, slots=True)
class Traffic:
    """The header of a packet without its addresses; None may be anything.

    `protocol` is an IP protocol's number. `ports` and `source_ports` go with TCP and UDP, `icmp`,
    a type and a code of it or None for any, with ICMP and ICMPv6.
    """

    protocol: int | None = None
    ports: PortSet | None = None
    source_ports: PortSet | None = None
    icmp: tuple[int, int | None] | None = None

    def __and__(self, other: "Traffic") -> "Traffic | None":
        """The intersection; None if it is empty."""
        if self.protocol is None or other.protocol is None:
            return other if self.protocol is None else self
        if self.protocol != other.protocol:
            return None
        found = _both(self.ports, other.ports)
        source_ports = _both(self.source_ports, other.source_ports)
        if (found is not None and not found) or (source_ports is not None and not source_ports):
            return None
        icmp = self.icmp or other.icmp
        if self.icmp and other.icmp:
            (kind, code), (other_kind, other_code) = self.icmp, other.icmp
            if kind != other_kind or (None not in (code, other_code) and code != other_code):
                return None
            icmp = (kind, other_code if code is None else code)
        return Traffic(self.protocol, found, source_ports, icmp)

    def __str__(self) -> str:
        """For an engineer: `tcp/80,443`, `icmp type 8`, `IP protocol 47`."""
        if self.protocol is None:
            return "any traffic"
        said = _NAMES.get(self.protocol, f"IP protocol {self.protocol}")
        if self.ports is not None:
            said += f"/{self.ports}"
        if self.source_ports is not None:
            said += f" from source ports {self.source_ports}"
        if self.icmp is not None:
            said += f" type {self.icmp[0]}"
            if self.icmp[1] is not None:
                said += f" code {self.icmp[1]}"
        return said


ANY_TRAFFIC = Traffic()


def _both(left: PortSet | None, right: PortSet | None) -> PortSet | None:
    return right if left is None else left if right is None else left & right


def merged(traffic: Iterable[Traffic]) -> tuple[Traffic, ...]:
    """The union in one form, sorted: all ports of a kind are one set.

    A kind is a protocol with its source ports, or its ICMP type; what is in a wider kind is not
    said twice. All ports are the protocol without ports, and no port at all is nothing.
    """
    every: dict[Traffic, list[PortSet]] = {}
    for each in traffic:
        source_ports = None if each.source_ports == ALL_PORTS else each.source_ports
        held = ALL_PORTS if each.ports is None else each.ports
        if held and (source_ports is None or source_ports):
            kind = Traffic(each.protocol, None, source_ports, each.icmp)
            every.setdefault(kind, []).append(held)
    found = {kind: PortSet.union(held) for kind, held in every.items()}
    union = [
        Traffic(kind.protocol, None if held == ALL_PORTS else held, kind.source_ports, kind.icmp)
        for kind, held in found.items()
        if not any(wider in found and not held - found[wider] for wider in _wider(kind))
    ]
    return tuple(sorted(union, key=_order))


def _wider(kind: Traffic) -> set[Traffic]:
    """The kinds that a kind is one of: any source port, any code, any type, any protocol."""
    wider = {ANY_TRAFFIC, Traffic(kind.protocol)}
    if kind.icmp is not None:
        wider.add(Traffic(kind.protocol, icmp=(kind.icmp[0], None)))
    return wider - {kind}


def _order(traffic: Traffic) -> tuple[object, ...]:
    """By protocol, then what is wider first."""
    return (
        -1 if traffic.protocol is None else traffic.protocol,
        () if traffic.source_ports is None else traffic.source_ports.bounds,
        () if traffic.ports is None else traffic.ports.bounds,
        ()
        if traffic.icmp is None
        else tuple(-1 if each is None else each for each in traffic.icmp),
    )


def shared(left: Iterable[Traffic], right: Iterable[Traffic]) -> tuple[Traffic, ...]:
    """The traffic that is in both."""
    right = tuple(right)
    return merged(both for one in left for other in right if (both := one & other) is not None)


# What PAN-OS predefines; an object of the same name takes its place.
_PREDEFINED = {
    "service-http": Service("service-http", "tcp", ports("80,8080")),
    "service-https": Service("service-https", "tcp", ports("443")),
}
_PROTOCOLS = {"tcp": TCP, "udp": UDP}


@dataclass(frozen=True, slots=True)
class Services:
    """The traffic that a list of services surely matches, and a clause for each open part.

    A list that is not open serves `served` and nothing else.
    """

    served: tuple[Traffic, ...]
    open_because: tuple[str, ...] = ()


def resolve_services(
    names: Iterable[str], objects: Mapping[str, Service | ServiceGroup]
) -> Services:
    """The services of these names, groups at any depth, as one device group sees them.

    `any` and `application-default` are not services: a rule has them instead of services.
    """
    because: set[str] = set()

    def members(name: str) -> Sequence[str] | None:
        found = objects.get(name)
        if not isinstance(found, ServiceGroup):
            return None
        if found.problem:
            because.add(f"service group {name!r} {found.problem}")
            return ()
        return found.members

    served: list[Traffic] = []
    ends, circles = expanded(names, members)
    because.update(f"service group {name!r} holds itself" for name in circles)
    for name in ends:
        found = objects.get(name, _PREDEFINED.get(name))
        if not isinstance(found, Service):
            because.add(f"service {name!r} does not exist")
        elif found.problem:
            because.add(f"service {name!r} {found.problem}")
        else:
            served.append(Traffic(_PROTOCOLS[found.protocol], found.ports, found.source_ports))
    return Services(merged(served), tuple(sorted(because)))


def expanded(
    names: Iterable[str], members: Callable[[str], Sequence[str] | None]
) -> tuple[list[str], list[str]]:
    """The names at the ends of groups nested to any depth, each once, and groups in circles.

    `members` are a group's, None for anything else. A circle is reported by the group that closes
    it; what its groups hold is still found.
    """
    ends: list[str] = []
    circles: set[str] = set()
    seen: set[str] = set()
    path: set[str] = set()
    work = [("", iter(names))]
    while work:
        group, rest = work[-1]
        for name in rest:
            if name in path:
                circles.add(name)
            if name in seen:
                continue
            seen.add(name)
            inside = members(name)
            if inside is not None:
                path.add(name)
                work.append((name, iter(inside)))
                break
            ends.append(name)
        else:
            work.pop()
            path.discard(group)
    return ends, sorted(circles)

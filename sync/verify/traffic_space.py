"""Traffic by protocol, ports and ICMP type, cut into pieces; some traffic is bits of a number."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import and_
from typing import Final, NamedTuple

from sync.firewall.services import ICMP, ICMPV6, Traffic
from sync.net import intervals
from sync.net.intervals import Bounds
from sync.net.ports import PortSet
from sync.verify.examples import (
    EPHEMERAL,
    USUAL_PORTS,
    USUAL_PROTOCOLS,
    USUAL_TYPES,
    unusual_port,
    usual_source,
)
from sync.verify.packet_space import Family

_LAST_PORT: Final = 65535
PORTED: Final = (6, 17, 132)

_NAMES: Final = {ICMP: "icmp", 6: "tcp", 17: "udp", ICMPV6: "icmp6", 132: "sctp"}


class Packet(NamedTuple):
    """One packet's protocol and ports, or the type and code of its ICMP."""

    protocol: int
    source_port: int
    port: int
    icmp: tuple[int, int] | None

    def said(self) -> str:
        """`tcp/443 from port 1024`, `icmp type 8 code 0`, `IP protocol 47`."""
        name = _NAMES.get(self.protocol, f"IP protocol {self.protocol}")
        if self.icmp is not None:
            return f"{name} type {self.icmp[0]} code {self.icmp[1]}"
        if self.protocol in PORTED:
            return f"{name}/{self.port} from port {self.source_port}"
        return name


class Carried(NamedTuple):
    """Some traffic of one protocol: by ports, None for any, or by types of ICMP.

    `types` are texts, `8` or `3:1` with a code; where `but`, all other types and codes are meant.
    """

    protocol: int
    ports: PortSet | None = None
    source_ports: PortSet | None = None
    types: tuple[str, ...] = ()
    but: bool = False


def carries(traffic: Sequence[Traffic], packet: Packet) -> bool:
    """Whether a packet is some of this traffic."""
    one = Traffic(packet.protocol, icmp=packet.icmp)
    if packet.protocol in PORTED:
        ports, sources = ((each, each + 1) for each in (packet.port, packet.source_port))
        one = Traffic(packet.protocol, PortSet(ports), PortSet(sources))
    return any(each & one is not None for each in traffic)


class TrafficSpace:
    """All traffic, cut at the boundaries of some traffic: every piece is a bit.

    Two packets of one piece are alike to all of it.
    """

    def __init__(self, spoken: Iterable[Traffic]) -> None:
        """`spoken` is all traffic that will be asked about."""
        by_protocol: dict[int, list[Traffic]] = {}
        for each in spoken:
            if each.protocol is not None:
                by_protocol.setdefault(each.protocol, []).append(each)
        self._pieces: dict[int, _Ported | _Icmp | _Plain] = {}
        self.size = 0
        for protocol, found in sorted(by_protocol.items()):
            pieces: _Ported | _Icmp | _Plain
            if protocol in PORTED:
                pieces = _Ported(self.size, found)
            elif protocol in (ICMP, ICMPV6):
                pieces = _Icmp(self.size, found)
            else:
                pieces = _Plain(self.size)
            self._pieces[protocol] = pieces
            self.size += pieces.size
        # Protocols that no rule names are all alike.
        self._other = next(each for each in range(254, -1, -1) if each not in self._pieces)
        unnamed = (each for each in USUAL_PROTOCOLS if each not in self._pieces)
        self._unnamed = next(unnamed, self._other)
        self._pieces[self._other] = _Plain(self.size)
        self.size += 1
        everything = (1 << self.size) - 1
        # No IPv6 packet holds ICMP, and no IPv4 packet ICMPv6.
        self.everything: dict[Family, int] = {
            4: everything & ~self._whole(ICMPV6),
            6: everything & ~self._whole(ICMP),
        }
        self._known: dict[Traffic, int] = {}

    def bits(self, traffic: Iterable[Traffic]) -> int:
        """The pieces that make up some of the traffic spoken of."""
        found = 0
        for each in traffic:
            if each not in self._known:
                if each.protocol is None:
                    self._known[each] = (1 << self.size) - 1
                else:
                    pieces = self._pieces[each.protocol]
                    self._known[each] = pieces.bits(each) << pieces.first
            found |= self._known[each]
        return found

    def packet(self, bits: int) -> Packet:
        """One of the packets of these pieces, a usual one if there is one (`examples`)."""
        found = [
            pieces.packet(self._unnamed if protocol == self._other else protocol, held)
            for protocol, pieces in self._pieces.items()
            if (held := bits >> pieces.first & (1 << pieces.size) - 1)
        ]
        return min(found, key=_unusual)

    def said(self, bits: int) -> tuple[str, ...]:
        """Some traffic as words for people, a text for each protocol: `tcp/80,443`, `udp`."""
        found: list[str] = []
        if bits and any(bits == every for every in (*self.everything.values(), self._both())):
            return ("any traffic",)
        for protocol, pieces in self._pieces.items():
            part = bits >> pieces.first & (1 << pieces.size) - 1
            if part and protocol == self._other:
                found.append("other protocols")
            elif part:
                found += (text for each in pieces.spelled(protocol, part) for text in _said(each))
        return tuple(found)

    def _both(self) -> int:
        return self.everything[4] | self.everything[6]

    def spelled(self, bits: int) -> tuple[tuple[Carried, ...], bool]:
        """These pieces by protocol; True: they are all traffic but what is listed."""
        rest = self._pieces[self._other].first
        but = bool(bits >> rest & 1)
        if but:
            bits = ~bits & ((1 << self.size) - 1)
        return tuple(
            each
            for protocol, pieces in self._pieces.items()
            if (held := bits >> pieces.first & (1 << pieces.size) - 1)
            for each in pieces.spelled(protocol, held)
        ), but

    def _whole(self, protocol: int) -> int:
        pieces = self._pieces.get(protocol)
        return ((1 << pieces.size) - 1) << pieces.first if pieces else 0


class _Plain:
    """A protocol without ports or types."""

    size = 1

    def __init__(self, first: int) -> None:
        self.first = first

    def bits(self, traffic: Traffic) -> int:
        del traffic
        return 1

    def packet(self, protocol: int, held: int) -> Packet:
        del held
        if protocol in PORTED:
            return Packet(protocol, EPHEMERAL, USUAL_PORTS[protocol][0], None)
        return Packet(protocol, 0, 0, None)

    def spelled(self, protocol: int, held: int) -> Iterator[Carried]:
        del held
        yield Carried(protocol)


class _Ported:
    """A protocol with ports: pieces of source ports by pieces of ports."""

    def __init__(self, first: int, spoken: Sequence[Traffic]) -> None:
        self.first = first
        ports = {each.ports.bounds for each in spoken if each.ports is not None}
        sources = {each.source_ports.bounds for each in spoken if each.source_ports is not None}
        self._ports, self._sources = _cuts(ports), _cuts(sources)
        self.size = len(self._ports) * len(self._sources)

    def bits(self, traffic: Traffic) -> int:
        row = _bits_of(self._ports, None if traffic.ports is None else traffic.ports.bounds)
        rows = _bits_of(
            self._sources, None if traffic.source_ports is None else traffic.source_ports.bounds
        )
        found = 0
        for number in range(len(self._sources)):
            if rows >> number & 1:
                found |= row << number * len(self._ports)
        return found

    def packet(self, protocol: int, held: int) -> Packet:
        width = len(self._ports)
        found = [
            Packet(protocol, usual_source(source, past), self._usual(protocol, row), None)
            for number, (source, past) in enumerate(pairwise([*self._sources, _LAST_PORT + 1]))
            if (row := held >> number * width & (1 << width) - 1)
        ]
        return min(found, key=_unusual)

    def _usual(self, protocol: int, row: int) -> int:
        """A port of some pieces of the line of ports."""
        for port in USUAL_PORTS[protocol]:
            if row >> bisect_right(self._ports, port) - 1 & 1:
                return port
        first = self._ports[(row & -row).bit_length() - 1]
        if first:
            return first
        # Port 0 is the example where no other is in the first piece, and there is no second one.
        if len(self._ports) == 1 or self._ports[1] > 1:
            return 1
        rest = row & row - 1
        return self._usual(protocol, rest) if rest else 0

    def spelled(self, protocol: int, held: int) -> Iterator[Carried]:
        count, whole = len(self._sources), (1 << len(self._ports)) - 1
        rows = [held >> number * len(self._ports) & whole for number in range(count)]
        # What goes from any source port comes once, and then the rest.
        common = reduce(and_, rows)
        sources = {common: (1 << count) - 1} if common else {}
        for number, row in enumerate(rows):
            if rest := row & ~common:
                sources[rest] = sources.get(rest, 0) | 1 << number
        for row, some in sources.items():
            yield Carried(protocol, _ports_of(self._ports, row), _ports_of(self._sources, some))


class _Icmp:
    """ICMP by the types and codes that are spoken of; one of each kind stands for all others."""

    def __init__(self, first: int, spoken: Sequence[Traffic]) -> None:
        self.first = first
        said = [each.icmp for each in spoken if each.icmp is not None]
        types = {kind for kind, _ in said}
        self._pieces = [
            (kind, code)
            for kind in (*sorted(types), _other_than(types))
            for codes in ({code for each, code in said if each == kind and code is not None},)
            for code in (*sorted(codes), _other_than(codes))
        ]
        self.size = len(self._pieces)

    def bits(self, traffic: Traffic) -> int:
        if traffic.icmp is None:
            return (1 << self.size) - 1
        kind, code = traffic.icmp
        return sum(
            1 << number
            for number, (type_, its) in enumerate(self._pieces)
            if type_ == kind and code in (None, its)
        )

    def packet(self, protocol: int, held: int) -> Packet:
        usual = USUAL_TYPES[protocol]
        found = [self._usual(each, usual) for each in range(self.size) if held >> each & 1]
        known = {kind: number for number, kind in enumerate(usual)}
        return Packet(
            protocol, 0, 0, min(found, key=lambda each: (known.get(each[0], len(known)), each))
        )

    def _usual(self, piece: int, usual: Sequence[int]) -> tuple[int, int]:
        """A type and code of a piece; the last piece of a row stands for all others."""
        kind, code = self._pieces[piece]
        codes = [its for type_, its in self._pieces if type_ == kind]
        if code == codes[-1]:
            code = next((each for each in range(256) if each not in codes[:-1]), code)
        if piece == self.size - 1:
            types = {type_ for type_, _ in self._pieces[:-1]}
            kind = next((each for each in (*usual, *range(256)) if each not in types), kind)
        return kind, code

    def spelled(self, protocol: int, held: int) -> Iterator[Carried]:
        # The last type stands for all that are not spoken of.
        but = bool(held >> self.size - 1 & 1)
        if but:
            held = ~held & ((1 << self.size) - 1)
        types: list[str] = []
        by_type: dict[int, list[tuple[int, bool]]] = {}
        for number, (kind, code) in enumerate(self._pieces):
            by_type.setdefault(kind, []).append((code, bool(held >> number & 1)))
        for kind, codes in by_type.items():
            if all(inside for _, inside in codes):
                types.append(str(kind))
            elif codes[-1][1]:
                # The last code stands for all that are not spoken of.
                without = ",".join(str(code) for code, inside in codes if not inside)
                types.append(f"{kind} but code {without}")
            else:
                types += (f"{kind}:{code}" for code, inside in codes if inside)
        yield Carried(protocol, types=tuple(types), but=but)


def _said(some: Carried) -> Iterator[str]:
    """Some traffic of one protocol: `tcp/80,443`; a text for each type, `icmp type 3 code 1`."""
    said = str(Traffic(some.protocol, some.ports, some.source_ports))
    types = [f"type {each.replace(':', ' code ')}" for each in some.types]
    if types and not some.but:
        yield from (f"{said} {each}" for each in types)
    else:
        yield f"{said} but {', '.join(types)}" if types else said


def _unusual(packet: Packet) -> int:
    """How odd a packet is, from 0."""
    if packet.protocol in PORTED:
        return unusual_port(packet.protocol, packet.port, packet.source_port)
    return 1 if packet.icmp is not None else 2


def _other_than(numbers: set[int]) -> int:
    return next((each for each in range(255, -1, -1) if each not in numbers), 255)


def _cuts(spoken: Iterable[Bounds]) -> list[int]:
    """Where the pieces of a line of ports begin."""
    found = {0, *(bound for bounds in spoken for bound in bounds)}
    return sorted(found - {_LAST_PORT + 1})


def _ports_of(cuts: Sequence[int], bits: int) -> PortSet | None:
    """The ports of some pieces of a line; None for all of them."""
    if bits == (1 << len(cuts)) - 1:
        return None
    ends = [*cuts[1:], _LAST_PORT + 1]
    return PortSet(
        intervals.from_ranges(
            [(cuts[each], ends[each]) for each in range(len(cuts)) if bits >> each & 1]
        )
    )


def _bits_of(cuts: Sequence[int], bounds: Bounds | None) -> int:
    if bounds is None:
        return (1 << len(cuts)) - 1
    found = 0
    for first, past in intervals.to_ranges(bounds):
        start, end = bisect_right(cuts, first) - 1, bisect_left(cuts, past)
        found |= (1 << end) - (1 << start)
    return found

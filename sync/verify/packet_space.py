"""Sets of flows for the proof: boxes, and their intersections and differences.

A flow between a pod of one zone and its far end, in one direction, is a point with six
coordinates: the address family, the pod's address, who is at the far end, the address there, and
the rest of the packet's header. A box is a product of a set of each:

    family  x  local addresses  x  profiles of the far end  x  far addresses  x  traffic

Addresses are boundaries (`sync.net.intervals`); profiles and traffic are bits of a number.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from sync.firewall.services import ICMP, ICMPV6, Traffic
from sync.net import intervals
from sync.net.addresses import EVERYWHERE, V4_END, V6_END, AddressSet, network
from sync.net.intervals import Bounds
from sync.net.ports import PortSet

Family = Literal[4, 6]
FAMILIES: Final[tuple[Family, Family]] = (4, 6)
WHOLE: Final[dict[Family, Bounds]] = {4: (0, V4_END), 6: (0, V6_END)}

# No packet has an IPv4-mapped address (RFC 4291, section 2.5.5.2), and Calico reads them as IPv4.
ON_THE_WIRE: Final = EVERYWHERE - network("::ffff:0:0/96")

_LAST_PORT: Final = 65535
PORTED: Final = (6, 17, 132)

EPHEMERAL: Final = 50_000
"""A source port as clients use them, where none is named."""

_NAMES: Final = {ICMP: "icmp", 6: "tcp", 17: "udp", ICMPV6: "icmp6", 132: "sctp"}


Place = tuple[str, str, str, str, int]
"""A rule: source and device group of its target, the scope that holds it, rulebase, position."""

Ends = tuple[tuple[int, AddressSet], ...]
"""Who and where an end may be: profiles, each with its addresses; each profile once."""


class Entry(NamedTuple):
    """One rule of a list: the pod's side, the far end, the traffic, and what it decides.

    `action` is "" where it is unknown. `rule` is the firewall's rule, or the one that a Calico rule
    says it is; `where` the place of a Calico rule, as in `policy[egress 3]`, `place` that of a
    firewall's rule, `exact` whether Calico can express that exactly. `rough`: an allow may be less
    than it seems here, and a deny more.
    """

    local: AddressSet
    far: Ends
    traffic: tuple[Traffic, ...]
    action: Literal["allow", "deny", ""]
    rule: str
    where: str = ""
    families: tuple[Family, ...] = FAMILIES
    place: Place | None = None
    exact: bool = True
    rough: bool = False


class Box(NamedTuple):
    """Some flows; `profiles` and `traffic` are bits, none of the sets is empty."""

    family: Family
    local: Bounds
    profiles: int
    far: Bounds
    traffic: int


def common(left: Box, right: Box) -> Box | None:
    """The intersection; None if it is empty."""
    profiles = left.profiles & right.profiles
    traffic = left.traffic & right.traffic
    if not profiles or not traffic or left.family != right.family:
        return None
    local = _both(left.local, right.local)
    if not local:
        return None
    far = _both(left.far, right.far)
    return Box(left.family, local, profiles, far, traffic) if far else None


def without(box: Box, taken: Box) -> list[Box]:
    """The part of a box outside another one, as disjoint boxes."""
    both = common(box, taken)
    if both is None:
        return [box]
    left: list[Box] = []
    if profiles := box.profiles & ~both.profiles:
        left.append(box._replace(profiles=profiles))
    if traffic := box.traffic & ~both.traffic:
        left.append(box._replace(profiles=both.profiles, traffic=traffic))
    if local := intervals.difference(box.local, both.local):
        left.append(box._replace(profiles=both.profiles, traffic=both.traffic, local=local))
    if far := intervals.difference(box.far, both.far):
        left.append(both._replace(far=far))
    return left


def outside(box: Box, taken: Iterable[Box]) -> list[Box]:
    """The part of a box outside all of some others, as disjoint boxes."""
    left = [box]
    for each in taken:
        left = [part for box in left for part in without(box, each)]
    return left


def _both(left: Bounds, right: Bounds) -> Bounds:
    if left is right or left == right:
        return left
    if left[0] >= right[-1] or right[0] >= left[-1]:
        return ()
    return intervals.intersection(left, right)


def of_family(addresses: AddressSet, family: int) -> Bounds:
    """The addresses of one family, 4 or 6."""
    return addresses.v4 if family == 4 else addresses.v6


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
        """A packet of one of these pieces."""
        lowest = (bits & -bits).bit_length() - 1
        for protocol, pieces in self._pieces.items():
            if pieces.first <= lowest < pieces.first + pieces.size:
                return pieces.packet(protocol, lowest - pieces.first)
        raise ValueError(bits)

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

    def packet(self, protocol: int, piece: int) -> Packet:
        del piece
        return Packet(protocol, 0, 0, None)


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

    def packet(self, protocol: int, piece: int) -> Packet:
        source, port = divmod(piece, len(self._ports))
        return Packet(protocol, self._sources[source], self._ports[port], None)


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

    def packet(self, protocol: int, piece: int) -> Packet:
        return Packet(protocol, 0, 0, self._pieces[piece])


def _other_than(numbers: set[int]) -> int:
    return next((each for each in range(255, -1, -1) if each not in numbers), 255)


def _cuts(spoken: Iterable[Bounds]) -> list[int]:
    """Where the pieces of a line of ports begin."""
    found = {0, *(bound for bounds in spoken for bound in bounds)}
    return sorted(found - {_LAST_PORT + 1})


def _bits_of(cuts: Sequence[int], bounds: Bounds | None) -> int:
    if bounds is None:
        return (1 << len(cuts)) - 1
    found = 0
    for first, past in intervals.to_ranges(bounds):
        start, end = bisect_right(cuts, first) - 1, bisect_left(cuts, past)
        found |= (1 << end) - (1 << start)
    return found

"""Choose one of many flows as an example that people believe: usual hosts, services and clients.

some addresses, some ports  ->  a usual one of them; else an ordinary one; else the first

An example is always one of those given, and the same ones give the same example.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sync.firewall.services import ICMP, ICMPV6
from sync.net.addresses import AddressSet, address_range, network
from sync.net.intervals import Bounds, difference, holds, intersection, to_ranges
from sync.verify.packet_space import Family, of_family

EPHEMERAL: Final = 50_000
"""A source port as clients use them, where none is named."""

_FIRST_CLIENT: Final = 1024
_UDP: Final = (53, 123, 161, 500, 514, 443)
_OTHERWISE: Final = (443, 80, 22, 53, 25, 389, 445, 1433, 3306, 3389, 5432, 6379, 8080, 8443)
USUAL_PORTS: Final[Mapping[int, tuple[int, ...]]] = {6: _OTHERWISE, 17: _UDP, 132: _OTHERWISE}
USUAL_TYPES: Final[Mapping[int, tuple[int, ...]]] = {ICMP: (8, 0, 3, 11), ICMPV6: (128, 129, 1, 3)}
USUAL_PROTOCOLS: Final = (6, 17, 47, 50)  # of those that no rule names

# Hosts of no network that anybody has: private ones, and those of documentation (RFC 5737, 3849).
_PODS: Final = ("10.0.0.10", "10.0.0.11", "172.16.0.10", "192.168.0.10", "fd00::10", "fd00::11")
_HOSTS: Final = ("203.0.113.10", "203.0.113.11", "198.51.100.10", "2001:db8::10", "2001:db8::11")

# What is no host: this network, loopback, link-local, multicast, reserved and broadcast addresses.
_NO_HOSTS: Final = AddressSet.union(
    [network(each) for each in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16")]
    + [address_range("224.0.0.0", "255.255.255.255")]
)
_UNICAST: Final = network("2000::/3") | network("fc00::/7")


def usual_address(some: Bounds, family: Family, *, pod: bool, but: int | None = None) -> int:
    """One of some addresses, other than `but` if there is another one."""
    return next((each for each in _by_rank(some, family, pod) if each != but), some[0])


def _by_rank(some: Bounds, family: Family, pod: bool) -> Iterator[int]:  # noqa: FBT001 - as above
    """Some of these addresses, the most usual ones first; of many ranges few are looked at."""
    yield from (each for each in _KNOWN[family, pod] if holds(some, each))
    for strict in (True, False):
        for one in to_ranges(some):
            yield from _hosts(one, family, strict=strict)
    for first, past in to_ranges(some):
        yield from range(first, min(past, first + 2))


def _numbers(texts: Sequence[str], family: Family) -> tuple[int, ...]:
    found = [of_family(network(each), family) for each in texts]
    return tuple(each[0] for each in found if each)


_KNOWN: Final = {
    (family, pod): _numbers(texts, family)
    for family in (4, 6)
    for pod, texts in ((True, _PODS), (False, _HOSTS))
}


def _hosts(some: tuple[int, int], family: Family, *, strict: bool) -> Iterator[int]:
    """The first addresses of a range that may be hosts'.

    `strict`: they name no network, and not all of one either.
    """
    left = intersection(some, _UNICAST.v6) if family == 6 else difference(some, _NO_HOSTS.v4)
    for first, past in to_ranges(left):
        start = first + 1 if past - first > 2 else first
        for each in range(start, min(past, start + 4)):
            # One that ends in 0 or 255 is the first or the last of most networks.
            if family == 6 or not strict or 0 < each & 255 < 255:
                yield each


def usual_source(first: int, past: int) -> int:
    """One of the ports of a range as that of a client."""
    if first <= EPHEMERAL < past:
        return EPHEMERAL
    return next((each for each in (max(first, _FIRST_CLIENT), 1) if first <= each < past), first)


def unusual_port(protocol: int, port: int, source: int) -> int:
    """How odd the ports of a packet are, from 0."""
    if not port or not source:
        return 3
    return (port not in USUAL_PORTS[protocol]) + (source < _FIRST_CLIENT)

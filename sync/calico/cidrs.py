"""The one written form of an address range that every Calico reads alike."""

from functools import lru_cache
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from sync.net.addresses import AddressSet

_V4_LENGTHS: Final = {str(length): length for length in range(33)}
_V6_LENGTHS: Final = {str(length): length for length in range(129)}
_V4_HOST_BITS: Final = tuple((1 << (32 - length)) - 1 for length in range(33))
_MAPPED_PREFIX: Final = 0xFFFF
_HALVES: Final = {
    "0.0.0.0/0": ("0.0.0.0/1", "128.0.0.0/1"),
    "::/0": ("::/1", "8000::/1"),
}


def of_set(addresses: AddressSet) -> list[str]:
    """The nets of a GlobalNetworkSet for these addresses: disjoint, sorted, none of them a /0.

    An ipset takes no /0 (ipset(8), `hash:net`), and one in a set is reported to stop Felix in
    nftables mode (projectcalico/calico issue 13477). Two /1 are the same.
    """
    nets = addresses.cidrs()
    if _HALVES.keys().isdisjoint(nets):
        return nets
    return [half for net in nets for half in _HALVES.get(net, (net,))]


# Many groups and rules hold the same addresses.
@lru_cache(1 << 17)
def sort_key(cidr: str) -> tuple[int, int, int]:
    """Family (4 or 6), address and prefix length of a canonical CIDR; the order of nets in a set.

    `ValueError` explains why `cidr` is not canonical: no mask, host bits, a leading zero, a longer
    spelling of an IPv6 address, or inside ::ffff:0:0/96, which Go's `net.IP` takes for IPv4.
    """
    text, slash, mask = cidr.partition("/")
    if not slash:
        raise ValueError("has no mask")
    if ":" in text:
        return _v6(text, mask)
    try:
        packed = inet_pton(AF_INET, text)
    except (OSError, ValueError):
        raise ValueError("is not an address and a mask") from None
    length = _V4_LENGTHS.get(mask)
    # Not every libc refuses leading zeros, which some read as octal.
    if length is None or inet_ntop(AF_INET, packed) != text:
        raise ValueError("is not in the canonical form")
    address = int.from_bytes(packed)
    if address & _V4_HOST_BITS[length]:
        raise ValueError("has host bits set")
    return 4, address, length


def _v6(text: str, mask: str) -> tuple[int, int, int]:
    try:
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        raise ValueError("is not an address and a mask") from None
    length = _V6_LENGTHS.get(mask)
    address = int.from_bytes(packed)
    if length is not None and address >> 32 == _MAPPED_PREFIX:
        raise ValueError("lies in ::ffff:0:0/96, which Calico reads as IPv4")
    # From the number: `inet_ntop` writes ::a.b.c.d, Go and `ipaddress` do not.
    if length is None or str(IPv6Address(address)) != text:
        raise ValueError("is not in the canonical form")
    if address & ((1 << (128 - length)) - 1):
        raise ValueError("has host bits set")
    return 6, address, length

"""The addresses of an address object's value when a rule is matched.

Sources: PAN-OS administrator's guide, "Use Case: ... address objects" (host bits, ranges,
wildcards); the configuration schema of PAN-OS 10.0 (`address/entry`).
"""

from dataclasses import dataclass
from functools import lru_cache

from sync.net import addresses, intervals
from sync.net.addresses import AddressSet

MAX_WILDCARD_BLOCKS = 65_536
_AROUND_BLOCKS = 256  # that cover a part of one with more; as many as one rule holds


def ip_netmask(text: str) -> AddressSet:
    """`10.0.0.1`, `10.0.0.1/24`, `2001:db8::1/64`: the host, or the network it lies in.

    `ValueError` if it is none of these (a template variable, say).
    """
    return _both_families(addresses.network(text))


def ip_range(text: str) -> AddressSet:
    """`10.0.0.1-10.0.0.9`, both ends included; `ValueError` if it is not a rising range."""
    first, dash, last = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r} has no '-' between two addresses")
    return _both_families(addresses.address_range(first.strip(), last.strip()))


def literal(text: str) -> AddressSet | None:
    """The addresses of a member that is no object's name; None if it is no address."""
    try:
        return ip_range(text) if "-" in text else ip_netmask(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Wildcard:
    """An IPv4 wildcard: a bit that is 1 in the mask does not matter, and is 0 in the base."""

    base: int
    mask: int

    @property
    def length(self) -> int:
        """The length of its prefix: the bits at the front that all count."""
        return 32 - self.mask.bit_length()

    @property
    def prefix(self) -> AddressSet:
        """The network of its prefix, which holds all of it."""
        size = 1 << self.mask.bit_length()
        first = self.base & -size
        return AddressSet(v4=(first, first + size))

    @property
    def blocks(self) -> int:
        """The number of its CIDRs: low free bits make one, each free bit above doubles it."""
        return 1 << (self.mask & (self.mask + 1)).bit_count()

    def addresses(self) -> AddressSet:
        """Its addresses; `ValueError` if they are more than 65,536 CIDRs."""
        return _expanded(self)

    def within(self, first: int, free: int) -> "Wildcard | None":
        """The part of it in the CIDR that begins at `first` and has this many free bits."""
        return self.shared_with(Wildcard(first, (1 << free) - 1))

    def shared_with(self, other: "Wildcard") -> "Wildcard | None":
        """The intersection of two wildcards, which is a wildcard again."""
        if (self.base ^ other.base) & ~self.mask & ~other.mask:
            return None
        return Wildcard(self.base | other.base, self.mask & other.mask)

    def among(self, found: AddressSet) -> AddressSet:
        """The part of some IPv4 addresses that it holds; a superset if it is too large to expand.

        Such a wildcard shares a wildcard with every CIDR. If that is more than 256 CIDRs, low bits
        are treated as free until it is not.
        """
        if self.blocks <= MAX_WILDCARD_BLOCKS:
            return found & self.addresses()
        shared = (self.within(first, free) for first, free in found.blocks_v4())
        return AddressSet.union(each._around().addresses() for each in shared if each)  # noqa: SLF001 - its own

    def _around(self) -> "Wildcard":
        """The smallest wildcard of at most 256 CIDRs around it that differs only in low bits."""
        if self.blocks <= _AROUND_BLOCKS:
            return self
        free = [bit for bit in range(32) if self.mask >> bit & 1]
        low = (2 << free[-_AROUND_BLOCKS.bit_length()]) - 1
        return Wildcard(self.base & ~low, self.mask | low)


def wildcard(text: str) -> Wildcard:
    """`10.20.1.1/0.0.248.0`: a 1 in the mask is a bit that does not matter.

    `ValueError` if it is not that, or if the mask's first bit is 1, which PAN-OS refuses.
    """
    base_text, _, mask_text = text.partition("/")
    family, base = addresses.address(base_text)
    mask_family, mask = addresses.address(mask_text)
    if (family, mask_family) != (4, 4):
        raise ValueError(f"{text!r} is not an IPv4 address and an IPv4 wildcard mask")
    if mask >> 31:
        raise ValueError(f"the wildcard mask {mask_text} does not begin with 0")
    return Wildcard(base & ~mask, mask)


def ip_wildcard(text: str) -> AddressSet:
    """The addresses of a wildcard; `ValueError` if it is none or more than 65,536 CIDRs."""
    found = wildcard(text)
    if found.blocks > MAX_WILDCARD_BLOCKS:
        raise ValueError(
            f"{text!r} stands for {found.blocks:,} separate blocks, more than "
            f"{MAX_WILDCARD_BLOCKS:,}"
        )
    return found.addresses()


@lru_cache(64)  # one may be large, and many rules use it
def _expanded(found: Wildcard) -> AddressSet:
    if found.blocks > MAX_WILDCARD_BLOCKS:
        raise ValueError(f"{found} is too much to be expanded")
    tail = ((found.mask + 1) & ~found.mask).bit_length() - 1
    starts = [found.base]
    for bit in range(tail, 32):
        if found.mask >> bit & 1:
            starts += [start | 1 << bit for start in starts]
    return AddressSet(v4=intervals.from_ranges((start, start + (1 << tail)) for start in starts))


def _both_families(found: AddressSet) -> AddressSet:
    """Add the IPv4 addresses that an IPv6 object matches: those it holds as `::a.b.c.d`.

    PAN-OS treats IPv4 as the part `::/96` of IPv6: `::/0` matches every IPv4 address,
    `2001:db8::/32` none ("IPv6 address objects", PAN-OS administrator's guide).
    """
    if not found.v6 or found.v6[0] >= addresses.V4_END:
        return found
    return AddressSet(v4=intervals.intersection(found.v6, (0, addresses.V4_END)), v6=found.v6)

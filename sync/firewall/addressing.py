"""What the value of an address object stands for when a rule is matched.

Sources: PAN-OS administrator's guide, "Use Case: ... address objects" (host bits, ranges,
wildcards); the configuration schema of PAN-OS 10.0 (`address/entry`).
"""

from sync.net import addresses, intervals
from sync.net.addresses import AddressSet

MAX_WILDCARD_BLOCKS = 65_536


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
    """The addresses of a member that no object has for a name; None if it is no address."""
    try:
        return ip_range(text) if "-" in text else ip_netmask(text)
    except ValueError:
        return None


def ip_wildcard(text: str) -> AddressSet:
    """`10.20.1.1/0.0.248.0`: a 1 in the mask is a bit that does not matter.

    `ValueError` if it is not that, if the mask's first bit is 1, which PAN-OS refuses, or if it
    stands for more than 65,536 separate blocks of addresses.
    """
    base_text, _, mask_text = text.partition("/")
    family, base = addresses.address(base_text)
    mask_family, mask = addresses.address(mask_text)
    if (family, mask_family) != (4, 4):
        raise ValueError(f"{text!r} is not an IPv4 address and an IPv4 wildcard mask")
    if mask >> 31:
        raise ValueError(f"the wildcard mask {mask_text} does not begin with 0")
    # The free bits at the low end make one block; each free bit above them doubles the blocks.
    tail = ((mask + 1) & ~mask).bit_length() - 1
    scattered = [1 << bit for bit in range(tail, 32) if mask >> bit & 1]
    if 1 << len(scattered) > MAX_WILDCARD_BLOCKS:
        raise ValueError(
            f"{text!r} stands for {1 << len(scattered):,} separate blocks, more than "
            f"{MAX_WILDCARD_BLOCKS:,}"
        )
    starts = [base & ~mask]
    for bit in scattered:
        starts += [start | bit for start in starts]
    return AddressSet(v4=intervals.from_ranges((start, start + (1 << tail)) for start in starts))


def _both_families(found: AddressSet) -> AddressSet:
    """Add the IPv4 addresses that an IPv6 object matches: those it holds as `::a.b.c.d`.

    PAN-OS treats IPv4 as the part `::/96` of IPv6: `::/0` matches every IPv4 address,
    `2001:db8::/32` none ("IPv6 address objects", PAN-OS administrator's guide).
    """
    if not found.v6 or found.v6[0] >= addresses.V4_END:
        return found
    return AddressSet(v4=intervals.intersection(found.v6, (0, addresses.V4_END)), v6=found.v6)

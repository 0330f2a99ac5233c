"""Sets of IP addresses: exact, of both families, with one form for one set."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, starmap
from socket import AF_INET, AF_INET6, inet_ntoa, inet_pton

from sync.net import intervals
from sync.net.intervals import Bounds

V4_END = 1 << 32
V6_END = 1 << 128

# Prefix lengths as they are written, and the bits they leave free.
_FREE_BITS = {
    4: {str(length): 32 - length for length in range(33)},
    6: {str(length): 128 - length for length in range(129)},
}


@dataclass(frozen=True, slots=True)
class AddressSet:
    """A set of IPv4 and IPv6 addresses, each family as boundaries (`sync.net.intervals`).

    Equal sets are equal values, whatever they were made from.
    """

    v4: Bounds = ()
    v6: Bounds = ()

    @classmethod
    def union(cls, sets: Iterable["AddressSet"]) -> "AddressSet":
        """The union of any number of sets, in one pass over all of them."""
        v4: list[tuple[int, int]] = []
        v6: list[tuple[int, int]] = []
        # Asked for their boundaries and not for their truth: this is the hottest place of all.
        some = [each for each in sets if each.v4 or each.v6]
        if len(some) == 1:
            return some[0]
        for each in some:
            # Two boundaries are one range already, and nearly every address object is one.
            if len(each.v4) == 2:
                v4.append(each.v4)
            elif each.v4:
                v4 += intervals.to_ranges(each.v4)
            if each.v6:
                v6 += intervals.to_ranges(each.v6)
        return cls(intervals.from_ranges(v4), intervals.from_ranges(v6))

    @classmethod
    def twice(cls, sets: Iterable["AddressSet"]) -> "AddressSet":
        """The addresses in two or more of these sets, in one pass over all of them."""
        some = [each for each in sets if each]
        return cls(
            intervals.twice(each.v4 for each in some), intervals.twice(each.v6 for each in some)
        )

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def __or__(self, other: "AddressSet") -> "AddressSet":
        return AddressSet(intervals.union(self.v4, other.v4), intervals.union(self.v6, other.v6))

    def __and__(self, other: "AddressSet") -> "AddressSet":
        return AddressSet(
            intervals.intersection(self.v4, other.v4), intervals.intersection(self.v6, other.v6)
        )

    def __sub__(self, other: "AddressSet") -> "AddressSet":
        return AddressSet(
            intervals.difference(self.v4, other.v4), intervals.difference(self.v6, other.v6)
        )

    @property
    def size(self) -> int:
        """The number of addresses."""
        return sum(
            past - first
            for bounds in (self.v4, self.v6)
            for first, past in intervals.to_ranges(bounds)
        )

    def cidrs(self) -> list[str]:
        """The fewest CIDRs that are exactly this set: IPv4 first, each family ascending.

        Masks are always stated, host bits are clear, IPv6 is in RFC 5952 form.
        """
        v4 = chain.from_iterable(starmap(_cidrs_v4, intervals.to_ranges(self.v4)))
        v6 = chain.from_iterable(starmap(_cidrs_v6, intervals.to_ranges(self.v6)))
        return [*v4, *v6]

    def blocks_v4(self) -> Iterator[tuple[int, int]]:
        """The CIDRs of its IPv4 addresses as (first address, number of free bits), ascending."""
        for first, past in intervals.to_ranges(self.v4):
            yield from _blocks(first, past, V4_END)


# Many groups and rules hold the same ranges.
@lru_cache(1 << 16)
def _cidrs_v4(first: int, past: int) -> tuple[str, ...]:
    return tuple(
        f"{inet_ntoa(block.to_bytes(4))}/{32 - bits}"
        for block, bits in _blocks(first, past, V4_END)
    )


@lru_cache(1 << 16)
def _cidrs_v6(first: int, past: int) -> tuple[str, ...]:
    return tuple(
        f"{ipaddress.IPv6Address(block).compressed}/{128 - bits}"
        for block, bits in _blocks(first, past, V6_END)
    )


NOWHERE = AddressSet()
EVERYWHERE = AddressSet((0, V4_END), (0, V6_END))
"""Every address of both families."""


def _blocks(first: int, past: int, end: int) -> Iterator[tuple[int, int]]:
    """The fewest aligned power-of-two blocks of a range, as (first, number of free bits)."""
    while first < past:
        aligned = first & -first or end
        size = min(aligned, 1 << ((past - first).bit_length() - 1))
        yield first, size.bit_length() - 1
        first += size


def address(text: str) -> tuple[int, int]:
    """One address as (family 4 or 6, number); `ValueError` for anything else.

    Strict: no leading zeros, no short forms, no zone identifiers.
    """
    try:
        if ":" in text:
            return 6, int.from_bytes(inet_pton(AF_INET6, text))
        return 4, int.from_bytes(inet_pton(AF_INET, text))
    except (OSError, ValueError):
        raise ValueError(f"{text!r} is not an IP address") from None


def written(place: tuple[int, int]) -> str:
    """An address from (family 4 or 6, number), IPv6 in RFC 5952 form."""
    family, number = place
    return str(ipaddress.ip_address(number.to_bytes(4 if family == 4 else 16)))


def network(text: str) -> AddressSet:
    """An address, or an address with a prefix length whose host bits are cleared.

    `ValueError` for anything else. Without a prefix length it is one host.
    """
    host, slash, prefix = text.partition("/")
    try:
        # By far the most are IPv4.
        family, number = 4, int.from_bytes(inet_pton(AF_INET, host))
    except (OSError, ValueError):
        family, number = address(host)
    free = 0
    if slash:
        try:
            free = _FREE_BITS[family][prefix]
        except KeyError:
            raise ValueError(f"{prefix!r} is not a prefix length of IPv{family}") from None
    first = number >> free << free
    bounds = (first, first + (1 << free))
    return AddressSet(bounds) if family == 4 else AddressSet((), bounds)


def address_range(first: str, last: str) -> AddressSet:
    """All addresses from `first` to `last`, both included; `ValueError` if that is none."""
    family, start = address(first)
    other, end = address(last)
    if family != other:
        raise ValueError(f"{first} and {last} are of two address families")
    if end < start:
        raise ValueError(f"{last} comes before {first}")
    bounds = (start, end + 1)
    return AddressSet(v4=bounds) if family == 4 else AddressSet(v6=bounds)

"""Networks as prefixes: what is inside what, and how they are written."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from sync.net import addresses
from sync.net.addresses import AddressSet

# A network as (family, first address, first address past it); they sort by where they begin.
Prefix = tuple[int, int, int]

DEFAULT_ROUTES: frozenset[Prefix] = frozenset({(4, 0, addresses.V4_END), (6, 0, addresses.V6_END)})


def prefix_of(text: str) -> Prefix | None:
    """A network, or a host; None for a name or a variable."""
    try:
        found = addresses.network(text)
    except ValueError:
        return None
    return (4, *_ends(found.v4)) if found.v4 else (6, *_ends(found.v6))


def _ends(bounds: tuple[int, ...]) -> tuple[int, int]:
    return bounds[0], bounds[-1]


def order_of(cidr: str) -> Prefix:
    found = prefix_of(cidr)
    assert found is not None
    return found


def addresses_of(prefix: Prefix) -> AddressSet:
    family, first, past = prefix
    return AddressSet(v4=(first, past)) if family == 4 else AddressSet(v6=(first, past))


def cidr_of(prefix: Prefix) -> str:
    return addresses_of(prefix).cidrs()[0]


def inside(inner: Prefix, outer: Prefix) -> bool:
    return inner[0] == outer[0] and outer[1] <= inner[1] and inner[2] <= outer[2]


def within(prefix: Prefix, ordered: list[Prefix]) -> Iterator[Prefix]:
    """The prefixes, of sorted ones, that are longer and inside this one."""
    family, first, past = prefix
    start = bisect_left(ordered, (family, first, 0))
    end = bisect_left(ordered, (family, past, 0))
    for each in ordered[start:end]:
        if each != prefix and each[2] <= past:
            yield each


def nested(prefixes: Iterable[Prefix]) -> Iterator[tuple[Prefix, list[Prefix]]]:
    """Each prefix after all those around it, which come along, the widest first."""
    around: list[Prefix] = []
    for prefix in sorted(prefixes, key=lambda each: (each[0], each[1], -each[2])):
        while around and not inside(prefix, around[-1]):
            around.pop()
        yield prefix, around
        around.append(prefix)

"""What rules surely match where wildcard objects overlap, read bit by bit.

Unless its wildcard top-down match mode is on, which a Panorama does not say, a firewall looks for
the longest prefix around an address, of all wildcards of its rules at that end, and judges by the
wildcards of that prefix alone. What is not surely judged by a rule counts as not matched by it, and
of rules without wildcards nobody says how they stand to those with some.

All prefixes cut the addresses into regions, each where one of them is the longest.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

from sync.net.addresses import V4_END, AddressSet, address

ALL_IPV4 = AddressSet((0, V4_END))
"""What a wildcard that cannot be read may hold."""
_WHOLE = V4_END - 1
_MOST = 65_536  # CIDRs of one wildcard; one that has more is taken for more than it holds
_FEW = 256  # CIDRs of such a one within another CIDR, until the rest is taken for whole


@dataclass(frozen=True, slots=True)
class Pattern:
    """The bits of an IPv4 address that count, and what they are."""

    counts: int
    bits: int

    @property
    def size(self) -> int:
        """The size of the network of its prefix."""
        return 1 << (~self.counts & _WHOLE).bit_length()

    @property
    def prefix(self) -> AddressSet:
        """The network whose addresses have its first bits."""
        first = self.bits // self.size * self.size
        return AddressSet((first, first + self.size))

    @property
    def too_large(self) -> bool:
        """Whether it is too many CIDRs to be said: each free bit above a fixed one doubles them."""
        free = ~self.counts & _WHOLE
        return 1 << (free & (free + 1)).bit_count() > _MOST

    def holds(self, found: AddressSet) -> AddressSet:
        """What of these addresses it holds, or rather more than too many CIDRs."""
        most = _FEW if self.too_large else _MOST
        parts = (part for block in found.blocks_v4() for part in self._in_block(*block, most))
        return AddressSet.union(AddressSet(part) for part in parts)

    def _in_block(self, first: int, free: int, most: int) -> Iterator[tuple[int, int]]:
        """The same of one CIDR, as ranges: its free bits are gone down one by one."""
        if (first ^ self.bits) & self.counts & -(1 << free):
            return
        starts = [first]
        while self.counts & ((1 << free) - 1):
            bit = 1 << (free - 1)
            if self.counts & bit:
                starts = [start | (self.bits & bit) for start in starts]
            elif 2 * len(starts) > most:
                break
            else:
                starts += [start | bit for start in starts]
            free -= 1
        for start in starts:
            yield start, start + (1 << free)


def pattern(value: str) -> Pattern | None:
    """A wildcard object's value; None if it cannot be read."""
    base, _, mask = value.partition("/")
    try:
        (family, number), (same, free) = address(base), address(mask)
    except ValueError:
        return None
    if (family, same) != (4, 4) or free > _WHOLE // 2:
        return None
    return Pattern(_WHOLE & ~free, number & ~free)


@dataclass(frozen=True, slots=True)
class WildcardList:
    """A list with wildcard objects, those that can be read.

    `more` is what may be matched through it besides. `plain`: it is not negated, and matches what
    its wildcards hold.
    """

    patterns: frozenset[Pattern]
    more: AddressSet
    plain: bool


class WildcardLists:
    """The lists with wildcard objects at one end of all rules that a firewall may have."""

    def __init__(self, lists: Mapping[Hashable, WildcardList]) -> None:
        """By what names the rule."""
        self._lists = lists
        self._regions = [*_regions({each for found in lists.values() for each in found.patterns})]
        self._usual: dict[AddressSet, AddressSet] = {}

    def overlap(self) -> AddressSet:
        """Where those of two rules overlap: there no default decides."""
        counted = Counter(self._lists.values())
        found = [
            _shared(one, other)
            for one, other in combinations_with_replacement(counted, 2)
            if one != other or counted[one] > 1
        ]
        return AddressSet.union(found)

    def surely(self, rule: Hashable, matched: AddressSet) -> AddressSet:
        """What a rule surely decides of the addresses that its list matches."""
        if not self._lists:
            return matched
        if rule in self._lists:
            return self._kept(rule, matched)
        if matched not in self._usual:
            self._usual[matched] = self._kept(None, matched)
        return self._usual[matched]

    def _kept(self, rule: Hashable | None, matched: AddressSet) -> AddressSet:
        own = self._lists.get(rule) if rule is not None else None
        its = own.patterns if own and own.plain else frozenset()
        others = [each for key, each in self._lists.items() if key != rule]
        foreign = frozenset[Pattern]().union(*(each.patterns for each in others))
        lost = [each.more for each in others]
        for region, leaf, around in self._regions:
            here = matched & region
            if not here:
                continue
            taken = self._all(foreign & leaf, here)
            decided = self._all({each for each in its & leaf if not each.too_large}, here) - taken
            lost += [taken, self._all(foreign & around, here) - decided]
            lost.append(self._all(its & around, here) - decided)
        return matched - AddressSet.union(lost)

    @staticmethod
    def _all(patterns: Collection[Pattern], found: AddressSet) -> AddressSet:
        return AddressSet.union(each.holds(found) for each in patterns)


def _shared(one: WildcardList, other: WildcardList) -> AddressSet:
    """What may be matched through both of two lists."""
    found = [one.more & other.more]
    for each, more in ((one.patterns, other.more), (other.patterns, one.more)):
        found += (some.holds(more) for some in each if more)
    for some, its in product(one.patterns, other.patterns):
        if not (some.bits ^ its.bits) & some.counts & its.counts:
            both = Pattern(some.counts | its.counts, some.bits | its.bits)
            found.append(both.holds(ALL_IPV4))
    return AddressSet.union(found)


def _regions(
    patterns: set[Pattern],
) -> Iterator[tuple[AddressSet, frozenset[Pattern], frozenset[Pattern]]]:
    """Each region of addresses with the patterns of its prefix, and those of shorter ones."""
    leaves: dict[tuple[int, int], set[Pattern]] = {}
    for each in patterns:
        leaves.setdefault((each.size, each.bits // each.size), set()).add(each)
    nets = [(size, size * at, each) for (size, at), each in leaves.items()]
    for size, first, leaf in nets:
        inner = (
            AddressSet((start, start + less))
            for less, start, _ in nets
            if less < size and first <= start < first + size
        )
        around = [
            each for more, start, each in nets if more > size and start <= first < start + more
        ]
        region = AddressSet((first, first + size)) - AddressSet.union(inner)
        yield region, frozenset(leaf), frozenset[Pattern]().union(*around)

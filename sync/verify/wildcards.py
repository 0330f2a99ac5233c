"""What rules surely match if wildcard objects overlap, read bit by bit.

Unless its wildcard top-down match mode is on, which a Panorama does not report, a firewall looks
for the longest prefix around an address, of all wildcards of its rules at that end, and judges by
the wildcards of that prefix alone. What is not surely judged by a rule counts as not matched by it,
and how rules without wildcards relate to those with some is not documented.

The lengths of prefixes cut the addresses into regions, each where one of them is the longest.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

from sync.net.addresses import NOWHERE, V4_END, AddressSet, address

ALL_IPV4 = AddressSet((0, V4_END))
"""The addresses that an unreadable wildcard may hold."""
_WHOLE = V4_END - 1
_MOST = 65_536  # CIDRs of one wildcard; one that has more is taken for more than it holds
_MOST_AT_ONCE = 1 << 20  # CIDRs of all wildcards that are put together
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
        """Whether it has too many CIDRs to be written."""
        return self.count > _MOST

    @property
    def count(self) -> int:
        """How many CIDRs it is: each free bit above a fixed one doubles them."""
        free = ~self.counts & _WHOLE
        return 1 << (free & (free + 1)).bit_count()

    def holds(self, found: AddressSet) -> AddressSet:
        """The part of these addresses that it holds; more than that instead of too many CIDRs."""
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


@dataclass(frozen=True, slots=True)
class _Shared:
    """The addresses that any of several rules holds, and those that two of them hold."""

    any: AddressSet
    twice: AddressSet

    @classmethod
    def among(cls, sets: Iterable[AddressSet]) -> Self:
        held = [*sets]
        return cls(AddressSet.union(held), AddressSet.twice(held))

    def by_others(self, found: AddressSet, own: AddressSet) -> AddressSet:
        """The part of these addresses that rules hold other than the one that holds `own`."""
        return (found & self.twice) | ((found & self.any) - own)


class WildcardLists:
    """The lists with wildcard objects at one end of all rules that a firewall may have.

    What all of them hold is put together once: to ask each list of each other one takes too long.
    """

    def __init__(self, lists: Mapping[Hashable, WildcardList]) -> None:
        """By what names the rule."""
        self._lists = lists
        self._counted = Counter(lists.values())
        self._users = Counter[Pattern]()
        for found, rules in self._counted.items():
            self._users.update(dict.fromkeys(found.patterns, rules))
        # What they hold, of all but the few largest.
        self._whole: dict[Pattern, AddressSet] = {}
        left = _MOST_AT_ONCE
        for each in sorted(self._users, key=lambda each: (each.count, each.counts, each.bits)):
            left -= each.count
            if left < 0 or each.too_large:
                break
            self._whole[each] = each.holds(ALL_IPV4)
        self._large = self._users.keys() - self._whole.keys()
        self._more = _Shared.among(
            found.more for found, rules in self._counted.items() for _ in range(min(rules, 2))
        )
        sizes = sorted({each.size for each in self._users})
        self._regions = [*_regions(sizes, self._users)]
        # Of one size, and of all larger ones.
        self._shared = {
            some: _Shared.among(self._by_rule(some))
            for _, leaf, around in self._regions
            for some in (leaf, around)
        }
        self._known: dict[tuple[WildcardList | None, AddressSet], AddressSet] = {}

    def _by_rule(self, sizes: Collection[int]) -> Iterator[AddressSet]:
        """What patterns of these sizes hold, by rule, and twice what several rules hold."""
        for each, whole in self._whole.items():
            if self._users[each] > 1 and each.size in sizes:
                yield from (whole, whole)
        for found in self._counted:
            yield AddressSet.union(
                self._whole[each]
                for each in found.patterns
                if self._users[each] == 1 and each in self._whole and each.size in sizes
            )

    def overlap(self) -> AddressSet:
        """The addresses in wildcards of two rules: no default decides there."""
        held = [
            self._whole[each]
            for each, rules in self._users.items()
            for _ in range(2)
            if rules > 1 and each in self._whole
        ]
        for found, rules in self._counted.items():
            alone = (each for each in found.patterns if self._users[each] == 1)
            whole = [self._whole[each] for each in alone if each in self._whole]
            held += [AddressSet.union([*whole, found.more]), found.more if rules > 1 else NOWHERE]
        shared = [AddressSet.twice(held)]
        for large in self._large:
            by_itself = WildcardList(frozenset({large}), NOWHERE, plain=True)
            shared += (
                _shared(by_itself, other)
                for other in self._counted
                if self._users[large] > 1 or large not in other.patterns
            )
        return AddressSet.union(shared)

    def surely(self, rule: Hashable, matched: AddressSet) -> AddressSet:
        """The part of its list's addresses that a rule surely decides."""
        if not self._lists:
            return matched
        key = self._lists.get(rule), matched
        if key not in self._known:
            self._known[key] = self._kept(*key)
        return self._known[key]

    def _kept(self, own: WildcardList | None, matched: AddressSet) -> AddressSet:
        mine = own.patterns if own else frozenset()
        its = mine if own and own.plain else frozenset()
        lost = [self._more.by_others(matched, own.more if own else NOWHERE)]
        for region, leaf, around in self._regions:
            here = matched & region
            if not here:
                continue
            taken = self._foreign(leaf, mine, here)
            surely = (each for each in its if each.size in leaf and not each.too_large)
            decided = self._all(surely, here) - taken
            shorter = self._all((each for each in its if each.size in around), here)
            lost += [taken, self._foreign(around, mine, here) - decided, shorter - decided]
        return matched - AddressSet.union(lost)

    def _foreign(
        self, sizes: frozenset[int], mine: Collection[Pattern], here: AddressSet
    ) -> AddressSet:
        """What patterns of other rules hold of these addresses, of those of some sizes."""
        own = (each for each in mine if each.size in sizes and each in self._whole)
        held = AddressSet.union(self._whole[each] for each in own)
        large = (
            each
            for each in self._large
            if each.size in sizes and self._users[each] > (each in mine)
        )
        return self._shared[sizes].by_others(here, held) | self._all(large, here)

    def _all(self, patterns: Iterable[Pattern], found: AddressSet) -> AddressSet:
        return AddressSet.union(
            found & self._whole[each] if each in self._whole else each.holds(found)
            for each in patterns
        )


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
    sizes: Sequence[int], patterns: Iterable[Pattern]
) -> Iterator[tuple[AddressSet, frozenset[int], frozenset[int]]]:
    """For each size, where the network of the longest prefix has it; that size, and larger ones."""
    nets: dict[int, list[AddressSet]] = {size: [] for size in sizes}
    for each in patterns:
        nets[each.size].append(each.prefix)
    inner = NOWHERE
    for number, size in enumerate(sizes, 1):
        found = AddressSet.union(nets[size])
        yield found - inner, frozenset({size}), frozenset(sizes[number:])
        inner |= found

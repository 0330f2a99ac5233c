"""The addresses that an allow loses to the wildcard objects of other rules.

Unless a firewall's wildcard top-down match mode is on, which a Panorama's configuration of rules
does not show, wildcard rules are not evaluated in order. Of those that contain an address, only the
rule with the longest prefix is evaluated ("Security Policy Rule Top-Down Order When Wildcard Masks
Overlap", PAN-OS new features guide). By the vendor's knowledge base (kA14u000000XguPCAS) the
firewall first finds the longest prefix around an address, then looks only at wildcards with that
prefix. So an allow keeps an address only if no other rule's wildcard holds it, or its own decide:

    longest prefix around the address, of all wildcards at that end
        only wildcards of this rule hold it     kept
        one of another rule holds it            lost: two of one length, and their order is unknown
        none holds it                           lost, if a shorter prefix would have to decide

The two ends of a packet are judged separately, and an allow must keep the address at both.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from sync.firewall.addressing import MAX_WILDCARD_BLOCKS, Wildcard, wildcard
from sync.firewall.objects import Address
from sync.firewall.rules import Rule
from sync.net.addresses import EVERYWHERE, NOWHERE, V4_END, AddressSet
from sync.translate.address_match import AddressMatch, MemberLists

_ENDS = ("source", "destination")
_IPV4 = AddressSet((0, V4_END))
_MOST_BLOCKS = 1 << 20  # CIDRs of wildcards that are looked up together; larger ones one by one


@dataclass(frozen=True, slots=True, eq=False)
class _Taker:
    """The addresses that rules with one list take from other rules: its wildcards, and `beyond`.

    Rules lose `beyond` whatever their own wildcards are. Only with `decides` may its wildcards have
    the longest prefix; those of a negated list never do.
    """

    wildcards: frozenset[Wildcard]
    beyond: AddressSet
    decides: bool


_NOTHING = _Taker(frozenset(), NOWHERE, decides=False)


@dataclass(frozen=True, slots=True)
class _Held:
    """The addresses that any of some rules holds, and those that two hold.

    Together they give, for each rule, the addresses that the other rules hold.
    """

    any: AddressSet
    twice: AddressSet

    @classmethod
    def of(cls, sets: Iterable[AddressSet]) -> Self:
        held = [*sets]
        return cls(AddressSet.union(held), AddressSet.twice(held))

    def by_others(self, found: AddressSet, own: AddressSet) -> AddressSet:
        """The part of `found` that rules hold other than the one that holds `own`."""
        return (found & self.twice) | ((found & self.any) - own)


class _End:
    """The lists with wildcard objects at one end, and how many rules have each.

    All wildcards of one prefix length are looked up together, except the few large ones.
    """

    def __init__(self, takers: Counter[_Taker]) -> None:
        self._takers = takers
        self._users = Counter[Wildcard]()
        for taker, times in takers.items():
            self._users.update(dict.fromkeys(taker.wildcards, times))
        self._lengths = sorted({each.length for each in self._users})
        self._large, left = set[Wildcard](), _MOST_BLOCKS
        for wild in sorted(self._users, key=lambda each: (each.blocks, each.base, each.mask)):
            left -= wild.blocks
            if left < 0 or wild.blocks > MAX_WILDCARD_BLOCKS:
                self._large.add(wild)
        self._beyond = _Held.of(
            each.beyond for each, times in takers.items() for _ in range(min(times, 2))
        )
        by_length = {length: self._shared(length) for length in self._lengths}
        for taker in takers:
            for length, alone in self._alone(taker):
                by_length[length].append(alone)
        self._held = {length: _Held.of(found) for length, found in by_length.items()}
        self._prefixes = {
            length: AddressSet.union(each.prefix for each in self._users if each.length == length)
            for length in self._lengths
        }

    def _shared(self, length: int) -> list[AddressSet]:
        """Each wildcard of more than one rule, twice."""
        return [
            wild.addresses()
            for wild, times in self._users.items()
            if times > 1 and wild.length == length and wild not in self._large
            for _ in range(2)
        ]

    def _alone(self, taker: _Taker) -> Iterator[tuple[int, AddressSet]]:
        """The addresses that only the wildcards of one rule hold, by prefix length."""
        yield from _by_length(
            each for each in taker.wildcards - self._large if self._users[each] == 1
        ).items()

    def overlap(self) -> AddressSet:
        """The addresses that two rules hold or may hold."""
        held = [each for length in self._lengths for each in self._shared(length)]
        for taker, times in self._takers.items():
            alone = [taker.beyond, *(found for _, found in self._alone(taker))]
            held += [AddressSet.union(alone), taker.beyond if times > 1 else NOWHERE]
        return AddressSet.union([AddressSet.twice(held), *self._with_large()])

    def _with_large(self) -> Iterator[AddressSet]:
        """The addresses that large wildcards share with those of other rules."""
        if not self._large:
            return
        owners = {
            wild: taker
            for taker in self._takers
            for wild in taker.wildcards
            if self._users[wild] == 1
        }
        for wild in self._large:
            owner = owners.get(wild)
            if owner is None:
                yield wild.among(_IPV4)
                continue
            yield wild.among(self._beyond.by_others(_IPV4, owner.beyond))
            for other in self._users:
                if owners.get(other) is not owner and (both := wild.shared_with(other)):
                    yield both.among(_IPV4)

    def taken(self, matched: AddressSet, own: _Taker) -> AddressSet:
        """The part of a rule's addresses for which another rule may decide."""
        deciding = own.wildcards if own.decides else frozenset()
        decided = _by_length(each for each in deciding if each.blocks <= MAX_WILDCARD_BLOCKS)
        its = _by_length(own.wildcards - self._large)
        taken = [self._beyond.by_others(matched, own.beyond)]
        for length in self._lengths:
            near = matched & self._prefixes[length]
            if not near:
                continue
            others = [self._held[length].by_others(near, its.get(length, NOWHERE))]
            others += (
                wild.among(near & wild.prefix)
                for wild in self._large
                if wild.length == length and self._users[wild] > (wild in own.wildcards)
            )
            longer = AddressSet.union(found for each, found in decided.items() if each > length)
            taken.append(AddressSet.union(others) - longer)
            shorter = [each.among(near) for each in deciding if each.length < length]
            if shorter:
                kept = longer | decided.get(length, NOWHERE)
                taken.append(AddressSet.union(shorter) - kept)
        return AddressSet.union(taken)


def _by_length(wildcards: Iterable[Wildcard]) -> dict[int, AddressSet]:
    """The addresses of wildcards, by prefix length."""
    found: dict[int, list[AddressSet]] = {}
    for each in wildcards:
        found.setdefault(each.length, []).append(each.addresses())
    return {length: AddressSet.union(sets) for length, sets in found.items()}


class WildcardRules:
    """The rules of a firewall with wildcard objects, and the addresses that others lose to them."""

    def __init__(self, rules: Iterable[Rule], lists: MemberLists) -> None:
        self._takers: dict[str, dict[int, _Taker]] = {end: {} for end in _ENDS}
        known: dict[tuple[tuple[str, ...], bool], _Taker | None] = {}
        for rule in rules:
            for end, members, negated in (
                ("source", rule.sources, rule.negate_source),
                ("destination", rule.destinations, rule.negate_destination),
            ):
                if (members, negated) not in known:
                    wild = lists.wildcards(members)
                    known[members, negated] = (
                        _taker(wild, members, lists, negated=negated) if wild else None
                    )
                if taker := known[members, negated]:
                    self._takers[end][id(rule)] = taker
        self._ends = {end: _End(Counter(takers.values())) for end, takers in self._takers.items()}
        self._left: dict[tuple[str, AddressMatch, _Taker], AddressMatch] = {}

    def overlap(self, end: str) -> AddressSet:
        """Find where wildcards of two rules overlap.

        The firewall drops flows there that the deciding rule does not match: "no other rules were
        examined", not even the defaults.
        """
        return self._ends[end].overlap()

    def left(self, rule: Rule, end: str, match: AddressMatch) -> AddressMatch:
        """The part of its match that an allow keeps at one end."""
        takers = self._takers[end]
        if not takers:
            return match
        key = end, match, takers.get(id(rule), _NOTHING)
        if key not in self._left:
            self._left[key] = self._without(*key)
        return self._left[key]

    def _without(self, end: str, match: AddressMatch, own: _Taker) -> AddressMatch:
        matched = match.among(EVERYWHERE)
        kept = matched - self._ends[end].taken(matched, own)
        if kept == matched:
            return match
        return AddressMatch(kept, left_over=not match.lists_its_own)


def _taker(
    wild: Iterable[Address], members: tuple[str, ...], lists: MemberLists, *, negated: bool
) -> _Taker:
    wildcards, beyond = set(), NOWHERE
    for each in wild:
        try:
            wildcards.add(wildcard(each.value))
        except ValueError:
            beyond = _IPV4  # its content is unknown
    listed = lists.listed(members)
    if negated and listed:
        # It may decide what it matches, and what its wildcards exclude, longest prefix or not.
        beyond |= EVERYWHERE - listed.holds.surely
        beyond |= AddressSet.union(each.among(_IPV4) for each in wildcards)
    return _Taker(frozenset(wildcards), beyond, decides=not negated and listed is not None)

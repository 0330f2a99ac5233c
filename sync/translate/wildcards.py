"""The addresses that an allow loses to the wildcard objects of other rules.

Unless a firewall's wildcard top-down match mode is on, which a Panorama's configuration of rules
does not say, wildcard rules are not judged in order: of those that hold an address the one with
the longest prefix is judged alone ("Security Policy Rule Top-Down Order When Wildcard Masks
Overlap", PAN-OS new features guide). By the vendor's knowledge base (kA14u000000XguPCAS) the
longest prefix around an address is looked for first, and only its wildcards are looked at. So an
address is an allow's only where no wildcard of another rule holds it, or where its own decide:

    longest prefix around the address, of all wildcards at that end
        only wildcards of this rule hold it     kept
        one of another rule holds it            lost: two of one length, and no order is known
        none holds it                           lost, if a shorter one would have to

The two ends of a packet are judged each for itself, and an allow must keep it at both.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations_with_replacement

from sync.firewall.addressing import MAX_WILDCARD_BLOCKS, Wildcard, wildcard
from sync.firewall.objects import Address
from sync.firewall.rules import Rule
from sync.net.addresses import EVERYWHERE, NOWHERE, V4_END, AddressSet
from sync.translate.matches import AddressMatch, Lists

_ENDS = ("source", "destination")
_IPV4 = AddressSet((0, V4_END))


@dataclass(frozen=True, slots=True)
class _Taker:
    """What one rule takes from others at one end: its wildcards, and `beyond`, whatever theirs.

    Only with `decides` may its wildcards be the longest ones: a negated list is none of them.
    """

    wildcards: frozenset[Wildcard]
    beyond: AddressSet
    decides: bool


class WildcardRules:
    """The rules with wildcard objects among those that a firewall has, and what they take."""

    def __init__(self, rules: Iterable[Rule], lists: Lists) -> None:
        self._takers: dict[str, dict[int, _Taker]] = {end: {} for end in _ENDS}
        for rule in rules:
            for end, members, negated in (
                ("source", rule.sources, rule.negate_source),
                ("destination", rule.destinations, rule.negate_destination),
            ):
                wild = lists.wildcards(members)
                if wild:
                    self._takers[end][id(rule)] = _taker(wild, members, lists, negated=negated)
        self._users = {
            end: Counter(wild for each in takers.values() for wild in each.wildcards)
            for end, takers in self._takers.items()
        }
        self._left: dict[tuple[str, AddressMatch], AddressMatch] = {}

    def overlap(self, end: str) -> AddressSet:
        """Where wildcards of two rules overlap.

        What the one that decides does not match is dropped there: "no other rules were examined",
        the defaults no more than any.
        """
        takers = [*self._takers[end].values()]
        users = {
            wild: {number for number, each in enumerate(takers) if wild in each.wildcards}
            for wild in self._users[end]
        }
        found, beyond = [], NOWHERE
        for one, other in combinations_with_replacement(users, 2):
            both = one.shared_with(other)
            if both and len(users[one] | users[other]) > 1:
                found.append(both.among(_IPV4))
        for number, each in enumerate(takers):
            if each.beyond:
                found.append(each.beyond & beyond)
                beyond |= each.beyond
                found += (wild.among(each.beyond) for wild, its in users.items() if its - {number})
        return AddressSet.union(found)

    def left(self, rule: Rule, end: str, match: AddressMatch) -> AddressMatch:
        """What an allow keeps of its match at one end."""
        takers = self._takers[end]
        if not takers:
            return match
        if id(rule) in takers:
            return self._without(match, end, id(rule))
        if (end, match) not in self._left:
            self._left[end, match] = self._without(match, end, None)
        return self._left[end, match]

    def _without(self, match: AddressMatch, end: str, own: int | None) -> AddressMatch:
        matched = match.among(EVERYWHERE)
        kept = matched - self._taken(matched, end, own)
        if kept == matched:
            return match
        return AddressMatch(kept, left_over=not match.lists_its_own)

    def _taken(self, matched: AddressSet, end: str, own: int | None) -> AddressSet:
        """What of the addresses that a rule matches is not surely its own to judge."""
        takers = self._takers[end]
        mine = takers[own] if own is not None else None
        its = mine.wildcards if mine else frozenset()
        own_ones = its if mine and mine.decides else frozenset()
        sayable = [each for each in own_ones if each.blocks <= MAX_WILDCARD_BLOCKS]
        taken = [each.beyond for rule, each in takers.items() if rule != own]
        for wild, users in self._users[end].items():
            near = matched & wild.prefix
            if not near:
                continue
            if users > (wild in its):
                longer = (each.addresses() for each in sayable if each.length > wild.length)
                taken.append(wild.among(near) - AddressSet.union(longer))
            shorter = [each.among(near) for each in own_ones if each.length < wild.length]
            if shorter:
                others = (each.addresses() for each in sayable if each.length >= wild.length)
                taken.append(AddressSet.union(shorter) - AddressSet.union(others))
        return AddressSet.union(taken)


def _taker(
    wild: Iterable[Address], members: tuple[str, ...], lists: Lists, *, negated: bool
) -> _Taker:
    wildcards, beyond = set(), NOWHERE
    for each in wild:
        try:
            wildcards.add(wildcard(each.value))
        except ValueError:
            beyond = _IPV4  # nobody knows what it holds
    listed = lists.listed(members)
    if negated and listed:
        # What it matches, and what its wildcards keep it from, it may decide, longest or not.
        plain = AddressMatch(listed.rest, groups=listed.groups, held=listed.held)
        beyond |= EVERYWHERE - plain.listed
        beyond |= AddressSet.union(each.among(_IPV4) for each in wildcards)
    return _Taker(frozenset(wildcards), beyond, decides=not negated and listed is not None)

"""Runtime data outside the configuration: registered addresses, DNS, external dynamic lists.

rows of firewalls  ->  addresses by all of their tags  ->  what a dynamic group holds
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sync.firewall.estimate import Estimate
from sync.firewall.reasons import Reason
from sync.firewall.tag_filter import TagFilter
from sync.net.addresses import NOWHERE, AddressSet
from sync.text import shortened

_OVERLAPPING: Final = 256
_TAGS: Final = 1_000_000

Tagged = tuple[tuple[tuple[str, ...], AddressSet], ...]
"""Addresses that are registered on one firewall by all of their tags, each sorted."""


@dataclass(frozen=True, slots=True)
class Registrations:
    """The registered addresses of one device group at run time.

    `firewalls` has what each of its firewalls reported, or its Panorama where it has no firewalls.
    `missing` has a clause for each that does not report everything. `late` has one for each that
    reports nothing now and did not long ago: its last report counts.
    """

    firewalls: tuple[Tagged, ...]
    missing: tuple[str, ...] = ()
    late: tuple[str, ...] = ()

    def held(self, asked: TagFilter) -> Estimate:
        """The registered addresses that match a filter of tags.

        Where firewalls differ, only what all of them have is sure: nothing, if one does not report.
        """
        if self.missing:
            unknown = shortened(self.missing)
            reason = f"what is registered for it is not known of every firewall: {unknown}"
            return Estimate.unknown(reason, kind=Reason.REGISTERED_UNTOLD)
        found = [_held(each, asked) for each in dict.fromkeys(self.firewalls)]
        because = [f"{each}; what it told last counts" for each in self.late]
        kinds = {Reason.REGISTERED_DIFFERS} if because else set()
        if any(doubtful for _, doubtful in found):
            because.append("it negates tags of registered addresses within others")
            kinds.add(Reason.REGISTERED_NEGATED)
        if len({surely for surely, _ in found}) > 1:
            because.append("its firewalls have different addresses registered")
            kinds.add(Reason.REGISTERED_DIFFERS)
        common = found[0][0] if found else NOWHERE
        for surely, _ in found:
            common = common & surely
        at_most = AddressSet.union(each for one in found for each in one)
        return Estimate(common, at_most, because=tuple(because), kinds=frozenset(kinds))


def tagged(rows: Iterable[tuple[AddressSet, Iterable[str]]]) -> Tagged:
    """Addresses by all of their tags: one within another registered one has the other's tags too.

    `ValueError`, the rest of a clause, where too many ranges overlap, as networks never do, or all
    have too many tags.
    Source: PAN-OS XML API, "registered-ip" (api-lab.paloaltonetworks.com/registered-ip.html).
    """
    own: dict[tuple[int, int, int], set[str]] = {}
    pairs = 0
    for addresses, tags in rows:
        for family, bounds in ((4, addresses.v4), (6, addresses.v6)):
            # A row is one address, network or range.
            if bounds:
                own.setdefault((family, bounds[0], bounds[-1]), set()).update(tags)
    found: dict[tuple[str, ...], list[AddressSet]] = {}
    around: list[tuple[tuple[int, int, int], frozenset[str]]] = []
    for family, first, past in sorted(own, key=lambda each: (each[0], each[1], -each[2])):
        # Ranges may overlap without one being within the other: none is let go but those behind.
        around = [each for each in around if each[0][0] == family and each[0][2] > first]
        if len(around) > _OVERLAPPING:
            raise ValueError(f"has more than {_OVERLAPPING} ranges registered that overlap")
        tags = frozenset(own[family, first, past]).union(
            *(each for (_, _, end), each in around if end >= past)
        )
        pairs += len(tags)
        if pairs > _TAGS:
            raise ValueError(f"has more than {_TAGS:,} tags registered, inherited ones included")
        around.append(((family, first, past), tags))
        one = AddressSet((first, past)) if family == 4 else AddressSet((), (first, past))
        found.setdefault(tuple(sorted(tags)), []).append(one)
    return tuple(sorted((tags, AddressSet.union(each)) for tags, each in found.items()))


def _held(firewall: Tagged, asked: TagFilter) -> tuple[AddressSet, AddressSet]:
    """The addresses that surely match a filter, and the others that may."""
    matched: list[AddressSet] = []
    others: list[AddressSet] = []
    for tags, addresses in firewall:
        (matched if asked.matches(frozenset(tags)) else others).append(addresses)
    held = AddressSet.union(matched)
    if not any(kind == "not" for kind, _ in asked.steps):
        return held, NOWHERE
    # An address may be registered twice, alone and in a network. Which of the two a
    # negation means, PAN-OS does not document.
    doubtful = held & AddressSet.union(others)
    return held - doubtful, doubtful

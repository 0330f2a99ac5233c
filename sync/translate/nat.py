"""Which security rules name destinations that NAT rules translate.

The firewall matches addresses as they are before NAT (PAN-OS networking administrator's guide, "NAT
Policy Overview"). A cluster does not translate them, so such a rule does not match the server that
it was written for. That changes no Calico rule; the report shows it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

from sync.net import intervals
from sync.net.addresses import EVERYWHERE, V4_END, AddressSet
from sync.translate.address_match import MemberLists, match
from sync.translate.network_sets import Target, group_sets

_List = tuple[str, ...]


def nat_rules(
    target: Target, *, registered_known: bool, registered_accepted: bool
) -> list[tuple[str, ...]]:
    """Find, for each security rule, the NAT rules that translate some of its destinations.

    A disabled rule has none. Nor has a rule for any destination, or for all but some: it covers the
    servers behind NAT too. The zones and target firewalls of a NAT rule are ignored.
    """
    device_group = target.device_group
    if not device_group.nat:
        return [()] * len(device_group.rules)
    # NAT rules may name groups that have no set in the cluster.
    _, seen = group_sets([target], tags=(), registered_known=registered_known)
    lists = MemberLists(
        device_group.objects,
        seen[target.source, device_group.name],
        registered_accepted=registered_accepted and not device_group.knows_registered,
    )
    translated = {
        each.translated: _at_most(lists, each.translated, EVERYWHERE) for each in device_group.nat
    }
    anywhere = AddressSet.union(translated.values())
    pieces = _Pieces(translated)
    known: dict[_List, tuple[str, ...]] = {}
    found: list[tuple[str, ...]] = []
    for rule in (placed.rule for placed in device_group.rules):
        listed = rule.destinations
        if rule.disabled or rule.negate_destination or lists.listed(listed) is None:
            found.append(())
            continue
        if listed not in known:
            holding = pieces.holding_any_of(_at_most(lists, listed, anywhere))
            known[listed] = tuple(
                each.name for each in device_group.nat if each.translated in holding
            )
        found.append(known[listed])
    return found


def _at_most(lists: MemberLists, members: _List, networks: AddressSet) -> AddressSet:
    """The part of these networks that a list may match: its upper bound, as for a deny."""
    found, _ = match(
        "destination", lists.listed(members), negated=False, allow=False, accepted=False
    )
    return found.among(networks)


class _Pieces:
    """The pieces into which the addresses of some lists cut one another, with the lists of each.

    This avoids comparing a thousand published addresses with each of a thousand rules.
    """

    def __init__(self, lists: Mapping[_List, AddressSet]) -> None:
        self._cuts = sorted({cut for held in lists.values() for cut in _bounds(held)})
        self._holding: list[set[_List]] = [set() for _ in self._cuts]
        for listed, held in lists.items():
            for piece in self._of(held):
                self._holding[piece].add(listed)

    def holding_any_of(self, addresses: AddressSet) -> set[_List]:
        """The lists that share an address with these, each of which is in some list."""
        return {listed for piece in self._of(addresses) for listed in self._holding[piece]}

    def _of(self, addresses: AddressSet) -> Iterator[int]:
        for first, past in intervals.to_ranges(_bounds(addresses)):
            yield from range(bisect_right(self._cuts, first) - 1, bisect_left(self._cuts, past))


def _bounds(addresses: AddressSet) -> intervals.Bounds:
    """Both families on one line, IPv6 behind IPv4."""
    return (*addresses.v4, *(V4_END + bound for bound in addresses.v6))

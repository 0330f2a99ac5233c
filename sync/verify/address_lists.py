"""The lists of addresses that rules have, as the proof reads them."""

from collections.abc import Mapping

from sync.firewall.addressing import literal
from sync.firewall.estimate import Estimate
from sync.firewall.groups import Resolved
from sync.firewall.objects import AddressGroup, Objects
from sync.net.addresses import EVERYWHERE, NOWHERE, AddressSet, network

_MAPPED_V4 = network("::ffff:0:0/96")


class AddressLists:
    """Reads the lists of one device group's rules."""

    def __init__(self, objects: Objects, groups: Mapping[str, Resolved]) -> None:
        self._objects = objects
        self._groups = groups
        self._lists: dict[tuple[str, ...], Estimate | None] = {}

    def listed(self, members: tuple[str, ...]) -> Estimate | None:
        """The content of a list; None for any."""
        if "any" in members:
            return None
        if members not in self._lists:
            self._lists[members] = _as_calico_reads(Estimate.union(map(self._member, members)))
        return self._lists[members]

    def _member(self, name: str) -> Estimate:
        found = self._objects.addresses.get(name)
        if isinstance(found, AddressGroup):
            return self._groups[name].holds
        external = self._objects.external_lists.get(name)
        if found is None and external is not None:
            return external.holds or Estimate.unknown(f"the content of list {name!r} is unknown")
        addresses = found.addresses if found else literal(name)
        if addresses is None:
            answers = found.answers if found else NOWHERE
            return Estimate.unknown(f"the addresses of {name!r} are unknown", answers)
        return Estimate.exactly(addresses)


def matched(
    listed: Estimate, *, negated: bool, surely: bool, accepted: bool, answered: bool
) -> AddressSet:
    """The addresses that surely match, or that may; `answered`: answers of DNS count."""
    if listed.open and not (accepted and not surely):
        if surely:
            plain = listed.surely | listed.answers if answered else listed.surely
            return NOWHERE if negated else plain
        if not negated:
            return EVERYWHERE if listed.at_most is None else listed.at_most
    return EVERYWHERE - listed.surely if negated else listed.surely


def _as_calico_reads(listed: Estimate) -> Estimate:
    """The list without IPv4-mapped addresses; open if a net of it has only such addresses."""
    surely = listed.surely - _MAPPED_V4
    because = listed.because
    if _has_mapped(listed.surely):
        because = (*because, "Calico reads IPv4-mapped addresses as IPv4")
    if not because:
        return Estimate.exactly(surely)
    bounded = listed.at_most is not None and not _has_mapped(listed.at_most)
    at_most = listed.at_most if bounded else None
    return Estimate(surely, at_most, listed.answers - _MAPPED_V4, because)


def _has_mapped(held: AddressSet) -> bool:
    """Whether a net of it is all IPv4-mapped addresses, which Calico reads as IPv4."""
    return bool(held.v6 and held & _MAPPED_V4) and any(
        not network(net) - _MAPPED_V4 for net in held.cidrs()
    )

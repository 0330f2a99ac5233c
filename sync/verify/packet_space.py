"""Sets of flows for the proof: boxes, and their intersections and differences.

A flow between a pod of one zone and its far end, in one direction, is a point with six
coordinates: the address family, the pod's address, who is at the far end, the address there, and
the rest of the packet's header. A box is a product of a set of each:

    family  x  local addresses  x  profiles of the far end  x  far addresses  x  traffic

Addresses are boundaries (`sync.net.intervals`); profiles and traffic are bits of a number.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from sync.firewall.services import Traffic
from sync.net import intervals
from sync.net.addresses import EVERYWHERE, V4_END, V6_END, AddressSet, network
from sync.net.intervals import Bounds

Family = Literal[4, 6]
FAMILIES: Final[tuple[Family, Family]] = (4, 6)
WHOLE: Final[dict[Family, Bounds]] = {4: (0, V4_END), 6: (0, V6_END)}

# No packet has an IPv4-mapped address (RFC 4291, section 2.5.5.2), and Calico reads them as IPv4.
ON_THE_WIRE: Final = EVERYWHERE - network("::ffff:0:0/96")

Place = tuple[str, str, str, str, int]
"""A rule: source and device group of its target, the scope that holds it, rulebase, position."""

Ends = tuple[tuple[int, AddressSet], ...]
"""Who and where an end may be: profiles, each with its addresses; each profile once."""


class ByTable(NamedTuple):
    """The App-IDs whose default ports only the bundled table has, and the traffic by that table."""

    applications: tuple[str, ...]
    traffic: tuple[Traffic, ...]


class Entry(NamedTuple):
    """One rule of a list: the pod's side, the far end, the traffic, and what it decides.

    `action` is "" where it is unknown. `rule` is the firewall's rule, or the one that a Calico rule
    says it is; `where` the place of a Calico rule, as in `policy[egress 3]`, `place` that of a
    firewall's rule, `exact` whether Calico can express that exactly. `rough`: an allow may be less
    than it seems here, and a deny more. `by_table`: the part of an allow that is known, where a
    firewall's own content may have more.
    """

    local: AddressSet
    far: Ends
    traffic: tuple[Traffic, ...]
    action: Literal["allow", "deny", ""]
    rule: str
    where: str = ""
    families: tuple[Family, ...] = FAMILIES
    place: Place | None = None
    exact: bool = True
    rough: bool = False
    by_table: ByTable | None = None


class Box(NamedTuple):
    """Some flows; `profiles` and `traffic` are bits, none of the sets is empty."""

    family: Family
    local: Bounds
    profiles: int
    far: Bounds
    traffic: int


def common(left: Box, right: Box) -> Box | None:
    """The intersection; None if it is empty."""
    profiles = left.profiles & right.profiles
    traffic = left.traffic & right.traffic
    if not profiles or not traffic or left.family != right.family:
        return None
    local = shared(left.local, right.local)
    if not local:
        return None
    far = shared(left.far, right.far)
    return Box(left.family, local, profiles, far, traffic) if far else None


def without(box: Box, taken: Box) -> list[Box]:
    """The part of a box outside another one, as disjoint boxes."""
    both = common(box, taken)
    if both is None:
        return [box]
    left: list[Box] = []
    if profiles := box.profiles & ~both.profiles:
        left.append(box._replace(profiles=profiles))
    if traffic := box.traffic & ~both.traffic:
        left.append(box._replace(profiles=both.profiles, traffic=traffic))
    if local := intervals.difference(box.local, both.local):
        left.append(box._replace(profiles=both.profiles, traffic=both.traffic, local=local))
    if far := intervals.difference(box.far, both.far):
        left.append(both._replace(far=far))
    return left


def to_itself(box: Box) -> bool:
    """Whether both ends are the same address: nothing filters between a pod and itself."""
    return box.local == box.far == (box.local[0], box.local[0] + 1)


def outside(box: Box, taken: Iterable[Box]) -> list[Box]:
    """The part of a box outside all of some others, as disjoint boxes."""
    left = [box]
    for each in taken:
        left = [part for box in left for part in without(box, each)]
    return left


def shared(left: Bounds, right: Bounds) -> Bounds:
    """The addresses in both of two unions, neither of which is empty."""
    if left is right or left == right:
        return left
    if left[0] >= right[-1] or right[0] >= left[-1]:
        return ()
    return intervals.intersection(left, right)


def of_family(addresses: AddressSet, family: int) -> Bounds:
    """The addresses of one family, 4 or 6."""
    return addresses.v4 if family == 4 else addresses.v6


Far = tuple[tuple[int, Bounds], ...]
"""Ends of one family: profiles that no other has, each with its addresses, sorted."""


def spread(ends: Iterable[tuple[int, Bounds]]) -> Far:
    """Ends in canonical form: profiles with the same addresses together."""
    apart: list[tuple[int, list[tuple[int, int]]]] = []
    for profiles, bounds in ends:
        ranges = [*intervals.to_ranges(bounds)]
        if not ranges:
            continue
        kept = []
        for bits, held in apart:
            if both := bits & profiles:
                kept.append((both, held + ranges))
            if rest := bits & ~profiles:
                kept.append((rest, held))
            profiles &= ~bits
        if profiles:
            kept.append((profiles, ranges))
        apart = kept
    together: dict[Bounds, int] = {}
    for bits, held in apart:
        bounds = intervals.from_ranges(held)
        together[bounds] = together.get(bounds, 0) | bits
    return tuple(sorted((bits, bounds) for bounds, bits in together.items()))

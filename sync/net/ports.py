"""Sets of TCP and UDP ports."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from sync.net import intervals
from sync.net.intervals import Bounds

LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class PortSet:
    """A set of ports from 0 to 65535 as boundaries (`sync.net.intervals`)."""

    bounds: Bounds

    @classmethod
    def union(cls, sets: Iterable["PortSet"]) -> "PortSet":
        """The union of any number of sets, in one pass over all of them."""
        return cls(intervals.from_ranges(each for held in sets for each in held.ranges()))

    def __bool__(self) -> bool:
        return bool(self.bounds)

    def __or__(self, other: "PortSet") -> "PortSet":
        return PortSet(intervals.union(self.bounds, other.bounds))

    def __and__(self, other: "PortSet") -> "PortSet":
        return PortSet(intervals.intersection(self.bounds, other.bounds))

    def __sub__(self, other: "PortSet") -> "PortSet":
        return PortSet(intervals.difference(self.bounds, other.bounds))

    def __contains__(self, port: int) -> bool:
        return bool(bisect_right(self.bounds, port) & 1)

    def ranges(self) -> Iterable[tuple[int, int]]:
        """The fewest ranges of ports, half-open `(first, past)`, ascending."""
        return intervals.to_ranges(self.bounds)

    def __str__(self) -> str:
        """As PAN-OS writes them: `80,443,8000-8080`."""
        return ",".join(
            str(first) if past == first + 1 else f"{first}-{past - 1}"
            for first, past in self.ranges()
        )


ALL_PORTS = PortSet((0, LAST_PORT + 1))


def ports(text: str) -> PortSet:
    """Ports and ranges separated by commas: `80`, `1000-2000`, `80,443,8000-8080`.

    `ValueError` names the item that is not a port or a rising range.
    """
    return PortSet(intervals.listed(text, LAST_PORT, "port"))

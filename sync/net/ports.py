"""Sets of TCP and UDP ports."""

from dataclasses import dataclass

from sync.net import intervals
from sync.net.intervals import Bounds

LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class PortSet:
    """A set of ports from 0 to 65535 as boundaries (`sync.net.intervals`)."""

    bounds: Bounds

    def __bool__(self) -> bool:
        return bool(self.bounds)


def ports(text: str) -> PortSet:
    """Ports and ranges separated by commas: `80`, `1000-2000`, `80,443,8000-8080`.

    `ValueError` names the item that is not a port or a rising range.
    """
    ranges: list[tuple[int, int]] = []
    for item in text.split(","):
        first, dash, last = item.strip().partition("-")
        try:
            start = _port(first)
            end = _port(last) if dash else start
        except ValueError:
            raise ValueError(f"{item.strip()!r} is not a port or a range of ports") from None
        if end < start:
            raise ValueError(f"{item.strip()!r} is a range that falls")
        ranges.append((start, end + 1))
    return PortSet(intervals.from_ranges(ranges))


def _port(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 5) or int(text) > LAST_PORT:
        raise ValueError(text)
    return int(text)

"""Parse the lines of an external dynamic list.

Source: "Formatting Guidelines for an External Dynamic List", PAN-OS administrator's guide.
"""

from typing import Final

from sync.firewall.addressing import literal
from sync.firewall.estimate import Estimate
from sync.net import intervals
from sync.net.addresses import AddressSet

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_COMMENTS: Final = ("#", ";", "/", "*")


class ContentError(ValueError):
    """A body cannot be used as a list: a clause that says why."""


def entries(body: bytes, shortest: tuple[int, int]) -> Estimate:
    """Return what the lines of a list hold.

    One entry a line: an address, one with a prefix length, or a range; after a space a comment.
    Lines that are empty or begin with `#`, `;`, `/` or `*` are skipped, since no entry begins so.
    Whether firewalls read a line that is unreadable here is unknown: a list with one has a problem
    beside the addresses that are surely in it.

    `ContentError` if there are lines and none is an entry, or if an entry is wider than the prefix
    lengths `shortest` of IPv4 and IPv6.
    """
    found: list[AddressSet] = []
    unreadable = 0
    lines = body.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines, 1):
        entry = line.strip(" \t\r")
        if not entry or (entry.startswith(_COMMENTS) and "\r" not in entry):
            continue
        addresses = _addresses(entry)
        if addresses is None:
            unreadable = unreadable or number
        elif _wide(addresses, shortest):
            v4, v6 = shortest
            raise ContentError(f"its line {number} is wider than /{v4} (IPv6: /{v6})")
        else:
            found.append(addresses)
    if not unreadable:
        return Estimate.exactly(AddressSet.union(found))
    problem = f"its line {unreadable} is no address, network or range"
    if not found:
        raise ContentError(problem)
    return Estimate(AddressSet.union(found), None, because=(problem,))


def _addresses(entry: str) -> AddressSet | None:
    written, _, comment = entry.replace("\t", " ").partition(" ")
    # `a - b` may be a range or one address with a comment, and a lone CR a line's end or not.
    doubtful = comment.lstrip().startswith("-") or "\r" in entry
    # What is about to be split and stripped must not hold blanks of other kinds.
    return (
        None if doubtful or not (written.isascii() and written.isprintable()) else literal(written)
    )


def _wide(addresses: AddressSet, shortest: tuple[int, int]) -> bool:
    return any(
        past - first > 1 << (bits - length)
        for bounds, bits, length in zip(
            (addresses.v4, addresses.v6), (32, 128), shortest, strict=True
        )
        for first, past in intervals.to_ranges(bounds)
    )

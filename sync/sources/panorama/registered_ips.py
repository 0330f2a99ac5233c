"""Addresses registered at run time: read from each firewall through its Panorama, by pages.

Sources: the vendor's XML API guide, "show object registered-ip"; pan-os-python 1.13
(`panos/userid.py`).
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import structlog
from lxml import etree
from pydantic import TypeAdapter

from sync.firewall.addressing import literal
from sync.firewall.configuration import SHARED, Configuration, Scope, family_of
from sync.firewall.objects import AddressGroup
from sync.firewall.parse.xml import text
from sync.firewall.runtime import Registrations, Tagged, tagged
from sync.net.addresses import AddressSet
from sync.sources import Memory
from sync.sources.panorama.client import PanoramaHost
from sync.sources.panorama.connection import AT_ONCE
from sync.sources.panorama.errors import PanoramaError, RefusedError

PAGE: Final = 500
"""The most rows in one answer."""
MOST: Final = 500_000
"""The most addresses that one device has registered."""

_TRIES: Final = 3
_SHOWN: Final = 100  # characters of a device's message in a clause
_KIND: Final = "registered"
_TOLD: Final = TypeAdapter(tuple[float, Tagged])

# A firewall's serial number and virtual system; without one, all that it has. Panorama has neither.
_Place = tuple[str, str]
_Row = tuple[str, tuple[str, ...]]


class RegistrationCache:
    """The last known addresses of each firewall, which count for so many seconds without an answer.

    A firewall that restarts must not widen every deny with a dynamic group. One that stays silent
    for longer may have registered more by then, and dropped addresses that are allowed.
    """

    def __init__(
        self, source: str, memory: Memory, seconds: float, now: Callable[[], float] = time.time
    ) -> None:
        self._source = source
        self._memory = memory
        self._seconds = seconds
        self._now = now
        self._told: dict[_Place, tuple[float, Tagged] | None] = {}
        self._kept_at: dict[_Place, float] = {}
        self._silent: set[_Place] = set()

    def counted(self, place: _Place, told: Tagged | str) -> tuple[Tagged | None, str]:
        """Return the addresses that count, given an answer or a clause on why there is none."""
        before, now = self._before(place), self._now()
        if not isinstance(told, str):
            self._silent.discard(place)
            # The time is stored too, but not at each poll.
            stale = now - self._kept_at.get(place, -math.inf) > self._seconds / 10
            if stale or before is None or told != before[1]:
                self._memory.remember(_KIND, " ".join(place), _TOLD.dump_json((now, told)))
                self._kept_at[place] = now
            self._told[place] = now, told
            return told, ""
        # A clock that was set back gives no age.
        if before is None or not 0 <= now - before[0] <= self._seconds:
            return None, told
        if place not in self._silent:
            self._silent.add(place)
            structlog.get_logger().warning(
                "registered addresses unavailable; using the last known ones",
                source=self._source,
                because=told,
            )
        return before[1], told

    def _before(self, place: _Place) -> tuple[float, Tagged] | None:
        if place not in self._told:
            kept = self._memory.recall(_KIND, " ".join(place))
            try:
                self._told[place] = None if kept is None else _TOLD.validate_json(kept)
            except ValueError:
                self._told[place] = None
        return self._told[place]


def registrations(
    member: PanoramaHost,
    configuration: Configuration,
    device_groups: Collection[str],
    devices: Collection[str],
    last: RegistrationCache,
) -> dict[str, Registrations]:
    """Return the registered addresses of each of these device groups with a dynamic address group.

    If any of its firewalls is in `devices` (serial numbers), only those count. A firewall with an
    incomplete answer counts as one without an answer, and is named. Raises `PanoramaError` if the
    Panorama itself does not answer.
    """
    asked = {
        name: _places(configuration, name, devices)
        for name in sorted(device_groups)
        if name in configuration.device_groups and _has_dynamic(configuration, name)
    }
    places = sorted({each for found, _ in asked.values() for each in found})
    with ThreadPoolExecutor(AT_ONCE, "registered") as pool:
        now = zip(places, pool.map(partial(_told, member), places), strict=True)
        told = {place: last.counted(place, each) for place, each in now}
    return {name: _registrations(told, *found) for name, found in asked.items()}


def _registrations(
    told: Mapping[_Place, tuple[Tagged | None, str]],
    places: Collection[_Place],
    unknown: tuple[str, ...],
) -> Registrations:
    found = [told[each] for each in places]
    return Registrations(
        tuple(held for held, _ in found if held is not None),
        (*unknown, *(clause for held, clause in found if held is None)),
        tuple(clause for held, clause in found if held is not None and clause),
    )


# --- which firewalls ------------------------------------------------------------------------------


def _has_dynamic(configuration: Configuration, device_group: str) -> bool:
    return any(
        isinstance(each, AddressGroup) and each.filter is not None
        for scope in _line(configuration, device_group)
        for each in scope.objects.addresses.values()
    )


def _line(configuration: Configuration, device_group: str) -> Iterator[Scope]:
    """The scopes that a device group inherits from, and its own."""
    seen = {SHARED}
    while device_group not in seen and device_group in configuration.device_groups:
        seen.add(device_group)
        yield configuration.device_groups[device_group].scope
        device_group = configuration.device_groups[device_group].parent
    yield configuration.shared


def _places(
    configuration: Configuration, device_group: str, devices: Collection[str]
) -> tuple[tuple[_Place, ...], tuple[str, ...]]:
    """The relevant firewalls of a device group and its descendants, and why there may be more.

    `devices` are the serial numbers that count; none: all of them.
    """
    family = family_of(configuration, device_group)
    found = {
        (serial, vsys)
        for group in family
        for serial, systems in group.devices
        for vsys in systems or ("",)
    }
    found = {each for each in found if each[0] in devices} or found
    unknown = tuple(
        f"of device group {group.name!r}, {because}"
        for group in family
        for because in group.unreadable
    )
    # Without firewalls, the Panorama's own registrations count.
    return tuple(sorted(found)) or (() if unknown else (("", ""),)), unknown


# --- their answers --------------------------------------------------------------------------------


def _told(member: PanoramaHost, place: _Place) -> Tagged | str:
    """The addresses registered there, or a clause with the reason why they are unknown."""
    serial, vsys = place
    name = f"firewall {serial}" if serial else "the Panorama"
    if vsys:
        name += f" ({vsys})"
    try:
        return tagged(_addresses(member, place))
    except ValueError as error:
        return f"{name} {error}"
    except RefusedError as error:
        because = error.said[:_SHOWN] or "nobody says why"  # words kept
        return f"{name} does not tell ({because})"  # words kept
    except PanoramaError:
        member.require_up()
        return f"{name} did not answer"


def _addresses(member: PanoramaHost, place: _Place) -> list[tuple[AddressSet, tuple[str, ...]]]:
    """`ValueError` with the rest of a clause if the answer is incomplete."""
    found = []
    for address, tags in _rows(member, place):
        addresses = literal(address)
        if addresses is None:
            raise ValueError(f"has {address[:_SHOWN]!r} registered, which is no address")
        found.append((addresses, tags))
    return found


def _rows(member: PanoramaHost, place: _Place) -> list[_Row]:
    for _ in range(_TRIES):
        count = _count(_asked(member, place, "<all><option>count</option></all>"))
        if count > MOST:
            raise ValueError(f"has more than {MOST:,} addresses registered")
        rows = _all_pages(member, place, count)
        if len(rows) == count:
            return rows
    raise ValueError("does not tell as many addresses as it has registered")  # words kept


def _all_pages(member: PanoramaHost, place: _Place, count: int) -> list[_Row]:
    """The rows of all pages; fewer if rows moved between pages meanwhile."""
    rows: list[_Row] = []
    while True:
        # The last row is read again: if it differs, one before it was added or removed.
        start = max(len(rows), 1)
        page = _page(
            _asked(member, place, f"<limit>{PAGE}</limit><start-point>{start}</start-point>"), count
        )
        if rows and page[:1] != rows[-1:]:
            return []
        rows += page[1:] if rows else page
        if len(page) < PAGE or len(rows) >= count:
            return rows


def _asked(member: PanoramaHost, place: _Place, inner: str) -> etree._Element:
    command = f"<show><object><registered-ip>{inner}</registered-ip></object></show>"
    return member.op(command, *place)


def _count(result: etree._Element) -> int:
    said = (result.findtext("count") or "").strip()
    if not (said.isascii() and said.isdigit() and len(said) < 10):
        raise _unknown_shape()
    return int(said)


def _page(result: etree._Element, count: int) -> list[_Row]:
    rows = []
    for child in result:
        if child.tag == "entry":
            rows.append(_row(child))
        elif child.tag != "count":
            raise _unknown_shape()
    # Of this page, or of all: this is documented nowhere.
    if result.find("count") is not None and _count(result) not in (len(rows), count):
        raise _unknown_shape()
    return rows


def _row(entry: etree._Element) -> _Row:
    """An address with its tags. Tags in other places would be missed, and with them denies."""
    if [child.tag for child in entry] != ["tag"]:
        raise _unknown_shape()
    members = list(entry[0])
    tags = tuple(text(each) for each in members if each.tag == "member" and not len(each))
    if len(tags) < len(members) or not all(tags):
        raise _unknown_shape()
    return (entry.get("ip") or "").strip(), tags


def _unknown_shape() -> ValueError:
    because = "tells of registered addresses in a shape that is not known here"  # words kept
    return ValueError(because)

"""Address groups as one device group sees them, read the slow way.

Sources: the vendor's documentation and configuration schema (PAN-OS 10.1 to 11.1), and the
project's own rules for what a set may hold: an open group is one that holds something that cannot
be said in addresses, an unreadable value is never empty.

Everything is a dictionary, a set or a recursion over the whole document. There is no interval
algebra here: an address is in a group if one of the group's values says so.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address

# A wildcard that needs more CIDRs than this is not expanded; the group that holds it is open.
MOST_WILDCARD_CIDRS = 65_536
# A group with more addresses than this has no `few`.
FEW = 65_536


@dataclass(frozen=True)
class Span:
    """Every address of one version from `first` to `last`, both included."""

    version: int
    first: int
    last: int

    def holds(self, version: int, number: int) -> bool:
        """Whether this very version and number lie in the span."""
        return version == self.version and self.first <= number <= self.last

    def numbers(self) -> set[tuple[int, int]] | None:
        """Every (version, number), or None if there are too many to write out."""
        if self.last - self.first >= FEW:
            return None
        return {(self.version, number) for number in range(self.first, self.last + 1)}


@dataclass(frozen=True)
class Wildcard:
    """IPv4 addresses that equal `base` in every bit where `mask` is 0."""

    base: int
    mask: int

    def holds(self, version: int, number: int) -> bool:
        """Whether the address agrees with the base in all the bits that count."""
        return version == 4 and all(
            self.mask >> bit & 1 or (self.base >> bit & 1) == (number >> bit & 1)
            for bit in range(32)
        )

    def numbers(self) -> set[tuple[int, int]] | None:
        """Every (4, number), or None if there are too many to write out."""
        free = [bit for bit in range(32) if self.mask >> bit & 1]
        if 2 ** len(free) > FEW:
            return None
        numbers = {sum(1 << bit for bit in range(32) if self.base >> bit & 1 and bit not in free)}
        for bit in free:
            numbers |= {number | 1 << bit for number in numbers}
        return {(4, number) for number in numbers}


Value = Span | Wildcard


@dataclass(frozen=True)
class NaiveGroup:
    """What one address group holds in one device group.

    `values` are the addresses that can be said, `open` tells that there is something beside them
    that cannot, `tags` are those on the group itself.
    """

    name: str
    values: frozenset[Value]
    open: bool
    tags: frozenset[str]

    def holds(self, ip: Address) -> bool:
        """Whether a packet with this address matches the sayable part of the group.

        An IPv4 address a.b.c.d also matches an IPv6 value that holds ::a.b.c.d; never the other
        way round.
        """
        number = int(ip)
        if any(value.holds(ip.version, number) for value in self.values):
            return True
        return ip.version == 4 and any(value.holds(6, number) for value in self.values)

    @property
    def few(self) -> frozenset[tuple[int, int]] | None:
        """Every address that `holds` accepts as (version, number); None if there are too many."""
        every: set[tuple[int, int]] = set()
        for value in self.values:
            numbers = value.numbers()
            if numbers is None:
                return None
            every |= numbers
        every |= {(4, number) for version, number in every if version == 6 and number < 2**32}
        return frozenset(every)


# What an end of a rule may name. Where a name has objects of several kinds, nobody knows which of
# them counts. Names of two capital letters are countries: regions of which no document tells.
_KINDS = ("address", "address-group", "region", "external-list")
_COUNTRY = re.compile(r"[A-Z]{2}")
_OTHER_LISTS = ("url", "domain", "predefined-url")


@dataclass
class _Object:
    """What has a name: an entry that wins among those of its kind, or one of each kind.

    `tags` are None where it has one set of them or another.
    """

    name: str
    entries: dict[str, ET.Element]

    @property
    def is_group(self) -> bool:
        return "address-group" in self.entries

    @property
    def is_tagged(self) -> bool:
        return self.is_group or "address" in self.entries

    @property
    def unclear(self) -> bool:
        if _COUNTRY.fullmatch(self.name) or len(self.entries) > 1:
            return True
        return "external-list" in self.entries and _literal(self.name) is not None

    @property
    def entry(self) -> ET.Element:
        (entry,) = self.entries.values()
        return entry

    @property
    def tags(self) -> frozenset[str] | None:
        every = {
            frozenset(_texts(entry, "tag/member"))
            for kind, entry in self.entries.items()
            if kind in ("address", "address-group")
        }
        return every.pop() if len(every) == 1 else None


def naive_groups(
    xml_text: str, device_group: str, *, registered: Literal["required", "optional"] = "required"
) -> dict[str, NaiveGroup]:
    """Every address group that `device_group` can see, by name.

    A name that is a group's in one scope and something else's in another is an open group; where
    that may be a wildcard, which takes rules out of their order, it is none.
    `device_group` may be "shared". `registered` says whether a dynamic group without the addresses
    registered at run time is open.

    Raises KeyError for a device group that the document does not have.
    """
    config = _config(xml_text)
    objects = _visible(config, device_group)
    members = {name: _members(thing, objects) for name, thing in objects.items() if thing.is_group}
    wild = {
        entry.attrib["name"]
        for elements in visible_scopes(xml_text, device_group)
        for element in elements
        for entry in element.findall("address/entry")
        if entry.find("ip-wildcard") is not None
    }
    return {
        name: _group(name, objects, members, registered) for name in members if name not in wild
    }


def device_groups(xml_text: str) -> list[str]:
    """The names of the device groups of a document, in its order."""
    return [entry.attrib["name"] for entry in _device_group_entries(_config(xml_text))]


def ancestry(xml_text: str, device_group: str) -> list[str]:
    """The device group and its ancestors, nearest first, without Shared."""
    return _ancestry(_config(xml_text), device_group)


def visible_scopes(xml_text: str, device_group: str) -> list[list[ET.Element]]:
    """The elements that hold each scope's objects: of two of one name the earlier counts."""
    config = _config(xml_text)
    scopes = [] if device_group == "shared" else _scopes(config, device_group)
    scopes.append(config.findall("shared"))
    return scopes[::-1] if _ancestors_first(config) else scopes


def serials_of(xml_text: str, device_group: str) -> set[str]:
    """The serial numbers of the firewalls of a device group and of those below it."""
    config = _config(xml_text)
    return {
        device.attrib["name"]
        for entry in _device_group_entries(config)
        if device_group in _ancestry(config, entry.attrib["name"])
        for device in entry.findall("devices/entry")
    }


# --- the document ---------------------------------------------------------------------------------


def _config(xml_text: str) -> ET.Element:
    root = ET.fromstring(xml_text)
    if root.tag == "config":
        return root
    inner = root.find("result/config")
    if inner is None:
        raise ValueError("the document has no <config>")
    return inner


def _device_group_entries(config: ET.Element) -> list[ET.Element]:
    # Only here: /config/readonly and the templates have elements of the same names.
    return config.findall("devices/entry/device-group/entry")


def _parents(config: ET.Element) -> dict[str, str]:
    """Child -> parent, from the newer place if the document has it, else from an older one.

    Tools that write documents have it in the device groups themselves.
    """
    entries = config.findall("readonly/devices/entry/device-group/entry")
    if not entries:
        entries = config.findall("readonly/dg-meta-data/dginfo/entry")
    if not entries:
        entries = _device_group_entries(config)
    return {
        entry.attrib["name"]: parent
        for entry in entries
        if (parent := (entry.findtext("parent-dg") or "").strip())
    }


def _ancestry(config: ET.Element, device_group: str) -> list[str]:
    known = {entry.attrib["name"] for entry in _device_group_entries(config)}
    if device_group not in known:
        raise KeyError(device_group)
    parents = _parents(config)
    chain = [device_group]
    while (parent := parents.get(chain[-1])) in known and parent not in chain:
        chain.append(str(parent))
    return chain


def _visible(config: ET.Element, device_group: str) -> dict[str, _Object]:
    """Name -> the object of each kind that wins among those of its kind."""
    scopes = [] if device_group == "shared" else _scopes(config, device_group)
    scopes.append(config.findall("shared"))
    if _ancestors_first(config):
        scopes.reverse()
    visible: dict[str, _Object] = {}
    for scope in scopes:
        for element in scope:
            for kind in _KINDS:
                for entry in element.findall(f"{kind}/entry"):
                    kind_of_list = entry.find("type/*") if kind == "external-list" else None
                    if kind_of_list is None or kind_of_list.tag not in _OTHER_LISTS:
                        name = entry.attrib["name"]
                        found = visible.setdefault(name, _Object(name, {}))
                        found.entries.setdefault(kind, entry)
    return visible


def _scopes(config: ET.Element, device_group: str) -> list[list[ET.Element]]:
    """The elements that hold each scope's objects, nearest first, without Shared."""
    return [
        [entry for entry in _device_group_entries(config) if entry.attrib["name"] == name]
        for name in _ancestry(config, device_group)
    ]


def _ancestors_first(config: ET.Element) -> bool:
    path = "devices/entry/deviceconfig/setting/management/ancestor-objects-take-precedence"
    return (config.findtext(path) or "").strip() == "yes"


def _texts(entry: ET.Element, path: str) -> list[str]:
    return [(element.text or "").strip() for element in entry.findall(path)]


# --- groups ---------------------------------------------------------------------------------------


def _group(
    name: str,
    objects: dict[str, _Object],
    members: dict[str, set[str] | None],
    registered: Literal["required", "optional"],
) -> NaiveGroup:
    """The union of everything that can be reached; open if anything on the way is.

    The least fixpoint of groups that hold each other is what can be reached from them, so a plain
    search finds it, whatever the cycles.
    """
    values: set[Value] = set()
    is_open = False
    for step in {name} | _below(name, members):
        thing = objects.get(step)
        if thing is not None and (thing.unclear or "external-list" in thing.entries):
            is_open = True
            continue
        if thing is not None and thing.is_group:
            unreadable = members[step] is None
            on_cycle = step in _below(step, members)
            unfinished = registered == "required" and thing.entry.find("dynamic") is not None
            is_open = is_open or unreadable or on_cycle or unfinished
            continue
        if thing is not None and "region" in thing.entries:
            read = [_literal(text) for text in _texts(thing.entry, "address/member")]
        else:
            read = [_literal(step) if thing is None else _value(thing.entry)]
        is_open = is_open or not read or None in read
        values.update(value for value in read if value is not None and None not in read)
    return NaiveGroup(name, frozenset(values), is_open, objects[name].tags or frozenset())


def _below(name: str, members: dict[str, set[str] | None]) -> set[str]:
    """Every member name at any depth; the name itself only where a cycle leads back to it."""
    below: set[str] = set()
    waiting = list(members[name] or ())
    while waiting:
        step = waiting.pop()
        if step not in below:
            below.add(step)
            waiting.extend(members.get(step) or ())
    return below


def _members(group: _Object, objects: dict[str, _Object]) -> set[str] | None:
    """The names that a group lists or matches; None if what it holds cannot be read."""
    if group.unclear:
        return None
    dynamic = group.entry.find("dynamic")
    if dynamic is not None:
        return _matched(group.name, dynamic.findtext("filter") or "", objects)
    if group.entry.find("static") is not None:
        return set(_texts(group.entry, "static/member"))
    # Up to PAN-OS 5 the members stand directly under the entry. An entry with neither shape nor
    # members says nothing at all, which is not the same as saying "empty".
    return set(_texts(group.entry, "member")) or None


def _matched(name: str, expression: str, objects: dict[str, _Object]) -> set[str] | None:
    """Every visible object but the group itself whose tags satisfy the filter, or may."""
    if satisfies(expression, frozenset()) is None:
        return None
    return {
        other.name
        for other in objects.values()
        if other.name != name
        and other.is_tagged
        and (other.tags is None or satisfies(expression, other.tags))
    }


# --- filters --------------------------------------------------------------------------------------

_TOKEN = re.compile(r"""\s*(?:'([^']+)'|"([^"]+)"|([()])|([^\s()'"]+))\s*""")
_OPERATORS = {"and": "&", "or": "|", "not": "!"}


def satisfies(expression: str, tags: frozenset[str]) -> bool | None:
    """Whether these tags satisfy a filter; None if the filter cannot be read.

    Tags become 1 and 0, and the grammar's rules are then undone one at a time, the tightest first,
    until one digit is left: parentheses and `not`, then `and`, then `or`. What gets stuck was not
    in the grammar.
    """
    text = ""
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None:
            return None
        single, double, parenthesis, word = found.groups()
        if parenthesis is not None:
            text += parenthesis
        elif word is not None and word.lower() in _OPERATORS:
            text += _OPERATORS[word.lower()]
        else:
            text += str(int((single or double or word) in tags))
        at = found.end()
    while len(text) > 1:
        before = text
        text = re.sub(r"\(([01])\)", r"\1", text)
        text = text.replace("!0", "1") if "!0" in text else text.replace("!1", "0")
        if text == before:
            text = re.sub(r"[01]&[01]", lambda m: str(int("0" not in m[0])), text, count=1)
        if text == before:
            # Not while a neighbour belongs to an `and` or a `not` that waits for parentheses.
            either = r"(?<![&!])[01]\|[01](?!&)"
            text = re.sub(either, lambda m: str(int("1" in m[0])), text, count=1)
        if text == before:
            return None
    return {"1": True, "0": False}.get(text)


# --- values ---------------------------------------------------------------------------------------


def _value(entry: ET.Element) -> Value | None:
    """What an address object holds; None if it cannot be said in addresses."""
    for kind in entry:
        text = (kind.text or "").strip()
        if kind.tag == "ip-netmask":
            return _netmask(text)
        if kind.tag == "ip-range":
            return _range(text)
        if kind.tag == "ip-wildcard":
            return _wildcard(text)
    # An FQDN, no value at all, or a kind that nobody has told us about.
    return None


def _literal(text: str) -> Value | None:
    """A member that is no object's name may still be an address, a network or a range."""
    return _range(text) if "-" in text else _netmask(text)


def _netmask(text: str) -> Span | None:
    """`ip` is a host; `ip/bits` is the network that the address lies in."""
    if not re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]+)?", text):
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return Span(network.version, int(network[0]), int(network[-1]))


def _range(text: str) -> Span | None:
    """`a-b`. A range that is reversed or of two versions cannot be read."""
    ends = [end.strip() for end in text.split("-")]
    if len(ends) != 2 or any("%" in end for end in ends):
        return None
    try:
        first, last = ip_address(ends[0]), ip_address(ends[1])
    except ValueError:
        return None
    if first.version != last.version or int(first) > int(last):
        return None
    return Span(first.version, int(first), int(last))


def _wildcard(text: str) -> Wildcard | None:
    """`ip/mask`, where a 1 in the mask says that the bit does not count."""
    base, _, mask = text.partition("/")
    try:
        wildcard = Wildcard(int(IPv4Address(base)), int(IPv4Address(mask)))
    except ValueError:
        return None
    if wildcard.mask >> 31:
        return None  # "The mask must begin with 0."
    bits = [wildcard.mask >> bit & 1 for bit in range(32)]
    trailing = bits.index(0)
    return wildcard if 2 ** sum(bits[trailing:]) <= MOST_WILDCARD_CIDRS else None

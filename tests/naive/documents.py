"""Small whole Panorama documents for hypothesis, and the addresses worth asking them about.

Everything lies in a handful of addresses, so that a test can ask for each one; names, tags and
scopes are few, so that they collide.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

from hypothesis import strategies as st

from tests.naive.reader import Address

# The small networks in which the documents put nearly everything, and what surrounds them: the
# ends of both families, neighbours on either side, and IPv6 addresses that IPv4 ones match.
_V4 = int(IPv4Address("10.0.0.0"))
_V6 = int(IPv6Address("2001:db8::"))
_OUTSIDE = (
    "0.0.0.0",
    "0.0.0.1",
    "9.255.255.255",
    "10.0.0.32",
    "10.0.0.64",
    "10.0.1.0",
    "10.0.255.7",
    "10.3.0.9",
    "10.255.255.255",
    "11.0.0.0",
    "127.255.255.255",
    "128.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::9.255.255.255",
    "::10.0.0.32",
    "::255.255.255.255",
    "::1:0:0",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::20",
    "2001:db8:0:1::",
    "2001:db9::",
    "8000::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
)
PROBES: tuple[Address, ...] = (
    *(IPv4Address(_V4 + number) for number in range(32)),
    *(IPv6Address(_V4 + number) for number in range(32)),
    *(IPv6Address(_V6 + number) for number in range(32)),
    *(ip_address(text) for text in _OUTSIDE),
)

TAGS = ("web", "db", "prod", "Web Tier", "k8s.io/app", "a (b)", "and", "R&D")
DEVICE_GROUPS = ("leaf", "branch", "DC EU", "global", "emea", "lab")
# All take names from one pool: the same name is an address here, a group or a region there. One of
# them is a country's.
NAMES = (
    "x",
    "y",
    "z",
    "web-1",
    "Web 2",
    "db.1",
    "grp",
    "all & more",
    "10.0.0.4",
    "2001:db8::7",
    "DE",
)
# Names that no object has: missing, or literals.
STRAYS = (
    "nowhere",
    "r",
    "IN",
    "10.0.0.9",
    "10.0.0.13/30",
    "10.0.0.2-10.0.0.5",
    "2001:db8::1c/126",
    "2001:db8::2-2001:db8::3",
    "::10.0.0.17",
    "10.0.0.300",
)


def documents(*, min_device_groups: int = 2, max_device_groups: int = 6) -> st.SearchStrategy[str]:
    """Whole `<config>` documents as text; use `tests.naive.reader.device_groups` for their names.

    Beside what is common they hold what is legal and rare: names shadowed between scopes, an
    address and a group of one name in two scopes, groups in cycles, members that are missing,
    filters that cannot be read, host bits, wildcards, other places of the hierarchy and the older
    shape of groups.
    """
    return _documents(min_device_groups, max_device_groups)


def shuffled(document: str, random: Random) -> str:
    """The same configuration with everything in another order that PAN-OS gives no order to.

    Rules within a rulebase and the templates of a stack keep theirs.
    """
    root = ET.fromstring(document)
    for element in root.iter():
        if element.tag in ("rules", "templates"):
            continue
        children = list(element)
        random.shuffle(children)
        element[:] = children
    return _text(root)


# --- values ---------------------------------------------------------------------------------------

_v4 = st.integers(0, 31).map(lambda number: str(IPv4Address(_V4 + number)))
_v6 = st.integers(0, 31).map(lambda number: str(IPv6Address(_V6 + number)))
_mapped = st.integers(0, 31).map(lambda number: f"::{IPv4Address(_V4 + number)}")

_netmasks = st.one_of(
    _v4,
    st.builds("{}/{}".format, _v4, st.integers(26, 32)),
    _v6,
    st.builds("{}/{}".format, _v6, st.integers(122, 128)),
    _mapped,
    st.builds("{}/{}".format, _mapped, st.integers(122, 128)),
    # Up to all of IPv4 and more, each side of the prefix length where that changes.
    st.sampled_from(
        ("0.0.0.0/0", "10.0.0.5/8", "::/0", "::/64", "::/95", "::/96", "::/97", "2001:db8::/32")
    ),
    # What cannot be read.
    st.sampled_from(("$network", "", "10.0.0.1/33", "10.0.0", "2001:db8::1/129", "web.example")),
)


def _between(one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Ranges between two addresses of one family, the right way round."""
    return st.lists(one, min_size=2, max_size=2).map(
        lambda ends: "-".join(sorted(ends, key=lambda end: int(ip_address(end))))
    )


_ranges = st.one_of(
    _between(_v4),
    _between(_v6),
    _between(_mapped),
    st.builds("{}-{}".format, _v4, _v4),  # half of them reversed
    st.builds("{}-{}".format, _v4, _v6),  # of two families
    st.sampled_from(("::-::ffff:ffff", "::9.255.255.250-::1:0:0", "0.0.0.0-255.255.255.255")),
)
_wildcards = st.one_of(
    st.builds("{}/0.0.0.{}".format, _v4, st.integers(0, 31)),
    # The last needs more CIDRs than anyone will write.
    st.sampled_from(
        (
            "10.0.0.3/0.3.0.4",
            "10.0.0.6/0.0.255.1",
            "10.9.9.9/0.255.255.255",
            "10.0.0.0/0.255.255.254",
        )
    ),
)
_address_values = st.one_of(
    _netmasks.map(lambda text: ("ip-netmask", text)),
    _netmasks.map(lambda text: ("ip-netmask", text)),
    _ranges.map(lambda text: ("ip-range", text)),
    _wildcards.map(lambda text: ("ip-wildcard", text)),
    st.sampled_from((("fqdn", "db.example"), (None, ""))),
)
_tags = st.lists(st.sampled_from(TAGS), max_size=3, unique=True)


@st.composite
def _addresses(draw: st.DrawFn, name: str) -> ET.Element:
    kind, text = draw(_address_values)
    entry = ET.Element("entry", name=name)
    if kind is not None:
        ET.SubElement(entry, kind).text = text
    _add_members(entry, "tag", draw(_tags))
    return entry


# --- groups ---------------------------------------------------------------------------------------


def _quoted(tag: str) -> st.SearchStrategy[str]:
    """A tag as filters write it: quotes may be left out where nothing would be misread."""
    plain = re.fullmatch(r"[A-Za-z0-9./]+", tag) and tag not in ("and", "or", "not")
    return st.sampled_from((f"'{tag}'", tag)) if plain else st.just(f"'{tag}'")


def _word(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from((word, word, word.upper()))


def filters() -> st.SearchStrategy[str]:
    """Dynamic filters; about one in ten cannot be read."""
    spaces = st.sampled_from((" ", " ", "  ", "\n"))
    readable = st.recursive(
        st.sampled_from((*TAGS, "nobody has this")).flatmap(_quoted),
        lambda inner: st.one_of(
            st.builds("{}{}{}{}{}".format, inner, spaces, _word("and"), spaces, inner),
            st.builds("{}{}{}{}{}".format, inner, spaces, _word("or"), spaces, inner),
            st.builds("{}{}{}".format, _word("not"), spaces, inner),
            st.builds("({})".format, inner),
            st.builds("( {} )".format, inner),
            st.builds("not({})".format, inner),
        ),
        max_leaves=5,
    )
    padded = st.builds(
        "{}{}{}".format, st.sampled_from(("", " ")), readable, st.sampled_from(("", " "))
    )
    unreadable = st.sampled_from(
        ("", " ", "and", "'web", "web db", "('web'", "'web')", "'web' and", "or 'web'", "not", "()")
    )
    return st.integers(0, 9).flatmap(lambda ten: unreadable if ten == 9 else padded)


_members = st.lists(
    st.one_of(*(3 * [st.sampled_from(NAMES)]), st.sampled_from(STRAYS)), max_size=4, unique=True
)


@st.composite
def _groups(draw: st.DrawFn, name: str) -> ET.Element:
    entry = ET.Element("entry", name=name)
    shape = draw(st.sampled_from(("static", "static", "static", "dynamic", "dynamic", "old")))
    if shape == "dynamic":
        ET.SubElement(ET.SubElement(entry, "dynamic"), "filter").text = draw(filters())
    else:
        # PAN-OS refuses a group that names itself; a longer way round is only found on the push.
        members = [member for member in draw(_members) if member != name]
        if shape == "old" and members:
            for member in members:
                ET.SubElement(entry, "member").text = member
        else:
            static = ET.SubElement(entry, "static")
            for member in members:
                ET.SubElement(static, "member").text = member
    _add_members(entry, "tag", draw(_tags))
    if draw(st.booleans()):
        ET.SubElement(entry, "description").text = "a group"
    return entry


# --- scopes and documents -------------------------------------------------------------------------


@st.composite
def _scopes(draw: st.DrawFn, tag: str, name: str | None) -> ET.Element:
    """A device group or Shared: its objects and a few rules that use them."""
    scope = ET.Element(tag) if name is None else ET.Element(tag, name=name)
    addresses, groups = ET.Element("address"), ET.Element("address-group")
    for chosen in draw(st.lists(st.sampled_from(NAMES), max_size=5, unique=True)):
        # Most names are of one kind everywhere, or nothing would be known of anything.
        usual = NAMES.index(chosen) % 2 == 0
        if usual == (draw(st.integers(0, 4)) > 0):
            groups.append(draw(_groups(chosen)))
        else:
            addresses.append(draw(_addresses(chosen)))
    scope.extend(part for part in (addresses, groups) if len(part) or draw(st.booleans()))
    for kind, made in (("region", _regions), ("external-list", _lists)):
        if draw(st.integers(0, 4)) == 4:
            name_of_it = draw(st.sampled_from(("r", "10.0.0.9", *NAMES)))
            ET.SubElement(scope, kind).append(draw(made(name_of_it)))
    for rulebase in ("pre-rulebase", "post-rulebase"):
        rules = ET.Element("rules")
        for number in range(draw(st.integers(0, 1))):
            rules.append(draw(_rules(f"{name or 'shared'} {rulebase} {number}")))
        if len(rules):
            ET.SubElement(ET.SubElement(scope, rulebase), "security").append(rules)
    return scope


@st.composite
def _regions(draw: st.DrawFn, name: str) -> ET.Element:
    entry = ET.Element("entry", name=name)
    values = st.one_of(_netmasks, _ranges).filter(bool)
    _add_members(entry, "address", draw(st.lists(values, max_size=3, unique=True)))
    return entry


@st.composite
def _lists(draw: st.DrawFn, name: str) -> ET.Element:
    entry = ET.Element("entry", name=name)
    kind = draw(st.sampled_from(("ip", "ip", "predefined-ip", "url", "domain")))
    inner = ET.SubElement(ET.SubElement(entry, "type"), kind)
    ET.SubElement(inner, "url").text = "https://lists.example/x"
    return entry


@st.composite
def _rules(draw: st.DrawFn, name: str) -> ET.Element:
    rule = ET.Element("entry", name=name)
    for side in ("from", "to"):
        _add_members(rule, side, [draw(st.sampled_from(("any", "trust", "untrust")))])
    for side in ("source", "destination"):
        ends = st.lists(st.sampled_from((*NAMES, *STRAYS)), min_size=1, max_size=3, unique=True)
        _add_members(rule, side, draw(st.one_of(st.just(["any"]), ends)))
        if draw(st.booleans()):
            ET.SubElement(rule, f"negate-{side}").text = draw(st.sampled_from(("yes", "no")))
    _add_members(rule, "service", [draw(st.sampled_from(("any", "service-https")))])
    _add_members(rule, "application", ["any"])
    ET.SubElement(rule, "action").text = draw(st.sampled_from(("allow", "deny", "drop")))
    return rule


@st.composite
def _documents(draw: st.DrawFn, fewest: int, most: int) -> str:
    names = draw(
        st.lists(st.sampled_from(DEVICE_GROUPS), min_size=fewest, max_size=most, unique=True)
    )
    config = ET.Element("config", version="11.1.0", urldb="paloaltonetworks")
    config.append(draw(_scopes("shared", None)))
    here = _panorama(config)
    setting = draw(st.sampled_from((None, "no", "yes")))
    if setting is not None:
        management = here
        for tag in ("deviceconfig", "setting", "management"):
            management = ET.SubElement(management, tag)
        ET.SubElement(management, "ancestor-objects-take-precedence").text = setting
    container = ET.SubElement(here, "device-group")
    for name in names:
        container.append(draw(_scopes("entry", name)))
    _add_template(here)
    parents = _draw_parents(draw, names)
    place = draw(st.sampled_from((_readonly, _old_readonly, None)))
    if place is not None:
        config.append(place(parents))
    elif any(parents.values()):
        for entry in container:
            if parent := parents[entry.attrib["name"]]:
                ET.SubElement(entry, "parent-dg").text = parent
    else:
        # Where nobody has a parent, entries could not tell.
        config.append(_readonly(parents))
    # A seed is one draw; hypothesis' own randoms would be one for each place.
    return shuffled(_text(config), Random(draw(st.integers(0, 2**32))))


def _draw_parents(draw: st.DrawFn, names: list[str]) -> dict[str, str | None]:
    """Device group -> parent, None for Shared; four levels at most, as PAN-OS has them."""
    depth: dict[str | None, int] = {None: 0}
    parents: dict[str, str | None] = {}
    for name in names:
        above = [other for other, levels in depth.items() if levels < 4]
        parents[name] = draw(st.sampled_from(above))
        depth[name] = depth[parents[name]] + 1
    return parents


def _panorama(parent: ET.Element) -> ET.Element:
    """`devices/entry[@name='localhost.localdomain']` under the parent."""
    return ET.SubElement(ET.SubElement(parent, "devices"), "entry", name="localhost.localdomain")


def _readonly(parents: dict[str, str | None]) -> ET.Element:
    """Where PAN-OS 8.0 and later keep the hierarchy, beside other things of the same names."""
    readonly = ET.Element("readonly")
    here = _panorama(readonly)
    groups = ET.SubElement(here, "device-group")
    for number, (name, parent) in enumerate(parents.items(), start=11):
        entry = ET.SubElement(groups, "entry", name=name)
        ET.SubElement(entry, "id").text = str(number)
        if parent is not None:
            ET.SubElement(entry, "parent-dg").text = parent
    template = ET.SubElement(ET.SubElement(here, "template"), "entry", name="network")
    ET.SubElement(template, "id").text = "99"
    return readonly


def _old_readonly(parents: dict[str, str | None]) -> ET.Element:
    """Where the hierarchy was before PAN-OS 8.0."""
    readonly = ET.Element("readonly")
    info = ET.SubElement(ET.SubElement(readonly, "dg-meta-data"), "dginfo")
    for name, parent in parents.items():
        entry = ET.SubElement(info, "entry", name=name)
        if parent is not None:
            ET.SubElement(entry, "parent-dg").text = parent
    return readonly


def _add_template(here: ET.Element) -> None:
    """A template with two zones, so that a rule's zones exist somewhere."""
    template = ET.SubElement(ET.SubElement(here, "template"), "entry", name="network")
    vsys = ET.SubElement(
        ET.SubElement(_panorama(ET.SubElement(template, "config")), "vsys"), "entry", name="vsys1"
    )
    zones = ET.SubElement(vsys, "zone")
    for number, name in enumerate(("trust", "untrust"), start=1):
        zone = ET.SubElement(zones, "entry", name=name)
        _add_members(ET.SubElement(zone, "network"), "layer3", [f"ethernet1/{number}"])


def _add_members(parent: ET.Element, tag: str, members: Iterable[str]) -> None:
    """`<tag><member>…</member></tag>`, nothing if there are no members."""
    texts = list(members)
    if texts:
        holder = ET.SubElement(parent, tag)
        for text in texts:
            ET.SubElement(holder, "member").text = text


def _text(root: ET.Element) -> str:
    return ET.tostring(root, encoding="unicode")

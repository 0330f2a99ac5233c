"""The words that tests say firewall configurations in, instead of pages of XML.

document(
    shared=[address("dns", "10.0.0.53")],
    groups={"eu": [group("web", "web-1", "dns"), address("web-1", "10.0.0.1")]},
)
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from sync.firewall.configuration import Configuration
from sync.firewall.effective import EffectiveDeviceGroup, effective
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from zonebridge_simulator.elements import entry as entry  # words too
from zonebridge_simulator.elements import tag as tag
from zonebridge_simulator.elements import text as text

PANORAMA = "/config/devices/entry[@name='localhost.localdomain']"


class Word(NamedTuple):
    """Something that stands in a scope: the path of its container there, and its XML."""

    place: str
    xml: str


# --- pieces of XML --------------------------------------------------------------------------------


def members(name: str, listed: Iterable[str]) -> str:
    """`<name><member>…</member></name>`, nothing if none are listed."""
    inner = [text("member", each) for each in listed]
    return tag(name, *inner) if inner else ""


# --- objects --------------------------------------------------------------------------------------


def address(
    name: str, value: str, *extra: str, kind: str = "ip-netmask", tags: Sequence[str] = ()
) -> Word:
    return Word("address", entry(name, text(kind, value), members("tag", tags), *extra))


def group(name: str, *listed: str, tags: Sequence[str] = ()) -> Word:
    """A static address group."""
    inner = "".join(text("member", each) for each in listed)
    return Word("address-group", entry(name, tag("static", inner), members("tag", tags)))


def dynamic(name: str, tag_filter: str, tags: Sequence[str] = ()) -> Word:
    """A dynamic address group."""
    inner = tag("dynamic", text("filter", tag_filter))
    return Word("address-group", entry(name, inner, members("tag", tags)))


def external_list(name: str, url: str, *extra: str, kind: str = "ip") -> Word:
    """An external dynamic list."""
    inner = tag(kind, text("url", url), *extra)
    return Word("external-list", entry(name, tag("type", inner)))


def service(name: str, port: str, protocol: str = "tcp", source_port: str = "") -> Word:
    ports = text("port", port) + (text("source-port", source_port) if source_port else "")
    return Word("service", entry(name, tag("protocol", tag(protocol, ports))))


def rule(name: str, *extra: str, **lists: Sequence[str] | str) -> Word:
    """A security rule: lists as lists, everything else as text; `from_`, `rule_type` by tag.

    It stands in the pre-rulebase, or in the one that `rulebase` names.
    """
    rulebase = lists.pop("rulebase", "pre")
    inner = [
        text(key.strip("_").replace("_", "-"), value)
        if isinstance(value, str)
        else members(key.strip("_").replace("_", "-"), value)
        for key, value in lists.items()
    ]
    return Word(f"{rulebase}-rulebase/security/rules", entry(name, *inner, *extra))


def nat_rule(name: str, *inner: str, rulebase: str = "pre") -> Word:
    return Word(f"{rulebase}-rulebase/nat/rules", entry(name, *inner))


def to_server(address: str) -> str:
    """What a NAT rule says that translates its destinations."""
    return tag("destination-translation", text("translated-address", address))


def both_ways(address: str) -> str:
    """What a NAT rule says that translates sources, and in reverse destinations."""
    static = text("translated-address", address) + text("bi-directional", "yes")
    return tag("source-translation", tag("static-ip", static))


def default_rule(name: str, *inner: str) -> Word:
    """An override of a default rule."""
    return Word("post-rulebase/default-security-rules/rules", entry(name, *inner))


# --- documents ------------------------------------------------------------------------------------


def scope(words: Sequence[Word]) -> str:
    """The inside of a scope: one container for each run of words of the same place."""
    return "".join(
        _around(place, "".join(word.xml for word in run))
        for place, run in groupby(words, key=lambda word: word.place)
    )


def document(
    shared: Sequence[Word] = (),
    groups: Mapping[str, Sequence[Word]] | None = None,
    *,
    parents: Mapping[str, str] | None = None,
    devices: str = "",
    readonly: str | None = None,
) -> bytes:
    """A whole configuration. `devices` stands beside the device groups.

    `parents` are those of the device groups that are not directly under Shared; `readonly` takes
    the place of what is made of them.
    """
    groups = {"dg": ()} if groups is None else groups
    device_groups = tag(
        "device-group", *(entry(name, scope(held)) for name, held in groups.items())
    )
    if readonly is None:
        readonly = hierarchy({name: (parents or {}).get(name, "") for name in groups})
    return (
        '<config version="11.1.0" urldb="paloaltonetworks">'
        + tag("shared", scope(shared))
        + tag("devices", entry("localhost.localdomain", device_groups, devices))
        + tag("readonly", readonly)
        + "</config>"
    ).encode()


def hierarchy(parents: Mapping[str, str]) -> str:
    """What `readonly` holds of device groups since PAN-OS 8.0; no parent is Shared."""
    inner = (
        entry(name, text("id", str(number)), text("parent-dg", parent) if parent else "")
        for number, (name, parent) in enumerate(parents.items(), 11)
    )
    return tag("devices", entry("localhost.localdomain", tag("device-group", *inner)))


def _around(place: str, xml: str) -> str:
    for name in reversed(place.split("/")):
        xml = tag(name, xml)
    return xml


# --- readings -------------------------------------------------------------------------------------


def read(data: bytes) -> Configuration:
    return read_configuration(parse(data, "export.xml"))


def shared(*words: Word) -> Configuration:
    """A configuration with these words in Shared, read."""
    return read(document(words))


def seen_by(
    name: str,
    groups: Mapping[str, Sequence[Word]],
    *,
    parents: Mapping[str, str] | None = None,
) -> EffectiveDeviceGroup:
    """A device group of a configuration, with what it inherits."""
    return effective(read(document((), groups, parents=parents)), name)


def remarked(configuration: Configuration) -> dict[str, str]:
    """Every remark's message by its path; several of one path are joined."""
    found: dict[str, str] = {}
    for each in configuration.remarks:
        found[each.path] = "; ".join(filter(None, (found.get(each.path), each.message)))
    return found

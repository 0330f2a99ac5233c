"""The relevant parts of a Panorama's configuration, put together at their places in the whole.

`/config` is never read at once: it also holds password hashes and keys.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from lxml import etree

from sync.sources.panorama.client import PanoramaHost
from sync.sources.panorama.errors import PanoramaError

_DEVICE: Final = "/config/devices/entry[@name='localhost.localdomain']"
_SHARED: Final = "/config/shared"
_ANCESTORS: Final = f"{_DEVICE}/deviceconfig/setting/management/ancestor-objects-take-precedence"
_GROUPS: Final = f"{_DEVICE}/device-group"
_TEMPLATES: Final = (f"{_DEVICE}/template", f"{_DEVICE}/template-stack")
_HIERARCHY: Final = "/config/readonly/devices/entry[@name='localhost.localdomain']/device-group"
_OLD_HIERARCHY: Final = "/config/readonly/dg-meta-data"

# Attributes that `get` adds to touched nodes, at any depth; no configuration has them otherwise.
_MARKS: Final = frozenset({"admin", "dirtyId", "time"})


@dataclass(frozen=True, slots=True)
class Read:
    """A configuration, as a `<config>`; whether it differs from the running one, and by whom."""

    config: etree._Element
    pending: bool = False
    administrators: tuple[str, ...] = ()


def running(member: PanoramaHost, release: str) -> Read:
    """Read the running configuration; `PanoramaError` if it is incomplete."""
    return Read(_config(member, release, member.show))


def candidate(member: PanoramaHost, release: str) -> Read | None:
    """Read the candidate configuration; None if it changed meanwhile.

    It has no version, so it is read twice: if both reads are equal, it was so, all of it at
    once, between the two. The running one is read in between: nodes that `get` marks with an
    administrator's name may be committed already.
    """

    def get(xpath: str) -> etree._Element | None:
        found = member.get(xpath)
        # Some versions report parents only for the running configuration.
        return member.show(xpath) if found is None and xpath == _HIERARCHY else found

    before = hashlib.sha256(_canonical(_config(member, release, get))).digest()
    committed = _config(member, release, member.show)
    config = _config(member, release, get)
    if hashlib.sha256(_canonical(config)).digest() != before:
        return None
    touched = [(node, str(node.get("admin"))) for node in config.iter() if node.get("admin")]
    for node in (*config.iter(), *committed.iter()):
        for mark in _MARKS.intersection(node.keys()):
            del node.attrib[mark]
    changed = {name for node, name in touched if _differs(node, committed)}
    return Read(config, _canonical(config) != _canonical(committed), tuple(sorted(changed)))


def _config(
    member: PanoramaHost, release: str, read: Callable[[str], etree._Element | None]
) -> etree._Element:
    xpaths = (_SHARED, _GROUPS, *_TEMPLATES, _ANCESTORS, _HIERARCHY)
    with ThreadPoolExecutor(len(xpaths), "panorama") as pool:
        parts = dict(zip(xpaths, pool.map(read, xpaths), strict=True))
    if parts[_HIERARCHY] is None:
        parts[_OLD_HIERARCHY] = member.show(_OLD_HIERARCHY)
    config = etree.Element("config", version=release)
    for xpath, found in parts.items():
        if found is not None:
            parent = config
            for step in xpath.split("/")[2:-1]:
                parent = _child(parent, step)
            parent.extend(list(found))
    _require_whole(member, config)
    return config


def _require_whole(member: PanoramaHost, config: etree._Element) -> None:
    """Require the parts that every Panorama has.

    Without shared objects or device groups rules would be missing, without their parents device
    groups would lose the rules of their ancestors, denies among them.
    """
    groups = {each.get("name") for each in config.iterfind("devices/entry/device-group/entry")}
    for what, there in (
        ("shared objects (/config/shared)", config.find("shared") is not None),
        ("device groups", config.find("devices/entry/device-group") is not None),
        # One alone can have no parent but Shared.
        (
            "parents of its device groups (/config/readonly)",
            len(groups) < 2 or config.find("readonly") is not None,
        ),
    ):
        if not there:
            raise PanoramaError(
                f"{member.line.where} shows no {what}; give the API key's role the whole "
                "configuration, no access domain"
            )


def _child(parent: etree._Element, step: str) -> etree._Element:
    """The child that a step of an xpath names, created if it is missing."""
    tag, _, rest = step.partition("[")
    found = parent.find(step)
    if found is None:
        found = etree.SubElement(parent, tag)
        if rest:
            found.set("name", rest.split("'")[1])
    return found


def _canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", with_tail=False)


def _differs(node: etree._Element, committed: etree._Element) -> bool:
    """Whether an element differs from a committed configuration, or is missing there."""
    found = [committed]
    for step in [*reversed(list(node.iterancestors())), node][1:]:
        name = step.get("name")
        inner = (child for each in found for child in each.iterchildren(step.tag))
        found = [each for each in inner if each.get("name") == name]
    canonical = _canonical(node)
    # Members have no names, so there may be several.
    return all(_canonical(each) != canonical for each in found)

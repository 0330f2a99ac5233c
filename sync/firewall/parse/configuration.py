"""A whole configuration, from its XML: anchored paths, one pass, remarks instead of failures."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from lxml.etree import _Element

from sync.firewall.configuration import SHARED, Configuration, DeviceGroup, Scope
from sync.firewall.parse.objects import read_objects
from sync.firewall.parse.odd_bytes import odd_elements
from sync.firewall.parse.rules import read_devices, read_rulebases
from sync.firewall.parse.templates import read_network
from sync.firewall.parse.xml import Remarks, entries, members, text, yes
from sync.firewall.templates import Template, TemplateStack

_HIERARCHY = (
    "readonly/devices/entry/device-group",
    # Where PAN-OS 7.1 and older keep it.
    "readonly/dg-meta-data/dginfo",
)
# Rules that forward packets against the routes.
_FORWARDING = tuple(
    f"{rulebase}-rulebase/{kind}/rules/*"
    for rulebase in ("pre", "post")
    for kind in ("pbf", "sdwan")
)
_ODD = (
    r"holds bytes that are not UTF-8, or characters that XML does not allow; they are read as "
    r"\x.."
)
_ANCESTORS_FIRST = "devices/entry/deviceconfig/setting/management/ancestor-objects-take-precedence"


def read_configuration(config: _Element) -> Configuration:
    """Read a `<config>` element (`sync.firewall.parse.document.parse`).

    Never fails for its content: what cannot be read is remarked with its path, and counts as
    unsayable wherever it is used. `readonly` mirrors the names of device groups, templates and
    zones, so every path starts at `/config` or an element already found.
    """
    with _uncollected():
        return _read(config)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector off the new values: a million, none of them in a cycle.

    They are not frozen afterwards. `gc.freeze` would also keep whatever garbage exists at that
    moment, and a service that reads each minute would fill up with it.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _read(config: _Element) -> Configuration:
    remarks = Remarks()
    for element in odd_elements(config):
        remarks.add(element, _ODD)
    if config.find("shared") is None:
        remarks.add(config, "holds no shared objects (/config/shared); they are taken to be none")
    groups = _entries_by_name(config.iterfind("devices/entry/device-group"), remarks)
    parents = _parents(config, groups, remarks)
    return Configuration(
        version=config.get("detail-version") or config.get("version") or "",
        shared=_scope(list(config.iterchildren("shared")), remarks),
        device_groups={
            name: _device_group(name, *parents[name], elements, remarks)
            for name, elements in sorted(groups.items())
        },
        templates={
            name: Template(name, read_network(elements, remarks))
            for name, elements in sorted(
                _entries_by_name(config.iterfind("devices/entry/template"), remarks).items()
            )
        },
        stacks={
            name: _stack(name, elements, remarks)
            for name, elements in sorted(
                _entries_by_name(config.iterfind("devices/entry/template-stack"), remarks).items()
            )
        },
        ancestors_take_precedence=_setting(config, _ANCESTORS_FIRST, remarks),
        remarks=remarks.sorted(),
    )


def _entries_by_name(
    containers: Iterable[_Element], remarks: Remarks
) -> Mapping[str, list[_Element]]:
    """The elements of each name; several if an entry is split into parts, which are merged."""
    found: dict[str, list[_Element]] = {}
    for name, entry in entries(containers, remarks):
        if name in found:
            remarks.add(entry, "occurs more than once; its parts are read as one")
        found.setdefault(name, []).append(entry)
    return found


def _parents(
    config: _Element, groups: Mapping[str, list[_Element]], remarks: Remarks
) -> dict[str, tuple[str, str]]:
    """Each device group's parent, empty for Shared, and a clause where it is unknown.

    A Panorama has the hierarchy in `readonly`, where every device group stands, with its parent
    unless that is Shared. Tools that write configurations have parents in the entries of the
    device groups instead.
    """
    said: dict[str, set[str]] = {name: set() for name in groups}
    containers = [each for place in _HIERARCHY for each in config.iterfind(place)]
    listed = list(entries(containers, remarks))
    for name, entry in listed:
        said.setdefault(name, set()).update(_told(entry) or {SHARED})
    for name, elements in groups.items():
        for entry in elements:
            said[name].update(_told(entry))
    named = {parent for each in said.values() for parent in each}
    # One alone can have no parent but Shared. Where entries tell parents, one without is there too;
    # so it is where some tool lists those with parents alone, and all the others are parents.
    if listed:
        with_parents = all(_told(entry) for _, entry in listed)
        at_top = with_parents and groups.keys() <= {name for name, _ in listed} | named
    else:
        at_top = len(groups) < 2 or bool(named)
    at_top = at_top or _is_flat(config)
    parents: dict[str, tuple[str, str]] = {}
    for name, elements in groups.items():
        ways, unknown = said[name], ""
        if not ways and not at_top:
            place = "the hierarchy (/config/readonly)"
            unknown = f"{place} does not list it" if listed else f"{place} is missing"
        elif len(ways) > 1:
            unknown = f"it is said to be {' and '.join(map(repr, sorted(ways)))}"
        elif "" in ways:
            unknown = "it is said to be nothing"
        if unknown:
            remark = f"has a parent that nobody knows: {unknown}"  # words kept
            remarks.add(elements[0], remark)
        (parent,) = ways if len(ways) == 1 else (SHARED,)
        parents[name] = ("" if unknown or parent == SHARED else parent, unknown)
    return parents


def _told(entry: _Element) -> set[str]:
    return {text(each) for each in entry.iterchildren("parent-dg")}


def _is_flat(config: _Element) -> bool:
    """Whether its version is known to have no hierarchy: it came with PAN-OS 7.0."""
    major = config.get("version", "").partition(".")[0]
    return major.isdecimal() and int(major) < 7


def _scope(elements: list[_Element], remarks: Remarks) -> Scope:
    return Scope(
        read_objects(elements, remarks),
        read_rulebases(elements, remarks),
        forwards_by_policy=any(
            [text(each) for each in rule.iterchildren("disabled")] != ["yes"]
            for element in elements
            for where in _FORWARDING
            for rule in element.iterfind(where)
        ),
    )


def _device_group(
    name: str, parent: str, parent_unknown: str, elements: list[_Element], remarks: Remarks
) -> DeviceGroup:
    containers = [each for element in elements for each in element.iterchildren("devices")]
    before = len(remarks)
    devices = tuple(sorted(read_devices(containers, remarks)))
    references = _listed(elements, "reference-templates", remarks)
    unreadable = (
        ("its devices or reference templates cannot be read",) if len(remarks) > before else ()
    )
    scope = _scope(elements, remarks)
    return DeviceGroup(name, parent, scope, devices, references, unreadable, parent_unknown)


def _stack(name: str, elements: list[_Element], remarks: Remarks) -> TemplateStack:
    containers = [each for element in elements for each in element.iterchildren("devices")]
    before = len(remarks)
    templates = _listed(elements, "templates", remarks)
    devices = tuple(sorted({serial for serial, _ in read_devices(containers, remarks)}))
    unreadable = ("its templates or devices cannot be read",) if len(remarks) > before else ()
    return TemplateStack(name, templates, devices, read_network(elements, remarks), unreadable)


def _listed(elements: list[_Element], tag: str, remarks: Remarks) -> tuple[str, ...]:
    return tuple(
        member
        for element in elements
        for child in element.iterchildren(tag)
        for member in members(child, remarks) or ()
    )


def _setting(config: _Element, where: str, remarks: Remarks) -> bool | None:
    """A device setting, off by default; None if it is unreadable."""
    found = {yes(element) for element in config.iterfind(where)}
    if len(found) > 1 or None in found:
        remarks.add(config, f"has {where} that is neither yes nor no, or both")
        return None
    return True in found

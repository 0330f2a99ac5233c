"""Applications of one scope or of a Panorama's own content, with groups and filters of them."""

from collections import Counter
from dataclasses import replace

from lxml.etree import _Element

from sync.firewall.objects import Application, ApplicationFilter, ApplicationGroup
from sync.firewall.parse.fields import MEMBERS, SILENT, Fields, known
from sync.firewall.parse.xml import Remarks, brief, members, text


def read_application_group(name: str, entry: _Element, remarks: Remarks) -> ApplicationGroup:
    fields = Fields(entry, MEMBERS, remarks)
    fields.members("tag")
    listed = fields.list_of("members")
    return ApplicationGroup(name, listed, fields.problem)


_IDENTIFIED_BY = ("ident-by-icmp-type", "ident-by-icmp6-type", "ident-by-ip-protocol")


def read_application(name: str, entry: _Element, remarks: Remarks) -> Application:
    # Signatures, timeouts and similar fields are many and change with every version; only
    # `default` is about ports, so only that is read strictly.
    default: list[tuple[str, str]] = []
    attributes: list[tuple[str, str]] = []
    problem = ""
    if len(list(entry.iterchildren("default"))) > 1:
        problem = "has <default> more than once"
        remarks.add(entry, f"{problem}; anything that uses it is treated as unknown")
    for child in entry:
        if child.tag != "default":
            if not len(child) and child.tag not in SILENT:
                attributes.append((child.tag, text(child)))
            continue
        fields = Fields(child, known("port", "extended-port", *_IDENTIFIED_BY), remarks)
        usual = fields.members("port") or ()
        default += [("port", member) for member in usual]
        default += [
            ("extended-port", member.removesuffix("/secure"))
            for member in fields.members("extended-port") or ()
            if member not in usual
        ]
        default += [
            (tag, _identity(fields, tag, remarks)) for tag in _IDENTIFIED_BY if tag in fields.found
        ]
        problem = problem or fields.problem
    # Which of two values of one attribute a filter would find is unknown.
    tags = Counter(tag for tag, _ in attributes)
    single = sorted(each for each in attributes if tags[each[0]] == 1)
    return Application(name, tuple(default), tuple(single), problem)


_ICMP_PARTS = frozenset({"type", "code"})


def _identity(fields: Fields, tag: str, remarks: Remarks) -> str:
    """A list of IP protocols or ICMP types as text, or as elements `type` and `code`: `8/0`.

    Sources: the PAN-OS configuration schema (`application/entry/default`), where all three are
    lists of ranges from 0 to 255; the text alone is how PAN-OS 4 writes ICMP types.
    """
    element = fields.found[tag]
    if tag == "ident-by-ip-protocol" or not len(element):
        value = fields.text(tag)
        if "/" not in value:
            return value
    else:
        parts = Fields(element, _ICMP_PARTS, remarks)
        values = [parts.text(part) for part in ("type", "code") if part in parts.found]
        fields.problem = fields.problem or parts.problem
        beside = [element.text, *(part.tail for part in element)]
        stray = any(each and each.strip() for each in beside)
        if "type" in parts.found and not stray and "/" not in "".join(values):
            return "/".join(values)
    fields.fail(element, "is no list of numbers")
    return ""


def read_predefined_application(name: str, entry: _Element, remarks: Remarks) -> Application:
    return replace(read_application(name, entry, remarks), predefined=True)


def read_container(name: str, entry: _Element, remarks: Remarks) -> ApplicationGroup:
    found = list(entry.iterchildren("functions"))
    listed = members(found[0], remarks) if len(found) == 1 else None
    problem = ""
    if not listed:
        problem = "does not tell what it holds"  # words kept
        remarks.add(entry, f"{problem}; anything that uses it is treated as unknown")
    return ApplicationGroup(name, tuple(sorted(set(listed or ()))), problem)


def read_application_filter(name: str, entry: _Element, remarks: Remarks) -> ApplicationFilter:
    attributes: dict[str, tuple[str, ...]] = {}
    problem = ""
    for child in entry:
        if child.tag in SILENT:
            continue
        values = members(child, remarks) if len(child) else (text(child),)
        if values is None or child.tag in attributes:
            problem = problem or f"has an unreadable <{brief(child.tag)}>"
        else:
            attributes[child.tag] = values
    return ApplicationFilter(name, tuple(sorted(attributes.items())), problem)

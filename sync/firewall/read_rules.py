"""The security rules of one scope, from its XML.

A rule is never dropped for what it holds: what the program does not know is named in
`Rule.unreadable`, and the rule counts as unsayable. Source of the elements and their defaults:
the PAN-OS configuration schema (`rulebase/security/rules/entry`).
"""

import sys
from collections.abc import Sequence

from lxml.etree import _Element

from sync.firewall.rules import ANY, EVERYWHERE, Rule, Rulebases, Target
from sync.firewall.xml import Remarks, entries, members, text, yes

_LISTS = {
    "from": "from_zones",
    "to": "to_zones",
    "source": "sources",
    "destination": "destinations",
    "application": "applications",
    "service": "services",
    "tag": "tags",
}
_CONSTRAINTS = frozenset(
    {
        "source-user",
        "category",
        "hip-profiles",
        "source-hip",
        "destination-hip",
        "source-imsi",
        "source-imei",
        "source-nw-slice",
        "schedule",
    }
)
_FLAGS = {
    "negate-source": "negate_source",
    "negate-destination": "negate_destination",
    "disabled": "disabled",
}
_ACTIONS = frozenset({"allow", "deny", "drop", "reset-client", "reset-server", "reset-both"})
_TYPES = frozenset({"universal", "intrazone", "interzone"})
_DEFAULT_RULES = frozenset({"intrazone-default", "interzone-default"})
# Logging, inspection and marking do not decide whether a flow is allowed.
_SILENT = frozenset(
    {
        "log-start",
        "log-end",
        "log-setting",
        "profile-setting",
        "option",
        "qos",
        "icmp-unreachable",
        "group-tag",
        "disable-inspect",
    }
)
_KNOWN = frozenset(
    {*_LISTS, *_CONSTRAINTS, *_FLAGS, *_SILENT, "action", "rule-type", "target", "description"}
)


def read_rulebases(scope: Sequence[_Element], remarks: Remarks) -> Rulebases:
    """The rules of a scope; more than one element where the document holds the scope twice."""
    return Rulebases(
        pre=_rules(scope, "pre-rulebase/security/rules", remarks),
        post=_rules(scope, "post-rulebase/security/rules", remarks),
        defaults=_defaults(scope, remarks),
    )


def _rules(scope: Sequence[_Element], where: str, remarks: Remarks) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    seen: set[str] = set()
    for name, entry in entries(
        [each for element in scope for each in element.iterfind(where)], remarks
    ):
        rule = _rule(name, entry, remarks)
        if name in seen:
            remarks.add(entry, "is the name of an earlier rule here too; both are kept, in order")
        seen.add(name)
        rules.append(rule)
    return tuple(rules)


def _rule(name: str, entry: _Element, remarks: Remarks) -> Rule:
    found = {child.tag: child for child in entry}
    fields: dict[str, object] = {}
    unreadable = [f"<{tag}> is not known" for tag in found.keys() - _KNOWN]
    if len(found) != len(entry):
        unreadable += _sort_out_repeated(entry, found, fields)
    for tag in _LISTS.keys() & found.keys():
        listed = members(found[tag], remarks)
        if listed is None:
            unreadable.append(f"<{tag}> cannot be read")
        elif listed:
            # One tuple for the many lists that say any.
            fields[_LISTS[tag]] = ANY if listed == ANY else listed
    constraints = []
    for tag in sorted(_CONSTRAINTS & found.keys()):
        child = found[tag]
        listed = members(child, remarks) if len(child) else _single(child)
        if listed is None:
            unreadable.append(f"<{tag}> cannot be read")
        elif listed and listed != ANY:
            constraints.append((tag, listed))
    for tag in _FLAGS.keys() & found.keys():
        flag = yes(found[tag])
        if flag is None:
            unreadable.append(f"<{tag}> is {text(found[tag])!r}, neither yes nor no")
        else:
            fields[_FLAGS[tag]] = flag
    if "action" in found:
        fields["action"] = _one_of(found["action"], _ACTIONS, unreadable)
    if "rule-type" in found:
        fields["rule_type"] = _one_of(found["rule-type"], _TYPES, unreadable)
    if "target" in found:
        fields["target"] = _target(found["target"], remarks, unreadable)
    if "description" in found:
        fields["description"] = text(found["description"])
    for problem in unreadable:
        remarks.add(entry, f"{problem}; the rule counts as unsayable")
    return Rule(
        name=name,
        uuid=entry.get("uuid", ""),
        constraints=tuple(constraints),
        unreadable=tuple(sorted(unreadable)),
        **fields,  # type: ignore[arg-type]  # each value was read by the reader of its field
    )


def _sort_out_repeated(
    entry: _Element, found: dict[str, _Element], fields: dict[str, object]
) -> list[str]:
    """What stands more than once; of two that differ the rule stays on, and allows nothing."""
    for tag, meant in (("disabled", False), ("action", "deny")):
        if len({text(each) for each in entry.iterchildren(tag)}) > 1:
            fields[tag] = meant
            del found[tag]
    tags = [child.tag for child in entry]
    return [f"<{tag}> stands more than once" for tag in {*tags} if tags.count(tag) > 1]


def _single(element: _Element) -> tuple[str, ...]:
    value = text(element)
    return (value,) if value else ()


def _one_of(element: _Element, known: frozenset[str], unreadable: list[str]) -> str:
    value = sys.intern(text(element))
    if value not in known or len(element):
        unreadable.append(f"<{element.tag}> is {value!r}, which is not known")
    return value


def _target(element: _Element, remarks: Remarks, unreadable: list[str]) -> Target:
    devices: list[tuple[str, tuple[str, ...]]] = []
    tags: tuple[str, ...] = ()
    negate = False
    seen: set[str] = set()
    for child in element:
        if child.tag in seen:
            unreadable.append(f"<target> has <{child.tag}> more than once")
        seen.add(child.tag)
        if child.tag == "devices":
            before = len(remarks)
            devices += read_devices([child], remarks)
            if len(remarks) > before:
                # Without those that are left out it might stand for every device.
                unreadable.append("<target> has devices that cannot be read")
        elif child.tag == "tags":
            found = members(child, remarks)
            if found is None:
                unreadable.append("<target> has unreadable tags")
            tags = found or ()
        elif child.tag == "negate" and (flag := yes(child)) is not None:
            negate = flag
        else:
            unreadable.append(f"<target> has a <{child.tag}> that cannot be read")
    if not devices and not tags and not negate:
        return EVERYWHERE
    return Target(tuple(sorted(devices)), tuple(sorted(tags)), negate)


def read_devices(
    containers: Sequence[_Element], remarks: Remarks
) -> list[tuple[str, tuple[str, ...]]]:
    """Firewalls by serial, each with the virtual systems named under it."""
    return [
        (serial, tuple(sorted(name for name, _ in entries(entry.iterfind("vsys"), remarks))))
        for serial, entry in entries(containers, remarks)
    ]


def _defaults(scope: Sequence[_Element], remarks: Remarks) -> tuple[tuple[str, str], ...]:
    """The actions that overrides give the two default rules; an unreadable one is a deny."""
    found: dict[str, str] = {}
    where = "post-rulebase/default-security-rules/rules"
    for name, entry in entries(
        [each for element in scope for each in element.iterfind(where)], remarks
    ):
        if name not in _DEFAULT_RULES:
            remarks.add(entry, "is neither intrazone-default nor interzone-default; it is left out")
            continue
        actions = [text(child) for child in entry.iterchildren("action")]
        if not actions and name not in found:
            # An override of the log setting or the tags alone leaves the action as it was.
            continue
        if (
            len(actions) != 1
            or actions[0] not in _ACTIONS
            or found.get(name, actions[0]) != actions[0]
        ):
            remarks.add(entry, "has no single action that is known; it is taken as a deny")
            actions = ["deny"]
        found[name] = actions[0]
    return tuple(sorted(found.items()))

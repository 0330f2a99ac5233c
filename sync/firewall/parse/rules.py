"""The rules of one scope, from its XML.

Nothing in a security rulebase is dropped: what the program does not know is named in
`Rule.unreadable`, and the rule is treated as unknown. Then an allow is left out later and a deny is
kept by its fields, so a field that cannot be read keeps no part of its value: it says what matches
most.

Source of the elements and their defaults: the PAN-OS configuration schema
(`rulebase/security/rules/entry`).
"""

import sys
from collections.abc import Sequence

from lxml.etree import _Element

from sync.firewall.parse.nat import read_nat_rules
from sync.firewall.parse.xml import Remarks, entries, members, text, yes
from sync.firewall.rules import ANY, EVERYWHERE, Rule, Rulebases, Target

_LISTS = {
    "from": "from_zones",
    "to": "to_zones",
    "source": "sources",
    "destination": "destinations",
    "application": "applications",
    "service": "services",
    "tag": "tags",
}
# What matches most, or for tags chooses least, where one of these elements cannot be read.
_WIDEST: dict[str, dict[str, object]] = {
    "from": {"from_zones": ANY},
    "to": {"to_zones": ANY},
    # A negated any would match nothing.
    "source": {"sources": ANY, "negate_source": False},
    "negate-source": {"sources": ANY, "negate_source": False},
    "destination": {"destinations": ANY, "negate_destination": False},
    "negate-destination": {"destinations": ANY, "negate_destination": False},
    "application": {"applications": ANY},
    "service": {"services": ANY},
    "tag": {"tags": ()},
    "disabled": {"disabled": False},
    "action": {"action": "deny"},
    # It might be an intrazone rule, which ignores `to`.
    "rule-type": {"rule_type": "universal", "from_zones": ANY, "to_zones": ANY},
    "target": {"target": EVERYWHERE},
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
        "saas-user-list",
        "saas-tenant-list",
        "schedule",
    }
)
# What a list holds instead of members. Older versions of PAN-OS accepted it beside others, and
# which of both counts is documented nowhere (PaloAltoNetworks/pan-os-php, issue 619).
_ALONE = {"service": frozenset({"any", "application-default"})}
_ANY_ALONE = frozenset(ANY)
_FLAGS = {
    "negate-source": "negate_source",
    "negate-destination": "negate_destination",
    "disabled": "disabled",
}
_ACTIONS = frozenset({"allow", "deny", "drop", "reset-client", "reset-server", "reset-both"})
_TYPES = frozenset({"universal", "intrazone", "interzone"})
_CHOICES = {"action": ("action", _ACTIONS), "rule-type": ("rule_type", _TYPES)}
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
        nat_pre=read_nat_rules(scope, "pre-rulebase/nat/rules", remarks),
        nat_post=read_nat_rules(scope, "post-rulebase/nat/rules", remarks),
    )


def _rules(scope: Sequence[_Element], where: str, remarks: Remarks) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    seen: set[str] = set()
    for container in (each for element in scope for each in element.iterfind(where)):
        for element in container:
            name = _name(element)
            if element.tag != "entry":
                rules.append(_foreign(name, element, remarks))
                continue
            rules.append(_rule(name, element, remarks))
            if name and name in seen:
                remarks.add(
                    element, "is the name of an earlier rule here too; both are kept, in order"
                )
            seen.add(name)
    return tuple(rules)


def _name(element: _Element) -> str:
    # White space as XML knows it: other spaces are part of a name.
    return element.get("name", "").strip(" \t\r\n")


def _foreign(name: str, element: _Element, remarks: Remarks) -> Rule:
    """A rule for an element that is not an entry, of which nothing but an allow is believed."""
    problem = f"it is written as <{element.tag}>, not as an entry"
    remarks.add(element, "is not an entry; it counts as a rule that is unknown")
    actions = list(element.iterchildren("action"))
    allows = len(actions) == 1 and text(actions[0]) == "allow" and not len(actions[0])
    return Rule(
        name or f"<{element.tag}>",
        services=ANY,
        action="allow" if allows else "deny",
        unreadable=(problem,),
    )


# What is wrong with an element of a rule: its tag and a clause. No tag: its value counts still.
_Problems = list[tuple[str, str]]


def _rule(name: str, entry: _Element, remarks: Remarks) -> Rule:
    found = {child.tag: child for child in entry}
    problems: _Problems = [(tag, f"<{tag}> is not known") for tag in found.keys() - _KNOWN]
    if not name:
        problems.append(("", "it has no name"))
    if len(found) != len(entry):
        problems += _sort_out_repeated(entry, found)
    fields: dict[str, object] = {}
    for tag in _LISTS.keys() & found.keys():
        listed = members(found[tag], remarks)
        if listed is None:
            problems.append((tag, f"<{tag}> cannot be read"))
        elif listed:
            if tag != "tag":
                problems += _not_alone(tag, listed)
            # One tuple for the many lists that hold any.
            fields[_LISTS[tag]] = ANY if {*listed} == _ANY_ALONE else listed
    _read_switches(found, fields, problems)
    constraints = _constraints(found, problems, remarks)
    if "target" in found:
        fields["target"] = _target(found["target"], remarks, problems)
    if "description" in found:
        fields["description"] = text(found["description"])
    for tag, problem in problems:
        fields.update(_WIDEST.get(tag, {}))
        remarks.add(entry, f"{problem}; the rule is treated as unknown")
    return Rule(
        name=name or f"<{entry.tag}>",
        uuid=entry.get("uuid", ""),
        constraints=constraints,
        unreadable=tuple(sorted(problem for _, problem in problems)),
        **fields,  # type: ignore[arg-type]  # each value was read by the reader of its field
    )


def _sort_out_repeated(entry: _Element, found: dict[str, _Element]) -> _Problems:
    """Drop repeated fields from `found`, except a switch that has the same value each time.

    Return a problem for each repeated field.
    """
    tags = [child.tag for child in entry]
    problems: _Problems = []
    for tag in {tag for tag in tags if tags.count(tag) > 1}:
        each = list(entry.iterchildren(tag))
        said = {None if len(child) else text(child) for child in each}
        counts = tag in ("disabled", "action") and len(said) == 1
        if not counts:
            del found[tag]
        problems.append(("" if counts else tag, f"<{tag}> occurs more than once"))
    return problems


def _read_switches(
    found: dict[str, _Element], fields: dict[str, object], problems: _Problems
) -> None:
    """What is one word of few."""
    for tag in _FLAGS.keys() & found.keys():
        flag = yes(found[tag])
        if flag is None:
            problems.append((tag, f"<{tag}> is {text(found[tag])!r}, neither yes nor no"))
        else:
            fields[_FLAGS[tag]] = flag
    for tag, (field, known) in _CHOICES.items():
        if tag in found:
            value = sys.intern(text(found[tag]))
            if value not in known or len(found[tag]):
                problems.append((tag, f"<{tag}> is {value!r}, which is not known"))
            else:
                fields[field] = value


def _constraints(
    found: dict[str, _Element], problems: _Problems, remarks: Remarks
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    constraints: list[tuple[str, tuple[str, ...]]] = []
    for tag in sorted(_CONSTRAINTS & found.keys()):
        child = found[tag]
        listed = members(child, remarks) if len(child) else _single(child)
        if listed is None:
            problems.append((tag, f"<{tag}> cannot be read"))
        elif beside := _not_alone(tag, listed):
            problems += beside
        elif {*listed} - _ANY_ALONE:
            constraints.append((tag, listed))
    return tuple(constraints)


def _not_alone(tag: str, listed: Sequence[str]) -> _Problems:
    """Find values that stand for a whole list (`any`) and are listed beside others."""
    if len({*listed}) < 2:
        return []
    found = _ALONE.get(tag, _ANY_ALONE).intersection(listed)
    # Zones that it lists are known for that: their pods are judged.
    counts = "" if tag in ("from", "to") else tag
    return [(counts, f"<{tag}> lists {word} beside others") for word in sorted(found)]


def _single(element: _Element) -> tuple[str, ...]:
    value = text(element)
    return (value,) if value else ()


def _target(element: _Element, remarks: Remarks, problems: _Problems) -> Target:
    devices: list[tuple[str, tuple[str, ...]]] = []
    tags: tuple[str, ...] = ()
    negate = False
    seen: set[str] = set()
    if text(element):
        problems.append(("target", "<target> holds text where elements are expected"))
    for child in element:
        if child.tag in seen:
            problems.append(("target", f"<target> has <{child.tag}> more than once"))
        seen.add(child.tag)
        if child.tag == "devices":
            before = len(remarks)
            devices += read_devices([child], remarks)
            if len(remarks) > before or any(text(each) for each in child.iter()):
                # Without those that are left out it might stand for every device.
                problems.append(("target", "<target> has devices that cannot be read"))
        elif child.tag == "tags":
            found = members(child, remarks)
            if found is None:
                problems.append(("target", "<target> has unreadable tags"))
            tags = found or ()
        elif child.tag == "negate" and (flag := yes(child)) is not None:
            negate = flag
        else:
            problems.append(("target", f"<target> has a <{child.tag}> that cannot be read"))
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
    for entry in (each for element in scope for rules in element.iterfind(where) for each in rules):
        name = _name(entry)
        if name and name not in _DEFAULT_RULES:
            remarks.add(entry, "is neither intrazone-default nor interzone-default; it is left out")
            continue
        if not name or entry.tag != "entry":
            remarks.add(entry, "is not an entry with a name; what it may override is a deny")
            found.update(dict.fromkeys([name] if name else _DEFAULT_RULES, "deny"))
            continue
        actions = [text(child) for child in entry.iterchildren("action")]
        if not actions and name not in found:
            # An override of the log setting or the tags alone leaves the action as it was.
            continue
        if (
            len(actions) != 1
            or actions[0] not in _ACTIONS
            or len(entry.findall("action/*"))
            or found.get(name, actions[0]) != actions[0]
        ):
            remarks.add(entry, "has no single action that is known; it is taken as a deny")
            actions = ["deny"]
        found[name] = actions[0]
    return tuple(sorted(found.items()))

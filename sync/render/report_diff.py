"""Render what changed for every rule and group between two configurations: text, Markdown, JSON.

Names come from configurations that others write: control characters never reach a terminal, and
nothing in them is Markdown.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sync.net.addresses import AddressSet
from sync.plan.origin import Origin
from sync.queries.group_changes import GroupChange, ZoneChange
from sync.queries.report_diff import FieldChange, ReportDiff, RuleChange
from sync.render import flows
from sync.render.report import group_document, rule_document
from sync.render.why import because, taken, takers
from sync.render.zones import device_group, zone_document
from sync.text import markdown_escaped, printable
from sync.translate.fidelity import RuleFidelity, Shadow

_SIGNS: Final = {"added": "+", "removed": "-", "changed": "~"}
_COLORS: Final = {"+": "\x1b[32m", "~": "\x1b[33m", "-": "\x1b[31m"}
_RESET: Final = "\x1b[0m"
_ITEMS: Final = 6  # of a list
_OF_A_ZONE: Final = ("label_value", "workloads", "networks", "origin", "by_pod_label")


def text(found: ReportDiff, *, verbose: bool = False, color: bool = False) -> str:
    """Render for a terminal, all flows with `verbose`; ends with a line break."""
    lines = [f"Cluster {found.cluster}: {_summary(found)}", *_origins(found)]
    for title, rows in _sections(found):
        lines += ["", title, *(f"  {row}" for row in rows)]
    said = "".join(f"{_colored(printable(line)) if color else printable(line)}\n" for line in lines)
    return said + flows.text(found.flows, every=verbose, color=color)


def markdown(found: ReportDiff, *, verbose: bool = False) -> str:
    """Render as Markdown; ends with a line break."""
    lines = [f"## {markdown_escaped(found.cluster)}", "", f"**{_summary(found)}**"]
    for line in _origins(found):
        lines += ["", markdown_escaped(line)]
    for title, some in _sections(found):
        rows = [printable(row) for row in some]
        fence = "`" * max(3, 1 + max(row.count("`") for row in rows))
        lines += ["", f"### {markdown_escaped(title)}", "", f"{fence}diff", *rows, fence]
    return "\n".join([*lines, ""]) + flows.markdown(found.flows, every=verbose)


def document(found: ReportDiff) -> dict[str, Any]:
    """What changed in one cluster for `--output json`."""
    return {
        "cluster": found.cluster,
        "from": [_origin_document(each) for each in found.before],
        "to": [_origin_document(each) for each in found.after],
        "rules": [_rule_document(found.cluster, each) for each in found.rules],
        "unchanged": found.unchanged,
        "defaults": [
            {"target": target, "name": name, "before": before, "after": after}
            for target, name, before, after in found.defaults
        ],
        "groups": [_group_document(each) for each in found.groups],
        "zones": [
            {
                "change": each.change,
                "before": zone_document(each.before) if each.before else None,
                "after": zone_document(each.after) if each.after else None,
            }
            for each in found.zones
        ],
        "flows": flows.document(found.flows),
    }


def _summary(found: ReportDiff) -> str:
    counts = Counter(each.change for each in found.rules)
    parts = [f"{counts[each]} {each}" for each in ("added", "removed", "changed") if counts[each]]
    moved = sum(each.moved for each in found.rules)
    parts += [f"{moved} of these moved"] if moved else []
    parts += [f"{len(found.defaults)} defaults changed"] if found.defaults else []
    said = f"rules: {', '.join(parts) or 'no change'}; {found.unchanged} unchanged"
    for what, changes in (("groups", found.groups), ("zones", found.zones)):
        some = Counter(each.change for each in changes)
        listed = [f"{some[each]} {each}" for each in ("added", "removed", "changed") if some[each]]
        said += f"; {what}: {', '.join(listed)}" if listed else ""
    return f"{said}."


def _origins(found: ReportDiff) -> Iterator[str]:
    before = {each.source: each for each in found.before}
    for each in found.after:
        old = before.get(each.source)
        if old:
            yield f"From source {each.source}, version {old.version}, to version {each.version}."


def _sections(found: ReportDiff) -> Iterator[tuple[str, list[str]]]:
    by_target: dict[str, list[RuleChange]] = {}
    for each in found.rules:
        shown = _either(each)
        by_target.setdefault(f"{shown.source}/{shown.target}", []).append(each)
    for target, some in by_target.items():
        yield f"Rules of device group {target}", [row for each in some for row in _rows(each)]
    if found.defaults:
        yield (
            "Default rules",
            [f"~ {target} {name}: {old} → {new}" for target, name, old, new in found.defaults],
        )
    if found.groups:
        yield (
            "Address groups and external lists",
            [row for each in found.groups for row in _group_rows(each)],
        )
    if found.zones:
        yield "Zones", [row for each in found.zones for row in _zone_rows(each)]


def _group_rows(change: GroupChange) -> Iterator[str]:
    """The group with the addresses that it gained and lost, and what else became of it."""
    nets = f"{_nets('+', change.added)}{_nets('−', change.removed)}".rstrip()
    yield f"{_SIGNS[change.change]} {change.name!r}{f' holds {nets}' if nets else ''}"
    old, new = change.before, change.after
    if new and (old is None or (old.status, old.reasons) != (new.status, new.reasons)):
        was = f"{old.status} → " if old and old.status != new.status else ""
        said = f": {because(new)}" if new.reasons else ""
        if old or said:
            yield f"    {was}{new.status}{said}"


def _zone_rows(change: ZoneChange) -> Iterator[str]:
    """The zone, and what is different in it."""
    old, new = change
    shown = new or old
    assert shown is not None, "it is on one side at least"
    yield f"{_SIGNS[change.change]} {shown.name!r} of device group {device_group(shown)}"
    if old is None or new is None:
        return
    before, after = zone_document(old), zone_document(new)
    for key in _OF_A_ZONE:
        one, other = before[key], after[key]
        if isinstance(one, list) and isinstance(other, list) and one != other:
            yield f"    {_field(FieldChange(key, tuple(one), tuple(other)))}"
        elif one != other:
            yield f"    {key.replace('_', ' ')}: {_known(one)} → {_known(other)}"


def _known(value: Any) -> str:
    """A value of a zone; its networks may be unknown."""
    if value is None:
        return "unknown"
    return (_listed("", value) or "none") if isinstance(value, list) else _value(value)


def _either(change: RuleChange) -> RuleFidelity:
    found = change.after or change.before
    assert found is not None, "a rule is on one side at least"
    return found


def _rows(change: RuleChange) -> Iterator[str]:
    """The rule's line, and one for each thing that changed."""
    shown = _either(change)
    verb = "allow" if shown.allow else "deny"
    sign = _SIGNS[change.change]
    calico = f"{len(shown.calico)} Calico rules"
    said = f"{sign} {_place(shown)} {shown.name!r}"
    if not (change.before and change.after):
        yield f"{said} ({verb}, {shown.status}, {calico}){_why(shown)}"
        return
    yield said
    yield from (f"    {each}" for each in _details(change, change.before, change.after))


def _details(change: RuleChange, old: RuleFidelity, new: RuleFidelity) -> Iterator[str]:
    if change.moved:
        yield f"moved from {_place(old)}"
    for each in change.fields:
        yield _field(each)
    for name, gained, lost in change.members:
        yield f"{name!r} holds {_nets('+', gained)}{_nets('−', lost)}".rstrip()
    if old.status != new.status:
        yield f"{old.status} → {new.status}{_why(new)}"
    elif old.reasons != new.reasons:
        yield f"{new.status}, for other reasons{_why(new)}"
    if old.remedies != new.remedies and any(new.remedies):
        yield f"remedy: {'; '.join(dict.fromkeys(filter(None, new.remedies)))}"
    if old.nat != new.nat:
        yield f"NAT: {', '.join(old.nat) or 'none'} → {', '.join(new.nat) or 'none'}"
    if change.calico:
        one, other = len(old.calico), len(new.calico)
        yield f"Calico rules: {one} → {other}" if one != other else f"Calico rules: {one}, changed"
    if change.hidden:
        yield f"earlier rules here: {_takes(old.shadow, new.shadow)}"
    if change.firewall_hidden:
        yield f"earlier rules on the firewall: {_takes(old.firewall_shadow, new.firewall_shadow)}"


def _takes(old: Shadow | None, new: Shadow | None) -> str:
    """What earlier rules take of a rule, before and after."""
    before, after = (taken(each) for each in (old, new))
    if not (old and new and old.extent is new.extent and old.by and new.by):
        return f"{before} → {after}"
    # Which rules together take the same is a long list.
    one, other = takers(old), takers(new)
    come = [each for each in other if each not in one]
    gone = [each for each in one if each not in other]
    said = f"{_listed('+', come)} {_listed('−', gone)}".strip()
    return f"{after.partition(':')[0]} as before, by {said or 'others of the same names'}"


def _place(rule: RuleFidelity) -> str:
    return f"{rule.device_group} {rule.rulebase} {rule.position}"


def _why(rule: RuleFidelity) -> str:
    return f": {'; '.join(rule.reasons)}" if rule.reasons else ""


def _field(change: FieldChange) -> str:
    """One field: of a list of names those that came and went, else both values."""
    name = change.name.replace("_", " ")
    old, new = change.before, change.after
    if _names(old) and _names(new):
        come = [each for each in new if each not in old]
        gone = [each for each in old if each not in new]
        if come or gone:
            return f"{name}: {_listed('+', come)} {_listed('−', gone)}".replace(
                ":  ", ": "
            ).rstrip()
        return f"{name}: in another order"
    return f"{name}: {_value(old)} → {_value(new)}"


def _names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, str) for each in value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "none"


def _listed(sign: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - _ITEMS} more" if len(names) > _ITEMS else ""
    return " ".join(f"{sign}{each}" for each in names[:_ITEMS]) + more


def _nets(sign: str, addresses: AddressSet) -> str:
    return f"{_listed(sign, addresses.cidrs())} " if addresses else ""


def _origin_document(origin: Origin) -> dict[str, Any]:
    return {"source": origin.source, "version": origin.version}


def _rule_document(cluster: str, change: RuleChange) -> dict[str, Any]:
    return {
        "change": change.change,
        "moved": change.moved,
        "before": rule_document(cluster, change.before) if change.before else None,
        "after": rule_document(cluster, change.after) if change.after else None,
        "fields": [
            {"name": each.name, "before": _plain(each.before), "after": _plain(each.after)}
            for each in change.fields
        ],
        "members": [
            {"name": name, "added": gained.cidrs(), "removed": lost.cidrs()}
            for name, gained, lost in change.members
        ],
        "calico_changed": change.calico,
        "hidden_changed": change.hidden,
        "firewall_hidden_changed": change.firewall_hidden,
    }


def _group_document(change: GroupChange) -> dict[str, Any]:
    return {
        "change": change.change,
        "name": change.name,
        "added": change.added.cidrs(),
        "removed": change.removed.cidrs(),
        "before": group_document(change.before) if change.before else None,
        "after": group_document(change.after) if change.after else None,
    }


def _plain(value: Any) -> Any:
    """A value of a rule as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | bool | int | None) else str(value)


def _colored(line: str) -> str:
    color = _COLORS.get(line.strip()[:1]) if line.startswith("  ") else None
    return f"{color}{line}{_RESET}" if color else line

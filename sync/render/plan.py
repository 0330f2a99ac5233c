"""Render a plan as text, and the lines that Markdown shows too (`sync.render.markdown`).

Summary first, then one line an object; with `verbose` one line for each member, rule and label
that is added or removed. Names come from configurations that others write: control characters never
reach a terminal, and nothing in them is Markdown.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sync.calico.names import RULE_ANNOTATION
from sync.calico.objects import POLICIES
from sync.calico.references import DIRECTIONS, essence, mapping, rules
from sync.plan.changes import Action, Cause, Change
from sync.plan.plan import Origin, Plan
from sync.plan.precedence import Precedence
from sync.render import blockers, left_out
from sync.text import printable, shortened

_SIGNS = {Action.CREATE: "+", Action.UPDATE: "~", Action.DELETE: "-"}
_COLORS = {"+": "\x1b[32m", "~": "\x1b[33m", "-": "\x1b[31m", "!": "\x1b[31m"}
_RESET = "\x1b[0m"

_SHORT = ("defaultAction", "order")
_LONG = ("selector", "stagedAction", "tier", "types")
_ITEMS = 4  # of a list in a rule's line
_DIGEST = 12  # digits: enough to be unique, few enough to type


def text(plan: Plan, *, verbose: bool = False, color: bool = False) -> str:
    """Render the plan for a terminal; ends with a line break."""
    summary = f"Cluster {printable(heading(plan))}: {plan.summary}"
    lines = [summary, *map(printable, (*origins(plan), *not_pushed(plan)))]
    for title, rows in sections(plan, verbose=verbose, every=verbose):
        lines += ["", title, *(f"  {row}" for row in rows)]
    return "".join(f"{_colored(line) if color else line}\n" for line in lines)


def heading(plan: Plan) -> str:
    """The cluster, and whether its policies take effect."""
    return f"{plan.cluster} ({plan.mode})" if plan.mode else plan.cluster


def origins(plan: Plan) -> Iterator[str]:
    """A sentence for each source that the plan is made from."""
    before = {origin.source: origin for origin in plan.compared_with}
    for origin in plan.origins:
        old = before.get(origin.source)
        versions = f"{_version(old)}, to {_version(origin)}" if old else _version(origin)
        yield f"From source {origin.source}, {versions}."


def _version(origin: Origin) -> str:
    verb = "changed" if origin.pending else "committed"
    who = f", {verb} by {shortened(origin.administrators, ', ')}" if origin.administrators else ""
    return f"version {origin.version}{who}"


def not_pushed(plan: Plan) -> Iterator[str]:
    """A sentence for each device group that firewalls do not enforce yet."""
    for each in plan.not_pushed:
        yield f"Not enforced by every firewall yet: {each.clause}."


def sections(plan: Plan, *, verbose: bool, every: bool) -> Iterator[tuple[str, Iterable[str]]]:
    """The titles of a plan with their lines; with `every` also those beyond the first ones."""
    if plan.changes:
        yield "Changes", (row for change in plan.changes for row in _rows(change, verbose=verbose))
    if plan.unordered:
        yield (
            "Allowed for a moment while this is written",
            (_unordered(each) for each in plan.unordered),
        )
    if plan.drift:
        title = "Drift: changed by someone else and left; what a repair would do"
        yield title, (row for change in plan.drift for row in _rows(change, verbose=verbose))
    if plan.blockers:
        yield "Blocked", _blocked(plan)
    if plan.waiting:
        yield "Waits for what is blocked; the rest is written", map(_waiting, plan.waiting)
    if plan.let_through:
        yield (
            "Let through by an approval" if plan.changes else "Stands in spite of a guard",
            blockers.rows(plan.let_through),
        )
    yield from left_out.sections(plan, every=every)
    if plan.warnings:
        yield "Warnings", (printable(f"! {each}") for each in plan.warnings)


def _unordered(each: Precedence) -> str:
    (_, denies, zone), (_, passes, other) = each.first, each.then
    return printable(
        f"! {each.flow}: tier {denies} begins to deny it (zone {zone}) and tier {passes} ceases to "
        f"(zone {other}), and each would have to be written before the other; stage the two tiers' "
        "changes in two commits to avoid it"
    )


def _waiting(waits: tuple[Change, str]) -> str:
    change, why = waits
    return printable(f"! {change.kind} {change.name}: {why}")


def _blocked(plan: Plan) -> Iterator[str]:
    yield from blockers.rows(plan.blockers)
    # A comparison is not a plan that a sync could write.
    if plan.approvable and not plan.compared_with:
        yield (
            f"! `zonebridge approve {plan.digest[:_DIGEST]}` lets exactly this plan through, once "
            "a sync has met it"
        )


def _rows(change: Change, *, verbose: bool) -> Iterator[str]:
    before = change.before.document() if change.before else {}
    after = change.after.document() if change.after else {}
    update = change.action is Action.UPDATE
    if change.kind in POLICIES:
        parts = _moved_rules(before, after) if update else [_counted_rules(after or before)]
    elif change.kind == "Tier":
        parts = [] if update else [f"order {mapping(after or before, 'spec').get('order')}"]
    else:
        parts = (
            _moved_nets(change)
            if update
            else [_counted(len(change.sides[-1].contents.nets), "net")]
        )
    if update:
        parts += _moved_fields(before, after)
        if before.get("metadata") != after.get("metadata"):
            parts.append("labels or annotations")
    parts = parts or ["other fields"]
    if change.cause is Cause.DRIFT:
        parts.append(f"drift by {change.changed_by}" if change.changed_by else "drift")
    sign = _SIGNS[change.action]
    yield printable(f"{sign} {change.kind} {change.name} ({', '.join(parts)})")
    if verbose:
        yield from _net_rows(change)
        if change.kind in POLICIES:
            yield from _rule_rows(before, after)
        yield from _metadata_rows(before, after)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _nets(change: Change) -> tuple[Sequence[str], Sequence[str]]:
    """The nets of a set before and after."""
    old, new = (side.contents.nets if side else () for side in (change.before, change.after))
    return old, new


def _moved_nets(change: Change) -> list[str]:
    old, new = _nets(change)
    gone, come = set(old), set(new)
    return [f"+{len(come - gone)} -{len(gone - come)} nets"] if come != gone else []


def _counted_rules(document: Mapping[str, Any]) -> str:
    ingress, egress = (len(rules(document, direction)) for direction in DIRECTIONS)
    return f"{ingress} ingress, {_counted(egress, 'egress rule')}"


def _moved_rules(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    come = gone = 0
    moved = False
    for direction in DIRECTIONS:
        old, new = [[*map(essence, rules(side, direction))] for side in (before, after)]
        come += (Counter(new) - Counter(old)).total()
        gone += (Counter(old) - Counter(new)).total()
        moved = moved or (old != new and Counter(old) == Counter(new))
    parts = [f"+{come} -{gone} rules"] if come or gone else []
    return [*parts, "rules in another order"] if moved else parts


def _moved_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The fields of two specs that differ, except nets and rules; short ones with values."""
    old, new = mapping(before, "spec"), mapping(after, "spec")
    moved = [
        key
        for key in sorted(old.keys() | new.keys())
        if key not in ("nets", *DIRECTIONS) and old.get(key) != new.get(key)
    ]
    parts = [
        f"{key} {_shown(old.get(key))} -> {_shown(new.get(key))}" if key in _SHORT else key
        for key in moved
        if key in (*_SHORT, *_LONG)
    ]
    return [*parts, "other fields"] if len(parts) < len(moved) else parts


def _net_rows(change: Change) -> Iterator[str]:
    old, new = _nets(change)
    gone, come = set(old), set(new)
    # Sets keep nets in canonical order, which is not the order of their text.
    for net in (*old, *(net for net in new if net not in gone)):
        if (net in come) != (net in gone):
            yield printable(f"{'+' if net in come else '-'}     {net}")


def _rule_rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The removed rules, then the added ones, each with its position in its direction."""
    for direction in DIRECTIONS:
        old, new = [[*map(essence, rules(side, direction))] for side in (before, after)]
        for sign, document, essences, left in (
            ("-", before, old, Counter(old) - Counter(new)),
            ("+", after, new, Counter(new) - Counter(old)),
        ):
            for place, (rule, said) in enumerate(
                zip(rules(document, direction), essences, strict=True)
            ):
                if left[said]:
                    left[said] -= 1
                    yield printable(f"{sign}     {direction} {place}: {_rule(rule)}")


def _rule(rule: Mapping[str, Any]) -> str:
    """A rule on one line: its action, its flows, and the firewall's rule that it came from."""
    if not isinstance(rule, dict):
        return _shown(rule)
    icmp = mapping(rule, "icmp")
    parts = [
        str(rule.get("action")),
        f"IPv{rule['ipVersion']}" if "ipVersion" in rule else "",
        str(rule.get("protocol", "")),
        " ".join(f"{key} {icmp[key]}" for key in ("type", "code") if key in icmp),
        *(
            f"{word} {said}"
            for word, end in (("from", "source"), ("to", "destination"))
            if (said := _end(mapping(rule, end)))
        ),
    ]
    name = mapping(rule, "metadata", "annotations").get(RULE_ANNOTATION)
    return " ".join(part for part in parts if part) + (f"  # {name}" if name else "")


def _end(entity: Mapping[str, Any]) -> str:
    """One end of a rule's flows; "" for any."""
    words = {"notSelector": "not ", "notNets": "not ", "ports": "ports ", "notPorts": "not ports "}
    return ", ".join(
        f"{words.get(key, '')}{_shown(entity[key])}"
        for key in ("selector", "notSelector", "nets", "notNets", "ports", "notPorts")
        if key in entity
    )


def _shown(value: Any) -> str:
    """A value on one line; of a list, only the first items."""
    if not isinstance(value, list):
        return "none" if value is None else str(value)
    more = f" and {len(value) - _ITEMS} more" if len(value) > _ITEMS else ""
    return " ".join(map(str, value[:_ITEMS])) + more


def _metadata_rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for part in ("labels", "annotations"):
        old = before.get("metadata", {}).get(part, {})
        new = after.get("metadata", {}).get(part, {})
        for key in sorted(old.keys() | new.keys()):
            if key in old and old.get(key) != new.get(key):
                yield printable(f"-     {part}: {key}={old[key]}")
            if key in new and old.get(key) != new.get(key):
                yield printable(f"+     {part}: {key}={new[key]}")


def _colored(line: str) -> str:
    color = _COLORS.get(line.strip()[:1]) if line.startswith("  ") else None
    return f"{color}{line}{_RESET}" if color else line

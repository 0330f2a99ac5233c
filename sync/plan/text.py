"""A plan as text for people, and as Markdown for merge requests.

Summary first and last, one line an object; with `verbose` one line for each member and label that
comes or goes. Names come from configurations that others write: control characters never reach a
terminal, and nothing in them is Markdown.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sync.plan.changes import Action, Cause, Change, nets
from sync.plan.plan import Plan

_SIGNS = {Action.CREATE: "+", Action.UPDATE: "~", Action.DELETE: "-"}
_COLORS = {"+": "\x1b[32m", "~": "\x1b[33m", "-": "\x1b[31m", "!": "\x1b[31m"}
_RESET = "\x1b[0m"


def text(plan: Plan, *, verbose: bool = False, color: bool = False) -> str:
    """The plan for a terminal; ends with a line break."""
    summary = f"Cluster {printable(plan.cluster)}: {summarise(plan)}"
    lines = [summary]
    for origin in plan.origins:
        who = f", committed by {', '.join(origin.administrators)}" if origin.administrators else ""
        lines.append(printable(f"From source {origin.source}, version {origin.version}{who}."))
    for title, rows in _sections(plan, verbose=verbose):
        lines += ["", title, *(f"  {row}" for row in rows)]
    if plan.changes or plan.blockers or plan.left_out or plan.drift:
        lines += ["", summary]
    return "".join(f"{_colored(line) if color else line}\n" for line in lines)


def markdown(plan: Plan, *, verbose: bool = False) -> str:
    """The plan as Markdown; ends with a line break."""
    lines = [f"## {_escaped(plan.cluster)}", "", f"**{summarise(plan)}**"]
    for title, rows in _sections(plan, verbose=verbose):
        # Lines that begin with a sign are coloured as a diff; a fence longer than any in the rows
        # cannot be closed from within.
        shown = list(rows)
        fence = "`" * max(3, 1 + max(row.count("`") for row in shown))
        lines += ["", f"### {title}", "", f"{fence}diff", *shown, fence]
    return "\n".join([*lines, "", f"Plan digest `{plan.digest}`", ""])


def summarise(plan: Plan) -> str:
    """One sentence with every number of a plan."""
    create, update, delete = (plan.count(action) for action in Action)
    changes = f"{create} to create, {update} to update, {delete} to delete"
    parts = [changes if plan.changes else "no changes", f"{plan.unchanged} unchanged"]
    if plan.adopted:
        parts.append(f"{len(plan.adopted)} of them made by another hand")
    if plan.drift:
        parts.append(f"{len(plan.drift)} changed by another hand and left as they are")
    if plan.left_out:
        parts.append(f"{len(plan.left_out)} left out")
    if plan.blockers:
        parts.append(f"BLOCKED by {len(plan.blockers)}")
    return "; ".join(parts) + "."


def printable(value: str) -> str:
    """A text without anything a terminal would obey."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in value
    )


def _sections(plan: Plan, *, verbose: bool) -> Iterator[tuple[str, Iterator[str]]]:
    if plan.changes:
        yield "Changes", (row for change in plan.changes for row in _rows(change, verbose=verbose))
    if plan.drift:
        title = "Drift: changed by another hand and left; what a repair would do"
        yield title, (row for change in plan.drift for row in _rows(change, verbose=verbose))
    if plan.blockers:
        yield (
            "Blocked",
            (printable(f"! {each.guard}: {each.message}") for each in plan.blockers),
        )
    if plan.left_out:
        yield (
            "Left out",
            (printable(f"! {each.subject}: {each.reason}") for each in plan.left_out),
        )


def _rows(change: Change, *, verbose: bool) -> Iterator[str]:
    before = change.before.document() if change.before else {}
    after = change.after.document() if change.after else {}
    gone, come = set(nets(change.before)), set(nets(change.after))
    if change.action is Action.UPDATE:
        size = ", ".join(
            part
            for part in (
                f"+{len(come - gone)} -{len(gone - come)} nets" if come != gone else "",
                "labels or annotations" if before.get("metadata") != after.get("metadata") else "",
            )
            if part
        )
    else:
        size = "1 net" if len(come or gone) == 1 else f"{len(come or gone)} nets"
    drift = ", drift" if change.cause is Cause.DRIFT else ""
    if change.changed_by:
        drift += f" by {change.changed_by}"
    yield printable(
        f"{_SIGNS[change.action]} {change.kind} {change.name} ({size or 'other fields'}{drift})"
    )
    if verbose:
        # The sets keep the canonical order of nets, which is not that of their texts.
        for net in (*nets(change.before), *(net for net in nets(change.after) if net not in gone)):
            if (net in come) != (net in gone):
                yield printable(f"{'+' if net in come else '-'}     {net}")
        yield from _metadata_rows(before, after)


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


def _escaped(value: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(
        f"\\{each}" if each in r"\`*_{}[]()#+-.!|<>&" else each for each in printable(value)
    )

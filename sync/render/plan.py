"""Render a plan as text, and as Markdown for merge requests.

Summary first and last, one line an object (`sync.render.changes`). Names come from configurations
that others write: control characters never reach a terminal, and nothing in them is Markdown.
"""

from collections.abc import Iterator
from uuid import UUID

from sync.calico.names import STORE
from sync.plan.changes import Change
from sync.plan.plan import Origin, Plan
from sync.plan.precedence import Precedence
from sync.render.changes import change_rows, zone_rows
from sync.text import markdown_escaped, printable, shortened

_COLORS = {"+": "\x1b[32m", "~": "\x1b[33m", "-": "\x1b[31m", "!": "\x1b[31m"}
_RESET = "\x1b[0m"

_NO_STORE = str(UUID(int=0))  # the store's label where there is no store
_DIGEST = 12  # digits: enough to be unique, few enough to type


def text(plan: Plan, *, verbose: bool = False, color: bool = False) -> str:
    """Render the plan for a terminal; ends with a line break."""
    summary = f"Cluster {printable(plan.cluster)}: {plan.summary}"
    lines = [summary, *map(printable, (*_origins(plan), *_not_pushed(plan)))]
    for title, rows in _sections(plan, verbose=verbose):
        lines += ["", title, *(f"  {row}" for row in rows)]
    if digest := _digest(plan):
        lines += ["", digest]
    if plan.changes or plan.blockers or plan.left_out or plan.drift or plan.warnings:
        lines += ["", summary]
    return "".join(f"{_colored(line) if color else line}\n" for line in lines)


def markdown(plan: Plan, *, verbose: bool = False) -> str:
    """Render the plan as Markdown; ends with a line break."""
    lines = [f"## {markdown_escaped(plan.cluster)}", "", f"**{plan.summary}**"]
    for line in (*_origins(plan), *_not_pushed(plan)):
        lines += ["", markdown_escaped(line)]
    for title, rows in _sections(plan, verbose=verbose):
        # Lines that begin with a sign are coloured as a diff; a fence longer than any in the rows
        # cannot be closed from within.
        shown = list(rows)
        fence = "`" * max(3, 1 + max(row.count("`") for row in shown))
        lines += ["", f"### {title}", "", f"{fence}diff", *shown, fence]
    return "\n".join([*lines, "", f"Plan digest `{plan.digest}`", ""])


def _origins(plan: Plan) -> Iterator[str]:
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


def _digest(plan: Plan) -> str:
    """How exactly this plan is written, if it changes anything and a sync could write it."""
    if not plan.changes or plan.compared_with:
        return ""
    labels = {
        label for change in plan.changes for side in change.sides for label in side.contents.labels
    }
    if (STORE, _NO_STORE) in labels:
        return (
            "Plan digest: none yet, since objects name their store, and there is none; `zonebridge "
            "db upgrade` makes it."
        )
    return f"Plan digest {plan.digest}: `zonebridge sync --plan` with it writes exactly this plan."


def _not_pushed(plan: Plan) -> Iterator[str]:
    for each in plan.not_pushed:
        yield f"Not enforced by every firewall yet: {each.clause}."


def _sections(plan: Plan, *, verbose: bool) -> Iterator[tuple[str, Iterator[str]]]:
    if plan.changes:
        yield "Changes", change_rows(plan.changes, plan, verbose=verbose)
        if zones := [*zone_rows(plan.changes, verbose=verbose)]:
            yield "Zones whose rules move to other policies; what changes in them", iter(zones)
    if plan.unordered:
        yield (
            "Allowed for a moment while this is written",
            (_unordered(each) for each in plan.unordered),
        )
    if plan.drift:
        title = "Drift: changed by someone else and left; what a repair would do"
        yield title, change_rows(plan.drift, plan, verbose=verbose)
    if plan.blockers:
        yield "Blocked", _blocked(plan)
    if plan.waiting:
        yield "Waits for what is blocked; the rest is written", map(_waiting, plan.waiting)
    if plan.let_through:
        yield (
            "Let through by an approval" if plan.changes else "Stands in spite of a guard",
            (printable(f"! {each.guard}: {each.message}") for each in plan.let_through),
        )
    if plan.left_out:
        yield (
            "Left out",
            (printable(f"! {each.subject}: {each.reason}") for each in plan.left_out),
        )
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
    for each in plan.blockers:
        yield printable(f"! {each.guard}: {each.message}")
    # A comparison is not a plan that a sync could write.
    if plan.approvable and not plan.compared_with:
        yield (
            f"! `zonebridge approve {plan.digest[:_DIGEST]}` lets exactly this plan through, once "
            "a sync has met it"
        )


def _colored(line: str) -> str:
    color = _COLORS.get(line.strip()[:1]) if line.startswith("  ") else None
    return f"{color}{line}{_RESET}" if color else line

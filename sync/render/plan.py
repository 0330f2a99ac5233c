"""Render a plan as text, and the lines that Markdown shows too (`sync.render.markdown`).

Summary first, then one line an object (`sync.render.changes`). Names come from configurations that
others write: control characters never reach a terminal, and nothing in them is Markdown.
"""

from collections.abc import Iterable, Iterator
from uuid import UUID

from sync.calico.names import STORE
from sync.plan.changes import Change
from sync.plan.origin import Origin
from sync.plan.plan import Plan
from sync.plan.precedence import Precedence
from sync.render import blockers, left_out
from sync.render.changes import change_rows, zone_rows
from sync.text import printable, shortened

_COLORS = {"+": "\x1b[32m", "~": "\x1b[33m", "-": "\x1b[31m", "!": "\x1b[31m"}
_RESET = "\x1b[0m"

_NO_STORE = str(UUID(int=0))  # the store's label where there is no store
_DIGEST = 12  # digits: enough to be unique, few enough to type


def text(plan: Plan, *, verbose: bool = False, color: bool = False) -> str:
    """Render the plan for a terminal; ends with a line break."""
    summary = f"Cluster {printable(heading(plan))}: {plan.summary}"
    lines = [summary, *map(printable, (*origins(plan), *not_pushed(plan)))]
    for title, rows in sections(plan, verbose=verbose, every=verbose):
        lines += ["", title, *(f"  {row}" for row in rows)]
    if digest := _digest(plan):
        lines += ["", digest]
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


def not_pushed(plan: Plan) -> Iterator[str]:
    """A sentence for each device group that firewalls do not enforce yet."""
    for each in plan.not_pushed:
        yield f"Not enforced by every firewall yet: {each.clause}."


def sections(plan: Plan, *, verbose: bool, every: bool) -> Iterator[tuple[str, Iterable[str]]]:
    """The titles of a plan with their lines; with `every` also those beyond the first ones."""
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


def _colored(line: str) -> str:
    color = _COLORS.get(line.strip()[:1]) if line.startswith("  ") else None
    return f"{color}{line}{_RESET}" if color else line

"""Render what is not in a cluster as the firewall has it: each kind by its name, and what is new.

What was left out before is counted in the summary of the plan, and listed by the report.
"""

from collections.abc import Iterator, Sequence

from sync.plan.omission import LeftOut, Omission, counts
from sync.plan.plan import Plan
from sync.text import counted, printable

_TITLES = {
    Omission.SMALLER: "Written smaller than the firewall has it",
    Omission.WIDER: "Denies written wider than the firewall has them",
    Omission.LEFT_OUT: "Left out",
    Omission.MORE_PERMISSIVE: "More permissive than the firewall, as the configuration accepts",
    Omission.NOT_ENFORCED: "Not enforced: rules of no pod or network here",
    Omission.UNREADABLE: "Unreadable, and unknown wherever it is used",
    Omission.UNKNOWN_ZONE: "Pods whose zone label names no zone",
    Omission.UNSEEN: "Not seen by guards",
    Omission.LATER: "Left to the next plan",
}
_NAMED = 3  # subjects with one reason
_LISTED = 10  # lines of one kind, unless all are asked for


def sections(plan: Plan, *, every: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield a title and lines for each kind of which something is new, or can be repaired now.

    With `every` all lines are there. Rules are listed only if they are new since a state that is
    known: at first the report is the place to read them.
    """
    total = counts(plan.left_out, plan.rules)
    for kind in _TITLES:
        parts, rules = (
            [each for each in some if each.kind is kind and (plan.is_new(each) or not kind.lasting)]
            for some in (plan.left_out, () if plan.known is None else plan.rules)
        )
        if parts or rules:
            shown = counts(parts, rules)[kind]
            yield _title(plan, kind, shown, total[kind]), _rows([*parts, *rules], every=every)


def _title(plan: Plan, kind: Omission, shown: int, total: int) -> str:
    if plan.known is None and total > shown:
        rules = counted(total - shown, "rule")
        return f"{_TITLES[kind]} ({total:,}; {rules}: see `zonebridge report`)"
    if plan.known is None or not kind.lasting:
        return f"{_TITLES[kind]} ({shown:,})"
    return f"{_TITLES[kind]} ({shown:,} new of {total:,})"


def _rows(parts: Sequence[LeftOut], *, every: bool) -> list[str]:
    """A line for each reason, with the subjects that have it."""
    subjects: dict[str, list[str]] = {}
    for each in parts:
        subjects.setdefault(each.reason, []).append(each.subject)
    rows = [printable(f"! {_named(some)}: {reason}") for reason, some in subjects.items()]
    if every or len(rows) <= _LISTED:
        return rows
    more = len(rows) - _LISTED
    return [*rows[:_LISTED], f"! … and {more:,} more lines: --verbose, or `zonebridge report`"]


def _named(subjects: Sequence[str]) -> str:
    # Two would read no shorter as a count.
    if len(subjects) <= _NAMED + 1:
        return ", ".join(subjects)
    return f"{', '.join(subjects[:_NAMED])} and {len(subjects) - _NAMED:,} more"

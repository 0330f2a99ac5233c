"""The exit codes: an interface for pipelines, listed in docs/commands.md.

A failure has the exit code of its error (`sync.errors`); the others are here.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Every command needs the codes; few need the modules of a sync, which take long to import.
    from sync.reconcile.result import Result

DONE = 0
INTERNAL = 1
CHANGES = 2
BLOCKED = 3
NOT_WRITTEN = 5
UNPROVEN = 6
INTERRUPTED = 130

# Where several apply, the first wins.
FAILURES = (8, 64, 4, 6, 3, 5, 7, 1, 2)


def of_sync(results: Sequence["Result"], *, detailed: bool) -> int:
    """Return the exit code for the results of all clusters; `detailed` counts changes too."""
    codes = {DONE}
    for result in results:
        if result.error:
            codes.add(result.error.exit_code)
        if result.failed:
            codes.add(NOT_WRITTEN)
        if result.plan and result.plan.blockers:
            guards = {each.guard for each in result.plan.blockers}
            codes.add(UNPROVEN if "verification" in guards else BLOCKED)
        if detailed and result.plan and (result.plan.changes or result.plan.drift):
            codes.add(CHANGES)
    return first_code(codes)


def first_code(codes: Collection[int]) -> int:
    """Return the exit code where several apply."""
    return next((code for code in FAILURES if code in codes), DONE)


def of_looking(results: Sequence["Result"]) -> int:
    """Return the exit code of a read-only command, for which a blocked plan is no failure."""
    return of_sync([replace(result, plan=None) for result in results], detailed=False)


def of_signal(number: int) -> int:
    """Return the exit code that shells give a process ended by a signal."""
    return 128 + number

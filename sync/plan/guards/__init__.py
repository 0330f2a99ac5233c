"""What can stop a plan. Each guard has a name, and its message names the remedy.

    foreign-object     an object of someone else is in the place of a desired one         never
    referenced-set     a policy would still select a set that is removed                  never
    foreign-policy     a policy of someone else is in a tier of ours                      approvable
    foreign-set        a selector of ours selects a set of someone else                   approvable
    live-tier          a tier would move, or be left to policies of others that allow     approvable
    taken-over         taking over policies or sets of others may open what they deny     approvable
    empty-source       the source of a tier, or its rules, are gone, or belong elsewhere  approvable
    essentials         pods would lose DNS or the API server to their first policies      approvable
    verification       the desired policies do not give the firewall's verdicts           never
    report-mismatch    they do, but the report calls an inexact rule exact                approvable
    undecided          whether they do is unknown                                         approvable

An operator approves one plan: `zonebridge approve DIGEST`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_SHOWN = 5  # names in one message


@dataclass(frozen=True, slots=True)
class Blocker:
    """A guard that blocks a plan; an approval can let it through if it is `approvable`.

    `covers` names what the approval is about: it lets nothing else through. `subject` is the object
    that the message names, if it is about a single one.
    """

    guard: str
    message: str
    approvable: bool
    covers: str = ""
    subject: str = ""


class ObservedObject(Protocol):
    """An object as a cluster holds it; `foreign_because` is "" where it is ours."""

    @property
    def document(self) -> Mapping[str, Any]: ...

    @property
    def foreign_because(self) -> str: ...


def counted(names: Sequence[str], one: str, many: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else many}"


def listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

"""What can stop a plan. Each guard has a name, and its message says what to do.

    foreign-object     an object of someone else is in the place of a desired one         never
    referenced-set     a policy would still select a set that is removed                  never
    foreign-policy     a policy of someone else is in a tier of ours                      approvable
    foreign-set        a selector of ours selects a set of someone else                   approvable
    live-tier          a tier would end or stand otherwise under policies of others       approvable
    empty-source       what a tier is made from holds nothing any more, or is elsewhere  approvable
    essentials         pods would lose DNS or the API server, as rules first come to them approvable
    verification       what would be written does not give the firewall's verdicts        never
    report-mismatch    it does, but of some rule the report says more than is true       approvable
    undecided          whether it does is unknown                                         approvable

What an approval may let through is said once for each plan: `zonebridge approve DIGEST`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_SHOWN = 5  # names in one message


@dataclass(frozen=True, slots=True)
class Blocker:
    """A guard that holds a plan back; `approvable` says whether an approval can let it through.

    `covers` names what an approval has seen: it lets nothing else through.
    """

    guard: str
    message: str
    approvable: bool
    covers: str = ""


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

"""Why a rule is not what it is on the firewall, in words: reasons, remedies, rules that hide it.

And what a report says first: rules that can never match, and device groups that enforce nothing.
Names come from configurations that others write: who prints a sentence escapes it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sync.text import counted
from sync.translate.fidelity import (
    Extent,
    GroupFidelity,
    Report,
    RuleFidelity,
    Shadow,
    Taker,
)

_NAMED: Final = 5  # rules in one sentence


def headlines(report: Report) -> list[str]:
    """The sentences before everything else, without a full stop; none if there is nothing to say.

    `0 zones: no rule of EMEA-DC-PROD is enforced`; `2 allow rules can never match here: a, b`.
    """
    found = [
        f"0 zones: no rule of {each.target} is enforced"
        for each in report.device_groups
        if not each.zones
    ]
    for allow, what in ((True, "allow rule"), (False, "deny rule")):
        names = [each.name for each in report.rules if each.allow == allow and never_matches(each)]
        if names:
            found.append(f"{counted(len(names), what)} can never match here: {_some(names)}")
    return found


def never_matches(rule: RuleFidelity) -> bool:
    """Whether no flow reaches the Calico rules of a rule."""
    return rule.shadow is not None and rule.shadow.extent is Extent.WHOLE


def why(rule: RuleFidelity) -> str:
    """Every clause about a rule: what it loses and what to do about it, and what hides it."""
    return "; ".join([*_reasons(rule), *hidden(rule)])


def because(group: GroupFidelity) -> str:
    """Every clause about an address group, each with what to do about it."""
    return "; ".join(_reasons(group))


def _reasons(found: RuleFidelity | GroupFidelity) -> Iterator[str]:
    remedies = found.remedies or ("",) * len(found.reasons)
    for reason, remedy in zip(found.reasons, remedies, strict=True):
        yield f"{reason} (remedy: {remedy})" if remedy else reason


def hidden(rule: RuleFidelity) -> Iterator[str]:
    """A clause for each way in which earlier rules hide a rule."""
    for shadow, where in ((rule.shadow, "here"), (rule.firewall_shadow, "on the firewall")):
        if shadow and shadow.extent is Extent.WHOLE:
            such = f"all that it matches is taken by {_takers(shadow.by)}{_such(shadow)}"
            yield f"it never matches {where}: {such if shadow.by else shadow.because}"
    if rule.shadow and rule.shadow.extent is Extent.UNKNOWN:
        yield f"whether earlier rules hide it is unknown: {rule.shadow.because}"
    if rule.shadow and rule.shadow.extent is Extent.PART:
        # What an earlier rule decides the same way is no loss.
        others = [each for each in rule.shadow.by if each.allow != rule.allow]
        if others:
            yield f"a part of it is taken by {_takers(others)}{_such(rule.shadow)}"


def _such(shadow: Shadow) -> str:
    return f", such as {shadow.flow}" if shadow.flow else ""


def _takers(by: Sequence[Taker]) -> str:
    return _some([f"{each.name!r}{' (widened)' if each.widened else ''}" for each in by])


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def shadow_document(shadow: Shadow | None) -> dict[str, Any] | None:
    """A shadow for `--output json`; null where it is None."""
    if shadow is None:
        return None
    return {
        "extent": str(shadow.extent),
        "by": [_taker_document(each) for each in shadow.by],
        "flow": shadow.flow,
        "because": shadow.because,
        "more": shadow.more,
    }


def _taker_document(taker: Taker) -> dict[str, Any]:
    place = taker.place
    return {
        "name": taker.name,
        "device_group": place[2] if place else None,
        "rulebase": place[3] if place else None,
        "position": place[4] if place else None,
        "allow": taker.allow,
        "widened": taker.widened,
    }

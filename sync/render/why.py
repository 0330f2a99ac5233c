"""Why a rule is not what it is on the firewall, in words: reasons, remedies, rules that hide it.

And what a report says first: rules that can never match, and device groups that enforce nothing.
Names come from configurations that others write: who prints a sentence escapes it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sync.firewall.reasons import Reason
from sync.text import counted
from sync.translate.fidelity import (
    Extent,
    GroupFidelity,
    Report,
    RuleFidelity,
    Shadow,
    Taker,
)
from sync.translate.remedies import REMEDIES

_NAMED: Final = 5  # rules in one sentence
_EXTENTS: Final = {Extent.WHOLE: "take all of it", Extent.PART: "take a part of it"}
_LONGEST: Final = 100  # letters of a name in one, with what is said of it


def headlines(report: Report) -> list[str]:
    """The sentences before everything else, without a full stop; none if there is nothing to say.

    `0 zones: no rule of EMEA-DC-PROD is enforced`; `2 allow rules can never match here: a, b`.
    """
    found = [
        f"0 zones: no rule of {_clipped(each.target)} is enforced"
        for each in report.device_groups
        if not each.zones
    ]
    found += (
        f"{_clipped(each.target)} is staged: its policies decide nothing yet"
        for each in report.device_groups
        if each.mode == "staged"
    )
    for allow, what in ((True, "allow rule"), (False, "deny rule")):
        hidden = [each for each in _of_extent(report, Extent.WHOLE) if each.allow == allow]
        if hidden:
            names = _some([each.name for each in hidden])
            said = f"{counted(len(hidden), what)} can never match here: {names}"
            found.append(f"{said}{_culprit(hidden)}")
    if empty := [each.name for each in _of_extent(report, Extent.EMPTY)]:
        verb = "has" if len(empty) == 1 else "have"
        found.append(f"{counted(len(empty), 'rule')} {verb} no flow of a pod here: {_some(empty)}")
    return found


def _culprit(hidden: Sequence[RuleFidelity]) -> str:
    """The one rule that hides most of some rules by itself, or ""."""
    alone = Counter(each.shadow.by for each in hidden if each.shadow and len(each.shadow.by) == 1)
    for (taker,), number in alone.most_common(1):
        if number > 1 and 2 * number > len(hidden):
            how_many = "all" if number == len(hidden) else "most"
            return f", {how_many} because of {_clipped(repr(taker.name))}"
    return ""


def _of_extent(report: Report, extent: Extent) -> Iterator[RuleFidelity]:
    return (each for each in report.rules if each.shadow and each.shadow.extent is extent)


def why(rule: RuleFidelity) -> str:
    """Every clause about a rule: what it loses and what to do about it, and what hides it."""
    return "; ".join(
        f"{clause} (remedy: {remedy})" if remedy else clause for clause, remedy in clauses(rule)
    )


def clauses(rule: RuleFidelity) -> Iterator[tuple[str, str]]:
    """Each clause about a rule, and what to do about it, or ""."""
    yield from zip(rule.reasons, rule.remedies or ("",) * len(rule.reasons), strict=True)
    yield from _hidden(rule)
    if rule.nat and not rule.disabled:
        yield (
            "NAT may translate its destination, which no cluster does",
            "add a rule for the server's own address",
        )


def because(found: GroupFidelity) -> str:
    """Every clause about an address group, and what to do about them."""
    said = "; ".join(found.reasons)
    return f"{said} (remedy: {'; '.join(found.remedies)})" if found.remedies else said


def _hidden(rule: RuleFidelity) -> Iterator[tuple[str, str]]:
    """A clause for each way in which earlier rules hide a rule, and what to do about it."""
    for shadow, where in ((rule.shadow, "here"), (rule.firewall_shadow, "on the firewall")):
        if shadow and shadow.extent is Extent.WHOLE:
            takers = f"all that it matches is taken by {_takers(rule, shadow.by)}"
            yield f"it never matches {where}: {takers}{_such(shadow)}", _way_out(rule, shadow)
    if rule.shadow and rule.shadow.extent is Extent.EMPTY:
        nobody = "it never matches here: no pod here is an end of its flows"
        yield nobody, REMEDIES[Reason.NO_ENDS].fix
    if rule.shadow and rule.shadow.extent is Extent.UNKNOWN:
        unknown = f"whether earlier rules hide it is unknown: {rule.shadow.because}"
        yield unknown, "nothing: it counts all the same"
    if rule.shadow and rule.shadow.extent is Extent.PART:
        # What an earlier rule decides the same way is no loss.
        others = [each for each in rule.shadow.by if each.allow != rule.allow]
        if others:
            clause = f"a part of it is taken by {_takers(rule, others)}{_such(rule.shadow)}"
            yield clause, _cure(rule, others)


def _clipped(name: str) -> str:
    """A name in a sentence; no firewall takes one that is longer, and rows have it whole."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def taken(shadow: Shadow | None) -> str:
    """What earlier rules take of a rule in a few words: `take a part of it: 'no' (widened)`."""
    if shadow is None or shadow.extent is Extent.NONE:
        return "take nothing of it"
    if shadow.extent is Extent.EMPTY:
        return "take nothing, no pod here is an end of its flows"
    if shadow.extent is Extent.UNKNOWN:
        return f"unknown ({shadow.because})"
    more = " and more" if shadow.more else ""
    return f"{_EXTENTS[shadow.extent]}: {_some(takers(shadow))}{more}"


def takers(shadow: Shadow) -> list[str]:
    """The rules that take some of a rule, each with what else makes it do so."""
    return [f"{each.name!r}{_as(each) if each.widened else ''}" for each in shadow.by]


def _as(taker: Taker) -> str:
    return " (allows more here)" if taker.allow else " (widened)"


def _such(shadow: Shadow) -> str:
    return f", such as {shadow.flow}" if shadow.flow else ""


def _way_out(rule: RuleFidelity, shadow: Shadow) -> str:
    """What to do about a rule of which earlier ones leave nothing."""
    if cure := _cure(rule, shadow.by):
        return cure
    needless = _needless(rule)
    if not needless and not shadow.more and all(each.allow == rule.allow for each in shadow.by):
        return "nothing: these decide the same"
    return f"move it before these in Panorama{', or delete it there' if needless else ''}"


def _needless(rule: RuleFidelity) -> bool:
    """Whether no firewall needs it: one of another device group or without its takers may."""
    shadow = rule.firewall_shadow
    return bool(
        rule.own
        and shadow
        and shadow.extent is Extent.WHOLE
        and not shadow.more
        and not any(each.targeted for each in shadow.by)
    )


def _cure(rule: RuleFidelity, by: Sequence[Taker]) -> str:
    """What gives a rule its flows back; "" if the rules before it are as on the firewall."""
    larger = [f"{each.name!r}" for each in by if _larger(rule, each)]
    verb = "is" if len(larger) == 1 else "are"
    return f"see {_some(larger)}, which {verb} larger here than on the firewall" if larger else ""


def _takers(rule: RuleFidelity, by: Sequence[Taker]) -> str:
    """The rules that take flows of a rule, each with what else makes it do so."""
    return _some([f"{each.name!r}{_larger(rule, each)}" for each in by])


def _larger(rule: RuleFidelity, taker: Taker) -> str:
    # Of two rules that decide the same way it is not told: nothing is lost.
    if not taker.widened or taker.allow == rule.allow:
        return ""
    return _as(taker)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(map(_clipped, names[:_NAMED])) + (f" and {rest:,} more" if rest > 0 else "")


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

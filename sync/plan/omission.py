"""The ways in which a part of the firewall's configuration is not in a cluster as it is there."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sync.text import counted as nouns


class Omission(StrEnum):
    """What became of a part; the first five are also the statuses of rules in the report."""

    SMALLER = "smaller"
    """An allow, or the set of an address group, that holds less: safe."""
    WIDER = "wider"
    """A deny that holds more: safe."""
    LEFT_OUT = "left-out"
    """Nothing of it is written."""
    MORE_PERMISSIVE = "more-permissive"
    """A loss that the configuration accepts."""
    NOT_ENFORCED = "not-enforced"
    """A rule of no pod or network here."""
    UNREADABLE = "unreadable"
    """An element that could not be read; what uses it counts as unknown."""
    UNKNOWN_ZONE = "unknown-zone"
    """Pods whose zone label names no zone."""
    UNSEEN = "unseen"
    """Objects of others that guards do not see."""
    LATER = "later"
    """Changes that are left to the next plan."""
    RULES = "rules"
    """The counts of a device group's rules, each of which is listed too."""

    @property
    def words(self) -> str:
        """How a summary counts it, after a number."""
        return _WORDS[self]

    @property
    def lasting(self) -> bool:
        """Whether it stays until the firewall's configuration changes: no sync can repair it."""
        return self not in (Omission.UNKNOWN_ZONE, Omission.UNSEEN, Omission.LATER)


_WORDS = {
    Omission.SMALLER: "written smaller",
    Omission.WIDER: "denies widened",
    Omission.LEFT_OUT: "left out",
    Omission.MORE_PERMISSIVE: "more permissive",
    Omission.NOT_ENFORCED: "not enforced",
    Omission.UNREADABLE: "unreadable",
    Omission.UNKNOWN_ZONE: "unknown zone labels",
    Omission.UNSEEN: "unseen by guards",
    Omission.LATER: "left to the next plan",
    Omission.RULES: "in counts",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of the configuration that does not reach the cluster whole, and why."""

    subject: str
    reason: str
    kind: Omission = Omission.LEFT_OUT

    @property
    def digest(self) -> str:
        """What tells it from others in a later plan: 64 bits in hexadecimal."""
        return digest_of(self.subject, self.reason)


def digest_of(subject: str, reason: str) -> str:
    """The digest of a part by its subject and reason."""
    said = f"{len(subject)} {subject}{reason}".encode(errors="surrogatepass")
    return hashlib.sha256(said).hexdigest()[:16]


def counts(parts: Iterable[LeftOut], rules: Iterable[LeftOut] = ()) -> Mapping[Omission, int]:
    """How many subjects there are of each kind, without kinds that have none.

    `rules` have an entry each, so two of one name are two.
    """
    subjects: dict[Omission, set[str]] = {}
    for each in parts:
        if each.kind is not Omission.RULES:
            subjects.setdefault(each.kind, set()).add(each.subject)
    of_rules = Counter(each.kind for each in rules)
    found = {kind: len(subjects.get(kind, ())) + of_rules[kind] for kind in Omission}
    return {kind: number for kind, number in found.items() if number}


def is_new(part: LeftOut, known: frozenset[str] | None) -> bool:
    """Whether it was not left out before, by digests; where none are known, everything is new."""
    return known is None or part.digest not in known


def counted(
    parts: Collection[LeftOut], rules: Collection[LeftOut], known: frozenset[str] | None
) -> str:
    """The counts in words, and how many are new, if anything is known of before."""
    of_rules = counts((), rules)
    listed = ", ".join(
        f"{_number(kind, number, of_rules.get(kind, 0))} {_words(kind, number)}"
        for kind, number in counts(parts, rules).items()
    )
    if known is None:
        return listed
    news = ([each for each in some if is_new(each, known)] for some in (parts, rules))
    new = sum(counts(*news).values())
    return f"{listed} ({f'{new:,} new' if new else 'none new'})"


def _words(kind: Omission, number: int) -> str:
    return "deny widened" if kind is Omission.WIDER and number == 1 else kind.words


def _number(kind: Omission, number: int, rules: int) -> str:
    """A number with what it counts, where rules and address groups would be one number."""
    if kind is not Omission.SMALLER:
        return f"{number:,}"
    some = ((rules, "rule"), (number - rules, "address group"))
    return " and ".join(nouns(each, noun) for each, noun in some if each)


def omission_document(part: LeftOut, known: frozenset[str] | None) -> dict[str, Any]:
    """A part as a plan's JSON has it; field names are stable."""
    return {
        "subject": part.subject,
        "reason": part.reason,
        "kind": part.kind.value,
        "new": is_new(part, known),
    }


def mode_of(modes: Sequence[tuple[str, str]]) -> str:
    """The modes of tiers in words: one word where all are alike, "" without any."""
    said = {"enforced": "ENFORCED", "staged": "staged"}
    different = {mode for _, mode in modes}
    if len(different) < 2:
        return "".join(said[mode] for mode in different)
    return ", ".join(f"{tier} {said[mode]}" for tier, mode in modes)

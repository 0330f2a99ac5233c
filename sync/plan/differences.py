"""Compare three states: the desired one, the one that was written last, and the observed one.

desired   written   live       ->  change
D         –         –              create
D         D         – or X         create or update, drift: someone else
D         W         – or X         create or update, the configuration moved
–         any       X              delete
–         W         –              delete: record that it is gone
D         D         D              none
D         – or W    D              adopted: record that the cluster holds it already
D         any       D, rewritten   update, though the cluster holds it as desired
D         any       foreign        held, by the guard foreign-object
D         any       foreign F      taken over: update F, where no other installation claims it
–         W         foreign        none; lost: someone else took our labels off it
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sync.calico.manifest import Manifest
from sync.calico.names import RULE_ANNOTATION, SOURCE_ANNOTATION
from sync.calico.objects import POLICIES
from sync.calico.references import DIRECTIONS, essence, mapping, rules
from sync.plan.changes import Cause, Change
from sync.plan.guards import Blocker
from sync.plan.guards.foreign import foreign_object

Key = tuple[str, str]


class Live(Protocol):
    """An object as a cluster holds it; `manifest` is None where it is foreign.

    `stands` is the content that may be overwritten: ours, or that of a foreign object which no
    other installation claims; None if the object must be left alone.
    """

    @property
    def manifest(self) -> Manifest | None: ...

    @property
    def stands(self) -> Manifest | None: ...

    @property
    def foreign_because(self) -> str: ...

    @property
    def changed_by(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Differences:
    """The differences between three states.

    `adopted` are objects that someone else already brought to the desired state. `lost` are objects
    that we wrote, no longer want, and may no longer remove. `held` would overwrite foreign objects,
    if those were taken over; each has its blocker.
    """

    changes: tuple[Change, ...]
    adopted: tuple[Change, ...]
    lost: tuple[Change, ...]
    blockers: tuple[Blocker, ...]
    unchanged: int
    held: tuple[Change, ...] = ()


def differences(
    desired: Mapping[Key, Manifest],
    written: Mapping[Key, Manifest],
    live: Mapping[Key, Live],
    *,
    adopt: bool = False,
    rewritten: Collection[Key] = (),
    asked: Collection[tuple[str, str, str]] = (),
) -> Differences:
    """Compare; every mapping is by (kind, name). Changes are sorted by kind and name.

    A desired object with a foreign one in its place is held. With `adopt`, or if `asked` names the
    kind, name and digest of the foreign object, it is taken over: a change from its content, as if
    it were ours. All other foreign objects stay.
    Objects in `rewritten` are updated even where the cluster holds them as desired.
    """
    # over 50 lines: it has a branch for each row of the table above.
    changes: list[Change] = []
    adopted: list[Change] = []
    lost: list[Change] = []
    held: list[Change] = []
    blockers: list[Blocker] = []
    unchanged = 0
    ours = {key for key, each in live.items() if each.manifest is not None}
    for key in sorted(desired.keys() | written.keys() | ours):
        wanted, wrote, found = desired.get(key), written.get(key), live.get(key)
        holds = found.manifest if found else None
        if wanted is None:
            if gone := holds or (wrote if found is None else None):
                changes.append(change_between(gone, None, Cause.CONFIGURATION))
            elif wrote:
                lost.append(change_between(wrote, None, Cause.DRIFT))
        elif found is not None and holds is None:
            # Asked for, so never drift: `drift: report` would leave it.
            theirs = found.stands
            if theirs and (adopt or (*key, theirs.digest) in asked):
                changes.append(change_between(theirs, wanted, Cause.CONFIGURATION))
            else:
                adoptable = theirs is not None
                held.append(change_between(theirs, wanted, Cause.DRIFT, found.changed_by))
                blockers.append(foreign_object(*key, found.foreign_because, adoptable=adoptable))
        elif holds == wanted and key not in rewritten:
            unchanged += 1
            if wrote != wanted:
                adopted.append(change_between(wrote, wanted, Cause.DRIFT))
        else:
            # As above: what was asked for is not drift.
            drifted = wrote == wanted and key not in rewritten
            cause = Cause.DRIFT if drifted else Cause.CONFIGURATION
            hand = found.changed_by if found and cause is Cause.DRIFT else ""
            changes.append(change_between(holds, wanted, cause, hand))
    return Differences(
        tuple(changes), tuple(adopted), tuple(lost), tuple(blockers), unchanged, tuple(held)
    )


def change_between(
    before: Manifest | None, after: Manifest | None, cause: Cause, changed_by: str = ""
) -> Change:
    """Make a change with the rules and groups that its objects name as their origin."""
    groups = {
        group for side in (before, after) if side and (group := side.contents.group) is not None
    }
    return Change(
        before,
        after,
        cause,
        rules=_rules(before, after),
        groups=tuple(sorted(groups)),
        changed_by=changed_by,
    )


def _rules(before: Manifest | None, after: Manifest | None) -> tuple[str, ...]:
    """The firewall's rules whose Calico rules differ between two policies; all, if none does."""
    old, new = _by_rule(before), _by_rule(after)
    named = old.keys() | new.keys()
    if not (before and after):
        return tuple(sorted(named))
    changed = {name for name in named if _said(old.get(name)) != _said(new.get(name))}
    return tuple(sorted(changed or named))


def _said(found: Sequence[tuple[str, Any]] | None) -> list[tuple[str, bytes]]:
    """The contents of Calico rules, whatever their position."""
    return [(direction, essence(rule)) for direction, rule in found or ()]


def _by_rule(policy: Manifest | None) -> dict[str, list[tuple[str, Any]]]:
    """The Calico rules of a policy, by the firewall's rule that they name."""
    found: dict[str, list[tuple[str, Any]]] = {}
    document = policy.document() if policy and policy.kind in POLICIES else {}
    for direction in DIRECTIONS:
        for rule in rules(document, direction):
            annotations = mapping(rule, "metadata", "annotations")
            name = annotations.get(RULE_ANNOTATION)
            # Defaults carry neither end: they are not rules of the firewall's rulebase.
            if isinstance(name, str) and SOURCE_ANNOTATION in annotations:
                found.setdefault(name, []).append((direction, rule))
    return found

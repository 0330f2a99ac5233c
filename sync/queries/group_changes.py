"""Compare the address groups, external lists and zones of a cluster in two configurations.

both desired states  ->  groups matched by name: the addresses gained and lost, and their status
                     ->  zones matched by name and device group
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from sync.net.addresses import NOWHERE, AddressSet
from sync.reconcile.desired import Desired
from sync.translate.fidelity import GroupFidelity, ZoneFidelity
from sync.translate.network_sets import GroupSet, group_sets

Change = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What changed for an address group, or for an external dynamic list `edl/<name>`.

    `added` and `removed` are addresses. `before` is None for one that was not there, and for a
    list; `after` for one that is no more there, and for a list.
    """

    change: Change
    name: str
    added: AddressSet
    removed: AddressSet
    before: GroupFidelity | None = None
    after: GroupFidelity | None = None


class ZoneChange(NamedTuple):
    """A zone whose pods or networks are others; None where it is not there."""

    before: ZoneFidelity | None
    after: ZoneFidelity | None

    @property
    def change(self) -> Change:
        """What it is."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def group_changes(had: Desired, has: Desired) -> Iterator[GroupChange]:
    """The groups and lists that differ, by name; those that no rule uses too."""
    old, new = _sets(had), _sets(has)
    one, other = ({each.name: each for each in side.report.groups} for side in (had, has))
    for name in sorted(old.keys() | new.keys()):
        before, after = (
            side[name].holds.surely if name in side else NOWHERE for side in (old, new)
        )
        was, now = one.get(name), other.get(name)
        if name in old and name in new and (before, was) == (after, now):
            continue
        yield GroupChange(
            "added" if name not in old else "removed" if name not in new else "changed",
            name,
            after - before,
            before - after,
            was,
            now,
        )


def zone_changes(had: Desired, has: Desired) -> Iterator[ZoneChange]:
    """The zones that differ, in their order; rules that name them do not count."""
    old, new = (
        {(each.source, each.target, each.name): each for each in side.report.zones}
        for side in (had, has)
    )
    for key in dict.fromkeys((*new, *old)):
        before, after = old.get(key), new.get(key)
        if not (before and after) or replace(before, rules=after.rules) != after:
            yield ZoneChange(before, after)


def _sets(wanted: Desired) -> dict[str, GroupSet]:
    options = wanted.options
    found, _ = group_sets(
        wanted.targets, tags=options.tags, registered_known=options.registered_known
    )
    return {each.identity: each for each in found}

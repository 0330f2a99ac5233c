"""Compare the address groups and external lists that a cluster gets from two configurations.

both desired states  ->  groups matched by name: the addresses gained and lost, and their status
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sync.net.addresses import NOWHERE, AddressSet
from sync.reconcile.desired import Desired
from sync.translate.fidelity import GroupFidelity
from sync.translate.network_sets import GroupSet, group_sets


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What changed for an address group, or for an external dynamic list `edl/<name>`.

    `added` and `removed` are addresses. `before` is None for one that was not there, and for a
    list; `after` for one that is no more there, and for a list.
    """

    change: Literal["added", "removed", "changed"]
    name: str
    added: AddressSet
    removed: AddressSet
    before: GroupFidelity | None = None
    after: GroupFidelity | None = None


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


def _sets(wanted: Desired) -> dict[str, GroupSet]:
    options = wanted.options
    found, _ = group_sets(
        wanted.targets, tags=options.tags, registered_known=options.registered_known
    )
    return {each.identity: each for each in found}

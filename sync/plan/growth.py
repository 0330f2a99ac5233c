"""When the sets of a plan are written: losses before policies change, gains after.

    ahead      lists by content, and sets that no policy selects yet: as desired
    losing     every other set: only what it keeps
               (policies)
    gaining    every other set: what it gains
    going      sets that are removed

Policies select a set only where a larger set allows more (`AddressMatch.referenced`). So over what
sets keep, old policies allow no more than before, and new ones no more than after.

The parts of one group are one set to Calico. A net that moves between parts is added before it is
removed. If other nets cover it in another part, those are removed first, because a kernel set of
nftables refuses nets that overlap.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from sync.calico import cidrs, limits
from sync.calico.manifest import Manifest
from sync.calico.names import ADDRESS_GROUP_LABEL, EDL_LABEL, LIST_LABEL
from sync.calico.objects import POLICIES
from sync.net.addresses import NOWHERE, AddressSet, network
from sync.plan.changes import Action, Cause, Change
from sync.plan.selections import Selections

# An etcd that takes requests of 1.5 MiB takes two sets' worth of nets in one.
_BOTH_BYTES = 2 * limits.SET_BYTES

_ROLES: Final = (LIST_LABEL, EDL_LABEL, ADDRESS_GROUP_LABEL)

Group = tuple[str, str]
"""What selects a set: the key and value of its label; its kind and name if it has none."""


@dataclass(frozen=True, slots=True)
class SetWrites:
    """The writes of sets; each entry of `gaining` begins when the one before it has ended."""

    ahead: tuple[Change, ...]
    losing: tuple[Change, ...]
    gaining: tuple[tuple[Change, ...], ...]
    going: tuple[Change, ...]


def set_writes(
    changes: Sequence[Change], selections: Selections, *, directory: bool = False
) -> SetWrites:
    """Arrange the changes of sets in a plan; one set may be written more than once.

    In a `directory` no kernel holds the sets, so what moves between the parts of a group needs no
    writes of its own: a set is written twice at most, before the policies and after them.
    """
    ahead: list[Change] = []
    losing: list[Change] = []
    gaining: list[list[Change]] = [[], [], [], []]
    going: list[Change] = []
    by_group: defaultdict[Group, list[Change]] = defaultdict(list)
    for change in changes:
        if change.kind in (*POLICIES, "Tier"):
            continue
        stands = any(map(selections.stands, change.sides))
        comes = any(map(selections.comes, change.sides))
        group = _group(change.sides[-1])
        if stands and comes and group[0] != LIST_LABEL:
            by_group[group].append(change)
        elif change.action is Action.DELETE:
            # The desired policies of a group must not select the rest of it.
            (losing if comes and group[0] != LIST_LABEL else going).append(change)
        elif group[0] == LIST_LABEL or not stands:
            ahead.append(change)
        else:
            gaining[-1].append(change)
    at_once = None
    if not any(change.kind in POLICIES for change in changes):
        at_once = _at_once(by_group)
    for group, members in by_group.items():
        if group == at_once:
            gaining[0] += members
            continue
        for writes in _written(group, members, directory=directory):
            ahead += writes.ahead
            losing += writes.losing
            for step, some in zip(gaining[1:], writes.gaining, strict=True):
                step += some
    return SetWrites(
        _sorted(ahead),
        _sorted(losing),
        tuple(_sorted(step) for step in gaining if step),
        _sorted(going),
    )


def only_loses(change: Change) -> bool:
    """Whether a set stays without gaining an address, under the same label."""
    if change.before is None or change.after is None:
        return False
    return not addresses(change.after) - _held(_group(change.after), [change])


def _at_once(by_group: dict[Group, list[Change]]) -> Group | None:
    """Find the only set that both loses and gains, if one write may do both.

    If no policy changes and no other set does both, each state lies between the one before and the
    one after.
    """
    both = [
        group
        for group, members in by_group.items()
        for before, after in [(_held(group, members), _wanted(members))]
        if before - after and after - before
    ]
    return both[0] if len(both) == 1 and len(by_group[both[0]]) == 1 else None


def _written(group: Group, members: Sequence[Change], *, directory: bool) -> Iterator[SetWrites]:
    """The writes of each part of a group that policies select before and after."""
    wanted = _wanted(members)
    held = [_held(group, [change]) for change in members]
    kept = [each & wanted for each in held]
    standing = {net for each in kept for net in cidrs.of_set(each)}
    for number, change in enumerate(members):
        final = _wanted([change])
        if change.after is None:
            yield _going(change, held[number], kept[number])
        elif held[number] == final:
            yield SetWrites((change,), (), ((), (), ()), ())
        else:
            others = AddressSet.union(kept[:number] + kept[number + 1 :])
            if directory or len(members) == 1:
                contents = [cidrs.of_set(kept[number]), *3 * [cidrs.of_set(final)]]
            else:
                contents = _contents(kept[number], final, others, standing)
            yield _staying(change, cidrs.of_set(held[number]), contents)


def _contents(
    kept: AddressSet, final: AddressSet, others: AddressSet, standing: Collection[str]
) -> list[list[str]]:
    """The nets of a part at each step: first what it keeps, last what is desired.

    `others` are the addresses of the other parts, and `standing` the nets of all parts, when each
    holds only what it keeps.
    """
    first, last = cidrs.of_set(kept), cidrs.of_set(final)
    # A net is added once no other net covers any of its addresses: neither in another part nor
    # as a larger net of this part.
    own = {net for net in first if network(net) - final}
    late = AddressSet.union(map(network, own)) | others
    early = [net for net in last if net in standing or not network(net) & late]
    added = _joined(early, first)
    held = AddressSet.union(map(network, added))
    moved = _joined(
        [net for net in last if not network(net) - held],
        [net for net in added if not network(net) - final],
    )
    return [first, added, moved, last]


def _joined(some: Sequence[str], more: Iterable[str]) -> list[str]:
    """Join nets with those of `more` that none of them covers."""
    covered = AddressSet.union(map(network, some))
    return sorted([*some, *(net for net in more if network(net) - covered)], key=cidrs.sort_key)


def _going(change: Change, held: AddressSet, kept: AddressSet) -> SetWrites:
    """The writes of a part that is removed: other parts get what the group keeps of it first.

    It is removed when other parts lose what moves, as other nets may then cover its addresses.
    """
    nothing = ((), (), ())
    if not kept:
        return SetWrites((), (change,), nothing, ())
    if kept == held:
        return SetWrites((), (), ((), (change,), ()), ())
    assert change.before is not None
    less = _with(change.before, cidrs.of_set(kept))
    at_last = replace(change, before=less)
    return SetWrites((), (replace(change, after=less),), ((), (at_last,), ()), ())


def _staying(change: Change, held: Sequence[str], contents: Sequence[Sequence[str]]) -> SetWrites:
    """The writes of a part that stays: first without its losses, finally as desired."""
    assert change.after is not None
    writes: list[tuple[Change, ...]] = []
    before, now = change.before, held
    for number, content in enumerate(contents):
        whole = content == contents[-1]
        after = change.after if whole else _with(change.after, content)
        last = number == len(contents) - 1
        if (content == now and not last) or after == before or len(after.body) > _BOTH_BYTES:
            writes.append(())
            continue
        writes.append((replace(change, before=before, after=after),))
        before, now = after, content
    return SetWrites((), writes[0], tuple(writes[1:]), ())


def _with(manifest: Manifest, held: Sequence[str]) -> Manifest:
    """The same set with other nets."""
    document = manifest.document()
    document["spec"] = {"nets": [*held]} if held else {}
    return Manifest.of(document)


def _group(manifest: Manifest) -> Group:
    values = {key: value for key, value in manifest.contents.labels if value is not None}
    for key in _ROLES:
        if key in values:
            return key, values[key]
    return manifest.kind, manifest.name


def _held(group: Group, members: Iterable[Change]) -> AddressSet:
    """The addresses that a group's selector selects in some sets before they change."""
    return AddressSet.union(
        addresses(change.before)
        for change in members
        # A set without the label, removed by someone else or never there, is not selected.
        if change.before and _group(change.before) == group
    )


def _wanted(members: Iterable[Change]) -> AddressSet:
    return AddressSet.union(addresses(change.after) for change in members)


def addresses(manifest: Manifest | None) -> AddressSet:
    """The addresses of a set; other text that someone else wrote there does not count."""
    found = []
    for net in manifest.contents.nets if manifest else ():
        with suppress(ValueError):
            found.append(network(net))
    return AddressSet.union(found) if found else NOWHERE


def _sorted(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Sort changes: repairs of drift first."""
    return tuple(
        sorted(changes, key=lambda each: (each.cause is not Cause.DRIFT, each.kind, each.name))
    )

"""Find the objects of a device group that hold an address, and the path through its groups.

    objects, literals  ->  the groups that have them as members  ->  the groups of these  ->  …
    what is registered  ->  the dynamic groups that have it  ──────────────────^

`sync.firewall.groups` resolves the content of a group. Here the path to it is found from the other
end: few objects hold an address, however many groups there are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sync.firewall.addressing import literal
from sync.firewall.groups import Resolved, resolve_groups
from sync.firewall.objects import UNTAGGED, Address, AddressGroup
from sync.firewall.runtime import Registrations
from sync.net.addresses import AddressSet

_Named = Mapping[str, Address | AddressGroup]


class Holds(StrEnum):
    """How much of the requested addresses is surely held; `maybe`: none surely."""

    ALL = "all"
    PART = "part"
    MAYBE = "maybe"


@dataclass(frozen=True, slots=True)
class HeldObject:
    """An address object that holds it, all or a part; `value` is as the firewall has it."""

    name: str
    kind: str
    value: str
    holds: Holds


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """An address group that holds it, or may.

    `filter` is the text of a dynamic group's filter, None for a static group. `members` are all its
    direct members that hold some of it. `way` is a shortest path: the group, a member of it, and so
    on to an object or a literal with the address `value`; it is empty if the group only may hold
    it. `open_because` has a clause for each thing that is unknown about the group.
    """

    name: str
    holds: Holds
    filter: str | None
    members: tuple[str, ...]
    way: tuple[str, ...]
    value: str
    open_because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holding:
    """Find the objects of one device group that hold some of `wanted`, in name order.

    `held` says which addresses of it, for each object, group and literal member of a group that
    holds some. `open_because` is that of each open group.
    """

    wanted: AddressSet
    objects: tuple[HeldObject, ...]
    groups: tuple[HeldGroup, ...]
    held: Mapping[str, AddressSet]
    open_because: Mapping[str, tuple[str, ...]]


def how_much(wanted: AddressSet, held: AddressSet) -> Holds | None:
    """How much of `wanted` is in `held`; None for nothing."""
    found = wanted & held
    if not found:
        return None
    return Holds.ALL if found == wanted else Holds.PART


def holding(
    objects: _Named,
    wanted: AddressSet,
    *,
    registered_known: bool,
    registered: Registrations | None = None,
) -> Holding:
    """Find what holds some of `wanted` among what one device group sees.

    `wanted` holds an address at least. The rest is as in `resolve_groups`. A way in by what is
    registered ends at `registered for <group>`.
    """
    holders = _Holders(objects)
    leaves = {
        **holders.registered(registered, wanted),
        **_leaves(objects, holders.literals(), wanted),
    }
    whole = [name for name, held in leaves.items() if held == wanted]
    members, step = _climb(whole, leaves, holders)
    resolved = resolve_groups(objects, registered_known=registered_known, registered=registered)
    held = {**leaves, **{name: resolved[name].holds.surely & wanted for name in members}}
    groups = []
    for name, found in sorted(resolved.items()):
        amount = how_much(wanted, found.holds.surely)
        if amount or found.holds.open:
            way = _way(name, step)
            groups.append(_group(name, objects, found, amount, members.get(name, ()), way))
    return Holding(
        wanted=wanted,
        objects=tuple(_objects(objects, leaves, wanted)),
        groups=tuple(groups),
        held=held,
        open_because={
            name: found.holds.because for name, found in resolved.items() if found.holds.open
        },
    )


def _objects(
    objects: _Named, leaves: Mapping[str, AddressSet], wanted: AddressSet
) -> Iterator[HeldObject]:
    for name in sorted(leaves.keys() & objects.keys()):
        found = objects[name]
        assert isinstance(found, Address), "only objects and literals are leaves"
        amount = how_much(wanted, leaves[name])
        assert amount, "leaves hold some of it"
        yield HeldObject(name, found.kind, found.value, amount)


def _group(
    name: str,
    objects: _Named,
    found: Resolved,
    amount: Holds | None,
    members: Iterable[str],
    way: tuple[str, ...],
) -> HeldGroup:
    group = objects[name]
    assert isinstance(group, AddressGroup), "only groups are resolved"
    last = objects.get(way[-1]) if way else None
    return HeldGroup(
        name=name,
        holds=amount or Holds.MAYBE,
        filter=group.filter.text if group.filter else None,
        members=tuple(sorted(members)),
        way=way,
        value=last.value if isinstance(last, Address) else "".join(way[-1:]),
        open_because=found.holds.because,
    )


def _leaves(objects: _Named, literals: Iterable[str], wanted: AddressSet) -> dict[str, AddressSet]:
    """The part of `wanted` in each object and literal that holds some."""
    known = [(name, each.addresses) for name, each in objects.items() if isinstance(each, Address)]
    known += ((member, literal(member)) for member in literals)
    return {name: held for name, found in known if found and (held := found & wanted)}


class _Holders:
    """The groups that have something as a direct member; a dynamic group never has itself.

    A group with a problem has no known members.
    """

    def __init__(self, objects: _Named) -> None:
        self._objects = objects
        self._static: dict[str, list[str]] = {}
        self._dynamic: list[AddressGroup] = []
        self._by_tags: dict[tuple[str, ...] | None, list[str]] = {}
        for each in objects.values():
            if not isinstance(each, AddressGroup) or each.problem:
                continue
            if each.filter is not None:
                self._dynamic.append(each)
            else:
                for member in dict.fromkeys(each.members):
                    self._static.setdefault(member, []).append(each.name)

    def literals(self) -> Iterator[str]:
        """The members of static groups that no object has for a name."""
        return (member for member in self._static if member not in self._objects)

    def registered(
        self, registered: Registrations | None, wanted: AddressSet
    ) -> dict[str, AddressSet]:
        """The part of `wanted` registered for each dynamic group, under a name as a leaf."""
        found: dict[str, AddressSet] = {}
        if registered is None:
            return found
        for group in self._dynamic:
            assert group.filter, "all of these have one"
            held = registered.held(group.filter).surely & wanted
            if held:
                leaf = f"registered for {group.name}"
                while leaf in self._objects:
                    leaf += "'"
                found[leaf] = held
                self._static.setdefault(leaf, []).append(group.name)
        return found

    def of(self, name: str) -> Iterator[str]:
        """The groups that have an object, a group or a literal as a member."""
        yield from self._static.get(name, ())
        found = self._objects.get(name)
        if found and not (isinstance(found, Address) and found.kind in UNTAGGED):
            yield from (group for group in self._tagged(found.tags) if group != name)

    def _tagged(self, tags: tuple[str, ...] | None) -> list[str]:
        """The dynamic groups of objects with these tags; unreadable tags may match any group."""
        if tags not in self._by_tags:
            self._by_tags[tags] = [
                group.name
                for group in self._dynamic
                if group.filter and (tags is None or group.filter.matches(frozenset(tags)))
            ]
        return self._by_tags[tags]


def _climb(
    whole: Iterable[str], leaves: Iterable[str], holders: _Holders
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """From the leaves to every group above them, level by level.

    Returns the direct members of each group that some leaf is in or is, and the first step of a
    shortest way from the group down to a leaf: one of `whole` where there is one, for that shows
    more than a part does.
    """
    members: dict[str, list[str]] = {}
    step: dict[str, str] = {}
    for start in ({*whole}, {*leaves} - {*whole}):
        level = sorted(start)
        while level:
            above: list[str] = []
            for name in level:
                for group in holders.of(name):
                    members.setdefault(group, []).append(name)
                    if group not in step:
                        step[group] = name
                        above.append(group)
            level = sorted(above)
    return members, step


def _way(name: str, step: Mapping[str, str]) -> tuple[str, ...]:
    """The way from a group down to a leaf; () if none leads there."""
    if name not in step:
        return ()
    way = [name]
    while way[-1] in step:
        way.append(step[way[-1]])
    return tuple(way)

"""Names to addresses: what every address group of a device group holds, exactly.

A group is *open* where something in it cannot be said in addresses
(`sync.firewall.estimate.Estimate`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sync.firewall import addressing
from sync.firewall.estimate import Estimate
from sync.firewall.objects import UNTAGGED, Address, AddressGroup
from sync.firewall.parse.xml import brief
from sync.firewall.runtime import Registrations
from sync.net.addresses import AddressSet

_Named = Mapping[str, Address | AddressGroup]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The content of an address group. `dynamic`: it is a dynamic group, or contains one."""

    holds: Estimate
    dynamic: bool = False


def resolve_groups(
    objects: _Named, *, registered_known: bool, registered: Registrations | None = None
) -> dict[str, Resolved]:
    """Every address group among `objects`, by name.

    `objects` are what one device group sees (`sync.firewall.effective`), and `registered` is what
    its firewalls have registered at run time. Where that is None, or one of them never reported it,
    a dynamic group is open, unless `registered_known` says that it is known, or accepted, to be
    nothing.

    Members are looked up by name first and read as literals second, since an object's name may
    look like an address. A group in a circle of groups is open, and holds what the whole circle
    holds: the least that satisfies all of them.
    """
    members = _Members(objects)
    if registered_known and (registered is None or registered.missing):
        registered = Registrations(())
    resolved: dict[str, Resolved] = {}
    for circle in _circles(members):
        within = frozenset(circle)
        parts = {name: list(_parts(name, within, members, registered, resolved)) for name in circle}
        whole = Estimate.union(part for name in circle for part in parts[name])
        inner = (group for name in circle for group in members.groups_of(name))
        dynamic = any(members.groups[name].filter is not None for name in circle) or any(
            resolved[group].dynamic for group in inner if group in resolved
        )
        for name in circle:
            because = sorted({clause for part in parts[name] for clause in part.because})
            resolved[name] = Resolved(replace(whole, because=tuple(because)), dynamic)
    return resolved


def _parts(
    name: str,
    circle: frozenset[str],
    members: "_Members",
    registered: Registrations | None,
    resolved: Mapping[str, Resolved],
) -> Iterator[Estimate]:
    """What one group of a circle has of its own: each part with the reasons that keep it open."""
    group = members.groups[name]
    if group.problem:
        # Its filter may be that of another group of its name, or of none.
        yield Estimate.unknown(f"it {group.problem}")
        return
    if group.filter is not None:
        if registered is None:
            yield Estimate.unknown("it is dynamic, and registered addresses are not known here")
        else:
            yield registered.held(group.filter)
    leaves: list[AddressSet] = []
    for member in members.of(group):
        if member in members.leaves:
            leaves.append(members.leaves[member])
        elif member in resolved:
            inner = resolved[member].holds
            reason = f"its member group {brief(member)!r} is not wholly known"
            yield replace(inner, because=(reason,)) if inner.open else inner
        elif member in circle:
            yield Estimate.unknown(f"it is in a circle of groups with {member!r}")
        else:
            yield members.without_addresses(member)
    # Nearly all members are objects with addresses, which take one pass together.
    yield Estimate.exactly(AddressSet.union(leaves))


class _Members:
    """The members of groups by name: as listed, or as a filter finds them among the tags.

    `leaves` are the addresses of every object that has some, `groups` every group. Objects are
    many in number and few in their sets of tags, so a filter is asked about those.
    """

    def __init__(self, objects: _Named) -> None:
        self.leaves: dict[str, AddressSet] = {}
        self.groups: dict[str, AddressGroup] = {}
        self._objects = objects
        self._found: dict[str, list[str]] = {}
        for name, each in objects.items():
            if isinstance(each, AddressGroup):
                self.groups[name] = each
            elif each.addresses is not None:
                self.leaves[name] = each.addresses

    def without_addresses(self, member: str) -> Estimate:
        """A member that is neither a group nor an object with addresses of its own."""
        found = self._objects.get(member)
        if isinstance(found, Address):
            because = found.problem or f"is the FQDN {brief(found.value)}"
            return Estimate.unknown(f"its member {brief(member)!r} {because}", found.answers)
        literal = addressing.literal(member)
        if literal is None:
            return Estimate.unknown(f"its member {member!r} does not exist")
        return Estimate.exactly(literal)

    @cached_property
    def _by_tags(self) -> Mapping[tuple[str, ...] | None, list[str]]:
        """The names of the objects with each set of tags; None: with unreadable ones."""
        found: dict[tuple[str, ...] | None, list[str]] = {}
        for name, each in self._objects.items():
            if not (isinstance(each, Address) and each.kind in UNTAGGED):
                found.setdefault(each.tags, []).append(name)
        return found

    def of(self, group: AddressGroup) -> Sequence[str]:
        """The names of a group's members; a dynamic group is never a member of itself."""
        if group.filter is None:
            return group.members
        if group.name not in self._found:
            # An object whose tags are unreadable may be in any dynamic group; it has a problem,
            # so it adds no addresses and keeps the group open.
            found = [*self._by_tags.get(None, ())]
            asked: dict[frozenset[str], bool] = {}
            for tags, names in self._by_tags.items():
                if tags is None:
                    continue
                # Only the tags that the filter speaks of can decide, and those sets are few.
                decisive = group.filter.tags.intersection(tags)
                if decisive not in asked:
                    asked[decisive] = group.filter.matches(decisive)
                if asked[decisive]:
                    found += names
            self._found[group.name] = [name for name in found if name != group.name]
        return self._found[group.name]

    def groups_of(self, name: str) -> Iterator[str]:
        """The members of a group that are groups themselves."""
        group = self.groups[name]
        return iter(()) if group.problem else filter(self.groups.__contains__, self.of(group))


class WildcardObjects:
    """The wildcard objects that lists of members hold, also in groups of any depth.

    PAN-OS takes none into a group, but a file may have one there.
    """

    def __init__(self, objects: _Named) -> None:
        self._wildcards = {
            name: each
            for name, each in objects.items()
            if isinstance(each, Address) and each.kind == "ip-wildcard"
        }
        self._leading = {name: (name,) for name in self._wildcards}
        if self._wildcards:
            self._climb(_Members(objects))

    def _climb(self, members: _Members) -> None:
        """Find the groups that lead to wildcards, each with those of its members that do."""
        above: dict[str, list[str]] = {}
        for name, group in members.groups.items():
            for member in () if group.problem else members.of(group):
                above.setdefault(member, []).append(name)
        waiting = [*self._wildcards]
        while waiting:
            member = waiting.pop()
            for name in above.get(member, ()):
                if name not in self._leading:
                    waiting.append(name)
                self._leading[name] = (*self._leading.get(name, ()), member)

    def reached(self, listed: Iterable[str]) -> tuple[Address, ...]:
        """Those of one list, by name."""
        met: set[str] = set()
        waiting = [name for name in listed if name in self._leading]
        while waiting:
            name = waiting.pop()
            if name not in met:
                met.add(name)
                waiting += self._leading[name]
        return tuple(self._wildcards[name] for name in sorted(met & self._wildcards.keys()))


def _circles(members: _Members) -> Iterator[tuple[str, ...]]:
    """The strongly connected components of the groups, members before those that hold them.

    Tarjan's algorithm with its own stack: groups may be nested deeper than Python's.
    """
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    for root in members.groups:
        if root in index:
            continue
        work = [(root, members.groups_of(root))]
        index[root] = lowest[root] = len(index)
        path.append(root)
        on_path.add(root)
        while work:
            name, rest = work[-1]
            for member in rest:
                if member not in index:
                    index[member] = lowest[member] = len(index)
                    path.append(member)
                    on_path.add(member)
                    work.append((member, members.groups_of(member)))
                    break
                if member in on_path:
                    lowest[name] = min(lowest[name], index[member])
            else:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[name])
                if lowest[name] == index[name]:
                    circle = [path.pop()]
                    while circle[-1] != name:
                        circle.append(path.pop())
                    on_path.difference_update(circle)
                    yield tuple(sorted(circle))

"""Names to addresses: what every address group of a device group holds, exactly.

A group is *open* where something in it cannot be said in addresses; then `addresses` is what
surely belongs to it and `open_because` says what is missing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sync.firewall import addressing
from sync.firewall.objects import UNTAGGED, Address, AddressGroup
from sync.firewall.parse.xml import brief
from sync.firewall.runtime import Registrations
from sync.net.addresses import NOWHERE, AddressSet

_Named = Mapping[str, Address | AddressGroup]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The addresses of a group, and one clause for each thing that keeps it open, sorted.

    `answers` are what DNS says here of FQDNs in it, which the firewalls may know otherwise.
    `at_most` is all that may be in it, None where nobody knows that. `dynamic`: it is a dynamic
    group, or one within it is.
    """

    addresses: AddressSet
    open_because: tuple[str, ...] = ()
    dynamic: bool = False
    answers: AddressSet = NOWHERE
    at_most: AddressSet | None = None


def resolve_groups(
    objects: _Named, *, registered_known: bool, registered: Registrations | None = None
) -> dict[str, Resolved]:
    """Every address group among `objects`, by name.

    `objects` are what one device group sees (`sync.firewall.effective`), and `registered` is what
    its firewalls have registered at run time. Where that is None, or one of them never told it, a
    dynamic group is open, unless `registered_known` says that it is known, or accepted, to be
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
        found: list[AddressSet] = []
        answers: list[AddressSet] = []
        more: list[AddressSet] = []
        bounded = True
        reasons: dict[str, set[str]] = {name: set() for name in circle}
        dynamic = any(members.groups[name].filter is not None for name in circle)
        for name in circle:
            group = members.groups[name]
            because = reasons[name]
            if group.problem:
                # Its filter may be that of another group of its name, or of none.
                because.add(f"it {group.problem}")
                bounded = False
                continue
            if group.filter is not None and registered is not None:
                held = registered.held(group.filter)
                found.append(held.surely)
                because.update(held.because)
                more += [held.at_most or NOWHERE]
                bounded = bounded and held.at_most is not None
            elif group.filter is not None:
                because.add("it is dynamic, and registered addresses are not known here")
                bounded = False
            for member in members.of(group):
                if member in members.leaves:
                    found.append(members.leaves[member])
                elif member in resolved:
                    found.append(resolved[member].addresses)
                    answers.append(resolved[member].answers)
                    at_most = resolved[member].at_most
                    more += [at_most or NOWHERE]
                    bounded = bounded and at_most is not None
                    dynamic = dynamic or resolved[member].dynamic
                    if resolved[member].open_because:
                        because.add(f"its member group {brief(member)!r} is not wholly known")
                elif member in reasons:
                    because.add(f"it is in a circle of groups with {member!r}")
                    bounded = False
                else:
                    single = objects.get(member)
                    addresses, reason = _unusual(member, single)
                    found.append(addresses)
                    if isinstance(single, Address):
                        answers.append(single.answers)
                    if reason:
                        because.add(reason)
                        bounded = False
        union = AddressSet.union(found)
        for name in circle:
            resolved[name] = Resolved(
                union,
                tuple(sorted(reasons[name])),
                dynamic,
                AddressSet.union(answers),
                AddressSet.union((union, *more)) if bounded else None,
            )
    return resolved


def _unusual(member: str, found: Address | AddressGroup | None) -> tuple[AddressSet, str]:
    """What a member stands for that has no addresses of its own, and what is missing of it."""
    if isinstance(found, Address):
        if found.problem:
            return NOWHERE, f"its member {brief(member)!r} {found.problem}"
        return NOWHERE, f"its member {brief(member)!r} is the FQDN {brief(found.value)}"
    literal = addressing.literal(member)
    if literal is None:
        return NOWHERE, f"its member {member!r} does not exist"
    return literal, ""


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

    PAN-OS takes none into a group, but a file may say so.
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

"""What is different between the two sides of a change: nets, rules, labels, other fields.

    before, after  ->  nets that come and go; rules inserted, removed, moved, changed; keys by value

Rules are matched by what they say, not by their place: one rule inserted at the top is one
difference, though the place and the rank of every rule below it change.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from sync.calico import cidrs
from sync.calico.names import DEVICE_GROUP_ANNOTATION, RANK_ANNOTATION, RULE_ANNOTATION
from sync.calico.objects import POLICIES
from sync.calico.references import DIRECTIONS, essence, mapping, rules
from sync.net.addresses import AddressSet, network
from sync.plan.changes import Action, Change
from sync.plan.moves import kept_in_order

INSERTED, REMOVED, MOVED, CHANGED = "inserted", "removed", "moved", "changed"

_NETS: Final = ("nets", "notNets")
_RANK: Final = f"metadata.annotations.{RANK_ANNOTATION}"


@dataclass(frozen=True)
class Field:
    """A field whose value differs, by its path; a missing value is None."""

    path: str
    before: Any
    after: Any

    @property
    def added(self) -> list[Any]:
        """The members of a list that come, in their order; of nets, the addresses."""
        return self._members[0]

    @property
    def removed(self) -> list[Any]:
        """The members of a list that go, in their order; of nets, the addresses."""
        return self._members[1]

    @cached_property
    def _members(self) -> tuple[list[Any], list[Any]]:
        """The members that come and go; nets or the addresses in them, whichever says it shorter.

        Where half of a net is gone, that half is the difference, not the net and its other half.
        """
        old, new = _listed(self.before), _listed(self.after)
        texts = _without(new, old), _without(old, new)
        if self.path.rpartition(".")[2] in _NETS:
            with suppress(ValueError, TypeError, AttributeError):
                one, other = (AddressSet.union(map(network, each)) for each in (old, new))
                addresses = cidrs.of_set(other - one), cidrs.of_set(one - other)
                if sum(map(len, addresses)) <= sum(map(len, texts)):
                    return addresses
        return texts

    def document(self) -> dict[str, Any]:
        """The field as JSON has it."""
        return {"path": self.path, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule that was inserted, removed, moved or changed, with its positions in its direction.

    `name` is the firewall's rule that it comes from, "" if it names none. `before` and `after` are
    the rule on both sides; one that was inserted has no `before`, one that was removed no `after`.
    `partly`: other rules of the same rule of the firewall are on the side where this one is not.
    """

    how: str
    direction: str
    was: int | None
    position: int | None
    before: Any
    after: Any
    partly: bool = False

    @property
    def name(self) -> str:
        name = mapping({"rule": self.after or self.before}, "rule", "metadata", "annotations")
        return str(name.get(RULE_ANNOTATION, ""))

    @property
    def origin(self) -> Hashable:
        """What tells its rule of the firewall from others; itself, if it names none."""
        return _origin(self.after or self.before) or (self.direction, self.was, self.position)

    @property
    def fields(self) -> list[Field]:
        """The fields in which the two sides differ; the rank does not count."""
        if self.before is None or self.after is None:
            return []
        return [each for each in differing(self.before, self.after) if each.path != _RANK]

    def document(self) -> dict[str, Any]:
        """The rule's change as JSON has it."""
        return {
            "how": self.how,
            "direction": self.direction,
            "was": self.was,
            "position": self.position,
            "rule": self.name,
            "fields": [each.document() for each in self.fields],
        }


@dataclass(frozen=True)
class Details:
    """The differences of a change, each part found when it is asked for."""

    change: Change

    @cached_property
    def _sides(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        before, after = self.change.before, self.change.after
        return before.document() if before else {}, after.document() if after else {}

    @cached_property
    def nets(self) -> Field:
        """The nets of a set, whose members come and go."""
        before, after = (
            list(side.contents.nets) if side and side.kind not in POLICIES else []
            for side in (self.change.before, self.change.after)
        )
        return Field("spec.nets", before, after)

    @cached_property
    def rules(self) -> list[RuleChange]:
        """The rules of a policy that differ, ingress first, by position."""
        if self.change.kind not in POLICIES:
            return []
        return rule_changes(
            *(
                {direction: rules(document, direction) for direction in DIRECTIONS}
                for document in self._sides
            )
        )

    @property
    def metadata(self) -> list[Field]:
        """The labels and annotations that differ, by key: `labels.KEY` or `annotations.KEY`."""
        old, new = (_parts(mapping(document, "metadata")) for document in self._sides)
        return [*_differing_keys(old, new)]

    @property
    def fields(self) -> list[Field]:
        """The other fields of the spec that differ."""
        skipped = ("nets", *DIRECTIONS)
        old, new = (
            {key: value for key, value in mapping(document, "spec").items() if key not in skipped}
            for document in self._sides
        )
        return [*_differing_keys(old, new)]

    def document(self) -> dict[str, Any]:
        """The differences as JSON has them."""
        return {
            "nets_added": self.nets.added,
            "nets_removed": self.nets.removed,
            "rules": [each.document() for each in self.rules],
            "metadata": [each.document() for each in self.metadata],
            "fields": [each.document() for each in self.fields],
        }


def rule_changes(
    old: Mapping[str, Sequence[Any]], new: Mapping[str, Sequence[Any]]
) -> list[RuleChange]:
    """Match the rules of two sides, by direction; return those that differ, by position.

    As few rules of the firewall as possible have moved. Where either of two may have, it is the one
    that moved in the other direction, too; the longer list tells more, so it comes first.
    """
    found: dict[str, list[RuleChange]] = {}
    aside: set[Hashable] = set()
    for direction in sorted(old, key=lambda each: -len(old[each])):
        found[direction] = _rule_changes(direction, old[direction], new[direction], aside)
        aside |= {each.origin for each in found[direction] if each.how == MOVED}
    there = {
        how: {_origin(rule) for some in side.values() for rule in some} - {None}
        for how, side in ((REMOVED, new), (INSERTED, old))
    }
    return [
        replace(each, partly=each.origin in there.get(each.how, ()))
        for direction in old
        for each in found[direction]
    ]


def _rule_changes(
    direction: str, old: Sequence[Any], new: Sequence[Any], aside: Collection[Hashable]
) -> list[RuleChange]:
    """Match the rules of two lists.

    What is on both sides is moved if it is not in the largest part that kept its order. Of what
    is on one side only, a rule of the same name counts as changed, and so does one that only has
    another name, in the same place.
    """
    pairs, gone, come = _matched([*map(essence, old)], [*map(essence, new)])
    kept = kept_in_order(pairs, [_origin(new[two]) or (two,) for _, two in pairs], aside)
    found = [
        RuleChange(MOVED, direction, one, two, old[one], new[two])
        for one, two in pairs
        if (one, two) not in kept
    ]
    fixed = [sorted(side) for side in zip(*kept, strict=True)] or [[], []]

    def renamed(rule: Any, place: int, side: int) -> Any:
        # A rule with another name is the same one only if it stayed between the same rules.
        return (bisect_left(fixed[side], place), _nameless(rule))

    for alike in (lambda rule, *_: _name(rule), renamed):
        changed, gone, come = _paired(gone, come, old, new, alike)
        found += (
            RuleChange(CHANGED, direction, one, two, old[one], new[two]) for one, two in changed
        )
    found += (RuleChange(REMOVED, direction, one, None, old[one], None) for one in gone)
    found += (RuleChange(INSERTED, direction, None, two, None, new[two]) for two in come)
    return sorted(found, key=_by_position)


def _by_position(each: RuleChange) -> tuple[int, bool]:
    # A removed rule is where it was, before what is there now.
    place = each.was if each.position is None else each.position
    return place or 0, each.position is not None


def _matched(
    old: Sequence[Any], new: Sequence[Any]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Match equal members, the first with the first; then what is left of each side."""
    places: defaultdict[Any, deque[int]] = defaultdict(deque)
    for place, member in enumerate(old):
        places[member].append(place)
    pairs, come = [], []
    for place, member in enumerate(new):
        if places[member]:
            pairs.append((places[member].popleft(), place))
        else:
            come.append(place)
    return pairs, sorted(place for some in places.values() for place in some), come


def _paired(
    gone: Sequence[int],
    come: Sequence[int],
    old: Sequence[Any],
    new: Sequence[Any],
    alike: Callable[[Any, int, int], Any],
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Match what is alike; what is like nothing, None, matches nothing."""
    pairs, left, right = _matched(
        [alike(old[place], place, 0) or (0, place) for place in gone],
        [alike(new[place], place, 1) or (1, place) for place in come],
    )
    return (
        [(gone[one], come[two]) for one, two in pairs],
        [gone[one] for one in left],
        [come[two] for two in right],
    )


def _name(rule: Any) -> str | None:
    name = mapping({"rule": rule}, "rule", "metadata", "annotations").get(RULE_ANNOTATION)
    return name if isinstance(name, str) else None


def _origin(rule: Any) -> Hashable:
    """The firewall's rule that a rule comes from, by the scope that holds it and its name."""
    annotations = mapping({"rule": rule}, "rule", "metadata", "annotations")
    name = annotations.get(RULE_ANNOTATION)
    scope = str(annotations.get(DEVICE_GROUP_ANNOTATION, ""))
    return (scope, name) if isinstance(name, str) and name else None


def _nameless(rule: Any) -> str:
    """What a rule does, whatever its annotations say."""
    if not isinstance(rule, dict):
        return repr(rule)
    return repr(sorted((key, value) for key, value in rule.items() if key != "metadata"))


def differing(before: Any, after: Any, path: str = "") -> Iterator[Field]:
    """The fields in which two documents differ; lists count as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys(), key=str):
            place = f"{path}.{key}" if path else str(key)
            yield from differing(before.get(key), after.get(key), place)
    elif before != after:
        yield Field(path, before, after)


def _parts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{part}.{key}": value
        for part in ("labels", "annotations")
        for key, value in mapping(metadata, part).items()
    }


def _differing_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Field]:
    for key in sorted(old.keys() | new.keys(), key=str):
        if old.get(key) != new.get(key):
            yield Field(str(key), old.get(key), new.get(key))


def _without(some: Iterable[Any], others: Iterable[Any]) -> list[Any]:
    left = {repr(each) for each in others}
    return [each for each in some if repr(each) not in left]


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def change_document(change: Change) -> dict[str, Any]:
    """A change as JSON has it; field names are stable."""
    return {
        "action": change.action.value,
        "cause": change.cause.value,
        "kind": change.kind,
        "name": change.name,
        "before": change.before.document() if change.before else None,
        "after": change.after.document() if change.after else None,
        "difference": Details(change).document() if change.action is Action.UPDATE else None,
        "rules": list(change.rules),
        "groups": list(change.groups),
        "changed_by": change.changed_by,
    }

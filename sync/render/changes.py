"""Render the changes of a plan: one line for each object, with what is different in it.

A line has counts and the first few names; with `verbose` there is a line for each net, rule, field,
label and annotation. Every row is escaped for terminals.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from sync.calico.names import FIREWALL_PREFIX, LIST_LABEL, RULE_ANNOTATION
from sync.calico.objects import POLICIES
from sync.calico.references import DIRECTIONS, Label, mapping, named, rules
from sync.plan.changes import Action, Cause, Change
from sync.plan.details import CHANGED, INSERTED, MOVED, REMOVED, Details, Field, RuleChange
from sync.plan.details import rule_changes as differing_rules
from sync.plan.plan import Plan
from sync.text import counted, printable

SIGNS: Final = {Action.CREATE: "+", Action.UPDATE: "~", Action.DELETE: "-"}

_ITEMS: Final = 4  # of a list in a line
_NAMES: Final = 3  # of rules, groups or keys in a line
_FIELDS: Final = 2  # changed rules whose fields are in a line
_LENGTH: Final = 60  # characters of a value in a line
_CONTEXT: Final = 12  # of them before a difference
_RULE_SIGNS: Final = {INSERTED: "+", REMOVED: "-", CHANGED: "~", MOVED: "~"}


def change_rows(changes: Sequence[Change], plan: Plan, *, verbose: bool) -> Iterator[str]:
    """Render changes of a plan, one line an object or, with `verbose`, every difference."""
    users = _users_of_lists(changes, plan)
    moved = {id(change) for some in _moved_chains(changes).values() for change in some}
    for change in changes:
        yield from _rows_of(change, users, verbose=verbose, whole=id(change) in moved)


def zone_rows(changes: Sequence[Change], *, verbose: bool) -> Iterator[str]:
    """Render what changes in the rules of zones whose policies are replaced by other ones."""
    for (tier, zone), some in sorted(_moved_chains(changes).items()):
        old, new = (
            [
                side.document()
                for side in sorted(
                    filter(None, sides), key=lambda each: (each.contents.position.order, each.name)
                )
            ]
            for sides in ([each.before for each in some], [each.after for each in some])
        )
        found = differing_rules(
            *(
                {way: [*chain(*(rules(each, way) for each in side))] for way in DIRECTIONS}
                for side in (old, new)
            )
        )
        said = "; ".join(_rule_parts(found)) or "the same rules"
        yield printable(f"~ zone {zone}, tier {tier} ({said})")
        if verbose:
            yield from _rule_rows(found)


def _moved_chains(changes: Sequence[Change]) -> dict[tuple[str, str], list[Change]]:
    """The chains of which some policies are removed and others created, by tier and zone."""
    found: defaultdict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in changes:
        if change.kind in POLICIES and change.place.chain:
            found[change.place.tier, change.place.chain].append(change)
    return {
        key: some
        for key, some in found.items()
        if {Action.CREATE, Action.DELETE} <= {each.action for each in some}
    }


def _users_of_lists(changes: Sequence[Change], plan: Plan) -> Mapping[Label, Sequence[str]]:
    """The firewall's rules by the lists, of those that change, that they were translated to."""
    if not any(_list_of(change) for change in changes):
        return {}
    found: defaultdict[Label, dict[str, None]] = defaultdict(dict)
    policies = (side for change in plan.changes for side in change.sides)
    for manifest in (*policies, *plan.beside):
        if manifest.kind not in POLICIES:
            continue
        document = manifest.document()
        for direction in DIRECTIONS:
            for rule in rules(document, direction):
                if name := _name_of(rule):
                    for label in named({"spec": {direction: [rule]}}):
                        found[label][name] = None
    return {label: sorted(names) for label, names in found.items()}


def _list_of(change: Change) -> Label | None:
    labels = change.sides[-1].contents.labels
    return next((each for each in labels if each[0] == LIST_LABEL and each[1]), None)


def _rows_of(
    change: Change, users: Mapping[Label, Sequence[str]], *, verbose: bool, whole: bool
) -> Iterator[str]:
    details = Details(change)
    update = change.action is Action.UPDATE
    parts = _update_parts(details) if update else _whole_parts(change)
    parts += _origin_parts(change, users)
    if change.cause is Cause.DRIFT:
        parts.append(f"drift by {change.changed_by}" if change.changed_by else "drift")
    sign = SIGNS[change.action]
    yield printable(f"{sign} {change.kind} {change.name} ({'; '.join(parts)})")
    if verbose:
        yield from _net_rows(details.nets)
        # The rules of a chain that moves to other policies are compared as a whole.
        yield from () if whole else _rule_rows(details.rules)
        yield from _field_rows(details)


def _whole_parts(change: Change) -> list[str]:
    """What an object holds that is created or removed."""
    document = change.sides[-1].document()
    if change.kind == "Tier":
        return [f"order {mapping(document, 'spec').get('order')}"]
    if change.kind in POLICIES:
        ingress, egress = (len(rules(document, direction)) for direction in DIRECTIONS)
        return [f"{ingress:,} ingress, {counted(egress, 'egress rule')}"]
    return [counted(len(change.sides[-1].contents.nets), "net")]


def _update_parts(details: Details) -> list[str]:
    nets = details.nets
    parts = [f"nets: {_members(nets) or _apart(nets)}"] if nets.before != nets.after else []
    parts += _rule_parts(details.rules)
    parts += (f"{each.path} {_apart(each)}" for each in details.fields)
    for part in ("labels", "annotations"):
        keys = [each for each in details.metadata if each.path.startswith(f"{part}.")]
        if keys:
            said = ", ".join(_key(each, part) for each in keys[:_NAMES])
            parts.append(f"{part}: {said}{_more(len(keys), _NAMES)}")
    # What is left is the rank of rules, and content that is none of ours.
    return parts or ["numbers of rules" if details.change.kind in POLICIES else "other fields"]


def _origin_parts(change: Change, users: Mapping[Label, Sequence[str]]) -> list[str]:
    """The address groups of a set, where its name is not theirs, and the rules of a list."""
    update = change.action is Action.UPDATE
    groups = [each for each in change.groups if update or change.name != f"pan.{each}"]
    found = [f"group {_quoted(groups)}"] if groups else []
    label = _list_of(change)
    if label and (names := users.get(label)):
        found.append(f"list of rule {_quoted(names)}")
    return found


def _rule_parts(changes: Sequence[RuleChange]) -> list[str]:
    """Rules that differ: how many of the firewall's, the names of the first few, what changed.

    One rule of the firewall is several of Calico's: where only some of them differ, it changed.
    """
    parts: list[str] = []
    for how, words in ((INSERTED, "+"), (REMOVED, "-"), (CHANGED, "~"), (MOVED, "moved ")):
        some = [each for each in changes if (CHANGED if each.partly else each.how) == how]
        origins = {each.origin: each.name for each in some}
        if how == CHANGED and len({(each.origin, _fields(each)) for each in some}) <= _FIELDS:
            parts += (
                f"~1 rule {_quoted([name])}: {_changed([c for c in some if c.origin == origin])}"
                for origin, name in origins.items()
            )
        elif some:
            names = dict.fromkeys(name for name in origins.values() if name)
            number = counted(len(origins), "rule")
            what = _alike(some) if how == CHANGED else ""
            parts.append(f"{words}{number} {_quoted([*names])}".rstrip() + what)
    return parts


def _alike(changes: Sequence[RuleChange]) -> str:
    """The one difference that all of them have, if there is one."""
    found = {said for each in changes for said in _differences(each, _ITEMS)}
    return f": {found.pop()}" if len(found) == 1 and not any(c.partly for c in changes) else ""


def _changed(changes: Sequence[RuleChange]) -> str:
    """What changed in one rule of the firewall: fields of its Calico rules, and their number."""
    counts = Counter(each.how for each in changes if each.partly)
    found = dict.fromkeys(_fields(each) for each in changes if not each.partly)
    more = " ".join(
        f"{sign}{counts[how]}" for how, sign in ((INSERTED, "+"), (REMOVED, "-")) if counts[how]
    )
    calico = "Calico rule" if more[1:] == "1" else "Calico rules"
    return "; ".join([*found, *([f"{more} {calico}"] if more else [])])


def _fields(each: RuleChange, limit: int | None = _ITEMS) -> str:
    found = [
        f"{_path(field.path)} {said}"
        for field, said in zip(each.fields, _differences(each, limit), strict=True)
    ]
    shown = found if limit is None else found[:_NAMES]
    return ", ".join(shown) + _more(len(found), len(shown))


def _differences(each: RuleChange, limit: int | None) -> list[str]:
    """What is different in each field of a rule."""
    return [_members(field, limit) or _apart(field, whole=limit is None) for field in each.fields]


def _path(path: str) -> str:
    """A path in a rule, in the words of a reader."""
    short = path.removeprefix("metadata.annotations.").removeprefix(f"{FIREWALL_PREFIX}/")
    return short if short != path else path.replace(".", " ")


def _members(field: Field, limit: int | None = _ITEMS) -> str:
    """The members that come and go in a list: all of them, or counts and the first few."""
    parts: list[str] = []
    for sign, some in (("+", field.added), ("-", field.removed)):
        if limit is None or len(some) <= limit:
            parts += (f"{sign}{each}" for each in some)
        else:
            shown = " ".join(map(str, some[: limit - 1]))
            parts.append(f"{sign}{len(some):,} ({shown} …)")
    return " ".join(parts)


def _apart(field: Field, *, whole: bool = False) -> str:
    """Both values of a field, each cut to where they differ."""
    before, after = _shown(field.before), _shown(field.after)
    if isinstance(field.before, list) and isinstance(field.after, list):
        return "the same, written otherwise"
    if whole or max(len(before), len(after)) <= _LENGTH:
        return f"{before} -> {after}"
    same = next(
        (
            place
            for place, pair in enumerate(zip(before, after, strict=False))
            if pair[0] != pair[1]
        ),
        min(len(before), len(after)),
    )
    start = max(0, same - _CONTEXT)
    return " -> ".join(_cut(value, start) for value in (before, after))


def _cut(value: str, start: int) -> str:
    end = start + _LENGTH
    return ("…" if start else "") + value[start:end] + ("…" if len(value) > end else "")


def _key(field: Field, part: str) -> str:
    key = field.path.removeprefix(f"{part}.")
    if field.before is None:
        return f"+{key}={_cut(str(field.after), 0)}"
    if field.after is None:
        return f"-{key}"
    return f"{key} {_apart(field)}"


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) if "'" in name else f"'{name}'" for name in names[:_NAMES])
    return shown + _more(len(names), _NAMES)


def _more(number: int, shown: int) -> str:
    return f" and {number - shown:,} more" if number > shown else ""


def _net_rows(nets: Field) -> Iterator[str]:
    for sign, some in (("-", nets.removed), ("+", nets.added)):
        yield from (printable(f"{sign}     {net}") for net in some)


def _rule_rows(changes: Sequence[RuleChange]) -> Iterator[str]:
    """The rules that differ, with their positions: now, or where they were.

    Rules that follow one another and differ alike are one row.
    """
    found: list[tuple[RuleChange, int, str]] = []
    for each in changes:
        said = _rule_change(each)
        if found:
            first, number, before = found[-1]
            if said == before and _follows(each, first, number):
                found[-1] = first, number + 1, said
                continue
        found.append((each, 1, said))
    for each, number, said in found:
        place = each.was if each.position is None else each.position
        was = "" if each.was in (place, None) else f" (was {_places(each.was, number)})"
        sign = _RULE_SIGNS[each.how]
        yield printable(f"{sign}     {each.direction} {_places(place, number)}{was}: {said}")


def _follows(each: RuleChange, first: RuleChange, number: int) -> bool:
    return (each.how, each.direction, each.position, each.was) == (
        first.how,
        first.direction,
        None if first.position is None else first.position + number,
        None if first.was is None else first.was + number,
    )


def _places(place: int | None, number: int) -> str:
    first = place or 0
    return str(first) if number == 1 else f"{first}-{first + number - 1}"


def _rule_change(each: RuleChange) -> str:
    name = f"  # {each.name}" if each.name else ""
    if each.how == MOVED:
        return f"moved{name}"
    if each.how == CHANGED:
        return f"{_fields(each, None)}{name}"
    return _rule(each.after or each.before)


def _rule(rule: Any) -> str:
    """A rule on one line: its action, its flows, and the firewall's rule that it came from."""
    if not isinstance(rule, dict):
        return _shown(rule)
    icmp = mapping(rule, "icmp")
    parts = [
        str(rule.get("action")),
        f"IPv{rule['ipVersion']}" if "ipVersion" in rule else "",
        str(rule.get("protocol", "")),
        " ".join(f"{key} {icmp[key]}" for key in ("type", "code") if key in icmp),
        *(
            f"{word} {said}"
            for word, end in (("from", "source"), ("to", "destination"))
            if (said := _end(mapping(rule, end)))
        ),
    ]
    name = _name_of(rule)
    return " ".join(part for part in parts if part) + (f"  # {name}" if name else "")


def _name_of(rule: Any) -> str:
    annotations = mapping({"rule": rule}, "rule", "metadata", "annotations")
    return str(annotations.get(RULE_ANNOTATION, ""))


def _end(entity: Mapping[str, Any]) -> str:
    """One end of a rule's flows; "" for any."""
    words = {"notSelector": "not ", "notNets": "not ", "ports": "ports ", "notPorts": "not ports "}
    return ", ".join(
        f"{words.get(key, '')}{_shown(entity[key])}"
        for key in ("selector", "notSelector", "nets", "notNets", "ports", "notPorts")
        if key in entity
    )


def _shown(value: Any) -> str:
    """A value on one line; of a list, only the first items."""
    if not isinstance(value, list):
        return "none" if value is None else str(value)
    more = f" and {len(value) - _ITEMS} more" if len(value) > _ITEMS else ""
    return " ".join(map(str, value[:_ITEMS])) + more


def _field_rows(details: Details) -> Iterator[str]:
    """The fields of the spec, and the labels and annotations, that differ, with whole values."""
    spec = details.fields if details.change.action is Action.UPDATE else []
    for field in (*(replace(each, path=f"spec.{each.path}") for each in spec), *details.metadata):
        part, _, key = field.path.partition(".")
        where = f"{part}: {key}="
        if field.before is not None:
            yield printable(f"-     {where}{field.before}")
        if field.after is not None:
            yield printable(f"+     {where}{field.after}")

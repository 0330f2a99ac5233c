"""What holds an address as text for people and as a document.

Long lists are counted in the text; the document has all. Names come from configurations that
others write: control characters never reach a terminal.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sync.firewall.membership import HeldGroup, HeldObject, Holds
from sync.net.addresses import AddressSet
from sync.queries.which import (
    DeviceGroupHolders,
    HeldEnd,
    HeldRule,
    HeldSet,
    HeldZone,
    Holders,
    written,
)
from sync.text import counted, printable

_LINES: Final = 20  # of one kind of thing
_FEW: Final = 3  # nets, members and reasons of one line
_STEPS: Final = 8  # of a way
_FILTER: Final = 200  # characters


def text(found: Holders, asked: AddressSet) -> str:
    """Render what holds it in one cluster, for a terminal; ends with a line break."""
    in_ = "in" if asked.size == 1 else "wholly or partly in"
    sets = counted(len(found.sets), "set")
    lines = [f"Cluster {found.cluster}: {written(asked)} is {in_} {sets}"]
    lines += _shortened(map(_set, found.sets))
    if found.among_pods:
        some = "it lies" if found.among_pods is Holds.ALL else "a part of it lies"
        lines += ["", f"Pods: {some} in clusters[].pod_cidrs; a pod's zone is that of its labels"]
    for each in found.device_groups:
        lines += ["", *_device_group(each)]
    return "".join(f"{printable(line)}\n" for line in lines)


def document(found: Sequence[Holders], asked: AddressSet) -> dict[str, Any]:
    """Render what holds it in some clusters, for `--output json`; each entry names its cluster."""
    of_groups = [(holders, each) for holders in found for each in holders.device_groups]
    return {
        "address": written(asked),
        "sets": [
            {
                "cluster": holders.cluster,
                "name": each.name,
                "group": each.group,
                "holds": each.holds,
                "nets": list(each.nets),
            }
            for holders in found
            for each in holders.sets
        ],
        "objects": [
            _place(holders, group)
            | {"name": each.name, "kind": each.kind, "value": each.value, "holds": each.holds}
            for holders, group in of_groups
            for each in group.objects
        ],
        "groups": [
            _place(holders, group) | _group_document(each)
            for holders, group in of_groups
            for each in group.groups
        ],
        "zones": [
            _place(holders, group) | _zone_document(each)
            for holders, group in of_groups
            for each in group.zones
        ],
        "rules": [
            _place(holders, group) | _rule_document(each)
            for holders, group in of_groups
            for each in group.rules
        ],
        "device_groups": [
            _place(holders, group)
            | {
                "in_no_zone": group.in_no_zone or "none",
                "among_pods": (holders.among_pods or "none") if holders.pods_known else None,
                "any_source": group.any_source,
                "any_destination": group.any_destination,
            }
            for holders, group in of_groups
        ],
    }


def _place(holders: Holders, group: DeviceGroupHolders) -> dict[str, Any]:
    return {"cluster": holders.cluster, "source": group.source, "target": group.name}


def _group_document(each: HeldGroup) -> dict[str, Any]:
    return {
        "name": each.name,
        "holds": each.holds,
        "filter": each.filter,
        "members": list(each.members),
        "way": list(each.way),
        "value": each.value,
        "reasons": list(each.open_because),
    }


def _zone_document(each: HeldZone) -> dict[str, Any]:
    return {
        "name": each.name,
        "holds": each.holds,
        "networks": list(each.networks),
        "origin": each.origin,
    }


def _rule_document(rule: HeldRule) -> dict[str, Any]:
    placed = rule.placed
    return {
        "device_group": placed.device_group,
        "rulebase": placed.rulebase,
        "position": placed.position,
        "name": placed.rule.name,
        "uuid": placed.rule.uuid,
        "action": placed.rule.action,
        "disabled": placed.rule.disabled,
        "ends": [
            {
                "end": each.end,
                "holds": each.holds,
                "negated": each.negated,
                "members": list(each.members),
                "reasons": list(each.reasons),
            }
            for each in rule.ends
        ],
    }


def _device_group(found: DeviceGroupHolders) -> Iterator[str]:
    yield f"Device group {found.source}/{found.name}"
    surely = [each for each in found.groups if each.holds is not Holds.MAYBE]
    maybe = [each for each in found.groups if each.holds is Holds.MAYBE]
    for title, lines in (
        ("Address objects", [*map(_object, found.objects)]),
        ("Address groups", [*map(_group, surely)]),
        (
            "Address groups that may hold it",
            [f"{each.name!r}: {_reasons(each.open_because)}" for each in maybe],
        ),
        ("Zones", [*_zones(found)]),
        ("Rules", [_rule(each) for each in found.rules if each.sure]),
        ("Rules that may hold it", [_rule(each) for each in found.rules if not each.sure]),
    ):
        if lines:
            yield f"  {title}"
            yield from _shortened(lines, "    ")
    yield (
        f"  For any address: {counted(found.any_source, 'rule')} by source, "
        f"{found.any_destination:,} by destination"
    )


def _shortened(lines: Iterable[str], indent: str = "  ") -> Iterator[str]:
    found = list(lines)
    yield from (f"{indent}{line}" for line in found[:_LINES])
    if len(found) > _LINES:
        yield f"{indent}and {len(found) - _LINES:,} more (--output json has all)"


def _set(found: HeldSet) -> str:
    of = "" if found.group else ", a list of a rule"
    return f"{found.name} ({_listed(found.nets)}{of}){_part(found.holds)}"


def _object(found: HeldObject) -> str:
    return f"{found.name} ({found.kind} {found.value}){_part(found.holds)}"


def _group(found: HeldGroup) -> str:
    """The way into a group, with the other members that lead there."""
    *groups, last = found.way
    if len(groups) > _STEPS:
        groups = [*groups[: _STEPS - 1], f"… {len(groups) - _STEPS:,} more …", groups[-1]]
    way = " > ".join([*groups, last])
    said = way if found.value == last else f"{way} ({found.value})"
    if found.filter is not None:
        cut = "…" if len(found.filter) > _FILTER else ""
        said += f", by its filter {found.filter[:_FILTER]}{cut}"
    if others := [each for each in found.members if each != found.way[1]]:
        said += f", and by {_quoted(others)}"
    said += _part(found.holds)
    if found.holds is Holds.PART and found.open_because:
        said += f", and may hold more: {_reasons(found.open_because)}"
    return said


def _zones(found: DeviceGroupHolders) -> Iterator[str]:
    sure = [each for each in found.zones if each.holds is not Holds.MAYBE]
    maybe = [each for each in found.zones if each.holds is Holds.MAYBE]
    yield from (_zone(each) for each in sure)
    if found.in_no_zone:
        what = "a part of it" if found.in_no_zone is Holds.PART else "it"
        yield f"no zone is known to hold {what}"
    yield from (f"{each.name!r} may hold it: {each.origin}" for each in maybe)


def _zone(found: HeldZone) -> str:
    return f"{found.name!r}: {_listed(found.networks)}, {found.origin}{_part(found.holds)}"


def _rule(found: HeldRule) -> str:
    placed = found.placed
    disabled = ", disabled" if placed.rule.disabled else ""
    return (
        f"{placed.device_group} {placed.rulebase} {placed.position} {placed.rule.name!r} "
        f"({placed.rule.action}{disabled}): {'; '.join(map(_end, found.ends))}"
    )


def _end(found: HeldEnd) -> str:
    if found.holds is Holds.MAYBE:
        list_ = f"negated {found.end}" if found.negated else found.end
        return f"{list_} may hold it: {_reasons(found.reasons)}"
    if found.negated:
        spared = f"all but {_quoted(found.members)}" if found.members else "which does not name it"
        return f"negated {found.end}, {spared}{_part(found.holds)}"
    more = f", and may hold more: {_reasons(found.reasons)}" if found.reasons else ""
    return f"{found.end} by {_quoted(found.members)}{_part(found.holds)}{more}"


def _part(holds: Holds) -> str:
    return ": a part of it" if holds is Holds.PART else ""


def _quoted(names: Sequence[str]) -> str:
    return _listed([f"{each!r}" for each in names])


def _listed(items: Sequence[str]) -> str:
    rest = len(items) - _FEW
    return ", ".join(items[:_FEW]) + (f" and {rest:,} more" if rest > 0 else "")


def _reasons(reasons: Sequence[str]) -> str:
    rest = len(reasons) - _FEW
    return "; ".join(reasons[:_FEW]) + (f"; and {rest:,} more" if rest > 0 else "")

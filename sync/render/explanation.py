"""An explained flow as text for people and as a document.

Names come from configurations that others write: control characters never reach a terminal.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sync.net.addresses import AddressSet
from sync.queries.explain import Explained
from sync.queries.observed import change_document
from sync.text import counted, printable, shortened
from sync.verify.explain import Case, Side
from sync.verify.judgement import Decider, Judgement, Passed
from sync.verify.packet_space import Place
from sync.verify.traffic_space import Packet

_CASES: Final = 10  # of one side
_FLOWS: Final = 3  # pairs of addresses of one case
_NETS: Final = 3  # of one pair
_VERBS: Final = {"allow": "allows", "deny": "denies"}

_Reasons = Mapping[Place, tuple[str, ...]]


def text(found: Explained, packet: Packet) -> str:
    """The rules that decide it, for a terminal; ends with a line break."""
    where = "as its objects stand" if found.live else "in its desired state"
    ends = f"{found.source} to {found.destination}, {packet.said()}"
    verdict = f": {_verdict(found)}" if found.sides else ""
    lines = [f"Cluster {found.cluster}, {where}: {ends}{verdict}"]
    lines += [f"  {each}" for each in _notes(found)]
    for side in found.sides:
        lines += ["", *_side(side, found)]
    return "".join(f"{printable(line)}\n" for line in lines)


def document(found: Explained, packet: Packet) -> dict[str, Any]:
    """The explained flow for `--output json`."""
    reasons = _reasons(found)
    return {
        "cluster": found.cluster,
        "live": found.live,
        "from": found.source,
        "to": found.destination,
        "traffic": packet.said(),
        "verdict": found.verdict if found.sides else None,
        "now": found.now if found.sides else None,
        "notes": _notes(found),
        "pending": [change_document(each) for each in found.pending],
        "sides": [
            {
                "direction": side.direction,
                "source": side.source,
                "target": side.device_group,
                "tier": side.tier,
                "cases": [_case_document(each, side, reasons) for each in side.cases],
            }
            for side in found.sides
        ],
    }


def _notes(found: Explained) -> list[str]:
    return [*found.notes, *(each.sentence for each in found.unseen)]


def _side(side: Side, found: Explained) -> Iterator[str]:
    who = found.source if side.direction == "egress" else found.destination
    yield (
        f"{side.direction.capitalize()} of {who}, tier {side.tier}, device group "
        f"{side.source}/{side.device_group}"
    )
    reasons = _reasons(found)
    # What most flows are a case of is what holds unless something is said of them.
    usual = max(side.cases, key=_size)
    cases = [each for each in side.cases if each is not usual]
    for case in (*cases[:_CASES], usual):
        indent = "  "
        if cases:
            yield f"  {'all others' if case is usual else _flows(case, side, found)}"
            indent = "    "
        if case.firewall:
            yield from _judgement("the firewall", case.firewall, reasons, indent)
        else:
            yield f"{indent}the firewall: no zone of this device group"
        yield from _judgement("Calico", case.calico, reasons, indent)
        if case.enforced.decider != case.calico.decider:
            yield from _judgement("Calico without staged policies", case.enforced, reasons, indent)
    if len(cases) > _CASES:
        more = counted(len(cases) - _CASES, "more case")
        yield f"  all but {more}: give an address at both ends, or --output json"


def _verdict(found: Explained) -> str:
    """The verdict of our tiers; tiers before or after them are unknown here."""
    said = {"allow": "our tiers allow it", "deny": "our tiers deny it", "unknown": "it depends"}
    if found.now == found.verdict:
        return said[found.verdict]
    return f"{said[found.verdict]} once what is staged is enforced, until then {said[found.now]}"


def _size(case: Case) -> tuple[int, int]:
    """The number of flows, IPv4 first: all of IPv4 is small beside any part of IPv6."""
    sizes = [(bool(one.v4), one.size * other.size) for one, other in case.flows]
    v4, v6 = (sum(size for is_v4, size in sizes if is_v4 is family) for family in (True, False))
    return v4, v6


def _flows(case: Case, side: Side, found: Explained) -> str:
    """Name the flows of a case, by the ends that have several addresses."""
    wholes = [each.addresses for each in found.parties]
    said = []
    for pair in case.flows:
        source, destination = _ends(pair, side)
        parts = [
            f"{word} {_nets(addresses)}"
            for word, addresses, whole in (
                ("from", source, wholes[0]),
                ("to", destination, wholes[1]),
            )
            if addresses != _like(whole, addresses)
        ]
        said.append(" ".join(parts) or f"all IPv{4 if source.v4 else 6}")
    some = dict.fromkeys(said)
    more = f"; and {len(some) - _FLOWS} more" if len(some) > _FLOWS else ""
    return "; ".join([*some][:_FLOWS]) + more


def _like(whole: AddressSet, part: AddressSet) -> AddressSet:
    """The part of some addresses in the IP families of others."""
    return AddressSet(whole.v4 if part.v4 else (), whole.v6 if part.v6 else ())


def _nets(addresses: AddressSet) -> str:
    nets = addresses.cidrs()
    more = f" and {len(nets) - _NETS} more" if len(nets) > _NETS else ""
    return ", ".join(nets[:_NETS]) + more


def _ends(pair: tuple[AddressSet, AddressSet], side: Side) -> tuple[AddressSet, AddressSet]:
    """A pair of the pod's addresses and its far end's, as source and destination."""
    return pair if side.direction == "egress" else (pair[1], pair[0])


def _judgement(who: str, judgement: Judgement, reasons: _Reasons, indent: str) -> Iterator[str]:
    for passed in judgement.passed:
        yield f"{indent}  {_passed(passed)}"
    for each in judgement.perhaps:
        why = each.because or (shortened(reasons.get(each.place, ())) if each.place else "")
        if each.where:
            why = "policies use labels that the zone does not have"
        because = f": {why}" if why else ""
        yield f"{indent}{who} perhaps {_VERBS[each.action]} it: {_rule(each)}{because}"
    perhaps = ", if none of these does" if judgement.perhaps else ""
    decider = judgement.decider
    yield f"{indent}{who} {_VERBS[decider.action]} it{perhaps}: {_rule(decider)}"


def _rule(decider: Decider) -> str:
    staged = ", staged: not enforced" if decider.staged else ""
    if decider.where:
        said = f", as {decider.rule!r}" if decider.rule else ""
        return f"{decider.where}{said}{staged}"
    return _placed(decider.rule, decider.place)


def _passed(passed: Passed) -> str:
    named = f", as {passed.rule!r}" if passed.rule else ""
    rule = f"{passed.where}{named}" if passed.where else _placed(passed.rule, passed.place)
    return f"not {rule}: {passed.because}"


def _placed(rule: str, place: Place | None) -> str:
    if place is None:
        return _DEFAULTS.get(rule, rule)
    _, _, device_group, rulebase, position = place
    return f"{device_group} {rulebase} {position} {rule!r}"


# What decides where no rule of the firewall is about an end.
_DEFAULTS: Final = {
    "wildcard-overlap": "wildcards of two rules overlap, and neither rule allows it",
    "unzoned-pods": "no zone of the far pod is known (zones.unzoned_pods)",
    "unknown-addresses": "no zone is known to hold the far end (zones.unknown_addresses)",
}


def _reasons(found: Explained) -> _Reasons:
    return {each.place: each.reasons for each in found.report.rules if each.reasons}


def _case_document(case: Case, side: Side, reasons: _Reasons) -> dict[str, Any]:
    flows = [_ends(pair, side) for pair in case.flows]
    firewall = case.firewall
    return {
        "flows": [{"from": one.cidrs(), "to": other.cidrs()} for one, other in flows],
        "firewall": firewall and _judgement_document(firewall, reasons),
        "calico": _judgement_document(case.calico, reasons),
        "enforced": _judgement_document(case.enforced, reasons),
    }


def _judgement_document(judgement: Judgement, reasons: _Reasons) -> dict[str, Any]:
    return {
        "verdict": judgement.verdict,
        "decider": _decider_document(judgement.decider, reasons),
        "perhaps": [_decider_document(each, reasons) for each in judgement.perhaps],
        "passed": [
            {**_place_document(each.rule, each.place, each.where), "because": each.because}
            for each in judgement.passed
        ],
    }


def _decider_document(decider: Decider, reasons: _Reasons) -> dict[str, Any]:
    found = {
        "action": decider.action,
        **_place_document(decider.rule, decider.place, decider.where),
    }
    if decider.where:
        return {**found, "staged": decider.staged}
    of_packet = [decider.because] if decider.because else []
    of_rule = reasons.get(decider.place, ()) if decider.place else ()
    return {**found, "reasons": [*of_packet, *of_rule]}


def _place_document(rule: str, place: Place | None, where: str) -> dict[str, Any]:
    if where:
        return {"rule": rule, "calico": where}
    _, _, device_group, rulebase, position = place or ("", "", "", "", None)
    return {
        "rule": rule,
        "device_group": device_group,
        "rulebase": rulebase,
        "position": position,
    }

"""Render the flows that become allowed and denied, as text, Markdown and JSON.

Names come from configurations that others write: control characters never reach a terminal, and
nothing in them is Markdown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sync.net.addresses import AddressSet, written
from sync.net.intervals import to_ranges
from sync.text import counted, printable
from sync.verify.flow_changes import ChangedFlows, FlowChanges
from sync.verify.flow_names import Flows, Who
from sync.verify.traffic_space import Carried

SHOWN: Final = 20  # of one kind of change
_NETS: Final = 4  # of one end
_NAMES: Final = 12  # of pods
_LENGTH: Final = 240  # of the services in a line
_IN_JSON: Final = 1_000
_COLORS: Final = {"+": "\x1b[32m", "-": "\x1b[31m", "!": "\x1b[33m"}
_RESET: Final = "\x1b[0m"
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}


def text(found: ChangedFlows, *, every: bool = False, color: bool = False) -> str:
    """Render for a terminal, all of them or the first; ends with a line break."""
    lines = []
    for title, rows in sections(found, every=every):
        lines += ["", title, *(f"  {row}" for row in rows)]
    return "".join(f"{_colored(line) if color else line}\n" for line in lines)


def markdown(found: ChangedFlows, *, every: bool = False) -> str:
    """Render as Markdown; ends with a line break."""
    lines = []
    for title, rows in sections(found, every=every):
        fence = "`" * max(3, 1 + max(row.count("`") for row in rows))
        lines += ["", f"### {title}", "", f"{fence}diff", *rows, fence]
    return "\n".join([*lines, ""])


def sections(found: ChangedFlows, *, every: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Yield a title and lines for each kind of policies, and all notes at the end of the last."""
    parts = [(title, [*_rows(changes, every=every)]) for title, changes in _parts(found)]
    parts[-1][1].extend(map(printable, found.notes))
    yield from parts


def document(found: ChangedFlows) -> dict[str, Any]:
    """The changes for `--output json`."""
    return {
        **_document(found.enforced),
        "staged": _document(found.staged) if found.staged else None,
        "notes": list(found.notes),
    }


def _parts(found: ChangedFlows) -> Iterator[tuple[str, FlowChanges]]:
    if found.staged is None:
        yield "Flows", found.enforced
    else:
        yield "Flows, by what is enforced", found.enforced
        yield "Flows, once what is staged is enforced", found.staged


def _rows(changes: FlowChanges, *, every: bool) -> Iterator[str]:
    """A line for each box of flows, and one that says what else there is."""
    for sign, verb, some in (("+", "allowed", changes.allowed), ("-", "denied", changes.denied)):
        shown = some if every else some[:SHOWN]
        for flows in shown:
            yield printable(f"{sign} {flows_said(flows)} becomes {verb}")
        if len(some) > len(shown):
            yield f"{sign} and {counted(len(some) - len(shown), 'more kind')} of flows: --verbose"
    for each in changes.unknown:
        yield printable(f"! unknown: {each}")
    if changes.unknown:
        yield "what else changes is unknown"
    elif changes.nothing:
        yield "no flow changes"
    else:
        yield "nothing else changes"


def flows_said(flows: Flows) -> str:
    """Some flows in words: `web → db 5432/tcp from 10.3.0.0/16`."""
    source, destination = flows.source, flows.destination
    versions = "" if len(flows.families) != 1 else f" (IPv{flows.families[0]})"
    # Where pods of one name are all there is, their addresses come last.
    one, apart = _alone(source, "from")
    other, more = _alone(destination, "to")
    return f"{one} → {other} {traffic_said(flows)}{apart}{more}{versions}"


def _alone(some: Sequence[Who], word: str) -> tuple[str, str]:
    """Ends, and what is said of their addresses behind the traffic."""
    first = some[0]
    if len(some) > 1 or first.outside or first.addresses is None:
        return "; ".join(map(_who, some)), ""
    return _who(replace(first, addresses=None)), f" {word} {_nets(first.addresses)}"


def _who(who: Who) -> str:
    if not who.outside:
        but = (" but " if who.pods else "") if who.but else ""
        more = f" and {len(who.pods) - _NAMES} more" if len(who.pods) > _NAMES else ""
        named = f"{'any pod' if who.but else ''}{but}{', '.join(who.pods[:_NAMES])}{more}"
        return named if who.addresses is None else f"{named} at {_nets(who.addresses)}"
    return "any address outside pods" if who.addresses is None else _nets(who.addresses)


def _nets(addresses: AddressSet) -> str:
    """The addresses as CIDRs, or as ranges where these are fewer; the first of many."""
    found = min(addresses.cidrs(), [*_ranges(addresses)], key=len)
    more = f" and {len(found) - _NETS:,} more" if len(found) > _NETS else ""
    return ", ".join(found[:_NETS]) + more


def _ranges(addresses: AddressSet) -> Iterator[str]:
    for family, bounds in ((4, addresses.v4), (6, addresses.v6)):
        for first, past in to_ranges(bounds):
            one = AddressSet((first, past)) if family == 4 else AddressSet((), (first, past))
            cidrs = one.cidrs() if past - first & past - first - 1 == 0 else ()
            if len(cidrs) == 1:
                yield cidrs[0]
            else:
                yield f"{written((family, first))}-{written((family, past - 1))}"


def traffic_said(flows: Flows) -> str:
    """The services of some flows: `443/tcp, 53/udp`, `8/icmp`, `any traffic but 22/tcp`."""
    if not flows.traffic:
        return "any traffic"
    listed = ", ".join(map(_carried, flows.traffic))
    if len(listed) > _LENGTH:
        listed = f"{listed[:_LENGTH].rpartition(',')[0]} and more"
    return f"any traffic but {listed}" if flows.but else listed


def _carried(each: Carried) -> str:
    protocol = _PROTOCOLS.get(each.protocol, f"ip/{each.protocol}")
    if each.types or each.but:
        types = ", ".join(each.types)
        return f"{protocol} but {types}" if each.but and types else f"{types or 'any'}/{protocol}"
    said = protocol if each.ports is None else f"{each.ports}/{protocol}"
    return said if each.source_ports is None else f"{said} from source ports {each.source_ports}"


def _document(changes: FlowChanges) -> dict[str, Any]:
    return {
        "allowed": [*map(_flows_document, changes.allowed[:_IN_JSON])],
        "denied": [*map(_flows_document, changes.denied[:_IN_JSON])],
        "more_allowed": max(0, len(changes.allowed) - _IN_JSON),
        "more_denied": max(0, len(changes.denied) - _IN_JSON),
        "unknown": list(changes.unknown),
    }


def _flows_document(flows: Flows) -> dict[str, Any]:
    return {
        "text": flows_said(flows),
        "from": [*map(_who_document, flows.source)],
        "to": [*map(_who_document, flows.destination)],
        "traffic": [*map(_carried_document, flows.traffic)],
        "all_traffic_but": flows.but,
        "ip_versions": list(flows.families),
    }


def _who_document(who: Who) -> dict[str, Any]:
    """An end; `addresses` null: any that such ends can have."""
    nets = None if who.addresses is None else who.addresses.cidrs()
    return {"pods": list(who.pods), "all_pods_but": who.but, "addresses": nets}


def _carried_document(each: Carried) -> dict[str, Any]:
    return {
        "protocol": _PROTOCOLS.get(each.protocol, str(each.protocol)),
        "ports": None if each.ports is None else str(each.ports),
        "source_ports": None if each.source_ports is None else str(each.source_ports),
        "types": list(each.types),
        "all_types_but": each.but,
    }


def _colored(line: str) -> str:
    color = _COLORS.get(line.strip()[:1]) if line.startswith("  ") else None
    return f"{color}{line}{_RESET}" if color else line

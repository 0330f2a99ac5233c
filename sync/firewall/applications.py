"""Applications (App-IDs) of a rule to the traffic they have by default: ports, protocols, ICMP.

An application is more than its ports, so traffic never equals it: traffic is where the application
is expected, with everything else on the same ports.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from sync.firewall.objects import Application, ApplicationFilter, ApplicationGroup
from sync.firewall.predefined import DEFAULTS, DENIED_BESIDES
from sync.firewall.reasons import Reason
from sync.firewall.services import (
    ANY_TRAFFIC,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Traffic,
    expanded,
    merged,
)
from sync.net import intervals
from sync.net.ports import PortSet, ports

_Named = Mapping[str, Application | ApplicationGroup | ApplicationFilter]


@dataclass(frozen=True, slots=True)
class Applications:
    """The default traffic of a list of applications, and what keeps the list open.

    `open_because` has a clause for each unknown: an application without known ports, or with
    unknown content. A list that is not open has no other default traffic, except for the
    applications in `bundled`: their ports are only in the bundled table, and a firewall's content
    may be newer. `kinds` are those of the clauses.
    """

    traffic: tuple[Traffic, ...]
    open_because: tuple[str, ...] = ()
    bundled: tuple[str, ...] = ()
    kinds: frozenset[Reason] = field(default=frozenset(), compare=False)


def resolve_applications(
    names: Iterable[str], objects: _Named, *, denied: bool = False
) -> Applications:
    """The applications of these names, groups at any depth, as one device group sees them.

    A custom application replaces a predefined one of its name. An application filter may select any
    application, so it is always open: only the custom ones among its applications are known. With
    `denied`, a predefined one includes what a deny has to cover.
    """
    because: set[str] = set()
    kinds: set[Reason] = set()

    def members(name: str) -> Sequence[str] | None:
        found = objects.get(name)
        if found is None or isinstance(found, Application):
            return None
        kind = "group" if isinstance(found, ApplicationGroup) else "filter"
        if found.problem:
            because.add(f"application {kind} {name!r} {found.problem}")
            kinds.add(Reason.APP_OBJECT)
            return ()
        if isinstance(found, ApplicationGroup):
            return found.members
        because.add(f"application filter {name!r} selects by App-IDs that are not known here")
        kinds.add(Reason.APP_FILTER)
        return _chosen(found, objects)

    traffic: list[Traffic] = []
    bundled: list[str] = []
    ends, circles = expanded(names, members)
    because.update(f"application group {name!r} holds itself" for name in circles)
    kinds.update(Reason.APP_OBJECT for _ in circles)
    for name in ends:
        if not isinstance(objects.get(name), Application) and name in DEFAULTS:
            bundled.append(name)
        known, problem, kind = _of_one(name, objects, denied=denied)
        traffic += known
        if problem:
            because.add(f"App-ID {name} {problem}")
            kinds.add(kind)
    return Applications(
        merged(traffic), tuple(sorted(because)), tuple(sorted(bundled)), frozenset(kinds)
    )


def _of_one(name: str, objects: _Named, *, denied: bool) -> tuple[tuple[Traffic, ...], str, Reason]:
    """The default traffic of one application, and what is not known of it, with its kind."""
    found = objects.get(name)
    if isinstance(found, Application):
        if found.problem:
            return (), found.problem, Reason.APP_OBJECT
        return *_default(_given(found, denied=denied)), Reason.APP_DYNAMIC
    if name in DEFAULTS:
        return *_bundled(name, denied=denied), Reason.APP_DYNAMIC
    return (), "is not known here, so neither are its ports", Reason.APP_UNKNOWN


# The attributes of a filter that applications have under the same name.
_ASKED = frozenset({"category", "subcategory", "technology", "risk"})


def _given(found: Application, *, denied: bool) -> tuple[tuple[str, str], ...]:
    """The default traffic of an application, with what a deny also has to cover."""
    more = DENIED_BESIDES.get(found.name, "") if denied and found.predefined else ""
    # An allow without the extended ports is only smaller.
    given = [
        ("port" if kind == "extended-port" else kind, value)
        for kind, value in found.default
        if denied or kind != "extended-port"
    ]
    return (*given, *_items(more))


def _chosen(asked: ApplicationFilter, objects: _Named) -> tuple[str, ...]:
    """The custom applications that a filter surely selects."""
    if not asked.attributes or not dict(asked.attributes).keys() <= _ASKED:
        return ()
    return tuple(
        sorted(
            name
            for name, each in objects.items()
            if isinstance(each, Application)
            and all(dict(each.attributes).get(key) in values for key, values in asked.attributes)
        )
    )


def beyond_table(names: Iterable[str]) -> tuple[Traffic, ...]:
    """What applications of the bundled table may be on by default besides, by other content.

    One that is on ports may be on any others, and one of ICMP may have other types. One that has an
    IP protocol may have anything.
    """
    kinds = {word.partition("/")[0] for name in names for word in DEFAULTS[name].split()}
    return merged(each for kind in kinds for each in _BEYOND[kind])


@cache
def _bundled(name: str, *, denied: bool) -> tuple[tuple[Traffic, ...], str]:
    more = DENIED_BESIDES.get(name, "") if denied else ""
    return _default((*_items(DEFAULTS[name]), *_items(more)))


def _items(words: str) -> Iterator[tuple[str, str]]:
    """A text of the bundled table as an application's `default` is written."""
    for word in words.split():
        kind, _, value = word.partition("/")
        yield ("port", word) if kind in _PORTED else (_NUMBERED[kind], value)


_ON_PORTS = (Traffic(TCP), Traffic(UDP))
_OF_ICMP = (Traffic(ICMP), Traffic(ICMPV6))
_BEYOND: Mapping[str, Sequence[Traffic]] = {
    "tcp": _ON_PORTS,
    "udp": _ON_PORTS,
    "icmp": _OF_ICMP,
    "icmp6": _OF_ICMP,
    "ip": (ANY_TRAFFIC,),
}
_PORTED = {"tcp": TCP, "udp": UDP}
_ICMP = {"ident-by-icmp-type": ICMP, "ident-by-icmp6-type": ICMPV6}
_NUMBERED = {
    "ip": "ident-by-ip-protocol",
    "icmp": "ident-by-icmp-type",
    "icmp6": "ident-by-icmp6-type",
}


def _default(items: Iterable[tuple[str, str]]) -> tuple[tuple[Traffic, ...], str]:
    """The traffic of an application's `default` as PAN-OS writes it, and what is not known of it.

    Source of the forms: the PAN-OS configuration schema (`application/entry/default`).
    """
    found: list[Traffic] = []
    problem = ""
    for kind, value in items:
        try:
            traffic, missing = _read(kind, value)
        except ValueError:
            problem = f"has a default that cannot be read ({value!r})"
            continue
        problem = problem or missing
        found += traffic
    if not found and not problem:
        problem = "has no default ports"
    return tuple(found), problem


def _read(kind: str, value: str) -> tuple[Sequence[Traffic], str]:
    """One item: its traffic, and the part of it that is missing there."""
    if kind == "port":
        return _on_ports(value)
    return _of_icmp(_ICMP[kind], value) if kind in _ICMP else _of_protocols(value)


def _on_ports(value: str) -> tuple[Sequence[Traffic], str]:
    """`tcp/80,443`; `udp/dynamic` has no ports of its own."""
    protocol, _, listed = value.partition("/")
    if protocol.strip() not in _PORTED:
        raise ValueError(value)
    items = [item.strip() for item in listed.split(",")]
    fixed = [item for item in items if item != "dynamic"]
    known: PortSet | None = ports(",".join(fixed)) if fixed else None
    missing = "has dynamic ports" if len(fixed) < len(items) else ""
    return ([Traffic(_PORTED[protocol.strip()], known)] if known else []), missing


def _of_protocols(value: str) -> tuple[Sequence[Traffic], str]:
    """IP protocols by number: `47`, `50-51`."""
    numbers = intervals.listed(value, _LAST)
    if numbers == _ALL:
        return [ANY_TRAFFIC], ""
    # Calico's protocols begin with 1; IPv6 has hop-by-hop options at 0.
    missing = "has IP protocol 0, which Calico cannot match" if 0 in _each(numbers) else ""
    return [Traffic(each) for each in _each(numbers) if each], missing


def _of_icmp(protocol: int, value: str) -> tuple[Sequence[Traffic], str]:
    """ICMP types, and codes of each of them: `13,14`, `3/0-1`; without codes it is any code."""
    types, slash, codes = value.partition("/")
    kinds = intervals.listed(types, _LAST)
    with_codes = intervals.listed(codes, _LAST) if slash else _ALL
    numbers = [None] if with_codes == _ALL else [*_each(with_codes)]
    if (kinds, numbers) == (_ALL, [None]):
        return [Traffic(protocol)], ""
    found = [
        Traffic(protocol, icmp=(kind, code))
        for kind in _each(kinds)
        if kind != _RESERVED
        for code in numbers
    ]
    if len(found) > _MOST_ICMP:
        return [], f"has more than {_MOST_ICMP} pairs of ICMP types and codes"
    missing = f"has ICMP type {_RESERVED}, which Calico cannot match"
    return found, missing if _RESERVED in _each(kinds) else ""


_LAST = 255
_ALL = (0, _LAST + 1)
_RESERVED = 255  # by RFC 4443; Calico's types end before it
_MOST_ICMP = 512  # each becomes a rule of its own


def _each(numbers: intervals.Bounds) -> Sequence[int]:
    return [number for first, past in intervals.to_ranges(numbers) for number in range(first, past)]

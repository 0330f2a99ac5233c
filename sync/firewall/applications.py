"""Applications (App-IDs) of a rule to the traffic they have by default: ports, protocols, ICMP.

An application is more than its ports, so traffic is never equal to one: it is what the
application is expected on, and everything that is on it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from sync.firewall.objects import Application, ApplicationFilter, ApplicationGroup
from sync.firewall.predefined import DEFAULTS, SECURE
from sync.firewall.services import ICMP, ICMPV6, TCP, UDP, Traffic, expanded, merged
from sync.net.ports import PortSet, ports

_Named = Mapping[str, Application | ApplicationGroup | ApplicationFilter]


@dataclass(frozen=True, slots=True)
class Applications:
    """The default traffic of a list of applications, and what keeps the list open.

    `open_because` has a clause for each thing that is not known of it: an application without
    known ports, or of unknown content. A list that is not open has no other default traffic.
    """

    traffic: tuple[Traffic, ...]
    open_because: tuple[str, ...] = ()


def resolve_applications(
    names: Iterable[str], objects: _Named, *, denied: bool = False
) -> Applications:
    """The applications of these names, groups at any depth, as one device group sees them.

    A custom application takes the place of a predefined one of its name. An application filter
    asks about every application there is, so it is always open: of its applications only the
    custom ones are known. Of a predefined one `denied` takes the secure ports along.
    """
    because: set[str] = set()

    def members(name: str) -> Sequence[str] | None:
        found = objects.get(name)
        if found is None or isinstance(found, Application):
            return None
        kind = "group" if isinstance(found, ApplicationGroup) else "filter"
        if found.problem:
            because.add(f"application {kind} {name!r} {found.problem}")
            return ()
        if isinstance(found, ApplicationGroup):
            return found.members
        because.add(f"application filter {name!r} asks about App-IDs that are not known here")
        return _chosen(found, objects)

    traffic: list[Traffic] = []
    known: tuple[Traffic, ...]
    ends, circles = expanded(names, members)
    because.update(f"application group {name!r} holds itself" for name in circles)
    for name in ends:
        found = objects.get(name)
        if isinstance(found, Application):
            if found.problem:
                because.add(f"App-ID {name} {found.problem}")
                continue
            secure = SECURE.get(name, "") if denied and found.predefined else ""
            # An allow without the extended ports is only smaller.
            given = [
                ("port" if kind == "extended-port" else kind, value)
                for kind, value in found.default
                if denied or kind != "extended-port"
            ]
            known, problem = _default((*given, *_items(secure)))
        elif name in DEFAULTS:
            known, problem = _predefined(name, denied=denied)
        else:
            known, problem = (), "is not known here, so neither are its ports"
        traffic += known
        if problem:
            because.add(f"App-ID {name} {problem}")
    return Applications(merged(traffic), tuple(sorted(because)))


# Of what a filter may ask, the questions that applications answer under the same name.
_ASKED = frozenset({"category", "subcategory", "technology", "risk"})


def _chosen(asked: ApplicationFilter, objects: _Named) -> tuple[str, ...]:
    """The custom applications that are surely what a filter asks for."""
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


@cache
def _predefined(name: str, *, denied: bool) -> tuple[tuple[Traffic, ...], str]:
    return _default((*_items(DEFAULTS[name]), *_items(SECURE.get(name, "") if denied else "")))


def _items(words: str) -> Iterator[tuple[str, str]]:
    """A text of the bundled table as an application's `default` is written."""
    for word in words.split():
        kind, _, value = word.partition("/")
        yield ("port", word) if kind in _PORTED else (_NUMBERED[kind], value)


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
            traffic, dynamic = _on_ports(value) if kind == "port" else (_other(kind, value), False)
        except ValueError:
            problem = f"has a default that cannot be read ({value!r})"
            continue
        if dynamic:
            problem = problem or "has dynamic ports"
        if traffic is not None:
            found.append(traffic)
    if not found and not problem:
        problem = "has no default ports"
    return tuple(found), problem


def _on_ports(value: str) -> tuple[Traffic | None, bool]:
    """`tcp/80,443`; `udp/dynamic`: no ports of its own, which the second value tells."""
    protocol, _, listed = value.partition("/")
    if protocol.strip() not in _PORTED:
        raise ValueError(value)
    items = [item.strip() for item in listed.split(",")]
    fixed = [item for item in items if item != "dynamic"]
    known: PortSet | None = ports(",".join(fixed)) if fixed else None
    traffic = Traffic(_PORTED[protocol.strip()], known) if known else None
    return traffic, len(fixed) < len(items)


def _other(kind: str, value: str) -> Traffic:
    """An IP protocol by number, or an ICMP type with its code: `8,0`, or `8` for any code."""
    if kind not in _ICMP:
        # 0 is no protocol of its own: IPv6 has hop-by-hop options there.
        return Traffic(_number(value, 1, 255))
    kind_of, comma, code = value.partition(",")
    # Type 255 is reserved (RFC 4443), and Calico does not know it.
    return Traffic(
        _ICMP[kind],
        icmp=(_number(kind_of, 0, 254), _number(code, 0, 255) if comma else None),
    )


def _number(text: str, least: int, most: int) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise ValueError(text)
    if not least <= int(text) <= most:
        raise ValueError(text)
    return int(text)

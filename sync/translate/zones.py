"""The pods and the networks of each zone.

    definitions + names in rules + templates  ->  W(z): one selector a zone, no pod in two
    configured + derived networks             ->  disjoint by longest prefix, known or unknown

A pod is in the zone whose workloads select it, whatever its address. An address outside the pods is
in the zone whose networks contain it. Everything else is in no zone.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network
from typing import Any

from sync.calico import limits, names, selectors
from sync.errors import UsageError
from sync.firewall.effective import EffectiveDeviceGroup
from sync.firewall.zone_networks import Derived
from sync.net import addresses
from sync.net.addresses import EVERYWHERE, NOWHERE, AddressSet
from sync.options import ZoneDefinition, ZoneOptions
from sync.text import shortened

PODS = "projectcalico.org/orchestrator == 'k8s'"
"""Every pod, and nothing else: sets and host endpoints may carry a zone's label too."""

MULTICAST = "multicast"
"""PAN-OS's own zone of multicast groups; rules have it in `to` only."""

_MULTICAST = AddressSet.union(map(addresses.network, ("224.0.0.0/4", "ff00::/8")))
_DERIVED = "derived from templates"
_NAMED = 5  # zones in a reason
_STRING = re.compile(r"'[^']*'|\"[^\"]*\"")
# A key is in `has(key)` or before an operator, which is matched too: `not` is not a key.
_KEY = re.compile(
    r"(?P<has>has\(\s*)?(?P<key>[A-Za-z0-9_./-]+)"
    r"(?(has)|(?P<operator>\s*(?:[!=]=|\b(?:not\s*in|in|contains|starts\s*with|ends\s*with)\b)))"
)


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone as one device group sees it.

    `pods` selects its pods among pods ("" for a zone that has none); `networks` are None if they
    are unknown. `origin` says where they come from, or why they are unknown.
    """

    name: str
    pods: str
    networks: AddressSet | None
    origin: str

    @property
    def workloads(self) -> str:
        """W(z): the selector of its pods among all objects."""
        return among_pods(self.pods)

    @property
    def others(self) -> str:
        """The selector of the pods that are not in it."""
        return f"{PODS} && !({self.pods})"


@dataclass(frozen=True)
class Zones:
    """The zones of one device group in a cluster, by name.

    `own` are those that its rules, templates and stacks name: each has a chain. `remote` are all
    zones that a flow's other end may be in: `own`, the configured ones and those of the cluster's
    other device groups, of which only the pods count here.
    """

    own: Mapping[str, Zone]
    remote: Mapping[str, Zone]
    elsewhere: tuple[Zone, ...]

    @cached_property
    def unknown(self) -> AddressSet:
        """The addresses of no known zone: zones without known networks may have them."""
        known = AddressSet.union(each.networks or NOWHERE for each in self.remote.values())
        return EVERYWHERE - known


class Workloads:
    """The selectors of zones in one cluster: definitions in their order, then labels."""

    def __init__(self, options: ZoneOptions) -> None:
        """`UsageError` if a definition's selector cannot be used."""
        self._label = options.label
        self._options = options
        own = {name: _own_selector(name, each) for name, each in options.definitions.items()}
        # The selector of each definition by itself; the first that selects a pod counts.
        self._defined = {name: selector for name, selector in own.items() if selector}
        self._values: dict[str, str] = {}

    def label_value(self, zone: str) -> str:
        """The value of the zone label; `UsageError` if two zones would share it."""
        value = names.label_value(zone)
        if self._values.setdefault(value, zone) != zone:
            raise UsageError(
                f"the zones {self._values[value]!r} and {zone!r} would both have the label value "
                f"{value}; rename one of them in Panorama"
            )
        return value

    def pods(self, zone: str) -> str:
        """The selector of a zone's pods among pods; `UsageError` if it is too long for Calico."""
        (found,) = self.in_any([zone], limits.SELECTOR_BYTES)
        size = len(found.encode()) + len(PODS) + len(" && !(())")
        if size > limits.SELECTOR_BYTES:
            raise UsageError(
                f"the selector of zone {zone!r} has {size:,} bytes, Calico takes "
                f"{limits.SELECTOR_BYTES:,}; shorten the selectors of zones.definitions, each of "
                "which excludes the earlier ones"
            )
        return found

    def in_any(self, zones: Collection[str], room: int) -> list[str]:
        """Selectors that together select exactly the pods of all these zones, among pods.

        Each has at most `room` bytes, unless that is too little for one zone.
        """
        chosen = {*zones}
        found: list[str] = []
        terms: list[str] = []
        others: list[str] = []  # definitions of other zones that rank before the terms
        for name, selector in self._defined.items():
            if name in chosen:
                terms.append(selector)
                continue
            found += _but_not(terms, others, room)
            terms = []
            others.append(selector)
        values = [self.label_value(zone) for zone in sorted(chosen - self._defined.keys())]
        beside = sum(len(f" && !({other})".encode()) for other in others) + len("()")
        terms += selectors.some_of(self._label, values, room - beside)
        return selectors.any_of([*found, *_but_not(terms, others, room)], room)

    def rests_on_pod_labels(self, zone: str) -> bool:
        """Whether the creator of a pod can put it into the zone."""
        definition = self._options.definitions.get(zone)
        return definition is None or not definition.namespace_selector


def zones_of(
    device_group: EffectiveDeviceGroup,
    derived: Derived,
    options: ZoneOptions,
    workloads: Workloads,
    elsewhere: Sequence[str],
) -> Zones:
    """The zones of one device group; `elsewhere` are zones that the cluster's other groups name.

    `UsageError` for networks that two zones claim, or a default route that cannot be resolved.
    """
    own = own_zones(device_group, derived)
    networks, origins = _networks(own, derived, options)
    remote = {
        name: Zone(name, workloads.pods(name), networks.get(name), origins[name])
        for name in sorted(origins)
    }
    remote[MULTICAST] = Zone(MULTICAST, "", _MULTICAST, "multicast groups")
    others = [
        Zone(name, workloads.pods(name), NOWHERE, "of another device group")
        for name in sorted({*elsewhere} - {*own} - {MULTICAST})
    ]
    for other in others:
        remote.setdefault(other.name, other)
    return Zones({name: remote[name] for name in own}, remote, tuple(others))


def own_zones(device_group: EffectiveDeviceGroup, derived: Derived) -> tuple[str, ...]:
    """The zones that a device group's rules, templates and stacks name, sorted."""
    named = {
        zone
        for placed in device_group.rules
        for zone in (*placed.rule.from_zones, *placed.rule.to_zones)
    }
    return tuple(sorted({*named, *derived.zones} - {"any", MULTICAST}))


def _networks(
    named: Sequence[str], derived: Derived, options: ZoneOptions
) -> tuple[dict[str, AddressSet], dict[str, str]]:
    """The known networks of each zone, disjoint, and the origin of every zone's networks."""
    configured = {
        name: definition.networks or ()
        for name, definition in options.definitions.items()
        # A zone that a device group never names has its pods here, and only configured networks.
        if name != MULTICAST and (definition.networks is not None or name not in named)
    }
    claims: dict[str, str] = {}  # prefix -> zone
    for name, nets in configured.items():
        for net in nets:
            prefix = _canonical(net)
            if claims.setdefault(prefix, name) != name:
                raise UsageError(
                    f"zones.definitions gives the network {prefix} to the zones "
                    f"{claims[prefix]!r} and {name!r}; leave it to one of them"
                )
    origins = dict.fromkeys(configured, "configured")
    unknown = {
        name: "no networks are configured for it" for name in named if name not in configured
    }
    if options.derive_networks:
        _check_longer_routes(claims, derived, unknown)
        _derive(named, derived, claims, origins, unknown)
    _check_default_routes(claims, configured, unknown)
    held = _by_longest_prefix(claims)
    claimed = AddressSet.union(map(addresses.network, claims))
    for name, left in derived.everything_else.items():
        if origins.get(name) == _DERIVED:
            rest = AddressSet.union(map(addresses.network, left)) - claimed
            held[name] = held.get(name, NOWHERE) | rest
    networks = {name: held.get(name, NOWHERE) - _MULTICAST for name in origins}
    return networks, {**unknown, **origins}


def _by_longest_prefix(claims: Mapping[str, str]) -> dict[str, AddressSet]:
    """The addresses of each zone by longest prefix match."""
    prefixes = [(addresses.network(prefix), zone) for prefix, zone in claims.items()]
    found: dict[str, list[AddressSet]] = {}
    for first, past, zone in _innermost([(*net.v4, zone) for net, zone in prefixes if net.v4]):
        found.setdefault(zone, []).append(AddressSet((first, past)))
    for first, past, zone in _innermost([(*net.v6, zone) for net, zone in prefixes if net.v6]):
        found.setdefault(zone, []).append(AddressSet((), (first, past)))
    return {zone: AddressSet.union(parts) for zone, parts in found.items()}


def _innermost(ranges: list[tuple[Any, ...]]) -> Iterator[tuple[int, int, str]]:
    """Cut ranges (first, past, zone), disjoint or nested, so that the innermost one counts."""
    around: list[tuple[int, str]] = []  # the ends of the ranges we are in, with their zones
    at = 0
    for first, past, zone in sorted(ranges, key=lambda each: (each[0], -each[1])):
        while around and around[-1][0] <= first:
            end, holder = around.pop()
            if at < end:
                yield at, end, holder
            at = max(at, end)
        if around and at < first:
            yield at, first, around[-1][1]
        at = first
        around.append((past, zone))
    while around:
        end, holder = around.pop()
        if at < end:
            yield at, end, holder
        at = max(at, end)


def _derive(
    named: Sequence[str],
    derived: Derived,
    claims: dict[str, str],
    origins: dict[str, str],
    unknown: dict[str, str],
) -> None:
    """Add the networks that templates give to zones without configured ones."""
    candidates = [name for name in named if name in unknown]
    for name in candidates:
        because = derived.unknown_because.get(name, "no template of the device group names it")
        unknown[name] = because
    # Configured networks come first: a configured zone keeps a prefix that is also derived.
    known = {name for name in candidates if name in derived.networks}
    everything_else = {name for name in known if name in derived.everything_else}
    if len(known) < len(candidates):
        # "Everything else" is known only if all other networks are.
        missing = sorted({*candidates} - known)
        more = len(missing) - _NAMED
        others = ", ".join(map(repr, missing[:_NAMED])) + (f" and {more} more" if more > 0 else "")
        for name in everything_else:
            unknown[name] = (
                f"a default route leads to it, and the networks of {others} are not known"
            )
    for name in sorted(known):
        if len(known) == len(candidates) or name not in everything_else:
            del unknown[name]
            origins[name] = _DERIVED
        # Also for a zone that is known only in part: these networks are in no other zone.
        for prefix in {*derived.networks[name]} - {*derived.everything_else.get(name, ())}:
            claims.setdefault(prefix, name)


def _check_longer_routes(
    configured: Mapping[str, str], derived: Derived, unknown: Mapping[str, str]
) -> None:
    """`UsageError` for a configured network in which a zone of unknown networks may have a part.

    The longest prefix around an address decides. If the part stayed with the shorter prefix, an
    allow would cover the other zone's addresses; without the part, a deny would miss them.
    """
    for zone in sorted(unknown.keys() & derived.may_hold.keys()):
        for prefix in derived.may_hold[zone]:
            inner = ip_network(prefix)
            around = (str(inner.supernet(new_prefix=n)) for n in range(inner.prefixlen, 0, -1))
            outer = next((each for each in around if each in configured), prefix)
            if outer != prefix:
                raise UsageError(
                    f"zones.definitions gives {outer} to the zone {configured[outer]!r}, and in it "
                    f"{prefix} may lead to {zone!r}, the networks of which are not known "
                    f"({derived.unknown_because[zone]}); give {zone!r} networks ([] if it is pods "
                    "only)"
                )


def _check_default_routes(
    claims: Mapping[str, str], configured: Mapping[str, object], unknown: Mapping[str, str]
) -> None:
    for zone in configured if unknown else ():
        held = AddressSet.union(
            addresses.network(prefix) for prefix, holder in claims.items() if holder == zone
        )
        family = "0.0.0.0/0" if held.v4 == EVERYWHERE.v4 else "::/0"
        if EVERYWHERE.v4 == held.v4 or EVERYWHERE.v6 == held.v6:
            missing = shortened(map(repr, sorted(unknown)), ", ")
            raise UsageError(
                f"zones.definitions gives {family}, everything else, to the zone {zone!r}, and the "
                f"networks of {missing} are not known; give each of them networks ([] if it is "
                "pods only)"
            )


def _canonical(net: str) -> str:
    (prefix,) = addresses.network(net).cidrs()
    return prefix


def _own_selector(name: str, definition: ZoneDefinition) -> str:
    """The selector of a definition among pods; "" if it has none."""
    parts = []
    for key, text in (
        ("selector", definition.selector),
        ("namespace_selector", definition.namespace_selector),
    ):
        if not text:
            continue
        problem = selectors.problem(text)
        if problem or "global(" in text:
            why = (
                f"{problem.message} at character {problem.position + 1}" if problem else "global()"
            )
            raise UsageError(
                f"zones.definitions.{name}.workloads.{key} is not a selector of pods: {why}; "
                "correct it"
            )
        parts.append(f"({in_namespace(text) if key == 'namespace_selector' else text})")
    return " && ".join(parts)


def in_namespace(selector: str) -> str:
    """A selector over namespace labels as one over pods: Calico gives a pod its namespace's labels
    under the prefix `pcns.` (`libcalico-go/lib/backend/k8s/conversion`)."""
    done: list[str] = []
    position = 0
    for string in _STRING.finditer(selector):
        done += [_prefixed(selector[position : string.start()]), string.group()]
        position = string.end()
    return "".join([*done, _prefixed(selector[position:])])


def _prefixed(text: str) -> str:
    return _KEY.sub(
        lambda found: f"{found['has'] or ''}pcns.{found['key']}{found['operator'] or ''}", text
    )


def among_pods(selector: str) -> str:
    """The selector, restricted to pods."""
    return f"{PODS} && ({selector})"


def _but_not(terms: Sequence[str], excluded: Sequence[str], room: int) -> list[str]:
    """Selectors of any of the terms without the excluded ones, as few as `room` allows."""
    beside = "".join(f" && !({each})" for each in excluded)
    found = selectors.any_of(terms, room - len(beside.encode()) - len("()"))
    return [f"({some}){beside}" if beside and " || " in some else some + beside for some in found]

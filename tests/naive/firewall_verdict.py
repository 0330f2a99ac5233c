"""What a firewall of one device group does with a flow, judged the slow way from the configuration.

Sources: the vendor's administrator's guide and configuration schema (PAN-OS 10.1 to 11.1). First
match wins over the effective rulebase; a flow has one zone at each end. Everything is a lookup, a
recursion over names or a comparison of numbers.

What nobody here can know is asked of an oracle, and only that: what lies behind an FQDN, a country,
an external list, a missing name, a name for objects of several kinds; what `any` beside others
means; users and schedules; what an element means that is not known;
which firewall it is; which zone of unknown networks an address is in. Whatever the oracle says, a
translation that accepts no loss must not allow more than this does.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address
from typing import Any, Literal, TypeVar

from sync.calico.names import label_value
from sync.firewall.configuration import Configuration
from sync.firewall.effective import EffectiveDeviceGroup, EffectiveRule, effective
from sync.firewall.objects import (
    Address,
    AddressGroup,
    Application,
    ApplicationGroup,
    ExternalList,
    Objects,
    Region,
    Service,
    ServiceGroup,
)
from sync.firewall.rules import Rule, Target
from sync.options import Essential, RuleOptions, ZoneOptions
from tests.naive import contents
from tests.naive.calico_verdict import Verdict, labels_of, selector
from tests.naive.flows import TCP, UDP, End, Flow, Oracle, Pod, span
from tests.naive.reader import ancestry, serials_of, visible_scopes
from tests.naive.routers import Router

_Read = TypeVar("_Read")

DROPPED = "dropped"
MULTICAST = "multicast"
MULTICAST_NETWORKS = ("224.0.0.0/4", "ff00::/8")
_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_PREDEFINED_SERVICES = {"service-http": (80, 8080), "service-https": (443,)}

# A few applications of the predefined content, with some of their default ports: newer content may
# have others, which no document says.
PREDEFINED: Mapping[str, Mapping[int, tuple[int, ...]]] = {
    "web-browsing": {TCP: (80,)},
    "ssl": {TCP: (443,)},
    "ssh": {TCP: (22,)},
    "dns": {TCP: (53,), UDP: (53,)},
    "ntp": {UDP: (123,)},
}
# What a rule element that cannot be read might have said instead.
_ELEMENT = re.compile(r"<([a-z0-9-]+)>")
# Elements that are judged where they are used; any other that cannot be read may narrow a rule.
_UNDERSTOOD = frozenset(
    {
        "from",
        "to",
        "source",
        "destination",
        "negate-source",
        "negate-destination",
        "service",
        "application",
        "target",
        "disabled",
        "action",
        "rule-type",
        "tag",
        "description",
    }
)
# Countries are regions that no configuration holds. Among the names of tests they alone look so.
_COUNTRY = re.compile(r"[A-Z]{2}")
_LISTS_OF_ADDRESSES = ("ip", "predefined-ip")
# What stands for all of a list, so nobody knows what it means beside others.
_FOR_ALL = ("any", "application-default")
_FIELDS = {
    "from": "from_zones",
    "to": "to_zones",
    "source": "sources",
    "destination": "destinations",
    "application": "applications",
    "service": "services",
}
_RULE_TYPES = ("intrazone", "interzone", "universal")


@dataclass(frozen=True)
class Derived:
    """What the templates of a device group say: its zones, and the networks of some of them.

    `defaults` are the zones that a default route leads to, each with the networks that are left
    of that route without what is in no zone; any longer prefix goes before them, however short.

    Where there are `routers`, they alone say where an address is: each of them for the packets that
    come in by it. `without_addresses` are the zones that no router is sure to lead to.
    """

    zones: tuple[str, ...] = ()
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    routers: tuple[Router, ...] | None = None
    without_addresses: frozenset[str] = frozenset()

    def all_networks(self) -> dict[str, tuple[str, ...]]:
        """The networks of each zone, default routes among them."""
        return {
            zone: (*networks, *self.defaults.get(zone, ()))
            for zone, networks in self.networks.items()
        }


@dataclass(frozen=True)
class Told:
    """What a configuration does not hold.

    `registered` has, by device group, the tags of registered addresses on each of its firewalls;
    None for one that does not tell. `names` has what DNS says here: a firewall is told that too,
    and perhaps more. `lists` has the lines of external dynamic lists by URL, None for one that
    cannot be fetched.
    """

    registered: Mapping[str, Sequence[Mapping[str, Sequence[str]] | None]] = field(
        default_factory=dict
    )
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lists: Mapping[str, Sequence[str] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Through:
    """A wildcard (base and mask) in a rule's list at one end; `end` None: it holds any address.

    `by_itself`: what the list matches it matches by what is in it, and not by what is not.
    """

    placed: EffectiveRule
    wildcard: tuple[int, int]
    end: End | None
    by_itself: bool

    @property
    def length(self) -> int:
        """The length of its prefix."""
        return 32 - self.wildcard[1].bit_length()

    @property
    def holds(self) -> bool:
        if self.end is None:
            return True
        base, mask = self.wildcard
        return self.end.family == 4 and (base ^ self.end.address) & ~mask & 0xFFFFFFFF == 0

    @property
    def around(self) -> bool:
        """Whether an address has the bits of its prefix."""
        if self.end is None:
            return True
        free = self.wildcard[1].bit_length()
        return self.end.family == 4 and self.wildcard[0] >> free == self.end.address >> free


@dataclass(frozen=True)
class Firewall:
    """A firewall of a device group, in a cluster.

    `document` is what the configuration was read from: what services and applications are is read
    from it once more. Without it the hierarchy, and lists that say any beside others, are believed
    as they were read. `names` are the zones of all the cluster's device groups: those that rules
    and templates name.
    """

    configuration: Configuration
    device_group: str
    rule_options: RuleOptions = field(default_factory=RuleOptions)
    zone_options: ZoneOptions = field(default_factory=ZoneOptions)
    derived: Derived = field(default_factory=Derived)
    names: tuple[str, ...] = ()
    registered_known: bool = True
    top_down_wildcards: bool = False
    told: Told = field(default_factory=Told)
    document: bytes = b""

    @cached_property
    def seen(self) -> EffectiveDeviceGroup:
        return effective(self.configuration, self.device_group)

    # --- names ------------------------------------------------------------------------------------

    @cached_property
    def _scopes(self) -> list[Objects]:
        """The objects of each level, those first that win among objects of one kind."""
        lineage = self.seen.lineage[:-1]
        if self.document:
            assert lineage == tuple(ancestry(self.document.decode(), self.device_group))
        groups = self.configuration.device_groups
        found = [groups[name].scope.objects for name in lineage]
        found.append(self.configuration.shared.objects)
        return found[::-1] if self.configuration.ancestors_take_precedence else found

    @cached_property
    def _ends(self) -> dict[str, dict[type, Address | AddressGroup | Region | ExternalList]]:
        """What sources and destinations may name: the object of each kind that has a name."""
        found: dict[str, dict[type, Address | AddressGroup | Region | ExternalList]] = {}
        for scope in self._scopes:
            for each in (
                *scope.addresses.values(),
                *scope.regions.values(),
                *(
                    each
                    for each in scope.external_lists.values()
                    if each.type in _LISTS_OF_ADDRESSES
                ),
            ):
                found.setdefault(each.name, {}).setdefault(type(each), each)
        return found

    def _end(self, name: str) -> Address | AddressGroup | Region | ExternalList | str | None:
        """What an end of a rule names: an object, a country, or nobody knows which of several."""
        kinds = self._ends.get(name, {})
        if _COUNTRY.fullmatch(name):
            return "several kinds" if kinds else "country"
        if len(kinds) > 1 or (ExternalList in kinds and _is_literal(name)):
            return "several kinds"
        return next(iter(kinds.values()), None)

    @cached_property
    def _services(self) -> dict[str, dict[type, Service | ServiceGroup]]:
        found: dict[str, dict[type, Service | ServiceGroup]] = {}
        for scope in self._scopes:
            for each in scope.services.values():
                found.setdefault(each.name, {}).setdefault(type(each), each)
        return found

    @cached_property
    def _unclear_applications(self) -> frozenset[str]:
        """The names that applications of several kinds have, predefined ones among them."""
        found: dict[str, set[type]] = {}
        for scope in self._scopes:
            for each in scope.applications.values():
                found.setdefault(each.name, set()).add(type(each))
        return frozenset(
            name for name, kinds in found.items() if len(kinds) > 1 or name in (*PREDEFINED, "ping")
        )

    # --- zones ------------------------------------------------------------------------------------

    @cached_property
    def zones(self) -> frozenset[str]:
        """The zones that this device group knows."""
        return frozenset({*zone_names(self.configuration, self.device_group), *self.derived.zones})

    def zone_of_pod(self, end: End) -> str | None:
        """The zone whose workloads hold a pod: one that is configured or that a group names."""
        assert end.pod is not None
        if end.pod not in self._zones_of_pods:
            zone = self._workload_zone(labels_of(end.pod))
            self._zones_of_pods[end.pod] = zone if zone in self._all_names else None
        return self._zones_of_pods[end.pod]

    @cached_property
    def _zones_of_pods(self) -> dict[Pod, str | None]:
        return {}

    def _workload_zone(self, labels: Mapping[str, str]) -> str | None:
        for name, definition in self.zone_options.definitions.items():
            own, namespaces = definition.selector, definition.namespace_selector
            if (own or namespaces) and all(
                selector(text, prefix)(labels)
                for text, prefix in ((own, ""), (namespaces, "pcns."))
                if text
            ):
                return name
        value = labels.get(self.zone_options.label)
        for name in sorted(self._all_names):
            given = self.zone_options.definitions.get(name)
            by_label = given is None or not (given.selector or given.namespace_selector)
            if by_label and value == label_value(name):
                return name
        return None

    @cached_property
    def _all_names(self) -> frozenset[str]:
        return frozenset({*self.names, *self.zones, *self.zone_options.definitions})

    @cached_property
    def _networks(self) -> tuple[list[tuple[int, int, int, str]], frozenset[str]]:
        """The spans of every network with its zone, shortest first; zones without networks."""
        known: dict[str, tuple[str, ...]] = {
            name: definition.networks
            for name, definition in self.zone_options.definitions.items()
            if definition.networks is not None
        }
        configured = frozenset(known)
        if self.zone_options.derive_networks:
            for name, networks in self.derived.networks.items():
                known.setdefault(name, networks)
        unknown = self.zones - known.keys() - {MULTICAST}
        spans = [
            (*span(text), name in configured, name)
            for name, networks in known.items()
            for text in networks
        ]
        # The longest prefix wins, and of equal ones that which is configured.
        spans.sort(key=lambda each: (each[1] - each[2], each[3]), reverse=True)
        defaults = {
            zone: networks
            for zone, networks in self.derived.defaults.items()
            if self.zone_options.derive_networks and zone not in configured
        }
        if unknown:
            # Nobody knows what of a default route belongs to the zones without networks.
            return [(*each[:3], each[4]) for each in spans], unknown | defaults.keys()
        last = [(*span(text), zone) for zone, networks in defaults.items() for text in networks]
        return [(*each[:3], each[4]) for each in spans] + last, unknown

    def zone_of_address(self, end: End, oracle: Oracle) -> str | None:
        """The zone whose networks hold an address outside pods.

        Where none is known to, the oracle says which of the zones with unknown networks does, or
        that none does.
        """
        for text in MULTICAST_NETWORKS:
            if _within(text, end):
                return MULTICAST
        if self.derived.routers is not None:
            options = self._options_by_router(end)
            return oracle.picks(options, "router", end.family, end.address)
        spans, unknown = self._networks
        for family, first, last, name in spans:
            if family == end.family and first <= end.address <= last:
                return name
        options = [None, *sorted(unknown)]
        return oracle.picks(options, "zone", end.family, end.address) if unknown else None

    def _options_by_router(self, end: End) -> Sequence[str | None]:
        """The zones that an address may be in, by whatever router a packet comes in.

        Settings overrule routers: a zone with configured networks has no others, and its networks
        go before routes that are no longer, and before any default route. A router that has no
        route, or drops what it has one for, carries no packet that a rule would be asked about.
        """
        key = (end.family, end.address)
        if key not in self._options:
            self._options[key] = self._look_up(end)
        return self._options[key]

    @cached_property
    def _options(self) -> dict[tuple[int, int], Sequence[str | None]]:
        return {}

    def _look_up(self, end: End) -> Sequence[str | None]:
        assert self.derived.routers is not None
        configured = {
            name: each.networks
            for name, each in self.zone_options.definitions.items()
            if each.networks is not None
        }
        around = [
            (last - first, name)
            for name, networks in configured.items()
            for family, first, last in map(span, networks)
            if family == end.family and first <= end.address <= last
        ]
        size, owner = min(around, default=(2**129, ""))
        others = self.zones - configured.keys() - {MULTICAST}
        unknown = others & (self.derived.without_addresses | (others - {*self.derived.zones}))
        options: set[str | None] = set()
        for router in self.derived.routers:
            if not router.readable:
                options |= {owner} if owner else {None, *others}
                continue
            length, ends = router.leads(end.family, end.address, configured)
            bits = 32 if end.family == 4 else 128
            if length == 0 or (length > 0 and owner and size < 2 ** (bits - length)):
                found: set[str | None] = {owner} if owner else {*ends} - {None}
                # Nobody knows what of a default route belongs to zones of unknown networks.
                options |= found if owner or not unknown else {None, *found, *unknown}
            else:
                options |= ends - {None}
        if not options:
            options = {owner} if owner else {None, *unknown}
        return sorted(options, key=lambda each: each or "")

    @property
    def knows_all_networks(self) -> bool:
        """Whether it is sure of every address which zone it is in."""
        return self.derived.routers is None and not self._networks[1]

    # --- addresses --------------------------------------------------------------------------------

    def _holds(
        self, members: Sequence[str], end: End, oracle: Oracle, *, answered: bool = False
    ) -> bool:
        """Whether any member of a list, at any depth, holds an address.

        `answered`: of an FQDN it is sure that the firewall is told what we are. Where that may not
        be relied on, the oracle says all of it.
        """
        return any(
            self._leaf_holds(name, end, oracle)
            or (answered and self._answered(name, end))
            or self._external_holds(name, end, oracle)
            for name in self._reached(tuple(members))
        )

    def _answered(self, name: str, end: End) -> bool:
        found = self._end(name)
        if not isinstance(found, Address) or found.problem:
            return False
        answers = self.told.names.get(found.value, ())
        return any(_within(text, end) for text in answers)

    def _external_holds(self, name: str, end: End, oracle: Oracle) -> bool:
        """Whether an external dynamic list of this name holds an address, if there is one."""
        found = self._end(name)
        if not isinstance(found, ExternalList):
            return False
        lines = self.told.lists.get(found.url)
        if lines is None:
            return oracle.says("list", found.url, end.family, end.address)
        return any(_within(line, end) for line in lines)

    def _registered_holds(self, group: AddressGroup, end: End, oracle: Oracle) -> bool:
        """Whether what is registered with a dynamic group's tags holds an address.

        The oracle says which of the device group's firewalls it is.
        """
        assert group.filter is not None
        place = (group.name, end.family, end.address)
        if self.device_group not in self.told.registered:
            return not self.registered_known and oracle.says("registered", *place)
        rows = oracle.picks(self.told.registered[self.device_group], "which firewall")
        if None in self.told.registered[self.device_group] and self.registered_known:
            return False
        if rows is None:
            return oracle.says("registered", *place)
        everywhere = set()
        for text, tags in rows.items():
            if not _within(text, end):
                continue
            family, first, last = span(text)
            around = {*tags}
            for other, more in rows.items():
                whole = span(other)
                if whole[0] == family and whole[1] <= first and last <= whole[2]:
                    around |= {*more}
            everywhere |= around
            if group.filter.matches(around) and " not " not in f" {group.filter.text} ":
                return True
            if group.filter.matches(around) and oracle.says("row by row", group.name):
                return True
        negated = " not " in f" {group.filter.text} "
        return bool(negated and everywhere and group.filter.matches(everywhere)) and not (
            oracle.says("row by row", group.name)
        )

    def _reached(self, members: tuple[str, ...]) -> frozenset[str]:
        """Every name that a list leads to: groups, and what is in them."""
        if members not in self._cache:
            waiting, met = list(members), set(members)
            while waiting:
                new = set(self._members_of(waiting.pop())) - met
                met |= new
                waiting += new
            self._cache[members] = frozenset(met)
        return self._cache[members]

    @cached_property
    def _cache(self) -> dict[tuple[str, ...], frozenset[str]]:
        return {}

    def is_dynamic(self, rule: Rule) -> bool:
        """Whether what a rule matches depends on a dynamic group."""
        return any(
            isinstance(found, AddressGroup) and found.filter is not None
            for name in self._reached((*rule.sources, *rule.destinations))
            for found in self._ends.get(name, {}).values()
        )

    def has_answers(self, rule: Rule) -> bool:
        """Whether DNS says something here of an FQDN that a rule names."""
        return any(
            getattr(self._end(name), "value", None) in self.told.names
            for name in self._reached((*rule.sources, *rule.destinations))
        )

    def _members_of(self, name: str) -> Sequence[str]:
        found = self._end(name)
        if not isinstance(found, AddressGroup) or found.problem:
            return ()
        if found.filter is None:
            return found.members
        return [
            other
            for other, kinds in self._ends.items()
            if other != name
            and any(
                isinstance(each, Address | AddressGroup)
                and each.tags is not None
                and found.filter.matches(set(each.tags))
                for each in kinds.values()
            )
        ]

    def _leaf_holds(self, name: str, end: End, oracle: Oracle) -> bool:
        """What a name holds by itself; of a group, only what is not known of its members."""
        place = (end.family, end.address)
        if name == "any":
            return True
        found = self._end(name)
        if isinstance(found, str):
            return oracle.says(found, name, place)
        if isinstance(found, AddressGroup):
            if found.problem:
                return oracle.says("unreadable group", name, place)
            unreadable = found.filter is not None and any(
                isinstance(each, Address | AddressGroup) and each.tags is None
                for kinds in self._ends.values()
                for each in kinds.values()
            )
            circular = name in self._reached(tuple(self._members_of(name)))
            if (unreadable or circular) and oracle.says("more", name, place):
                return True
            return found.filter is not None and self._registered_holds(found, end, oracle)
        if isinstance(found, ExternalList):
            return False
        if found is None:
            return _within(name, end) if _is_literal(name) else oracle.says("name", name, place)
        if isinstance(found, Region):
            readable = found.members and all(map(_is_literal, found.members)) and not found.problem
            if not readable:
                return oracle.says("region", name, place)
            return any(_within(member, end) for member in found.members)
        # A wildcard is too much to be written long before it is too much to be asked.
        if (found.problem and not _wildcard(found)) or found.kind == "fqdn":
            return oracle.says("object", name, place)
        return _value_holds(found, end)

    # --- services and applications ----------------------------------------------------------------

    def _service_holds(self, name: str, flow: Flow, oracle: Oracle, above: frozenset[str]) -> bool:
        asked = (name, flow.protocol, flow.source_port, flow.port)
        if name == "any":
            return True
        if name == "application-default":
            return self._at_default(flow, oracle)
        kinds = self._services.get(name, {})
        if len(kinds) > 1:
            return oracle.says("service", *asked)
        found = next(iter(kinds.values()), None)
        if isinstance(found, ServiceGroup):
            if found.problem or name in above:
                return oracle.says("service", *asked)
            return any(
                self._service_holds(each, flow, oracle, above | {name}) for each in found.members
            )
        if isinstance(found, Service):
            service = self._service(found)
            holds = None if service is None else contents.service_holds(service, flow)
            return oracle.says("service", *asked) if holds is None else holds
        if name in _PREDEFINED_SERVICES:
            return flow.protocol == TCP and flow.port in _PREDEFINED_SERVICES[name]
        return oracle.says("service", *asked)

    def _at_default(self, flow: Flow, oracle: Oracle) -> bool:
        """Whether a flow is where its own application is by default."""
        asked = ("default", flow.application, flow.protocol, flow.port, flow.icmp)
        if flow.application is None:
            return oracle.says(*asked)
        if flow.application in self._unclear_applications:
            return oracle.says(*asked)
        found = self.seen.objects.applications.get(flow.application)
        if isinstance(found, Application):
            default = self._default(found)
            holds = None if default is None else contents.default_holds(default, flow)
            return oracle.says(*asked) if holds is None else holds
        if found is None and flow.application in PREDEFINED:
            known = flow.port in PREDEFINED[flow.application].get(flow.protocol, ())
            return known or oracle.says(*asked)
        if found is None and flow.application == "ping":
            return (flow.icmp is not None and flow.icmp[0] in (8, 128)) or oracle.says(*asked)
        return oracle.says(*asked)

    def _service(self, found: Service) -> contents.Service | None:
        if self.document:
            return self._written("service", found.name, contents.written_service)
        if found.problem:
            return None
        sources = None if found.source_ports is None else str(found.source_ports)
        return contents.Service(found.protocol, str(found.ports), sources)

    def _default(self, found: Application) -> Sequence[contents.Item] | None:
        if self.document and not found.predefined:
            return self._written("application", found.name, contents.written_default)
        if found.problem:
            return None
        icmp = ("ident-by-icmp-type", "ident-by-icmp6-type")
        return [
            contents.Item(kind, *value.split("/")) if kind in icmp else contents.Item(kind, value)
            for kind, value in found.default
        ]

    def _written(
        self, kind: str, name: str, read: Callable[[ET.Element], _Read | None]
    ) -> _Read | None:
        """What the document has by a name in the scope that counts; None if nobody can read it."""
        if (kind, name) not in self._entries:
            scopes = visible_scopes(self.document.decode(), self.device_group)
            by_scope = (
                [entry for element in scope for entry in element.findall(f"{kind}/entry")]
                for scope in scopes
            )
            named = ([each for each in scope if each.get("name") == name] for scope in by_scope)
            self._entries[kind, name] = next(filter(None, named), [])
        entries = self._entries[kind, name]
        return read(entries[0]) if len(entries) == 1 else None

    @cached_property
    def _entries(self) -> dict[tuple[str, str], list[ET.Element]]:
        return {}

    def _application(self, names: Sequence[str], flow: Flow, oracle: Oracle) -> bool:
        waiting, met = list(names), set(names)
        while waiting:
            name = waiting.pop()
            if name in self._unclear_applications:
                if oracle.says("application", name, flow.application, flow.protocol, flow.port):
                    return True
                continue
            found = self.seen.objects.applications.get(name)
            if name == "any" or (
                name == flow.application and not isinstance(found, ApplicationGroup)
            ):
                return True
            if isinstance(found, ApplicationGroup) and not found.problem:
                waiting += [each for each in found.members if each not in met]
                met |= set(found.members)
            elif isinstance(found, Application) and not found.problem:
                continue
            elif (found is not None or name not in (*PREDEFINED, "ping")) and oracle.says(
                "application", name, flow.application, flow.protocol, flow.port
            ):
                # A filter, a container, a group that cannot be read, or a name that is missing.
                return True
        return False

    # --- rules ------------------------------------------------------------------------------------

    @cached_property
    def _devices(self) -> tuple[str, ...]:
        """The settings' firewalls, unless they are all of other device groups."""
        devices = self.rule_options.devices
        if not self.document:
            return devices
        own = serials_of(self.document.decode(), self.device_group)
        return tuple(each for each in devices if each in own) if own else devices

    def _targeted(self, target: Target, oracle: Oracle) -> bool:
        """Whether a rule is on the firewall that it is; the oracle picks it, and what is vague."""
        devices = self._devices
        serial = oracle.picks(devices, "device") if devices else None
        if not target.devices and not target.tags:
            return not target.negate
        named = oracle.says("target", target) if target.tags else False
        for each, systems in target.devices:
            if serial is None:
                named = named or oracle.says("is device", each, systems)
            elif each == serial:
                named = named or not systems or oracle.says("system", each, systems)
        return named != target.negate

    def matches(self, placed: EffectiveRule, flow: Flow, oracle: Oracle) -> bool:
        """Whether a rule matches a flow."""
        rule = placed.rule
        unread = {found for text in rule.unreadable for found in _ELEMENT.findall(text)[:1]}

        def guess(element: str) -> bool:
            return oracle.says("unreadable", placed.device_group, rule.name, element)

        raw = self._beside.get((placed.device_group, placed.rulebase, placed.position), {})
        unread -= raw.keys()
        rule, constraints = self._without_beside(rule, raw, oracle)
        if "disabled" in unread:
            if guess("disabled"):
                return False
        elif rule.disabled:
            return False
        if not (guess("target") if "target" in unread else self._targeted(rule.target, oracle)):
            return False
        return (
            self._zones_match(rule, unread, guess, flow, oracle)
            and self._ends_match(rule, unread, guess, flow, oracle)
            and self._contents_match(rule, unread, guess, flow, oracle)
            and all(map(guess, sorted(unread - _UNDERSTOOD)))
            and all(oracle.says("constraint", each, str(flow)) for each in constraints)
        )

    @cached_property
    def _beside(self) -> dict[tuple[str, str, int], dict[str, tuple[tuple[str, ...], bool]]]:
        """The lists that hold any beside others, with their rules' negations, as they are written.

        Nobody knows whether such a list is any or the others.
        """
        found: dict[tuple[str, str, int], dict[str, tuple[tuple[str, ...], bool]]] = {}
        if not self.document:
            return found
        config = ET.fromstring(self.document)
        groups = config.findall("devices/entry/device-group/entry")
        for scope in (*config.findall("shared"), *groups):
            name = scope.get("name", "shared")
            for rulebase in ("pre", "post"):
                rules = scope.findall(f"{rulebase}-rulebase/security/rules/entry")
                for position, rule in enumerate(rules, 1):
                    found[name, rulebase, position] = _beside_of(rule)
        return found

    def _without_beside(
        self, rule: Rule, raw: Mapping[str, tuple[tuple[str, ...], bool]], oracle: Oracle
    ) -> tuple[Rule, list[object]]:
        """A rule and its constraints where the oracle has said what any beside others means."""
        constraints: list[object] = list(rule.constraints)
        for tag, (listed, negated) in raw.items():
            for_all = [word for word in _FOR_ALL if word in listed]
            others = tuple(word for word in listed if word not in for_all)
            options = [*((word,) for word in for_all), *([others] if others else [])]
            meant = oracle.picks(options, "beside", rule.name, tag)
            if tag in _FIELDS:
                changes: dict[str, Any] = {_FIELDS[tag]: meant}
                if tag in ("source", "destination"):
                    changes[f"negate_{tag}"] = negated
                rule = replace(rule, **changes)
            elif meant == others:
                constraints.append((tag, others))
        return rule, constraints

    def _contents_match(
        self, rule: Rule, unread: set[str], guess: Callable[[str], bool], flow: Flow, oracle: Oracle
    ) -> bool:
        if "service" in unread:
            service = guess("service")
        else:
            service = any(
                self._service_holds(name, flow, oracle, frozenset()) for name in rule.services
            )
        if "application" in unread:
            return service and guess("application")
        return service and self._application(rule.applications, flow, oracle)

    def _ends_match(
        self, rule: Rule, unread: set[str], guess: Callable[[str], bool], flow: Flow, oracle: Oracle
    ) -> bool:
        for element, members, negate, end in (
            ("source", rule.sources, rule.negate_source, flow.source),
            ("destination", rule.destinations, rule.negate_destination, flow.destination),
        ):
            if element in unread:
                holds = guess(element)
            else:
                plain = rule.action == "allow" and not negate
                holds = self._holds(members, end, oracle, answered=plain)
            if f"negate-{element}" in unread:
                negate = guess(f"negate-{element}")
            if holds == negate:
                return False
        return True

    def _zones_match(
        self, rule: Rule, unread: set[str], guess: Callable[[str], bool], flow: Flow, oracle: Oracle
    ) -> bool:
        source, destination = self._zone(flow.source, oracle), self._zone(flow.destination, oracle)
        from_ = guess("from") if "from" in unread else _named(rule.from_zones, source)
        to = guess("to") if "to" in unread else _named(rule.to_zones, destination)
        kind = rule.rule_type
        if "rule-type" in unread:
            kind = oracle.picks(_RULE_TYPES, "rule type", rule.name)
        if kind == "intrazone":
            return from_ and source is not None and source == destination
        if kind == "interzone" and source is not None and source == destination:
            return False
        return from_ and to

    def _zone(self, end: End, oracle: Oracle) -> str | None:
        return self.zone_of_pod(end) if end.pod else self.zone_of_address(end, oracle)

    def may_be(
        self, rule: Rule, side: Literal["source", "destination"], end: End, oracle: Oracle
    ) -> bool:
        """Whether an end fits one side of a rule, to aim flows at it."""
        source = side == "source"
        zones = rule.from_zones if source else rule.to_zones
        members = rule.sources if source else rule.destinations
        negate = rule.negate_source if source else rule.negate_destination
        fits = _named(zones, self._zone(end, oracle)) or rule.rule_type == "intrazone"
        return fits and self._holds(members, end, oracle) != negate

    def may_carry(self, rule: Rule, flow: Flow, oracle: Oracle) -> bool:
        """Whether what a flow carries fits a rule, to aim flows at it."""
        return self._contents_match(rule, set(), lambda _: True, flow, oracle)

    def _allows(self, placed: EffectiveRule, oracle: Oracle) -> bool:
        rule = placed.rule
        if any(_ELEMENT.findall(text)[:1] == ["action"] for text in rule.unreadable):
            return oracle.says("action", placed.device_group, rule.name)
        return rule.action == "allow"

    def _wildcards(self, members: Sequence[str]) -> list[tuple[int, int]]:
        """The base and the mask of each wildcard object that a list leads to."""
        found = []
        for name in self._reached(tuple(members)):
            each = self._end(name)
            if isinstance(each, Address) and (wildcard := _wildcard(each)):
                found.append(wildcard)
        return found

    def _at_one_end(
        self, flow: Flow, oracle: Oracle, side: Literal["source", "destination"]
    ) -> list[_Through]:
        """What the firewall's rules have of wildcards at one end of a flow."""
        found = []
        for placed in self.seen.rules:
            rule = placed.rule
            source = side == "source"
            wildcards = self._wildcards(rule.sources if source else rule.destinations)
            if not wildcards or rule.disabled or not self._targeted(rule.target, oracle):
                continue
            end = flow.source if source else flow.destination
            negate = rule.negate_source if source else rule.negate_destination
            members = rule.sources if source else rule.destinations
            found += [_Through(placed, each, end, by_itself=not negate) for each in wildcards]
            if negate and not self._holds(members, end, oracle):
                # It matches by a list that has a wildcard in it: taken to match by that.
                found.append(_Through(placed, (0, 2**32 - 1), None, by_itself=False))
        return found

    def _readings(self, flow: Flow, oracle: Oracle) -> Iterator[tuple[EffectiveRule | None, str]]:
        """The rules that may decide, by all that the vendor's pages may mean.

        Unless the firewall's wildcard top-down match mode is on, rules with wildcards match by
        longest prefix and not in order: where wildcards hold an address, one of their rules is
        judged alone. Which the pages leave open: that of the longest prefix of those that hold the
        address, or of the longest prefix around it, whose wildcards are then asked; of rules alike
        any; whatever rule has a negated list. Where the rules of several overlap, what the one does
        not match is dropped, by no rule and no default.
        """
        in_order = (each for each in self.seen.rules if self.matches(each, flow, oracle))
        first = next(in_order, None)
        yield first, _place(first) if first else ""
        if self.top_down_wildcards or not self._has_wildcards:
            return
        matching = [*([first] if first else []), *in_order]
        for side in ("source", "destination"):
            all_of_it = self._at_one_end(flow, oracle, side)
            holding = [each for each in all_of_it if each.holds]
            if not holding:
                continue
            negated = [each for each in holding if not each.by_itself]
            longest = max(each.length for each in holding)
            alone = [each for each in holding if each.length == longest]
            leaf = max(each.length for each in all_of_it if each.around)
            asked = [each for each in holding if each.length == leaf]
            rules = {id(each.placed) for each in holding}
            for each in (*alone, *asked, *negated):
                where = f"{_place(each.placed)} (wildcard)"
                if any(each.placed is other for other in matching):
                    yield each.placed, where
                else:
                    yield None, f"{DROPPED} beside {where}" if len(rules) > 1 else where
            if not asked:
                # A negated list matches by what is not found.
                found = {id(each.placed) for each in holding if each.by_itself}
                others = [each for each in matching if id(each) not in found]
                yield next(iter(others), None), "none with a wildcard"

    @cached_property
    def _has_wildcards(self) -> bool:
        return any(
            isinstance(found, Address) and found.kind == "ip-wildcard"
            for kinds in self._ends.values()
            for found in kinds.values()
        )

    def verdict(self, flow: Flow, oracle: Oracle) -> Verdict:
        """What the firewall does with a flow; where it is silent, the settings' world decides.

        What it may deny by any reading of the vendor's pages it denies.
        """
        verdicts = [self._verdict(*each, flow, oracle) for each in self._readings(flow, oracle)]
        return next((each for each in verdicts if not each.allow), verdicts[0])

    def _verdict(
        self, rule: EffectiveRule | None, where: str, flow: Flow, oracle: Oracle
    ) -> Verdict:
        if rule is not None:
            return Verdict(self._allows(rule, oracle), where)
        source, destination = self._zone(flow.source, oracle), self._zone(flow.destination, oracle)
        if source is None or destination is None:
            return self.unplaced(flow, source, destination)
        if where.startswith(DROPPED):
            return Verdict(allow=False, by=where)
        name = "intrazone-default" if source == destination else "interzone-default"
        return Verdict(self.seen.defaults[name] == "allow", name)

    def unplaced(self, flow: Flow, source: str | None, destination: str | None) -> Verdict:
        """What the settings say of a flow with an end in no zone, where no rule speaks.

        To a firewall every address has a zone; this is the world that the settings accept instead.
        """
        ends = ((flow.source, source), (flow.destination, destination))
        if any(end.pod and zone is None for end, zone in ends):
            return Verdict(self.zone_options.unzoned_pods == "pass", "unzoned_pods")
        return Verdict(self.zone_options.unknown_addresses == "pass", "unknown_addresses")


# --- a cluster ------------------------------------------------------------------------------------


def cluster_verdict(firewalls: Sequence[Firewall], flow: Flow, oracle: Oracle) -> Verdict:
    """What a cluster ought to do: what every firewall allows that stands for one of the pods.

    A device group judges a flow at each pod of a zone that it knows, unless the flow is essential
    there. A pod with a zone label that is in no zone of any of them is denied both ways; any other
    pod without such a zone is not judged.
    """
    by = []
    for direction, end in (("egress", flow.source), ("ingress", flow.destination)):
        if end.pod is None:
            continue
        for firewall in firewalls:
            zone = firewall.zone_of_pod(end)
            named = zone is not None and zone in (*firewall.names, *firewall.zones)
            if not named and firewall.zone_options.label in end.pod.labels:
                return Verdict(allow=False, by=f"{direction}: label of no zone")
            if zone not in firewall.zones:
                continue
            if any(_essential(each, direction, flow) for each in firewall.zone_options.essentials):
                by.append(f"{direction}: essential")
                continue
            verdict = firewall.verdict(flow, oracle)
            by.append(f"{firewall.device_group}: {verdict.by}")
            if not verdict.allow:
                return Verdict(allow=False, by=by[-1])
    return Verdict(allow=True, by="; ".join(by) or "not judged")


def zone_names(configuration: Configuration, device_group: str) -> set[str]:
    """The zones that the rules of a device group name, disabled ones too."""
    return {
        zone
        for placed in effective(configuration, device_group).rules
        for zone in (*placed.rule.from_zones, *placed.rule.to_zones)
        if zone not in ("any", MULTICAST)
    }


def _essential(essential: Essential, direction: str, flow: Flow) -> bool:
    if essential.direction != direction:
        return False
    own, other = flow.source, flow.destination
    if direction == "ingress":
        own, other = other, own
    assert own.pod is not None
    if not selector(essential.on)(labels_of(own.pod)):
        return False
    pods = bool(essential.pods and other.pod and selector(essential.pods)(labels_of(other.pod)))
    if not pods and not any(_within(cidr, other) for cidr in essential.cidrs):
        return False
    wanted = [each.split("/") for each in essential.ports]
    return not wanted or any(
        _PROTOCOLS[protocol] == flow.protocol and int(port) == flow.port
        for port, protocol in wanted
    )


# --- comparisons ----------------------------------------------------------------------------------


def _place(placed: EffectiveRule) -> str:
    return f"{placed.device_group}/{placed.rulebase}/{placed.position} {placed.rule.name!r}"


def _named(zones: Sequence[str], zone: str | None) -> bool:
    return "any" in zones or (zone is not None and zone in zones)


def _within(text: str, end: End) -> bool:
    """Whether a network or range holds an address.

    An IPv4 address a.b.c.d is also held by an IPv6 range that holds ::a.b.c.d: PAN-OS treats IPv4
    as a part of IPv6. `ValueError` if the text is neither.
    """
    family, first, last = span(text)
    return (family == end.family or (family == 6 and end.family == 4)) and (
        first <= end.address <= last
    )


def _is_literal(text: str) -> bool:
    try:
        span(text)
    except ValueError:
        return False
    return True


def _beside_of(rule: ET.Element) -> dict[str, tuple[tuple[str, ...], bool]]:
    """The lists of a rule that hold any beside others, and whether each is negated."""
    found = {}
    for element in rule:
        listed = tuple({(member.text or "").strip(): None for member in element.findall("member")})
        words = _FOR_ALL if element.tag == "service" else _FOR_ALL[:1]
        if (
            element.tag != "tag"
            and len(listed) > 1
            and set(words) & set(listed)
            and "" not in listed
        ):
            negated = (rule.findtext(f"negate-{element.tag}") or "").strip() == "yes"
            found[element.tag] = (listed, negated)
    return found


def _wildcard(found: Address) -> tuple[int, int] | None:
    """The base and the mask of a wildcard object; None for any other, and for what is none."""
    base, _, mask = found.value.partition("/")
    try:
        read = int(IPv4Address(base)), int(IPv4Address(mask))
    except ValueError:
        return None
    return read if found.kind == "ip-wildcard" and not read[1] >> 31 else None


def _value_holds(found: Address, end: End) -> bool:
    wildcard = _wildcard(found)
    if wildcard is None:
        return _within(found.value, end)
    base, mask = wildcard
    return end.family == 4 and (base ^ end.address) & ~mask & 0xFFFFFFFF == 0

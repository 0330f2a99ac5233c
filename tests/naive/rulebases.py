"""Whole configurations with rulebases, from a seed: small universes, so that everything overlaps.

A *tame* case holds only what Calico can say, with every zone's networks known: its translation
ought to be exact. Any other case holds also what is legal and rare, and what cannot be read.

Configurations from elsewhere become cases too, with settings, pods and flows that fit them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from random import Random
from typing import Literal

from sync.calico.names import label_value
from sync.firewall import zone_networks
from sync.firewall.addressing import literal
from sync.firewall.configuration import Configuration, Provenance, Snapshot
from sync.firewall.effective import EffectiveDeviceGroup, as_known, effective
from sync.firewall.estimate import Estimate
from sync.firewall.objects import Address, ApplicationGroup, Service, ServiceGroup
from sync.firewall.rules import Rule
from sync.firewall.runtime import Registrations, tagged
from sync.net.addresses import AddressSet, network
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from tests import words
from tests.naive.calico_verdict import Verdict
from tests.naive.firewall_verdict import PREDEFINED, Derived, Firewall, Told, zone_names
from tests.naive.flows import (
    TCP,
    UDP,
    Contents,
    End,
    Flow,
    Oracle,
    Place,
    Pod,
    draw_flows,
    edges,
    outside,
    pods_at,
)
from tests.naive.routers import routing
from tests.naive.templates import Templates, templates
from tests.words import Word

ZONES = ("trust", "untrust", "dmz", "Web Tier", "lab")
LABEL = "firewall.tigera.io/zone"
TAGS = ("k8s", "legacy", "prod")
DEVICES = ("001", "002", "003")
POD_CIDRS = ("10.0.0.0/26", "2001:db8::/122")
_V4 = int(IPv4Address("10.0.0.0"))
_V6 = int(IPv6Address("2001:db8::"))
# Networks of zones; no two are the same prefix, and they lie within one another.
_NETWORKS = (
    "10.0.0.0/8",
    "10.0.0.0/25",
    "10.0.0.32/27",
    "10.0.0.64/26",
    "10.0.0.96/28",
    "10.0.0.128/26",
    "192.0.2.0/28",
    "2001:db8::/64",
    "2001:db8::40/123",
    "2001:db8:1::/48",
)
_SIDES: tuple[Literal["source"], Literal["destination"]] = ("source", "destination")
# Applications that sample configurations deny by name, with their default ports.
_PORTS: Mapping[str, Mapping[int, tuple[int, ...]]] = {
    "ftp": {TCP: (21,)},
    "quic": {UDP: (443,)},
    "rlogin": {TCP: (513,)},
    "telnet": {TCP: (23,)},
    "tftp": {UDP: (69,)},
}
# Where flows may start or end besides the edges of everything that the configuration holds.
_PROBES = (
    "0.0.0.0/32",
    "10.0.0.200/32",
    "192.0.2.3/32",
    "198.51.100.7/32",
    "224.0.0.5/32",
    "255.255.255.255/32",
    "::a00:5/128",
    "2001:db8::5/128",
    "2001:db8:2::1/128",
    "ff02::1/128",
)


@dataclass(frozen=True)
class Group:
    """A device group that the case's cluster stands for."""

    name: str
    tier: str
    order: int
    derived: Derived


@dataclass(frozen=True)
class Case:
    """A configuration, settings and a cluster with pods.

    `document` is what it was read from, empty where the configuration is from elsewhere.
    """

    seed: int
    tame: bool
    document: bytes
    configuration: Configuration
    groups: tuple[Group, ...]
    rules: RuleOptions
    zones: ZoneOptions
    pod_cidrs: tuple[str, ...] | None
    registered_known: bool
    tags: tuple[str, ...]
    mode: str
    world: tuple[End, ...]
    flows: tuple[Flow, ...]
    told: Told = field(default_factory=Told)

    @property
    def pods_in(self) -> AddressSet | None:
        """The addresses of pods; `None` where they are not known."""
        if self.pod_cidrs is None:
            return None
        return AddressSet.union(map(network, self.pod_cidrs))

    def seen(self, group: str) -> EffectiveDeviceGroup:
        """A device group with what its configuration does not hold, as it is translated."""
        return as_known(effective(self.configuration, group), snapshot_of(self))

    @cached_property
    def firewalls(self) -> list[Firewall]:
        """The firewalls that the cluster stands for; they know all that `_PORTS` says."""
        names = {
            zone
            for group in self.groups
            for zone in (*zone_names(self.configuration, group.name), *group.derived.zones)
        }
        return [
            _Firewall(
                self.configuration,
                group.name,
                self.rules,
                self.zones,
                group.derived,
                tuple(sorted(names)),
                self.registered_known,
                self.tame,
                self.told,
                self.document,
            )
            for group in self.groups
        ]


def as_they_are(case: Case) -> list[Firewall]:
    """The firewalls of a case, whatever its settings take for granted of registered addresses."""
    return [replace(each, registered_known=False) for each in case.firewalls]


class _Firewall(Firewall):
    """A firewall that asks its oracle nothing about applications that are well known."""

    def verdict(self, flow: Flow, oracle: Oracle) -> Verdict:
        known = _PORTS.keys() - self.seen.objects.applications.keys()
        return super().verdict(flow, _Informed(oracle.seed, oracle.bias, frozenset(known)))


@dataclass(frozen=True)
class _Informed(Oracle):
    """An oracle that knows default ports of these applications, and that each is only one.

    They may have others besides, which a firewall's content knows.
    """

    known: frozenset[str] = frozenset()

    def says(self, *question: object) -> bool:
        match question:
            case ("default", str(name), int(protocol), int(port), _) if name in self.known:
                return port in _PORTS[name].get(protocol, ()) or super().says(*question)
            case ("application", str(name), *_) if name in self.known:
                return False
        return super().says(*question)


def case(
    seed: int,
    *,
    tame: bool = False,
    number: int = 200,
    size: int = 1,
    routed: bool = False,
    wild: bool = False,
) -> Case:
    """The case of a seed, with this many flows; `size` multiplies the number of its rules.

    Of a `routed` case templates say which networks zones have, router by router. Of a `wild` one
    most rules are about wildcard objects that overlap, or about all and nothing.
    """
    random = Random(f"wild {seed}" if wild else f"{tame} {seed}")
    writer = _Wildcards(random) if wild else _Writer(random, tame)
    made_of = _templates_of(Random(f"templates {tame} {seed}"), tame) if routed else None
    document = writer.document(size, made_of)
    configuration = words.read(document)
    names = ["leaf"] if random.random() < 0.6 else ["leaf", "branch"]
    zones, derived = _networks(random, configuration, names, tame)
    if routed:
        zones, derived = _routed(Random(f"zones {tame} {seed}"), zones, document, names)
    groups = tuple(
        Group(name, f"tier-{name}", 100 + number, derived[name])
        for number, name in enumerate(names)
    )
    pod_cidrs = POD_CIDRS if random.random() < 0.5 else None
    made = Case(
        seed=seed,
        tame=tame,
        document=document,
        configuration=configuration,
        groups=groups,
        rules=_rule_options(random, tame, single=len(names) == 1),
        zones=zones,
        pod_cidrs=pod_cidrs,
        registered_known=tame or random.random() < 0.6,
        tags=() if random.random() < 0.7 else ("prod",),
        mode=random.choice(("enforced", "staged")),
        world=(),
        flows=(),
        told=_told(Random(f"told {tame} {seed}"), names, tame),
    )
    places = _places(random, made)
    world = tuple(pods_at(random, places, _pods(random, zones), pod_cidrs, 18))
    contents = Contents(
        writer.ports(),
        [
            *(("ping", 1), ("gre", 47)),
            *((name, None) for name in (*PREDEFINED, "own-app")),
            *(("own-ident", protocol) for protocol in (None, 1, 58, 47, 132)),
        ],
    )
    made = replace(made, world=world)
    return replace(made, flows=tuple(_flows(random, made, places, contents, number)))


LISTS = ("https://lists.example/a", "https://lists.example/b")


def _told(random: Random, groups: Sequence[str], tame: bool) -> Told:
    """What the configuration does not hold; a tame case is told everything, and by all alike."""

    def host() -> str:
        if random.random() < 0.2:
            return str(IPv6Address(_V6 + random.randrange(64)))
        return str(IPv4Address(_V4 + random.randrange(128)))

    registered: dict[str, list[Mapping[str, Sequence[str]] | None]] = {}
    for group in groups:
        if random.random() < 0.4:
            continue
        rows: dict[str, Sequence[str]] = {
            host(): [tag for tag in TAGS if random.random() < 0.5] for _ in range(3)
        }
        if not tame and random.random() < 0.5:
            rows |= {"10.0.0.0/28": ["k8s"], "10.0.0.4/30": ["prod"]}
        told: list[Mapping[str, Sequence[str]] | None] = [rows] * random.randint(1, 3)
        if not tame and random.random() < 0.3:
            told.append({**rows, host(): ["prod", "k8s"]})
        if not tame and random.random() < 0.15:
            told.append(None)
        registered[group] = told
    lists: dict[str, Sequence[str] | None] = {
        url: [host(), "10.0.0.40-10.0.0.45", "10.0.0.96/28", "2001:db8::40/124"][: 1 + number]
        for number, url in enumerate(LISTS, random.randrange(3))
    }
    if not tame and random.random() < 0.3:
        lists[LISTS[1]] = None
    names = {"www.example.com": [host(), host()]} if random.random() < 0.5 else {}
    return Told(registered, {} if tame else names, lists)


def snapshot_of(case: Case) -> Snapshot:
    """The same as a source gives it."""

    def sets(texts: Iterable[str]) -> AddressSet:
        return AddressSet.union(literal(text) or AddressSet() for text in texts)

    return Snapshot(
        case.configuration,
        Provenance("panorama", "a test", "1"),
        registered={
            group: Registrations(
                tuple(
                    tagged((literal(text) or AddressSet(), tags) for text, tags in rows.items())
                    for rows in told
                    if rows is not None
                ),
                ("one does not answer",) if None in told else (),
            )
            for group, told in case.told.registered.items()
        },
        names={name: sets(texts) for name, texts in case.told.names.items()},
        lists={
            url: Estimate.unknown("could not be fetched")
            if lines is None
            else Estimate.exactly(sets(lines))
            for url, lines in case.told.lists.items()
        },
    )


Known = Literal["templates", "settings", "both"]
"""What says which networks zones have: `both` have templates first, and settings for the rest."""


def case_of(
    configuration: Configuration,
    device_group: str,
    seed: int,
    *,
    known: Known = "templates",
    registered_known: bool = True,
    number: int = 400,
) -> Case:
    """A case of a configuration from elsewhere: one of its device groups, in a cluster of its own.

    Flows start and end at the edges of what the configuration holds and the settings say. Only
    with `templates` may there be zones whose networks nobody knows; otherwise there are always a
    few zones, for rules may say `any` alone.
    """
    random = Random(f"{device_group} {known} {registered_known} {seed}")
    seen = effective(configuration, device_group)
    derived = _templates(configuration, device_group, some=known != "templates")
    zones = sorted({*zone_names(configuration, device_group), *derived.zones})
    options = _settings_for(random, seen, zones, derived, known)
    serials = {serial for each in seen.rules for serial, _ in each.rule.target.devices}
    devices = random.choice(((), *((serial,) for serial in sorted(serials))))
    allow_as: Literal["Pass", "Allow"] = random.choice(("Pass", "Allow"))
    pod_cidrs = POD_CIDRS if random.random() < 0.5 else None
    made = Case(
        seed=seed,
        tame=False,
        document=b"",
        configuration=configuration,
        groups=(Group(device_group, "tier", 100, derived),),
        rules=RuleOptions(applications="strict", devices=devices, allow_as=allow_as),
        zones=options,
        pod_cidrs=pod_cidrs,
        registered_known=registered_known,
        tags=(),
        mode=random.choice(("enforced", "staged")),
        world=(),
        flows=(),
    )
    texts = [net for each in derived.all_networks().values() for net in each]
    texts += [net for each in options.definitions.values() for net in each.networks or ()]
    texts += (
        each.value.partition("/")[0]
        for each in seen.objects.addresses.values()
        if isinstance(each, Address) and each.kind == "ip-wildcard"
    )
    # Every kind of pod has a place, also where pods are in a small network.
    texts += (str(IPv4Address(_V4 + number)) for number in range(0, 64, 4))
    places = _places(random, made, texts)
    kinds = _pods(random, options, zones or ZONES)
    made = replace(made, world=tuple(pods_at(random, places, kinds, pod_cidrs, len(kinds) + 10)))
    return replace(made, flows=tuple(_flows(random, made, places, _contents(seen), number)))


def _flows(
    random: Random, case: Case, places: Sequence[Place], contents: Contents, number: int
) -> list[Flow]:
    """Flows of which half are aimed: at one rule each, which often misses one thing of them."""
    hosts = outside(case.world, places)
    # Pods as often as all other addresses together.
    ends = [*hosts, *(case.world * (len(hosts) // len(case.world) + 1))]
    flows = draw_flows(random, ends, ends, contents, number // 2)
    oracle = Oracle(random.randrange(100))
    aims = [
        (firewall, placed.rule, *_fitting(firewall, placed.rule, ends, oracle))
        for firewall in case.firewalls
        for placed in firewall.seen.rules
    ]
    random.shuffle(aims)
    for turn in range(number // 2 if aims else 0):
        firewall, rule, sources, destinations = aims[turn % len(aims)]
        if random.random() < 0.15:
            sources = ends
        if random.random() < 0.15:
            destinations = ends
        drawn = draw_flows(random, sources, destinations, contents, 6)
        hits = [flow for flow in drawn if firewall.may_carry(rule, flow, oracle)]
        flows += (hits if hits and random.random() < 0.8 else drawn)[:1]
    return flows


def _fitting(
    firewall: Firewall, rule: Rule, ends: Sequence[End], oracle: Oracle
) -> tuple[Sequence[End], Sequence[End]]:
    """The ends that a rule may have as sources, and those that it may have as destinations."""
    kinds: dict[tuple[str, End], bool] = {}
    for side in _SIDES:
        for end in dict.fromkeys(ends):
            kinds[side, end] = firewall.may_be(rule, side, end, oracle)
    sources, destinations = ([end for end in ends if kinds[side, end]] or ends for side in _SIDES)
    return sources, destinations


# --- settings -------------------------------------------------------------------------------------


def _rule_options(random: Random, tame: bool, *, single: bool) -> RuleOptions:
    allow_as: Literal["Pass", "Allow"] = random.choice(("Pass", "Allow")) if single else "Pass"
    if tame:
        return RuleOptions(applications="strict", devices=DEVICES[:1], allow_as=allow_as)
    return RuleOptions(
        applications="strict",
        filter=random.choice(("", "", "", "(k8s OR prod) AND NOT legacy")),
        devices=random.choice(((), DEVICES[:1], DEVICES[:2])),
        allow_as=allow_as,
    )


def _without(holes: Sequence[str]) -> tuple[str, ...]:
    """A default route, cut up if anything lies in it that is not of its zone."""
    left = [IPv4Network("0.0.0.0/0")]
    for hole in (IPv4Network(text) for text in holes if ":" not in text):
        kept: list[IPv4Network] = []
        for net in left:
            if hole.subnet_of(net):
                kept += net.address_exclude(hole)
            elif not net.subnet_of(hole):
                kept.append(net)
        left = kept
    return tuple(map(str, sorted(left)))


_ESSENTIALS = (
    Essential("egress", "all()", "role == 'dns'", (), ("53/udp", "53/tcp")),
    Essential("egress", f"has({LABEL})", "", ("192.0.2.0/28",), ("443/tcp",)),
    Essential("ingress", "app == 'web'", "role == 'dns'", ("10.0.0.40/29",), ()),
)
_WORKLOADS = (
    ("", ""),
    ("app == 'web'", ""),
    ("app in {'web', 'db'} && !has(quarantine)", ""),
    ("", "env == 'prod'"),
    ("app != 'web'", "env == 'prod' || has(team)"),
)


def _networks(
    random: Random, configuration: Configuration, names: Sequence[str], tame: bool
) -> tuple[ZoneOptions, dict[str, Derived]]:
    """Zone settings, and what the templates say of each device group.

    Every prefix is of one zone only, and a configured default route stands only where every
    other zone is configured too: anything else is a configuration error.
    """
    free = list(_NETWORKS)
    random.shuffle(free)

    def some(most: int) -> tuple[str, ...]:
        return tuple(free.pop() for _ in range(random.randint(0, min(most, len(free)))))

    definitions: dict[str, ZoneDefinition] = {}
    everything = tame or random.random() < 0.4
    zones = list(ZONES)
    random.shuffle(zones)
    # Where everything is known, some of it is known from templates alone.
    derive = zones[: random.choice((0, 0, 1, 2))] if everything else []
    for zone in zones[len(derive) :] if everything else zones[: random.randint(0, 4)]:
        own, namespaces = random.choice(_WORKLOADS) if random.random() < 0.4 else ("", "")
        networks = some(2) if everything or random.random() < 0.7 else None
        definitions[zone] = ZoneDefinition(own, namespaces, networks)
    if everything and random.random() < 0.6:
        zone = random.choice(zones[len(derive) :])
        default = random.choice((("0.0.0.0/0",), ("::/0",), ("0.0.0.0/0", "::/0")))
        definitions[zone] = replace(
            definitions[zone], networks=(*(definitions[zone].networks or ()), *default)
        )
    derived: dict[str, Derived] = {}
    for name in names:
        templates = tuple(sorted({*random.sample(ZONES, random.randint(0, 3)), *derive}))
        known = {zone: some(1) for zone in templates if zone in derive or random.random() < 0.6}
        defaults = {}
        if known and random.random() < 0.4:
            holes = random.choice(((), (), ("10.0.0.64/26",), ("10.0.0.112/28", "10.0.1.0/24")))
            taken = [net for networks in known.values() for net in networks] if holes else []
            defaults[random.choice(sorted(known))] = _without([*holes, *taken])
        derived[name] = Derived(templates, known, defaults)
    return (
        ZoneOptions(
            label=LABEL,
            unzoned_pods=random.choice(("pass", "pass", "deny")),
            unknown_addresses=random.choice(("deny", "deny", "pass")),
            essentials=(random.choice(_ESSENTIALS),) if random.random() < 0.2 else (),
            definitions=definitions,
        ),
        derived,
    )


def _templates_of(random: Random, tame: bool) -> Templates:
    return templates(random, ("leaf", "leaf", "branch"), ZONES, _NETWORKS, tame=tame)


def _routed(
    random: Random, zones: ZoneOptions, document: bytes, names: Sequence[str]
) -> tuple[ZoneOptions, dict[str, Derived]]:
    """Zone settings that leave most zones to the templates, and what these say."""
    # Longer than what templates lead anywhere: of the shorter ones settings and templates
    # together decide, and nobody can tell what a zone of unknown networks has of them.
    free = ["10.0.0.20/30", "10.0.0.40/29", "10.0.0.160/28", "198.51.100.0/24"]
    random.shuffle(free)
    definitions = {}
    for name, each in zones.definitions.items():
        some = tuple(free.pop() for _ in range(min(len(free), random.randint(0, 2))))
        definitions[name] = replace(each, networks=some if random.random() < 0.25 else None)
    derived = {}
    for name in names:
        found = routing(document, name)
        derived[name] = Derived(
            found.zones, routers=found.routers, without_addresses=found.without_addresses
        )
    return replace(zones, definitions=definitions), derived


def derived_for(case: Case, group: Group) -> zone_networks.Derived:
    """What is translated and proven of the templates of a case's device group."""
    if group.derived.routers is not None:
        return zone_networks.derived(case.configuration, group.name)
    zones = group.derived.zones
    return zone_networks.Derived(
        zones,
        group.derived.all_networks(),
        {zone: "a test says so" for zone in zones if zone not in group.derived.networks},
        group.derived.defaults,
    )


def _pods(random: Random, zones: ZoneOptions, names: Sequence[str] = ZONES) -> list[Pod]:
    """Pods of every kind: in each zone by label and otherwise, in none, with labels of none."""
    by_label = [
        zone
        for zone in names
        for found in (zones.definitions.get(zone),)
        if found is None or not (found.selector or found.namespace_selector)
    ]
    namespaces: tuple[tuple[str, dict[str, str]], ...] = (
        ("default", {}),
        ("prod", {"env": "prod"}),
        ("team", {"team": "a", "env": "dev"}),
    )
    labels: list[dict[str, str]] = [{LABEL: label_value(zone)} for zone in (*by_label, *by_label)]
    labels += [
        {LABEL: label_value(names[0]), "app": "web"},
        {"app": "web"},
        {"app": "db"},
        {"app": "db", "quarantine": ""},
        {"role": "dns", LABEL: label_value(names[len(names) // 2])},
        {"role": "dns"},
        {},
        {LABEL: random.choice(("no-such-zone", *map(label_value, names)))},
    ]
    return [Pod(each, *random.choice(namespaces)) for each in labels]


# --- configurations from elsewhere ----------------------------------------------------------------


def _templates(configuration: Configuration, device_group: str, *, some: bool) -> Derived:
    """What its templates say; where no zone is named, `some` makes up a few."""
    found = zone_networks.derived(configuration, device_group)
    invented = some and not (found.zones or zone_names(configuration, device_group))
    return Derived(
        ZONES[:3] if invented else found.zones,
        {
            zone: tuple(net for net in nets if net not in found.everything_else.get(zone, ()))
            for zone, nets in found.networks.items()
        },
        found.everything_else,
    )


def _settings_for(
    random: Random,
    seen: EffectiveDeviceGroup,
    zones: Sequence[str],
    derived: Derived,
    known: Known,
) -> ZoneOptions:
    """Settings for these zones, which have networks of the objects of a device group."""
    free = [*_prefixes(seen), *_NETWORKS]
    random.shuffle(free)
    definitions: dict[str, ZoneDefinition] = {}
    for zone in random.sample(zones, len(zones)):
        own, namespaces = random.choice(_WORKLOADS) if random.random() < 0.25 else ("", "")
        if known == "settings" or (known == "both" and zone not in derived.networks):
            nets = tuple(free.pop() for _ in range(min(random.randint(0, 2), len(free))))
            definitions[zone] = ZoneDefinition(own, namespaces, nets)
        elif own or namespaces:
            definitions[zone] = ZoneDefinition(own, namespaces)
    if known == "settings" and zones and random.random() < 0.6:
        zone = random.choice(zones)
        default = random.choice((("0.0.0.0/0",), ("0.0.0.0/0", "::/0")))
        nets = (*(definitions[zone].networks or ()), *default)
        definitions[zone] = replace(definitions[zone], networks=nets)
    return ZoneOptions(
        label=LABEL,
        unzoned_pods=random.choice(("pass", "deny")),
        unknown_addresses=random.choice(("deny", "pass")),
        definitions=definitions,
    )


def _prefixes(seen: EffectiveDeviceGroup) -> list[str]:
    """The networks among the address objects of a device group that zones may have."""
    found = set()
    for each in seen.objects.addresses.values():
        if isinstance(each, Address) and each.kind == "ip-netmask" and not each.problem:
            net = ip_network(each.value, strict=False)
            if net.prefixlen:
                found.add(str(net))
    return sorted(found - set(_NETWORKS))


def _contents(seen: EffectiveDeviceGroup) -> Contents:
    """The edges of the services that rules use, and the applications that they name."""
    bounds = {0, 65536}
    waiting = {name for each in seen.rules for name in each.rule.services}
    met: set[str] = set()
    while waiting:
        name = waiting.pop()
        met.add(name)
        service = seen.objects.services.get(name)
        if isinstance(service, ServiceGroup):
            waiting |= {*service.members} - met
        elif isinstance(service, Service):
            for spec in (service.ports, service.source_ports):
                bounds |= {*(spec.bounds if spec else ())}
    usual = (*PREDEFINED.values(), *_PORTS.values())
    ports = {8080, *(port for each in usual for some in each.values() for port in some)}
    ports |= {bound + near for bound in bounds for near in (-1, 0)}
    names = {name for each in seen.rules for name in each.rule.applications} - {"any"}
    for found in seen.objects.applications.values():
        if isinstance(found, ApplicationGroup) and found.name in names:
            names |= {*found.members}
    names = (names | PREDEFINED.keys()) - {"ping", "gre"}
    return Contents(
        sorted(port for port in ports if 0 <= port <= 65535),
        [("ping", 1), ("gre", 47), *((name, None) for name in sorted(names))],
    )


# --- addresses ------------------------------------------------------------------------------------


def _places(random: Random, case: Case, more: Iterable[str] = ()) -> list[Place]:
    """The edges of everything in the configuration, and some places besides."""
    texts = {*_PROBES, *_NETWORKS, *POD_CIDRS, *more}
    told = case.told
    for rows in (rows for each in told.registered.values() for rows in each if rows):
        texts |= {*rows}
    for lines in (*told.names.values(), *told.lists.values()):
        texts |= {*(lines or ())}
    values = set()
    for group in case.groups:
        seen = effective(case.configuration, group.name)
        for found in seen.objects.addresses.values():
            texts |= {*getattr(found, "value", "").split(", ")}
            if isinstance(found, Address) and found.kind == "ip-wildcard":
                values.add(found.value)
            texts |= set(getattr(found, "members", ()))
        for placed in seen.rules:
            texts |= {*placed.rule.sources, *placed.rule.destinations}
    places: list[Place] = []
    for text in sorted(texts):
        try:
            places += edges(text)
        except ValueError:
            continue
    places += _wildcard_places(random, sorted(values))
    # Of the members of a long list a few are as good as all.
    usual = list(dict.fromkeys(places))
    crowd = [place for place in usual if _V4 + 0x20000 <= place[1] < _V4 + 0x30000]
    kept = set(random.sample(crowd, min(12, len(crowd))))
    return [place for place in usual if place in kept or place not in set(crowd)]


def _wildcard_places(random: Random, values: Sequence[str]) -> Iterator[Place]:
    """Places that wildcards hold, share, and just do not hold."""
    wildcards = []
    for value in values:
        base, mask = (int(IPv4Address(part)) for part in value.split("/"))
        wildcards.append((base & ~mask, mask))
    for base, mask in wildcards:
        near = [number for number in range(_V4, _V4 + 256) if not (number ^ base) & ~mask]
        some = random.sample(near, min(4, len(near)))
        for number in (*some, base, base | mask, base | random.getrandbits(32) & mask):
            yield 4, number
            yield 4, number ^ 1
    for base, mask in wildcards:
        for other, its in wildcards:
            if not (base ^ other) & ~mask & ~its:
                yield 4, base | other
                yield 4, base | other | random.getrandbits(32) & mask & its


# --- documents ------------------------------------------------------------------------------------


class _Writer:
    """Writes one document; what it has made up is there for the rules after it."""

    def __init__(self, random: Random, tame: bool) -> None:
        self._random = random
        self._lists = Random(f"lists {random.getstate()[1][:3]}")
        self._apps = Random(f"applications {random.getstate()[1][:3]}")
        self._names = Random(f"names {random.getstate()[1][:3]}")
        self._tame = tame
        self._negations = 0.12
        self._addresses = [
            "net-1",
            "net-2",
            "net-3",
            "host",
            "range",
            "six",
            "four-six",
            "10.0.0.4",
        ]
        self._groups = ["grp-a", "grp-b", "Grp C", "dyn"]
        self._services = ["web", "high", "listed", "dns-udp", "svc-group"]
        self._specs = ["80", "443", "8080", "53", "22", "123", "0", "1", "65535"]

    def chance(self, of: float) -> bool:
        return self._random.random() < of

    def wild(self, of: float) -> bool:
        """A chance that a tame case does not take."""
        return not self._tame and self.chance(of)

    def ports(self) -> list[int]:
        """The ports at the edges of every service, and their neighbours."""
        found = set()
        for spec in self._specs:
            for item in spec.split(","):
                first, _, last = item.partition("-")
                for port in (int(first), int(last or first)):
                    found |= {port - 1, port, port + 1}
        if self._tame:
            found.discard(0)
        return sorted(port for port in found if 0 <= port <= 65535)

    def document(self, size: int, templates: Templates | None = None) -> bytes:
        """Shared, a device group over two others; names are defined in more than one of them."""
        scopes = {}
        for scope in ("shared", "top", "leaf", "branch"):
            everything = scope == "shared"
            made = self.objects(1.0 if everything else 0.25)
            number = self._random.randint(1, 4) if scope != "leaf" else self._random.randint(2, 8)
            for position in range(number * size):
                rulebase = "pre" if self.chance(0.6) else "post"
                made.append(self.rule(f"{scope} {position}", rulebase))
            if self.chance(0.25):
                name = self._random.choice(("intrazone-default", *["interzone-default"] * 2))
                action = self._random.choice(("allow", "allow", "deny", "drop"))
                made.append(words.default_rule(name, words.text("action", action)))
            made += templates.groups.get(scope, ()) if templates else ()
            made.sort(key=lambda word: word.place)
            scopes[scope] = made
        shared = scopes.pop("shared")
        parents = {"leaf": "top", "branch": "top"}
        # Tools have parents in the entries of device groups, where no Panorama has them.
        in_entries = self._names.random() < 0.3
        for name, parent in parents.items():
            scopes[name] += [Word("parent-dg", parent)] if in_entries else []
        devices = ""
        if self.chance(0.2):
            devices = words.tag(
                "deviceconfig",
                "<setting><management><ancestor-objects-take-precedence>yes"
                "</ancestor-objects-take-precedence></management></setting>",
            )
        devices += templates.devices if templates else ""
        readonly = "" if in_entries else None
        return words.document(shared, scopes, parents=parents, devices=devices, readonly=readonly)

    # --- objects ----------------------------------------------------------------------------------

    def objects(self, share: float) -> list[Word]:
        made = [self.address(name) for name in self._addresses if self.chance(share)]
        made += [self.group(name) for name in self._groups if self.chance(share)]
        made += [self.service(name) for name in self._services[:-1] if self.chance(share)]
        if self.chance(share):
            listed = self.sample([*self._services[:-1], "service-http"], 2)
            made.append(_service_group("svc-group", listed))
        if self.chance(share * 0.1):
            made.append(self.service("service-http"))
        if self.wild(share):
            made.append(words.address("name", "www.example.com", kind="fqdn", tags=self.tags()))
        if self.wild(share * 0.3):
            made.append(words.address("strange", "$variable"))
        if self.wild(share * 0.3):
            mask = self._random.choice(("0.0.0.5", "0.0.0.40", "0.0.0.15", "0.0.1.3"))
            made.append(words.address("wild", f"{self.v4()}/{mask}", kind="ip-wildcard"))
        if self.wild(share * 0.3):
            mask = self._random.choice(("0.0.0.6", "0.0.0.48", "0.0.0.31"))
            made.append(words.address("wild-2", f"{self.v4()}/{mask}", kind="ip-wildcard"))
        if self.wild(share * 0.3):
            made.append(_application("own-app", self._random.choice(("tcp/8080", "udp/dynamic"))))
        if not self._tame and self._apps.random() < share:
            made.append(_identified("own-ident", self._apps.choice(_DEFAULTS)))
        if share == 1 or self._apps.random() < share * 0.5:
            spelled = _PORT_LISTS[:4] if self._tame else _PORT_LISTS
            made.append(words.service("spelled", self._apps.choice(spelled)))
        made += [
            words.external_list(name, url)
            for name, url in zip(("edl-a", "EDL b"), LISTS, strict=True)
            if share == 1 or self._lists.random() < share * 0.5
        ]
        if self._names.random() < share:
            made.append(self.region("branch-office"))
        if not self._tame and self._names.random() < 0.3:
            made.append(self.of_another_kind())
        return made

    def region(self, name: str) -> Word:
        """A custom region; outside tame cases of members that cannot be read, or of none."""
        random = self._names
        first = random.randrange(60)
        listed = [
            str(IPv4Address(_V4 + random.randrange(128))),
            f"{IPv4Address(_V4 + first)}-{IPv4Address(_V4 + first + random.randrange(40))}",
            f"{IPv6Address(_V6 + random.randrange(64))}/124",
            f"{IPv4Address(_V4 + random.randrange(128))}/28",
        ]
        listed = random.sample(listed, random.randint(1, 3))
        if not self._tame and random.random() < 0.2:
            listed = [*listed[1:], "$variable"]
        return Word("region", words.entry(name, words.members("address", listed)))

    def of_another_kind(self) -> Word:
        """An object of a name that objects of another kind have at this level or another."""
        random = self._names
        names = (*self._addresses, *self._groups, "branch-office", "edl-a", "DE", "name")
        name = random.choice(names)
        number = str(IPv4Address(_V4 + random.randrange(64)))
        return random.choice(
            (
                lambda: words.address(name, number),
                lambda: words.group(name, number, "net-1"),
                lambda: words.dynamic(name, "'prod'"),
                lambda: self.region(name),
                lambda: words.external_list(name, LISTS[0]),
                lambda: words.service("svc-group", "22"),
                lambda: _service_group("web", ["dns-udp", "service-https"]),
                lambda: _service_group("high", ["web", "listed"]),
                lambda: _application("ssh", "tcp/8080"),
                lambda: Word(
                    "application-group",
                    words.entry("own-app", words.members("members", ["ssl", "dns"])),
                ),
            )
        )()

    def address(self, name: str) -> Word:
        tags = self.tags()
        if name == "range":
            first, last = sorted((self.number(), self.number()))
            value = f"{IPv4Address(_V4 + first)}-{IPv4Address(_V4 + last)}"
            return words.address(name, value, kind="ip-range", tags=tags)
        if name == "six":
            return words.address(name, f"{self.v6()}/{self._random.randint(120, 128)}", tags=tags)
        if name == "four-six":
            value = self._random.choice(
                ("::/0", "0.0.0.0/0", "::a00:0/122", "2001:db8::/32", "::a00:8-::a00:21")
            )
            kind = "ip-range" if "-" in value else "ip-netmask"
            return words.address(name, value, kind=kind, tags=tags)
        if name in ("host", "10.0.0.4"):
            return words.address(name, self.v4(), tags=tags)
        return words.address(name, f"{self.v4()}/{self._random.randint(24, 31)}", tags=tags)

    def group(self, name: str) -> Word:
        # Dynamic groups find groups by their tags, which easily makes circles.
        tags = [] if self._tame else self.tags()
        if name == "dyn":
            filters = ("'prod'", "'prod' and 'k8s'", "legacy or k8s", "not 'prod' and 'k8s'")
            return words.dynamic(name, self._random.choice(filters), tags)
        if self.chance(0.08):
            # More nets than a rule may hold.
            listed = [str(IPv4Address(_V4 + 0x20000 + 2 * number)) for number in range(270)]
            return words.group(name, *listed, *self.literals(2), tags=tags)
        listed = self.sample(self._addresses, 3) + self.literals(2)
        inner = [other for other in self._groups if other < name or self.wild(0.2)]
        listed += self.sample(inner, 1) if inner and self.chance(0.5) else []
        if self.wild(0.25):
            listed.append(self._random.choice(("name", "nowhere", "strange", "wild")))
        if not self._tame and self._names.random() < 0.15:
            listed.append(self._names.choice(_REGIONS))
        return words.group(name, *listed, tags=tags)

    def service(self, name: str) -> Word:
        specs: dict[str, Callable[[], str]] = {
            "web": lambda: self._random.choice(("80", "443", "80,443", "8080")),
            "high": lambda: self._random.choice(("1024-65535", "8000-9000", "0-65535", "1-65535")),
            "listed": self.listed_ports,
            "dns-udp": lambda: "53",
            "service-http": lambda: "8888",
        }
        spec = specs[name]()
        if self.wild(0.04):
            spec = self._random.choice(("0", "0-100"))
        self._specs.append(spec)
        protocol = "udp" if name == "dns-udp" or self.chance(0.1) else "tcp"
        source = self._random.choice(("1024-65535", "53", "1-1023")) if self.chance(0.1) else ""
        self._specs += [source] if source else []
        return words.service(name, spec, protocol, source)

    def listed_ports(self) -> str:
        if self.chance(0.2):
            # More ports than a rule may hold.
            return ",".join(str(2000 + 2 * number) for number in range(60))
        return ",".join(str(self._random.choice((22, 80, 443, 8080, 8443))) for _ in range(3))

    # --- rules ------------------------------------------------------------------------------------

    def rule(self, name: str, rulebase: str) -> Word:
        random = self._random
        lists: dict[str, Sequence[str] | str] = {
            "from_": self.zones(),
            "to": ["multicast"] if self.chance(0.04) else self.zones(),
            "source": self.ends(),
            "destination": self.ends(),
            "service": self.services(),
            "application": self.applications(),
            "action": random.choice(("allow", "allow", "allow", "deny", "drop", "reset-both")),
        }
        if not self._tame and self._apps.random() < 0.12:
            named = ("own-ident", "own-ident", *PREDEFINED, "ping")
            lists["application"] = [self._apps.choice(named)]
            lists["service"] = ["application-default"]
        elif self._apps.random() < 0.06:
            lists["service"] = ["spelled"]
        if self.chance(self._negations):
            lists["negate_source"] = "yes"
        if self.chance(self._negations):
            lists["negate_destination"] = "yes"
        if self.chance(0.3):
            lists["rule_type"] = random.choice(("intrazone", "interzone", "universal"))
        if self.chance(0.08):
            lists["disabled"] = "yes"
        if self.chance(0.4):
            lists["tag"] = self.sample(TAGS, 2)
        self.say_any_beside(lists)
        extra = [self.target()] if self.chance(0.5) else []
        if self._names.random() < 0.1:
            extra.append(words.members("saas-user-list", ["any"]))
        if self.wild(0.12):
            extra.append(random.choice(_ODDITIES))
        return words.rule(name, *extra, rulebase=rulebase, **lists)

    def say_any_beside(self, lists: dict[str, Sequence[str] | str]) -> None:
        """Say any twice, or outside tame cases also beside others."""
        random = self._names
        field = random.choice(("from_", "to", "source", "destination", "service", "application"))
        listed = lists[field]
        if random.random() > 0.3 or (self._tame and [*listed] != ["any"]):
            return
        words_for_all = ["any", "application-default"] if field == "service" else ["any"]
        named = {"service": ["web"], "application": ["ssl"]}.get(field, [])
        more = [random.choice(words_for_all), *random.sample(named, len(named))]
        mixed = [*listed, *(["any"] if self._tame else more)]
        lists[field] = random.sample(mixed, len(mixed))

    def zones(self) -> list[str]:
        return ["any"] if self.chance(0.35) else self.sample(ZONES, 4)

    def ends(self) -> list[str]:
        if self.chance(0.5):
            return ["any"]
        if self.wild(0.05):
            return [self._random.choice(("wild", "wild-2"))]
        listed = self.sample([*self._groups, *self._groups, *self._addresses], 2)
        if self._lists.random() < 0.15:
            listed.append(self._lists.choice(("edl-a", "EDL b")))
        if self._lists.random() < 0.15:
            listed.append("dyn" if self._tame else self._lists.choice(("dyn", "name")))
        if self._names.random() < 0.15:
            listed.append("branch-office" if self._tame else self._names.choice(_REGIONS))
        if self.chance(0.25):
            listed += self.literals(2)
        if self.wild(0.08):
            listed.append(
                self._random.choice(("name", "nowhere", "strange", "DE", "wild", "wild-2"))
            )
        return listed

    def services(self) -> list[str]:
        if self.chance(0.4):
            return ["any"]
        if self.wild(0.15):
            return ["application-default"]
        listed = self.sample([*self._services, "service-http", "service-https"], 2)
        return [*listed, "no-service"] if self.wild(0.03) else listed

    def applications(self) -> list[str]:
        if not self.wild(0.15):
            return ["any"]
        return self.sample([*PREDEFINED, "ping", "own-app", "some-container"], 2)

    def target(self) -> str:
        negate = self.chance(0.1)
        inner = words.text("negate", "yes" if negate else "no")
        if self._tame:
            return words.tag("target", words.text("negate", "no"))
        if self.chance(0.3):
            listed = self.sample(DEVICES, 2)
            systems = words.tag("vsys", words.entry("vsys1")) if self.chance(0.2) else ""
            devices = "".join(words.entry(serial, systems) for serial in listed)
            inner += words.tag("devices", devices)
        elif self.chance(0.1):
            inner += words.members("tags", ["site"])
        return words.tag("target", inner)

    # --- pieces -----------------------------------------------------------------------------------

    def sample(self, of: Sequence[str], most: int) -> list[str]:
        chosen = [self._random.choice(of) for _ in range(self._random.randint(1, most))]
        return list(dict.fromkeys(chosen))

    def tags(self) -> list[str]:
        return [tag for tag in TAGS if self.chance(0.3)]

    def number(self) -> int:
        # Pods and the networks of zones lie close together.
        near: tuple[int, ...] = (*range(48), 63, 64, 95, 96, 97, 111, 112, 127, 128, 191, 192)
        return self._random.choice(near)

    def v4(self) -> str:
        return str(IPv4Address(_V4 + self.number()))

    def v6(self) -> str:
        return str(IPv6Address(_V6 + self.number()))

    def literals(self, most: int) -> list[str]:
        made = []
        for _ in range(self._random.randint(0, most)):
            first, last = sorted((self.number(), self.number()))
            made.append(
                self._random.choice(
                    (
                        self.v4(),
                        f"{self.v4()}/{self._random.randint(26, 32)}",
                        f"{self.v6()}/{self._random.randint(122, 128)}",
                        f"{IPv4Address(_V4 + first)}-{IPv4Address(_V4 + last)}",
                    )
                )
            )
        return made


_REGIONS = ("branch-office", "branch-office", "DE", "panw-highrisk-ip-list")


class _Wildcards(_Writer):
    """Writes documents whose rules overlap in wildcards, or match all or nothing."""

    def __init__(self, random: Random) -> None:
        super().__init__(random, tame=False)
        self._negations = 0.25
        self._wildcards = [f"w-{number}" for number in range(random.randint(2, 6))]

    def objects(self, share: float) -> list[Word]:
        random = self._random
        made = super().objects(share)
        made += [
            words.address(name, self.wildcard(), kind="ip-wildcard", tags=self.tags())
            for name in self._wildcards
            if self.chance(share)
        ]
        if self.chance(share):
            listed = self.sample([*self._wildcards, "net-1", "nowhere"], 2)
            made.append(words.group("w-group", *listed, tags=self.tags()))
        if self.chance(share):
            made.append(words.address("all", random.choice(("::/0", "::/96", "0.0.0.0/0"))))
        return made

    def wildcard(self) -> str:
        """One of about as many CIDRs as can be told apart soon, or of far too many."""
        masks = ("0.0.0.5", "0.0.0.40", "0.0.0.63", "0.0.0.0", "0.0.0.254", "0.0.1.3", "0.0.4.15")
        many = ("0.0.16.62", "0.3.255.254", "0.31.255.250", "0.127.255.254")
        return f"{self.v4()}/{self._random.choice((*masks, *masks, *many))}"

    def ends(self) -> list[str]:
        if self.chance(0.4):
            return super().ends()
        if self.chance(0.2):
            return self._random.choice(
                (["all"], ["all"], ["all", "nowhere"], ["any", *self._wildcards[:1]])
            )
        listed = self.sample([*self._wildcards, *self._wildcards, "w-group"], 2)
        if self.chance(0.2):
            listed += self._random.choice((["net-1"], ["dyn"], ["four-six"], self.literals(1)))
        return listed


# What a rule may hold that Calico cannot say, or that nobody can read.
_ODDITIES = (
    words.members("source-user", ["domain\\admins"]),
    words.members("category", ["gambling"]),
    words.members("category", ["any", "any"]),
    words.members("source-user", ["any", "domain\\admins"]),
    words.members("saas-tenant-list", ["tenants"]),
    words.members("source-hip", ["managed"]),
    words.text("schedule", "nights"),
    words.members("from-the-future", ["x"]),
    words.text("saas-tenant", "y"),
    words.text("negate-source", "perhaps"),
    words.text("rule-type", "sometimes"),
    words.text("action", "ask"),
    words.text("disabled", "maybe"),
    words.members("source", ["net-1"]),
    words.members("service", ["web"]),
    words.tag("target", "<negate>no</negate><shape>round</shape>"),
)


# What an application may be on by default, in every spelling.
_DEFAULTS = (
    *(
        words.tag(f"ident-by-icmp{family}-type", inner)
        for family in ("", "6")
        for inner in (
            "13,14",
            " 134 ",
            words.text("type", "13,14"),
            words.text("type", " 1 , 3-4 "),
            words.text("type", "3,134") + words.text("code", "0,3"),
            words.text("code", "1-3") + words.text("type", "0-3"),
            words.text("type", "250-255"),
            words.text("type", "0-255"),
            words.text("type", "13,any"),
            words.text("type", "014"),
            words.text("code", "0"),
        )
    ),
    *(words.text("ident-by-ip-protocol", each) for each in ("47", "47,132", "40-50", "0-255", "0")),
    words.text("ident-by-ip-protocol", "gre"),
    words.members("port", ["tcp/0-1024,8080", "udp/53"]),
    words.members("port", ["tcp/443,dynamic"]),
    words.members("port", ["tcp/any"]),
)
_PORT_LISTS = ("any", " any ", " 80 , 443-8080 ", "0-65535", "0", "0,22,1024-65535")


def _identified(name: str, default: str) -> Word:
    return Word("application", words.entry(name, words.tag("default", default)))


def _service_group(name: str, listed: Sequence[str]) -> Word:
    return Word("service-group", words.entry(name, words.members("members", listed)))


def _application(name: str, port: str) -> Word:
    default = words.tag("default", words.members("port", [port]))
    return Word("application", words.entry(name, default))

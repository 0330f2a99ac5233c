"""The effective configuration of one device group: the objects it sees and its rules."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from sync.errors import SourceError
from sync.firewall import predefined, regions
from sync.firewall.addressing import literal
from sync.firewall.configuration import SHARED, Configuration, Scope, Snapshot, family_of
from sync.firewall.estimate import Estimate
from sync.firewall.firewalls import NO_FIREWALLS, Firewalls, firewalls_of
from sync.firewall.groups import Resolved, resolve_groups
from sync.firewall.objects import (
    Address,
    AddressGroup,
    Application,
    ApplicationFilter,
    ApplicationGroup,
    ExternalList,
    Objects,
    Service,
    ServiceGroup,
    unusable,
)
from sync.firewall.parse.xml import brief
from sync.firewall.reasons import Reason
from sync.firewall.rules import NatRule, Rule
from sync.firewall.runtime import Registrations
from sync.net.addresses import NOWHERE, AddressSet
from sync.text import shortened

_Object = TypeVar("_Object")
_Application = ApplicationFilter | ApplicationGroup | Application
_Of = TypeVar(
    "_Of",
    bound=Address | AddressGroup | Service | ServiceGroup | _Application,
)


@dataclass(frozen=True, slots=True)
class EffectiveRule:
    """A rule and its place: the scope that holds it, `pre` or `post`, its position there from 1."""

    rule: Rule
    device_group: str
    rulebase: str
    position: int


@dataclass(frozen=True, slots=True)
class EffectiveDeviceGroup:
    """One device group as its firewalls see it.

    `lineage` runs from the device group up to `shared`; `filled` are those of it that hold rules,
    addresses or address groups of their own, sorted. `objects` holds one object a name: names
    are resolved here for every rule, inherited ones included (an override in a device group
    changes what the rules of its ancestors mean for it). Regions, predefined ones too, stand among
    its addresses; `regions` is empty. `rules` and `nat`, the NAT rules that
    translate destinations, are in the order of evaluation. `registered` is None where nothing is
    known of it. It `has_children` if another device group inherits from it, or may.
    """

    name: str
    lineage: tuple[str, ...]
    filled: tuple[str, ...]
    objects: Objects
    rules: tuple[EffectiveRule, ...]
    nat: tuple[NatRule, ...]
    defaults: dict[str, str]
    registered: Registrations | None = None
    firewalls: Firewalls = NO_FIREWALLS
    has_children: bool = True
    # `replace` makes a new one: it is of these very objects.
    _resolved: dict[bool, Mapping[str, Resolved]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def knows_registered(self) -> bool:
        """Whether all that is registered with dynamic groups is known."""
        return self.registered is not None and not self.registered.missing

    def resolved(self, *, registered_known: bool) -> Mapping[str, Resolved]:
        """Its address groups by `resolve_groups`, computed once."""
        if registered_known not in self._resolved:
            self._resolved[registered_known] = resolve_groups(
                self.objects.addresses,
                registered_known=registered_known,
                registered=self.registered,
            )
        return self._resolved[registered_known]

    def groups(self) -> Iterator[AddressGroup]:
        """The address groups it sees, in name order."""
        for _, found in sorted(self.objects.addresses.items()):
            if isinstance(found, AddressGroup):
                yield found


def effective(configuration: Configuration, device_group: str) -> EffectiveDeviceGroup:
    """Resolve inheritance for one device group.

    `SourceError` if it does not exist or its line of ancestors is broken: then it is unknown
    which objects it sees, and the last good state stays.
    """
    lineage = _lineage(configuration, device_group)
    if configuration.ancestors_take_precedence is None:
        raise SourceError(
            "the setting ancestor-objects-take-precedence is neither yes nor no, so it is "
            "unknown which of two objects of one name counts; export the configuration again"
        )
    scopes = [
        configuration.shared if name == SHARED else configuration.device_groups[name].scope
        for name in lineage
    ]
    # The nearest definition wins, unless a setting gives ancestors precedence.
    by_precedence = scopes if configuration.ancestors_take_precedence else scopes[::-1]
    defaults = {"intrazone-default": "allow", "interzone-default": "deny"}
    for scope in scopes[::-1]:
        defaults.update(scope.rulebases.defaults)
    return EffectiveDeviceGroup(
        name=device_group,
        lineage=lineage,
        filled=tuple(
            sorted(
                name
                for name, scope in zip(lineage, scopes, strict=True)
                if scope.objects.addresses or scope.rulebases.pre or scope.rulebases.post
            )
        ),
        objects=_merged(by_precedence),
        rules=tuple(_rules(lineage, scopes)),
        has_children=len(family_of(configuration, device_group)) > 1,
        nat=tuple(_nat_rules(scopes)),
        defaults=defaults,
        firewalls=firewalls_of(configuration, device_group),
    )


def as_known(seen: EffectiveDeviceGroup, snapshot: Snapshot) -> EffectiveDeviceGroup:
    """The same device group, with runtime data that its configuration does not hold."""
    objects = seen.objects
    addresses = objects.addresses
    if snapshot.names:
        addresses = {name: _answered(each, snapshot.names) for name, each in addresses.items()}
    lists = {
        name: _fetched(each, snapshot.lists[each.url])
        if each.type == "ip" and each.url in snapshot.lists and not each.problem
        else each
        for name, each in objects.external_lists.items()
    }
    return replace(
        seen,
        objects=replace(
            objects,
            addresses=addresses,
            external_lists=lists,
            applications={
                **snapshot.predefined,
                **_not_predefined(objects.applications, snapshot.predefined),
            },
        ),
        registered=snapshot.registered.get(seen.name),
    )


def _answered(
    found: Address | AddressGroup, names: Mapping[str, AddressSet]
) -> Address | AddressGroup:
    # What has a problem may be another object than the one that this value is of.
    if isinstance(found, AddressGroup) or found.kind != "fqdn" or found.problem:
        return found
    return replace(found, answers=names.get(found.value, NOWHERE), asked=found.value in names)


def _fetched(external: ExternalList, content: Estimate) -> ExternalList:
    """The list with what was fetched for it, without its exceptions."""
    exceptions = [literal(exception) for exception in external.exceptions]
    if None in exceptions:
        return replace(external, problem="has an exception that is no address")
    if content.says_nothing:
        return replace(external, problem="; ".join(content.because))
    excepted = AddressSet.union(addresses for addresses in exceptions if addresses)
    because = content.because
    if not because and excepted & content.surely:
        # Whether an exception removes a part of a network is documented nowhere.
        because = ("has exceptions",)
    kinds = frozenset({Reason.EXTERNAL_LIST_PROBLEM} if because else ())
    content = replace(content, surely=content.surely - excepted, because=because, kinds=kinds)
    return replace(external, holds=content)


def _lineage(configuration: Configuration, device_group: str) -> tuple[str, ...]:
    groups = configuration.device_groups
    if device_group not in groups:
        known = shortened(map(repr, groups), ", ") or "none at all"
        raise SourceError(f"the configuration has no device group {device_group!r}; it has {known}")
    if SHARED in groups:
        raise SourceError(
            f"a device group of the configuration is called {SHARED!r}, which is the name of the "
            "scope above all of them; rename it in Panorama"
        )
    lineage: list[str] = []
    name = device_group
    while name and name != SHARED:
        if name not in groups:
            raise SourceError(
                f"the parent of device group {lineage[-1]!r} is not a device group of this "
                "configuration, so which objects it inherits is unknown; export it again"
            )
        if name in lineage:
            raise SourceError(
                f"the parents of device group {device_group!r} form a cycle "
                f"({brief(' > '.join([*lineage, name]))}); correct the hierarchy in Panorama"
            )
        if groups[name].parent_unknown:
            raise SourceError(
                f"the parent of device group {name!r} is unknown, and so is what it inherits: "
                f"{brief(groups[name].parent_unknown)}; export the whole configuration "
                "(Panorama > Setup > Operations) and let no tool edit it"
            )
        lineage.append(name)
        name = groups[name].parent
    return (*lineage, SHARED)


def _merged(scopes: Iterable[Scope]) -> Objects:
    """One object a name; later scopes win among objects of one kind.

    If objects of several kinds have one name, in one scope or in several, the vendor documents
    nowhere which of them counts. A maintainer of the vendor's tool says that a region goes
    before an external list, that before an address group and that before an address, at whatever
    level, and a service group before a service (PaloAltoNetworks/pan-os-php, issue 279). None of
    them is believed here: what uses such a name is unsayable, whichever counts.
    """
    layers = [scope.objects for scope in scopes]
    lists = _laid(each.external_lists for each in layers)
    return Objects(
        addresses=_addresses(layers, lists),
        services=_of_one_kind([each.services for each in layers], _SERVICES),
        applications=_not_predefined(
            _of_one_kind([each.applications for each in layers], _APPLICATIONS),
            predefined.DEFAULTS,
        ),
        external_lists=lists,
        tags=_laid(each.tags for each in layers),
    )


_ADDRESSES: Final = {AddressGroup: "an address group", Address: "an address"}
_SERVICES: Final = {ServiceGroup: "a service group", Service: "a service"}
_APPLICATIONS: Final = {
    ApplicationFilter: "an application filter",
    ApplicationGroup: "an application group",
    Application: "a custom application",
}
_EXTERNAL: Final = "an external dynamic list"
# Lists of these types hold no addresses, so no source or destination means one.
_OTHER_LISTS: Final = frozenset({"domain", "predefined-url", "url"})
_PREDEFINED: Final[Mapping[str, Address | AddressGroup]] = {
    name: Address(name, kind, "", None, problem=problem, kind_of_problem=reason)
    for kind, problem, reason, names in (
        ("region", "is a predefined region", Reason.COUNTRY, regions.COUNTRIES),
        (
            "external-list",
            "is a predefined external dynamic list",
            Reason.PREDEFINED_LIST,
            regions.LISTS,
        ),
    )
    for name in names
}


def _addresses(
    layers: Sequence[Objects], lists: Mapping[str, ExternalList]
) -> Mapping[str, Address | AddressGroup]:
    """The objects that sources and destinations name, without external lists of a unique name."""
    named = _of_one_kind([each.addresses for each in layers], _ADDRESSES)
    custom = _laid(each.regions for each in layers)
    found: dict[str, Address | AddressGroup] = {
        **_PREDEFINED,
        **{
            name: Address(name, "region", ", ".join(each.members), each.addresses, (), each.problem)
            for name, each in custom.items()
        },
        **named,
    }
    kinds: dict[str, list[str]] = {name: [each.problem[3:]] for name, each in _PREDEFINED.items()}
    for name in custom:
        kinds.setdefault(name, []).append("a region")
    for name, external in lists.items():
        if external.type not in _OTHER_LISTS:
            kinds.setdefault(name, []).append(_EXTERNAL)
    for name, others in kinds.items():
        if name in named:
            others.append(_ADDRESSES[type(named[name])])
        elif others == [_EXTERNAL] and literal(name) is not None:
            others.append(_ADDRESSES[Address])
        if len(others) > 1:
            each = found.get(name) or Address(name, "external-list", "", None)
            found[name] = unusable(each, _of_several(others))
    for name in _may_be_wildcards(layers):
        unclear = found[name]
        if len(kinds.get(name, ())) > 1 or type(unclear) is not Address:
            # An unreadable wildcard: which rules it takes out of order is unknown.
            tags, problem = unclear.tags, unclear.problem
            found[name] = Address(name, "ip-wildcard", "", None, tags, problem=problem)
    return found


def _may_be_wildcards(layers: Sequence[Objects]) -> set[str]:
    """The names that a wildcard object and an object of another kind have."""
    wild = {
        name
        for layer in layers
        for name, each in layer.addresses.items()
        if isinstance(each, Address) and each.kind == "ip-wildcard"
    }
    others = {
        name
        for layer in layers
        for name, each in layer.addresses.items()
        if isinstance(each, AddressGroup)
    }
    named = {name for layer in layers for name in (*layer.regions, *layer.external_lists)}
    return wild & (others | named | _PREDEFINED.keys())


def _of_one_kind(
    layers: Sequence[Mapping[str, _Of]], kinds: Mapping[type[_Of], str]
) -> dict[str, _Of]:
    """One mapping of several, later ones before earlier ones, where objects of a name are alike.

    What has several of `kinds` in different layers is the first of them, with a problem.
    """
    laid: dict[str, _Of] = {}
    mixed: dict[str, dict[type[_Of], _Of]] = {}
    for layer in layers:
        for name in laid.keys() & layer.keys():
            one, other = laid[name], layer[name]
            if name in mixed or type(one) is not type(other):
                mixed.setdefault(name, {type(one): one})[type(other)] = other
        laid.update(layer)
    for name, by_kind in mixed.items():
        found = [by_kind[kind] for kind in kinds if kind in by_kind]
        unclear = unusable(found[0], _of_several([kinds[type(each)] for each in found]))
        tags = {getattr(each, "tags", None) for each in found}
        if isinstance(unclear, AddressGroup) and len(tags) > 1:
            unclear = replace(unclear, tags=None)
        laid[name] = unclear
    return laid


def _not_predefined(
    named: Mapping[str, _Application], known: Collection[str]
) -> Mapping[str, _Application]:
    """The same; what is called as a predefined App-ID is, has a problem."""
    return {
        **named,
        **{
            name: unusable(
                named[name], _of_several(["a predefined App-ID", _APPLICATIONS[type(named[name])]])
            )
            for name in named.keys() & set(known)
        },
    }


def _of_several(kinds: Iterable[str]) -> str:
    return f"is the name of {' and of '.join(kinds)}"


def _laid(layers: Iterable[Mapping[str, _Object]]) -> Mapping[str, _Object]:
    """Merge mappings; later ones override earlier ones."""
    laid: dict[str, _Object] = {}
    for layer in layers:
        laid.update(layer)
    return laid


def _rules(lineage: tuple[str, ...], scopes: list[Scope]) -> Iterator[EffectiveRule]:
    """Pre-rules from Shared down to the device group, then post-rules from it up to Shared."""
    placed = list(zip(lineage, scopes, strict=True))
    for name, scope in reversed(placed):
        for position, rule in enumerate(scope.rulebases.pre, 1):
            yield EffectiveRule(rule, name, "pre", position)
    for name, scope in placed:
        for position, rule in enumerate(scope.rulebases.post, 1):
            yield EffectiveRule(rule, name, "post", position)


def _nat_rules(scopes: list[Scope]) -> Iterator[NatRule]:
    """In the same order."""
    for scope in reversed(scopes):
        yield from scope.rulebases.nat_pre
    for scope in scopes:
        yield from scope.rulebases.nat_post

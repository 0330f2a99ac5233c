"""What a configuration means for one device group: the objects it sees and the rules it obeys."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from sync.errors import SourceError
from sync.firewall.addressing import literal
from sync.firewall.configuration import SHARED, Configuration, Scope, Snapshot
from sync.firewall.objects import Address, AddressGroup, ExternalList, Objects
from sync.firewall.rules import NatRule, Rule
from sync.firewall.runtime import External, Registrations
from sync.firewall.xml import brief
from sync.net.addresses import AddressSet

_Object = TypeVar("_Object")


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
    changes what the rules of its ancestors mean for it). `rules` and `nat`, the NAT rules that
    translate destinations, are in the order of evaluation. `registered` is None where nothing is
    known of it.
    """

    name: str
    lineage: tuple[str, ...]
    filled: tuple[str, ...]
    objects: Objects
    rules: tuple[EffectiveRule, ...]
    nat: tuple[NatRule, ...]
    defaults: dict[str, str]
    registered: Registrations | None = None

    @property
    def knows_registered(self) -> bool:
        """Whether all that is registered with dynamic groups is known."""
        return self.registered is not None and not self.registered.missing

    def groups(self) -> Iterator[AddressGroup]:
        """The address groups it sees, in name order."""
        for _, found in sorted(self.objects.addresses.items()):
            if isinstance(found, AddressGroup):
                yield found


def effective(configuration: Configuration, device_group: str) -> EffectiveDeviceGroup:
    """Resolve inheritance for one device group.

    `SourceError` if it does not exist or its line of ancestors is broken: then nobody knows which
    objects it sees, and the last good state stays.
    """
    lineage = _lineage(configuration, device_group)
    if configuration.ancestors_take_precedence is None:
        raise SourceError(
            "the setting ancestor-objects-take-precedence is neither yes nor no, so nobody knows "
            "which of two objects of one name counts; export the configuration again"
        )
    scopes = [
        configuration.shared if name == SHARED else configuration.device_groups[name].scope
        for name in lineage
    ]
    # The nearest definition wins, unless Panorama says that ancestors take precedence.
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
        nat=tuple(_nat_rules(scopes)),
        defaults=defaults,
    )


def as_known(seen: EffectiveDeviceGroup, snapshot: Snapshot) -> EffectiveDeviceGroup:
    """The same device group, with what its configuration does not hold."""
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
            # What a configuration says takes the place of what is predefined.
            applications={**snapshot.predefined, **objects.applications},
        ),
        registered=snapshot.registered.get(seen.name),
    )


def _answered(
    found: Address | AddressGroup, names: Mapping[str, AddressSet]
) -> Address | AddressGroup:
    if isinstance(found, Address) and found.kind == "fqdn" and found.value in names:
        return replace(found, answers=names[found.value])
    return found


def _fetched(found: ExternalList, external: External) -> ExternalList:
    exceptions = [literal(each) for each in found.exceptions]
    if None in exceptions:
        return replace(found, problem="has an exception that is no address")
    if external.problem and not external.addresses and external.at_most is None:
        return replace(found, problem=external.problem)
    excepted = AddressSet.union(each for each in exceptions if each)
    problem, at_most = external.problem, external.at_most
    if not problem and excepted & external.addresses:
        # Whether an exception takes a part of a network away, no document says.
        problem, at_most = "has exceptions", external.addresses
    return replace(found, addresses=external.addresses - excepted, problem=problem, at_most=at_most)


def _lineage(configuration: Configuration, device_group: str) -> tuple[str, ...]:
    groups = configuration.device_groups
    if device_group not in groups:
        known = ", ".join(repr(name) for name in groups) or "none at all"
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
                "configuration, so nobody knows which objects it inherits; export it again"
            )
        if name in lineage:
            raise SourceError(
                f"the parents of device group {device_group!r} go round in a circle "
                f"({brief(' > '.join([*lineage, name]))}); correct the hierarchy in Panorama"
            )
        lineage.append(name)
        name = groups[name].parent
    return (*lineage, SHARED)


def _merged(scopes: Iterable[Scope]) -> Objects:
    """One object a name; later scopes win."""
    layers = [scope.objects for scope in scopes]
    return Objects(
        addresses=_laid(each.addresses for each in layers),
        services=_laid(each.services for each in layers),
        applications=_laid(each.applications for each in layers),
        external_lists=_laid(each.external_lists for each in layers),
        regions=_laid(each.regions for each in layers),
        tags=_laid(each.tags for each in layers),
    )


def _laid(layers: Iterable[Mapping[str, _Object]]) -> Mapping[str, _Object]:
    """One mapping of several, where later ones cover earlier ones."""
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

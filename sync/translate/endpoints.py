"""One end of a rule as Calico's entity rules: by address, by zone, or by both.

An end that does not fit one entity becomes the union of several: IPv4 and IPv6 are separate, an
entity has at most 256 nets, and a zone is its pods and its networks. Felix combines the selectors
of an entity into one object selector. Pods and sets are different objects, so an entity never
selects both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from typing import Literal, TypeAlias

from sync.calico import cidrs, limits, names, selectors
from sync.calico.objects import EntityRule
from sync.net.addresses import EVERYWHERE, NOWHERE, V4_END, V6_END, AddressSet
from sync.translate.address_match import AddressMatch
from sync.translate.network_sets import GroupSet, without_mapped
from sync.translate.zones import PODS, Workloads, Zone, Zones, among_pods

_SETS_ONLY = "global()"
_NO_NAMESPACE = "!has(projectcalico.org/namespace)"
# Room for the rest of a selector beside its groups: `_NO_NAMESPACE`, a list of the rule's own.
_BESIDE_GROUPS = 128
_AMONG_PODS = limits.SELECTOR_BYTES - len(among_pods(""))
_V4 = AddressSet((0, V4_END))
_V6 = AddressSet((), (0, V6_END))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entity without ports, and the family that its nets bind it to (None: both)."""

    entity: EntityRule
    family: Literal[4, 6] | None = None


ANYWHERE = Endpoint(EntityRule())
OUTSIDE = EntityRule(not_selector=PODS)
"""Every address that belongs to no pod."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The pods of some zones, as selectors, and their networks.

    `without_pods` are ends for the networks that hold no pod, one for each family; empty if no end
    can express that, or it is unknown.
    """

    pods: tuple[str, ...]
    networks: AddressSet
    without_pods: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Makes the ends of one device group's rules.

    `sets` are the group sets of the cluster by identity. `pod_cidrs` hold every pod; None: they are
    unknown. `lists` collects the nets of sets for the lists of single rules, by label value.
    """

    zones: Zones
    workloads: Workloads
    sets: Mapping[str, GroupSet]
    pod_cidrs: AddressSet | None
    trust_addresses: bool
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _made: dict[object, tuple[Endpoint, ...]] = field(default_factory=dict, repr=False)
    _places: "dict[tuple[tuple[str, ...], bool], _Place]" = field(default_factory=dict, repr=False)

    def by_address(self, match: AddressMatch) -> tuple[Endpoint, ...]:
        """An end of any zone: whatever has one of the addresses."""
        return self._kept(("address", match), self._by_address, match)

    def in_zones(
        self, zones: tuple[str, ...], match: AddressMatch, *, allow: bool
    ) -> tuple[Endpoint, ...]:
        """An end in any of these zones: surely there for an allow, maybe there for a deny."""
        key = ("zones", zones, match, allow)
        return self._kept(key, self._in_zones, zones, match, allow)

    def not_in_zone(self, zone: Zone, match: AddressMatch, *, allow: bool) -> tuple[Endpoint, ...]:
        """An end in any other zone or in none."""
        key = ("other", zone.name, match, allow)
        return self._kept(key, self._not_in_zone, zone, match, allow)

    def _kept(self, key: object, make: object, *arguments: object) -> tuple[Endpoint, ...]:
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = tuple(make(*arguments))  # type: ignore[operator]
        return found

    def _by_address(self, match: AddressMatch) -> Iterator[Endpoint]:
        if match.negated:
            yield from self._all_but(match)
            return
        for selector in self._group_selectors(match.groups):
            yield Endpoint(EntityRule(selector=selector, namespace_selector=_SETS_ONLY))
        inline = [*nets_of(match.rest, EntityRule())]
        if _one_a_family(inline):
            yield from inline
            return
        selector = self._list_selector(match.rest)
        yield Endpoint(EntityRule(selector=selector, namespace_selector=_SETS_ONLY))

    def _all_but(self, match: AddressMatch) -> Iterator[Endpoint]:
        """All but groups and other addresses: one object selector, and nets beside it."""
        terms = [*self._group_selectors(match.groups)]
        beside = [*nets_of(EVERYWHERE - match.rest, EntityRule())]
        if not _one_a_family(beside):
            terms.append(self._list_selector(match.rest))
            beside = [ANYWHERE]
        selector = f"({' || '.join(terms)}) && {_NO_NAMESPACE}"
        if len(selector) > limits.SELECTOR_BYTES:
            # Too many groups for one selector, and a negation cannot be split into several rules.
            selector = f"{self._list_selector(match.listed)} && {_NO_NAMESPACE}"
            beside = [ANYWHERE]
        for end in beside:
            entity = replace(end.entity, not_selector=selector) if terms else end.entity
            yield Endpoint(entity, end.family)

    def _in_zones(
        self,
        zones: tuple[str, ...],
        match: AddressMatch,
        allow: bool,  # noqa: FBT001 - called by key
    ) -> Iterator[Endpoint]:
        trusted = self.trust_addresses and match.lists_its_own
        place = self._place(zones, everywhere=trusted or not allow)
        for selector in place.pods:
            yield from self._pods(selector, match, allow=allow)
        groups = match.groups if allow and not match.negated and not match.rest else ()
        if groups and place.without_pods and self.pod_cidrs is not None:
            held = match.among(place.networks)
            if held and not held & self.pod_cidrs:
                # Independently of the set's content: no pod's address is in the zones' networks.
                for selector, end in product(self._group_selectors(groups), place.without_pods):
                    entity = replace(end.entity, selector=selector, namespace_selector=_SETS_ONLY)
                    yield Endpoint(entity, end.family)
                return
        yield from nets_of(match.among(place.networks), OUTSIDE)

    def _place(self, zones: tuple[str, ...], *, everywhere: bool) -> "_Place":
        """The place of zones; `everywhere`: zones without known networks may be anywhere."""
        if (zones, everywhere) not in self._places:
            found = [self.zones.remote[name] for name in zones]
            pods = self.workloads.in_any([zone.name for zone in found if zone.pods], _AMONG_PODS)
            networks = AddressSet.union(zone.networks or NOWHERE for zone in found)
            if everywhere and any(zone.networks is None for zone in found):
                networks = networks | self.zones.unknown
            without_pods: tuple[Endpoint, ...] = ()
            if self.pod_cidrs is not None:
                without_pods = (*nets_of(networks - self.pod_cidrs, EntityRule()),)
            self._places[zones, everywhere] = _Place(
                tuple(map(among_pods, pods)),
                networks,
                without_pods if _one_a_family(without_pods) else (),
            )
        return self._places[zones, everywhere]

    def _not_in_zone(self, zone: Zone, match: AddressMatch, allow: bool) -> Iterator[Endpoint]:  # noqa: FBT001 - called by key
        yield from self._pods(zone.others, match, allow=allow)
        if zone.networks is not None:
            outside = EVERYWHERE - zone.networks
        else:
            # Surely in another zone, or maybe.
            outside = EVERYWHERE - self.zones.unknown if allow else EVERYWHERE
        yield from nets_of(match.among(outside), OUTSIDE)

    def _pods(self, selector: str, match: AddressMatch, *, allow: bool) -> Iterator[Endpoint]:
        where = EVERYWHERE
        if allow and self.pod_cidrs is not None and not match.negated:
            where = self.pod_cidrs
        yield from nets_of(match.among(where), EntityRule(selector=selector))

    def _group_selectors(self, groups: Sequence[str]) -> list[str]:
        """Selectors of the groups' sets, each short enough with the terms added to it."""
        return [
            selector
            for key in (names.ADDRESS_GROUP_LABEL, names.EDL_LABEL)
            for labels in [[self.sets[each].label for each in groups if self.sets[each].key == key]]
            if labels
            for selector in selectors.some_of(key, labels, limits.SELECTOR_BYTES - _BESIDE_GROUPS)
        ]

    def _list_selector(self, found: AddressSet) -> str:
        """The selector of a set made for the list of a rule."""
        nets = tuple(cidrs.of_set(found))
        label = names.list_name(nets).removeprefix("pan-list.")
        self.lists[label] = nets
        return selectors.one_of(names.LIST_LABEL, [label])


def _one_a_family(ends: Sequence[Endpoint]) -> bool:
    return len({end.family for end in ends}) == len(ends)


def nets_of(found: AddressSet, base: EntityRule) -> Iterator[Endpoint]:
    """`base` for these addresses, in as few entities as possible.

    A complete family needs no nets; an almost complete one lists the nets that are missing.
    """
    for family, nets, missing in _nets_of(found):
        entity = EntityRule(
            selector=base.selector, not_selector=base.not_selector, nets=nets, not_nets=missing
        )
        yield Endpoint(entity, family)


_Nets: TypeAlias = tuple[Literal[4, 6] | None, tuple[str, ...], tuple[str, ...]]


@lru_cache(1 << 14)  # many zones share the same addresses
def _nets_of(found: AddressSet) -> tuple[_Nets, ...]:
    """The family, the nets and the nets left out of each entity."""
    if found == EVERYWHERE:
        return ((None, (), ()),)
    made: list[_Nets] = []
    family: Literal[4, 6]
    for family, held, whole in (
        (4, AddressSet(found.v4), _V4),
        (6, AddressSet((), found.v6), _V6),
    ):
        if held == whole:
            made.append((family, (), ()))
            continue
        if held.size > whole.size // 2:
            missing = without_mapped(whole - held).cidrs()
            if len(missing) <= limits.NETS_PER_ENTITY:
                made.append((family, (), tuple(missing)))
                continue
        nets = without_mapped(held).cidrs()
        made += (
            (family, tuple(nets[start : start + limits.NETS_PER_ENTITY]), ())
            for start in range(0, len(nets), limits.NETS_PER_ENTITY)
        )
    return tuple(made)

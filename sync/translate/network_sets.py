"""Address groups as GlobalNetworkSets: one set a group, cut into parts where it is too large.

    addresses of a group  ->  fewest CIDRs  ->  pan.<group> [, pan-part.<mapped>.2, …]

External dynamic lists whose content is known become sets in the same way, `pan-edl.<name>`.

Names, labels and annotations are those of Tigera's withdrawn integration, so that selectors
written for it keep their meaning.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sync.calico import cidrs, limits, names
from sync.calico.limits import WRITTEN, Sizes
from sync.calico.objects import GlobalNetworkSet, Pairs
from sync.errors import SourceError
from sync.firewall.effective import EffectiveDeviceGroup
from sync.firewall.estimate import Estimate
from sync.firewall.groups import Resolved
from sync.firewall.objects import AddressGroup
from sync.firewall.reasons import Reason
from sync.firewall.zone_networks import Derived
from sync.net import addresses
from sync.net.addresses import AddressSet
from sync.text import shortened

# Go reads these as IPv4 addresses, so a set must not hold them (`net.ParseCIDR`).
_MAPPED_V4 = addresses.network("::ffff:0:0/96")
_MAPPED_REASON = "it holds addresses of ::ffff:0:0/96, read as IPv4"


@dataclass(frozen=True, slots=True)
class Target:
    """One device group of a cluster, and the tier of its rules.

    `derived` are the networks of its zones according to templates.
    """

    source: str
    device_group: EffectiveDeviceGroup
    tier: str
    order: int
    mode: Literal["enforced", "staged"]
    derived: Derived


@dataclass(frozen=True, slots=True)
class GroupSet:
    """One address group as it goes to a cluster, or an `external` dynamic list.

    `identity` names it there: the group's own name (`edl/<name>` for a list), with the prefix
    `<source>/<device group>/` if an earlier device group of the cluster has another group of that
    name. `holds` is its content, as far as Calico can express it. `dynamic`: it is a dynamic group,
    or contains one.
    """

    identity: str
    group: str
    device_groups: tuple[str, ...]
    holds: Estimate
    tags: tuple[str, ...] = ()
    dynamic: bool = False
    external: bool = False

    @property
    def key(self) -> str:
        """The key of the label that its sets have."""
        return names.EDL_LABEL if self.external else names.ADDRESS_GROUP_LABEL

    @property
    def label(self) -> str:
        """The value of that label."""
        return names.label_value(self.group) if self._own else names.mapped(self.identity)

    @property
    def _own(self) -> bool:
        return self.identity == (external_name(self.group) if self.external else self.group)

    def objects(self, owner: Pairs, sizes: Sizes = WRITTEN) -> list[GlobalNetworkSet]:
        """Its sets, all with the same labels and annotations; `owner` are our own labels."""
        # An identity with a prefix holds a `/`, so its name is always mapped.
        plain = self.group if self._own else self.identity
        first = names.edl_name(plain) if self.external else names.set_name(plain)
        labels = {self.key: self.label, **dict(owner)}
        for tag in self.tags:
            labels[f"{names.FIREWALL_PREFIX}/{names.label_key_name(tag)}"] = ""
        annotations = {
            names.NAME_ANNOTATION: self.group,
            names.DEVICE_GROUPS_ANNOTATION: ",".join(self.device_groups),
            names.OBJECT_TYPE_ANNOTATION: (
                names.EXTERNAL_LIST_OBJECT if self.external else names.ADDRESS_GROUP_OBJECT
            ),
            names.TYPE_ANNOTATION: names.PANORAMA_TYPE,
        }
        if self.holds.open:
            annotations[names.ERRORS_ANNOTATION] = shortened(self.holds.because)
        return [
            GlobalNetworkSet(
                first
                if number == 1
                else names.set_part_name(first if self.external else self.identity, number),
                part,
                tuple(sorted(labels.items())),
                tuple(sorted(annotations.items())),
            )
            for number, part in enumerate(parts(cidrs.of_set(self.holds.surely), sizes), 1)
            if part or number == 1
        ]


def group_sets(
    targets: Sequence[Target], *, tags: Sequence[str], registered_known: bool
) -> tuple[list[GroupSet], dict[tuple[str, str], dict[str, GroupSet]]]:
    """The address groups of one cluster by identity, and those of each target by plain name.

    They are the groups with one of `tags` (all groups, without `tags`), those that a rule uses, and
    all external dynamic lists whose content is known, named by `external_name`. The first device
    group keeps plain names. An equal group of a later one is shared; a different one gets an
    identity of its own. `SourceError` if two groups would get one name.
    """
    found: dict[str, GroupSet] = {}
    seen: dict[tuple[str, str], dict[str, str]] = {}
    told = any(target.device_group.registered is not None for target in targets)
    for target in targets:
        name = target.device_group.name
        resolved = target.device_group.resolved(registered_known=registered_known)
        identities = seen[target.source, name] = {}
        groups = (
            _group_set(group, resolved[group.name], name)
            for group in _selected(target.device_group, tags)
        )
        for made in (*groups, *_external_sets(target.device_group)):
            plain = made.identity
            if plain in identities:
                raise SourceError(
                    f"an address group is called {plain!r}, as the external dynamic list "
                    f"{made.group!r} is called here; rename it in Panorama"
                )
            identities[plain] = plain
            first = found.get(plain)
            if first is None:
                found[made.identity] = made
            elif replace(first, device_groups=made.device_groups) == made and not (
                # Firewalls of one device group may learn of an address before those of another.
                made.dynamic and told
            ):
                found[made.identity] = replace(first, device_groups=(*first.device_groups, name))
            else:
                identity = f"{target.source}/{name}/{plain}"
                if identity in found:
                    raise SourceError(
                        f"two address groups would be called {identity!r}; rename one in Panorama"
                    )
                found[identity] = replace(made, identity=identity)
                identities[plain] = identity
    by_target = {
        target: {group: found[identity] for group, identity in identities.items()}
        for target, identities in seen.items()
    }
    return sorted(found.values(), key=lambda each: each.identity), by_target


def network_sets(
    sets: Iterable[GroupSet], owner: Pairs, sizes: Sizes = WRITTEN
) -> Iterator[tuple[GroupSet, GlobalNetworkSet]]:
    """The objects of all groups; `SourceError` if two groups would get one name or label."""
    taken: dict[str, str] = {}
    for each in sets:
        objects = each.objects(owner, sizes)
        label = f"label {each.key}: {each.label}"
        for name in (label, *(network_set.name for network_set in objects)):
            other = taken.setdefault(name, each.identity)
            if other != each.identity:
                raise SourceError(
                    f"the address groups {other!r} and {each.identity!r} would both become "
                    f"{name}; rename one of them in Panorama"
                )
        for network_set in objects:
            yield each, network_set


def _selected(device_group: EffectiveDeviceGroup, tags: Sequence[str]) -> Iterable[AddressGroup]:
    if not tags:
        return device_group.groups()
    used = {
        name
        for placed in device_group.rules
        if not placed.rule.disabled
        for name in (*placed.rule.sources, *placed.rule.destinations)
    }
    return (
        group
        for group in device_group.groups()
        # A group whose tags are unreadable may have the tag.
        if group.name in used or group.tags is None or not set(tags).isdisjoint(group.tags)
    )


def _group_set(group: AddressGroup, resolved: Resolved, device_group: str) -> GroupSet:
    return GroupSet(
        group.name,
        group.name,
        (device_group,),
        _sayable(resolved.holds),
        tuple(group.tags or ()),
        dynamic=resolved.dynamic,
    )


def external_name(name: str) -> str:
    """The name of an external dynamic list among address groups; PAN-OS names contain no `/`."""
    return f"edl/{name}"


def _external_sets(device_group: EffectiveDeviceGroup) -> Iterator[GroupSet]:
    """Its visible external dynamic lists with known content, in name order."""
    for name, external in sorted(device_group.objects.external_lists.items()):
        if external.holds is not None:
            identity = external_name(name)
            holds = _sayable(external.holds)
            yield GroupSet(identity, name, (device_group.name,), holds, external=True)


def _sayable(content: Estimate) -> Estimate:
    """An estimate without the nets that Calico reads as IPv4; no upper bound if it had any."""
    surely, at_most = without_mapped(content.surely), content.at_most
    if at_most is not None and without_mapped(at_most) != at_most:
        at_most = None
    because, kinds = content.because, content.kinds
    if surely != content.surely:
        because, kinds = (*because, _MAPPED_REASON), kinds | {Reason.MAPPED}
    return Estimate(surely, at_most, without_mapped(content.answers), because, kinds)


def without_mapped(found: AddressSet) -> AddressSet:
    """The addresses without those nets that Calico would read as IPv4."""
    if not found.v6 or not found & _MAPPED_V4:
        return found
    nets = (addresses.network(net) for net in found.cidrs())
    return AddressSet.union(net for net in nets if net - _MAPPED_V4)


def parts(nets: Sequence[str], sizes: Sizes = WRITTEN) -> list[tuple[str, ...]]:
    """Split nets into as few parts as fit, a power of two; a net's hash names its part.

    So adding or removing a net changes one part only, and nets hardly ever move between parts.
    """
    if _fits(nets, sizes):
        return [tuple(nets)]
    number = 2
    while True:
        found: list[list[str]] = [[] for _ in range(number)]
        for net in nets:
            found[zlib.crc32(net.encode()) % number].append(net)
        if all(_fits(part, sizes) for part in found):
            return [tuple(part) for part in found]
        number *= 2


def _fits(nets: Sequence[str], sizes: Sizes) -> bool:
    # JSON puts each net into quotes, with a comma.
    size = sum(map(len, nets)) + 3 * len(nets)
    return len(nets) <= limits.NETS_PER_SET and size <= sizes.set_bytes

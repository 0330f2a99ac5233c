"""Changes as an administrator would make them, in a model of the firewall, settings and pods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sync.firewall.configuration import SHARED, Configuration, Scope, Snapshot
from sync.firewall.objects import AddressGroup, Service
from sync.firewall.rules import Rule
from sync.net.addresses import EVERYWHERE, AddressSet
from sync.net.ports import PortSet
from sync.translate.compiler import Options
from sync.verify.explain import Party
from sync.verify.traffic_space import PORTED, Packet

Owner = Literal["firewall team", "platform", "cluster policies"]
Kind = Literal["label", "member", "network", "rule", "policy", "essential", "setting"]

SERVICE: Final = "zonebridge why-not"  # no object of a Panorama has a blank and this name
_PROTOCOLS: Final = {6: "tcp", 17: "udp"}


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that would allow a flow: what to do, and who can.

    `past` names the denies that it goes past or makes smaller, each with its place; none if only a
    default denies the flow.
    """

    kind: Kind
    owner: Owner
    text: str
    past: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """What verdicts follow from: configurations, settings, policies of others, and both ends."""

    snapshots: Mapping[str, Snapshot]
    options: Options
    parties: tuple[Party, Party]
    others: tuple[Mapping[str, Any], ...] = ()


def denied_service(packet: Packet) -> Service | None:
    """The service object of a packet; None for what no service can be about."""
    protocol = _PROTOCOLS.get(packet.protocol)
    return Service(SERVICE, protocol, PortSet((packet.port, packet.port + 1))) if protocol else None


def with_rule(
    snapshot: Snapshot,
    scope: str,
    rulebase: str,
    position: int,
    ends: Sequence[tuple[str, str]],
    service: Service,
    tags: tuple[str, ...],
) -> Snapshot:
    """Put a rule that allows a service at a position of a rulebase, from 1; 0 is its end.

    `ends` are the zone and the address of source and destination.
    """
    (from_zone, source), (to_zone, destination) = ends
    rule = Rule(
        SERVICE,
        from_zones=(from_zone,),
        to_zones=(to_zone,),
        sources=(source,),
        destinations=(destination,),
        services=(service.name,),
        tags=tags,
    )

    def change(old: Scope) -> Scope:
        rules = old.rulebases.pre if rulebase == "pre" else old.rulebases.post
        at = position - 1 if position else len(rules)
        new = (*rules[:at], rule, *rules[at:])
        rulebases = (
            replace(old.rulebases, pre=new)
            if rulebase == "pre"
            else replace(old.rulebases, post=new)
        )
        services = {**old.objects.services, service.name: service}
        return replace(old, rulebases=rulebases, objects=replace(old.objects, services=services))

    return _changed(snapshot, scope, change(_scope(snapshot.configuration, scope)))


def with_member(
    snapshot: Snapshot, lineage: Sequence[str], name: str, member: str
) -> Snapshot | None:
    """Add a member to a static address group as a device group sees it; None if there is none."""
    configuration = snapshot.configuration
    nearest = lineage[::-1] if configuration.ancestors_take_precedence else lineage
    for place in nearest:
        scope = _scope(configuration, place)
        group = scope.objects.addresses.get(name)
        if isinstance(group, AddressGroup):
            new = replace(group, members=(*group.members, member))
            addresses = {**scope.objects.addresses, name: new}
            objects = replace(scope.objects, addresses=addresses)
            return _changed(snapshot, place, replace(scope, objects=objects))
        if group is not None:
            return None
    return None


def with_exemption(
    document: Mapping[str, Any], direction: str, index: int, far: AddressSet, packet: Packet
) -> Mapping[str, Any]:
    """Let a packet pass before a rule of a policy of others."""
    end = {"nets": far.cidrs()} if far != EVERYWHERE else {}
    rule: dict[str, Any] = {"action": "Pass", "source": {}, "destination": {}}
    rule["destination" if direction == "egress" else "source"] = end
    if packet.protocol in PORTED:
        ports = {**rule["destination"], "ports": [packet.port]}
        rule |= {"protocol": packet.protocol, "destination": ports}
    spec = document["spec"]
    rules = [*spec[direction][:index], rule, *spec[direction][index:]]
    return {**document, "spec": {**spec, direction: rules}}


def _scope(configuration: Configuration, name: str) -> Scope:
    return configuration.shared if name == SHARED else configuration.device_groups[name].scope


def _changed(snapshot: Snapshot, name: str, scope: Scope) -> Snapshot:
    configuration = snapshot.configuration
    if name == SHARED:
        return replace(snapshot, configuration=replace(configuration, shared=scope))
    group = replace(configuration.device_groups[name], scope=scope)
    groups = {**configuration.device_groups, name: group}
    return replace(snapshot, configuration=replace(configuration, device_groups=groups))

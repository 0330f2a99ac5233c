"""Flows that zoned pods keep whatever the firewall says: cluster DNS, the API server, nodes."""

from collections.abc import Iterator
from itertools import groupby

from sync.calico.objects import Direction, EntityRule, Rule
from sync.net import addresses
from sync.net.addresses import AddressSet
from sync.options import Essential
from sync.translate.endpoints import ANYWHERE, Endpoint, nets_of
from sync.translate.zones import PODS


def essential_rules(essential: Essential) -> Iterator[tuple[Direction, Rule]]:
    """The rules of one essential, all Pass, with their direction."""
    direction: Direction = "Egress" if essential.direction == "egress" else "Ingress"
    far: list[Endpoint] = []
    if essential.pods:
        far.append(Endpoint(EntityRule(selector=f"{PODS} && ({essential.pods})")))
    if essential.cidrs:
        held = AddressSet.union(map(addresses.network, essential.cidrs))
        far += nets_of(held, EntityRule())
    for end in far:
        for protocol, ports in _ports(essential.ports):
            source, destination = ANYWHERE.entity, end.entity
            if direction == "Ingress":
                source, destination = destination, source
            yield (
                direction,
                Rule("Pass", protocol, end.family, source, destination.with_ports(ports)),
            )


def _ports(written: tuple[str, ...]) -> Iterator[tuple[str | None, tuple[int | str, ...]]]:
    """`53/udp` and `8000-8080/tcp` as (`UDP`, (53,)) and (`TCP`, ("8000:8080",))."""
    if not written:
        yield None, ()
    pairs = sorted((each.partition("/")[2].upper(), each.partition("/")[0]) for each in written)
    for protocol, found in groupby(pairs, key=lambda pair: pair[0]):
        yield (
            protocol,
            tuple(int(port) if port.isdigit() else port.replace("-", ":") for _, port in found),
        )

"""The fields of written sets, tiers and policies, and which of them the proof judges."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from sync.memo import remembered
from sync.net.addresses import EVERYWHERE, AddressSet, network
from sync.net.ports import ALL_PORTS, PortSet
from sync.verify.profiles import UnreadableError

_POLICY_KEYS: Final = {"tier", "order", "selector", "types"}
RULE_KEYS: Final = {
    "action", "protocol", "ipVersion", "source", "destination", "icmp", "metadata"
}  # fmt: skip
ENTITY_KEYS: Final = {
    "selector", "notSelector", "namespaceSelector", "nets", "notNets", "ports", "notPorts"
}  # fmt: skip
STAGED: Final = "StagedGlobalNetworkPolicy"
POLICY_KINDS: Final = ("GlobalNetworkPolicy", STAGED)
PROTOCOLS: Final = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}


def require_judged(document: Mapping[str, Any]) -> None:
    """Require that a policy has only fields that are judged here."""
    spec = document["spec"]
    more = spec.keys() - _POLICY_KEYS - {"ingress", "egress", "stagedAction"}
    if more:
        name = document["metadata"]["name"]
        raise UnreadableError(f"{name} holds {', '.join(sorted(more))}, which is not judged")
    if (
        not spec.keys() >= _POLICY_KEYS
        or spec.get("stagedAction", "Set") != "Set"
        or not isinstance(spec["order"], int | float)
        or not isinstance(spec["selector"], str)
    ):
        name = document["metadata"]["name"]
        raise UnreadableError(f"{name} holds something that is not judged, or lacks something")


def require_readable(document: Mapping[str, Any], order: object) -> None:
    """Require that a set or a tier is readable."""
    if document["kind"] == "GlobalNetworkSet":
        labels, _ = set_of(document)
        if not all(isinstance(each, str) for pair in labels.items() for each in pair):
            raise UnreadableError("its labels are not texts")
    elif not isinstance(order, int | float):
        raise UnreadableError("its order is not a number")


def set_of(document: Mapping[str, Any]) -> tuple[Mapping[str, str], AddressSet]:
    """The labels and the addresses of a set."""
    nets = document["spec"].get("nets") or ()
    return document["metadata"].get("labels") or {}, _union(orjson.dumps(nets))


@remembered(64 << 20)
def _union(nets: bytes) -> AddressSet:
    """The addresses of a list of nets, as JSON."""
    return AddressSet.union(map(network, orjson.loads(nets)))


def place_of(document: Mapping[str, Any]) -> tuple[float, str]:
    return document["spec"]["order"], document["metadata"]["name"]


def without_ports(entity: Mapping[str, Any]) -> bytes:
    return orjson.dumps({key: each for key, each in entity.items() if not key.endswith("orts")})


def nets_of(entity: Mapping[str, Any]) -> AddressSet:
    """The addresses that `nets` and `notNets` of an entity leave; empty lists do not count."""
    kept = EVERYWHERE
    if entity.get("nets"):
        kept = _union(orjson.dumps(entity["nets"]))
    if entity.get("notNets"):
        taken = _union(orjson.dumps(entity["notNets"]))
        # A rule whose notNets are all of the other version is not there for this one.
        kept -= taken
        kept = AddressSet(kept.v4 if taken.v4 else (), kept.v6 if taken.v6 else ())
    return kept


def ports_of(entity: Mapping[str, Any]) -> PortSet | None:
    ports, without = entity.get("ports"), entity.get("notPorts")
    if not ports and not without:
        return None
    kept = PortSet.union(map(_port_range, ports)) if ports else ALL_PORTS
    return kept - PortSet.union(map(_port_range, without or ()))


def _port_range(said: int | str) -> PortSet:
    if isinstance(said, int):
        return PortSet((said, said + 1))
    first, _, last = said.partition(":")
    return PortSet((int(first), int(last) + 1))

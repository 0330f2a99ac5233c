"""The policies of a tier that pass what the settings call essential, before all rules.

They are exempt from the firewall's rules, and select pods by labels that zones do not define. So
they are not proven: a check only ensures that they pass nothing but what the settings list.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sync.calico.names import essentials_name
from sync.net.addresses import AddressSet, network
from sync.options import Essential
from sync.verify.calico_documents import nets_of
from sync.verify.profiles import UnreadableError
from sync.verify.selectors import Tree, selector

_MOST: Final = 1_000  # policies of essentials in one tier
_DIRECTIONS: Final = (("ingress", "source"), ("egress", "destination"))


def essential_policies(
    tier: str, documents: Iterable[Mapping[str, Any]], essentials: Sequence[Essential]
) -> frozenset[str]:
    """The names of these policies; `UnreadableError` for one with other content."""
    names = {essentials_name(tier, number) for number in range(1, _MOST + 1)}
    found = [
        document
        for document in documents
        if document["kind"].endswith("Policy") and document["metadata"]["name"] in names
    ]
    for document in found:
        name, spec = document["metadata"]["name"], document["spec"]
        for direction, far in _DIRECTIONS:
            listed = [
                each
                for each in essentials
                if each.direction == direction and _is_part(each.on, spec["selector"])
            ]
            for index, rule in enumerate(spec.get(direction, ())):
                if not any(_says(rule, far, each) for each in listed):
                    raise UnreadableError(
                        f"{name}[{direction} {index}] is not one of zones.essentials"
                    )
    return frozenset(document["metadata"]["name"] for document in found)


def _says(rule: Mapping[str, Any], far: str, essential: Essential) -> bool:
    """Whether a rule passes nothing but some of an essential."""
    end = rule.get(far) or {}
    ports = (rule.get("destination") or {}).get("ports")
    if rule["action"] != "Pass" or not _among(rule.get("protocol"), ports, essential):
        return False
    if "selector" in end:
        return (
            bool(essential.pods)
            and _is_part(essential.pods, end["selector"])
            and end.keys() <= {"selector", "ports"}
        )
    version = rule.get("ipVersion")
    if end.keys() - {"nets", "notNets", "ports", "notPorts"}:
        return False
    held = nets_of(end)
    held = AddressSet(held.v4 if version != 6 else (), held.v6 if version != 4 else ())
    return not held - AddressSet.union(map(network, essential.cidrs))


def _is_part(said: str, text: str) -> bool:
    """Whether a selector literally narrows another one."""
    return _conjuncts(selector(said).tree()) <= _conjuncts(selector(text).tree())


def _conjuncts(tree: Tree) -> set[Tree]:
    if isinstance(tree, tuple) and tree[0] == "&&" and len(tree) == 3:
        return _conjuncts(tree[1]) | _conjuncts(tree[2])
    return {tree}


def _among(protocol: str | None, ports: Sequence[int | str] | None, essential: Essential) -> bool:
    if not essential.ports:
        return True
    said = {
        each.partition("/")[0].replace("-", ":")
        for each in essential.ports
        if each.partition("/")[2].upper() == protocol
    }
    return ports is not None and {str(each) for each in ports} <= said

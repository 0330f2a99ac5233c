"""What plans ask of an object: where a policy is, which labels it names, what a set holds.

A manifest is parsed once for all of it. What a cluster holds may have been written by anyone: a
part of another shape counts as absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sync.calico.names import CHAIN_ANNOTATION, NAME_ANNOTATION
from sync.calico.references import (
    DIRECTIONS,
    Label,
    allowed_by,
    carried,
    mapping,
    named,
    rules,
)


@dataclass(frozen=True, slots=True)
class PolicyPosition:
    """The position of a policy: its tier, its chain ("" if it is in none), its order in the tier.

    Calico puts a policy without an order last.
    """

    tier: str
    chain: str
    order: float


@dataclass(frozen=True, slots=True)
class Contents:
    """The content of an object of any kind.

    `labels` are those that it carries, `group` the address group that its annotations name, `nets`
    those of a set. `position` and `selector` are a policy's; `named` are the labels that its rules
    compare, `allowed` those of them by which it allows more, the more sets hold. It `passes` where
    a rule has another action than Deny. `default_action` is a tier's.
    """

    labels: frozenset[Label]
    group: str | None
    nets: tuple[str, ...]
    position: PolicyPosition
    selector: str
    named: frozenset[Label]
    allowed: frozenset[Label]
    passes: bool
    default_action: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Contents":
        spec = mapping(document, "spec")
        annotations = mapping(document, "metadata", "annotations")
        order, nets = spec.get("order"), spec.get("nets")
        group = annotations.get(NAME_ANNOTATION)
        return cls(
            labels=carried(document),
            group=None if group is None else str(group),
            nets=tuple(map(str, nets)) if isinstance(nets, list) else (),
            position=PolicyPosition(
                str(spec.get("tier", "")),
                str(annotations.get(CHAIN_ANNOTATION, "")),
                order if isinstance(order, int | float) else float("inf"),
            ),
            selector=str(spec.get("selector")),
            named=named(document),
            allowed=allowed_by(document),
            passes=any(
                mapping({"rule": rule}, "rule").get("action") != "Deny"
                for direction in DIRECTIONS
                for rule in rules(document, direction)
            ),
            default_action=str(spec.get("defaultAction", "")),
        )

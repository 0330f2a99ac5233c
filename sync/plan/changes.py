"""The closed family of changes, and where each came from."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sync.calico.manifest import Manifest
from sync.calico.names import CHAIN_ANNOTATION
from sync.plan.references import mapping


class Action(StrEnum):
    """What is to happen to one object."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Cause(StrEnum):
    """Why: the firewall's configuration moved, or someone else moved the object in the cluster."""

    CONFIGURATION = "configuration"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class PolicyPosition:
    """Where a policy stands: its tier, its chain ("" if it is in none), its order in the tier."""

    tier: str
    chain: str
    order: float

    @classmethod
    def of(cls, policy: Manifest) -> "PolicyPosition":
        """That of a policy; Calico puts one without an order last."""
        document = policy.document()
        order = mapping(document, "spec").get("order")
        return cls(
            str(mapping(document, "spec").get("tier", "")),
            str(mapping(document, "metadata", "annotations").get(CHAIN_ANNOTATION, "")),
            order if isinstance(order, int | float) else float("inf"),
        )


@dataclass(frozen=True)
class Change:
    """One object, before and after.

    `before` is what the cluster holds of ours now (None: nothing), `after` what it shall hold
    (None: nothing); at least one is there, and they differ unless it is
    only to be written anew. `rules` and `groups` name the
    firewall's rules and address groups that made the object on either side, sorted.
    `changed_by` is whose hand the drift shows, where the cluster can tell.
    """

    before: Manifest | None
    after: Manifest | None
    cause: Cause
    rules: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    changed_by: str = ""

    @cached_property
    def action(self) -> Action:
        if self.before is None:
            return Action.CREATE
        return Action.DELETE if self.after is None else Action.UPDATE

    @cached_property
    def kind(self) -> str:
        return self._sides[0].kind

    @cached_property
    def name(self) -> str:
        return self._sides[0].name

    @cached_property
    def place(self) -> PolicyPosition:
        """Where the policy stands, or stood."""
        return PolicyPosition.of(self._sides[-1])

    @cached_property
    def _sides(self) -> list[Manifest]:
        return [side for side in (self.before, self.after) if side]


def nets(manifest: Manifest | None) -> list[str]:
    """The nets of a set; none for anything else. Another hand may have written anything there."""
    found = mapping(manifest.document(), "spec").get("nets") if manifest else None
    return [str(net) for net in found] if isinstance(found, list) else []

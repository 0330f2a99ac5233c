"""The closed family of changes, and where each came from."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sync.calico.manifest import Manifest
from sync.calico.names import NAME_ANNOTATION


class Action(StrEnum):
    """What is to happen to one object."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Cause(StrEnum):
    """Why: the firewall's configuration moved, or someone else moved the object in the cluster."""

    CONFIGURATION = "configuration"
    DRIFT = "drift"


@dataclass(frozen=True)
class Change:
    """One object, before and after.

    `before` is what the cluster holds of ours now (None: nothing), `after` what it shall hold
    (None: nothing); at least one is there and they differ.
    """

    before: Manifest | None
    after: Manifest | None
    cause: Cause

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
    def groups(self) -> tuple[str, ...]:
        """The address groups that made the object, before and after, sorted."""
        annotations = (side.document()["metadata"].get("annotations", {}) for side in self._sides)
        return tuple(
            sorted({each[NAME_ANNOTATION] for each in annotations if NAME_ANNOTATION in each})
        )

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """The firewall's rules that made the object, before and after, sorted; none makes a set."""
        return ()

    @cached_property
    def _sides(self) -> list[Manifest]:
        return [side for side in (self.before, self.after) if side]

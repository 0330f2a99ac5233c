"""The kinds of changes to one object, and their causes."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sync.calico.contents import PolicyPosition
from sync.calico.manifest import Manifest


class Action(StrEnum):
    """What a change does to its object."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Cause(StrEnum):
    """Why: the firewall's configuration changed, or someone else changed the object."""

    CONFIGURATION = "configuration"
    DRIFT = "drift"


@dataclass(frozen=True)
class Change:
    """One object, before and after.

    `before` is our object as the cluster holds it now, `after` the desired one; either may be None,
    not both. They differ, unless the object is only rewritten. `rules` and `groups` name the
    firewall's rules and address groups that made the object on either side, sorted. `changed_by`
    names the author of drift, if the cluster reports it.
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
        return self.sides[0].kind

    @cached_property
    def name(self) -> str:
        return self.sides[0].name

    @cached_property
    def place(self) -> PolicyPosition:
        """The position of the policy, or its last one."""
        return self.sides[-1].contents.position

    @cached_property
    def sides(self) -> list[Manifest]:
        """The existing ones of `before` and `after`, in this order."""
        return [side for side in (self.before, self.after) if side]

"""The closed family of changes, and where each came from."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sync.calico.contents import PolicyPosition
from sync.calico.manifest import Manifest


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

    `before` is what the cluster holds of ours now (None: nothing), `after` what is desired
    (None: nothing); at least one is there, and they differ unless it is
    only to be written again. `rules` and `groups` name the
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
        return self.sides[0].kind

    @cached_property
    def name(self) -> str:
        return self.sides[0].name

    @cached_property
    def place(self) -> PolicyPosition:
        """Where the policy stands, or stood."""
        return self.sides[-1].contents.position

    @cached_property
    def sides(self) -> list[Manifest]:
        """Those of before and after that there are, in this order."""
        return [side for side in (self.before, self.after) if side]

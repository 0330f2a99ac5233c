"""The closed family of changes, and where each came from."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

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

    `before` is what the cluster holds of ours now (None: nothing), `after` what it shall hold
    (None: nothing); at least one is there and they differ. `rules` and `groups` name the
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
    def _sides(self) -> list[Manifest]:
        return [side for side in (self.before, self.after) if side]


def nets(manifest: Manifest | None) -> list[str]:
    """The nets of a set; none for anything else. Another hand may have written anything there."""
    spec = manifest.document().get("spec") if manifest else None
    found = spec.get("nets") if isinstance(spec, dict) else None
    return [str(net) for net in found] if isinstance(found, list) else []

"""The Plan: shown, stored, applied and audited as one frozen value."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson

from sync.calico.objects import POLICIES
from sync.plan import order
from sync.plan.changes import Action, Cause, Change
from sync.plan.differences import Differences, Key
from sync.plan.guards import Blocker, Held, referenced_sets
from sync.plan.references import carried, named_by

_SHOWN = 5  # firewalls that are named of many


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of the configuration that does not reach the cluster whole, and why."""

    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Which version of which source a plan is made from, and who committed it, where known.

    Where changes are `pending`, nobody did yet, and `administrators` are those who made them.
    """

    source: str
    version: str
    administrators: tuple[str, ...] = ()
    description: str = ""
    pending: bool = False


@dataclass(frozen=True, slots=True)
class NotPushed:
    """The firewalls of a device group that have not what their Panorama runs, by serial number."""

    source: str
    device_group: str
    devices: tuple[str, ...]

    @property
    def clause(self) -> str:
        """It in words, of many firewalls the first ones alone."""
        more = len(self.devices) - _SHOWN
        listed = ", ".join(self.devices[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"device group {self.device_group} of {self.source} is not pushed to {listed}"


@dataclass(frozen=True)
class Plan:
    """What one cycle is to do in one cluster.

    `changes` are sorted by kind and name. `adopted` stand there already as they shall, and are
    only recorded. `drift` are differences made by another hand which are reported and left: with
    `drift: report`, or where our labels are gone. `left_out` is sorted. `blockers` hold the plan
    back; `let_through` would, but were approved or have nothing to hold back. `not_pushed` are its
    device groups that some firewall lags behind in. `compared_with` is what was taken to have been
    written, if that was not asked of the cluster. The same inputs give the same plan.
    """

    cluster: str
    origins: tuple[Origin, ...]
    changes: tuple[Change, ...]
    adopted: tuple[Change, ...]
    drift: tuple[Change, ...]
    blockers: tuple[Blocker, ...]
    left_out: tuple[LeftOut, ...]
    unchanged: int
    let_through: tuple[Blocker, ...] = ()
    not_pushed: tuple[NotPushed, ...] = ()
    compared_with: tuple[Origin, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over cluster, changes and guards: what is done, not when or from what version."""
        essence = {
            "blockers": sorted(
                {
                    f"{each.guard} {each.covers}".strip()
                    for each in (*self.blockers, *self.let_through)
                }
            ),
            "changes": [
                [
                    change.kind,
                    change.name,
                    change.before.digest if change.before else "",
                    change.after.digest if change.after else "",
                ]
                for change in self.changes
            ],
            "cluster": self.cluster,
        }
        return hashlib.sha256(orjson.dumps(essence, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def count(self, action: Action) -> int:
        return sum(change.action is action for change in self.changes)

    @property
    def approvable(self) -> bool:
        """Whether the plan is blocked, and by nothing that an approval could not let through."""
        return bool(self.blockers) and all(each.approvable for each in self.blockers)

    def approved(self) -> "Plan":
        """The same plan, with the same digest, let through."""
        return replace(self, blockers=(), let_through=(*self.let_through, *self.blockers))

    def steps(self) -> list[order.Step]:
        """The writes in their order; see `sync.plan.order`.

        There are more of them than changes where a set is written twice.
        """
        return order.steps(self.changes)

    def document(self) -> dict[str, Any]:
        """The plan as JSON has it; field names are stable."""
        return {
            "cluster": self.cluster,
            "digest": self.digest,
            "summary": {
                "create": self.count(Action.CREATE),
                "update": self.count(Action.UPDATE),
                "delete": self.count(Action.DELETE),
                "unchanged": self.unchanged,
                "adopted": len(self.adopted),
                "drift": len(self.drift),
                "blocked": bool(self.blockers),
                "left_out": len(self.left_out),
            },
            "origins": [_origin_document(origin) for origin in self.origins],
            "compared_with": [_origin_document(origin) for origin in self.compared_with],
            "not_pushed": [
                {
                    "source": each.source,
                    "device_group": each.device_group,
                    "devices": list(each.devices),
                }
                for each in self.not_pushed
            ],
            "changes": [_change_document(change) for change in self.changes],
            "drift": [_change_document(change) for change in self.drift],
            "blockers": [
                {
                    "guard": blocker.guard,
                    "message": blocker.message,
                    "approvable": blocker.approvable,
                    "let_through": blocker in self.let_through,
                }
                for blocker in (*self.blockers, *self.let_through)
            ],
            "left_out": [
                {"subject": left.subject, "reason": left.reason} for left in self.left_out
            ],
        }


def make_plan(
    cluster: str,
    origins: Sequence[Origin],
    found: Differences,
    left_out: Sequence[LeftOut],
    *,
    repair_drift: bool,
    live: Mapping[Key, Held] | None = None,
    blockers: Sequence[Blocker] = (),
    not_pushed: Sequence[NotPushed] = (),
) -> Plan:
    """Freeze the differences into a plan; drift that is not to be repaired is set apart.

    `live` is the whole cluster, for the guards that look at more than what differs. `blockers` are
    those of other guards. A plan without changes is blocked by nothing that could be approved.
    """
    reported = {
        change for change in found.changes if change.cause is Cause.DRIFT and not repair_drift
    }
    # A policy is never written for a set that is not as it shall be.
    needed = {
        label
        for change in (found.changes if reported else ())
        if change not in reported and change.kind in POLICIES
        for label in named_by(change.after)
    }
    reported = {
        change
        for change in reported
        if not change.after or needed.isdisjoint(carried(change.after.document()))
    }
    changes = tuple(change for change in found.changes if change not in reported)
    guards = (*found.blockers, *referenced_sets(changes, live or {}), *blockers)
    held = {each for each in guards if changes or not each.approvable}
    return Plan(
        cluster=cluster,
        origins=tuple(origins),
        changes=changes,
        adopted=found.adopted,
        drift=(*(change for change in found.changes if change in reported), *found.lost),
        blockers=tuple(each for each in guards if each in held),
        left_out=tuple(sorted(set(left_out), key=lambda left: (left.subject, left.reason))),
        unchanged=found.unchanged,
        let_through=tuple(each for each in guards if each not in held),
        not_pushed=tuple(not_pushed),
    )


def _origin_document(origin: Origin) -> dict[str, Any]:
    return {
        "source": origin.source,
        "version": origin.version,
        "administrators": list(origin.administrators),
        "description": origin.description,
        "pending": origin.pending,
    }


def _change_document(change: Change) -> dict[str, Any]:
    return {
        "action": change.action.value,
        "cause": change.cause.value,
        "kind": change.kind,
        "name": change.name,
        "before": change.before.document() if change.before else None,
        "after": change.after.document() if change.after else None,
        "rules": list(change.rules),
        "groups": list(change.groups),
        "changed_by": change.changed_by,
    }

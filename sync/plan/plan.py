"""The Plan: shown, stored, applied and audited as one frozen value."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from sync.plan.changes import Action, Cause, Change, nets
from sync.plan.differences import Differences
from sync.plan.guards import Blocker


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of the configuration that does not reach the cluster whole, and why."""

    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Which version of which source a plan is made from, and who committed it, where known."""

    source: str
    version: str
    administrators: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class Plan:
    """What one cycle is to do in one cluster.

    `changes` are sorted by kind and name. `adopted` stand there already as they shall, and are
    only recorded. `drift` are differences made by another hand which are reported and left: with
    `drift: report`, or where our labels are gone. `left_out` is sorted. The same inputs give the
    same plan.
    """

    cluster: str
    origins: tuple[Origin, ...]
    changes: tuple[Change, ...]
    adopted: tuple[Change, ...]
    drift: tuple[Change, ...]
    blockers: tuple[Blocker, ...]
    left_out: tuple[LeftOut, ...]
    unchanged: int

    @cached_property
    def digest(self) -> str:
        """SHA-256 over cluster, changes and guards: what is done, not when or from what version."""
        essence = {
            "blockers": sorted({blocker.guard for blocker in self.blockers}),
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

    def steps(self) -> list[list[Change]]:
        """The changes in the order of writing; those of one step may be written in any order.

        Sets first grow and only then shrink or go, so that nothing which stays allowed is cut off
        in between.
        """
        steps: dict[int, list[Change]] = {0: [], 1: [], 2: [], 3: []}
        for change in self.changes:
            steps[_step(change)].append(change)
        return [step for _, step in sorted(steps.items()) if step]

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
            "origins": [
                {
                    "source": origin.source,
                    "version": origin.version,
                    "administrators": list(origin.administrators),
                    "description": origin.description,
                }
                for origin in self.origins
            ],
            "changes": [_change_document(change) for change in self.changes],
            "drift": [_change_document(change) for change in self.drift],
            "blockers": [
                {
                    "guard": blocker.guard,
                    "message": blocker.message,
                    "approvable": blocker.approvable,
                }
                for blocker in self.blockers
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
) -> Plan:
    """Freeze the differences into a plan; drift that is not to be repaired is set apart."""
    reported = {
        change for change in found.changes if change.cause is Cause.DRIFT and not repair_drift
    }
    return Plan(
        cluster=cluster,
        origins=tuple(origins),
        changes=tuple(change for change in found.changes if change not in reported),
        adopted=found.adopted,
        drift=(*(change for change in found.changes if change in reported), *found.lost),
        blockers=found.blockers,
        left_out=tuple(sorted(set(left_out), key=lambda left: (left.subject, left.reason))),
        unchanged=found.unchanged,
    )


def _step(change: Change) -> int:
    if change.action is not Action.UPDATE:
        return 0 if change.action is Action.CREATE else 3
    return 2 if set(nets(change.after)) < set(nets(change.before)) else 1


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

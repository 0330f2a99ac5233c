"""The Plan: shown, stored, applied and audited as one frozen value."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import orjson

from sync.calico.manifest import Manifest
from sync.calico.objects import POLICIES
from sync.plan.changes import Action, Change
from sync.plan.details import change_document
from sync.plan.differences import Differences, Key, Live
from sync.plan.guards import Blocker, ObservedObject
from sync.plan.guards.foreign import FOREIGN_OBJECT
from sync.plan.guards.referenced_set import referenced_sets
from sync.plan.omission import LeftOut as LeftOut  # part of a plan
from sync.plan.omission import counted, counts, is_new, mode_of, omission_document
from sync.plan.order import Order, Step, Unwritten, order, rounds
from sync.plan.origin import NotPushed, Origin
from sync.plan.precedence import Precedence
from sync.plan.reported_drift import reported_drift
from sync.plan.selections import ChainKey, Selections


@dataclass(frozen=True)
class Plan:
    """The changes of one cycle in one cluster.

    `changes` are sorted by kind and name. `adopted` are already as desired, and are only recorded.
    `drift` are differences made by someone else that are reported and left: with `drift: report`,
    or where our labels are gone. `left_out` is sorted. `blockers` block the whole plan or, if it is
    `partial`, what depends on the `held` objects, which have a foreign object in their place.
    `let_through` are guards that were approved, or that have nothing to block. `not_pushed` are the
    device groups of firewalls that are out of sync. `warnings` block nothing. `compared_with` names
    the sources that the cluster was assumed to hold, if it was not asked. `precedence` tells which
    chains of several tiers are written before which, and `beside` are our policies that do not
    change. Tiers that are `closed` end with Deny under policies of others. In a `directory`, states
    between two writes do not count. `rules` are the inexact ones. `known` are the digests of what
    was left out before, if that is known; `modes` those of tiers.
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
    warnings: tuple[str, ...] = ()
    compared_with: tuple[Origin, ...] = ()
    precedence: tuple[Precedence, ...] = ()
    held: tuple[Change, ...] = ()
    closed: frozenset[str] = frozenset()
    directory: bool = False
    beside: tuple[Manifest, ...] = field(default=(), compare=False, repr=False)
    rules: tuple[LeftOut, ...] = ()
    known: frozenset[str] | None = None
    modes: tuple[tuple[str, str], ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over cluster, changes, guards, and what is written in which order.

        Neither time nor source versions count: the same writes have the same digest. Approvals and
        `zonebridge sync --plan` name a plan by it.
        """
        essence: dict[str, Any] = {
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
        if writes := self.writes:
            # Objects that are written more than once have contents that no change names.
            essence["writes"] = [
                [[each.kind, each.name, each.after.digest if each.after else ""] for each in some]
                for some in writes
            ]
        return hashlib.sha256(orjson.dumps(essence, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def count(self, action: Action) -> int:
        return sum(change.action is action for change in self.changes)

    @property
    def summary(self) -> str:
        """One sentence with every number of the plan."""
        create, update, delete = (self.count(action) for action in Action)
        changes = f"{create} to create, {update} to update, {delete} to delete"
        parts = [changes if self.changes else "no changes", f"{self.unchanged} unchanged"]
        if self.adopted:
            parts.append(f"{len(self.adopted)} of them recorded as they are")
        if self.drift:
            parts.append(f"{len(self.drift)} changed by someone else and left as they are")
        if self.omissions:
            parts.append(counted(self.left_out, self.rules, self.known))
        if self.blockers:
            # An object that takes two writes is one change.
            objects = {(each.kind, each.name) for each, _ in self.waiting}
            waits = f", {len(objects)} changes wait for that" if self.partial else ""
            parts.append(f"BLOCKED by {len(self.blockers)}{waits}")
        if self.let_through and self.changes:
            parts.append("let through by an approval")
        return "; ".join(parts) + "."

    @property
    def mode(self) -> str:
        """Whether its policies take effect: `ENFORCED`, `staged`, or which tiers are which."""
        return mode_of(self.modes)

    @property
    def omissions(self) -> tuple[LeftOut, ...]:
        """Everything that does not reach the cluster as the firewall has it, each rule too."""
        return (*self.left_out, *self.rules)

    def is_new(self, part: LeftOut) -> bool:
        """Whether it was not left out before; so is everything where nothing before is known."""
        return is_new(part, self.known)

    @property
    def approvable(self) -> bool:
        """Whether the plan is blocked, and an approval could let all of its blockers through."""
        return bool(self.blockers) and all(each.approvable for each in self.blockers)

    @property
    def partial(self) -> bool:
        """Whether the plan is blocked, but changes that depend on no blocker may be written.

        Never if a held tier has policies of ours: their effect is unknown.
        """
        return (
            bool(self.held)
            and all(each.guard == FOREIGN_OBJECT for each in self.blockers)
            and not self._lost_tiers
        )

    @cached_property
    def waiting(self) -> tuple[tuple[Change, str], ...]:
        """The writes that a `partial` plan leaves, in their order, with reasons."""
        if not self.partial:
            return ()
        unwritten = self.unwritten()
        return tuple(each for some in rounds(self.steps()) for each in unwritten.stopped(some))

    @cached_property
    def _lost_tiers(self) -> frozenset[str]:
        """The held tiers that contain policies of ours."""
        standing = [each.before for each in self.changes if each.kind in POLICIES and each.before]
        occupied = {each.contents.position.tier for each in (*standing, *self.beside)}
        return frozenset(each.name for each in self.held if each.kind == "Tier") & occupied

    def approved(self) -> "Plan":
        """The same plan, with the same digest, approved."""
        return replace(self, blockers=(), let_through=(*self.let_through, *self.blockers))

    def steps(self) -> Sequence[Step]:
        """The writes in their order; see `sync.plan.order`.

        There are more of them than changes where a set is written more than once.
        """
        return self._order.steps

    @property
    def writes(self) -> Sequence[Sequence[Change]]:
        """What is written, in rounds that begin when the one before has ended.

        Writes that wait for held objects are not among them; those of a blocked plan are.
        """
        waiting = {id(change) for change, _ in self.waiting}
        found = [
            [each for each in some if id(each) not in waiting] for some in rounds(self.steps())
        ]
        return [some for some in found if some]

    @property
    def unordered(self) -> tuple[Precedence, ...]:
        """Chains that pass some flows for a moment, whatever the order of writes."""
        return self._order.unordered

    def unwritten(self) -> Unwritten:
        """The changes that are not written: the held ones, and those that wait for them.

        Chains without a safe order need not wait for a failure, which is retried soon; they wait
        for what is held, which may be permanent. Held objects stop changes from the start, since
        changes that are written earlier may depend on stopped ones.
        """
        waiting: tuple[Change, ...] = ()
        while self.held:
            unwritten = self._unwritten(waiting)
            stopped = [
                change for some in rounds(self.steps()) for change, _ in unwritten.stopped(some)
            ]
            # Sets lose before policies change and gain after them: they wait for what comes before.
            policies = tuple(change for change in stopped if change.kind in POLICIES)
            if policies == waiting:
                break
            waiting = policies
        return self._unwritten(waiting)

    def _unwritten(self, waiting: Iterable[Change]) -> Unwritten:
        unordered = frozenset(() if self.held else self.unordered)
        kept = tuple(each for each in self.precedence if each not in unordered)
        unwritten = Unwritten(self._selections, kept, self.closed)
        for change in self.held:
            unwritten.add(change)
        for change in waiting:
            unwritten.foresee(change)
        return unwritten

    @cached_property
    def _order(self) -> Order:
        return order(
            self.changes,
            self._selections,
            self.precedence,
            closed=self.closed,
            directory=self.directory,
        )

    @cached_property
    def _selections(self) -> Selections:
        return Selections((*self.changes, *self.held), self.beside)

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
                "omissions": {k.value: n for k, n in counts(self.left_out, self.rules).items()},
            },
            "origins": [_origin_document(origin) for origin in self.origins],
            "compared_with": [_origin_document(origin) for origin in self.compared_with],
            "not_pushed": [_not_pushed_document(each) for each in self.not_pushed],
            "changes": [change_document(change) for change in self.changes],
            "drift": [change_document(change) for change in self.drift],
            "blockers": [
                {
                    "guard": blocker.guard,
                    "message": blocker.message,
                    "approvable": blocker.approvable,
                    "let_through": blocker in self.let_through,
                }
                for blocker in (*self.blockers, *self.let_through)
            ],
            "unordered": [
                {
                    "first": _chain_document(each.first),
                    "then": _chain_document(each.then),
                    "flow": each.flow,
                }
                for each in self.unordered
            ],
            "left_out": [omission_document(each, self.known) for each in self.left_out],
            "rules": [omission_document(each, self.known) for each in self.rules],
            "mode": self.mode,
            "tiers": [{"tier": tier, "mode": mode} for tier, mode in self.modes],
            "warnings": list(self.warnings),
            "partial": self.partial,
            "held": [change_document(change) for change in self.held],
            "waiting": [
                {"action": each.action.value, "kind": each.kind, "name": each.name, "reason": why}
                for each, why in self.waiting
            ],
        }


class ClusterObject(Live, ObservedObject, Protocol):
    """An object as a cluster holds it, with everything that a plan needs of it."""


def make_plan(
    cluster: str,
    origins: Sequence[Origin],
    found: Differences,
    left_out: Sequence[LeftOut],
    *,
    repair_drift: bool,
    live: Mapping[Key, ClusterObject] | None = None,
    blockers: Sequence[Blocker] = (),
    not_pushed: Sequence[NotPushed] = (),
    precedence: Sequence[Precedence] = (),
    warnings: Sequence[str] = (),
    closed: Collection[str] = (),
    directory: bool = False,
    rules: Sequence[LeftOut] = (),
    known: frozenset[str] | None = None,
    modes: Sequence[tuple[str, str]] = (),
) -> Plan:
    """Freeze the differences into a plan; drift that is only reported is set apart.

    `live` is the whole cluster, for guards that look at more than the differences. `blockers` are
    those of other guards. Approvable guards do not block a plan without changes.
    """
    # over 50 lines: each part of a plan is named here once.
    beside = _beside(live or {}, found.changes)
    reported = reported_drift(found.changes, beside) if not repair_drift else frozenset()
    changes = tuple(change for change in found.changes if change not in reported)
    guards = (*found.blockers, *referenced_sets(changes, live or {}), *blockers)
    held = {each for each in guards if changes or not each.approvable}
    # Drift that is left stays as it is.
    left = (each.before for each in reported if each.kind in POLICIES and each.before)
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
        warnings=tuple(warnings),
        precedence=tuple(precedence),
        held=found.held,
        closed=frozenset(closed),
        directory=directory,
        beside=(*beside, *left),
        rules=tuple(rules),
        known=known,
        modes=tuple(modes),
    )


def _beside(live: Mapping[Key, ClusterObject], changes: Sequence[Change]) -> tuple[Manifest, ...]:
    changing = {(change.kind, change.name) for change in changes}
    return tuple(
        each.manifest
        for key, each in sorted(live.items())
        if key[0] in POLICIES and key not in changing and each.manifest
    )


def _not_pushed_document(each: NotPushed) -> dict[str, Any]:
    return {
        "source": each.source,
        "device_group": each.device_group,
        "devices": list(each.devices),
    }


def _chain_document(chain: ChainKey) -> dict[str, str]:
    _, tier, zone = chain
    return {"tier": tier, "zone": zone}


def _origin_document(origin: Origin) -> dict[str, Any]:
    return {
        "source": origin.source,
        "version": origin.version,
        "administrators": list(origin.administrators),
        "description": origin.description,
        "pending": origin.pending,
    }

"""What has to agree before `zonebridge sync` writes a plan.

    --plan DIGEST    its digest was reviewed: only that plan is written, or nothing
    on a terminal    it was shown, and confirmed by who sits there
    otherwise        nothing: it is shown, and written

A plan is made under the lease of its cluster, which nobody holds while a person reads or reviews:
what changes meanwhile makes another plan, and that is not written.
"""

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import orjson

from sync.calico.manifest import Manifest
from sync.cli.screen import Screen
from sync.errors import UsageError, ZonebridgeError
from sync.plan.plan import Plan
from sync.reconcile.agreement import PlanDiffersError
from sync.reconcile.written_plans import WrittenPlan, written_plans
from sync.settings.problems import did_you_mean
from sync.store import Store
from sync.text import counted, printable, shortened

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAMED: Final = 5  # objects in a sentence

Changes = Mapping[tuple[str, str], tuple[str, str, str]]
"""The changes of a plan: kind and name -> the action, and the digests of before and after."""


class NotConfirmedError(ZonebridgeError):
    """The operator did not confirm the plan; nothing was written."""


@dataclass(frozen=True)
class Shown:
    """Agree to the plans that were shown, by cluster, and to no others."""

    plans: Mapping[str, Plan]

    def __call__(self, plan: Plan) -> None:
        """Raise `PlanDiffersError`, with what is different, for a plan that was not shown."""
        shown = self.plans.get(plan.cluster)
        if shown is None:
            raise PlanDiffersError(f"cluster {plan.cluster}: its plan was not shown before")
        if shown.digest != plan.digest:
            raise PlanDiffersError(
                f"cluster {plan.cluster} or its sources changed since the plan was shown; nothing "
                f"of it was written: {differing(changes_of(shown), plan)}"
            )
        if bool(shown.blockers) != bool(plan.blockers):
            now = "blocked" if plan.blockers else "let through by an approval"
            raise PlanDiffersError(
                f"cluster {plan.cluster}: its plan is {now} since it was shown; nothing of it was "
                "written"
            )


@dataclass
class Reviewed:
    """Agree to the plans with these digests; what is about to be written goes to the screen.

    `of_clusters` has the digest of each cluster that is named, `of_any` those without a cluster,
    `known` the changes of plans that were given as a file. `met` are the digests that were found,
    `history` has the plans that were written to a cluster, and `notes` say that one was, and that
    the cluster still is as it left it. `older` are those that it is not as they left it.
    Clusters that are `accepted` are other ones than before: their plans have to be named.
    """

    screen: Screen
    of_clusters: Mapping[str, str]
    of_any: frozenset[str]
    known: Mapping[str, Changes]
    met: set[str] = field(default_factory=set)
    history: Callable[[str], Sequence[WrittenPlan]] = lambda _: ()
    notes: list[str] = field(default_factory=list)
    older: dict[str, WrittenPlan] = field(default_factory=dict)
    accepted: Collection[str] = ()

    def asking(self, store: Store) -> "Reviewed":
        """Look up in a store which plans were written."""
        self.history = partial(written_plans, store)
        return self

    def __call__(self, plan: Plan) -> None:
        """Raise `PlanDiffersError` for another plan; one that writes nothing needs no review.

        Nor does a cluster that still is as the plan left it: a step that is tried again succeeds.
        """
        wanted = self.of_clusters.get(plan.cluster)
        if plan.digest == wanted or (wanted is None and plan.digest in self.of_any):
            self.met.add(plan.digest)
            self.screen.before_writing(plan)
            return
        done = self._written(plan, [wanted] if wanted else self.of_any)
        nothing = not (plan.changes or plan.adopted or plan.cluster in self.accepted)
        if done or (wanted is None and nothing):
            return
        before = self.older.get(wanted or "")
        if before and not plan.changes:
            now = shortened([each.message for each in before.not_let_through(plan)])
            since = f"{before.sentence}: {now}" if now else before.sentence
            raise PlanDiffersError(f"{since}; nothing was written now")
        was = f"its plan is {plan.digest} now, which --plan does not name"
        if wanted:
            was = f"its plan is {plan.digest} now, and no longer {wanted}"
        if before:
            was += f", which was {before.clause}"
        known = self.known.get(plan.cluster)
        what = f": {differing(known, plan)}" if known is not None else ""
        raise PlanDiffersError(
            f"cluster {plan.cluster}: {was}; nothing of it was written{what}; review the plan that "
            "is shown, and name its digest"
        )

    def _written(self, plan: Plan, named: Collection[str]) -> bool:
        """Whether the cluster of a plan is as one of the plans `named` left it."""
        idle = not (plan.changes or plan.adopted or plan.drift or plan.blockers)
        for each in self.history(plan.cluster):
            if each.digest not in named:
                continue
            if each.latest and idle and not each.not_let_through(plan):
                self.met.add(each.digest)
                self.notes.append(
                    f"cluster {plan.cluster}: nothing to do: it is as plan {each.digest} left it, "
                    f"{each.clause}"
                )
                return True
            self.older[each.digest] = each
        return False

    def missing(self) -> str:
        """Say which digests are no cluster's plan; "" if there are none."""
        missing = sorted(self.of_any - self.met)
        unknown = [each for each in missing if each not in self.older]
        said = [self.older[each].sentence for each in missing if each in self.older]
        if unknown:
            names = shortened(unknown, ", ")
            said.insert(0, f"no cluster has the plan {names}; nothing of it was written")
        return shortened(said)


def reviewed(
    given: Sequence[str],
    clusters: Collection[str],
    screen: Screen,
    accepted: Collection[str] = (),
) -> Reviewed:
    """Parse the values of `--plan`; `clusters` are those that are synced, and some are `accepted`.

    A value is a digest, `CLUSTER=DIGEST`, or the file that `plan --output json` was written to.
    Raises `UsageError` for anything else.
    """
    of_clusters: dict[str, str] = {}
    of_any: set[str] = set()
    known: dict[str, Changes] = {}
    for value in given:
        cluster, equals, digest = value.rpartition("=")
        if _DIGEST.fullmatch(value):
            of_any.add(value)
        elif equals and _DIGEST.fullmatch(digest):
            if cluster not in clusters:
                raise UsageError(
                    f"--plan {cluster}=…: no cluster {cluster!r} is synced; "
                    f"{did_you_mean(cluster, [*clusters])}"
                )
            _name(of_clusters, cluster, digest)
        else:
            for name, (plan, changes) in _of_file(value).items():
                if name in clusters:
                    _name(of_clusters, name, plan)
                    known[name] = changes
    return Reviewed(screen, of_clusters, frozenset(of_any), known, accepted=accepted)


def _name(of_clusters: dict[str, str], cluster: str, digest: str) -> None:
    """Note the plan of a cluster; raises `UsageError` if another one is named already."""
    if of_clusters.setdefault(cluster, digest) != digest:
        raise UsageError(f"--plan names two plans of cluster {cluster}; name one")


def _of_file(value: str) -> dict[str, tuple[str, Changes]]:
    """Read the plans in a file: the digest and the changes of each cluster."""
    try:
        document = orjson.loads(Path(value).read_bytes())
        return {
            each["cluster"]: (str(each["plan"]["digest"]), _changes(each["plan"]["changes"]))
            for each in document["clusters"]
            if each["plan"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--plan {value!r} is neither the 64 digits of a plan's digest (`zonebridge plan` "
            "prints it), nor CLUSTER=DIGEST, nor a file that `zonebridge plan --output json` wrote"
        ) from error


def _changes(changes: Sequence[Mapping[str, Any]]) -> Changes:
    return {
        (each["kind"], each["name"]): (
            each["action"],
            Manifest.of(each["before"]).digest if each["before"] else "",
            Manifest.of(each["after"]).digest if each["after"] else "",
        )
        for each in changes
    }


def changes_of(plan: Plan) -> Changes:
    """Return what a plan changes, for a comparison."""
    return {
        (each.kind, each.name): (
            each.action.value,
            each.before.digest if each.before else "",
            each.after.digest if each.after else "",
        )
        for each in plan.changes
    }


def differing(old: Changes, plan: Plan) -> str:
    """Say in a clause what a plan changes that another one did not, and the other way round."""
    new = changes_of(plan)
    more = [(new[key][0], key) for key in new if key not in old]
    less = [(old[key][0], key) for key in old if key not in new]
    other = [(new[key][0], key) for key in new if key in old and old[key] != new[key]]
    parts = [
        f"{words} {_listed(some)}"
        for words, some in (
            ("it would also", more),
            ("it would no longer", less),
            ("it would otherwise", other),
        )
        if some
    ]
    if plan.blockers:
        parts.append(f"it is blocked by {counted(len(plan.blockers), 'guard')}")
    return ", ".join(parts) or "the changes are the same, and their order or guards are not"


def _listed(some: Sequence[tuple[str, tuple[str, str]]]) -> str:
    shown = [f"{action} {kind} {name}" for action, (kind, name) in some[:_NAMED]]
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    return ", ".join(shown) + more


def asks(output: str) -> bool:
    """Whether a sync asks before it writes: only who sees the plan and can answer is asked."""
    return output != "json" and sys.stdin.isatty() and sys.stdout.isatty()


def confirm(plans: Collection[Plan]) -> None:
    """Ask once for all plans that would write; raises `NotConfirmedError` if the answer is no."""
    counts = {
        each.cluster: len({(c.kind, c.name) for some in each.writes for c in some})
        for each in plans
        if writes(each)
    }
    if not counts:
        return
    changes = counted(sum(counts.values()), "change")
    where = f"cluster {next(iter(counts))}" if len(counts) == 1 else f"{len(counts)} clusters"
    click.echo()
    if not click.confirm(printable(f"Write {changes} to {where}?")):
        raise NotConfirmedError("the plan was not confirmed, so nothing of it was written")


def writes(plan: Plan) -> bool:
    """Whether a sync would write anything of a plan, as far as it is shown."""
    return bool(plan.writes) and (not plan.blockers or plan.partial)

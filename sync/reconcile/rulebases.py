"""The rules that tiers are made from, by rulebase, and those that the last sync had.

Policies name the scope of each rule, and not whether it is a pre- or a post-rule: the store keeps
which rulebases had enabled rules. Without it, the guard `empty-source` sees whole scopes only.
"""

from collections import Counter, defaultdict
from contextlib import suppress

import orjson

from sync.errors import StoreError
from sync.plan.guards.empty_source import EMPTY_SOURCE, Place, Rules
from sync.plan.plan import Plan
from sync.reconcile.omissions import cluster_memory
from sync.store import Store
from sync.translate.fidelity import Report

_KIND = "rulebases"
_LET_GO = "let-go"


def rules_of(report: Report) -> Rules:
    """The rules of each rulebase, by tier and scope."""
    tiers = {(each.source, each.target): each.tier for each in report.device_groups}
    enabled: defaultdict[Place, list[str]] = defaultdict(list)
    disabled: Counter[Place] = Counter()
    for rule in report.rules:
        place = tiers[rule.source, rule.target], rule.device_group, rule.rulebase
        if rule.disabled:
            disabled[place] += 1
        else:
            enabled[place].append(rule.name)
    return Rules(dict(enabled), disabled)


def filled(report: Report) -> frozenset[Place]:
    """The rulebases that have enabled rules."""
    return frozenset(rules_of(report).enabled)


def filled_before(store: Store, cluster: str) -> frozenset[Place]:
    """The same of the last sync of a cluster that succeeded; none if none can be read."""
    try:
        kept = cluster_memory(store, cluster).recall(_KIND, "")
        found = orjson.loads(kept) if kept else []
        return frozenset((tier, scope, name) for tier, scope, name in found)
    except (StoreError, ValueError, TypeError):
        return frozenset()  # whole scopes are guarded by what the cluster holds


def remember_filled(store: Store, cluster: str, report: Report, *, whole: bool = True) -> None:
    """Store which rulebases have rules, for the next plans; only where it changed, if it can be.

    After a sync that did not write the `whole` plan, those of before may stand as well.
    """
    found = filled(report) if whole else filled(report) | filled_before(store, cluster)
    if found != filled_before(store, cluster):
        # The sync is done and recorded; without this, the next one asks by what was before.
        with suppress(StoreError):
            cluster_memory(store, cluster).remember(_KIND, "", orjson.dumps(sorted(found)))


def let_go(store: Store, cluster: str) -> frozenset[str]:
    """What approved plans empty that are not written as a whole yet: `Blocker.covers` of each."""
    try:
        kept = cluster_memory(store, cluster).recall(_LET_GO, "")
        return frozenset(str(each) for each in orjson.loads(kept or b"[]"))
    except (StoreError, ValueError, TypeError):
        return frozenset()  # then it is asked again


def remember_let_go(store: Store, plan: Plan, *, new: bool) -> None:
    """Store what an approved plan empties, before it is written: the rest of it asks nobody again.

    What was allowed was for the cluster before, if this one is `new`.
    """
    # Guards of a plan without changes are let through by nobody.
    approved = {
        each.covers
        for each in plan.let_through
        if each.guard == EMPTY_SOURCE and plan.changes and not plan.blockers
    }
    before = frozenset() if new else let_go(store, plan.cluster)
    _keep_let_go(store, plan.cluster, before | approved)


def end_let_go(store: Store, cluster: str, report: Report, *, whole: bool) -> None:
    """Forget what is emptied where there are rules again, or where the `whole` plan was written."""
    again = {scope for _, scope, _ in filled(report)}
    named = {each for scope in again for each in (scope, f"{scope} rules")}
    named |= {f"{scope} {rulebase}" for _, scope, rulebase in filled(report)}
    _keep_let_go(store, cluster, frozenset() if whole else let_go(store, cluster) - named)


def _keep_let_go(store: Store, cluster: str, covers: frozenset[str]) -> None:
    if covers != let_go(store, cluster):
        with suppress(StoreError):
            cluster_memory(store, cluster).remember(_LET_GO, "", orjson.dumps(sorted(covers)))

"""The rules that tiers are made from, by rulebase, and those that the last sync had.

Policies name the scope of each rule, and not whether it is a pre- or a post-rule: the store keeps
which rulebases had enabled rules. Without it, the guard `empty-source` sees whole scopes only.
"""

from collections import Counter, defaultdict
from contextlib import suppress

import orjson

from sync.errors import StoreError
from sync.plan.guards.empty_source import Place, Rules
from sync.reconcile.omissions import cluster_memory
from sync.store import Store
from sync.translate.fidelity import Report

_KIND = "rulebases"


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


def remember_filled(store: Store, cluster: str, report: Report) -> None:
    """Store which rulebases have rules, for the next plans; only where it changed, if it can be."""
    found = filled(report)
    if found != filled_before(store, cluster):
        # The sync is done and recorded; without this, the next one asks by what was before.
        with suppress(StoreError):
            cluster_memory(store, cluster).remember(_KIND, "", orjson.dumps(sorted(found)))

"""The words that plans are tested in: sets, tiers, policies and changes of them."""

from sync.calico.manifest import Manifest
from sync.calico.names import ADDRESS_GROUP_LABEL, CHAIN_ANNOTATION
from sync.calico.objects import (
    EntityRule,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    Pairs,
    Rule,
    StagedGlobalNetworkPolicy,
    Tier,
)
from sync.calico.selectors import equals
from sync.plan.changes import Cause, Change

CONFIGURATION, DRIFT = Cause.CONFIGURATION, Cause.DRIFT


def a_set(name: str, *nets: str, group: str = "", owner: Pairs = ()) -> Manifest:
    """A set of an address group, by default the one of its name."""
    labels = (*owner, (ADDRESS_GROUP_LABEL, group or name))
    return GlobalNetworkSet(name, nets, labels).manifest()


def tier(name: str = "fw", order: int = 101, owner: Pairs = ()) -> Manifest:
    return Tier(name, order, labels=owner).manifest()


def policy(
    name: str,
    order: int = 0,
    *,
    chain: str = "",
    groups: tuple[str, ...] = (),
    tier: str = "fw",
    staged: bool = False,
    owner: Pairs = (),
) -> Manifest:
    """A policy whose rules deny to address groups."""
    kind = StagedGlobalNetworkPolicy if staged else GlobalNetworkPolicy
    rules = tuple(
        Rule("Deny", destination=EntityRule(equals(ADDRESS_GROUP_LABEL, group), "", "global()"))
        for group in groups
    )
    annotations = ((CHAIN_ANNOTATION, chain),) if chain else ()
    return kind(
        f"{tier}.{name}", tier, order, "all()", egress=rules, labels=owner, annotations=annotations
    ).manifest()


def create(after: Manifest, cause: Cause = CONFIGURATION) -> Change:
    return Change(None, after, cause)


def update(before: Manifest, after: Manifest, cause: Cause = CONFIGURATION) -> Change:
    return Change(before, after, cause)


def delete(before: Manifest) -> Change:
    return Change(before, None, CONFIGURATION)

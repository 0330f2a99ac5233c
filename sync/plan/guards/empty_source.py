"""Guard: what a tier was made from is suddenly empty, or is no longer above its device group.

a scope of the firewall      by the annotation of the observed tier, which lists them
all of its rules             by the rules that its observed policies name as their origin
one of its two rulebases     by those, and by what the last sync had in that rulebase
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from sync.calico.manifest import Manifest
from sync.calico.names import (
    DEVICE_GROUP_ANNOTATION,
    RULE_ANNOTATION,
    SCOPES_ANNOTATION,
    SOURCE_ANNOTATION,
)
from sync.calico.objects import POLICIES
from sync.calico.references import DIRECTIONS, mapping, rules
from sync.plan.guards import Blocker, counted, listed

Place = tuple[str, str, str]
"""A tier, a scope of the firewall that it is made from, and a rulebase there: `pre` or `post`."""

EMPTY_SOURCE = "empty-source"

_RULEBASES = ("pre", "post")


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that tiers are made from now, by place: names of enabled ones, number of others."""

    enabled: Mapping[Place, Collection[str]]
    disabled: Mapping[Place, int]


def empty_source(
    scope: str, tiers: Sequence[str], *, above: bool, lost: Collection[str] = ()
) -> Blocker:
    """Block a plan: `tiers` were made from a scope (a device group, or `shared`) and no longer are.

    `above`: the scope is still their device group or an ancestor of it, and is empty. `lost` names
    the rules that go with it.
    """
    go = f" ({counted(sorted(lost), 'rule', 'rules')} would go)" if lost else ""
    one = len(tiers) == 1
    now = (
        _EMPTY
        if above
        else f", and {'its device group is' if one else 'their device groups are'} no longer in it "
        "or below it; see that it was moved on purpose"
    )
    return Blocker(
        EMPTY_SOURCE,
        f"{_named(scope)} held rules or addresses for {_tiers(tiers)}{go}{now}",
        approvable=True,
        covers=scope,
    )


_EMPTY = " and holds none any more; check that the API key's user may read all of it"


def _named(scope: str) -> str:
    return "Shared" if scope == "shared" else f"device group {scope}"


def _tiers(tiers: Sequence[str]) -> str:
    return f"the {'tier' if len(tiers) == 1 else 'tiers'} {listed(tiers)}"


def empty_sources(
    standing: Mapping[tuple[str, str], Manifest],
    desired: Mapping[tuple[str, str], Manifest],
    lineages: Mapping[str, Sequence[str]],
    now: Rules | None = None,
) -> list[Blocker]:
    """Make a blocker for each scope that an observed tier was made from and the desired one is not.

    `lineages` has, by tier, its device group and the scopes above it. A tier that is removed does
    not count: the configuration of zonebridge gave it up, not the firewall. With the rules of `now`
    it says how many go: those of the scope whose names the tier has nowhere any more.
    """
    gone: dict[str, set[str]] = {}
    lost: dict[tuple[str, bool], list[str]] = {}
    for tier, lineage in sorted(lineages.items()):
        stood, wanted = standing.get(("Tier", tier)), desired.get(("Tier", tier))
        if stood and wanted:
            for scope in _scopes(stood) - _scopes(wanted):
                lost.setdefault((scope, scope in lineage), []).append(tier)
                if now:
                    rules_now = _enabled(now, tier)
                    named = _standing_rules(standing.values(), tier, scope) - rules_now
                    gone.setdefault(scope, set()).update(named)
    return [
        empty_source(scope, tiers, above=above, lost=gone.get(scope, ()))
        for (scope, above), tiers in sorted(lost.items())
    ]


def _enabled(now: Rules, tier: str) -> set[str]:
    """The names of all enabled rules that a tier is made from, as annotations have them."""
    return {
        n[:_SHOWN] for (where, _, _), names in now.enabled.items() if where == tier for n in names
    }


def _scopes(tier: Manifest) -> frozenset[str]:
    """The scopes that a tier names; none if someone else or an older version wrote it."""
    return _said(tier) or frozenset()


def _said(tier: Manifest | None) -> frozenset[str] | None:
    """The same; None if it says nothing that can be read."""
    if tier is None:
        return None
    try:
        said = orjson.loads(mapping(tier.document(), "metadata", "annotations")[SCOPES_ANNOTATION])
    except (KeyError, TypeError, ValueError):
        return None
    named = isinstance(said, list) and all(isinstance(each, str) for each in said)
    return frozenset(said) if named else None


def empty_rulebases(
    standing: Mapping[tuple[str, str], Manifest],
    desired: Mapping[tuple[str, str], Manifest],
    now: Rules,
    lineages: Mapping[str, Sequence[str]],
    filled: Collection[Place] = (),
) -> list[Blocker]:
    """Make a blocker for each scope that is above its tiers still, but without an enabled rule.

    Only where observed policies hold rules of it that are enabled nowhere in it now. One rulebase
    that is empty counts where it was `filled` at the last sync: policies do not name it. What
    `empty_sources` blocks is not blocked twice.
    """
    emptied: dict[tuple[str, str], list[str]] = {}
    written: dict[tuple[str, str], set[str]] = {}
    for tier, lineage in sorted(lineages.items()):
        # A tier is written first: without the scope, it was let through, and is half-written.
        stood, wanted = (_said(each.get(("Tier", tier))) for each in (standing, desired))
        scopes = {*lineage} if stood is None else {*lineage} & stood & (wanted or frozenset())
        for scope in scopes:
            places = {name: (tier, scope, name) for name in _RULEBASES}
            enabled = {n[:_SHOWN] for each in places.values() for n in now.enabled.get(each, ())}
            empty = [
                name
                for name, each in places.items()
                if each in filled and not now.enabled.get(each)
            ]
            if enabled and not empty:
                continue
            if lost := _standing_rules(standing.values(), tier, scope) - enabled:
                for name in empty if enabled else [""]:
                    emptied.setdefault((scope, name), []).append(tier)
                    written.setdefault((scope, name), set()).update(lost)
    return [
        _empty_rules(scope, name, tiers, written[scope, name], now)
        for (scope, name), tiers in sorted(emptied.items())
    ]


_SHOWN = 1024  # characters of a rule's name in its annotation


def _empty_rules(
    scope: str, rulebase: str, tiers: Sequence[str], lost: Collection[str], now: Rules
) -> Blocker:
    """Block a plan: a scope, or one rulebase of it, has no enabled rule any more."""
    some = [rulebase] if rulebase else _RULEBASES
    what = f"the {rulebase}-rulebase of {_named(scope)}" if rulebase else _named(scope)
    disabled = any(now.disabled.get((tier, scope, name)) for tier in tiers for name in some)
    rules_lost = counted(sorted(lost), "rule", "rules")
    go = f"{_tiers(tiers)} ({rules_lost} would go)"
    message = (
        f"{what} has only disabled rules now, and held others for {go}; see that they were "
        "disabled on purpose"
        if disabled
        else f"{what} held rules for {go}{_EMPTY}"
    )
    covers = f"{scope} {rulebase or 'rules'}"
    return Blocker(EMPTY_SOURCE, message, approvable=True, covers=covers)


def _standing_rules(standing: Iterable[Manifest], tier: str, scope: str) -> set[str]:
    """The names of the firewall's rules of a scope that the policies of a tier were made from."""
    # Few policies are parsed: most configurations have scopes without rules at all.
    named = orjson.dumps({DEVICE_GROUP_ANNOTATION: scope})[1:-1]
    found = set()
    for manifest in standing:
        if manifest.kind not in POLICIES or named not in manifest.body:
            continue
        document = manifest.document()
        if mapping(document, "spec").get("tier") != tier:
            continue
        for direction in DIRECTIONS:
            for rule in rules(document, direction):
                annotations = mapping({"rule": rule}, "rule", "metadata", "annotations")
                # Defaults carry neither end: they are not rules of the firewall's rulebase.
                if (
                    annotations.get(DEVICE_GROUP_ANNOTATION) == scope
                    and SOURCE_ANNOTATION in annotations
                ):
                    found.add(str(annotations.get(RULE_ANNOTATION)))
    return found

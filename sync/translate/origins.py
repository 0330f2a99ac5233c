"""The origin of a Calico rule: as a value for the rollout, as annotations for people."""

from collections.abc import Sequence
from typing import Final

from sync.calico import names
from sync.calico.chains import RuleId
from sync.calico.objects import Pairs
from sync.translate.network_sets import Target
from sync.translate.rules import TranslatedRule

_SHOWN: Final = 1024  # characters of a name or a list in an annotation


def rule_id(target: Target, translated: TranslatedRule) -> RuleId:
    """Name a rule uniquely among all device groups of a cluster."""
    placed = translated.placed
    name = target.device_group.name
    return target.source, name, placed.device_group, placed.rulebase, placed.position


def identity(translated: TranslatedRule) -> str:
    """Name a rule independently of its position."""
    placed = translated.placed
    return translated.rule.uuid or f"{placed.device_group}/{placed.rulebase}/{translated.rule.name}"


def annotations(translated: TranslatedRule) -> Pairs:
    """Annotate a Calico rule with the firewall's rule that it came from."""
    rule = translated.rule
    return (
        (names.RULE_ANNOTATION, rule.name[:_SHOWN]),
        (names.SOURCE_ANNOTATION, _listed(rule.sources, negated=rule.negate_source)),
        (
            names.DESTINATION_ANNOTATION,
            _listed(rule.destinations, negated=rule.negate_destination),
        ),
        (names.DEVICE_GROUP_ANNOTATION, translated.placed.device_group),
    )


def _listed(members: Sequence[str], *, negated: bool) -> str:
    """A list as an annotation shows it: members that do not fit are only counted."""
    # Their order has no meaning, and must not change a policy.
    text = ("not " if negated else "") + ",".join(sorted(members))
    if len(text) <= _SHOWN:
        return text
    shown = text[:_SHOWN].rpartition(",")[0] or text[:_SHOWN]
    return f"{shown} and {len(members) - 1 - shown.count(',')} more"

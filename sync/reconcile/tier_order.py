"""Find which chains of several tiers are written before which.

observed, desired  ->  flows whose deny moves from one tier to another  ->  precedence
"""

from collections.abc import Mapping

from sync.calico.manifest import Manifest
from sync.calico.names import CHAIN_ANNOTATION
from sync.calico.objects import POLICIES
from sync.calico.references import mapping
from sync.plan.precedence import Precedence
from sync.plan.selections import ChainKey
from sync.reconcile.verification import flow_said
from sync.translate.compiler import Options
from sync.verify.transitions import meetings

_ENFORCED = "GlobalNetworkPolicy"
_ANY_FLOW = "any flow: the current policies cannot be judged"  # words kept


def precedence(
    standing: Mapping[tuple[str, str], Manifest],
    desired: Mapping[tuple[str, str], Manifest],
    options: Options,
) -> list[Precedence]:
    """Find which chains of a cluster's tiers have to be written before others.

    `standing` and `desired` are the objects of ours before and after, by (kind, name).
    """
    if len({name for kind, name in (*standing, *desired) if kind == "Tier"}) < 2:
        return []
    before, after = ([each.document() for each in some.values()] for some in (standing, desired))
    zones = {
        str(zone)
        for each in (*before, *after)
        if each["kind"] in POLICIES
        and (zone := mapping(each, "metadata", "annotations").get(CHAIN_ANNOTATION))
    }
    return [
        Precedence(
            _chain(each.denies),
            _chain(each.passes),
            each.size,
            flow_said(each.flow) if each.flow else _ANY_FLOW,
        )
        for each in meetings(
            before,
            after,
            zones | options.zones.definitions.keys(),
            options.zones,
            options.pod_cidrs,
        )
    ]


def _chain(chain: tuple[str, str]) -> ChainKey:
    tier, zone = chain
    return _ENFORCED, tier, zone

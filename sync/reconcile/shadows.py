"""Add to a report what earlier rules leave of each rule, in Calico and on the firewall.

report, desired objects, device groups  ->  sync.verify.shadows  ->  the report with shadows
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from sync.firewall.rules import EVERYWHERE
from sync.net.addresses import written
from sync.reconcile.verification import flow_said
from sync.translate.fidelity import Extent, Place, Report, RuleFidelity, Shadow, Taker
from sync.verify.compare import Witness
from sync.verify.shadows import Shade, in_calico, on_firewall
from sync.verify.tiers import Tiers

_ZONE: Final = "zone "


def shadowed(report: Report, tiers: Tiers) -> Report:
    """Return the report with the shadow of each rule; `tiers` are those that it is of."""
    places = {where: each.place for each in report.rules for where in each.calico}
    here = in_calico(tiers, places)
    there = {place: shade for each in tiers.each for place, shade in on_firewall(each).items()}
    targeted = {each.place for each in report.rules if each.rule and each.rule.target != EVERYWHERE}

    def with_shadows(rule: RuleFidelity) -> RuleFidelity:
        calico, firewall = here.get(rule.place), there.get(rule.place)
        return replace(
            rule,
            shadow=_shadow(calico, flow_said, targeted) if calico else None,
            firewall_shadow=_shadow(firewall, _on_firewall, targeted) if firewall else None,
        )

    return replace(report, rules=tuple(map(with_shadows, report.rules)))


def _shadow(shade: Shade, said: Callable[[Witness], str], targeted: Collection[Place]) -> Shadow:
    return Shadow(
        Extent(shade.extent),
        tuple(
            Taker(each.name, each.place, each.allow, each.larger, targeted=each.place in targeted)
            for each in shade.by
        ),
        said(shade.flow) if shade.flow else "",
        shade.because,
        shade.more,
    )


def _on_firewall(flow: Witness) -> str:
    """`zone web (10.0.0.1) to zone db (10.2.0.1), tcp/443 from port 1024`."""
    # A pod stands for whatever is in a zone, and one of no zone for another zone.
    far = flow.far if flow.far.startswith(_ZONE) else "another zone"
    ends = f"{flow.local} ({written(flow.local_address)}) to {far} ({written(flow.far_address)})"
    return f"{ends}, {flow.packet.said()}"

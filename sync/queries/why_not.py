"""Find the smallest changes that would allow a flow that is denied.

    the rules that deny it, at each end and in each tier  ->  changes that may help, by their kind
    each change, made in the model                        ->  translated and judged again
                                                          ->  those by which all allow it

A change is of the firewall's configuration, of the settings, of a pod's label or of a policy of
others, and each is tried by itself. It is offered only if the firewall surely allows the flow then,
and Calico too; an essential only if no rule of the firewall denies it.
"""

from dataclasses import dataclass
from typing import Final

from sync.errors import ZonebridgeError
from sync.queries.explain import Explained
from sync.queries.model_changes import Model, Remedy
from sync.queries.remedy_candidates import Candidates, denied_by_firewall
from sync.reconcile.desired import Cluster, rolled_out
from sync.reconcile.device_groups import target_of
from sync.reconcile.verification import judged_groups, settings_of
from sync.verify.explain import explain, verdict_of
from sync.verify.judgement import NoAnswerError
from sync.verify.profiles import UnreadableError
from sync.verify.traffic_space import Packet

MOST_TRIED: Final = 40


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The changes that would allow a flow, each by itself, the smallest first.

    `tried` counts those that were made in the model; `more` that there were too many to try all.
    `note` is a sentence where nothing was tried. `allowed`: Calico allows the flow already, and the
    firewall perhaps denies it.
    """

    remedies: tuple[Remedy, ...] = ()
    tried: int = 0
    more: bool = False
    note: str = ""
    allowed: bool = False


def why_not(cluster: Cluster, found: Explained) -> WhyNot:
    """Find the changes that would allow a flow that is explained."""
    inputs, packet = found.inputs, found.packet
    assert inputs is not None, "it is explained with its inputs"
    assert packet is not None, "it is explained with its packet"
    if not found.sides:
        return WhyNot(note="neither end is a pod of this cluster, so no policy of ours denies it")
    if found.verdict == "allow" and not denied_by_firewall(found.sides):
        return WhyNot(note="it is allowed: there is nothing to change")
    if found.unseen:
        return WhyNot(note="nothing was tried, since something that is not judged may decide it")
    now = Model(inputs.snapshots, inputs.options, found.parties, found.others)
    if found.live and _allows(cluster, now, packet):
        return WhyNot(note="its desired state allows it: `zonebridge sync` writes what is pending")
    remedies: list[Remedy] = []
    tried = 0
    more = False
    for remedy, model in Candidates(inputs, now, packet, found.sides).all():
        if tried == MOST_TRIED:
            more = True
            break
        tried += 1
        # No rule of the firewall is about what essentials pass.
        if _allows(cluster, model, packet, but_settings=remedy.kind == "essential"):
            remedies.append(remedy)
    return WhyNot(tuple(remedies), tried, more, allowed=found.verdict == "allow")


def _allows(cluster: Cluster, model: Model, packet: Packet, *, but_settings: bool = False) -> bool:
    """Whether the firewall and Calico surely allow the flow in a model.

    `but_settings`: whatever settings say where the firewall knows no zone of the far end.
    """
    try:
        targets = [target_of(here, model.snapshots[here.source]) for here in cluster.device_groups]
        rollout, _ = rolled_out(cluster.name, targets, model.options, {})
        documents = [each.document() for each in rollout.manifests.values()]
        groups, settings = judged_groups(targets), settings_of(model.options)
        everything = [*documents, *model.others]
        sides = explain(groups, everything, settings, model.parties, packet)
    except (ZonebridgeError, NoAnswerError, UnreadableError):
        return False
    return verdict_of(sides) == "allow" and not denied_by_firewall(sides, but_settings=but_settings)

"""Check whether the desired state gives the firewall's verdicts, as guards of a plan.

device groups, desired objects  ->  proof  ->  guards verification, report-mismatch,
                                                undecided
"""

from collections.abc import Mapping, Sequence

from sync.calico.manifest import Manifest
from sync.net.addresses import written
from sync.plan.guards import Blocker
from sync.plan.guards.proof import report_mismatch, undecided, verification
from sync.reconcile.desired import Desired
from sync.translate.compiler import Options
from sync.translate.fidelity import Report, Status
from sync.translate.network_sets import Target
from sync.verify.compare import Difference, Witness
from sync.verify.packet_space import Place
from sync.verify.profiles import DeviceGroup
from sync.verify.proof import Proof, prove
from sync.verify.settings import Settings
from sync.verify.tiers import Tiers

_SHOWN = 3  # disagreements in the words of a plan


def proof_of(
    targets: Sequence[Target],
    desired: Mapping[tuple[str, str], Manifest],
    report: Report,
    options: Options,
    *,
    samples: bool,
) -> Proof:
    """Prove the desired state of a cluster against the rulebases of its device groups.

    `samples` finds a flow for each rule that Calico cannot express exactly. If the report calls
    such a rule exact, samples are found anyway.
    """
    documents = [each.document() for each in desired.values()]
    groups, settings = judged_groups(targets), settings_of(options)
    proof = prove(groups, documents, settings, samples=samples)
    if _overstated(proof, report) and not samples:
        return prove(groups, documents, settings, samples=True)
    return proof


def judged_tiers(wanted: Desired) -> Tiers:
    """The tiers of the desired state of a cluster, for all that a report says of them."""
    documents = [each.document() for each in wanted.rollout.manifests.values()]
    return Tiers(judged_groups(wanted.targets), documents, settings_of(wanted.options))


def judged_groups(targets: Sequence[Target]) -> list[DeviceGroup]:
    """The device groups of a cluster as the proof takes them."""
    return [
        DeviceGroup(target.source, target.device_group, target.derived, target.tier)
        for target in targets
    ]


def settings_of(options: Options) -> Settings:
    """The options of a cluster as the proof takes them."""
    return Settings(
        options.rules, options.zones, options.pod_cidrs, registered_known=options.registered_known
    )


def disagreements(proof: Proof, report: Report) -> list[str]:
    """Describe everything that blocks a plan, a clause each."""
    return [*_misjudged(proof, report), *_overstated(proof, report)]


def _misjudged(proof: Proof, report: Report) -> list[str]:
    """Flows whose verdict differs from the firewall's without a word of it in the report."""
    return [*map(said, (*proof.allowed, *unsaid(proof, report)))]


def unsaid(proof: Proof, report: Report) -> list[Difference]:
    """Flows that the firewall allows and a cluster denies, by rules that the report calls exact.

    A cluster may deny more where the report calls a deciding rule inexact.
    """
    inexact = {each.place: each.name for each in report.rules if not each.status.without_loss}
    names = frozenset(inexact.values())  # a Calico rule has only this of the firewall's rule
    return [each for each in proof.denied if each.place not in inexact and each.says not in names]


def _overstated(proof: Proof, report: Report) -> list[str]:
    """Rules that the report calls exact and the proof does not."""
    return [
        f"the report says that rule {each.name!r} of device group {each.target} is exact, and it "
        f"is not: by the proof {'; '.join(proof.inexact[each.place])}{_as_in(proof, each.place)}"
        for each in report.rules
        # A rule of no zone here has losses too, but decides nothing.
        if each.status.without_loss
        and each.status is not Status.NOT_ENFORCED
        and each.place in proof.inexact
    ]


def _as_in(proof: Proof, place: Place) -> str:
    sample = proof.samples.get(place)
    return f", as in {flow_said(sample)}" if sample else ""


def blockers(proof: Proof, report: Report) -> list[Blocker]:
    """The guards that a proof raises."""
    refused, overstated = _misjudged(proof, report), _overstated(proof, report)
    if refused:
        found = [verification(_some([*refused, *overstated]))]
    else:
        found = [report_mismatch(_some(overstated), overstated)] if overstated else []
    return [*found, *map(undecided, proof.undecided)]


def _some(clauses: Sequence[str]) -> str:
    more = [f"and {len(clauses) - _SHOWN} more"] if len(clauses) > _SHOWN else []
    return "; ".join([*clauses[:_SHOWN], *more])


def said(difference: Difference) -> str:
    """Describe a difference: the flow, and the verdict of each side."""
    calico = f" as rule {difference.says!r}" if difference.says else ""
    verbs = {"allow": "allows", "deny": "denies"}
    return (
        f"{flow_said(difference.flow)}: the firewall {verbs[difference.firewall]} it "
        f"({difference.rule!r}), Calico {verbs[difference.calico]} it ({difference.where}{calico})"
    )


def flow_said(flow: Witness) -> str:
    """Describe a flow: `egress of a pod of zone web (10.0.0.1) to zone db (10.2.0.1), tcp/443`."""
    way = "to" if flow.direction == "egress" else "from"
    ends = (
        f"{flow.direction} of {flow.local} ({written(flow.local_address)}) {way} "
        f"{flow.far} ({written(flow.far_address)})"
    )
    return f"{ends}, {flow.packet.said()}"

"""Whether the desired state gives the firewall's verdicts, in the words of plans.

device groups, desired objects  ->  proof  ->  guards verification, report-mismatch,
                                                undecided
"""

from collections.abc import Mapping, Sequence

from sync.calico.manifest import Manifest
from sync.net.addresses import written
from sync.plan.guards import Blocker
from sync.plan.guards.proof import report_mismatch, undecided, verification
from sync.translate.compiler import Options
from sync.translate.fidelity import Report, Status
from sync.translate.network_sets import Target
from sync.verify.compare import Difference, Witness
from sync.verify.packet_space import Place
from sync.verify.profiles import DeviceGroup
from sync.verify.proof import Proof, Settings, prove

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

    `samples` looks for a flow of each rule that Calico cannot say as it is; where the report does
    not say so of one, they are looked for anyway.
    """
    documents = [each.document() for each in desired.values()]
    groups, settings = judged_groups(targets), settings_of(options)
    proof = prove(groups, documents, settings, samples=samples)
    if _overstated(proof, report) and not samples:
        return prove(groups, documents, settings, samples=True)
    return proof


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
    """What must not be: a clause for each."""
    return [*_misjudged(proof, report), *_overstated(proof, report)]


def _misjudged(proof: Proof, report: Report) -> list[str]:
    """Flows that the cluster would judge otherwise than the firewall, and no report says so."""
    return [*map(said, (*proof.allowed, *unsaid(proof, report)))]


def unsaid(proof: Proof, report: Report) -> list[Difference]:
    """What a cluster denies though the firewall allows it, by rules that the report calls exact.

    That a cluster denies more is no disagreement where the report says so of a deciding rule.
    """
    inexact = {each.place: each.name for each in report.rules if each.status is not Status.EXACT}
    names = frozenset(inexact.values())  # a Calico rule says no more of the firewall's
    return [each for each in proof.denied if each.place not in inexact and each.says not in names]


def _overstated(proof: Proof, report: Report) -> list[str]:
    """Rules that the report says are exact, and the proof says are not."""
    return [
        f"the report says that rule {each.name!r} of device group {each.target} is exact, and it "
        f"is not: by the proof {'; '.join(proof.inexact[each.place])}{_as_in(proof, each.place)}"
        for each in report.rules
        if each.status is Status.EXACT and each.place in proof.inexact
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
    """A difference in words: the flow, and who decides it how."""
    calico = f" as rule {difference.says!r}" if difference.says else ""
    verbs = {"allow": "allows", "deny": "denies"}
    return (
        f"{flow_said(difference.flow)}: the firewall {verbs[difference.firewall]} it "
        f"({difference.rule!r}), Calico {verbs[difference.calico]} it ({difference.where}{calico})"
    )


def flow_said(flow: Witness) -> str:
    """A flow in words: `egress of a pod of zone web (10.0.0.1) to no pod (10.2.0.1), tcp/443`."""
    way = "to" if flow.direction == "egress" else "from"
    ends = (
        f"{flow.direction} of {flow.local} ({written(flow.local_address)}) {way} "
        f"{flow.far} ({written(flow.far_address)})"
    )
    return f"{ends}, {flow.packet.said()}"

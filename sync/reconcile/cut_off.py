"""Check whether the first policies for some pods would cut them off from what they need.

desired policies, new in their chain  ->  workloads they select x lifelines  ->  guard essentials
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sync.calico.manifest import Manifest
from sync.clusters.cluster import ClusterReader, CriticalEndpoint
from sync.plan.changes import Change
from sync.plan.guards import Blocker
from sync.plan.guards.essentials import essentials
from sync.verify.examples import EPHEMERAL
from sync.verify.profiles import UnreadableError
from sync.verify.selectors import selector
from sync.verify.single_flow import Flow, FlowEnd, Flows
from sync.verify.traffic_space import Packet

_ENFORCED: Final = "GlobalNetworkPolicy"


def cut_off(
    changes: Sequence[Change],
    desired: Mapping[tuple[str, str], Manifest],
    standing: Iterable[Manifest],
    reader: ClusterReader,
) -> list[Blocker]:
    """Return the guard `essentials` for a change from the `standing` objects to the `desired` ones.

    The cluster is asked only if a chain is created whose pods no enforced chain selected before.
    Raises `ClusterError` if that fails.
    """
    made = [each for each in changes if each.kind == _ENFORCED and each.before is None]
    if not made:
        return []
    places = [each.contents.position for each in standing if each.kind == _ENFORCED]
    before = {(place.tier, place.chain) for place in places}
    # The unknown-zone policy is created together with the first chain.
    new = [
        each.after
        for each in made
        if (each.place.tier, each.place.chain) not in before and each.after
    ]
    if not new:
        return []
    found = reader.lifelines()
    if found.unknown_because:
        return essentials({}, [found.unknown_because])
    selecting = [selector(each) for each in {each.contents.selector for each in new}]
    pods = [
        _Pod(
            FlowEnd(workload.name, address, workload.labels),
            any(each.matches(workload.labels) for each in selecting),
        )
        for workload in found.workloads
        for address in workload.addresses
    ]
    if not any(pod.new for pod in pods):
        return []
    try:
        lost = _lost(desired, pods, found.lifelines)
    except UnreadableError as error:
        return essentials({}, [f"the policies cannot be judged: {error}"])
    return essentials(lost, found.missing)


class _Pod(NamedTuple):
    """A pod, and whether a new policy selects it."""

    end: FlowEnd
    new: bool


def _lost(
    desired: Mapping[tuple[str, str], Manifest],
    pods: Sequence[_Pod],
    lifelines: Sequence[CriticalEndpoint],
) -> dict[str, list[str]]:
    """Find what workloads lose by a new policy: a clause for each workload, by what is lost."""
    by_address = {pod.end.address: pod for pod in pods}
    targets = [
        by_address.get(each.address) or _Pod(FlowEnd(each.host, each.address), new=False)
        for each in lifelines
    ]
    flows = Flows(
        (each.document() for each in desired.values()), [pod.end for pod in (*pods, *targets)]
    )
    lost: dict[str, dict[str, str]] = {}
    for lifeline, target in zip(lifelines, targets, strict=True):
        end = target.end
        for pod, new in pods:
            if pod.address[0] != end.address[0] or pod is end or not (new or target.new):
                continue
            packet = Packet(lifeline.protocol, EPHEMERAL, lifeline.port, None)
            verdict = flows.verdict(Flow(pod, end, packet))
            if not verdict.allowed:
                lost.setdefault(lifeline.name, {}).setdefault(
                    pod.name,
                    f"{pod.name} to {end.name} port {lifeline.port}: {verdict.where}, rule "
                    f"{verdict.rule!r}",
                )
    return {name: list(clauses.values()) for name, clauses in lost.items()}

"""Whether policies that come to pods for the first time would cut them off from what they need.

desired policies, new in their chain  ->  workloads they select x lifelines  ->  guard essentials
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sync.calico.manifest import Manifest
from sync.clusters.cluster import ClusterReader, Lifelines
from sync.plan.changes import Change, Place
from sync.plan.guards import Blocker, essentials
from sync.verify.flows import End, Flow, Policies
from sync.verify.selectors import selector

_ENFORCED: Final = "GlobalNetworkPolicy"
_EPHEMERAL: Final = 50_000  # a source port as pods use them


def cut_off(
    changes: Sequence[Change],
    desired: Mapping[tuple[str, str], Manifest],
    standing: Iterable[Manifest],
    reader: ClusterReader,
) -> list[Blocker]:
    """The guard `essentials` for changes to what is `standing` of ours, towards what is `desired`.

    Only where a chain is made whose pods no enforced chain had before is the cluster asked.
    `ClusterError` if that fails.
    """
    made = [each for each in changes if each.kind == _ENFORCED and each.before is None]
    if not made:
        return []
    places = [Place.of(each) for each in standing if each.kind == _ENFORCED]
    before = {(place.tier, place.chain) for place in places}
    # Of policies in no chain, the one of pods whose label names no zone comes with the first chain.
    new = [
        each.after
        for each in made
        if (each.place.tier, each.place.chain) not in before and each.after
    ]
    if not new:
        return []
    found = reader.lifelines()
    lost = {} if found.unknown_because else _lost(desired, new, found)
    return essentials(lost, found.unknown_because)


def _lost(
    desired: Mapping[tuple[str, str], Manifest], new: Sequence[Manifest], found: Lifelines
) -> dict[str, list[str]]:
    """What is lost, with a clause for each workload that loses it where a new policy has a say."""
    selecting = {each.document()["spec"]["selector"] for each in new}

    def is_new(end: End) -> bool:
        return end.labels is not None and any(
            selector(each).matches(end.labels) for each in selecting
        )

    pods = [
        End(workload.name, address, workload.labels)
        for workload in found.workloads
        for address in workload.addresses
    ]
    by_address = {pod.address: pod for pod in pods}
    targets = [
        (lifeline, by_address.get(lifeline.address) or End(lifeline.host, lifeline.address))
        for lifeline in found.lifelines
    ]
    policies = Policies(
        (each.document() for each in desired.values()), [*pods, *(end for _, end in targets)]
    )
    lost: dict[str, dict[str, str]] = {}
    for lifeline, end in targets:
        for pod in pods:
            if pod.address[0] != end.address[0] or pod is end:
                continue
            flow = Flow(pod, end, lifeline.protocol, lifeline.port, _EPHEMERAL)
            verdict = policies.verdict(flow)
            if not verdict.allowed and (is_new(pod) or is_new(end)):
                lost.setdefault(lifeline.name, {}).setdefault(
                    pod.name,
                    f"{pod.name} to {end.name} port {lifeline.port}: {verdict.policy}"
                    f"[{verdict.direction} {verdict.index}], rule {verdict.rule!r}",
                )
    return {name: list(clauses.values()) for name, clauses in lost.items()}

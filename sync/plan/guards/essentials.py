"""Pods that would lose what they need by rules that come to them for the first time."""

from collections.abc import Mapping, Sequence

from sync.plan.guards import Blocker, counted, listed


def essentials(cut_off: Mapping[str, Sequence[str]], unknown: Sequence[str]) -> list[Blocker]:
    """Pods that would be cut off by rules that come to them for the first time.

    `cut_off` has, for each thing that they need, a clause for each pod. `unknown` has a sentence
    for what is unknown.
    """
    lost = [
        Blocker(
            "essentials",
            f"{counted(clauses, 'workload', 'workloads')} would lose {name} "
            f"({listed(clauses)}); add what they need to zones.essentials",
            approvable=True,
            covers=name,
        )
        for name, clauses in sorted(cut_off.items())
    ]
    return lost + [
        Blocker(
            "essentials",
            f"whether zoned pods would keep DNS and the API server is not known: {each}; see that "
            "zones.essentials has what they need",
            approvable=True,
            covers=each,
        )
        for each in unknown
    ]

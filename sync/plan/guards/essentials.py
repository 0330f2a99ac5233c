"""Guard: pods would lose what they need to the first policies that select them."""

from collections.abc import Mapping, Sequence

from sync.plan.guards import Blocker, counted, listed


def essentials(cut_off: Mapping[str, Sequence[str]], unknown: Sequence[str]) -> list[Blocker]:
    """Block a plan whose policies, the first ones for some pods, would cut these off.

    `cut_off` has a clause for each pod, by what it needs. `unknown` has a sentence for each thing
    that is unknown.
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
            f"whether zoned pods would keep DNS and the API server is unknown: {each}; see that "
            "zones.essentials has what they need",
            approvable=True,
            covers=each,
        )
        for each in unknown
    ]

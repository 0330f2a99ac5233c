"""Find which rules moved between two lists: as few rules of the firewall as possible.

    pairs of places, old and new  ->  the pairs that kept their order; the others moved

A rule of the firewall is several rules in Calico, side by side: they count as one.
"""

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Pair = tuple[int, int]
"""The place of one rule in the old list, and in the new one."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Pairs of one rule of the firewall that are side by side in both lists."""

    rule: Hashable
    pairs: tuple[Pair, ...]


def kept_in_order(
    pairs: Sequence[Pair], rules: Sequence[Hashable], aside: Collection[Hashable] = ()
) -> set[Pair]:
    """The largest part of `pairs` in the same order on both sides, by rules of the firewall.

    `pairs` are sorted by their second place, and `rules` has the firewall's rule of each. Of two
    parts that are equally large, the one with fewer rules that are `aside` is kept.
    """
    runs = [*_runs(pairs, rules)]
    weights = [len(runs) + 1 + (run.rule not in aside) for run in runs]
    kept = _heaviest([run.pairs[0][0] for run in runs], weights)
    return {pair for place in kept for pair in runs[place].pairs}


def _runs(pairs: Sequence[Pair], rules: Sequence[Hashable]) -> Iterator[_Run]:
    following = dict(pairwise(sorted(old for old, _ in pairs)))
    run: list[Pair] = []
    rule: Hashable = None
    for pair, its_rule in zip(pairs, rules, strict=True):
        if run and its_rule == rule and following.get(run[-1][0]) == pair[0]:
            run.append(pair)
            continue
        if run:
            yield _Run(rule, tuple(run))
        run, rule = [pair], its_rule
    if run:
        yield _Run(rule, tuple(run))


def _heaviest(values: Sequence[int], weights: Sequence[int]) -> list[int]:
    """The places of the heaviest part of `values` in which they only grow.

    `best` is a Fenwick tree over the ranks of values: the heaviest part that ends at each, and its
    last place.
    """
    ranks = {value: rank for rank, value in enumerate(sorted(values), 1)}
    best = [(0, -1)] * (len(values) + 1)
    before: list[int] = []
    end = (0, -1)
    for place, (value, weight) in enumerate(zip(values, weights, strict=True)):
        found, rank = (0, -1), ranks[value] - 1
        while rank:
            found, rank = max(found, best[rank]), rank & (rank - 1)
        before.append(found[1])
        here, rank = (found[0] + weight, place), ranks[value]
        end = max(end, here)
        while rank < len(best):
            best[rank], rank = max(best[rank], here), rank + (rank & -rank)
    kept = []
    place = end[1]
    while place >= 0:
        kept.append(place)
        place = before[place]
    return kept[::-1]

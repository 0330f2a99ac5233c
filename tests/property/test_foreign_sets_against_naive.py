"""Which sets and host endpoints of others our policies select, against a naive reading."""

import random

import pytest

from sync.calico.objects import EntityRule, GlobalNetworkPolicy, Rule
from sync.clusters.cluster import ClusterFacts, Selectable
from sync.reconcile.foreign_selections import foreign_sets
from tests.naive.calico_verdict import selector as naive_selector

KEYS = ("a", "b", "projectcalico.org/namespace", "projectcalico.org/orchestrator")


def some_selector(source: random.Random, depth: int = 3) -> str:
    key, value = source.choice(KEYS), source.choice("12")
    if depth == 0 or source.random() < 0.3:
        return source.choice(
            (
                f"{key} == '{value}'",
                f"{key} != '{value}'",
                f"has({key})",
                f"{key} in {{'1', '{value}'}}",
                f"{key} not in {{'{value}'}}",
                f"{key} starts with '{value}'",
                "all()",
            )
        )
    if source.random() < 0.3:
        return f"!({some_selector(source, depth - 1)})"
    sign = source.choice(("&&", "||"))
    return f"({some_selector(source, depth - 1)}) {sign} ({some_selector(source, depth - 1)})"


def some_labels(source: random.Random) -> dict[str, str]:
    # What has no namespace may not say that it has one.
    return {key: source.choice("12") for key in (*KEYS[:2], KEYS[3]) if source.random() < 0.4}


@pytest.mark.parametrize("seed", range(300))
def test_it_selects_as_calico_does(seed: int) -> None:
    source = random.Random(seed)
    entities = [
        EntityRule(some_selector(source), namespace_selector=source.choice(("", "global()")))
        if source.random() < 0.6
        else EntityRule(not_selector=some_selector(source))
        for _ in range(3)
    ]
    rules = tuple(Rule("Pass", source=each) for each in entities)
    policy = GlobalNetworkPolicy("fw.x", "fw", 1, "z == '1'", ingress=rules).manifest()
    others = [
        Selectable("NetworkSet", f"shop/{number}", some_labels(source))
        if source.random() < 0.3
        else Selectable("HostEndpoint", str(number), some_labels(source))
        for number in range(8)
    ]
    wanted = {("GlobalNetworkPolicy", "fw.x"): policy}
    blockers, _ = foreign_sets((wanted,), {}, wanted, ClusterFacts(selectable=(*others,)))

    def selected(each: Selectable) -> bool:
        labels = dict(each.labels)
        if each.kind == "NetworkSet":
            labels["projectcalico.org/namespace"] = "shop"
        return any(
            naive_selector(entity.selector or entity.not_selector)(labels)
            and not (entity.namespace_selector and "projectcalico.org/namespace" in labels)
            for entity in entities
        )

    expected = sum(map(selected, others))
    said = [each.message for each in blockers]
    assert bool(said) == bool(expected)
    if said:
        assert said[0].startswith(f"{expected} object")

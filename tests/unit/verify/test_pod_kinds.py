"""The kinds of pods that selectors tell apart, and the boxes of flows between them."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.verify.flow_boxes import FlowBox, joined, received, sent
from sync.verify.packet_space import Box
from sync.verify.pod_kinds import MOST, PodKinds, Zoning, pod_kinds
from sync.verify.profiles import UnreadableError
from sync.verify.selectors import selector
from sync.verify.traffic_space import TrafficSpace

NO_ZONES = Zoning("zone", frozenset(), lambda _: "")


def policy(*selectors: str) -> Mapping[str, Any]:
    rules = [{"action": "Pass", "destination": {"selector": each}} for each in selectors]
    spec = {"selector": "all()", "egress": rules}
    return {"kind": "GlobalNetworkPolicy", "metadata": {"name": "p"}, "spec": spec}


def kinds_of(*selectors: str) -> PodKinds:
    return pod_kinds([policy(*selectors)], NO_ZONES)


def judged(found: PodKinds, text: str) -> set[bool]:
    return {selector(text).matches(labels) for kind in found.kinds for labels in kind.labels}


def test_each_combination_that_selectors_tell_apart_is_a_kind() -> None:
    assert len(kinds_of("app == 'web'", "team == 'a'").kinds) == 4
    assert len(kinds_of("app == 'web'", "has(app)").kinds) == 3
    # Labels that count only together are two kinds, not four.
    found = kinds_of("app == 'web' && team == 'a'")
    assert sorted(len(kind.labels) for kind in found.kinds) == [1, 3]


def test_values_that_no_test_tells_apart_are_alike() -> None:
    found = kinds_of("app in {'web', 'shop'}")
    assert len(found.kinds) == 2
    assert set(found.alike.values()) == {("shop", "web")}


@pytest.mark.parametrize(
    "text",
    [
        "app starts with 'a' && app ends with 'b'",
        "app starts with 'a' && !(app contains 'x')",
        "app contains 'x' && app contains 'y' && !(app == 'xy')",
        "app starts with 'ab' && app ends with 'ba' && app != 'aba'",
        "has(app) && !(app starts with 'a')",
    ],
)
def test_content_that_can_be_is_found(text: str) -> None:
    assert judged(kinds_of(text), text) == {True, False}


def test_what_no_pod_can_have_is_no_kind() -> None:
    assert judged(kinds_of("app == 'a' && app == 'b'"), "app == 'a' && app == 'b'") == {False}
    every = "has(projectcalico.org/namespace) && projectcalico.org/orchestrator == 'k8s'"
    assert judged(kinds_of(every), every) == {True}


def test_sets_alone_tell_no_pods_apart() -> None:
    rule = {"destination": {"selector": "set == 'x'", "namespaceSelector": "global()"}}
    document = policy()
    document["spec"]["egress"].append({"action": "Pass", **rule})
    assert len(pod_kinds([document], NO_ZONES).kinds) == 1


def test_too_many_combinations_are_refused() -> None:
    many = [f"key{number} == 'x'" for number in range(MOST.bit_length())]
    with pytest.raises(UnreadableError, match="tell pods apart by more than"):
        kinds_of(*many)


# --- boxes ----------------------------------------------------------------------------------------

SPACE = TrafficSpace(())
POINTS = [*product((1, 2, 4), (1, 2, 4), range(3))]


@given(st.sets(st.sampled_from(POINTS)), st.booleans())
def test_joined_boxes_hold_the_same_flows_and_no_two_could_be_one(
    points: set[tuple[int, int, int]], sending: bool
) -> None:
    turn = sent if sending else received
    boxes = [
        turn(Box(4, (at, at + 1), far, (7, 8), SPACE.everything[4]), near)
        for near, far, at in sorted(points)
    ]
    found = joined(boxes, SPACE)
    assert {each for box in found for each in flows_in(box, sending)} == points
    assert sum(len([*flows_in(box, sending)]) for box in found) == len(points)
    for one, other in product(found, found):
        alike = sum(a == b for a, b in zip(one, other, strict=True))
        assert one is other or alike < len(FlowBox._fields) - 1


def flows_in(box: FlowBox, sending: bool) -> list[tuple[int, int, int]]:
    near, far = (box.source, box.destination) if sending else (box.destination, box.source)
    return [
        (bit, other, at)
        for bits, held in near
        for bit in (1, 2, 4)
        if bit & bits
        for at in range(3)
        if sum(bound <= at for bound in held.v4) % 2
        for others, _ in far
        for other in (1, 2, 4)
        if other & others
    ]

"""The second reading of Calico's objects agrees with the slow one, flow by flow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.calico.selectors import problem
from sync.verify import single_flow
from sync.verify.selectors import selector
from sync.verify.single_flow import Flows
from sync.verify.traffic_space import Packet
from tests.naive import calico_verdict
from tests.naive.flows import End
from tests.property.test_translation_property import judged


@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("seed", range(100, 120))
def test_both_readings_give_the_same_verdicts(seed: int, tame: bool) -> None:
    one = judged(seed, tame=tame)
    documents = [manifest.document() for manifest in one.translated.manifests.values()]
    ends: dict[End, single_flow.FlowEnd] = {}

    def end(of: End) -> single_flow.FlowEnd:
        if of not in ends:
            labels = calico_verdict.labels_of(of.pod) if of.pod else None
            ends[of] = single_flow.FlowEnd(str(of), (of.family, of.address), labels)
        return ends[of]

    asked = [
        (
            flow,
            single_flow.Flow(
                end(flow.source),
                end(flow.destination),
                Packet(flow.protocol, flow.source_port, flow.port, flow.icmp),
            ),
        )
        for flow in one.case.flows
    ]
    # Every pod of the world counts: a selector asks about whoever has an address.
    written = Flows(documents, [*ends.values(), *map(end, one.case.world)])
    slow = calico_verdict.Calico(documents, one.case.world, staged=False)
    for flow, same in asked:
        expected, found = slow.verdict(flow), written.verdict(same)
        assert found.allowed == expected.allow, (seed, str(flow), expected, found)
        if found.rule:
            assert found.where in expected.by


KEYS = ["a", "b.c/d", "not", "in"]
TEXTS = ["x", "it's", "", "} && has(a)"]


PIECES = [
    *("a", "b.c/d", "not", "in", "not in", "notin", "has(", "all()", "(", ")", "!", "&&", "||"),
    *("==", "!=", "contains", "starts with", "startswith", "ends  with", "{", "}", ",", " ", "\t"),
    *("'x'", '"it\'s"', "'}'", "{'a}'}", "has(a)", "a in {'a', '}'}", "b.c/d not in {}"),
]


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


strings = st.sampled_from(TEXTS).map(_quoted)
keys = st.sampled_from(KEYS[:2])
terms = st.one_of(
    st.just("all()"),
    keys.map("has({})".format),
    st.builds(
        "{} {} {}".format,
        keys,
        st.sampled_from(["==", "!=", "contains", "starts with", "ends with"]),
        strings,
    ),
    st.builds(
        "{} {} {{{}}}".format,
        keys,
        st.sampled_from(["in", "not in"]),
        st.lists(strings, max_size=3).map(", ".join),
    ),
)
texts = st.recursive(
    terms,
    lambda inner: st.one_of(
        inner.map("({})".format),
        inner.map("!({})".format),
        terms.map("!{}".format),
        st.builds("{} && {}".format, inner, inner),
        st.builds("{} || {}".format, inner, inner),
    ),
    max_leaves=8,
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_whatever_may_be_written_as_a_selector_is_read_as_one(text: str) -> None:
    if problem(text) is None and "global(" not in text:
        selector(text).matches({"a": "x"})


@given(texts, st.dictionaries(keys, st.sampled_from(TEXTS)))
def test_both_readings_of_a_selector_agree(text: str, labels: dict[str, str]) -> None:
    assert selector(text).matches(labels) == calico_verdict.selector(text)(labels)

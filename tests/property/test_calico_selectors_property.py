"""The recogniser against a grammar that makes selectors and one that reduces them."""

from hypothesis import given
from hypothesis import strategies as st

from sync.calico import selectors

spaces = st.sampled_from(["", " ", "\t", "  "])
keys = st.text("abzAZ09_./-", min_size=1, max_size=8)
strings = st.one_of(
    st.text(max_size=5).map(lambda text: "'" + text.replace("'", "") + "'"),
    st.text(max_size=5).map(lambda text: '"' + text.replace('"', "") + '"'),
)
comparisons = st.builds(
    "{0} {1}{2}{3}".format,
    keys,
    st.sampled_from(["==", "!=", "contains", "starts with", "startswith", "ends with"]),
    spaces,
    strings,
)
memberships = st.builds(
    lambda key, operator, space, members: f"{key} {operator}{space}{{{','.join(members)}}}",
    keys,
    st.sampled_from(["in", "not in", "notin"]),
    spaces,
    st.lists(strings, max_size=3),
)
terms = st.one_of(
    st.sampled_from(["all()", "global()", "all( )"]),
    st.builds("has({1}{0}{1})".format, keys, spaces),
    comparisons,
    memberships,
)
grammatical = st.recursive(
    terms,
    lambda inner: st.one_of(
        st.builds("!{1}{0}".format, inner, spaces),
        st.builds("({1}{0}{1})".format, inner, spaces),
        st.builds("{0}{2}&&{2}{1}".format, inner, inner, spaces),
        st.builds("{0}{2}||{2}{1}".format, inner, inner, spaces),
    ),
    max_leaves=8,
)


@given(grammatical)
def test_whatever_the_grammar_makes_is_recognised(selector: str) -> None:
    assert selectors.problem(selector) is None


@given(st.lists(st.sampled_from(["T", "!", "(", ")", "&"]), max_size=12))
def test_the_shape_of_an_expression_is_judged_as_by_rewriting_it(tokens: list[str]) -> None:
    selector = " ".join({"T": "a == 'b'", "&": "&&"}.get(token, token) for token in tokens)
    assert (selectors.problem(selector) is None) == (_reduced("".join(tokens)) == "T")


def _reduced(shape: str) -> str:
    while True:
        smaller = shape.replace("!T", "T").replace("(T)", "T").replace("T&T", "T")
        if smaller == shape:
            return shape
        shape = smaller


@given(st.text("ab='\"{}()!&|, \tinot", max_size=30))
def test_any_text_gets_a_verdict_and_a_place_within_it(text: str) -> None:
    problem = selectors.problem(text)
    assert problem is None or 0 <= problem.position <= len(text)


@given(keys, st.text(max_size=20))
def test_what_the_builders_make_is_recognised(key: str, value: str) -> None:
    assert selectors.problem(selectors.has(key)) is None
    if not ("'" in value and '"' in value):
        assert selectors.problem(selectors.equals(key, value)) is None

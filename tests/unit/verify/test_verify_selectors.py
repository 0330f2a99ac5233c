"""What the second reading takes for a selector, and what it refuses."""

import pytest

from sync.verify.selectors import selector


@pytest.mark.parametrize(
    ("text", "selects"),
    [
        ("!has(a) || b == '1' && has(c)", True),
        ("(!has(a) || b == '1') && has(c)", False),
        ("!(b == '1') || has(c)", False),
        ("! ! b == '1'", True),
        ("b != '2' && a != '2'", True),
        ("a not in {'1'} && b notin {'2'} && b in {'1', '2',}", True),
        ("b starts with '1' && b startswith '' && b ends with '1'", True),
        ("a contains ''", False),
        ("b in {'}', '1'} && b in {\"it's {\", \"1\"}", True),
    ],
)
def test_it_binds_and_compares_as_calico_does(text: str, selects: bool) -> None:
    assert selector(text).matches({"b": "1"}) == selects


@pytest.mark.parametrize(
    "text",
    ["", "a", "a ==", "a == 1", "has(a", "has(a))", "(has(a)", "has(a) has(b)", "&& has(a)",
     "has(a) &&", "!", "()", "global()", "a in {'1'"],
)  # fmt: skip
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a selector"):
        selector(text)


def test_no_depth_is_too_deep() -> None:
    deep = f"{'!(' * 5000}has(a){')' * 5000}"
    assert not selector(deep).matches({})

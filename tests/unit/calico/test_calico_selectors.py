"""Calico's selector grammar."""

import pytest

from sync.calico import selectors


@pytest.mark.parametrize(
    "selector",
    [
        "all()",
        "all( )",
        "global()",
        "has(app)",
        "has( calico/k8s_NS-.1/role )",
        "app == 'web'",
        'app=="it\'s"',
        "app != ''",
        "app in {'a', \"b\"}",
        "app in{'a'}",
        "app in {}",
        "app in { 'a' , }",
        "app not in {'a'}",
        "app notin {'a'}",
        "app contains 'x'",
        "app contains'x'",
        "app starts with 'x'",
        "app startswith 'x'",
        "app ends \t with 'x'",
        "contains contains 'contains'",
        "has == 'x'",
        "all == 'x' && global != 'y' && in in {'z'}",
        "!has(app)",
        "!!(!all())",
        "a == 'b'&&c == 'd'||!has(e)",
        "\t((a == 'b') || (has(c) && !(d in {'e'}))) ",
        "projectcalico.org/orchestrator == 'k8s' && (firewall.tigera.io/zone == 'web')",
        "k" * 512 + " == 'x'",
    ],
)
def test_a_selector_of_calico_is_recognised(selector: str) -> None:
    assert selectors.problem(selector) is None


@pytest.mark.parametrize(
    ("selector", "position"),
    [
        ("", 0),
        ("  ", 2),
        ("app", 3),
        ("app = 'web'", 4),
        ("app == web", 7),
        ("app == 'web", 7),
        ("app == 'web\\'s'", 13),
        ("app == 'web' &", 13),
        ("app == 'web' && ", 16),
        ("app == 'web' has(b)", 13),
        ("app in 'web'", 7),
        ("app in {,}", 7),
        ("app in {'a' 'b'}", 7),
        ("app in {'a',,}", 7),
        ("app in ('a')", 7),
        ("app inside {'a'}", 4),
        ("appcontains 'x'", 12),
        ("app starts 'x'", 4),
        ("app squiggles 'x'", 4),
        ("has (app)", 4),
        ("has()", 3),
        ("has(a b)", 3),
        ("all", 3),
        ("all(x)", 3),
        ("!", 1),
        ("!= 'a'", 1),
        ("()", 1),
        ("(all()", 6),
        ("all())", 5),
        ("(a == 'b'", 9),
        ("app ==\n'web'", 6),
        ("app == 'web'\n", 12),
        ("k" * 513 + " == 'x'", 0),
        ("äpp == 'x'", 0),
        ("label_1$ == 'x'", 7),
    ],
)
def test_anything_else_is_a_problem_at_its_position(selector: str, position: int) -> None:
    problem = selectors.problem(selector)
    assert problem is not None
    assert problem.position == position


SOME, MANY = 100_000, 3_000_000


@pytest.mark.parametrize(
    ("hostile", "whole"),
    [
        ("(" * SOME, False),
        ("(" * SOME + "all()" + ")" * SOME, True),
        ("!" * SOME, False),
        ("a" * MANY, False),
        ("a in {" + "'x'," * MANY, False),
        ("a in {'x'" + " " * MANY, False),
        ("a == '" + "x" * MANY, False),
        ("starts" + " starts" * MANY, False),
        (" " * MANY, False),
    ],
    ids=["open", "nested", "not", "key", "set", "spaces in a set", "string", "words", "spaces"],
)
def test_hostile_input_costs_linear_time_and_no_stack(hostile: str, whole: bool) -> None:
    """Were it the square of that, the test would not end before its time is up."""
    assert (selectors.problem(hostile) is None) == whole


def test_a_value_is_quoted_with_the_quote_that_it_does_not_hold() -> None:
    assert selectors.equals("app", "web") == "app == 'web'"
    assert selectors.equals("app", "it's") == 'app == "it\'s"'
    assert selectors.has("firewall.tigera.io/zone") == "has(firewall.tigera.io/zone)"


@pytest.mark.parametrize("value", ["'\"", "a global() b"])
def test_a_value_that_cannot_be_quoted_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be a value"):
        selectors.equals("app", value)


@pytest.mark.parametrize("key", ["", "a b", "a)", "k" * 513, "key\n"])
def test_a_key_that_is_no_label_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="cannot be a label"):
        selectors.has(key)
    with pytest.raises(ValueError, match="cannot be a label"):
        selectors.equals(key, "x")


def test_one_of_several_values_is_a_set_and_of_one_an_equality() -> None:
    assert selectors.one_of("a/b", ["x"]) == "a/b == 'x'"
    assert selectors.one_of("a/b", ["x", "it's"]) == "a/b in {'x', \"it's\"}"
    assert selectors.problem(selectors.one_of("a/b", ["x", "it's"])) is None
    with pytest.raises(ValueError, match="quotes"):
        selectors.one_of("a", ["x", "'\""])

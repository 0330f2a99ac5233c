"""The filter of dynamic address groups: what it means, and where it goes wrong."""

from itertools import product

import pytest

from sync.firewall.tag_filter import parse

TAGS = ("a", "b", "c")


def truth(text: str) -> list[bool]:
    """The answers for every combination of the three tags."""
    read = parse(text)
    return [
        read.matches({tag for tag, there in zip(TAGS, held, strict=True) if there})
        for held in product((False, True), repeat=3)
    ]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("'a'", "a"),
        ("a", "a"),
        (" 'a' ", "a"),
        ("'a' and 'b'", "a and b"),
        ("'a' or 'b'", "a or b"),
        ("'a' or 'b' and 'c'", "a or (b and c)"),
        ("'a' and 'b' or 'c'", "(a and b) or c"),
        ("('a' or 'b') and 'c'", "(a or b) and c"),
        ("not 'a'", "not a"),
        ("not 'a' and 'b'", "(not a) and b"),
        ("not ('a' and 'b')", "not (a and b)"),
        ("not not 'a'", "a"),
        ("'a' and not 'b' or not 'c'", "(a and not b) or not c"),
        ("'a' AND 'b' Or 'c'", "(a and b) or c"),
        ("NOT a", "not a"),
        ("('a'and'b')or'c'", "(a and b) or c"),
        ("((a))", "a"),
        ("not(a)or(b)", "(not a) or b"),
        ("'a'\n\tand\n'b'", "a and b"),
        ("a or b or c", "a or b or c"),
    ],
)
def test_operators_bind_as_pan_os_says(text: str, meaning: str) -> None:
    expected = [
        eval(meaning, {"a": a, "b": b, "c": c}) for a, b, c in product((False, True), repeat=3)
    ]
    assert truth(text) == expected


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        (
            "'guestos.Ubuntu Linux 64-bit' and 'annotation.ftp'",
            {"guestos.Ubuntu Linux 64-bit", "annotation.ftp"},
        ),
        ("'and' or 'not'", {"and", "not"}),
        ("'a (b)' and 'R&D'", {"a (b)", "R&D"}),
        ("k8s.io/app_1-x", {"k8s.io/app_1-x"}),
        ("android or order", {"android", "order"}),
        ("'Ä'", {"Ä"}),
        ("a and a", {"a"}),
    ],
)
def test_tags_are_read_whole(text: str, tags: set[str]) -> None:
    assert parse(text).tags == tags


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("''", "an empty tag at character 1"),
        ("a or '  '", "an empty tag at character 6"),
        ("and", "a tag is missing before 'and' at character 1"),
        ("a and or b", "a tag is missing before 'or' at character 7"),
        ("a and", "it ends where a tag should follow"),
        ("a and not", "it ends where a tag should follow"),
        ("not", "it is empty"),
        ("a b", "'and' or 'or' is missing at character 3"),
        ("'a''b'", "'and' or 'or' is missing at character 4"),
        ("a'b'", "'and' or 'or' is missing at character 2"),
        ("a not b", "'and' or 'or' is missing at character 3"),
        ("a (b)", "'and' or 'or' is missing at character 3"),
        ("()", "a tag is missing before ')' at character 2"),
        ("(a", "'(' at character 1 is never closed"),
        ("a and (b or (c)", "'(' at character 7 is never closed"),
        ("a)", "')' at character 2 closes nothing"),
        ("a or 'b", 'unexpected "\'" at character 6'),
        ('"a"', "unexpected '\"' at character 1"),
        ("a and )", "a tag is missing before ')' at character 7"),
    ],
)
def test_an_error_names_its_character(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert str(refused.value) == problem


def test_depth_does_not_matter() -> None:
    depth = 20_000
    assert parse("(" * depth + "a" + ")" * depth).matches({"a"})
    assert parse("not " * depth + "a").matches({"a"})
    long = parse(" or ".join(f"'{number}'" for number in range(depth)))
    assert long.matches({str(depth - 1)})
    assert not long.matches({"a"})

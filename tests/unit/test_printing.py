"""What a terminal is given of texts that others write."""

import json

from sync.text import printable, printable_json, printable_lines, shortened

HIDDEN = r"#\x23"
ODD = "a\x7f\x9b\u202e\u2028\U000e0001é😀"


def test_json_holds_nothing_that_a_terminal_obeys_and_says_the_same() -> None:
    document = json.dumps({"name": ODD}, indent=2, ensure_ascii=False).encode()
    shown = printable_json(document).decode()
    assert json.loads(shown) == {"name": ODD}
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "é😀" in shown


def test_no_text_gives_a_command_to_the_pipeline_that_logs_it() -> None:
    for command in ("##vso[task.setvariable variable=a]b", "##[error]c", "##teamcity[message]"):
        assert printable(f"rule '{command}'") == f"rule '{command.replace('##', HIDDEN)}'"
        shown = printable_json(json.dumps([command]).encode()).decode()
        assert "##" not in shown
        assert json.loads(shown) == [command]
    assert printable("## a heading, ##, # [and a list]") == "## a heading, ##, # [and a list]"


def test_a_name_begins_no_line_of_a_list_of_problems() -> None:
    problems = "zonebridge.yaml has 2 problems:\n  a: is missing\n  ::error::b"
    assert printable_lines(problems) == problems.replace("  ::", r"  \x3a:")
    assert printable_lines("no rule a\n::error::b\x85c\rd") == r"no rule a\n::error::b\x85c\rd"
    assert printable_lines("::error::a") == r"\x3a:error::a"


def test_thousands_of_names_make_one_bounded_line() -> None:
    names = [f"name-{number}" for number in range(5000)]
    said = shortened(names, ", ")
    assert len(said) < 5000
    assert said.endswith(", and more")
    assert set(said.removesuffix(", and more").split(", ")) < set(names)
    assert shortened(names[:2]) == "name-0; name-1"
    assert shortened([]) == ""
    assert len(shortened(["x" * 9999])) < 5000

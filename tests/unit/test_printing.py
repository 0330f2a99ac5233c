"""What a terminal is given of texts that others write."""

import json

from sync.text import printable_json, shortened

ODD = "a\x7f\x9b\u202e\u2028\U000e0001é😀"


def test_json_holds_nothing_that_a_terminal_obeys_and_says_the_same() -> None:
    document = json.dumps({"name": ODD}, indent=2, ensure_ascii=False).encode()
    shown = printable_json(document).decode()
    assert json.loads(shown) == {"name": ODD}
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "é😀" in shown


def test_thousands_of_names_make_one_bounded_line() -> None:
    names = [f"name-{number}" for number in range(5000)]
    said = shortened(names, ", ")
    assert len(said) < 5000
    assert said.endswith(", and more")
    assert set(said.removesuffix(", and more").split(", ")) < set(names)
    assert shortened(names[:2]) == "name-0; name-1"
    assert shortened([]) == ""
    assert len(shortened(["x" * 9999])) < 5000

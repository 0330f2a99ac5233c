"""What a terminal is given of texts that others write."""

import json

from sync.printing import printable_json

ODD = "a\x7f\x9b\u202e\u2028\U000e0001é😀"


def test_json_holds_nothing_that_a_terminal_obeys_and_says_the_same() -> None:
    document = json.dumps({"name": ODD}, indent=2, ensure_ascii=False).encode()
    shown = printable_json(document).decode()
    assert json.loads(shown) == {"name": ODD}
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "é😀" in shown

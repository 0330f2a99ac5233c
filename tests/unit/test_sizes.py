"""Files and functions are of a size that is read at once, or say why they are not."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "sync").rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 400, 50
REASON = "# over 50 lines: "


def too_long(source: str) -> list[str]:
    """The functions over `FUNCTION_LINES` that give no reason in a comment of their own."""
    lines = source.splitlines()
    if len(lines) <= FUNCTION_LINES:
        return []
    return [
        f"{node.name} has {length} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
        if not any(REASON in line for line in lines[node.lineno - 1 : node.end_lineno])
    ]


def test_a_module_is_short_and_its_functions_are_or_say_why_not() -> None:
    sources = {str(each.relative_to(ROOT)): each.read_text(encoding="utf-8") for each in MODULES}
    assert [name for name, each in sources.items() if each.count("\n") > FILE_LINES] == []
    found = {name: too_long(each) for name, each in sources.items()}
    assert {name: long for name, long in found.items() if long} == {}


def test_a_long_function_is_found_unless_it_says_why() -> None:
    long = "def way() -> None:\n" + "    pass\n" * FUNCTION_LINES
    assert too_long(long) == ["way has 51 lines"]
    assert too_long(long.replace("pass", f"pass  {REASON}it is one table.", 1)) == []
    assert too_long(long.replace("    pass\n", "", 1)) == []

"""`docs/check_words.py` finds what the glossary advises against, and nothing in code."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("check_words", ROOT / "docs" / "check_words.py")
assert _SPEC is not None
assert _SPEC.loader is not None
check_words = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(check_words)

BANNED = {"nobody can tell": "unknown", "anew": "again"}


def test_a_phrase_is_found_over_the_end_of_a_line_and_not_in_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Read it `anew`.\nWhat is new,\nnobody\ncan tell.\nAnew!\n")
    assert list(check_words.findings(page, BANNED)) == [
        f"{page}:3: 'nobody can tell'; better: unknown",
        f"{page}:5: 'anew'; better: again",
    ]


def test_each_phrase_of_a_row_of_the_glossary_counts() -> None:
    banned = check_words.advised_against()
    assert banned["nobody can tell"] == banned["nobody knows"] == "unknown"
    assert len(banned) > 10


def test_the_pages_that_are_held_to_it_exist_and_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(list(ROOT.glob(page)) for page in check_words.PAGES)
    assert check_words.main([]) == 0, capsys.readouterr().out

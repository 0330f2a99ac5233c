"""`docs/check_words.py` finds the words that the glossary advises against, and none in code."""

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
    assert banned["nobody can tell"] == banned["nobody knows"] == "unknown; X does not report it"
    assert len(banned) > 10


def test_pages_and_sources_that_are_held_to_it_exist_and_pass(
    capsys: pytest.CaptureFixture[str],
) -> None:
    patterns = (*check_words.PAGES, *check_words.SOURCES)
    assert all(list(ROOT.glob(pattern)) for pattern in patterns)
    assert check_words.main([]) == 0, capsys.readouterr().out


def test_a_changelog_is_not_held_to_it_and_every_other_page_is() -> None:
    pages = {file for page in check_words.PAGES for file in ROOT.glob(page)}
    assert {ROOT / "README.md", *(ROOT / "docs").glob("*.md")} <= pages
    assert check_words.NOT_HELD == ("CHANGELOG.md",)


def test_code_of_a_document_may_say_anything(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```text\nanew\n```\nThe log has `written\nanew` once.\n")
    assert list(check_words.findings(page, BANNED)) == []


def test_docstrings_comments_and_messages_of_python_are_read_and_names_are_not(
    tmp_path: Path,
) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Begin anew."""\n'
        "anew = 1\n"
        "# Whether it works nobody\n"
        "# can tell.\n"
        "def failed(name: str) -> str:\n"
        '    return f"{name}: nobody "  f"can tell"\n'
        'REASON = "made anew"  # words kept: manifests hold it\n'
    )
    assert list(check_words.python_findings([module], BANNED)) == [
        f"{module}:1: 'anew'; better: again",
        f"{module}:6: 'nobody can tell'; better: unknown",
        f"{module}:3: 'nobody can tell'; better: unknown",
    ]

"""docs/architecture.md draws the rooms of import-linter; it and other pages name what exists."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _text(page: str) -> str:
    return (ROOT / page).read_text()


PAGE = _text("docs/architecture.md")
_TOPS = "|".join(re.escape(each.name) for each in ROOT.iterdir() if not each.name.startswith("."))
_PLACE = re.compile(rf"`((?:{_TOPS})(?:/[\w./-]*)?)(?::([\w.]+))?`")
PAGES = (
    *("docs/architecture.md", "docs/glossary.md", "CONTRIBUTING.md", "SECURITY.md"),
    *(f"docs/adr/{each.name}" for each in sorted((ROOT / "docs" / "adr").glob("*.md"))),
)
PLACES = sorted({(page, *each) for page in PAGES for each in _PLACE.findall(_text(page))})


def _layers() -> list[str]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = document["tool"]["importlinter"]["contracts"]
    [layers] = [each["layers"] for each in contracts if each["type"] == "layers"]
    found: list[str] = layers
    return found


def test_the_drawing_is_the_contract_of_the_rooms() -> None:
    [drawn] = re.findall(r"## Rooms\n.*?```text\n(.*?)```", PAGE, re.DOTALL)
    assert [re.split(r" {2,}", line)[0] for line in drawn.splitlines()] == _layers()


def test_each_room_has_one_row_that_says_where_it_begins() -> None:
    rooms = [room for layer in _layers() for room in layer.split(" | ")]
    rows = re.findall(
        r"^\| `(\w+)` \| .+ \| `sync/(\w+)(?:\.py|/[\w./]+\.py):\w+` \|$", PAGE, re.MULTILINE
    )
    assert [row[0] for row in rows] == [row[1] for row in rows]
    assert sorted(row[0] for row in rows) == sorted(rooms)


def test_a_room_is_a_package_or_a_module() -> None:
    found = (each for each in (ROOT / "sync").iterdir() if each.suffix in ("", ".py"))
    there = {each.stem for each in found if not each.name.startswith(("_", "."))}
    drawn = {room for layer in _layers() for room in layer.split(" | ")}
    assert drawn == there


@pytest.mark.parametrize(("page", "path", "name"), PLACES)
def test_what_a_page_names_exists(page: str, path: str, name: str) -> None:
    file = ROOT / path
    assert file.exists(), f"{page} names {path}"
    for part in name.split(".") if name else ():
        defined = rf"^ *(?:(?:async )?def|class) {part}\b|^{part}(?::| =)"
        assert re.search(defined, file.read_text(), re.MULTILINE), f"{page}: no {part} in {path}"


def test_the_readme_leads_to_the_page_and_the_page_names_places() -> None:
    assert len([page for page, _, _ in PLACES if page == "docs/architecture.md"]) > 80
    assert "(docs/architecture.md)" in _text("README.md")
    assert "(CONTRIBUTING.md)" in _text("README.md")


def test_every_decision_is_in_the_list() -> None:
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", _text("docs/adr/README.md"))
    assert listed == sorted(each.name for each in (ROOT / "docs" / "adr").glob("0*.md"))

"""docs/architecture.md draws the rooms that import-linter holds, and names what exists."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
_TOPS = "|".join(re.escape(each.name) for each in ROOT.iterdir() if not each.name.startswith("."))
PLACES = sorted(set(re.findall(rf"`((?:{_TOPS})(?:/[\w./-]*)?)(?::([\w.]+))?`", PAGE)))


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


@pytest.mark.parametrize(("path", "name"), PLACES, ids=lambda value: value or "the file")
def test_what_the_page_names_exists(path: str, name: str) -> None:
    file = ROOT / path
    assert file.exists(), f"docs/architecture.md names {path}"
    for part in name.split(".") if name else ():
        assert re.search(
            rf"^ *(?:(?:async )?def|class) {part}\b|^{part}(?::| =)", file.read_text(), re.MULTILINE
        ), f"docs/architecture.md names {part} in {path}"


def test_the_page_names_places_and_the_readme_leads_to_it() -> None:
    assert len(PLACES) > 80
    readme = (ROOT / "README.md").read_text()
    assert "(docs/architecture.md)" in readme
    assert "(CONTRIBUTING.md)" in readme

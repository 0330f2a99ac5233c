"""The two sides of `zonebridge plan --from … --to …` as they are written."""

from pathlib import Path

import pytest

from sync.cli.comparison import exports
from sync.errors import UsageError


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("a.xml", "a.xml"),
        ("main=a.xml", "a.xml"),
        ("main=main=a.xml", "main=a.xml"),
        ("2026=a.xml", "2026=a.xml"),
        ("./main=a.xml", "./main=a.xml"),
        ("main", "main"),
    ],
)
def test_the_only_source_may_be_left_unnamed(text: str, file: str) -> None:
    assert exports("--from", [text], ["main"]) == {"main": Path(file)}


def test_several_sources_are_named() -> None:
    names = ["main", "lab"]
    assert exports("--to", ["lab=b=c", "main=/d/a.xml"], names) == {
        "lab": Path("b=c"),
        "main": Path("/d/a.xml"),
    }
    assert exports("--to", ["lab=a"], names) == {"lab": Path("a")}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["a.xml"], "--from 'a.xml' names none of the 2 sources; write NAME=FILE"),
        (["lib=a.xml"], "did you mean lab?"),
        (["main"], "--from 'main' names none of the 2 sources"),
        (["main="], "--from 'main=' names no file"),
        (["main=a", "lab=b", "main=a"], "--from names two files for the source main"),
    ],
)
def test_a_side_that_cannot_be_meant_is_refused(given: list[str], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        exports("--from", given, ["main", "lab"])
    assert says in str(refused.value)


def test_a_name_of_no_source_before_a_file_that_is_there_is_a_typo(tmp_path: Path) -> None:
    file = tmp_path / "new.xml"
    file.write_text("<config/>")
    with pytest.raises(UsageError, match="no source is called 'mian'"):
        exports("--to", [f"mian={file}"], ["main"])

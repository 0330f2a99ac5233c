"""What messages and documents tell people to run is there to be run."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from sync.cli.main import zonebridge

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "sync").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

QUOTED = re.compile(r"`zonebridge(?: ([^`]*))?`")
SHELL = re.compile(r"^ {4}(?:\$ )?zonebridge (.*)$", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def said(file: Path) -> Iterator[str]:
    """Every text of a module, whole as it is shown; what is put in at run time is `X`."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    parts = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.value


def words(command: str) -> list[str]:
    """The words of a command, without what a shell makes of its output, and without a comment."""
    lexer = shlex.shlex(re.split(r"\s{2,}| (?:[>|&]|\\\|) ", command)[0], posix=True)
    lexer.whitespace_split = True
    return list(lexer)


def options(command: click.Command) -> set[str]:
    return {
        "--help",
        *(each for one in command.params for each in (*one.opts, *one.secondary_opts)),
    }


def unknown(told: str) -> str:
    """What of a command line is no command and no option of ours; "" if all of it is."""
    command: click.Command = zonebridge
    context = click.Context(zonebridge)
    known = options(zonebridge)
    for word in words(told):
        if word.startswith("-"):
            if word.partition("=")[0] not in known:
                return word
        elif isinstance(command, click.Group) and re.fullmatch("[a-z]+", word):
            found = command.get_command(context, word)
            if found is None:
                return word
            command, known = found, known | options(found)
    return ""


@cache
def known() -> frozenset[str]:
    """The options of all commands."""
    of_commands = (options(command) for _, command in commands())
    return frozenset({"--version"}).union(options(zonebridge), *of_commands)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by its name, those of groups too."""
    context = click.Context(zonebridge)
    for name in zonebridge.list_commands(context):
        command = zonebridge.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {each}", one) for each, one in command.commands.items())


def test_every_command_and_option_that_a_message_names_is_there() -> None:
    found: list[str] = []
    for file in SOURCES:
        for text in said(file):
            for told in QUOTED.findall(text):
                assert not unknown(told), f"{file}: {text}"
                found.append(told)
            for option in OPTION.findall(text):
                assert option in known(), f"{file}: {text}"
    # They are found in messages at all.
    assert {"approve X", "forget X", "sync --cluster X --accept-new-cluster X"} <= set(found)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_every_command_and_option_that_a_document_names_is_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for told in (*QUOTED.findall(text), *SHELL.findall(text)):
        assert not unknown(told.replace("\n", " ")), told


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ("sync --adopt", ""),
        ("--debug …", ""),
        ("--config FILE audit verify --head heads > x", ""),
        ("sink", "sink"),
        ("audit forget", "forget"),
        ("status --adopt", "--adopt"),
    ],
)
def test_a_command_that_is_not_there_is_seen(told: str, wrong: str) -> None:
    assert unknown(told) == wrong


def test_every_command_stands_in_the_list_of_commands() -> None:
    listed = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    first = {row.split("`")[1].split()[0] for row in listed.splitlines() if row.startswith("| `")}
    assert {name.split()[0] for name, _ in commands()} <= first


def test_every_file_that_a_document_names_is_there() -> None:
    rooms = "|".join(each.name for each in ROOT.iterdir() if each.is_dir())
    named = re.compile(rf"`((?:{rooms})/[\w./-]+)`")
    found = [(page.name, path) for page in DOCUMENTS for path in named.findall(page.read_text())]
    assert any(path.startswith("tests/") for _, path in found)
    assert [each for each in found if not (ROOT / each[1]).exists()] == []

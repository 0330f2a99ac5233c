"""Escape text from configurations that others write, for terminals, JSON and Markdown."""

import re
import textwrap
from collections.abc import Iterable
from typing import Final

_PERHAPS: Final = re.compile(r"[^\n -~]")
_LENGTH: Final = 4096
# Azure Pipelines (`##vso[`), TeamCity and older runners of GitHub obey these anywhere in a line,
# GitHub Actions `::name` at its beginning: docs.github.com, "Workflow commands".
_COMMAND: Final = re.compile(r"##(?=[A-Za-z]*\[)")
_FIRST_COMMAND: Final = re.compile(r"^( *)::")


def printable(value: str) -> str:
    """Escape everything in a text that a terminal, or a pipeline that logs it, would interpret."""
    if not value.isprintable():
        value = "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode() for each in value
        )
    return _COMMAND.sub(r"#\\x23", value)


def printable_lines(value: str) -> str:
    """Escape as `printable`, but keep line breaks that two spaces follow: lists of problems.

    Names do not begin lines elsewhere; here one might, so what GitHub Actions obeys is escaped too.
    """
    lines = (printable(each) for each in re.split(r"\n(?=  )", value))
    return "\n".join(_FIRST_COMMAND.sub(r"\1\\x3a:", each) for each in lines)


def printable_json(document: bytes) -> bytes:
    """Escape in JSON what a terminal or a pipeline would interpret, or show out of order.

    Line breaks between lines stay; inside strings JSON escapes them itself.
    """
    text = _COMMAND.sub(r"#\\u0023", document.decode())
    return _PERHAPS.sub(lambda found: _escaped(found[0]), text).encode()


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    units = letter.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def wrapped(text: str, width: int) -> str:
    """Break long lines between words; a word, and so a name, is never cut.

    What follows is indented by four more than its line; an item below it has two more.
    """
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip(" "))]
        lines += (
            [line]
            if len(line) <= width
            else textwrap.wrap(
                line,
                width,
                initial_indent="",
                subsequent_indent=f"{indent}    ",
                break_long_words=False,
                break_on_hyphens=False,
                replace_whitespace=False,
                expand_tabs=False,
            )
        )
    return "\n".join(lines)


def counted(number: int, what: str) -> str:
    """Render a count with its noun: `1 rule`, `1,200 rules`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def shortened(parts: Iterable[str], between: str = "; ") -> str:
    """Join clauses or names to a text of bounded length; it ends in "and more" if cut."""
    text = between.join(parts)
    if len(text) <= _LENGTH:
        return text
    return f"{text[:_LENGTH].rpartition(between)[0] or text[:_LENGTH]}{between}and more"


def markdown_escaped(value: str) -> str:
    """Escape a text so that Markdown shows it as it is."""
    return "".join(
        f"\\{each}" if each in r"\`*_{}[]()#+-.!|<>&~$" else each for each in printable(value)
    )

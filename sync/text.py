"""Text from configurations that others write, made safe for whoever reads it."""

import re
from collections.abc import Iterable
from typing import Final

_PERHAPS: Final = re.compile(r"[^\n -~]")
_LENGTH: Final = 4096


def printable(value: str) -> str:
    """A text without anything a terminal would obey."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in value
    )


def printable_json(document: bytes) -> bytes:
    """The same JSON, in which what a terminal would obey, or show out of order, is escaped.

    Line breaks between lines stay; inside of texts JSON itself escapes them.
    """
    text = document.decode()
    return _PERHAPS.sub(lambda found: _escaped(found[0]), text).encode()


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    units = letter.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def counted(number: int, what: str) -> str:
    """`1 rule`, `1,200 rules`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def shortened(parts: Iterable[str], between: str = "; ") -> str:
    """Clauses or names as one text of bounded length; it says so where some are left away."""
    text = between.join(parts)
    if len(text) <= _LENGTH:
        return text
    return f"{text[:_LENGTH].rpartition(between)[0] or text[:_LENGTH]}{between}and more"


def markdown_escaped(value: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(
        f"\\{each}" if each in r"\`*_{}[]()#+-.!|<>&~$" else each for each in printable(value)
    )

"""Text from configurations that others write, made safe for whoever reads it."""


def printable(value: str) -> str:
    """A text without anything a terminal would obey."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in value
    )


def counted(number: int, what: str) -> str:
    """`1 rule`, `1,200 rules`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def markdown_escaped(value: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(
        f"\\{each}" if each in r"\`*_{}[]()#+-.!|<>&~$" else each for each in printable(value)
    )

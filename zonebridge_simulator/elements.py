"""Elements of XML, as text."""

from xml.sax.saxutils import escape, quoteattr


def tag(name: str, *inner: str) -> str:
    """An element around XML."""
    return f"<{name}>{''.join(inner)}</{name}>"


def text(name: str, value: str) -> str:
    """An element around text."""
    return tag(name, escape(value))


def entry(name: str, *inner: str) -> str:
    return f"<entry name={quoteattr(name)}>{''.join(inner)}</entry>"

"""Redact what servers answer before it is quoted in errors, logs and records.

Some of these are kept permanently. A server, or a proxy before it, may echo the request with its
credentials, or answer with an HTML page or with control sequences of terminals.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Iterator
from html import escape
from typing import Final
from urllib.parse import quote

LONGEST: Final = 200
"""The most characters that are quoted of an answer."""

_READ: Final = 8_000  # characters that are searched
_SHORTEST: Final = 3  # characters of a secret: shorter ones occur in any text
_HIDDEN: Final = "[hidden]"

_NAMED: Final = (
    r"(?:[\w-]*(?:token|passw(?:or)?d|passphrase|secret|api[-_]?key|private[-_]?key|pan-key|phash)"
    r"|authorization|cookie|set-cookie|credentials?|key|pwd)"
)
_VALUE: Final = r"""(?:\\*"[^"]*"?|\\*'[^']*'?|[^\s"',;&<>]+)"""

_SECRETS: Final = (
    re.compile(r"-----BEGIN [^-]{1,60}-----.*?(?:-----END [^-]{1,60}-----|\Z)", re.DOTALL),
    re.compile(r"(?i)\b(?:bearer|basic|negotiate)(?:\s|%20|\+)+[^\s\"',;<>]+"),
    re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*)*"),  # JSON Web Tokens
    re.compile(r"(?<=://)[^\s/@]+(?=@)"),
    re.compile(rf"(?i)<{_NAMED}\b[^<>]*>[^<]*"),
    re.compile(rf"(?i)\b{_NAMED}\\*[\"']?\s*(?:[:=]|%3[ad])\s*{_VALUE}"),
)
_LONG: Final = re.compile(r"[A-Za-z0-9+/_=~-]{32,}")
_SCRIPT: Final = re.compile(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)")
# HTML tags and comments, and Python's default representation of objects.
_TAG: Final = re.compile(r"<[A-Za-z_/!?][^<>]*(?:>|\Z)")
_OBJECT: Final = re.compile(r"\bat 0x[0-9a-fA-F]+>?:?")


def redact(text: object, secrets: Collection[str] = ()) -> str:
    """Reduce a server's text to one line of at most `LONGEST` printable characters.

    Removes everything that looks like a credential, the `secrets` that the server was sent, in any
    encoding that it may echo, and HTML tags. Bytes are decoded as UTF-8.
    """
    raw = text[: 4 * _READ].decode(errors="replace") if isinstance(text, bytes) else str(text)
    found = _plain(raw[: 2 * _READ])
    if len(raw) > _READ:
        # A secret that is cut in the middle would no longer be recognized.
        found = found[:_READ].rpartition(" ")[0]
    for secret in sorted({form for each in secrets for form in _forms(each)}, key=len)[::-1]:
        found = found.replace(secret, _HIDDEN)
    found = _hidden(found)
    found = _LONG.sub(_unless_random, found)
    for pattern in (_SCRIPT, _TAG, _TAG, _OBJECT):
        found = pattern.sub(" ", found)
    found = " ".join(found.split()).lstrip(": ")
    return found if len(found) <= LONGEST else f"{found[: LONGEST - 1]}…"


def redact_lines(text: str) -> str:
    """Redact a library's error text, which may have several lines; the last ones matter most.

    Paths, names, and whatever does not look like a credential stay as they are.
    """
    cut = text[-2 * _READ :].partition(" ")[2] if len(text) > 2 * _READ else text
    return _hidden(cut)


def _hidden(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(f" {_HIDDEN} ", text)
    return text


def _plain(text: str) -> str:
    """Reduce a text to printable characters and single spaces.

    Other characters are deleted: a secret split by invisible ones would escape the search.
    """
    spaced = " ".join(text.split())
    return spaced if spaced.isprintable() else "".join(filter(str.isprintable, spaced))


def _forms(secret: str) -> Iterator[str]:
    """Yield the encodings in which a server may echo a secret."""
    plain = _plain(secret)
    if len(plain) >= _SHORTEST:
        yield from (plain, quote(plain), quote(plain, safe=""), escape(plain))
        yield b64encode(secret.encode()).decode().rstrip("=")


def _unless_random(found: re.Match[str]) -> str:
    """Hide a long word that looks random: names and digests use one case, keys use both."""
    word = found[0]
    mixed = any(map(str.islower, word)) and any(map(str.isupper, word))
    return _HIDDEN if mixed and any(map(str.isdigit, word)) else word

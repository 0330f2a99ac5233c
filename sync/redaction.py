"""What a server says, made fit for errors, logs and records, some of which are kept for ever.

A server, or a proxy before it, may echo what was sent to it, answer with a page for people, or
with whatever a terminal obeys. All that is quoted of it goes through `redact`.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Iterator
from html import escape
from typing import Final
from urllib.parse import quote

LONGEST: Final = 200
"""Characters that are left of what a server says."""

_READ: Final = 8_000  # characters that are looked at
_SHORTEST: Final = 3  # characters of a secret: anything holds shorter ones
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
# Tags, comments, and what Python says of objects that say nothing of themselves.
_TAG: Final = re.compile(r"<[A-Za-z_/!?][^<>]*(?:>|\Z)")
_OBJECT: Final = re.compile(r"\bat 0x[0-9a-fA-F]+>?:?")


def redact(text: object, secrets: Collection[str] = ()) -> str:
    """What a server says, on one line: at most `LONGEST` characters that a terminal only shows.

    Without anything that looks like a credential, and without `secrets`, those that it was sent,
    in whatever form it gives them back; without tags of HTML. Bytes are taken for UTF-8.
    """
    raw = text[: 4 * _READ].decode(errors="replace") if isinstance(text, bytes) else str(text)
    found = _plain(raw[: 2 * _READ])
    if len(raw) > _READ:
        # What is cut in the middle may be a secret that would not be known for one any more.
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
    """The same for what a library says of its own failure: several lines, of which the last count.

    Paths and names stay as they are, and what is no credential by its name or its form.
    """
    cut = text[-2 * _READ :].partition(" ")[2] if len(text) > 2 * _READ else text
    return _hidden(cut)


def _hidden(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(f" {_HIDDEN} ", text)
    return text


def _plain(text: str) -> str:
    """A text of printable characters and single spaces.

    The others go without a trace: what is taken apart by them would be no secret to the eye alone.
    """
    spaced = " ".join(text.split())
    return spaced if spaced.isprintable() else "".join(filter(str.isprintable, spaced))


def _forms(secret: str) -> Iterator[str]:
    """How a secret may come back, as far as a program can tell."""
    plain = _plain(secret)
    if len(plain) >= _SHORTEST:
        yield from (plain, quote(plain), quote(plain, safe=""), escape(plain))
        yield b64encode(secret.encode()).decode().rstrip("=")


def _unless_random(found: re.Match[str]) -> str:
    """What is left of a long word: names and digests keep to one case, keys do not."""
    word = found[0]
    mixed = any(map(str.islower, word)) and any(map(str.isupper, word))
    return _HIDDEN if mixed and any(map(str.isdigit, word)) else word

"""The responses of a Panorama's XML API: a success, or an error by its kind.

Of an answer, an error quotes its message alone, without secrets.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import urllib3
from lxml import etree

from sync.errors import SourceError
from sync.firewall.parse.document import xml_of
from sync.redaction import redact
from sync.sources.panorama.errors import (
    NoSuchNodeError,
    PanoramaError,
    PassiveError,
    RefusedError,
    RefusedKeyError,
    RefusedNowError,
    StartingError,
    UnauthenticatedError,
    UnavailableError,
)
from sync.transport.errors import may_pass
from sync.transport.failures import retry_after

_LONGEST_WAIT: Final = 60.0

# Internal errors; the vendor's API guide, "PAN-OS XML API error codes".
_INTERNAL: Final = frozenset({"2", "3", "4", "5", "11", "21"})
_UNAUTHORIZED: Final = frozenset({"16", "22", "403"})
_NO_RIGHT: Final = "16"
_NO_SUCH_USER: Final = ("unauth", "noauth")  # statuses instead of "error"
_DENIED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
# Messages about a key or a password that it does not know.
_BAD_KEY: Final = ("invalid credential", "session timed out", "invalid api key")
_RENEW: Final = "renew the API key or the password"
_ROLE: Final = (
    "give the role of its user the XML API's configuration and operational requests "
    "(Panorama > Admin Roles)"
)
# What its pages and its API report while it starts.
_STARTS: Final = re.compile(
    r"\binitiali[sz]ing\b|\b(?:starting|booting)\s+up\b|\bis\s+(?:starting|booting)\b"
    r"|\bnot\s+(?:yet\s+)?ready\b",
    re.IGNORECASE,
)
_TITLE: Final = 4_000  # the first bytes of a page, which are searched for such texts
_PASSIVE: Final = "passive"
_MISSING: Final = "no such node"


def require_ok(
    response: urllib3.BaseHTTPResponse, body: bytes, where: str, secrets: Sequence[str]
) -> None:
    """Raise the error of a response whose HTTP status is not a success."""
    status = response.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status < HTTPStatus.BAD_REQUEST:
        raise PanoramaError(
            f"{where} redirects its callers (HTTP {status}), which no Panorama's API does; "
            "correct hosts and port"
        )
    wait = retry_after(response.headers.get("Retry-After", ""), _LONGEST_WAIT)
    try:
        success(body, where, secrets, status, wait)
    except (RefusedError, StartingError):
        # Panorama's own message is better than a number.
        raise
    except PanoramaError:
        pass  # a page for people
    answer = f"{where} answers with HTTP {status}"
    if status in _DENIED:
        raise UnauthenticatedError(f"{answer}; {_RENEW}, or {_ROLE}")
    if may_pass(status):
        raise UnavailableError(f"{answer}; the next poll tries again", wait)
    raise PanoramaError(f"{answer}; look at its state")


def success(
    body: bytes,
    where: str,
    secrets: Sequence[str],
    http_status: int = HTTPStatus.OK,
    after: float = 0.0,
) -> etree._Element:
    """Return the `<response>` of a success; raises the error that it reports otherwise.

    `where` names the Panorama for messages, in which `secrets` are hidden. `after` are the seconds
    after which the call may be repeated, if the error is a `Retryable`.
    """
    try:
        root = xml_of(body, f"the answer of {where}")
    except SourceError as error:
        if _starts(body):
            raise _starting(where, after) from None
        # Cut off, or a page of something in between.
        raise UnavailableError(
            f"{where} answers with something that is not XML of PAN-OS; check which server is "
            "at that address, the next poll tries again"
        ) from error
    if root.tag != "response":
        if _starts(body):
            raise _starting(where, after)
        raise PanoramaError(
            f"{where} answers with <{redact(root.tag, secrets)}>, which is not a response of "
            "its API; correct hosts and port"
        )
    if (root.get("status") or "").strip() == "success":
        return root
    raise _refusal(root, where, secrets, http_status, after)


def _refusal(
    root: etree._Element, where: str, secrets: Sequence[str], http_status: int, after: float
) -> RefusedError:
    """Return the error that an answer reports, by its kind."""
    words = " ".join(word for text in root.itertext() for word in str(text).split()).lower()
    said = redact(" ".join(map(str, root.itertext())), secrets)
    status, code = (root.get("status") or "").strip(), redact(root.get("code") or "", secrets)
    if not code and words == _MISSING:
        return NoSuchNodeError(f"{where}: {said}")
    unauthorized = http_status in _DENIED or code in _UNAUTHORIZED or status in _NO_SUCH_USER
    named = f"code {code}: " if code else ""
    said_or_status = said or f"status {redact(status, secrets)!r}"
    remedy = f"; {_remedy(code, said)}" if unauthorized else ""
    message = f"{where} refuses a call ({named}{said_or_status}){remedy}"
    # While it starts, it refuses valid keys too.
    if _STARTS.search(said):
        return RefusedNowError(message, said, after)
    if unauthorized:
        return RefusedKeyError(message, said)
    if _PASSIVE in words:
        return PassiveError(message, said)
    if code in _INTERNAL or may_pass(http_status):
        return RefusedNowError(message, said, after)
    return RefusedError(message, said)


def _starting(where: str, after: float) -> StartingError:
    return StartingError(
        f"{where} is not ready yet: it is starting; the next poll tries again", after
    )


def _remedy(code: str, said: str) -> str:
    """What to do about a refused key: the message for a role that lacks a right is much the same.

    Source: the vendor's API guide, "PAN-OS XML API error codes" (403 and 16).
    """
    if any(each in said.lower() for each in _BAD_KEY):
        return _RENEW
    return f"{_ROLE}, or {_RENEW}" if code == _NO_RIGHT else f"{_RENEW}, or {_ROLE}"


def _starts(body: bytes) -> bool:
    """Whether a page reports that a server is starting and not ready yet."""
    return _STARTS.search(body[:_TITLE].decode("utf-8", "replace")) is not None

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
from sync.transport.failures import retry_after

_LONGEST_WAIT: Final = 60.0

# Internal errors; the vendor's API guide, "PAN-OS XML API error codes".
_INTERNAL: Final = frozenset({"2", "3", "4", "5", "11", "21"})
_UNAUTHORIZED: Final = frozenset({"16", "22", "403"})
_NO_RIGHT: Final = "16"
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
_TITLE: Final = 4_000  # bytes of a page that are searched for that
_PASSIVE: Final = "passive"
_MISSING: Final = "no such node"


class PanoramaError(SourceError):
    """A Panorama did not answer, or answered with an error.

    `passing`: the same call may succeed later, after `retry_after` seconds at least.
    `unauthorized`: it does not accept the key. `passive`: it is the passive member of a pair.
    `late`: it took too long. `said` is its own message, empty if it gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        passing: bool = False,
        unauthorized: bool = False,
        passive: bool = False,
        late: bool = False,
        retry_after: float = 0,
        said: str = "",
    ) -> None:
        super().__init__(message)
        self.passing = passing
        self.unauthorized = unauthorized
        self.passive = passive
        self.late = late
        self.retry_after = retry_after
        self.said = said


class RefusedError(PanoramaError):
    """A Panorama understood a call and refused it."""


class NoSuchNodeError(RefusedError):
    """The configuration has nothing at an xpath."""


def require_ok(
    response: urllib3.BaseHTTPResponse, body: bytes, where: str, secrets: Sequence[str]
) -> None:
    """Raise the error of a response whose HTTP status is no success."""
    status = response.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status < HTTPStatus.BAD_REQUEST:
        raise PanoramaError(
            f"{where} redirects its callers (HTTP {status}), which no Panorama's API does; "
            "correct hosts and port"
        )
    unauthorized = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    passing = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    wait = retry_after(response.headers.get("Retry-After", ""), _LONGEST_WAIT)
    try:
        success(body, where, secrets, unauthorized=unauthorized)
    except RefusedError as error:
        # Panorama's own message is better than a number.
        error.passing |= passing
        error.retry_after = wait
        raise
    except PanoramaError as error:
        # A page for people, unless it announces a start.
        if error.passing and _starts(body):
            raise _not_ready(where, wait) from None
    remedy = f"{_RENEW}, or {_ROLE}" if unauthorized else "look at its state"
    raise PanoramaError(
        f"{where} answers with HTTP {status}; {'the next poll tries again' if passing else remedy}",
        passing=passing,
        unauthorized=unauthorized,
        retry_after=wait,
    )


def success(
    body: bytes, where: str, secrets: Sequence[str], *, unauthorized: bool = False
) -> etree._Element:
    """Return the `<response>` of a success; raises the error that it reports otherwise.

    `where` names the Panorama for messages, in which `secrets` are hidden.
    """
    try:
        root = xml_of(body, f"the answer of {where}")
    except SourceError as error:
        if _starts(body):
            raise _not_ready(where) from None
        # Cut off, or a page of something in between.
        raise PanoramaError(
            f"{where} answers with something that is no XML of PAN-OS; check which server is "
            "at that address, the next poll tries again",
            passing=True,
        ) from error
    if root.tag != "response":
        if _starts(body):
            raise _not_ready(where)
        raise PanoramaError(
            f"{where} answers with <{redact(root.tag, secrets)}>, which is no response of "
            "its API; correct hosts and port"
        )
    status = (root.get("status") or "").strip()
    if status == "success":
        return root
    words = " ".join(word for text in root.itertext() for word in str(text).split()).lower()
    said = redact(" ".join(map(str, root.itertext())), secrets)
    code = redact(root.get("code") or "", secrets)
    if not code and words == _MISSING:
        raise NoSuchNodeError(f"{where}: {said}")
    unauthorized = unauthorized or code in _UNAUTHORIZED or status in ("unauth", "noauth")
    named = f"code {code}: " if code else ""
    said_or_status = said or f"status {redact(status, secrets)!r}"
    remedy = f"; {_remedy(code, said)}" if unauthorized else ""
    raise RefusedError(
        f"{where} refuses a call ({named}{said_or_status}){remedy}",
        passing=code in _INTERNAL or _STARTS.search(said) is not None,
        unauthorized=unauthorized,
        passive=_PASSIVE in words,
        said=said,
    )


def _not_ready(where: str, retry_after: float = 0) -> PanoramaError:
    return PanoramaError(
        f"{where} is not ready yet: it is starting; the next poll tries again",
        passing=True,
        retry_after=retry_after,
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

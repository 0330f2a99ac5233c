"""What no cassette holds: secrets of requests and answers, and who the Panorama is.

Only what is on a list stays of headers and of what a Panorama tells of itself; of a configuration,
everything but what looks like a secret by its name or by itself.
"""

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from lxml import etree
from vcr.request import Request

HIDDEN: Final = "hidden"
HOST: Final = "panorama.invalid"
NOT_KEPT: Final = b"no XML, so it is not kept"

FORM_SECRETS: Final = frozenset({"user", "password", "key"})
"""Parameters of the API (the vendor's API guide, "Get your API key")."""

_REQUEST_HEADERS: Final = ("Accept", "Content-Type", "X-PAN-KEY")
_RESPONSE_HEADERS: Final = frozenset({"content-type", "retry-after"})

# What these words end with: all that pan-os-python 1.13 calls encrypted (a test holds them to it),
# certificates' and administrators' own keys, SNMP's communities, tokens of web services.
_SECRET_ENDINGS: Final = re.compile(
    r"(?:pass|password|passwd|passcode|passphrase|pwd|phash|secret|psk|key|keytab|token|cookie"
    r"|credentials?|community|community-string)$"
)
# Containers of values whose own names say nothing: of HTTP headers (log forwarding), of dynamic
# DNS, and of SCEP (PAN-OS web interface help).
_SECRET_CONTAINERS: Final = frozenset({"headers", "ddns-vendor-config", "scep-challenge"})

SECRET_TEXTS: Final = {
    "something encrypted with a master key": r"(?<![\w-])-[A-Z][A-Za-z]==\S",
    "a password's hash": r"\$(?:1|2[aby]|5|6|y)\$\S+",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a password in a URL": r"://[^/\s:@<>]*:[^/\s@<>]+@",
    # A key of the API is base64 of base64, as long as this at least.
    "something like an API key": r"(?<![A-Za-z0-9])[A-Za-z0-9]{48,}",
}
"""What a secret looks like itself, by what it is. `-AQ==` begins what PAN-OS encrypts
(pan-os-python 1.13, `panos/base.py`)."""

_SECRET_TEXT: Final = re.compile("|".join(SECRET_TEXTS.values()))

# Of these everything else says which Panorama it is, or which license it has.
_TOLD: Final = {
    "result/system": {
        "app-version", "family", "model", "multi-vsys", "operational-mode", "sw-version",
        "system-mode", "time",
    },
    "result/local-info": {"build-rel", "conn-status", "priority", "state"},
    "result/peer-info": {"build-rel", "conn-status", "priority", "state"},
}  # fmt: skip


def hidden_request(request: Request) -> Request:
    """A request as it is kept, and as one is compared with what was kept."""
    address = urlsplit(request.uri)
    query = f"?{_form(address.query)}" if address.query else ""
    request.uri = f"https://{HOST}{address.path}{query}"
    kept = {name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers}
    if "X-PAN-KEY" in kept:
        kept["X-PAN-KEY"] = HIDDEN
    request.headers = kept
    request.body = _form((request.body or b"").decode())
    return request


def _form(text: str) -> str:
    given = parse_qsl(text, keep_blank_values=True)
    return urlencode([(name, HIDDEN if name in FORM_SECRETS else said) for name, said in given])


def hidden_response(response: dict[str, Any]) -> dict[str, Any]:
    """An answer as it is kept. One in which nothing is hidden keeps its bytes."""
    kept = {
        name: said
        for name, said in response["headers"].items()
        if name.lower() in _RESPONSE_HEADERS
    }
    return {**response, "headers": kept, "body": {"string": _body(response["body"]["string"])}}


def _body(body: bytes) -> bytes:
    root = xml(body)
    if root is None:
        return NOT_KEPT
    found = secret_elements(root)
    for element in found:
        element.text = HIDDEN
    return etree.tostring(root) if found else body


def xml(body: bytes) -> etree._Element | None:
    """The root of an answer, None if it is no XML."""
    try:
        return etree.fromstring(
            body, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
        )
    except etree.XMLSyntaxError:
        return None


def secret_elements(root: etree._Element) -> list[etree._Element]:
    """The elements of an answer whose text is to be hidden and is not."""
    found: dict[etree._Element, None] = {}
    for element in root.iter(etree.Element):
        if is_secret(str(element.tag)):
            found.update(dict.fromkeys(element.iter(etree.Element)))
        elif _SECRET_TEXT.search(element.text or ""):
            found[element] = None
    for path, told in _TOLD.items():
        found.update(
            dict.fromkeys(each for each in root.iterfind(f"{path}/*") if each.tag not in told)
        )
    return [each for each in found if (each.text or "").strip() not in ("", HIDDEN)]


def is_secret(tag: str) -> bool:
    """Whether what stands in elements of this name is never kept."""
    return tag in _SECRET_CONTAINERS or _SECRET_ENDINGS.search(tag) is not None

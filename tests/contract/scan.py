"""Looks through a cassette for what none may hold, whoever or whatever wrote it."""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.contract.hiding import (
    FORM_SECRETS,
    HIDDEN,
    HOST,
    NOT_KEPT,
    SECRET_TEXTS,
    secret_elements,
    xml,
)

_HOSTS: Final = {HOST, "localhost", "127.0.0.1", "::1"}
_URL: Final = re.compile(r"https?://[^\s\"'<>]*")


def found_in(cassette: str) -> list[str]:
    """What a cassette holds that it must not: what it is, never what it says."""
    return sorted(set(_found(cassette)))


def _found(cassette: str) -> Iterator[str]:
    document = yaml.safe_load(cassette)
    # Comments are not in the document, and long texts are in many lines of the file.
    for text in (cassette, *_strings(document)):
        for what, pattern in SECRET_TEXTS.items():
            if re.search(pattern, text):
                yield what
    for interaction in document["interactions"]:
        yield from _in_request(interaction["request"])
        yield from _in_response(interaction["response"])


def _in_request(request: dict[str, Any]) -> Iterator[str]:
    address = urlsplit(request["uri"])
    yield from _hosts(request["uri"], *_values(request["headers"]))
    for form in (address.query, request["body"] or ""):
        for name, said in parse_qsl(form, keep_blank_values=True):
            if name in FORM_SECRETS and said != HIDDEN:
                yield f"a {name} in a form"
    yield from _headers(request["headers"])


def _in_response(response: dict[str, Any]) -> Iterator[str]:
    headers, body = response["headers"], _bytes(response["body"]["string"])
    yield from _hosts(*_values(headers))
    yield from _headers(headers)
    for name, said in headers.items():
        if name.lower() == "content-length" and said != [str(len(body))]:
            yield "a Content-Length that is not that of the body"
    root = xml(body)
    if root is not None:
        for element in secret_elements(root):
            yield f"what stands in <{element.tag}>"
    elif body != NOT_KEPT:
        yield "an answer that is no XML"


def _headers(headers: dict[str, list[str]]) -> Iterator[str]:
    for name, said in headers.items():
        secret = name.lower() == "x-pan-key" and said != [HIDDEN]
        if secret or "cookie" in name.lower() or "authorization" in name.lower():
            yield f"a header {name}"


def _hosts(*texts: str) -> Iterator[str]:
    for text in texts:
        for url in _URL.findall(text):
            if urlsplit(url).hostname not in _HOSTS:
                yield "another host than panorama.invalid"


def _values(headers: dict[str, list[str]]) -> list[str]:
    return [each for said in headers.values() for each in said]


def _strings(node: Any) -> Iterator[str]:
    match node:
        case str():
            yield node
        case bytes():
            yield node.decode(errors="replace")
        case list():
            for each in node:
                yield from _strings(each)
        case dict():
            for name, each in node.items():
                yield from _strings(name)
                yield from _strings(each)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text

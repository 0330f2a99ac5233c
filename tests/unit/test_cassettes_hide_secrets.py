"""What is hidden before a cassette is written, and that the reader misses none of it."""

import inspect
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from panos import device, ha, network, objects, panorama, plugins, policies
from panos.base import VersionedPanObject
from panos.errors import PanDeviceError
from vcr.request import Request

from sync.errors import SourceError
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import panorama as panorama_of
from sync.firewall.parse.document import parse
from tests.conftest import samples
from tests.contract.hiding import HIDDEN, hidden_request, hidden_response, is_secret


def answer(body: bytes, **headers: list[str]) -> dict[str, Any]:
    return {
        "status": {"code": 200, "message": "OK"},
        "headers": {name.replace("_", "-"): said for name, said in headers.items()},
        "body": {"string": body},
    }


def kept(body: str) -> str:
    return str(hidden_response(answer(body.encode()))["body"]["string"].decode())


def encrypted() -> set[str]:
    """The names of the elements that pan-os-python calls encrypted."""
    found = set()
    for module in (device, ha, network, objects, panorama, plugins, policies):
        for _, each in inspect.getmembers(module, inspect.isclass):
            if each.__module__ != module.__name__ or not issubclass(each, VersionedPanObject):
                continue
            with suppress(PanDeviceError):  # Some are for subclasses alone.
                for parameter in vars(each()).get("_params", ()):
                    for _, given in parameter._VersioningSupport__profiles:
                        if given.get("vartype") == "encrypted":
                            path = given.get("path") or parameter.name
                            found.add(path.rpartition("/")[2])
    return found


def test_all_that_pan_os_python_calls_encrypted_is_hidden() -> None:
    names = encrypted()
    assert {"phash", "bind-password", "privpwd", "key", "secret"} <= names
    # The name of this one is a choice: `password` is what it holds a password for.
    assert [name for name in sorted(names - {"{auth_type}"}) if not is_secret(name)] == []


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.name)
def test_the_reader_misses_nothing_that_is_hidden(path: Path) -> None:
    whole = path.read_bytes()
    less = hidden_response(answer(whole))["body"]["string"]
    assert reading_of(less, path) == reading_of(whole, path)


def reading_of(data: bytes, path: Path) -> object:
    """What is read of a document, or why nothing is."""
    try:
        return read_configuration(panorama_of(parse(data, str(path)), str(path)))
    except SourceError as error:
        return str(error)


def test_an_answer_without_secrets_keeps_its_bytes() -> None:
    said = "<response status = 'error'  code = '403'><result><msg>no</msg></result></response>"
    assert kept(said) == said


def test_what_stands_in_a_secret_is_hidden_whole() -> None:
    assert kept("<a><secret><b>x</b><c d='e'> </c></secret><b>x</b></a>") == (
        f'<a><secret><b>{HIDDEN}</b><c d="e"> </c></secret><b>x</b></a>'
    )


@pytest.mark.parametrize(
    "secret",
    [
        "-AQ==S/4wTN8v5OYXvgSA0ZbCYUvbXvs=7yMBAlqjfPu0yXyfPvXJZw==",
        "$1$abcd$efgh",
        "$5$abcd$efgh",
        "-----BEGIN EC PRIVATE KEY-----\nabcd",
        "https://me:abcd@lists.example/x",
        "LUFRPT14" * 9 + "==",
    ],
)
def test_what_looks_like_a_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    assert (
        kept(f"<a><b>{secret}</b><c>10.0.0.1</c></a>") == f"<a><b>{HIDDEN}</b><c>10.0.0.1</c></a>"
    )


def test_hiding_twice_is_hiding_once() -> None:
    said = answer(
        b"<response><result><key>abc</key></result></response>", Content_Type=["text/xml"]
    )
    once = hidden_response(said)
    assert hidden_response(once) == once
    assert etree.fromstring(once["body"]["string"]).findtext("result/key") == HIDDEN


def test_headers_that_are_not_needed_are_not_kept() -> None:
    said = answer(b"<a/>", Content_Type=["b"], Set_Cookie=["c"], Server=["d"], Content_Length=["4"])
    assert hidden_response(said)["headers"] == {"Content-Type": ["b"]}


def test_a_request_keeps_what_is_asked_alone() -> None:
    request = hidden_request(
        Request(
            "POST",
            "https://panorama.corp.example:8443/api/?key=abc&type=op",
            b"type=config&action=show&xpath=%2Fconfig&target=0071&user=me&password=a%26b",
            {"X-PAN-KEY": "abc", "Accept": "application/xml", "Cookie": "PHPSESSID=abc"},
        )
    )
    assert request.uri == f"https://panorama.invalid/api/?key={HIDDEN}&type=op"
    assert request.body == (
        b"type=config&action=show&xpath=%2Fconfig&target=0071&user=hidden&password=hidden"
    )
    assert dict(request.headers) == {"X-PAN-KEY": HIDDEN, "Accept": "application/xml"}

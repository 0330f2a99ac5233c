"""What stands in cassettes/: cassettes of the contract's tests, and no secret in any of them."""

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.contract import test_panorama_contract
from tests.contract.hiding import HIDDEN, NOT_KEPT
from tests.contract.scan import found_in

FOLDER = ROOT / "cassettes"
MOST = 300_000  # bytes of all of them


def test_each_test_of_the_contract_has_a_cassette_and_nobody_else_does() -> None:
    tests = {name for name in vars(test_panorama_contract) if name.startswith("test_")}
    assert {each.name for each in FOLDER.iterdir()} == {
        "README.md",
        *(f"{name.removeprefix('test_')}.yaml" for name in tests),
    }
    assert sum(each.stat().st_size for each in FOLDER.iterdir()) < MOST


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_cassette_holds_no_secret_and_says_whom_it_recorded(path: Path) -> None:
    cassette = path.read_text()
    assert found_in(cassette) == []
    recorded_with = yaml.safe_load(cassette)["metadata"]["recorded_with"]
    assert re.match(r"the simulator of the tests$|a Panorama, PAN-OS \d", recorded_with)


# --- each kind of secret is found -----------------------------------------------------------------

ANSWER = "<response status='success'><result>{}</result></response>"


def cassette(**given: Any) -> str:
    """One call; what is given takes the place of what is there."""
    body = given.pop("answer", ANSWER.format("<shared/>"))
    request = {
        "uri": "https://panorama.invalid/api/",
        "method": "POST",
        "body": "type=keygen&user=hidden&password=hidden",
        "headers": {"X-PAN-KEY": [HIDDEN]},
    }
    response = {"headers": {"Content-Type": ["text/xml"]}, "body": {"string": body}}
    response["headers"] |= given.pop("answered", {})
    request |= given
    return yaml.safe_dump(
        {"interactions": [{"request": request, "response": response}], "version": 1}
    )


KEY = b64encode(b"-AQ==" + b64encode(b"x" * 20) + b64encode(b"y" * 40)).decode()
ENCRYPTED = "-AQ==S/4wTN8v5OYXvgSA0ZbCYUvbXvs=7yMBAlqjfPu0yXyfPvXJZw=="

BAD: dict[str, tuple[str, str]] = {
    "the key of a keygen answer": (cassette(answer=ANSWER.format(f"<key>{KEY}</key>")), "<key>"),
    "a short key": (cassette(answer=ANSWER.format("<key>abc</key>")), "<key>"),
    "a key in CDATA": (cassette(answer=ANSWER.format("<key><![CDATA[abc]]></key>")), "<key>"),
    "a key in a message": (cassette(answer=ANSWER.format(f"<msg>{KEY}</msg>")), "API key"),
    "a key in an attribute": (cassette(answer=ANSWER.format(f"<a name='{KEY}'/>")), "API key"),
    "a key in a comment of the file": (f"# {KEY}\n{cassette()}", "API key"),
    "a key in binary": (cassette(answer=KEY.encode()), "API key"),
    "a hash": (cassette(answer=ANSWER.format("<phash>$5$ab$cd</phash>")), "<phash>"),
    "a hash elsewhere": (cassette(answer=ANSWER.format("<a>$5$ab$cd</a>")), "password's hash"),
    "an encrypted text": (cassette(answer=ANSWER.format(f"<a>{ENCRYPTED}</a>")), "master key"),
    "an encrypted text that YAML escapes": (
        cassette(answer="<a>@</a>").replace("<a>@</a>", r'"<a>\x2dAQ==abc</a>"'),
        "master key",
    ),
    "a private key": (
        cassette(answer=ANSWER.format("<a>-----BEGIN RSA PRIVATE KEY-----\nabc</a>")),
        "a private key",
    ),
    "a community": (cassette(answer=ANSWER.format("<community>abc</community>")), "<community>"),
    "a password in a URL": (
        cassette(answer=ANSWER.format("<url>https://me:abc@lists.invalid/x</url>")),
        "password in a URL",
    ),
    "a header's value": (
        cassette(answer=ANSWER.format("<headers><value>abc</value></headers>")),
        "<value>",
    ),
    "a serial number": (
        cassette(answer=ANSWER.format("<system><serial>0071</serial></system>")),
        "<serial>",
    ),
    "no XML": (cassette(answer="phash: abc"), "no XML"),
    "another key in the header": (cassette(headers={"x-pan-key": ["abc"]}), "header x-pan-key"),
    "a cookie": (cassette(answered={"Set-Cookie": ["PHPSESSID=abc"]}), "header Set-Cookie"),
    "a login": (cassette(headers={"Authorization": ["Basic abc"]}), "header Authorization"),
    "a password in the form": (
        cassette(body="type=keygen&user=hidden&password=abc"),
        "a password in a form",
    ),
    "a user in the form": (cassette(body="type=keygen&user=abc"), "a user in a form"),
    "a key in the form": (cassette(body="type=op&key=abc"), "a key in a form"),
    "a key in the URL": (cassette(uri="https://panorama.invalid/api/?key=abc"), "a key in a form"),
    "another host": (cassette(uri="https://panorama.corp.example/api/"), "another host"),
    "an address": (cassette(uri="https://10.1.2.3/api/"), "another host"),
    "a host in a header": (
        cassette(answered={"Location": ["https://panorama.corp.example/"]}),
        "another host",
    ),
    "another length": (cassette(answered={"content-length": ["7"]}), "a Content-Length"),
}


@pytest.mark.parametrize(("bad", "what"), BAD.values(), ids=BAD)
def test_a_secret_is_found_and_not_repeated(bad: str, what: str) -> None:
    found = found_in(bad)
    assert any(what in each for each in found)
    assert not any(said in each for each in found for said in (KEY, "abc", "$5$", "corp"))


@pytest.mark.parametrize(
    "good",
    [
        cassette(),
        cassette(uri="https://127.0.0.1:8443/api/"),
        cassette(answer=NOT_KEPT.decode()),
        cassette(answer="<a>ä</a>", answered={"Content-Length": ["9"]}),
        cassette(
            answer=ANSWER.format("<key>hidden</key><phash/><md5sum>0123456789abcdef</md5sum>")
        ),
    ],
)
def test_what_is_hidden_is_not_found(good: str) -> None:
    assert found_in(good) == []

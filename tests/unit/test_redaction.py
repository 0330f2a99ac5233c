"""What a server says before it stands in errors, logs and records."""

import base64
from urllib.parse import quote

import pytest

from sync.redaction import LONGEST, redact

SECRET = "hunter2/Ä&"


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Bearer hunter2",
        "map[Authorization:[Bearer hunter2]]",
        '{"password": "hunter2 is it"}',
        r"{\"api_key\": \"hunter2\"}",
        "<password>hunter2</password>",
        "GET /api/?type=op&key=hunter2&cmd=x",
        "https://me:hunter2@proxy:3128/",
        "X-PAN-KEY: hunter2",
        "pass\u200bword=hunter2",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "eyJhbGciOiJSUzI1NiJ9.hunter2.hunter2",
        "LUFRPT1hunter2Ab0c9d8e7f6g5h4i3j2k1l0m9n8",
        f"<a {'x ' * 3996}token=hunter2",
    ],
)
def test_what_looks_like_a_credential_is_hidden(said: str) -> None:
    assert "hunter2" not in redact(said)


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        "hunter2/Ä&amp;",
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        "hunter\u20602/\u202eÄ&",
    ],
)
def test_what_was_sent_is_hidden_in_whatever_form_it_comes_back(form: str) -> None:
    assert redact(f"no such user {form} here", [SECRET]) == "no such user [hidden] here"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<html><body><h1>502 Bad Gateway</h1></body></html>", "502 Bad Gateway"),
        ("<_InOnePiece(host='a') at 0x7f12>: refused", "refused"),
        ("a\x1b[31m\x9b\u202eb\r\nc\u2028d", "a[31mb c d"),
        (b"\xff ok", "\ufffd ok"),
        (None, "None"),
        ("x y " * 9000, f"{('x y ' * 50)[: LONGEST - 1]}…"),
    ],
)
def test_what_is_left_is_a_short_line_that_a_terminal_only_shows(said: object, shown: str) -> None:
    assert redact(said) == shown


def test_names_and_digests_are_no_secrets() -> None:
    said = (
        'tiers "fw.dg-eu-allow-web-0a1b2c3d4e5f60718293a4b5c6d7e8f9" is forbidden: User "x" cannot'
    )
    assert redact(said) == said

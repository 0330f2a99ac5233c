"""Documents told apart, and what is not one refused with a sentence."""

import gzip
import time

import pytest

from sync.errors import SourceError
from sync.firewall.parse.document import parse
from tests.words import address, document, read, tag

CONFIG = document([address("a", "10.0.0.1")])


def refusal(data: bytes) -> str:
    """The one line that a document is refused with; it names the document."""
    with pytest.raises(SourceError) as refused:
        parse(data, "export.xml")
    message = str(refused.value)
    assert "export.xml" in message
    assert message.isprintable()
    return message


def response(inner: bytes, attributes: str = 'status="success"') -> bytes:
    return f"<response {attributes}><result>".encode() + inner + b"</result></response>"


# --- where a configuration stands -----------------------------------------------------------------


def test_a_bare_configuration_is_read() -> None:
    assert parse(CONFIG, "export.xml").tag == "config"


@pytest.mark.parametrize(
    "attributes",
    [
        'status="success"',
        "status = 'success'",
        'status="success" code="19"',
        'cmd="status" status="success"',
    ],
)
def test_a_configuration_inside_an_api_response_is_read(attributes: str) -> None:
    assert read(response(CONFIG, attributes)) == read(CONFIG)


def test_a_declaration_comments_and_white_space_change_nothing() -> None:
    dressed = b'<?xml version="1.0"?>\n<!-- x -->\n' + CONFIG.replace(b"><", b">\n  <!-- -->\n<")
    assert read(dressed + b"\n") == read(CONFIG)


def test_utf_16_with_its_mark_is_the_same_document() -> None:
    assert read(CONFIG.decode().encode("utf-16")) == read(CONFIG)


def test_a_comment_inside_a_value_does_not_cut_it() -> None:
    cut = CONFIG.replace(b"10.0.0.1", b"10.0.<!-- -->0.1")
    assert read(cut) == read(CONFIG)


def test_an_empty_configuration_of_a_panorama_has_no_device_groups() -> None:
    assert not read(b"<config><shared/></config>").device_groups


# --- what is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"   \n\t"])
def test_an_empty_document_is_refused(data: bytes) -> None:
    assert refusal(data) == "export.xml is empty; export the configuration again"


@pytest.mark.parametrize(
    "data",
    [
        CONFIG[: len(CONFIG) // 2],
        CONFIG[:-1],
        CONFIG + b"<config/>",
        CONFIG + b"\0",
        gzip.compress(CONFIG),
        b'{"config": {}}',
        b"\x1b[31mnot XML",
        CONFIG.replace(b"<shared>", b"<shared><caf\xe9/>"),
        CONFIG.replace(b"<shared>", b"<shared><caf&#1;/>"),
        CONFIG.replace(b"10.0.0.1", b"\xff<!--"),
        b'<?xml version="1.0" encoding="ascii"?>' + CONFIG.replace(b"10.0.0.1", b"\xff"),
        CONFIG.replace(b"10.0.0.1", 1_000_001 * b"\xff"),
        CONFIG.replace(b"10.0.0.1", b"&nbsp;"),
        CONFIG.decode().encode("utf-16-le"),
        b'<?xml version="1.0" encoding="klingon"?>' + CONFIG,
        b"<config><shared>" + 300 * b"<a>" + 300 * b"</a>" + b"</shared></config>",
        b"<config><shared>" + 100_000 * b"<a>",
        b"<config><shared>" + 10_000_001 * b"x" + b"</shared></config>",
        b'<config version="' + 10_000_001 * b"x" + b'"/>',
    ],
    ids=[
        "half",
        "cut",
        "two roots",
        "NUL",
        "gzip",
        "JSON",
        "escape",
        "bytes in a tag",
        "a reference in a tag",
        "bytes and no end",
        "bytes that are no ASCII",
        "nothing but bytes",
        "undefined entity",
        "UTF-16 without its mark",
        "unknown encoding",
        "deep",
        "very deep",
        "huge text",
        "huge attribute",
    ],
)
def test_what_is_no_xml_is_refused_in_one_sentence(data: bytes) -> None:
    message = refusal(data)
    assert message.startswith("export.xml cannot be read as XML: ")
    assert message.endswith("; export the configuration again")


LAUGHS = "".join(
    f'<!ENTITY l{n} "{10 * f"&l{n - 1};"}">' if n else '<!ENTITY l0 "lol">' for n in range(10)
)


@pytest.mark.parametrize(
    "declaration",
    [
        "<!DOCTYPE config>",
        '<!DOCTYPE config SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE config PUBLIC "x" "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE config [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE config [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x"> %a;]>',
        '<!DOCTYPE config [<!ENTITY a "x">]>',
        f"<!DOCTYPE config [{LAUGHS}]>",
    ],
    ids=["plain", "file", "network", "external", "parameter", "internal", "laughs"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(declaration: str, encoding: str) -> None:
    used = CONFIG.decode().replace("10.0.0.1", "&a;" if "ENTITY a" in declaration else "10.0.0.1")
    if "l9" in declaration:
        used = used.replace("10.0.0.1", "&l9;")
    started = time.process_time()
    message = refusal((declaration + used).encode(encoding))
    assert time.process_time() - started < 20  # milliseconds, or for ever
    assert "root:" not in message
    if "ENTITY l" not in declaration:
        assert "declares a document type" in message


def test_inclusions_and_other_namespaces_are_refused() -> None:
    held = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>'
    included = CONFIG.replace(b"<shared>", f"<shared>{held}".encode())
    assert "XML namespace" in refusal(included)


def test_another_root_is_named() -> None:
    page = b"<html><body>Login</body></html>"
    assert "not a PAN-OS configuration: its root is <html>" in refusal(page)


def test_names_in_a_namespace_are_refused_and_the_mere_word_is_not() -> None:
    assert "XML namespace" in refusal(b'<config xmlns="urn:x"><shared/></config>')
    assert "XML namespace" in refusal(b'<config><shared xmlns:p="u" p:a="b"/></config>')
    assert read(b"<config><shared><description>xmlns</description></shared></config>") is not None


def test_a_document_without_any_part_of_a_configuration_is_refused() -> None:
    assert "neither shared objects nor device groups" in refusal(b"<config><mgt-config/></config>")


@pytest.mark.parametrize("held", [tag("vsys"), tag("network"), tag("network") + tag("vsys")])
def test_a_firewall_is_told_apart(held: str) -> None:
    inside = tag("devices", f'<entry name="localhost.localdomain">{held}</entry>')
    message = refusal(f"<config><shared/>{inside}</config>".encode())
    assert "the configuration of a firewall" in message
    assert "export it from the Panorama" in message


# --- answers of the API ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('<response status="error" code="403"><msg>Forbidden</msg></response>', "Forbidden"),
        (
            (
                "<response status = 'error' code = '403'><result><msg>Invalid Credential</msg>"
                "</result></response>"
            ),
            "Invalid Credential",
        ),
        (
            '<response status="error"><msg><line>No such node</line></msg></response>',
            "No such node",
        ),
        (
            (
                '<response status="error"><msg><line><![CDATA[ one\n two\n\n]]></line>'
                "<line>three</line></msg></response>"
            ),
            "one two three",
        ),
        ('<response status="noauth"><result/></response>', "status 'noauth'"),
        ("<response/>", "status 'missing'"),
        ('<response status="error" code="22"/>', "status 'error'"),
    ],
)
def test_an_error_of_the_api_is_repeated_in_one_line(answer: str, said: str) -> None:
    assert (
        refusal(answer.encode()) == f"export.xml is an error that Panorama's API returned: {said}"
    )


def test_an_error_around_a_configuration_is_an_error() -> None:
    assert "error that Panorama's API returned" in refusal(response(CONFIG, 'status="error"'))


def test_a_long_error_is_cut() -> None:
    answer = f'<response status="error"><msg>{"x" * 100_000}</msg></response>'
    assert len(refusal(answer.encode())) < 1000


@pytest.mark.parametrize("inner", [b"", b"<shared/>", b"<x><config/></x>"])
def test_a_response_with_something_else_says_what_to_ask_for(inner: bytes) -> None:
    assert "ask for the xpath /config" in refusal(response(inner))

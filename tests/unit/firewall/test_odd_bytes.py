"""Bytes that are no UTF-8 stop no read, and no two names become one by them."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync.firewall.effective import effective
from sync.firewall.groups import resolve_groups
from sync.firewall.parse.document import parse, xml_of
from tests.words import PANORAMA, address, document, group, read, rule, text

REMARK = (
    r"holds bytes that are not UTF-8, or characters that XML does not allow; they are read as "
    r"\x.."
)


def odd(data: bytes, **bytes_by_word: bytes) -> bytes:
    """A document with other bytes in the place of words."""
    for word, found in bytes_by_word.items():
        assert word.encode() in data
        data = data.replace(word.encode(), found)
    return data


# --- what decides nothing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [b"caf\xe9", b"cut \xe2\x82", b"\xed\xa0\x80", b"\xc0\x80", b"\xff", b"\x80" * 1000, b"\0"],
)
def test_a_description_with_odd_bytes_changes_nothing_but_a_remark(found: bytes) -> None:
    plain = document([address("a", "10.0.0.1", text("description", "DESCRIBED"))])
    read_plain, read_odd = read(plain), read(odd(plain, DESCRIBED=found))
    (remark,) = read_odd.remarks
    assert (remark.path, remark.message) == (
        "/config/shared/address/entry[@name='a']/description",
        REMARK,
    )
    assert read_odd.shared == read_plain.shared
    assert not read_plain.remarks


@pytest.mark.parametrize(
    "found",
    [
        *(b"\x01", b"\x0b", b"\x1f", b"&#1;", b"&#x1F;", b"&#0;", b"&#xD800;", b"&#x110000;"),
        *(b"\xef\xbf\xbf", b"&#xFFFF;", b"&#" + 9000 * b"9" + b";", b"&#x00000000000001;"),
    ],
)
def test_so_does_one_with_characters_that_xml_has_none_of(found: bytes) -> None:
    plain = document([address("a", "10.0.0.1", text("description", "DESCRIBED"))])
    (remark,) = read(odd(plain, DESCRIBED=found)).remarks
    assert remark.message == REMARK


def test_whatever_has_no_odd_bytes_stays_as_it_is() -> None:
    said = "\t\n é€😀\u0085\u202e\ufffd\U0010fffc C:\\xyz \\xE9 \\x &#1;"
    found = parse(document([address("a", "10.0.0.1", text("description", said))]), "export.xml")
    assert found.findtext("shared/address/entry/description") == said


# --- names ----------------------------------------------------------------------------------------


def bytes_read(said: str) -> bytes:
    r"""What stood in a document, by what was read: `\x..` is one byte, everything else UTF-8."""
    parts = re.split(r"(\\x[0-9a-f]{2})", said)
    return b"".join(
        bytes.fromhex(part[2:]) if number % 2 else part.encode()
        for number, part in enumerate(parts)
    )


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=3),
            st.sampled_from([b"\\", b"\\x", b"x", b"e9", b"\\xe9", b"5c", b"\\x5c", b"\xe9"]),
            st.sampled_from(["\U0010fffd".encode(), b"\x01", b"\xed\xb2\x80", b"]]", b"-->"]),
        ),
        max_size=8,
    ).map(b"".join),
    st.booleans(),
)
@example(b"\\xe9\xe9\\x5cxe9", False)
@example("\U0010fffde9".encode(), False)
@example("\U0010fffde9\xe9".encode("latin-1", "ignore") + b"\xe9", False)
def test_any_bytes_can_be_told_from_what_is_read_of_them(found: bytes, beside: bool) -> None:
    """So no two texts are read alike, nor one of them otherwise where another has odd bytes."""
    # A parser of XML makes one line break of each kind of them, and white space of all in names.
    found = re.sub(rb"[\r\n\t]", b"", found)
    written = found.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    quoted = written.replace(b'"', b"&quot;")
    root = xml_of(
        b'<r><a name="%s">%s</a>%s</r>' % (quoted, written, b"\xff" * beside), "export.xml"
    )
    assert bytes_read(root[0].text or "") == found
    assert bytes_read(root[0].get("name", "")) == found
    assert root[0].tail == (r"\xff" if beside else None)


@given(st.integers(0, 0x10FFFF))
@example(0x10FFFD)
@example(0x5C)
def test_a_reference_is_read_as_the_character_it_stands_for(number: int) -> None:
    character = chr(number).encode("utf-8", "surrogatepass")
    written = {b"&": b"&amp;", b"<": b"&lt;", b">": b"&gt;"}.get(character, character)
    if character == b"\r":
        return  # a line break of its own is read as another
    tails = [b"xe9"], [b"xe9", b"\xff"]
    for tail in map(b"".join, tails):
        (one, other, third) = (
            xml_of(b"<r>-%s-%s</r>" % (each, tail), "export.xml").text
            for each in (b"&#%d;" % number, b"&#x%x;" % number, written)
        )
        assert one == other == third


def test_what_is_quoted_is_no_reference() -> None:
    found = xml_of(b"<r><![CDATA[&#1;]]><!-- &#1; \xff -->\xff&amp;#1;</r>", "export.xml")
    assert found.text == r"&#1;\xff&#1;"


def test_a_backslash_in_parts_is_one() -> None:
    parts = rb"<r>\<![CDATA[x]]>e9|&#92;xe9|\<!-- -->xe9|&#x5c;<![CDATA[xe9]]></r>"
    assert xml_of(parts, "export.xml").text == r"\x5cxe9|\x5cxe9|\x5cxe9|\x5cxe9"
    assert xml_of(parts.decode().encode("utf-16"), "export.xml").text == (
        r"\x5cxe9|\x5cxe9|\x5cxe9|\x5cxe9"
    )


def test_comments_without_an_end_take_no_longer_the_more_they_are() -> None:
    with pytest.raises(Exception, match="cannot be read as XML"):
        xml_of(b"<r>\xff" + 400_000 * b"<!--", "export.xml")


# --- what names decide ----------------------------------------------------------------------------


def test_an_object_whose_name_has_odd_bytes_is_the_one_that_its_users_name() -> None:
    made = odd(
        document(
            [
                address("ONE", "10.0.0.1"),
                address("SECOND", "10.0.0.2"),
                address("ALIKE", "10.0.0.3"),
                group("held", "ONE", "ALIKE"),
                group("not-held", "NOBODY"),
            ]
        ),
        ONE=b"caf\xe9",
        SECOND=b"caf\xe8",
        ALIKE=rb"caf\xe9",
        NOBODY="café".encode(),
    )
    found = resolve_groups(effective(read(made), "dg").objects.addresses, registered_known=True)
    assert found["held"].holds.surely.cidrs() == ["10.0.0.1/32", "10.0.0.3/32"]
    assert not found["held"].holds.because
    assert found["not-held"].holds.because


def test_a_value_with_odd_bytes_is_unsayable() -> None:
    made = odd(document([address("a", "VALUE")]), VALUE=b"10.0.0.1\xff")
    found = read(made).shared.objects.addresses["a"]
    assert found.problem
    assert len(read(made).remarks) == 2


@pytest.mark.parametrize("word", ["ACTION", "DISABLED"])
def test_a_rule_whose_switch_has_odd_bytes_is_unsayable(word: str) -> None:
    plain = document(groups={"dg": [rule("r", action="ACTION", disabled="DISABLED")]})
    made = odd(plain, **{"ACTION": b"allow", "DISABLED": b"no", word: b"no\xff"})
    (found,) = read(made).device_groups["dg"].scope.rulebases.pre
    assert found.unreadable
    paths = [each.path for each in read(made).remarks if each.message == REMARK]
    place = f"{PANORAMA}/device-group/entry[@name='dg']/pre-rulebase/security/rules"
    assert paths == [f"{place}/entry[@name='r']/{word.lower()}"]


def test_rules_whose_names_differ_in_odd_bytes_are_two() -> None:
    made = odd(document(groups={"dg": [rule("ONE"), rule("TWO")]}), ONE=b"r\xe9", TWO=rb"r\xe9")
    names = [each.name for each in read(made).device_groups["dg"].scope.rulebases.pre]
    assert names == [r"r\xe9", r"r\x5cxe9"]

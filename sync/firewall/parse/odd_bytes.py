r"""Bytes that are not UTF-8, and characters that XML has none of, kept apart in what is read.

PAN-OS lets both into its answers: descriptions cut in the middle of a character, among others
(PaloAltoNetworks/pan-os-ansible, issue 578). Each such byte is read as four characters, `\xe9`, and
a character as its bytes in UTF-8. Where a document has those four characters itself, their
backslash is read as `\x5c`, in every document. So two texts are read alike only if they are alike,
wherever they are:

    what a document holds      what is read
    a byte 0xE9                `\xe9`
    the text `\xe9`            `\x5cxe9`
    `&#1;` or a byte 0x01      `\x01`

A name with such bytes is therefore as good as any other, and a value with some is none that any
reader knows.
"""

import re
from typing import Final, cast

from lxml import etree
from lxml.etree import _Element, _ElementUnicodeResult

_MOST: Final = 1_000_000  # more than that is not text
# Stands before two digits while the document is parsed; one that it holds itself counts as odd.
_MARK: Final = "\U0010fffd"
_MARK_BYTES: Final = _MARK.encode()

_FORBIDDEN: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff" + _MARK
_ODD: Final = re.compile(f"[{_FORBIDDEN}]+")
_REFERENCE: Final = re.compile(
    # One that has no end goes to that of the document, once.
    r"<!--(?:.*?-->|.*)|<!\[CDATA\[(?:.*?\]\]>|.*)|<\?(?:.*?\?>|.*)"
    r"|&\#(?:x(?P<hex>[0-9a-fA-F]+)|(?P<decimal>[0-9]+));",
    re.DOTALL,
)
_DIGITS: Final = 8  # of a reference to any character, leading zeros apart
_LAST: Final = 0x10FFFF

_LOOKS_ODD: Final = re.compile(r"\\(?=x[0-9a-f]{2})")
_IS_ODD: Final = re.compile(r"\\x(?!5c)[0-9a-f]{2}")
_ENCODING: Final = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"'>]*)["']""")
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")

_ELEMENTS: Final = etree.XPath(
    r"//*[text()[contains(., '\') or contains(., $mark)] or @*[contains(., '\') or "
    "contains(., $mark)]]"
)
_TEXTS: Final = etree.XPath(
    r".//text()[contains(., '\x')] | .//@*[contains(., '\x')] | @*[contains(., '\x')]"
)


def marked(data: bytes) -> bytes | None:
    """A document that can be parsed as XML as far as its bytes go; None if that is not their fault.

    Its odd bytes are marked, for `spell` to say what they are.
    """
    if not _is_utf_8(data):
        return None
    left = _MOST

    def mark(characters: str) -> str:
        nonlocal left
        found = characters.encode("utf-8", "surrogatepass" if by_reference else "surrogateescape")
        left -= len(found)
        return "".join(f"{_MARK}{byte:02x}" for byte in found) if left >= 0 else ""

    def referred(reference: re.Match[str]) -> str:
        digits = reference["hex"] or reference["decimal"]
        if digits is None:
            return reference[0]
        digits = digits.lstrip("0") or "0"
        number = _LAST + 1 if len(digits) > _DIGITS else int(digits, 16 if reference["hex"] else 10)
        if number > _LAST:
            return mark("&") + reference[0][1:]  # to no character at all
        return mark(chr(number)) if _ODD.match(chr(number)) else reference[0]

    by_reference = False
    told = _ODD.sub(lambda odd: mark(odd[0]), data.decode("utf-8", "surrogateescape"))
    by_reference = True
    told = _REFERENCE.sub(referred, told)
    return told.encode() if 0 <= left < _MOST else None


def spell(root: _Element, data: bytes, *, are_marked: bool) -> None:
    """Say odd bytes by their numbers in a document that was parsed of `data`, and what looks so.

    `are_marked`: it was `marked` before.
    """
    if (
        not are_marked
        and _is_utf_8(data)
        and not any(each in data for each in (b"\\", b"&#", _MARK_BYTES))
    ):
        return
    mark = r"\x" if are_marked else "".join(rf"\x{byte:02x}" for byte in _MARK_BYTES)

    def spelled(text: str) -> str:
        return _LOOKS_ODD.sub(r"\\x5c", text).replace(_MARK, mark)

    for element in cast("list[_Element]", _ELEMENTS(root, mark=_MARK)):
        if element.text:
            element.text = spelled(element.text)
        for child in element:
            if child.tail:
                child.tail = spelled(child.tail)
        for name, value in element.items():
            element.set(name, spelled(str(value)))


def odd_elements(root: _Element) -> list[_Element]:
    """The elements whose texts or attributes hold odd bytes, in the order of the document."""
    texts = cast("list[_ElementUnicodeResult]", _TEXTS(root))
    found = (each.getparent() for each in texts if _IS_ODD.search(each))
    return list(dict.fromkeys(each for each in found if each is not None))


def _is_utf_8(data: bytes) -> bool:
    declared = _ENCODING.match(data[:1000].removeprefix(b"\xef\xbb\xbf"))
    if declared:
        return declared[1].strip().lower() in (b"utf-8", b"utf8")
    return not data.startswith(_UTF_16)

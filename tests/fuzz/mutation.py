"""Bytes and XML made wrong in the ways that bytes and XML go wrong; the same for the same seed."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random

from lxml import etree

# Texts that readers of numbers, addresses, filters, names and XPaths stumble over.
HOSTILE = (
    *("", " ", "\t\n", "\u00a0", "\u2003", "any", "ANY", "none", "shared", "$variable", "\ufeff"),
    *("yes", "no", "Yes", "true", "0", "-1", "1e9", "0x10", "65536", "9" * 30, "9" * 5000, "٣٢"),
    *("0.0.0.0/0", "::/0", "::/95", "10.0.0.1/33", "10.0.0.1/", "/24", "10.0.0.0/08", "1.2.3"),
    *("256.1.1.1", "01.2.3.4", "::ffff:1.2.3.4", "fe80::1%eth0", "2001:db8::/129", ":" * 40),
    *("10.0.0.9-10.0.0.1", "10.0.0.1-::1", "-", "1-", "-1-2", "0.0.0.0-255.255.255.255"),
    *("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "10.0.0.0/0.255.255.254", "0.0.0.0/1.0.0.0"),
    *("10.0.0.0/0.85.85.85", "0-65535", "1,,2", "80-79", "1-2-3", "tcp/1-65535", "tcp/", ","),
    *("'a' and 'b'", "'", "''", "'a", "((((", "))", "not not not a", "and", "a or", "'a' 'b'"),
    *("(" * 2000 + "a" + ")" * 2000, "not " * 3000 + "a", "a or " * 3000 + "a", "a" * 70_000),
    *("../../etc/passwd", "]]>", "&amp;", "<b/>", "'\"", "{x}y", "a'][@name='b", "\U0001f512"),
    *("\u202e", "e\u0301", "é", "\U000e0001", "a\nb", "x" * 64, "x" * 300, "%s%n", "\\0", "--"),
    *("\\xe9", "\\x5cxe9", "\U0010fffd"),
)
TAGS = (
    *("entry", "member", "config", "shared", "readonly", "result", "response", "devices", "vsys"),
    *(
        "device-group",
        "template",
        "template-stack",
        "address",
        "address-group",
        "static",
        "dynamic",
    ),
    *("filter", "tag", "service", "protocol", "tcp", "port", "ip-netmask", "ip-range", "fqdn"),
    *("ip-wildcard", "rules", "security", "nat", "target", "negate", "action", "source", "from"),
    *("parent-dg", "dg-meta-data", "network", "interface", "layer3", "units", "ip", "zone", "x"),
    *("application", "default", "external-list", "type", "region", "disabled", "_", "é", "a.b-c"),
)
_ENTITIES = (
    '<!DOCTYPE config [<!ENTITY a "aaa"><!ENTITY b "&a;&a;"><!ENTITY d "&b;&b;">]>',
    '<!DOCTYPE config [<!ENTITY d SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE config SYSTEM "http://127.0.0.1:9/x.dtd">',
    "<!DOCTYPE config [<!ENTITY % p \"<!ENTITY d 'x'>\"> %p;]>",
    '<!DOCTYPE config [<!ATTLIST entry name CDATA "given">]>',
    "<!DOCTYPE config>",
)
# Runs of bytes that mean something to a parser of XML or to a decoder.
_TOKENS = (
    *(b"<", b">", b"/>", b"</", b"&", b"&#0;", b"&#x110000;", b"&d;", b"&lt;", b"]]>", b"<!--"),
    *(b"-->", b"<![CDATA[", b"<?x ?>", b"<?xml version='1.1'?>", b"xmlns='u'", b" name=''", b"'"),
    *(b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", b"\x1b", b"\r"),
    *(b"\xe9", b"\xe2\x82", b"&#1;", b"&#xD800;", b"\\xe9", b"&#92;", b"\xf4\x8f\xbf\xbd"),
    *(b"9" * 100, b"((((((((", b"\n" * 50, b"<entry/>", b"<entry name='x'>", b"</entry>"),
)
_ENCODINGS = (
    *("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "iso-8859-1", "cp1252", "utf-7"),
    *("ascii", "cp037", "shift_jis", "gb18030"),
)
_SMALL = 12  # children of one element, in most documents
_LARGEST = 1 << 20  # bytes; reading is held to its time and memory for each byte


def mutated_bytes(random: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Bytes with a few runs of them changed, lost, doubled, or taken from others."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at, end = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
        end = min(end, at + random.choice((1, 4, 60, len(data))))
        head, cut, tail = data[:at], data[at:end], data[end:]
        match random.randrange(8):
            case 0:
                flipped = bytes(each ^ (1 << random.randrange(8)) for each in cut[:4])
                data = head + flipped + cut[4:] + tail
            case 1:
                data = head + tail
            case 2:
                data = head
            case 3:
                times = random.choice((2, 3, 50, 2000))
                data = head + cut[: _LARGEST // times] * times + tail
            case 4:
                data = head + random.randbytes(random.choice((1, 2, 16))) + cut + tail
            case 5:
                other = random.choice(others) if others else data
                start = random.randint(0, len(other))
                data = head + other[start : start + random.choice((10, 300, len(other)))] + tail
            case 6:
                data = tail + head
            case _:
                data = head + random.choice(_TOKENS) + cut + tail
        data = data[:_LARGEST]
    return data


def mutated_xml(random: Random, root: etree._Element) -> bytes:
    """A document with elements, attributes and texts changed; then, sometimes, its bytes too.

    `root` stays as it is. Most documents are thinned out first, so that many can be read.
    """
    root = deepcopy(root)
    if random.random() < 0.95:
        _thin_out(random, root)
    for _ in range(random.choice((0, 1, 1, 2, 2, 3, 5, 10, 30))):
        # What was cut off a moment ago is not drawn from any longer.
        elements = list(root.iter(etree.Element))
        random.choice(_CHANGES)(random, elements)
    data = _written(random, root)
    return mutated_bytes(random, data) if random.random() < 0.15 else data[:_LARGEST]


def _thin_out(random: Random, root: etree._Element) -> None:
    most = random.choice((2, 4, _SMALL))
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if len(element) > most:
            kept = set(random.sample(range(len(element)), most))
            # Containers are few and name themselves; of entries and members there are many.
            element[:] = [
                child
                for number, child in enumerate(element)
                if number in kept or child.tag not in ("entry", "member", "job")
            ]
        waiting += element


# --- changes of the tree --------------------------------------------------------------------------

_Change = Callable[[Random, list[etree._Element]], None]


def _drop(random: Random, elements: list[etree._Element]) -> None:
    gone = random.choice(elements)
    if (parent := gone.getparent()) is not None:
        parent.remove(gone)


def _double(random: Random, elements: list[etree._Element]) -> None:
    """One element again, beside itself or anywhere else."""
    one = random.choice(elements)
    if (parent := one.getparent()) is not None:
        place = random.choice((parent, parent, random.choice(elements)))
        place.insert(random.randint(0, len(place)), deepcopy(one))


def _multiply(random: Random, elements: list[etree._Element]) -> None:
    """A small element hundreds of times, with one name or as many."""
    one = random.choice(elements)
    parent = one.getparent()
    most = _LARGEST // 4 // len(etree.tostring(one))
    if parent is None or len(elements) > 5_000:
        return
    numbered = random.random() < 0.5
    for number in range(min(most, random.choice((20, 100, 500, 2000)))):
        other = deepcopy(one)
        if numbered and other.get("name") is not None:
            other.set("name", f"{other.get('name')}-{number}")
        elif numbered and other.text and not len(other):
            other.text = f"{other.text}-{number}"
        parent.append(other)


def _swap(random: Random, elements: list[etree._Element]) -> None:
    """Two elements' insides."""
    one, other = random.choice(elements), random.choice(elements)
    if one in other.iterancestors() or other in one.iterancestors():
        return
    first, second = list(one), list(other)
    one[:], other[:] = [], []
    one.extend(second)
    other.extend(first)
    one.text, other.text = other.text, one.text


def _rename(random: Random, elements: list[etree._Element]) -> None:
    tag = random.choice((random.choice(TAGS), str(random.choice(elements).tag)))
    random.choice(elements).tag = tag


def _say(random: Random, elements: list[etree._Element]) -> None:
    """Another text: a hostile one, or that of another element."""
    said = random.choice(elements).text
    _set_text(random.choice(elements), random.choice((random.choice(HOSTILE), said or "")))


def _say_all(random: Random, elements: list[etree._Element]) -> None:
    """One text in every element of a tag."""
    tag, said = random.choice(elements).tag, random.choice(HOSTILE)
    most = _LARGEST // 4 // (len(said) + 1)
    for element in [each for each in elements if each.tag == tag][:most]:
        if not len(element):
            _set_text(element, said)


def _call(random: Random, elements: list[etree._Element]) -> None:
    """Another name: a hostile one, that of another element, or none."""
    element = random.choice(elements)
    if random.random() < 0.15:
        element.attrib.clear()
        return
    other = random.choice(elements).get("name") or ""
    name = random.choice((random.choice(HOSTILE), other, other, "n" * 200_000))
    _set(element, random.choice(("name", "name", "name", "status", "code", "uuid", "x")), name)


def _nest(random: Random, elements: list[etree._Element]) -> None:
    """An element inside many of a tag: its own, or any."""
    one = random.choice(elements)
    parent = one.getparent()
    if parent is None:
        return
    tag = random.choice((str(one.tag), random.choice(TAGS)))
    most = _LARGEST // 4 // (len(one.get("name", "")) + 1)
    for _ in range(min(most, random.choice((1, 3, 40, 200, 300)))):
        around = etree.Element(tag, {str(name): str(value) for name, value in one.attrib.items()})
        parent.replace(one, around)
        around.append(one)
        parent = around


def _interrupt(random: Random, elements: list[etree._Element]) -> None:
    """A comment or an instruction in the middle of a text."""
    element = random.choice(elements)
    inside: etree._Element = random.choice((etree.Comment("x"), etree.PI("x", "y")))
    said = element.text or "ab"
    element.text, inside.tail = said[: len(said) // 2], said[len(said) // 2 :]
    element.insert(0, inside)


def _trail(random: Random, elements: list[etree._Element]) -> None:
    """Text behind an element, where none should stand."""
    element = random.choice(elements)
    if element.getparent() is not None:
        element.tail = "stray"


def _into_namespace(random: Random, elements: list[etree._Element]) -> None:
    element = random.choice(elements)
    if random.random() < 0.5:
        element.set("{urn:x}name", "x")
    else:
        element.tag = f"{{urn:x}}{etree.QName(element).localname}"


def _encircle(random: Random, elements: list[etree._Element]) -> None:
    """Every member, parent or filter speaks of the names of a few entries."""
    names = [each.get("name") or "x" for each in random.sample(elements, min(9, len(elements)))]
    for element in elements[: _LARGEST // 4 // max(map(len, names))]:
        if element.tag in ("member", "parent-dg", "filter") and random.random() < 0.5:
            _set_text(element, random.choice(names))


_CHANGES: tuple[_Change, ...] = (
    *(_drop, _drop, _double, _double, _multiply, _swap, _rename, _rename, _say, _say, _say, _say),
    *(_say_all, _call, _call, _call, _nest, _interrupt, _trail, _into_namespace, _encircle),
)


def _set_text(element: etree._Element, text: str) -> None:
    try:
        element.text = text
    except ValueError:
        element.text = text.encode("ascii", "backslashreplace").decode()


def _set(element: etree._Element, attribute: str, value: str) -> None:
    try:
        element.set(attribute, value)
    except ValueError:
        element.set(attribute, "x")


# --- bytes ----------------------------------------------------------------------------------------


def _written(random: Random, root: etree._Element) -> bytes:
    """The document as text of some encoding, declared or not, with what may stand before it."""
    chance = random.random()
    if chance < 0.85:
        return etree.tostring(root)
    text = etree.tostring(root, encoding="unicode")
    if chance < 0.90:
        # The first text is where the entity is used.
        used = text.replace("</member>", "&d;</member>", 1) if random.random() < 0.7 else text
        return f"{random.choice(_ENTITIES)}{used}".encode()
    if chance < 0.93:
        return f"<!-- x --><?x y?>{text}<!-- z -->".encode()
    encoding = random.choice(_ENCODINGS)
    declared = random.choice((encoding, encoding, random.choice(_ENCODINGS), "x-none"))
    declaration = f'<?xml version="1.0" encoding="{declared}"?>'
    return f"{random.choice((declaration, declaration, ''))}{text}".encode(encoding, "replace")

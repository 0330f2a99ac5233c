"""From bytes to the `config` element of a Panorama, or one sentence on why that is not one."""

from lxml import etree

from sync.errors import SourceError
from sync.firewall.parse.odd_bytes import marked, spell
from sync.firewall.parse.xml import brief

_NAMESPACED = etree.XPath("boolean(//*[namespace-uri()] | //@*[namespace-uri()])")


# Panorama supports configurations of up to about 150 MB; libxml2 needs some ten times the size.
MAX_BYTES = 512 * 1024 * 1024


def parse(data: bytes, origin: str) -> etree._Element:
    """The `<config>` element of a Panorama document, bare or inside an API response.

    `origin` names the document in messages. `SourceError` if this is not XML, an API error, a
    firewall's configuration, or not a configuration at all.
    """
    return panorama(_config(xml_of(data, origin), origin), origin)


def xml_of(data: bytes, origin: str) -> etree._Element:
    """The root of an XML document; `SourceError` if this is none, or one that PAN-OS never writes.

    Entities, external references and texts past libxml2's limits are refused, so a hostile
    document costs no more memory than its size accounts for. Bytes that are not UTF-8, and
    characters that XML has none of, are read as in `sync.firewall.parse.odd_bytes`.
    """
    if not data.strip():
        raise SourceError(f"{origin} is empty; export the configuration again")
    try:
        root = _parsed(data)
        spell(root, data, are_marked=False)
    except etree.XMLSyntaxError as error:
        root = _mended(data, error, origin)
    if root.getroottree().docinfo.internalDTD is not None:
        raise SourceError(
            f"{origin} declares a document type, which no PAN-OS export does; it is refused"
        )
    if b"xmlns" in data.replace(b"\0", b"") and _NAMESPACED(root):
        raise SourceError(
            f"{origin} holds names in an XML namespace, which no PAN-OS export does; it is refused"
        )
    return root


def _parsed(data: bytes) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        # White space between elements is half of all nodes in what PAN-OS writes.
        remove_blank_text=True,
        remove_comments=True,
        remove_pis=True,
    )
    return etree.fromstring(data, parser)


def _mended(data: bytes, error: etree.XMLSyntaxError, origin: str) -> etree._Element:
    """The root of a document that can be parsed but for its odd bytes, with what they are."""
    told = marked(data)
    if told is not None:
        try:
            root = _parsed(told)
        except etree.XMLSyntaxError as still:
            error = still
        else:
            spell(root, told, are_marked=True)
            return root
    # libxml2 ends some of its sentences with a line break.
    said = " ".join((error.msg or "it is damaged").split()).replace(" ,", ",")
    if "XML_PARSE_HUGE" in said:
        said = "it is nested deeper, or holds a longer text, than any PAN-OS export"
    raise SourceError(
        f"{origin} cannot be read as XML: {brief(said)}; export the configuration again"
    ) from None


def _config(root: etree._Element, origin: str) -> etree._Element:
    if root.tag == "config":
        return root
    if root.tag != "response":
        raise SourceError(
            f"{origin} is not a PAN-OS configuration: its root is <{brief(str(root.tag))}>, "
            "not <config>; export the whole configuration (Panorama > Setup > Operations)"
        )
    if root.get("status", "").strip() != "success":
        words = [word for text in root.itertext() for word in str(text).split()]
        said = " ".join(words) or f"status {root.get('status', 'missing')!r}"
        raise SourceError(f"{origin} is an error that Panorama's API returned: {said[:500]}")
    config = root.find("result/config")
    if config is None:
        raise SourceError(
            f"{origin} is an API response without <result><config>; ask for the xpath /config"
        )
    return config


def panorama(config: etree._Element, origin: str) -> etree._Element:
    """Tell a Panorama's configuration from a firewall's: only a firewall has virtual systems."""
    if config.find("devices/entry/device-group") is not None:
        return config
    if any(config.find(f"devices/entry/{tag}") is not None for tag in ("vsys", "network")):
        raise SourceError(
            f"{origin} is the configuration of a firewall, not of a Panorama (it has virtual "
            "systems and no device groups); export it from the Panorama that manages the firewall"
        )
    if not any(config.find(tag) is not None for tag in ("shared", "devices", "panorama")):
        raise SourceError(
            f"{origin} has neither shared objects nor device groups; export the whole configuration"
        )
    return config

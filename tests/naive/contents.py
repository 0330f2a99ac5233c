"""What services and applications say of packets, from the texts that a document has of them.

Sources: the vendor's configuration schema. Ports are lists of ranges from 0 to 65535, which older
versions write as `any` too; IP protocols, ICMP types and their codes are lists of ranges from 0 to
255; types stand alone as text, or in elements with codes beside them.

A list is a set of numbers, and everything is a comparison with it. None is what nobody can read.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tests.naive.flows import ICMP, ICMP6, TCP, UDP, Flow

_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_ICMP = {"ident-by-icmp-type": ICMP, "ident-by-icmp6-type": ICMP6}
_NUMBER = "(0|[1-9][0-9]*)"
_ITEM = re.compile(rf"\s*{_NUMBER}\s*(?:-\s*{_NUMBER}\s*)?", re.ASCII)


@dataclass(frozen=True)
class Service:
    """A service's protocol and its ports, as they are written; no source is any."""

    protocol: str
    ports: str
    sources: str | None = None


@dataclass(frozen=True)
class Item:
    """One thing that an application is on by default; ICMP types may have codes beside them."""

    kind: str
    value: str
    codes: str | None = None


@lru_cache(1024)
def numbers(text: str, last: int) -> frozenset[int] | None:
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            return None
        first, end = int(match[1]), int(match[2] or match[1])
        if not first <= end <= last:
            return None
        found |= set(range(first, end + 1))
    return frozenset(found)


def _ports(text: str) -> frozenset[int] | None:
    return numbers("0-65535" if text == "any" else text, 65535)


# --- documents ------------------------------------------------------------------------------------


def written_service(entry: ET.Element) -> Service | None:
    """A service's entry, if there is nothing in it that says something else."""
    inner = [each for kind in entry.findall("protocol") for each in kind]
    if len(inner) != 1 or len(entry.findall("protocol")) != 1 or inner[0].tag not in _PROTOCOLS:
        return None
    if {each.tag for each in entry} - {"protocol", "tag", "description", "disable-override"}:
        return None
    if {each.tag for each in inner[0]} - {"port", "source-port", "override"}:
        return None
    ports, sources = (inner[0].findall(tag) for tag in ("port", "source-port"))
    if len(ports) != 1 or len(sources) > 1 or any(len(each) for each in (*ports, *sources)):
        return None
    return Service(inner[0].tag, _text(ports[0]), _text(sources[0]) if sources else None)


def written_default(entry: ET.Element) -> Sequence[Item] | None:
    """What an application's entry says of where it is by default."""
    defaults = entry.findall("default")
    if len(defaults) > 1:
        return None
    items: list[Item] = []
    for element in (each for default in defaults for each in default):
        if element.tag in ("port", "extended-port"):
            items += [Item(element.tag, _text(member)) for member in element]
        elif not len(element):
            items.append(Item(element.tag, _text(element)))
        else:
            types, codes = element.findall("type"), element.findall("code")
            if len(types) != 1 or len(codes) > 1 or len(element) != len(types) + len(codes):
                return None
            items.append(
                Item(element.tag, _text(types[0]), _text(codes[0]) if codes else None),
            )
    return items


def _text(element: ET.Element) -> str:
    return "".join(element.itertext()).strip(" \t\r\n")


# --- packets --------------------------------------------------------------------------------------


def service_holds(service: Service, flow: Flow) -> bool | None:
    ports, sources = _ports(service.ports), _ports(service.sources or "any")
    if ports is None or sources is None or service.sources == "":
        return None
    return (
        flow.protocol == _PROTOCOLS[service.protocol]
        and flow.port in ports
        and flow.source_port in sources
    )


def default_holds(items: Iterable[Item], flow: Flow) -> bool | None:
    """Whether a flow is where an application is by default; None where it may be."""
    answers = [_item_holds(each, flow) for each in items]
    if True in answers:
        return True
    return None if None in answers or not answers else False


def _item_holds(item: Item, flow: Flow) -> bool | None:
    if item.kind == "port":
        return _port_holds(item.value, flow)
    if item.kind == "extended-port":
        # It counts where traffic is decrypted only.
        return False if _port_holds(item.value.removesuffix("/secure"), flow) is False else None
    if item.kind == "ident-by-ip-protocol":
        protocols = numbers(item.value, 255)
        return None if protocols is None else flow.protocol in protocols
    if item.kind not in _ICMP:
        return None
    types = numbers(item.value, 255)
    codes = numbers("0-255" if item.codes is None else item.codes, 255)
    if types is None or codes is None:
        return None
    if flow.protocol != _ICMP[item.kind] or flow.icmp is None:
        return False
    return flow.icmp[0] in types and flow.icmp[1] in codes


def _port_holds(text: str, flow: Flow) -> bool | None:
    protocol, _, listed = text.partition("/")
    if protocol not in _PROTOCOLS:
        return None
    dynamic = "dynamic" in [each.strip() for each in listed.split(",")]
    fixed = ",".join(each for each in listed.split(",") if each.strip() != "dynamic")
    ports = frozenset[int]() if dynamic and not fixed else numbers(fixed, 65535)
    if ports is None:
        return None
    if _PROTOCOLS[protocol] != flow.protocol:
        return False
    return True if flow.port in ports else None if dynamic else False

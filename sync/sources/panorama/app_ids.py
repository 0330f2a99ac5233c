"""The App-IDs of a Panorama's own content, which change from week to week."""

from collections.abc import Mapping

from lxml import etree

from sync.firewall.objects import Application, ApplicationGroup
from sync.firewall.parse.objects import read_predefined
from sync.firewall.parse.xml import Remarks
from sync.sources.panorama.client import PanoramaHost
from sync.sources.panorama.errors import PanoramaError, RefusedError


def predefined(member: PanoramaHost) -> Mapping[str, Application | ApplicationGroup]:
    """Return App-IDs by name, containers as groups; `PanoramaError` if any are unavailable."""
    content = etree.Element("predefined")
    for kind in ("application", "application-container"):
        content.append(_subtree(member, kind))
    # An unreadable App-ID carries its problem to each rule that names it.
    return read_predefined(content, Remarks())


def _subtree(member: PanoramaHost, kind: str) -> etree._Element:
    """All App-IDs of one kind. Both calls are documented for firewalls, neither for Panorama."""
    xpath = f"/predefined/{kind}"
    try:
        found = _within(
            member.op(f"<show><predefined><xpath>{xpath}</xpath></predefined></show>"), kind
        )
    except RefusedError:
        found = None
    if found is None:
        found = _within(member.get(f"/config{xpath}"), kind)
    if found is None:
        raise PanoramaError(f"{member.line.where} shows nothing at /config{xpath}")
    return found


def _within(result: etree._Element | None, kind: str) -> etree._Element | None:
    if result is not None:
        for where in (kind, f"predefined/{kind}"):
            found = result.find(where)
            if found is not None and len(found):
                return found
    return None

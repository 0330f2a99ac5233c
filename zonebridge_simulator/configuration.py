"""Responses to `type=config`: `show` of the running configuration, `get` of the candidate."""

from copy import deepcopy

from lxml import etree

from .faults import ApiError
from .server import Answer
from .state import State

NO_SUCH_NODE = Answer(b'<response status="error"><msg><line>No such node</line></msg></response>')
NOT_PRESENT = Answer(b'<response status="success" code="7"><result/></response>')


def answer_config(state: State, action: str, xpath: str) -> Answer:
    with state.lock:
        match action:
            case "show":
                return show(state.running, xpath)
            case "get":
                return _get(state, xpath)
    return ApiError(f'Illegal value for parameter "action" [{action}].', 17, "msg").answer()


def show(root: etree._Element, xpath: str) -> Answer:
    """Nodes of the running configuration, without a code or counts."""
    if "|" in xpath:
        return _bad(xpath)  # documented with get alone
    found = _find(root, xpath)
    if found is None:
        return _bad(xpath)
    if not found:
        return NO_SUCH_NODE
    return Answer(b'<response status="success"><result>' + _nodes(found) + b"</result></response>")


def show_predefined(state: State, xpath: str) -> Answer:
    """Nodes of the content by the operational command, without a code or counts."""
    assert state.predefined is not None
    found = etree.fromstring(state.predefined).getroottree().xpath(xpath)
    if not isinstance(found, list) or not found:
        return ApiError("No data found. Verify xpath", 17).answer()
    nodes = _nodes([each for each in found if isinstance(each, etree._Element)])
    return Answer(b'<response status="success"><result>' + nodes + b"</result></response>")


def _get(state: State, xpath: str) -> Answer:
    if xpath.startswith("/config/predefined/"):
        # Content is no part of the configuration: no candidate is made to look for it.
        if state.predefined is None:
            return NOT_PRESENT
        return show_predefined(state, xpath.removeprefix("/config"))
    found = _find(marked(state), xpath)
    if found is None:
        return _bad(xpath)
    if not found:
        return NOT_PRESENT
    opening = (
        f'<response status="success" code="19"><result total-count="{len(found)}" '
        f'count="{len(found)}">'
    )
    return Answer(opening.encode() + _nodes(found) + b"</result></response>")


def marked(state: State) -> etree._Element:
    """The candidate as `get` returns it: entries that differ from the running one name an author.

    If none are, the last entry of all still carries what its commit left there.
    """
    root = deepcopy(state.candidate_root)
    touched = [] if state.candidate_root is state.running else _changed(state.running, root)
    if not touched:
        touched = list(root.iter("entry"))[-1:]
    for number, node in enumerate(touched, state.version):
        node.set("admin", "admin")
        node.set("dirtyId", str(number))
        node.set("time", state.clock().strftime("%Y/%m/%d %H:%M:%S"))
    return root


def _changed(old: etree._Element | None, new: etree._Element) -> list[etree._Element]:
    if old is not None and _said(old) == _said(new):
        return []
    found = [new] if new.tag == "entry" else []
    before = {} if old is None else {_key(each): each for each in old}
    for child in new:
        found += _changed(before.get(_key(child)), child)
    return found


def _key(node: etree._Element) -> tuple[str, str]:
    return str(node.tag), node.get("name", "")


def _said(node: etree._Element) -> bytes:
    return etree.tostring(node, method="c14n", with_tail=False)


def _find(root: etree._Element, xpath: str) -> list[etree._Element] | None:
    """The elements at a path from the root; None if it is no such path."""
    if not xpath.startswith("/config"):
        return None
    try:
        found = root.getroottree().xpath(xpath)
    except etree.XPathError:
        return None
    if not isinstance(found, list):
        return None
    nodes = [each for each in found if isinstance(each, etree._Element)]
    return nodes if len(nodes) == len(found) else None


def _nodes(found: list[etree._Element]) -> bytes:
    return b"".join(etree.tostring(each, with_tail=False) for each in found)


def _bad(xpath: str) -> Answer:
    return ApiError(f"Bad xpath: {xpath}", 6).answer()

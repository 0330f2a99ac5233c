"""Small readings of PAN-OS XML, and the remarks they make on the way."""

from collections.abc import Iterable, Iterator

from lxml.etree import _Element

from sync.firewall.configuration import Remark


class Remarks:
    """Collects remarks; an element's path is worked out only once it has gone wrong."""

    def __init__(self) -> None:
        self._found: list[Remark] = []

    def add(self, element: _Element, message: str) -> None:
        self._found.append(Remark(path(element), brief(message)))

    def __len__(self) -> int:
        return len(self._found)

    def sorted(self) -> tuple[Remark, ...]:
        """Every remark once, by path: the order of elements in the document does not show."""
        return tuple(sorted(set(self._found), key=lambda remark: (remark.path, remark.message)))


def path(element: _Element) -> str:
    """The XPath of an element from `/config`, entries by name, whatever surrounds the document."""
    steps: list[str] = []
    for each in (element, *element.iterancestors()):
        name = each.get("name")
        tag = brief(str(each.tag))
        steps.append(f"{tag}[@name='{brief(name)}']" if name is not None else tag)
        parent = each.getparent()
        # A template has a `config` of its own; the document's is the root, or in a `result`.
        if each.tag == "config" and (parent is None or parent.tag == "result"):
            break
    return "/" + "/".join(reversed(steps))


# The longest names of PAN-OS have 255 characters.
_LONGEST = 300


def brief(text: str) -> str:
    """The beginning of what is longer than anything that PAN-OS writes, for a message.

    A name may be as long as a document, and be in a message for each element under it.
    """
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


# What XML calls white space: other spaces are part of a name.
_SPACE = " \t\r\n"


def text(element: _Element) -> str:
    """An element's text without the white space around it."""
    return (element.text or "").strip(_SPACE)


def members(element: _Element, remarks: Remarks) -> tuple[str, ...] | None:
    """The texts of the `member` children in order; None, remarked, if anything else is there."""
    found: list[str] = []
    beside = text(element)
    for child in element:
        member = (child.text or "").strip(_SPACE)
        if not member or child.tag != "member" or len(child):
            remarks.add(child, "is not a member with a name; the list counts as unreadable")
            return None
        found.append(member)
        if child.tail:
            beside = beside or child.tail.strip(_SPACE)
    if beside:
        remarks.add(element, "holds text where members are expected; the list counts as unreadable")
        return None
    return tuple(found)


def entries(containers: Iterable[_Element], remarks: Remarks) -> Iterator[tuple[str, _Element]]:
    """The entries of all these containers with their names; other content is remarked."""
    for name, entry in named(containers, remarks):
        if entry.tag == "entry":
            yield name, entry
        else:
            remarks.add(entry, "is not an entry; it is left out")


def named(containers: Iterable[_Element], remarks: Remarks) -> Iterator[tuple[str, _Element]]:
    """The children of all these containers that have a name; the others are remarked."""
    for container in containers:
        for child in container:
            name = child.get("name", "").strip(_SPACE)
            if name:
                yield name, child
            else:
                remarks.add(child, "has no name; it is left out")


def yes(element: _Element) -> bool | None:
    """`yes` and `no` as a boolean; None for anything else."""
    return None if len(element) else {"yes": True, "no": False}.get(text(element))

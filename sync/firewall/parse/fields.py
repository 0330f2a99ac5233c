"""The children of one entry, each read at most once, and the first problem among them."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from lxml.etree import _Element

from sync.firewall.parse.xml import Remarks, brief, members, text

# Elements that do not affect the content of an object.
SILENT = frozenset({"description", "disable-override"})


def known(*tags: str) -> frozenset[str]:
    return SILENT | frozenset(tags)


MEMBERS = known("members", "member", "tag")

_NONE: frozenset[str] = frozenset()


class Fields:
    """The children of one entry by tag, each at most once, and the first problem among them.

    `direct` are members directly under the entry, as groups hold them in PAN-OS 5 and older.
    """

    __slots__ = ("_remarks", "_repeated", "direct", "found", "problem")

    def __init__(self, entry: _Element, expected: frozenset[str], remarks: Remarks) -> None:
        self.found = found = {child.tag: child for child in entry}
        self._remarks = remarks
        self._repeated: AbstractSet[str] = _NONE
        self.problem = ""
        self.direct: Sequence[str] = ()
        if len(found) != len(entry) or not found.keys() <= expected or "member" in found:
            self._sort_out(entry, expected)

    def _sort_out(self, entry: _Element, expected: frozenset[str]) -> None:
        """What is not one known element of each tag."""
        seen: set[str] = set()
        direct: list[str] = []
        repeated: set[str] = set()
        for child in entry:
            tag = child.tag
            if tag not in expected:
                self.fail(child, f"has an element <{tag}> that is not known here")
            elif tag == "member":
                direct.append(text(child))
                if len(child) or not text(child):
                    self.fail(child, "has a member without a name")
            elif tag in seen:
                repeated.add(tag)
                self.fail(child, f"has <{tag}> more than once")
            seen.add(tag)
        self._repeated, self.direct = repeated, direct

    def fail(self, element: _Element, problem: str) -> None:
        """Remark on an element; the first problem is the object's."""
        self._remarks.add(element, f"{problem}; anything that uses it is treated as unknown")
        # Every group that holds the object repeats it in a clause.
        self.problem = self.problem or brief(problem)

    def text(self, tag: str) -> str:
        """The text of a child, empty if there is none."""
        if tag not in self.found:
            return ""
        child = self.found[tag]
        if len(child):
            self.fail(child, "holds elements where text is expected")
        return text(child)

    def members(self, tag: str) -> tuple[str, ...] | None:
        """The members of a child, none if it is absent; None, a problem, if they are unreadable.

        Sorted: in the lists of objects their order has no meaning.
        """
        if tag not in self.found:
            return ()
        # Of two lists, the order in the document must not decide which one counts.
        listed = None if tag in self._repeated else members(self.found[tag], self._remarks)
        if listed is None:
            self.problem = self.problem or f"has an unreadable <{tag}>"
            return None
        return tuple(sorted(set(listed))) if len(listed) > 1 else listed

    def list_of(self, tag: str) -> tuple[str, ...]:
        """The members of a group: those of a child, or directly under the entry; sorted."""
        return tuple(sorted({*(self.members(tag) or ()), *self.direct}))

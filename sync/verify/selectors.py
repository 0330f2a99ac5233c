"""Evaluate selectors on labels as Calico does.

Source: `libcalico-go/lib/selector/parser` (`parser.go`, `ast.go`). `!=` and `not in` hold where the
label is absent, every other comparison does not; `!` binds closest, then `&&`, then `||`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

Labels = Mapping[str, str]

_KEY: Final = r"[A-Za-z0-9_./-]+"
_STRING: Final = r"(?:'[^']*'|\"[^\"]*\")"
_TOKEN: Final = re.compile(
    rf"""[ \t]*(?:
        (?P<sign>&&|\|\||[!()])
        | has\([ \t]*(?P<has>{_KEY})[ \t]*\)
        | (?P<all>all)\([ \t]*\)
        | (?P<key>{_KEY})[ \t]*(?:
            (?P<operator>==|!=|contains|starts[ \t]*with|ends[ \t]*with)[ \t]*(?P<value>{_STRING})
            | (?P<not>not[ \t]*)?in[ \t]*\{{(?P<values>(?:[ \t,]|{_STRING})*)\}}
        )
    )""",
    re.VERBOSE,
)
_VALUES: Final = re.compile(_STRING)
_BINDS: Final = {"||": 1, "&&": 2, "!": 3}


@dataclass(frozen=True, slots=True)
class Term:
    """One question about a label: `all`, `has`, `in`, `contains`, `starts` or `ends`.

    `==` is an `in` of one value, and `!=` and `not in` are the negation of one.
    """

    kind: Literal["all", "has", "in", "contains", "starts", "ends"]
    key: str = ""
    values: frozenset[str] = frozenset()

    def holds(self, labels: Labels) -> bool:
        """Whether labels pass it."""
        if self.kind == "all":
            return True
        found = labels.get(self.key)
        if found is None:
            return False
        if self.kind == "has":
            return True
        if self.kind == "in":
            return found in self.values
        (value,) = self.values
        if self.kind == "contains":
            return value in found
        return found.startswith(value) if self.kind == "starts" else found.endswith(value)


Tree: TypeAlias = "Term | tuple[str, Tree] | tuple[str, Tree, Tree]"
"""A selector as written: a test, `("!", tree)`, `("&&", left, right)` or `("||", left, right)`."""

_Step: TypeAlias = Term | str


class Selector:
    """A selector as a question about labels. Its depth costs no recursion, so none is too deep."""

    def __init__(self, text: str) -> None:
        """`ValueError` for what is not a selector, or has a meaning of its own (`global()`)."""
        self._steps: list[_Step] = []  # in reverse Polish notation
        waiting: list[str] = []
        position = 0
        while text[position:].strip(" \t"):
            token = _TOKEN.match(text, position)
            if token is None:
                raise ValueError(f"not a selector from character {position + 1}: {text!r}")
            position = token.end()
            sign = token["sign"]
            if sign is None:
                self._steps += _term(token)
            elif sign in ("!", "("):
                waiting.append(sign)
            else:
                binds = _BINDS.get(sign, 0)
                while waiting and waiting[-1] != "(" and _BINDS[waiting[-1]] >= binds:
                    self._steps.append(waiting.pop())
                if sign != ")":
                    waiting.append(sign)
                elif waiting:
                    waiting.pop()
                else:
                    raise ValueError(f"not a selector: ')' without '(' in {text!r}")
        if "(" in waiting:
            raise ValueError(f"not a selector: '(' without ')' in {text!r}")
        self._steps += reversed(waiting)
        self.matches({})  # whatever is out of its place fails here

    def matches(self, labels: Labels) -> bool:
        """Whether an object with these labels is selected."""
        stack: list[bool] = []
        try:
            for step in self._steps:
                if isinstance(step, Term):
                    stack.append(step.holds(labels))
                elif step == "!":
                    stack.append(not stack.pop())
                else:
                    right, left = stack.pop(), stack.pop()
                    stack.append((left and right) if step == "&&" else (left or right))
            (found,) = stack
        except (IndexError, ValueError) as error:
            raise ValueError("not a selector: something is out of place") from error
        return found

    def keys(self) -> frozenset[str]:
        """The labels that it tests."""
        return frozenset(
            step.key for step in self._steps if isinstance(step, Term) and step.kind != "all"
        )

    def needs(self) -> frozenset[tuple[str, str | None]] | None:
        """Labels of which whatever it selects has one, at least; None: it may need none at all.

        Each is a key and its value, or None for any value of it.
        """
        stack: list[frozenset[tuple[str, str | None]] | None] = []
        for step in self._steps:
            if isinstance(step, Term):
                values = step.values if step.kind == "in" else (None,)
                every = step.kind == "all"
                stack.append(None if every else frozenset((step.key, each) for each in values))
            elif step == "!":
                stack[-1] = None
            else:
                right, left = stack.pop(), stack.pop()
                if step == "||":
                    stack.append(None if left is None or right is None else left | right)
                elif left is None or right is None:
                    stack.append(right if left is None else left)
                else:
                    stack.append(min(left, right, key=len))
        (found,) = stack
        return found

    def tree(self) -> Tree:
        """The selector as it is written, parentheses resolved."""
        stack: list[Tree] = []
        for step in self._steps:
            if isinstance(step, Term):
                stack.append(step)
            elif step == "!":
                stack.append(("!", stack.pop()))
            else:
                right, left = stack.pop(), stack.pop()
                stack.append((step, left, right))
        (found,) = stack
        return found


def holds(tree: Tree, labels: Labels) -> bool:
    """Whether labels pass a selector as it is written."""
    if isinstance(tree, Term):
        return tree.holds(labels)
    if len(tree) == 2:
        return not holds(tree[1], labels)
    sign, left, right = tree
    both = holds(left, labels), holds(right, labels)
    return all(both) if sign == "&&" else any(both)


@lru_cache(1 << 14)
def selector(text: str) -> Selector:
    """The selector of a text; `ValueError` as `Selector`."""
    return Selector(text)


def _term(token: "re.Match[str]") -> tuple[_Step, ...]:
    """A comparison in reverse Polish notation."""
    if token["all"]:
        return (Term("all"),)
    if key := token["has"]:
        return (Term("has", key),)
    key = token["key"]
    if token["operator"] is None:
        values = frozenset(each[1:-1] for each in _VALUES.findall(token["values"]))
        among = Term("in", key, values)
        return (among, "!") if token["not"] else (among,)
    value = frozenset((token["value"][1:-1],))
    match token["operator"].replace(" ", "").replace("\t", ""):
        case "==":
            return (Term("in", key, value),)
        case "!=":
            return Term("in", key, value), "!"
        case "contains":
            return (Term("contains", key, value),)
        case "startswith":
            return (Term("starts", key, value),)
    return (Term("ends", key, value),)

"""The filter of a dynamic address group: a boolean expression over tags.

    filter := both ('or' both)*
    both   := one ('and' one)*
    one    := 'not' one | '(' filter ')' | tag
    tag    := a run of characters in single quotes, or a word outside quotes

`and` binds tighter than `or`; `not` and parentheses are accepted although the web interface offers
neither negation nor nesting of its own; operators may be in any case; a tag outside quotes cannot
hold spaces, quotes or parentheses. PAN-OS writes tags in single quotes, and real configurations
leave them out.
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*(?:(?P<quoted>'[^']*')|(?P<paren>[()])|(?P<word>[^\s()'\"]+)|(?P<bad>\S))")
_BINDING = {"or": 1, "and": 2, "not": 3}


@dataclass(frozen=True, slots=True)
class TagFilter:
    """A filter as text, the tags it speaks of, and its tokens in reverse Polish order.

    A token is (`tag`, name) or (operator, ""). That order needs no recursion, neither to build nor
    to answer, however deep the parentheses.
    """

    text: str
    tags: frozenset[str]
    steps: tuple[tuple[str, str], ...]

    def matches(self, tags: AbstractSet[str]) -> bool:
        """Whether something with exactly these tags is in the group."""
        stack: list[bool] = []
        for kind, name in self.steps:
            if kind == "tag":
                stack.append(name in tags)
            elif kind == "not":
                stack.append(not stack.pop())
            else:
                right, left = stack.pop(), stack.pop()
                stack.append((left and right) if kind == "and" else (left or right))
        return stack.pop()


def parse(text: str) -> TagFilter:
    """Read a filter; `ValueError` names the mistake and its character (from 1)."""
    steps: list[tuple[str, str]] = []
    waiting: list[tuple[str, int]] = []
    operand_next = True

    def settle(binding: int) -> None:
        while waiting and waiting[-1][0] != "(" and _BINDING[waiting[-1][0]] >= binding:
            steps.append((waiting.pop()[0], ""))

    for token in _TOKEN.finditer(text.rstrip()):
        at = token.start(token.lastgroup or 0) + 1
        word = token["word"]
        operator = word.lower() if word and word.lower() in _BINDING else ""
        if token["bad"]:
            raise ValueError(f"unexpected {token['bad']!r} at character {at}")
        if token["paren"] == ")":
            if operand_next:
                raise ValueError(f"a tag is missing before ')' at character {at}")
            settle(0)
            if not waiting:
                raise ValueError(f"')' at character {at} closes nothing")
            waiting.pop()
        elif operator in ("and", "or"):
            if operand_next:
                raise ValueError(f"a tag is missing before {word!r} at character {at}")
            settle(_BINDING[operator])
            waiting.append((operator, at))
            operand_next = True
        elif not operand_next:
            raise ValueError(f"'and' or 'or' is missing at character {at}")
        elif operator or token["paren"]:
            waiting.append((operator or "(", at))
        else:
            name = word or token["quoted"][1:-1]
            if not name.strip():
                raise ValueError(f"an empty tag at character {at}")
            steps.append(("tag", name))
            operand_next = False
    if operand_next:
        raise ValueError("it ends where a tag should follow" if steps else "it is empty")
    settle(0)
    if waiting:
        raise ValueError(f"'(' at character {waiting[-1][1]} is never closed")
    tags = frozenset(name for kind, name in steps if kind == "tag")
    return TagFilter(text, tags, tuple(steps))

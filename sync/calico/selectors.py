"""Calico's selectors: a recogniser of the whole grammar, and builders for the parts we write.

    selector   = conjunct { "||" conjunct }
    conjunct   = term { "&&" term }
    term       = { "!" } ( "(" selector ")" | "all()" | "global()" | "has(" key ")" | comparison )
    comparison = key ( "==" | "!=" | "contains" | "starts with" | "ends with" ) string
               | key ( "in" | "not in" ) "{" [ string { "," string } [ "," ] ] "}"
    key        = 1 to 512 of a-z A-Z 0-9 _ . / -
    string     = "'" characters but ' "'" | '"' characters but " '"'

Spaces and tabs may be between parts, but not before the `(` of a function; there are no escapes
and no line breaks outside strings. Source: `libcalico-go/lib/selector` (tokenizer and parser), in
the strictest reading of its releases: a word operator is separated from the key before it.

The recogniser keeps a depth instead of a stack: precedence decides what a selector means, never
whether it is one. So its cost is linear, and no nesting is too deep for it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_KEY = r"[A-Za-z0-9_./-]{1,512}+(?![A-Za-z0-9_./-])"
_STRING = r"(?:'[^']*+'|\"[^\"]*+\")"
_S = r"[ \t]*+"
_SPACES = re.compile(_S)
_WHOLE_KEY = re.compile(_KEY)


@dataclass(frozen=True, slots=True)
class SelectorProblem:
    """The first error of a selector: `position` in characters from 0, and what is wrong."""

    position: int
    message: str


@dataclass(frozen=True, slots=True)
class _State:
    """The tokens allowed here. The name of the matching group is the next state."""

    tokens: re.Pattern[str]
    expected: str


_STATES: Final = {
    "term": _State(
        re.compile(
            r"(?P<open>\()|(?P<term>!)"
            rf"|(?P<end>has\({_S}{_KEY}{_S}\)|(?:all|global)\({_S}\))"
            rf"|(?P<comparison>{_KEY})"
        ),
        "a label, has(label), all(), global(), '!' or '('",
    ),
    "comparison": _State(
        re.compile(
            rf"(?P<string>==|!=|contains|(?:starts|ends){_S}with)|(?P<set>(?:not{_S})?+in)\b"
        ),
        "an operator: ==, !=, in, not in, contains, starts with or ends with",
    ),
    "string": _State(re.compile(rf"(?P<end>{_STRING})"), "a string in quotes"),
    "set": _State(
        re.compile(rf"(?P<end>\{{{_S}(?:{_STRING}(?:{_S},{_S}{_STRING})*+(?:{_S},)?+)?+{_S}\}})"),
        "a set of strings: {'a', 'b'}",
    ),
    "end": _State(re.compile(r"(?P<term>&&|\|\|)|(?P<close>\))"), "'&&', '||' or ')'"),
}


@lru_cache(maxsize=4096)  # thousands of rules have the same few selectors
def problem(selector: str) -> SelectorProblem | None:
    """The problem that makes `selector` invalid for Calico, or None.

    Calico reads an empty selector as `all()`; here it is a problem, so that no policy selects
    everything by leaving something out.
    """
    state, depth, position = "term", 0, 0
    while True:
        position = _next(selector, position)
        if position == len(selector) and state == "end":
            break
        token = _STATES[state].tokens.match(selector, position)
        if token is None:
            return SelectorProblem(position, f"expected {_STATES[state].expected}")
        follower = token.lastgroup or state
        if follower == "close" and not depth:
            return SelectorProblem(position, "')' without '('")
        depth += (follower == "open") - (follower == "close")
        state = {"open": "term", "close": "end"}.get(follower, follower)
        position = token.end()
    return SelectorProblem(position, f"{depth} '(' without ')'") if depth else None


def has(key: str) -> str:
    """`has(key)`; `ValueError` if `key` is not allowed in a selector."""
    return f"has({_checked(key)})"


def equals(key: str, value: str) -> str:
    """`key == 'value'`; `ValueError` if either is not allowed in a selector.

    A value needs a kind of quote that it does not hold itself, and `global(` anywhere makes the
    API server take the whole for a misplaced `global()`.
    """
    return f"{_checked(key)} == {_quoted(value)}"


def one_of(key: str, values: Sequence[str]) -> str:
    """That a label has one of these values, at least one; `ValueError` as `equals`."""
    if len(values) == 1:
        return equals(key, values[0])
    return f"{_checked(key)} in {{{', '.join(map(_quoted, values))}}}"


def some_of(key: str, values: Sequence[str], room: int) -> list[str]:
    """Selectors that together mean `one_of`, as many values in each as `room` bytes hold."""
    packed: list[list[str]] = []
    for value in values:
        if packed and len(one_of(key, [*packed[-1], value]).encode()) <= room:
            packed[-1].append(value)
        else:
            packed.append([value])
    return [one_of(key, some) for some in packed]


def any_of(terms: Iterable[str], room: int) -> list[str]:
    """Selectors that together select what any of the terms does, as many in each as `room` holds.

    A longer term gets a selector of its own.
    """
    packed: list[list[str]] = []
    for term in terms:
        if packed and len(_joined([*packed[-1], term]).encode()) <= room:
            packed[-1].append(term)
        else:
            packed.append([term])
    return [_joined(some) for some in packed]


def _joined(terms: Sequence[str]) -> str:
    return terms[0] if len(terms) == 1 else " || ".join(f"({term})" for term in terms)


def _next(selector: str, position: int) -> int:
    spaces = _SPACES.match(selector, position)
    return spaces.end() if spaces else position


def _checked(key: str) -> str:
    if _WHOLE_KEY.fullmatch(key) is None:
        raise ValueError(
            f"{key!r} cannot be a label in a selector: use 1 to 512 letters, digits and _ . / -"
        )
    return key


def _quoted(value: str) -> str:
    if "global(" in value:
        raise ValueError(f"{value!r} cannot be a value in a selector: it holds 'global('")
    for quote in "'\"":
        if quote not in value:
            return f"{quote}{value}{quote}"
    raise ValueError(f"{value!r} cannot be a value in a selector: it holds both kinds of quotes")

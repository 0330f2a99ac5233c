"""Whether an object with some labels is selected, as Calico decides it.

Source: `libcalico-go/lib/selector/parser` (`parser.go`, `ast.go`). `!=` and `not in` hold where the
label is absent, every other comparison does not; `!` binds closest, then `&&`, then `||`.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

Labels = Mapping[str, str]
_Test = Callable[[Labels], bool]
_Step = _Test | str

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


class Selector:
    """A selector as a question about labels. Its depth costs no recursion, so none is too deep."""

    def __init__(self, text: str) -> None:
        """`ValueError` for what is no selector, or has a meaning of its own (`global()`)."""
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
                self._steps.append(_test(token))
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
                if callable(step):
                    stack.append(step(labels))
                elif step == "!":
                    stack.append(not stack.pop())
                else:
                    right, left = stack.pop(), stack.pop()
                    stack.append((left and right) if step == "&&" else (left or right))
            (found,) = stack
        except (IndexError, ValueError) as error:
            raise ValueError("not a selector: something stands out of its place") from error
        return found


@lru_cache(1 << 14)
def selector(text: str) -> Selector:
    """The selector of a text; `ValueError` as `Selector`."""
    return Selector(text)


def _test(token: "re.Match[str]") -> _Test:
    if token["all"]:
        return lambda _: True
    if key := token["has"]:
        return lambda labels: key in labels
    key = token["key"]
    if token["operator"] is None:
        values = {each[1:-1] for each in _VALUES.findall(token["values"])}
        if token["not"]:
            return lambda labels: labels.get(key) not in values
        return lambda labels: labels.get(key) in values
    value = token["value"][1:-1]
    match token["operator"].replace(" ", "").replace("\t", ""):
        case "==":
            return lambda labels: labels.get(key) == value
        case "!=":
            return lambda labels: labels.get(key) != value
        case "contains":
            return lambda labels: key in labels and value in labels[key]
        case "startswith":
            return lambda labels: key in labels and labels[key].startswith(value)
    return lambda labels: key in labels and labels[key].endswith(value)

"""YAML that others wrote, read without trusting it."""

from typing import Any

import yaml

_MAX_DEPTH = 64


class ForeignYamlError(Exception):
    """It is not read; the message says why, as what the document does, and quotes none of it."""


def load(data: bytes) -> Any:
    """The one document in `data`; `ForeignYamlError` for anything that is not plainly one.

    A few aliases can stand for more than fits into memory, and the loader calls itself for each
    level until the stack is used up, which no exception tells.
    """
    depth = 0
    try:
        for event in yaml.parse(data, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ForeignYamlError("holds a YAML alias (*name); write it out")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise ForeignYamlError(f"is nested more than {_MAX_DEPTH} levels deep")
        return yaml.load(data, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise ForeignYamlError(f"is not one YAML document{line}; correct it") from None
    # What PyYAML raises for a scalar that is not what it looks like: `!!int ''`, `1:1:…:1.5`.
    except (ValueError, LookupError, AttributeError, ArithmeticError):
        raise ForeignYamlError("holds a value that is not what its tag says; correct it") from None

"""The base of every section of the configuration, and checks that several sections share."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from sync.settings.problems import Problem, ProblemsError

_T = TypeVar("_T")


class Section(BaseModel):
    """A mapping of the configuration: frozen, and without unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


def valid(value: _T, problems: list[Problem]) -> _T:
    """Return the value; raise `ProblemsError` if it has problems."""
    if problems:
        raise ProblemsError(problems)
    return value


def keys_of_other_kinds(
    section: Section, keys_of_kind: Mapping[str, tuple[str, ...]], kind: str
) -> list[Problem]:
    """Return a problem for each key that belongs to another kind and differs from its default."""
    fields = type(section).model_fields
    return [
        Problem((key,), f"belongs to kind {other}; remove it, or change kind")
        for other, keys in keys_of_kind.items()
        for key in keys
        if other != kind and getattr(section, key) != fields[key].default
    ]


def duplicates(values: Iterable[tuple[tuple[str | int, ...], Any]]) -> list[Problem]:
    """Return a problem for each place whose value is a duplicate of an earlier one."""
    seen: set[Any] = set()
    problems = []
    for place, value in values:
        if value in seen:
            text = f"{value} is already used by an earlier one; each must be different"
            problems.append(Problem(place, text))
        seen.add(value)
    return problems

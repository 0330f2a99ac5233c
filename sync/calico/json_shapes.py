"""The shapes of JSON that a validator accepts; what has another shape is refused by its path."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

Refuse: TypeAlias = Callable[[str, str], None]
"""Called with the path of what is wrong, as `spec.egress[3].action`, and a clause about it."""


def within(value: object, least: int, most: int) -> bool:
    # Not isinstance: a boolean is not a number in JSON.
    return type(value) is int and least <= value <= most


def bounded(refuse: Refuse, path: str, size: int, most: int, unit: str) -> None:
    if size > most:
        refuse(path, f"has {size:,} {unit}; at most {most:,} may be written")


def members(
    refuse: Refuse,
    path: str,
    value: object,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> Mapping[str, Any]:
    """The members of an object that are known and not null; what else it holds is refused."""
    if not isinstance(value, dict):
        refuse(path, "must be an object")
        return {}
    # By far the most are as they should be, and there are several in each of very many rules.
    if (
        all(map(value.__contains__, required))
        and value.keys() <= _known_keys(required, optional)
        and None not in value.values()
    ):
        return value
    prefix = f"{path}." if path else ""
    for key in required:
        if key not in value:
            refuse(f"{prefix}{key}", "is missing")
    known = {}
    for key, member in value.items():
        if key not in required and key not in optional:
            refuse(f"{prefix}{key}", "is not a key that we write here")
        elif member is None:
            refuse(f"{prefix}{key}", "must not be null")
        else:
            known[key] = member
    return known


@lru_cache(64)
def _known_keys(required: tuple[str, ...], optional: tuple[str, ...]) -> frozenset[str]:
    return frozenset((*required, *optional))


def texts(refuse: Refuse, path: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        refuse(path, "must be an object")
        return {}
    if not {*map(type, value.values())} - {str}:
        return value
    for key, text in value.items():
        if not isinstance(text, str):
            refuse(f"{path}[{key}]", "must be text")
    return {key: text for key, text in value.items() if isinstance(text, str)}


def items(refuse: Refuse, path: str, value: object, most: int) -> list[Any]:
    """The members of a list; an empty one is refused, since Calico reads it as no constraint."""
    if not isinstance(value, list) or not value:
        refuse(path, "must be a list that is not empty")
        return []
    bounded(refuse, path, len(value), most, "members")
    return value

"""The differences between two configurations, by key; secrets show as stars."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from typing import Any

from pydantic import BaseModel

from sync.settings.models import Settings
from sync.settings.values import write_duration

AT_START = ("instance", "store", "engine", "health.bind", "audit.head_file")
"""Keys (or sections) that a process reads only when it starts."""

_LONGEST = 60  # characters of a value that is shown


def changes(before: Settings, after: Settings) -> list[str]:
    """Describe each key that differs: `drift: repair -> report`, `clusters[eu]: added`.

    List items with names are compared by name, since positions shift.
    """
    return list(_differing("", before, after))


def at_start(before: Settings, after: Settings) -> list[str]:
    """Return the changed keys that need a restart."""
    found = []
    for key in AT_START:
        old, new = _value(before, key), _value(after, key)
        found += [each.partition(":")[0] for each in _differing(key, old, new)]
    return found


def _value(settings: Settings, key: str) -> Any:
    value: Any = settings
    for each in key.split("."):
        value = getattr(value, each)
    return value


def _differing(place: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, BaseModel) and type(before) is type(after):
        prefix = f"{place}." if place else ""
        for key in type(before).model_fields:
            yield from _differing(f"{prefix}{key}", getattr(before, key), getattr(after, key))
        return
    old, new = _by_name(before), _by_name(after)
    if old is None or new is None:
        yield f"{place}: {_shown(before)} -> {_shown(after)}"
        return
    if [*old] != [*new] and {*old} == {*new}:
        yield f"{place}: in another order"
    for name in dict.fromkeys(chain(old, new)):
        where = f"{place}[{name}]"
        if name not in new:
            yield f"{where}: removed"
        elif name not in old:
            yield f"{where}: added"
        else:
            yield from _differing(where, old[name], new[name])


def _by_name(value: Any) -> dict[str, Any] | None:
    """Return a mapping, or list items by their names; None if they have no unique names."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, tuple) or not all(hasattr(each, "name") for each in value):
        return None
    names = [_named(each) for each in value]
    return dict(zip(names, value, strict=True)) if len({*names}) == len(names) else None


def _named(item: Any) -> str:
    # Two sources may have device groups with the same name.
    source = getattr(item, "source", None)
    return f"{source}/{item.name}" if source else str(item.name)


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return write_duration(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        value = f"[{', '.join(map(_shown, value))}]"
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

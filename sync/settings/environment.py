"""Overlay the environment on the configuration file.

    ZONEBRIDGE_STORE__URL=…                one value; __ goes one level down
    ZONEBRIDGE_CLUSTERS__0__PATH=out       an item of a list, by its position from 0
    ZONEBRIDGE_ADDRESS_GROUPS__TAGS=["k8s"]    a whole list or mapping, as JSON

Kubernetes puts ZONEBRIDGE_SERVICE_HOST, ZONEBRIDGE_PORT_8080_TCP and the like into every pod of a
namespace that has a service called zonebridge; these are ignored.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from sync.settings.problems import Place, Problem, did_you_mean, nearest
from sync.settings.shape import child, is_list, is_scalar, keys_of, plain

PREFIX = "ZONEBRIDGE_"
CONFIG = "ZONEBRIDGE_CONFIG"
"""Names the configuration file itself."""

_KUBERNETES = re.compile(
    r"([A-Z0-9]+_)*"  # the rest of the service's name
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True, slots=True)
class Overlaid:
    """A document with the environment laid over it.

    `origins` has the variable that set each place; `problems` are those of variables that fit
    nowhere.
    """

    document: dict[str, Any]
    origins: dict[Place, str]
    problems: list[Problem]


def overlay(
    document: Mapping[str, Any], environ: Mapping[str, str], model: type[BaseModel]
) -> Overlaid:
    """Overlay every `ZONEBRIDGE_…` variable on a copy of a model's document."""
    overlaid = Overlaid(copy.deepcopy(dict(document)), {}, [])
    found: list[tuple[Place, str, Any]] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == CONFIG:
            continue
        try:
            resolved = _resolve(name.removeprefix(PREFIX), model)
            if resolved:
                place, annotation = resolved
                found.append((place, name, _value(annotation, environ[name])))
        except ValueError as error:
            overlaid.problems.append(Problem((name,), str(error)))
    # A whole list is set before its items, item 0 before item 1.
    for place, name, value in sorted(found, key=lambda each: each[0]):
        try:
            _put(overlaid.document, place, value)
        except ValueError as error:
            overlaid.problems.append(Problem((name,), str(error)))
        else:
            overlaid.origins[place] = name
    return overlaid


def _resolve(name: str, model: type[BaseModel]) -> tuple[Place, Any] | None:
    """Return the place of a name (without its prefix), and its annotation; None: not ours."""
    place: Place = ()
    annotation: Any = model
    segments = name.split("__")
    for segment in segments:
        step = _step(annotation, segment)
        below = child(annotation, step)
        if below is None and len(segments) == 1:
            _refuse_misspelt(name, model)
            return None
        if below is None:
            raise ValueError(_misfit(annotation, place, segment))
        place, annotation = (*place, step), below
    return place, annotation


def _step(annotation: Any, segment: str) -> str | int:
    if keys_of(annotation):
        return segment.lower()
    is_position = is_list(annotation) and re.fullmatch("[0-9]{1,4}", segment)
    return int(segment) if is_position else segment


def _misfit(annotation: Any, place: Place, segment: str) -> str:
    keys = keys_of(annotation)
    if keys:
        known = [_variable((*place, key)) for key in keys]
        return f"unknown key; {did_you_mean(_variable((*place, segment)), known)}"
    if is_list(annotation):
        return f"{_variable(place)} is a list; give the position of an item, from 0"
    return f"{_variable(place)} is a single value; it has no parts"


def _refuse_misspelt(name: str, model: type[BaseModel]) -> None:
    """Refuse a name without __ that looks like a misspelt one of ours."""
    if _KUBERNETES.fullmatch(name):
        return
    # Compared without the prefix, which would make all names similar.
    known = [variable.removeprefix(PREFIX) for variable in _variables(model, ())]
    match = nearest(name.upper(), known, cutoff=0.75)
    if match:
        raise ValueError(f"unknown variable; did you mean {PREFIX}{match}?")


def _variables(annotation: Any, place: Place) -> Iterator[str]:
    """Yield the variables of all keys outside lists."""
    for key in keys_of(annotation):
        yield _variable((*place, key))
        yield from _variables(child(annotation, key), (*place, key))


def _variable(place: Place) -> str:
    return PREFIX + "__".join(str(step).upper() for step in place)


def _value(annotation: Any, text: str) -> Any:
    """Convert a variable's text to the value that the file would hold."""
    if plain(annotation) is SecretStr:
        return SecretStr(text)
    if text == "null" and type(None) in get_args(annotation):
        return None
    if is_scalar(annotation):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('must be JSON, such as ["one", "two"] or {"key": "value"}') from None


def _put(node: Any, place: Place, value: Any) -> None:
    """Set a value deep in mappings and lists, creating those that are missing."""
    key, *rest = place
    if isinstance(node, list) and isinstance(key, int):
        if key > len(node):
            raise ValueError(f"the list has {len(node)} items; the next position is {len(node)}")
        if key == len(node):
            node.append(None)
        current = node[key]
    elif isinstance(node, dict):
        current = node.get(key)
    else:
        return  # the file holds another type here, which validation reports
    if not rest:
        node[key] = value
        return
    if current is None:
        current = node[key] = [] if isinstance(rest[0], int) else {}
    _put(current, tuple(rest), value)

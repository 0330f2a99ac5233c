"""The shape of the models as data: their keys, and the values of a document at these keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from sync.settings.problems import Place


def plain(annotation: Any) -> Any:
    """Strip `Annotated` and `| None` from an annotation."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return plain(members[0]) if len(members) == 1 else annotation
    return annotation


def keys_of(annotation: Any) -> list[str]:
    """Return the keys of a section; none if the annotation is something else."""
    model = plain(annotation)
    is_section = isinstance(model, type) and issubclass(model, BaseModel)
    return list(model.model_fields) if is_section else []


def is_list(annotation: Any) -> bool:
    """Return whether the annotation is a list."""
    return get_origin(plain(annotation)) is tuple


def is_scalar(annotation: Any) -> bool:
    """Return whether the annotation is a single value, with nothing below it."""
    is_mapping = keys_of(annotation) or get_origin(plain(annotation)) is dict
    return not is_mapping and not is_list(annotation)


def child(annotation: Any, step: str | int) -> Any:
    """Return the annotation of a key or list position below another one; None: there is none."""
    annotation = plain(annotation)
    if keys_of(annotation):
        field = annotation.model_fields.get(step)
        return field and field.annotation
    if is_list(annotation) and isinstance(step, int):
        return get_args(annotation)[0]
    if get_origin(annotation) is dict and isinstance(step, str):
        return get_args(annotation)[1]
    return None


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a document: its place, the section that it belongs to, and that mapping."""

    place: Place
    section: type[BaseModel]
    mapping: dict[str, Any]
    key: str


def entries(value: Any, annotation: Any, place: Place = ()) -> Iterator[Entry]:
    """Yield every key in the sections of a document, known or not, from the top down.

    Skips values that do not have the shape of their annotation.
    """
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    for step, below in items:
        if keys_of(annotation) and isinstance(value, dict):
            yield Entry((*place, step), plain(annotation), value, step)
        under = child(annotation, step)
        if under is not None:
            yield from entries(below, under, (*place, step))

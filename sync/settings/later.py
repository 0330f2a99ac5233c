"""Settings for features that do not exist yet are rejected with an explanation.

A key of a missing feature is accepted only with its default. A new feature deletes its rows; the
last one deletes this module.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from sync.settings.problems import Problem, write_place
from sync.settings.shape import Entry, entries, keys_of

LATER: Mapping[str, str] = {
    "guard": "this version does not check these limits yet",
    "clusters[].guard": "this version does not check these limits yet",
    "audit.retention": "this version keeps audit records permanently",
    "audit.archive": "this version keeps audit records permanently",
    "web": "this version has no dashboard yet",
}
"""Key (or section) and what is missing for it."""


def not_yet(document: Any, model: type[BaseModel]) -> list[Problem]:
    """Return a problem for each value in a document that needs a missing feature.

    Skips unreadable values: they are problems of another kind.
    """
    found = [(entry.place, _missing(entry)) for entry in entries(document, model)]
    return [Problem(place, missing) for place, missing in found if missing]


def _missing(entry: Entry) -> str | None:
    written = re.sub(r"\[\d+\]", "[]", write_place(entry.place))
    key = next((key for key in LATER if f"{written}.".startswith(f"{key}.")), None)
    field = entry.section.model_fields.get(entry.key)
    if key is None or field is None or keys_of(field.annotation):
        return None  # a section: its keys are checked
    usual = field.get_default(call_default_factory=True)
    try:
        says = TypeAdapter(field.rebuild_annotation()).validate_python(entry.mapping[entry.key])
    except ValidationError:
        return None
    return None if says == usual else f"{LATER[key]}; remove the key"

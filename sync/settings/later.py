"""What the configuration can say already and this version cannot do yet.

A key of a missing feature is refused, not ignored, unless it says what would happen anyway. A
step that brings a feature deletes its rows; the last one deletes this module.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from sync.settings.problems import Problem, write_place
from sync.settings.shape import Entry, entries, keys_of

LATER: Mapping[str, str] = {
    "guard": "plans are not guarded by this version yet",
    "clusters[].guard": "plans are not guarded by this version yet",
    "audit.retention": "audit records are kept for ever by this version",
    "audit.archive": "audit records are kept for ever by this version",
    "web": "there is no dashboard in this version yet",
}
"""Key (or section) and what is missing for it."""


def not_yet(document: Any, model: type[BaseModel]) -> list[Problem]:
    """A problem for each value of a model's document that needs a feature still to come.

    Values that cannot be read are passed over: they are problems of another kind.
    """
    found = [(entry.place, _missing(entry)) for entry in entries(document, model)]
    return [Problem(place, missing) for place, missing in found if missing]


def _missing(entry: Entry) -> str | None:
    written = re.sub(r"\[\d+\]", "[]", write_place(entry.place))
    key = next((key for key in LATER if f"{written}.".startswith(f"{key}.")), None)
    field = entry.section.model_fields.get(entry.key)
    if key is None or field is None or keys_of(field.annotation):
        return None  # of a section, the keys in it are looked at
    usual = field.get_default(call_default_factory=True)
    try:
        says = TypeAdapter(field.rebuild_annotation()).validate_python(entry.mapping[entry.key])
    except ValidationError:
        return None
    return None if says == usual else f"{LATER[key]}; remove the key"

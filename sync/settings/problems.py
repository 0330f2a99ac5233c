"""Problems of a configuration: where, what, and what to do."""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sync.text import shortened

Place = tuple[str | int, ...]
"""The path to a value: keys, and the positions of list items from 0."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct; `text` has the problem and the remedy, never the value."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{write_place(self.place)}: {self.text}"


class ProblemsError(ValueError):
    """Several problems found by one check; their places are relative to the checked section."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        super().__init__("several problems")
        self.problems = tuple(problems)


def write_place(place: Place) -> str:
    """Render a place as operators write it: `clusters[0].device_groups[1].mode`."""
    written = ""
    for step in place:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            # A key may contain anything, line breaks and escape sequences included.
            plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", step)
            written += f".{step}" if plain else f".{json.dumps(step[:100])}"
    return written.removeprefix(".")


def listed(file: Path, problems: Sequence[object]) -> str:
    """Render all problems of a file, as one sentence or as a list."""
    if len(problems) == 1:
        return f"{file}: {problems[0]}."
    return "\n  ".join([f"{file} has {len(problems)} problems:", *map(str, problems)])


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word most similar to `word`, if the similarity (0 to 1) reaches `cutoff`."""
    matches = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word, or list all of them if none is near."""
    known = list(known)
    match = nearest(word, known)
    return f"did you mean {match}?" if match else f"known here: {shortened(known, ', ')}"


_TEXTS = {
    "missing": "is missing; add it",
    "literal_error": "must be {expected}",
    "string_type": "must be text; put it in quotes",
    "string_unicode": "must be text without lone surrogates; correct it",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list; write it as [one, two] or as lines that start with -",
    "model_type": "must be a mapping; write it as lines of key: value",
    "dict_type": "must be a mapping; write it as lines of key: value",
    "too_short": "is empty; name at least one",
    "too_long": "has {actual_length} items; name at most {max_length}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
"""Our messages by pydantic's type of error."""


def problems_of(error: ValidationError) -> list[Problem]:
    """Convert pydantic's errors to problems, in its order."""
    problems = []
    for finding in error.errors(include_url=False):
        place, kind, context = finding["loc"], finding["type"], finding.get("ctx", {})
        cause = context.get("error")
        if kind == "too_short" and finding["input"]:
            continue  # each invalid item has its own problem
        if isinstance(cause, ProblemsError):
            problems += [Problem(place + each.place, each.text) for each in cause.problems]
        elif cause is not None:
            problems.append(Problem(place, str(cause)))
        elif finding["input"] is None and kind != "missing":
            problems.append(Problem(place, "has no value; give it one or remove the key"))
        else:
            text = _TEXTS.get(kind, "cannot be read; docs/configuration.md describes it")
            problems.append(Problem(place, text.format(**context).replace("'", "")))
    return problems

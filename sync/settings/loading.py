"""From a file and the environment to settings, or to everything that is wrong with them."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from sync.errors import UsageError
from sync.settings.document import read_document
from sync.settings.environment import CONFIG, Overlaid, overlay
from sync.settings.later import not_yet
from sync.settings.models import Settings
from sync.settings.problems import Place, Problem, did_you_mean, listed, problems_of
from sync.settings.shape import entries
from sync.settings.values import relative_to, write_duration

_DEFAULT = "zonebridge.yaml"


def configuration_file(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The file that is read: `path`, else what ZONEBRIDGE_CONFIG names, else zonebridge.yaml."""
    return path or Path(environ.get(CONFIG) or _DEFAULT)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings in a configuration file, with the environment laid over them.

    `path` is the file that the command line named, if it did. Relative paths in the settings,
    those from the environment too, come back joined to the file's directory. `UsageError` lists
    every problem with its place; what compares sources or clusters with one another waits until
    each of them is right by itself.
    """
    file = configuration_file(path, environ)
    overlaid = overlay(read_document(file), environ)
    document = overlaid.document
    problems = overlaid.problems + _take_unknown(document)
    with relative_to(file.absolute().parent):
        problems += not_yet(document)
        try:
            settings = Settings.model_validate(document)
        except ValidationError as error:
            problems += problems_of(error)
    if problems:
        raise UsageError(_listed(file, problems, overlaid))
    return settings


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file, with a description of every key."""
    return Settings.model_json_schema(schema_generator=_SchemaGenerator)


class _SchemaGenerator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """A default as the file would say it; pydantic's own form of a duration is ISO 8601."""
        return write_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def generate_inner(self, schema: Any) -> dict[str, Any]:
        """Bounds in the words of JSON Schema; pydantic's own, behind a validator, are none."""
        found = super().generate_inner(schema)
        for ours, word in (("ge", "minimum"), ("le", "maximum")):
            if ours in found:
                found[word] = found.pop(ours)
        return found


def _take_unknown(document: dict[str, Any]) -> list[Problem]:
    """Take unknown keys out of a document, so that they keep nothing else from being judged."""
    problems = []
    for entry in entries(document, Settings):
        known = entry.section.model_fields
        if entry.key not in known:
            text = f"unknown key; {did_you_mean(entry.key, known)}"
            problems.append(Problem(entry.place, text))
            del entry.mapping[entry.key]
    return problems


def _listed(file: Path, problems: list[Problem], overlaid: Overlaid) -> str:
    return listed(
        file, [f"{problem}{_origin(problem.place, overlaid.origins)}" for problem in problems]
    )


def _origin(place: Place, origins: Mapping[Place, str]) -> str:
    """The variable that set a place, or something around it."""
    names = [name for origin, name in origins.items() if place[: len(origin)] == origin]
    return f" (set by {names[-1]})" if names else ""

"""The two sources of the configuration: its file, and the environment overlaid on that.

A value of the environment replaces the file's, a whole list or mapping too. pydantic-settings would
merge its sources key by key, so each top key comes from only one of ours: if a variable sets
anything below that key, from the environment, with the file's other values filled in.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from sync.errors import UsageError
from sync.settings.document import read_document
from sync.settings.environment import CONFIG, overlay
from sync.settings.later import not_yet
from sync.settings.problems import Place, Problem, did_you_mean, listed, problems_of
from sync.settings.shape import entries
from sync.settings.values import relative_to

_DEFAULT = "zonebridge.yaml"


def configuration_file(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file to read: `path`, else ZONEBRIDGE_CONFIG, else zonebridge.yaml."""
    return path or Path(environ.get(CONFIG) or _DEFAULT)


@dataclass(frozen=True, slots=True)
class Loading:
    """One loading of the configuration: its inputs, and what its sources find.

    `problems` are those that no model sees: unknown keys, keys of missing features, variables that
    fit nowhere. `origins` has the variable that set each place.
    """

    file: Path
    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    origins: dict[Place, str] = field(default_factory=dict)

    def refusal(self, problems: Sequence[Problem] = ()) -> UsageError:
        """Build the error that lists the sources' problems, then these, each with its variable."""
        everything = (*self.problems, *problems)
        lines = [f"{problem}{_origin(problem.place, self.origins)}" for problem in everything]
        return UsageError(listed(self.file, lines))


# pydantic-settings creates the sources itself, and cannot pass them this.
_current: ContextVar[Loading | None] = ContextVar("loading", default=None)


@contextmanager
def loading(file: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """Within the block, settings are loaded from `file` and `environ`.

    Raises `UsageError` with every problem that validation or a source finds.
    """
    current = Loading(file, environ)
    token = _current.set(current)
    try:
        with relative_to(file.absolute().parent):
            yield
    except ValidationError as error:
        raise current.refusal(problems_of(error)) from None
    finally:
        _current.reset(token)
    if current.problems:
        raise current.refusal()


def sources(settings_cls: type[BaseSettings]) -> tuple[PydanticBaseSettingsSource, ...]:
    """Return the sources of the current loading, by precedence; none outside of `loading`.

    Raises `UsageError` if the file cannot be read as a mapping.
    """
    current = _current.get()
    if current is None:
        return ()
    file = FileSource(settings_cls, current)
    return EnvironmentSource(settings_cls, current, file), file


class _DocumentSource(PydanticBaseSettingsSource):
    """Gives the top keys of a document that no earlier source has."""

    def __init__(
        self, settings_cls: type[BaseSettings], current: Loading, document: dict[str, Any]
    ) -> None:
        super().__init__(settings_cls)
        self._current = current
        self.document = document

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - not our signature
        """Return the value of a top key, for validation."""
        return self.document.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all top keys, without unknown keys, which would hide other problems."""
        own = {key: each for key, each in self.document.items() if key not in self.current_state}
        self._current.problems.extend(_take_unknown(own, self.settings_cls))
        self._current.problems.extend(not_yet(own, self.settings_cls))
        return own


class FileSource(_DocumentSource):
    """The configuration file."""

    def __init__(self, settings_cls: type[BaseSettings], current: Loading) -> None:
        super().__init__(settings_cls, current, read_document(current.file))


class EnvironmentSource(_DocumentSource):
    """The values of `ZONEBRIDGE_…` variables, and the file's other values under their top keys."""

    def __init__(
        self, settings_cls: type[BaseSettings], current: Loading, file: FileSource
    ) -> None:
        overlaid = overlay(file.document, current.environ, settings_cls)
        current.problems.extend(overlaid.problems)
        current.origins.update(overlaid.origins)
        keys = {place[0] for place in overlaid.origins}
        document = {key: each for key, each in overlaid.document.items() if key in keys}
        super().__init__(settings_cls, current, document)


def _take_unknown(document: dict[str, Any], settings_cls: type[BaseSettings]) -> list[Problem]:
    """Remove unknown keys from a document, so that the rest can be validated."""
    problems = []
    for entry in entries(document, settings_cls):
        known = entry.section.model_fields
        if entry.key not in known:
            text = f"unknown key; {did_you_mean(entry.key, known)}"
            problems.append(Problem(entry.place, text))
            del entry.mapping[entry.key]
    return problems


def _origin(place: Place, origins: Mapping[Place, str]) -> str:
    """Name the variable that set a place, or a place above it."""
    names = [name for origin, name in origins.items() if place[: len(origin)] == origin]
    return f" (set by {names[-1]})" if names else ""

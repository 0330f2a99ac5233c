"""The configuration as settings, and its JSON Schema."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from sync.settings.models import Settings
from sync.settings.values import write_duration


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings in a configuration file, with the environment laid over them.

    `path` is the file that the command line named, if it did. Relative paths in the settings,
    those from the environment too, come back joined to the file's directory. `UsageError` lists
    every problem with its place; what compares sources or clusters with one another waits until
    each of them is right by itself.
    """
    return Settings(_file=path, _environ=environ)


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

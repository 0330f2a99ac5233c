"""Load the configuration as settings, and generate its JSON Schema."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from sync.settings.models import Settings
from sync.settings.values import write_duration


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Load the settings of a configuration file, with the environment overlaid.

    `path` is the file that the command line named, if any. Relative paths in the settings, those
    from the environment too, are joined to the file's directory. `UsageError` lists every problem
    with its place; sources or clusters are compared with each other only once each is valid by
    itself.
    """
    return Settings(_file=path, _environ=environ)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, with a description of every key."""
    return Settings.model_json_schema(schema_generator=_SchemaGenerator)


class _SchemaGenerator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Write a default as the file would have it; pydantic writes durations as ISO 8601."""
        return write_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def generate_inner(self, schema: Any) -> dict[str, Any]:
        """Write bounds as JSON Schema has them; behind a validator pydantic uses its own names."""
        found = super().generate_inner(schema)
        for ours, word in (("ge", "minimum"), ("le", "maximum")):
            if ours in found:
                found[word] = found.pop(ours)
        return found

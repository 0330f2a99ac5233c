"""Read the configuration file as a document: mappings, lists, text, integers, true and null."""

from pathlib import Path
from typing import Any

from sync import yaml_documents
from sync.errors import UsageError

_LONGEST = 1024 * 1024  # bytes; a configuration of a thousand clusters is a tenth of this


def read_document(file: Path) -> dict[str, Any]:
    """Return the top mapping of a YAML file; `UsageError` with file, line and remedy if invalid."""
    text = _read_text(file)
    try:
        document = yaml_documents.load(text, "core")
    except yaml_documents.RefusedYamlError as error:
        if not error.line:
            raise UsageError(f"{file} {error.problem}.") from None
        place = f"line {error.line}, column {error.column}"
        raise UsageError(f"{file}, {place}: {error.problem}. Correct the YAML there.") from None
    if document is None:
        raise UsageError(f"{file} is empty; it needs at least sources and clusters.")
    if not isinstance(document, dict):
        raise UsageError(f"{file} must hold a mapping (lines of key: value) at its top.")
    return document


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(_LONGEST + 1)
    except FileNotFoundError:
        raise UsageError(
            f"There is no configuration file {file}; write one with `zonebridge config init`, or "
            "name yours with --config or ZONEBRIDGE_CONFIG."
        ) from None
    except IsADirectoryError:
        raise UsageError(f"{file} is a directory; name the configuration file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not a path"
        raise UsageError(f"The configuration file {file} cannot be read: {reason}.") from None
    if len(content) > _LONGEST:
        raise UsageError(f"{file} is larger than 1 MiB; it is not a configuration.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}, line {line}, is not UTF-8; save the file as UTF-8.") from None

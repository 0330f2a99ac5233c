"""The configuration file as a plain document: mappings, lists, text, whole numbers, true and null.

YAML as people expect it: `on`, `no` and `2024-01-01` are text, `0101` is not octal, a key is given
once. Aliases and tags are refused, so a small file cannot unfold into a large document.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from sync.errors import UsageError

_LONGEST = 1024 * 1024  # bytes; a configuration of a thousand clusters is a tenth of this


class _Loader(yaml.SafeLoader):
    """SafeLoader with the few scalars of YAML 1.2's core schema that a configuration needs."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call] # the stubs lack it
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("aliases (*) are not read; write the value out", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _refusal("tags (!) are not read; put text in quotes", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal("a key must be text; put it in quotes", key_node.start_mark)
            if key in mapping:
                raise _refusal("this key is given twice; remove one", key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


def _refusal(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


_Loader.yaml_implicit_resolvers = {}
for _tag, _form, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "-?(?:0|[1-9][0-9]{0,17})", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), _first)


def read_document(file: Path) -> dict[str, Any]:
    """The top mapping of a YAML file; `UsageError` with file, line and remedy if it has none."""
    text = _read_text(file)
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise UsageError(_describe(file, error)) from None
    except yaml.YAMLError:
        raise UsageError(f"{file} holds a control character; remove it.") from None
    except RecursionError:
        raise UsageError(f"{file} is nested too deeply; it is no configuration.") from None
    if document is None:
        raise UsageError(f"{file} is empty; it needs at least sources and clusters.")
    if not isinstance(document, dict):
        raise UsageError(f"{file} must hold a mapping (lines of key: value) at its top.")
    return document


def _describe(file: Path, error: yaml.MarkedYAMLError) -> str:
    # A quoted word is text of the file, perhaps a secret; one character and <tokens> are not.
    keep_or_hide = r"('\\?.'|'<[a-z ]+>')|'[^']*'"
    problem = re.sub(keep_or_hide, lambda quoted: quoted[1] or "a word", error.problem or "")
    mark = error.problem_mark
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{file}{place}: {problem}. Correct the YAML there."


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(_LONGEST + 1)
    except FileNotFoundError:
        raise UsageError(
            f"There is no configuration file {file}; write one (docs/configuration.md has a "
            "first one), or name yours with --config or ZONEBRIDGE_CONFIG."
        ) from None
    except IsADirectoryError:
        raise UsageError(f"{file} is a directory; name the configuration file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not a path"
        raise UsageError(f"The configuration file {file} cannot be read: {reason}.") from None
    if len(content) > _LONGEST:
        raise UsageError(f"{file} is larger than 1 MiB; it is no configuration.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}, line {line}, is not UTF-8; save the file as UTF-8.") from None

"""Load untrusted YAML.

One document of mappings, lists and values; each key is text and unique. Aliases are refused, so
that a small document cannot expand into a large one. Nesting is bounded, since the loader recurses
for each level, and a stack overflow would end the process.

The caller chooses the schema of plain scalars: `core` has only the few types that a configuration
needs (`on`, `no` and `2024-01-01` are text, `0101` is not octal) and refuses tags; `kubernetes`
is YAML 1.1, as Kubernetes' own tools read it.
"""

import re
from collections.abc import Hashable, Mapping
from typing import Any, Final, Literal

import yaml

_MOST_LEVELS: Final = 64
# A quoted word comes from the document and may be secret; single characters and <tokens> do not.
_QUOTED: Final = re.compile(r"('\\?.'|'<[a-z ]+>')|'[^']*'")

Schema = Literal["core", "kubernetes"]


class RefusedYamlError(Exception):
    """A document is refused: `problem` is a clause that quotes none of it.

    `line` and `column` begin at 1; both are 0 if the clause is about the whole document.
    """

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


def load(text: str | bytes, schema: Schema) -> Any:
    """Load the one document of a text, None if it is empty; else raise `RefusedYamlError`."""
    loader = _LOADERS[schema]
    try:
        _require_plain(text, loader)
        return yaml.load(text, loader)  # noqa: S506 - a safe one
    except yaml.MarkedYAMLError as error:
        problem = _QUOTED.sub(lambda quoted: quoted[1] or "a word", error.problem or "")
        mark = error.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise RefusedYamlError(problem, *place) from None
    except yaml.YAMLError:
        raise RefusedYamlError("holds a control character; remove it") from None
    # PyYAML's errors for scalars that do not fit their type: `!!int ''`, `1:1:…:1.5`.
    except (ValueError, LookupError, AttributeError, ArithmeticError):
        raise RefusedYamlError("holds a value that is not of its tag's type; correct it") from None


def _require_plain(text: str | bytes, loader: "_Loader") -> None:
    """Refuse aliases, tags and deep nesting, event by event, without recursion."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("aliases (*) are not read; write the value out", event.start_mark)
        if loader is _CoreLoader and getattr(event, "tag", None) is not None:
            raise _refusal("tags (!) are not read; put text in quotes", event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_LEVELS:
            raise RefusedYamlError(f"is nested too deeply, more than {_MOST_LEVELS} levels")


class _OnceEach(yaml.constructor.SafeConstructor):
    """Constructs mappings whose keys are text and unique."""

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


class _CoreLoader(_OnceEach, yaml.SafeLoader):
    """Loads only the few scalars of YAML 1.2's core schema that a configuration needs."""


class _KubernetesLoader(_OnceEach, yaml.CSafeLoader):
    """Loads YAML 1.1 with the C parser: a directory may hold thousands of manifests."""


_Loader = type[_CoreLoader] | type[_KubernetesLoader]
_LOADERS: Final[Mapping[Schema, _Loader]] = {"core": _CoreLoader, "kubernetes": _KubernetesLoader}

_CoreLoader.yaml_implicit_resolvers = {}
for _tag, _form, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "-?(?:0|[1-9][0-9]{0,17})", list("-0123456789")),
):
    _CoreLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), _first
    )


def _refusal(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)

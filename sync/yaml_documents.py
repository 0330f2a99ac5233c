"""YAML that others wrote, read without trusting it.

One document of mappings, lists and values; each key is text and given once. Aliases are refused, so
a small document cannot unfold into a large one, and nesting is bounded: the loader calls itself for
each level until the stack is used up, which no exception tells.

What a plain scalar means is the reader's to choose: `core` has only the few that a configuration
needs (`on`, `no` and `2024-01-01` are text, `0101` is not octal) and refuses tags, `kubernetes`
reads YAML 1.1, as Kubernetes' own tools do.
"""

import re
from collections.abc import Hashable, Mapping
from typing import Any, Final, Literal

import yaml

_MOST_LEVELS: Final = 64
# A quoted word is text of the document, perhaps a secret; one character and <tokens> are not.
_QUOTED: Final = re.compile(r"('\\?.'|'<[a-z ]+>')|'[^']*'")

Schema = Literal["core", "kubernetes"]


class RefusedYamlError(Exception):
    """A document that is not read: a clause that quotes none of it, and where it is.

    `line` and `column` begin at 1; both are 0 where the clause is about the whole document.
    """

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


def load(text: str | bytes, schema: Schema) -> Any:
    """The one document in a text, None if it is empty; `RefusedYamlError` for anything else."""
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
    # What PyYAML raises for a scalar that is not what it looks like: `!!int ''`, `1:1:…:1.5`.
    except (ValueError, LookupError, AttributeError, ArithmeticError):
        raise RefusedYamlError("holds a value that is not what its tag says; correct it") from None


def _require_plain(text: str | bytes, loader: "_Loader") -> None:
    """Refuse what must not be composed, event by event, which needs no more stack for depth."""
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
    """Mappings whose keys are text and given once."""

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
    """With the few scalars of YAML 1.2's core schema that a configuration needs."""


class _KubernetesLoader(_OnceEach, yaml.CSafeLoader):
    """The fast one: a directory may hold thousands of manifests."""


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

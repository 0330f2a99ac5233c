"""Read documents: the rules of policies, the labels that they name, and those of sets.

What a cluster holds may have been written by anyone: a part of another shape counts as absent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from sync.calico.names import RANK_ANNOTATION

DIRECTIONS = ("ingress", "egress")

Label = tuple[str, str | None]
"""A label's key and value; None as the value is the key alone, as in `has(key)`."""

# Every comparison of `sync.calico.selectors`. What looks like one inside a string is taken for one
# too: then a set stays that might have gone, and never the other way.
_KEY = r"[A-Za-z0-9_./-]{1,512}+"
_NAMED = re.compile(
    rf"has\([ \t]*(?P<has>{_KEY})"
    rf"|(?P<key>{_KEY})[ \t]*(?P<operator>==|!=|(?:not[ \t]*)?in[ \t]*(?=\{{)|"
    r"contains|(?:starts|ends)[ \t]*with)"
    r"[ \t]*(?P<values>\{[^}]*\}|'[^']*'|\"[^\"]*\")"
)
_STRING = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def mapping(document: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """A mapping inside a document; empty where there is none."""
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def rules(document: Mapping[str, Any], direction: str) -> Sequence[Any]:
    """The rules of a policy in one direction, `ingress` or `egress`."""
    found = mapping(document, "spec").get(direction)
    return found if isinstance(found, list) else []


def essence(rule: Any) -> bytes:
    """A rule without its rank, which changes with every rule added or removed above it."""
    annotations = dict(mapping(rule, "metadata", "annotations"))
    annotations.pop(RANK_ANNOTATION, None)
    kept = {**rule, "metadata": annotations} if isinstance(rule, dict) else rule
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def carried(document: Mapping[str, Any]) -> frozenset[Label]:
    """The labels of an object, each with its value and as a key alone."""
    labels = mapping(document, "metadata", "labels")
    return frozenset(
        label for key, value in labels.items() for label in ((key, str(value)), (key, None))
    )


def named(document: Mapping[str, Any]) -> frozenset[Label]:
    """The labels that a policy's rules name in the selectors of their ends."""
    return frozenset(
        label for selector in _selectors(document) for label in _labels_named(selector)
    )


def allowed_by(document: Mapping[str, Any]) -> frozenset[Label]:
    """The labels that a policy names by which it allows more when sets grow."""
    return _named_where(document, denies=False)


def denied_by(document: Mapping[str, Any]) -> frozenset[Label]:
    """The labels that a policy names by which it allows more when sets shrink."""
    return _named_where(document, denies=True)


def _named_where(document: Mapping[str, Any], *, denies: bool) -> frozenset[Label]:
    """The labels by which it denies more when sets grow, or allows more."""
    return frozenset(
        label
        for direction in DIRECTIONS
        for rule in rules(document, direction)
        for end in ("source", "destination")
        if isinstance(selector := mapping(rule, end).get(_growing(rule, denies=denies)), str)
        for label in _labels_named(selector)
    )


def _growing(rule: Any, *, denies: bool) -> str:
    action = mapping({"rule": rule}, "rule").get("action")
    return "selector" if (action == "Deny") is denies else "notSelector"


def _selectors(document: Mapping[str, Any]) -> Iterator[str]:
    for direction in DIRECTIONS:
        for rule in rules(document, direction):
            for end in ("source", "destination"):
                entity = mapping(rule, end)
                for key in ("selector", "notSelector"):
                    if isinstance(selector := entity.get(key), str):
                        yield selector


@lru_cache(1 << 14)
def _labels_named(selector: str) -> frozenset[Label]:
    return frozenset(_compared(selector))


def _compared(selector: str) -> Iterator[Label]:
    for match in _NAMED.finditer(selector):
        if key := match["has"]:
            yield key, None
        elif match["operator"] in ("==", "!=") or match["values"].startswith("{"):
            for single, double in _STRING.findall(match["values"]):
                yield match["key"], single or double
        else:
            yield match["key"], None

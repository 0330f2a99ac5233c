"""The written form of an object: what goes to a cluster, into the audit trail and into a digest.

A `Manifest` is made once from an object and then travels unchanged: the plan compares its bytes,
the store keeps them as a body, a cluster is sent them. Nothing after it rebuilds the object.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from sync.calico.contents import Contents


@dataclass(frozen=True)
class Manifest:
    """One object as canonical JSON.

    `kind` and `name` are those in the document; `body` is its RFC 8785 form in UTF-8 (keys are
    ASCII and numbers are integers, so sorted keys are that form); `digest` is the SHA-256 of
    `body` in lower-case hex.
    """

    kind: str
    name: str
    body: bytes
    digest: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Manifest":
        """Freeze a document with `kind` and `metadata.name`; `KeyError` if it has neither."""
        body = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(body).hexdigest()
        return cls(document["kind"], document["metadata"]["name"], body, digest)

    @cached_property
    def contents(self) -> Contents:
        """The content that plans need, parsed once."""
        return Contents.of(self.document())

    def document(self) -> dict[str, Any]:
        """The document again, a new one each time."""
        document: dict[str, Any] = orjson.loads(self.body)
        return document


def first_difference(sent: Any, held: Any, path: str = "") -> str:
    """The first path where two documents differ, as `spec.ingress[0].action`; "" if equal."""
    if isinstance(sent, dict) and isinstance(held, dict):
        for key in sorted(sent.keys() | held.keys(), key=str):
            place = f"{path}.{key}" if path else str(key)
            if key not in sent or key not in held:
                return place
            if found := first_difference(sent[key], held[key], place):
                return found
        return ""
    if isinstance(sent, list) and isinstance(held, list):
        for i, (one, other) in enumerate(zip(sent, held, strict=False)):
            if found := first_difference(one, other, f"{path}[{i}]"):
                return found
        return "" if len(sent) == len(held) else f"{path}[{min(len(sent), len(held))}]"
    return "" if sent == held else path

"""The last known good snapshot of a source, for a service that starts while the source is down.

Only the version that wrote it reads it: one of another version, or of another layout, is ignored.
Fields that could hold a secret and that no cluster needs are not written:
the URLs of external dynamic lists (they may carry a password or a token) become numbers, the
descriptions of rules and the comments of tags are left out. A snapshot has no other passwords or
keys: the parser skips the parts of a document that hold them.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sync import __version__
from sync.firewall.configuration import Scope, Snapshot
from sync.sources import Memory

_KIND, _NAME = "snapshot", "last good"


def keep(memory: Memory, snapshot: Snapshot, time: float) -> None:
    """Remember the snapshot of a source at a Unix time; raises what the memory raises."""
    kept = (time, _without_secrets(snapshot))
    memory.remember(_KIND, _NAME, _tag() + _adapter().dump_json(kept))


def kept(memory: Memory) -> tuple[float, Snapshot] | None:
    """Return the last kept snapshot with its time; None if this version can read none."""
    return understood(recalled(memory))


def recalled(memory: Memory) -> bytes | None:
    """Return the last kept snapshot as bytes, to see whether it changed."""
    return memory.recall(_KIND, _NAME)


def understood(found: bytes | None) -> tuple[float, Snapshot] | None:
    """Parse the `recalled` bytes; None if this version cannot read them."""
    if found is None or not found.startswith(_tag()):
        return None
    try:
        return _adapter().validate_json(found[len(_tag()) :], strict=True)
    except ValidationError:
        return None


@cache
def _adapter() -> TypeAdapter[tuple[float, Snapshot]]:
    # Only its fields identify the kind of an object: none may be unknown. If several kinds fit,
    # pydantic takes the first one of the union, so the one with the fewest fields comes first.
    return TypeAdapter(tuple[float, Snapshot], config=ConfigDict(extra="forbid"))


@cache
def _tag() -> bytes:
    """One line: the version that wrote the rest, and a digest of its layout."""
    layout = orjson.dumps(_adapter().json_schema(), option=orjson.OPT_SORT_KEYS)
    return f"{__version__} {hashlib.sha256(layout).hexdigest()}\n".encode()


def _without_secrets(snapshot: Snapshot) -> Snapshot:
    configuration = snapshot.configuration
    groups = configuration.device_groups
    scopes = [configuration.shared, *(group.scope for group in groups.values())]
    urls = {*snapshot.lists, *(url for scope in scopes for url in _urls(scope))}
    # Predefined lists are there by name, and their names have none of these characters.
    secret = sorted(url for url in urls if set(url) & set("/.:@?"))
    hidden = {url: f"hidden:{number}" for number, url in enumerate(secret, 1)}
    return replace(
        snapshot,
        configuration=replace(
            configuration,
            shared=_bare(configuration.shared, hidden),
            device_groups={
                name: replace(group, scope=_bare(group.scope, hidden))
                for name, group in groups.items()
            },
        ),
        lists={hidden.get(url, url): held for url, held in snapshot.lists.items()},
    )


def _urls(scope: Scope) -> Iterator[str]:
    return (each.url for each in scope.objects.external_lists.values())


def _bare(scope: Scope, hidden: dict[str, str]) -> Scope:
    objects, rulebases = scope.objects, scope.rulebases
    return replace(
        scope,
        objects=replace(
            objects,
            external_lists={
                name: replace(each, url=hidden.get(each.url, each.url))
                for name, each in objects.external_lists.items()
            },
            tags={name: replace(each, comments="") for name, each in objects.tags.items()},
        ),
        rulebases=replace(
            rulebases,
            pre=tuple(replace(each, description="") for each in rulebases.pre),
            post=tuple(replace(each, description="") for each in rulebases.post),
        ),
    )

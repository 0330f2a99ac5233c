"""Bodies: the serialized objects, each stored once under its digest."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from sqlalchemy import Connection, select, text

from sync.calico.manifest import Manifest
from sync.store.errors import BrokenRecordError
from sync.store.models import Bodies

CHUNK = 500
"""How many are fetched at a time."""

_LEAST_WINDOW = 10  # bits
_TABLES = 7  # bits between zlib's own window (15) and its own memLevel (8)

_KEEP = text("INSERT INTO bodies (sha256, zlib) VALUES (:sha256, :zlib) ON CONFLICT DO NOTHING")


def keep(connection: Connection, manifests: Iterable[Manifest | None]) -> None:
    """Store each body that is not stored yet."""
    found = {manifest.digest: manifest.body for manifest in manifests if manifest is not None}
    if found:
        connection.execute(
            _KEEP,
            # Sorted, so that two writers of the same bodies cannot deadlock.
            [{"sha256": digest, "zlib": pack(found[digest])} for digest in sorted(found)],
        )


def fetch(
    connection: Connection, digests: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], Manifest]:
    """Return the manifest of each (kind, name), given the digest of its body.

    Raises `BrokenRecordError` if a body is missing or does not match its digest.
    """
    bodies: dict[str, bytes] = {}
    for chunk in chunks(sorted(set(digests.values()))):
        query = select(Bodies.sha256, Bodies.zlib).where(Bodies.sha256.in_(chunk))
        bodies.update(
            (digest, unpack(digest, packed)) for digest, packed in connection.execute(query)
        )
    missing = set(digests.values()) - bodies.keys()
    if missing:
        raise BrokenRecordError("", 0, f"the body {min(missing)}, which is missing")
    return {
        (kind, name): Manifest(kind, name, bodies[digest], digest)
        for (kind, name), digest in digests.items()
    }


def pack(body: bytes) -> bytes:
    """Compress a body in zlib's format (RFC 1950).

    The window is as large as the body: for a small body zlib.compress would spend most of its time
    on clearing a window and tables that stay empty.
    """
    window = min(max(len(body).bit_length(), _LEAST_WINDOW), zlib.MAX_WBITS)
    packer = zlib.compressobj(wbits=window, memLevel=window - _TABLES)
    return packer.compress(body) + packer.flush()


def unpack(digest: str, packed: bytes) -> bytes:
    """Decompress a body; `BrokenRecordError` if it does not match its digest."""
    try:
        body = zlib.decompress(packed)
    except (zlib.error, TypeError):
        body = b""
    if hashlib.sha256(body).hexdigest() != digest:
        raise BrokenRecordError("", 0, f"the body {digest}, which does not match its digest")
    return body


def chunks(digests: Iterable[str]) -> Iterator[Sequence[str]]:
    """Split digests into parts of `CHUNK`."""
    rest = iter(digests)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk

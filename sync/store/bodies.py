"""Bodies: the written form of objects, each kept once by its digest."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from sqlalchemy import Connection, select, text

from sync.calico.manifest import Manifest
from sync.store.errors import BrokenRecordError
from sync.store.models import Bodies

CHUNK = 500
"""How many are asked for or held at a time."""

_LEAST_WINDOW = 10  # bits
_TABLES = 7  # bits between zlib's own window (15) and its own memLevel (8)

_KEEP = text("INSERT INTO bodies (sha256, zlib) VALUES (:sha256, :zlib) ON CONFLICT DO NOTHING")


def keep(connection: Connection, manifests: Iterable[Manifest | None]) -> None:
    """Keep each body that is not kept yet."""
    found = {manifest.digest: manifest.body for manifest in manifests if manifest is not None}
    if found:
        connection.execute(
            _KEEP,
            # Sorted, so that two writers who keep the same bodies never wait for each other.
            [{"sha256": digest, "zlib": pack(found[digest])} for digest in sorted(found)],
        )


def fetch(
    connection: Connection, digests: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], Manifest]:
    """The manifest of each (kind, name) by the digest of its body.

    Raises `BrokenRecordError` if a body is not there or not what its digest says.
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
    """The body as it is kept, in zlib's form (RFC 1950).

    The window is as large as the body: for a small one zlib.compress spends most of its time on
    clearing a window and tables that stay empty.
    """
    window = min(max(len(body).bit_length(), _LEAST_WINDOW), zlib.MAX_WBITS)
    packer = zlib.compressobj(wbits=window, memLevel=window - _TABLES)
    return packer.compress(body) + packer.flush()


def unpack(digest: str, packed: bytes) -> bytes:
    """The body; `BrokenRecordError` if it is not what its digest says."""
    try:
        body = zlib.decompress(packed)
    except (zlib.error, TypeError):
        body = b""
    if hashlib.sha256(body).hexdigest() != digest:
        raise BrokenRecordError("", 0, f"the body {digest}, which is not what its digest says")
    return body


def chunks(digests: Iterable[str]) -> Iterator[Sequence[str]]:
    """The digests, `CHUNK` at a time."""
    rest = iter(digests)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk

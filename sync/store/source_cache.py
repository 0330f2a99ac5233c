"""Memories: what each source was told, kept from one process to the next.

They are no part of the trail: each is overwritten by the next, and nothing verifies them. What
they hold is for their source to judge; bytes that are damaged are as if they were not there.
"""

import zlib
from dataclasses import dataclass

from sqlalchemy import select, text

from sync.store.database import Database
from sync.store.models import Memories
from sync.store.records import Clock, stamp, storable

MAX_BYTES = 1 << 28
"""Of one memory: some ten times what the largest configurations come to."""


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """The memory of one source; both methods raise `StoreError` if the database fails."""

    source: str
    database: Database
    clock: Clock
    max_bytes: int = MAX_BYTES

    def recall(self, kind: str, name: str) -> bytes | None:
        """What was remembered last under these words; None if nothing was, or it is damaged."""
        query = select(Memories.zlib).where(
            Memories.source == storable(self.source),
            Memories.kind == storable(kind),
            Memories.name == storable(name),
        )
        with self.database.reading() as connection:
            packed = connection.scalar(query)
        return None if packed is None else _unpacked(packed, self.max_bytes)

    def remember(self, kind: str, name: str, value: bytes) -> None:
        """Keep this in the place of what was kept; a store that is only looked at keeps nothing.

        In the place of more than `max_bytes` nothing is kept: what was kept before is over.
        """
        if self.database.read_only:
            return
        value = value if len(value) <= self.max_bytes else b""
        statement = text(
            "INSERT INTO memories (source, kind, name, time, zlib)"
            " VALUES (:source, :kind, :name, :time, :zlib)"
            " ON CONFLICT (source, kind, name) DO UPDATE SET"
            " time = excluded.time, zlib = excluded.zlib"
        )
        row = {
            "source": storable(self.source),
            "kind": storable(kind),
            "name": storable(name),
            "time": stamp(self.clock()),
            "zlib": zlib.compress(value, zlib.Z_BEST_SPEED),
        }
        with self.database.writing() as connection:
            connection.execute(statement, row)


def _unpacked(packed: bytes, max_bytes: int) -> bytes | None:
    """The bytes; None for what is not whole, is no zlib, or would grow past all measure."""
    unpacking = zlib.decompressobj()
    try:
        # One more, so that the end is seen of what has just so many.
        found = unpacking.decompress(packed, max_bytes + 1)
    except (zlib.error, TypeError):
        return None
    return found if unpacking.eof and not unpacking.unused_data else None

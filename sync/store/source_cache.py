"""Memories: the last answers to each source, kept from one process to the next.

They are not part of the trail: each is overwritten by the next, and nothing verifies them. Their
source validates the content; damaged bytes count as missing.
"""

import zlib
from dataclasses import dataclass

from sqlalchemy import select, text

from sync.store.database import Database
from sync.store.models import Memories
from sync.store.records import Clock, stamp, storable

MAX_BYTES = 1 << 28
"""The limit of one memory: about ten times the largest configurations."""


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """The memory of one source; both methods raise `StoreError` if the database fails."""

    source: str
    database: Database
    clock: Clock
    max_bytes: int = MAX_BYTES

    def recall(self, kind: str, name: str) -> bytes | None:
        """Return the last value of this kind and name; None if it is missing or damaged."""
        query = select(Memories.zlib).where(
            Memories.source == storable(self.source),
            Memories.kind == storable(kind),
            Memories.name == storable(name),
        )
        with self.database.reading() as connection:
            packed = connection.scalar(query)
        return None if packed is None else _unpacked(packed, self.max_bytes)

    def remember(self, kind: str, name: str, value: bytes) -> None:
        """Store a value in place of the last one; a read-only store keeps nothing.

        A value of more than `max_bytes` is not stored, and the last one is removed.
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
    """Decompress bytes; None if they are incomplete, not zlib, or larger than `max_bytes`."""
    unpacking = zlib.decompressobj()
    try:
        # One more byte, so that zlib sees the end of data of exactly this size.
        found = unpacking.decompress(packed, max_bytes + 1)
    except (zlib.error, TypeError):
        return None
    return found if unpacking.eof and not unpacking.unused_data else None

"""Check that the store is still the one that this process opened, and has lost no record.

    opened ── uuid, heads ─┐
    committed ── heads ────┼─> before each writing transaction: does the store reach them?
    audit.head_file ───────┘   after it (SQLite): is the file at the path the open one?

A store that was restored from an older copy, replaced or deleted is no longer written: new records
would fork the chains, or be lost when the process ends.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from struct import Struct
from threading import Lock

from sqlalchemy import Connection, select, text

from sync.errors import StoreError, UsageError
from sync.store.chain import Head
from sync.store.errors import StoreReplacedError
from sync.store.models import Records

_HEADS = text(
    "SELECT chain, sequence, hash FROM heads UNION ALL SELECT '' AS chain, 0 AS sequence, uuid"
    " FROM store"
)
"""Every head, and the store's UUID as a row without a chain: one query per transaction."""

_DESCRIPTORS = Path("/proc/self/fd")  # Linux

# In the index: the page size, the number of frames, the last one's checksums, the salts.
_INDEX = Struct("=14xHI4x2I8s")
_FRAME = Struct(">8x8s2I")  # in a frame: the salts, its checksums
_LOG_HEADER = 32


class Continuity:
    """What a process knows of the store that it has open. Thread-safe.

    Until `begin` nothing is known, and every check passes.
    """

    def __init__(self, place: str, path: Path | None = None) -> None:
        self._place = place
        self._path = path.absolute() if path else None
        # SQLite follows links and has its log beside the file; the system names files likewise.
        self._real: Path | None = None
        self._file: tuple[int, int] | None = None
        self._uuid = ""
        self._heads: dict[str, Head] = {}
        self._published: Callable[[], Iterable[Head]] = tuple
        self._knowing = Lock()

    def begin(self, uuid: str, heads: Iterable[Head]) -> None:
        """Note that the store was opened with these heads; from now on it must have them."""
        self._file = _identity(self._path) if self._path else None
        self._real = self._path.resolve() if self._path else None
        self._uuid = uuid
        self._keep(heads)

    def hold_to(self, published: Callable[[], Iterable[Head]]) -> None:
        """Require the published heads too; they are read again each time."""
        self._published = published

    def expected(self) -> tuple[Head, ...]:
        """Return the heads that the store must reach in a transaction that begins after this call.

        Raises `StoreReplacedError` if the file was replaced, and `StoreError` if the published
        heads cannot be read.
        """
        self.require_file()
        try:
            published = tuple(self._published())
        except UsageError as error:
            raise StoreError(f"nothing is written: {error}") from error
        with self._knowing:
            return (*self._heads.values(), *published)

    def require(self, connection: Connection, expected: Iterable[Head]) -> None:
        """Raise `StoreReplacedError` unless this transaction sees the expected heads."""
        if not self._uuid:
            return
        if self._real and not _log_stands(self._real):
            raise StoreReplacedError(
                self._place, "has another write-ahead log than this process has written"
            )
        uuid, heads = _look(connection)
        if uuid != self._uuid:
            raise StoreReplacedError(
                self._place, f"is another store ({uuid}) than the one opened ({self._uuid})"
            )
        for head in expected:
            if heads.get(head.chain) == Head(head.chain, head.sequence, head.hash):
                continue
            query = select(Records.hash).where(
                Records.chain == head.chain, Records.sequence == head.sequence
            )
            if connection.scalar(query) != head.hash:
                raise StoreReplacedError(
                    self._place,
                    f"no longer holds record {head.sequence} of chain {head.chain}, which this "
                    "process or audit.head_file has seen there",
                )

    def seen(self, connection: Connection) -> tuple[Head, ...]:
        """Return the heads as of the commit of this transaction."""
        return tuple(_look(connection)[1].values()) if self._uuid else ()

    def committed(self, seen: Iterable[Head]) -> None:
        """Note the heads of a committed transaction; `StoreReplacedError` if the path lacks it.

        Then the records may be in a deleted file, and nothing may rely on them.
        """
        self._keep(seen)
        self.require_file()

    def require_file(self) -> None:
        """Raise `StoreReplacedError` unless the SQLite file at the path is the one opened."""
        if self._path is None or self._real is None or self._file is None:
            return
        if _identity(self._path) != self._file or _unlinked(self._real):
            raise StoreReplacedError(
                self._place, "is not the file that this process has open: it was moved or deleted"
            )

    def _keep(self, heads: Iterable[Head]) -> None:
        with self._knowing:
            for head in heads:
                known = self._heads.get(head.chain)
                # Two threads may report heads in another order than they read them.
                if head.sequence and (known is None or known.sequence < head.sequence):
                    self._heads[head.chain] = head


def _look(connection: Connection) -> tuple[str, dict[str, Head]]:
    """Return the store's UUID, "" if it has none, and the head of every chain."""
    heads = {row[0]: Head(*row) for row in connection.execute(_HEADS)}
    store = heads.pop("", None)
    return store.hash if store else "", heads


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _log_stands(path: Path) -> bool:
    """Return whether the last frame of the write-ahead log matches the end of the log's index.

    If the log was overwritten or truncated in place, it does not: SQLite trusts its index, which
    is in memory, and would leave a gap. Call it in a writing transaction, in which neither
    changes. The index is read through SQLite's own descriptor, since closing another one would
    release its locks. Formats: sqlite.org/walformat.html and fileformat2.html, section 4.
    """
    index = _opened(f"{path}-shm")
    if index is None:
        return True  # no Linux
    header = os.pread(index, _INDEX.size, 0)
    if len(header) < _INDEX.size:
        return False
    page, frames, *sums, salts = _INDEX.unpack(header)
    if not frames:
        return True
    size = (page & 0xFE00) + ((page & 1) << 16)
    try:
        with path.with_name(f"{path.name}-wal").open("rb") as log:
            last = os.pread(
                log.fileno(), _FRAME.size, _LOG_HEADER + (frames - 1) * (_FRAME.size + size)
            )
    except OSError:
        return False
    return len(last) == _FRAME.size and _FRAME.unpack(last) == (salts, *sums)


def _opened(name: str) -> int | None:
    """Return the descriptor under which this process has a file open, or None."""
    try:
        for descriptor in _DESCRIPTORS.iterdir():
            with suppress(OSError):  # closed meanwhile
                if str(descriptor.readlink()) == name:
                    return int(descriptor.name)
    except OSError:
        pass
    return None


def _unlinked(path: Path) -> bool:
    """Return whether the file, its write-ahead log or its index is open here and deleted.

    SQLite removes none of them while a connection is open, so someone else did.
    """
    names = {f"{path}{suffix} (deleted)" for suffix in ("", "-wal", "-shm")}
    try:
        opened = list(_DESCRIPTORS.iterdir())
    except OSError:
        return False  # no Linux: the file itself is still checked
    for descriptor in opened:
        try:
            if str(descriptor.readlink()) in names:
                return True
        except OSError:
            continue  # closed meanwhile
    return False

"""Publish heads to a file that the database's owner cannot rewrite, and check the store by it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog

from sync.errors import StoreError, UsageError
from sync.files import remove_left, write_whole
from sync.store.chain import Head
from sync.store.errors import StoreReplacedError
from sync.store.store import Store

_REMEDY = "restore a file that a sync wrote, or name another one"


def read_heads(file: Path) -> tuple[Head, ...]:
    """Return the heads published to a file; `UsageError` if they cannot be read.

    A file without heads is damaged, since no sync writes one.
    """
    try:
        heads = Head.parse_file(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UsageError) as error:
        raise UsageError(f"cannot read the heads in {file}: {error}; {_REMEDY}") from error
    if not heads:
        raise UsageError(
            f"{file} holds no head, so it is damaged; {_REMEDY}; if nothing was ever recorded, "
            "remove it"
        )
    return heads


def hold_to_heads(store: Store, file: Path | None) -> None:
    """Refuse a store that lacks published heads, now and before each write.

    Raises `StoreReplacedError` for such a store. Without a file nothing is checked.
    """
    if file is None:
        return
    _require(store, file)
    if store.heads() and not _is_there(file):
        structlog.get_logger().warning(
            "audit.head_file does not exist, though the store has records; until it is written "
            "again, the store is not checked against published heads",
            file=str(file),
        )
    store.database.continuity.hold_to(partial(_published, file))


def _published(file: Path) -> tuple[Head, ...]:
    """Return the heads in a file, none if it is missing; `UsageError` if they cannot be read."""
    return read_heads(file) if _is_there(file) else ()


def _is_there(file: Path) -> bool:
    """Return whether the file's name exists, even as a dangling link."""
    try:
        file.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"cannot read the heads in {file}: {error}; {_REMEDY}") from error
    return True


def _require(store: Store, file: Path) -> None:
    for head in _published(file):
        if not store.reaches(head):
            raise StoreReplacedError(
                store.database.place,
                f"lacks record {head.sequence} of chain {head.chain}, which {file} has published",
            )


def publish_heads(store: Store, file: Path | None) -> None:
    """Publish the heads of all chains to the file, atomically, and to the log.

    If nothing is recorded yet nothing is published.
    Raises `StoreReplacedError` if the store lacks heads of the file or is not the one opened, and
    `StoreError` if the file cannot be written; then it stays as it is.
    """
    store.database.continuity.require_file()
    if file:
        try:
            with _alone(file.parent):
                _require(store, file)
                if heads := _recorded(store):
                    _replace(file, "".join(f"{head}\n" for head in heads))
        except OSError as error:
            raise StoreError(
                f"cannot write the heads to {file}: {error.strerror}; correct audit.head_file"
            ) from error
        except UsageError as error:
            raise StoreError(f"the heads are not published: {error}") from error
    else:
        heads = _recorded(store)
    structlog.get_logger().info("audit heads", heads=[str(head) for head in heads])


def _recorded(store: Store) -> tuple[Head, ...]:
    """Return the heads of the chains that have a record; an empty chain's head proves nothing."""
    return tuple(head for head in store.heads() if head.sequence)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep other processes from overwriting newer heads with older ones."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _replace(file: Path, text: str) -> None:
    """Write a file atomically and durably; remove the temporary files of killed processes."""
    temporary = f".{file.name}."
    remove_left(file.parent, temporary=temporary)
    write_whole(file, text.encode(), temporary=temporary)

"""Write files atomically, and so that they survive a power cut."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path


class UnconfirmedError(OSError):
    """A directory was changed, but the disk did not confirm it."""


def write_whole(file: Path, content: bytes, *, temporary: str, new: bool = False) -> None:
    """Write a file atomically; it replaces an existing one unless it must be `new`.

    Until it is complete it has a temporary name in the same directory: `temporary` and a random
    part, so that no one can place a link there. `remove_left` cleans up after killed processes.

    Raises `FileExistsError` if the file exists and must be new, `UnconfirmedError` if it was
    written but may be lost in a power cut, and `OSError` if nothing was written.
    """
    half = file.with_name(f"{temporary}{secrets.token_hex(8)}")
    try:
        with half.open("xb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        # A link, unlike a rename, fails if the file exists.
        (os.link if new else os.replace)(half, file)
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)
    confirm(file.parent)


def confirm(directory: Path) -> None:
    """Make renames and removals in a directory survive a power cut.

    Raises `UnconfirmedError`. A directory that no longer exists needs no confirmation.
    """
    try:
        opened = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnconfirmedError(error.errno, error.strerror, str(directory)) from error


def remove_left(directory: Path, *, temporary: str) -> None:
    """Remove the temporary files of killed processes. Raises `OSError`.

    Only safe for the one process that writes to the directory.
    """
    left = re.compile(re.escape(temporary) + r"[0-9a-f]{16}")
    for each in directory.iterdir():
        if left.fullmatch(each.name):
            each.unlink(missing_ok=True)

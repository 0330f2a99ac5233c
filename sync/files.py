"""Files that appear whole or not at all, and outlast a power cut."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path


class UnconfirmedError(OSError):
    """A directory was changed, and the disk does not confirm it."""


def write_whole(file: Path, content: bytes, *, temporary: str, new: bool = False) -> None:
    """Write a file in place of what has its name, or only where nothing has, if it must be `new`.

    Half of it lies beside it for a moment, under a name that begins with `temporary` and that
    nobody can have put a link under; `remove_left` takes away what a killed process left of it.

    Raises `FileExistsError` where there is a file and it must be new, `UnconfirmedError` if it was
    written and may be lost in a power cut, and `OSError` if nothing was written.
    """
    half = file.with_name(f"{temporary}{secrets.token_hex(8)}")
    try:
        with half.open("xb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        # A link is made only where no file is.
        (os.link if new else os.replace)(half, file)
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)
    confirm(file.parent)


def confirm(directory: Path) -> None:
    """Make what was renamed or removed in a directory outlast a power cut.

    Raises `UnconfirmedError`. A directory that is gone has nothing to lose.
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
    """Remove what killed processes left of files that they wrote; `OSError`.

    Only the one process that writes there may call it.
    """
    left = re.compile(re.escape(temporary) + r"[0-9a-f]{16}")
    for each in directory.iterdir():
        if left.fullmatch(each.name):
            each.unlink(missing_ok=True)

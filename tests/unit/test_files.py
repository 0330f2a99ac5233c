"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sync.files import UnconfirmedError, confirm, remove_left, write_whole
from tests.disk import recorded, require_lasting

HALF = ".half-"


@pytest.mark.parametrize("new", [False, True])
def test_content_and_name_are_confirmed_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    asked = recorded(monkeypatch)
    file = tmp_path / "file"
    write_whole(file, b"all of it", temporary=HALF, new=new)
    assert file.read_bytes() == b"all of it"
    require_lasting(asked, file, b"all of it")
    assert list(tmp_path.iterdir()) == [file]


def test_what_must_be_new_is_written_over_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        write_whole(file, b"ours", temporary=HALF, new=True)
    assert file.read_bytes() == b"theirs"
    write_whole(file, b"ours", temporary=HALF)
    assert file.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [file]


def failing_from(call: int) -> Callable[[int], None]:
    """An fsync that works until this call."""
    calls = iter(range(1, 100))

    def fsync(descriptor: int) -> None:
        if next(calls) >= call:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    return fsync


def test_content_that_the_disk_does_not_confirm_is_not_given_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", failing_from(1))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as raised:
        write_whole(file, b"after", temporary=HALF)
    assert not isinstance(raised.value, UnconfirmedError)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_name_that_the_disk_does_not_confirm_is_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    monkeypatch.setattr(os, "fsync", failing_from(2))
    with pytest.raises(UnconfirmedError) as raised:
        write_whole(file, b"after", temporary=HALF)
    assert raised.value.filename == str(tmp_path)
    assert raised.value.strerror == os.strerror(errno.EIO)
    assert file.read_bytes() == b"after"


def test_a_directory_that_is_gone_has_nothing_to_confirm(tmp_path: Path) -> None:
    confirm(tmp_path / "gone")


def test_only_what_was_left_half_written_is_removed(tmp_path: Path) -> None:
    left = tmp_path / f"{HALF}0123456789abcdef"
    theirs = [tmp_path / name for name in ("file", HALF, f"{HALF}0123", f"x{HALF}0123456789abcdef")]
    for each in (left, *theirs):
        each.write_bytes(b"")
    remove_left(tmp_path, temporary=HALF)
    assert sorted(tmp_path.iterdir()) == sorted(theirs)

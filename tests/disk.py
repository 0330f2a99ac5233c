"""What a process asks of the disk, in its order: whether a file would outlast a power cut."""

import os
from pathlib import Path

import pytest


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bytes]]:
    """Every `os.fsync`, `os.replace` and `os.link` from now on: what it is, of which path, and what
    that held then (nothing, of a directory)."""
    asked: list[tuple[str, str, bytes]] = []
    fsync = os.fsync

    def confirmed(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        asked.append(("fsync", str(path), b"" if path.is_dir() else path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", confirmed)
    for name in ("replace", "link"):
        real = getattr(os, name)

        def put(source: Path, target: Path, name: str = name, real: object = real) -> None:
            asked.append((name, str(target), source.read_bytes()))
            assert callable(real)
            real(source, target)

        monkeypatch.setattr(os, name, put)
    return asked


def require_lasting(asked: list[tuple[str, str, bytes]], file: Path, content: bytes) -> None:
    """Hold a written file to this order: its content confirmed, its name given, that confirmed."""
    puts = [number for number, each in enumerate(asked) if each[1] == str(file)]
    assert len(puts) == 1, asked
    [put] = puts
    assert asked[put][2] == content
    confirmed = {(Path(path).parent, held) for what, path, held in asked[:put] if what == "fsync"}
    assert (file.parent, content) in confirmed, "the content was not confirmed before the name"
    assert ("fsync", str(file.parent), b"") in asked[put + 1 :], "the name was not confirmed"

"""`make demo-live`: each of its steps holds, and it leaves nothing behind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.installation import SECONDS, environment


@contextmanager
def running(demo: Path, temporary: Path) -> Iterator["subprocess.Popen[str]"]:
    """Let the demo run in a session of its own; nothing of it is left when the context ends."""
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, demo / "live.py"],
        env=environment(TMPDIR=str(temporary)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
            process.wait(SECONDS)
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
            assert list(temporary.iterdir()) == []
        finally:
            process.kill()


def test_each_step_holds(demo: Path, tmp_path: Path) -> None:
    before = sorted(demo.rglob("*"))
    with running(demo, tmp_path / "temporary") as process:
        said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert said.endswith(
        "\nA commit was taken up, an outage outlived, and nothing is left running.\n"
    )
    assert "From source main, version 53, committed by " in said
    assert "Source main: failed: source main: Panorama 127.0.0.1:" in said
    assert sorted(demo.rglob("*")) == before


def test_a_step_that_does_not_hold_ends_it(demo: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(demo, tmp_path / "demo")
    (copy / "panorama.xml").write_text("<policy/>")
    with running(copy, tmp_path / "temporary") as process:
        said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert said.endswith("error: it does not hold that zonebridge-simulator runs\n")


def test_one_that_is_ended_leaves_nothing(demo: Path, tmp_path: Path) -> None:
    with running(demo, tmp_path / "temporary") as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("$ zonebridge run"):
                break
        process.terminate()
        process.communicate(timeout=SECONDS)
    assert process.returncode == 143

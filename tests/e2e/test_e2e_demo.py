"""`make demo` on a copy, so that it writes into no checkout."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.installation import SECONDS, environment

DOCS = Path(__file__).parents[2] / "docs"


def test_the_documents_show_what_the_commands_print_about_the_demo() -> None:
    spec = importlib.util.spec_from_file_location("generated", DOCS / "generate_demo.py")
    assert spec
    assert spec.loader
    generated = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generated)
    assert generated.FILE.read_text(encoding="utf-8") == generated.reference()


def test_the_demo_ends_with_nothing_left_to_change(demo: Path, tmp_path: Path) -> None:
    copy = tmp_path / "config" / "demo"
    shutil.copytree(demo, copy)
    for _ in range(2):  # whatever an earlier one left
        done = subprocess.run(
            [sys.executable, copy / "demo.py"],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        shown, _, following = done.stdout.partition("\nTry next:\n")
        last = shown.splitlines()[-1]
        stands = "[1-9][0-9]* sets and [1-9][0-9]* policies stand in build/demo"
        assert re.fullmatch(f"{stands}; nothing is left to change.", last), last
    assert {path.name for path in tmp_path.iterdir()} == {"build", "config"}
    # What it names next works, as it is written.
    export, *lines = following.splitlines()
    assert len(lines) > 5
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", f"{export}\n{line}"],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert sorted(path.name for path in copy.iterdir() if path.is_file()) == sorted(
        path.name for path in demo.iterdir() if path.is_file()
    )

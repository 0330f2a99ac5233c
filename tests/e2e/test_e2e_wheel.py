"""The wheel, installed where the checkout cannot be imported."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.installation import SECONDS, Installation, environment, objects
from tests.e2e.simulation import simulator


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INDEX="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Built from the checkout, without a network."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    [built] = tmp_path.glob("*.whl")
    return built


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The programs of an environment that holds the wheel and the dependencies of this one."""
    made = tmp_path / "environment"
    venv.create(made, symlinks=True)
    # Named in a .pth file a directory is only looked into: the .pth files in it, the checkout's
    # own among them, are not obeyed.
    python = made / "bin" / "python"
    packages = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
    ).strip()
    dependencies = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (Path(packages) / "dependencies.pth").write_text("\n".join(sorted(dependencies)))
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel),
        cwd=tmp_path,
    )
    return python.parent


def test_the_wheel_syncs_by_itself(installed: Path, tmp_path: Path) -> None:
    place = Installation.in_directory(tmp_path / "place")
    where = run(installed / "python", "-c", "import sync; print(sync.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    command = installed / "zonebridge"
    assert run(command, "--version", cwd=tmp_path).startswith("zonebridge ")
    run(command, "plan", cwd=place.directory)
    assert run(command, "report", "--output", "html", cwd=place.directory).endswith("</html>\n")
    run(command, "sync", cwd=place.directory)
    assert len(place.written("eu")) == 2
    assert f"no changes; {objects(2)} unchanged" in run(command, "plan", cwd=place.directory)
    assert "verify" in run(command, "audit", "verify", cwd=place.directory)
    # The checkout's own command agrees that it is the same store.
    place.done("db", "check")


def test_the_wheel_simulates_a_panorama_by_itself(installed: Path, tmp_path: Path) -> None:
    place = Installation.in_directory(tmp_path / "place")
    with simulator(place, command=installed / "zonebridge-simulator") as panorama:
        place.configure(**panorama.source)
        run(installed / "zonebridge", "sync", cwd=place.directory)
    assert len(place.written("eu")) == 2
    imported = (
        "import sys; sys.modules['sync'] = None; import zonebridge_simulator.command as c; "
        "assert not {'pytest', 'tests'} & set(sys.modules); print(c.__file__)"
    )
    where = run(installed / "python", "-c", imported, cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_the_wheel_holds_its_packages_and_migrations_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.removesuffix(".dist-info") for top in tops} == {
        "sync",
        "zonebridge_simulator",
        wheel.name.split("-py3")[0],
    }
    assert any(name.startswith("sync/_migrations/versions/") for name in names)
    assert "sync/_migrations/env.py" in names
    assert not [name for name in names if "test" in name or name.endswith((".pyc", ".db"))]

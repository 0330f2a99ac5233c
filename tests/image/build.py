"""Builds the image that the image tests look into, with `make image`, and unpacks it.

    python -m tests.image.build

The result lies in a folder of `ZONEBRIDGE_CACHE` (`~/.cache/zonebridge`) that is named for what
went in, so another program or another lock file builds anew and nothing else does:

- `root`: the files of the image, as a container sees them;
- `config.json`: how a container is started (the OCI image's `config`);
- `builds.json`: of two builds, the image's id and the digests of its layers. The second one is made
  of a copy of the files that has other times and other rights.

No registry is asked: the base is a small Debian that debootstrap makes once, with the authorities
that this machine trusts and its pip.conf, for pip downloads through the same network. That every
locked package has a wheel for each platform of the image is asked of the index, once a lock file.

It needs root, buildah and debootstrap (both are Debian packages). Without them the image tests are
skipped; in CI that fails.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.controlplane.build import alone, cache_of

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLATFORMS = ("aarch64-manylinux_2_36", "x86_64-manylinux_2_36")
"""What the image is published for: the C library is that of Debian bookworm."""
PYTHON = "3.13"
"""That of the Dockerfile's base; the one that tests build on has Debian's own."""
REVISION = "0123456789abcdef0123456789abcdef01234567"
COMMIT_TIME = "1700000000"
KEPT = 4
"""So many unpacked images are kept, each some 400 MB: checkouts may share the cache."""

_OF_THE_MACHINE = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf"))
_RECIPE = ("Dockerfile", ".dockerignore", "Makefile", "tests/image/build.py")


class NoImageError(Exception):
    """The image is not built and cannot be built here; the message says why."""


def find() -> Path | None:
    """The folder with `root`, `config.json` and `builds.json`; None where none is built."""
    folder = cache_of("image") / _key()
    if not (folder / "root").is_dir():
        return None
    os.utime(folder)
    return folder


def main() -> int:
    try:
        _provide()
    except NoImageError as error:
        print(f"image tests are skipped: {error}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    except subprocess.CalledProcessError as error:
        print(error.stdout or "", error.stderr or "", file=sys.stderr)
        print(f"image: `{' '.join(error.cmd)}` failed", file=sys.stderr)
        return 1
    return 0


def _provide() -> None:
    cache = cache_of("image")
    with alone(cache, "image"):
        if folder := find():
            print(f"image: lies ready in {folder}", flush=True)
            return
        _require_programs()
        _require_wheels(cache)
        settings = cache / "storage.conf"
        settings.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{cache / "storage"}"\n'
            f'runroot = "{cache / "running"}"\n'
        )
        # What a build that was killed has left; of its images, `_base` takes care.
        for left in cache.glob("making-*"):
            shutil.rmtree(left)
        _buildah("rm", "--all")
        base = _base()
        _build(base, cache / _key())
        _prune(cache)


def _key() -> str:
    found = hashlib.sha256(_base_key().encode())
    for name in sorted({*_RECIPE, *map(str, _context(ROOT))}):
        content = (ROOT / name).read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:16]


def _context(root: Path) -> Iterator[Path]:
    """The files that the Dockerfile may copy, relative to the checkout."""
    for line in (root / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            path = root / line.removeprefix("!")
            # zonebridge_simulator is a link to one of the others.
            for file in [path] if path.is_file() else path.rglob("*"):
                if file.is_file() and "__pycache__" not in file.parts and not path.is_symlink():
                    yield file.relative_to(root)


def _base_key() -> str:
    found = hashlib.sha256(" ".join([SUITE, *PACKAGES, platform.machine()]).encode())
    for path in _OF_THE_MACHINE:
        found.update(path.read_bytes() if path.is_file() else b"none")
    return found.hexdigest()[:16]


def _require_programs() -> None:
    if lacking := [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]:
        raise NoImageError(f"{' and '.join(lacking)} not installed")
    if os.geteuid() != 0:
        raise NoImageError("only root can make its base; run `python -m tests.image.build` as root")


def _require_wheels(cache: Path) -> None:
    """Let the index say that each locked package has a wheel for each platform."""
    lock = ROOT / "requirements" / "runtime.txt"
    asked = hashlib.sha256(" ".join([*PLATFORMS, PYTHON]).encode() + lock.read_bytes()).hexdigest()
    answered = cache / "wheels"
    if answered.is_file() and answered.read_text() == asked:
        return
    for name in PLATFORMS:
        print(f"image: asking for the wheels of {name}", flush=True)
        _run(
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--dry-run", "--no-config"),
            *("--target", str(cache / "making-nothing"), "--python-platform", name),
            *("--python-version", PYTHON, "--only-binary", ":all:", "--no-deps"),
            *("--require-hashes", "--requirement", str(lock)),
        )
    answered.write_text(asked)


def _base() -> str:
    """The image that others are built on; no other is left in the storage."""
    name = f"localhost/zonebridge-base:{_base_key()}"
    there = set(_buildah("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}").split())
    if old := there - {name, "<none>:<none>"}:
        _buildah("rmi", "--force", *old)
    if name not in there:
        _make_base(name)
    return name


def _make_base(name: str) -> None:
    print(f"image: making its base, Debian {SUITE}", flush=True)
    container = _buildah("from", "scratch").strip()
    root = Path(_buildah("mount", container).strip())
    _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root))
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / folder)
    for path in _OF_THE_MACHINE:
        if path.is_file():
            shutil.copyfile(path, root / path.relative_to("/"))
    _buildah("config", "--env", f"PATH={BASE_PATH}", container)
    _buildah("commit", "--quiet", "--timestamp", "0", "--rm", container, name)


def _build(base: str, folder: Path) -> None:
    print(f"image: building it twice into {folder}", flush=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder.parent) as made:
        images = [f"localhost/zonebridge:{folder.name}-{number}" for number in (1, 2)]
        places = [ROOT, _elsewhere(Path(made) / "elsewhere")]
        _all_done([_started(base, *each) for each in zip(images, places, strict=True)])
        inspected = [_inspected(image) for image in images]
        new = Path(made) / "new"
        new.mkdir()
        _write(new / "config.json", inspected[0]["OCIv1"]["config"])
        _write(
            new / "builds.json",
            [
                {"id": each["FromImageID"], "layers": each["OCIv1"]["rootfs"]["diff_ids"]}
                for each in inspected
            ],
        )
        container = _buildah("from", images[0]).strip()
        root = new / "root"
        root.mkdir()
        # Moved, for a copy would take as long as a part of the build.
        for entry in Path(_buildah("mount", container).strip()).iterdir():
            entry.rename(root / entry.name)
        _buildah("rm", container)
        _buildah("rmi", "--force", *{each["FromImageID"] for each in inspected})
        if folder.name != _key():
            raise NoImageError("files were changed while it was built; run `make test` again")
        # The folder appears whole or not at all.
        new.replace(folder)


def _elsewhere(place: Path) -> Path:
    """The same files in a directory of another name, younger and with other rights."""
    for name in {*map(Path, _RECIPE), *_context(ROOT)}:
        copied = place / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copied)
        copied.chmod(0o600)
    return place


def _started(base: str, image: str, place: Path) -> "subprocess.Popen[str]":
    variables = {
        "ENGINE": "buildah",
        "BASE": base,
        "IMAGE": image,
        "REVISION": REVISION,
        "SOURCE_DATE_EPOCH": COMMIT_TIME,
    }
    return subprocess.Popen(
        ["make", "--no-print-directory", "image", *map("=".join, variables.items())],
        cwd=place,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _all_done(processes: "list[subprocess.Popen[str]]") -> None:
    outputs = [process.communicate()[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args, output)


def _inspected(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", image))
    return found


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n")


def _prune(cache: Path) -> None:
    folders = [path.parent for path in cache.glob("*/root")]
    for old in sorted(folders, key=lambda folder: folder.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old)


def _buildah(*arguments: str) -> str:
    return _run("buildah", *arguments)


def _run(*command: str) -> str:
    return subprocess.run(
        command,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(cache_of("image") / "storage.conf"),
        "BUILDAH_ISOLATION": "chroot",
    }


if __name__ == "__main__":
    sys.exit(main())

"""The image's own files, run as a container runs them: `image` gives the one of this checkout.

A pytest plugin. A program sees the image's files and nothing else, all of them read-only; it is
process 1, has the image's user and environment, no rights of root and no way to get them, and the
network of the test. Directories of the test are its volumes.

`tests/image/build.py` builds and unpacks the image. Where it could not, tests that ask for it are
skipped; in CI they fail.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from tests.image.build import find

USER = 65532
SECONDS = 120

# The files of the image below a layer in memory, which holds the places of the volumes and is then
# read-only too. Places are looked up in the image: /var/run is a link to /run.
_CONTAINER = """
set -eu
root=$1
[ -z "$2" ] || printf %s "$2" >/proc/sys/kernel/hostname
shift 2
mount -t tmpfs -o mode=0755 none "$root/mnt"
cd "$root/mnt"
mkdir above work seen
mount -t overlay -o "lowerdir=$root,upperdir=$PWD/above,workdir=$PWD/work" none seen
while [ "$1" != -- ]; do
    chroot seen mkdir -p "$3"
    place=seen$(chroot seen realpath "$3")
    mount --bind "$2" "$place"
    [ "$1" = writable ] || mount -o remount,bind,ro "$place"
    shift 3
done
shift
mount -t proc none seen/proc
mount -t tmpfs -o mode=0755 none seen/dev
for device in null zero random urandom; do
    : >"seen/dev/$device"
    mount --bind "/dev/$device" "seen/dev/$device"
done
ln -s /proc/self/fd seen/dev/fd
mount -o remount,ro seen/dev
mount -o remount,bind,ro seen
exec chroot seen setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups --no-new-privs \\
    --bounding-set=-all --inh-caps=-all -- env -i "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """An unpacked image: `root` are its files, `config` says how a container of it is started.

    `builds` are its digests as built twice: of each the id and the layers.
    """

    root: Path
    config: Mapping[str, Any]
    builds: tuple[Mapping[str, Any], ...]

    def run(self, *arguments: str, **keys: Any) -> "subprocess.CompletedProcess[str]":
        """Run the entry point with `arguments` until it ends; `keys` are those of `command`."""
        return subprocess.run(
            self.command(*arguments, **keys),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @contextmanager
    def running(
        self, *arguments: str, log: IO[bytes], **keys: Any
    ) -> "Iterator[subprocess.Popen[bytes]]":
        """Let the entry point run, stdout and stderr to `log`, as long as the context lasts."""
        process = subprocess.Popen(
            self.command(*arguments, **keys),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            # The namespace and all in it end with it.
            process.kill()
            process.wait()

    def command(
        self,
        *arguments: str,
        entrypoint: tuple[str, ...] = (),
        writable: Mapping[str, Path] | None = None,
        readable: Mapping[str, Path] | None = None,
        variables: Mapping[str, str] | None = None,
        hostname: str = "",
    ) -> list[str]:
        """What starts a container of the image; root alone can.

        `writable` and `readable` are volumes, place in the container -> directory of the test.
        Those of `writable` are given to the image's user, as Kubernetes does it by fsGroup.
        `variables` are added to the image's environment, `entrypoint` stands in place of its own.
        Its `hostname` is the machine's where none is given.
        """
        for directory in (writable or {}).values():
            for path in (directory, *directory.rglob("*")):
                os.chown(path, USER, USER, follow_symlinks=False)
        volumes = [("writable", *each) for each in (writable or {}).items()]
        volumes += [("readable", *each) for each in (readable or {}).items()]
        return [
            *("unshare", "--mount", "--propagation", "private", "--pid", "--uts"),
            *("--fork", "--kill-child", "--", "sh", "-c", _CONTAINER, "sh"),
            *(str(self.root), hostname),
            *(part for kind, place, source in volumes for part in (kind, str(source), place)),
            *("--", "--chdir", self.config["WorkingDir"], *self.config["Env"]),
            *(f"{name}={value}" for name, value in (variables or {}).items()),
            *(entrypoint or self.config["Entrypoint"]),
            *arguments,
        ]


def terminate(process: "subprocess.Popen[bytes]") -> int:
    """Ask a container to end, as a kubelet does; its exit code."""
    os.kill(main_process(process), signal.SIGTERM)
    return process.wait(SECONDS)


def main_process(process: "subprocess.Popen[bytes]") -> int:
    """Process 1 of a container, by the number that it has outside."""
    deadline = time.monotonic() + SECONDS
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()):
        assert process.poll() is None, "the container has ended"
        assert time.monotonic() < deadline, f"no process within {SECONDS} s"
        time.sleep(0.01)
    return int(found[0])


@pytest.fixture(scope="session")
def image() -> Image:
    """The image of this checkout, built once and kept."""
    if folder := find():
        return Image(
            root=folder / "root",
            config=json.loads((folder / "config.json").read_bytes()),
            builds=tuple(json.loads((folder / "builds.json").read_bytes())),
        )
    reason = "the image is not built: run `python -m tests.image.build` as root"
    if os.environ.get("CI"):
        pytest.fail(f"there is no image to test: {reason}")
    pytest.skip(f"image tests are skipped: {reason}")


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "USER_ID": str(USER)}

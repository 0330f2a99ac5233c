"""`zonebridge-simulator`: serves an exported configuration as a Panorama does."""

import ipaddress
import json
import os
import pwd
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

try:
    from .authority import Authority, write_secret
    from .panorama import Panorama
except ModuleNotFoundError as missing:
    sys.exit(f"Error: {missing.name} is not installed; install zonebridge[simulator]")

_SECONDS = 0.2  # between two looks at the files

_STARTED = """\
A simulated Panorama answers at {url} until Ctrl-C.
In zonebridge.yaml (this is also in {directory}/source.yaml):

{source}
A change of {document} is a commit by {user}.
{document}.candidate is the candidate configuration as long as it is there.
A file {directory}/edl/NAME is the external list https://{host}:{port}/edl/NAME; zonebridge
fetches it with SSL_CERT_FILE={directory}/ca.pem in its environment.
"""


def _address(context: click.Context, option: click.Parameter, value: str) -> tuple[str, int]:
    del context, option
    host, _, port = value.rpartition(":")
    try:
        if ipaddress.IPv4Address(host).is_loopback and int(port) in range(65536):
            return host, int(port)
    except ValueError:
        pass
    raise click.BadParameter("must be 127.0.0.1:PORT; only this machine is served")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("document", type=click.Path(path_type=Path))
@click.option(
    "--bind",
    default="127.0.0.1:8443",
    show_default=True,
    callback=_address,
    help="Address of this machine alone, and port; port 0: one that is free.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default="zonebridge-simulator",
    show_default=True,
    help="Where its API key, certificates and external lists are kept.",
)
def main(document: Path, bind: tuple[str, int], directory: Path) -> None:
    """Serve DOCUMENT as a Panorama would, over its XML API, until SIGTERM or Ctrl-C.

    DOCUMENT is a configuration exported from Panorama, or an API response that holds one. When it
    changes, that is a commit of yours.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    document, directory = document.absolute(), directory.absolute()
    try:
        seen = document.read_bytes()
        panorama = _panorama(seen, document, directory, bind)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    with ExitStack() as served:
        try:
            served.enter_context(panorama)
        except OSError as error:
            raise click.ClickException(
                f"cannot listen on {bind[0]}:{bind[1]}: {error.strerror}; give another --bind, or "
                "stop what listens there"
            ) from error
        source = _source(panorama, directory)
        (directory / "source.yaml").write_text(source)
        click.echo(
            _STARTED.format(
                url=panorama.url,
                host=panorama.host,
                port=panorama.port,
                document=document,
                directory=directory,
                source=source,
                user=_user(),
            ),
            nl=False,
        )
        _follow(panorama, document, seen, directory, stopping)


def _panorama(data: bytes, document: Path, directory: Path, bind: tuple[str, int]) -> Panorama:
    """Return a Panorama with the document, and the key and version that the directory kept."""
    (directory / "edl").mkdir(parents=True, exist_ok=True)
    try:
        authority = Authority.make(directory)
    except ValueError as error:
        raise click.ClickException(
            f"{directory}/ca.pem and ca.key are no certificate and its key; remove both, and new "
            "ones are made"
        ) from error
    # A restart from the first version would give two configurations the same version.
    version = directory / "version"
    before = version.read_text().strip() if version.exists() else "51"
    if not (before.isascii() and before.isdigit()):
        raise click.ClickException(f"{version} holds no number; remove it")
    try:
        panorama = Panorama(data, authority, host=bind[0], version=int(before) + 1)
    except ValueError as error:
        raise click.ClickException(f"{document}: {error}") from error
    panorama.port = bind[1]
    version.write_text(f"{panorama.version}\n")
    key = directory / "api-key"
    if key.exists():
        panorama.api_key = key.read_text().strip()
    if not panorama.api_key:
        raise click.ClickException(f"{key} is empty; remove it, and a new key is made")
    write_secret(key, f"{panorama.api_key}\n".encode())
    return panorama


def _source(panorama: Panorama, directory: Path) -> str:
    """Return its source entry for zonebridge.yaml. JSON strings are YAML."""
    return f"""\
sources:
  - name: main
    kind: panorama
    hosts: [{panorama.host}]
    port: {panorama.port}
    api_key_file: {json.dumps(str(directory / "api-key"))}
    ca_file: {json.dumps(str(directory / "ca.pem"))}
"""


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


# --- files that change ----------------------------------------------------------------------------


@dataclass
class _Watched:
    """A file whose bytes are read when they change: None once it is gone.

    What cannot be taken is said once, and tried again when the file changes.
    """

    path: Path
    take: Callable[[bytes | None], None]
    seen: bytes | None = None
    stamp: object = None
    told: bool = False

    def look(self) -> None:
        stamp = _stamp(self.path)
        if stamp == self.stamp:
            return
        # Before it is read: what is written meanwhile is seen at the next look.
        self.stamp = stamp
        try:
            data = None if stamp is None else self.path.read_bytes()
            if data != self.seen:
                self.take(data)
        except (OSError, ValueError) as error:
            if not self.told:
                why = (isinstance(error, OSError) and error.strerror) or error
                click.echo(f"{self.path.name} changes nothing until it is whole: {why}", err=True)
            self.told = True
        else:
            self.seen = data
            self.told = False


def _follow(
    panorama: Panorama, document: Path, seen: bytes, directory: Path, stopping: threading.Event
) -> None:
    """Keep the Panorama in sync with the files, until `stopping` is set."""

    def commit(data: bytes | None) -> None:
        if data is None:
            raise ValueError("it is gone")
        said = f"{document.name} was changed"
        version = panorama.commit(data, _user(), said)
        (directory / "version").write_text(f"{version}\n")
        click.echo(f"Version {version}, committed by {_user()}: {said}.")

    def propose(data: bytes | None) -> None:
        panorama.candidate = data
        click.echo(f"The candidate is {'as committed' if data is None else candidate.name}.")

    def publish(name: str, data: bytes | None) -> None:
        if data is None:
            del panorama.lists[name]
        else:
            panorama.lists[name] = data.decode()

    candidate = document.with_name(f"{document.name}.candidate")
    watched = {
        document: _Watched(document, commit, seen),
        candidate: _Watched(candidate, propose),
    }
    while not stopping.wait(_SECONDS):
        for file in (directory / "edl").glob("*"):
            watched.setdefault(file, _Watched(file, partial(publish, file.name)))
        for each in watched.values():
            each.look()
        # Nobody asks here what was asked.
        panorama.requests.clear()


def _stamp(path: Path) -> object:
    """A value that changes whenever the file does; None if it does not exist."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


if __name__ == "__main__":
    main()

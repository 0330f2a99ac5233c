"""A throw-away PostgreSQL server for tests, and a new database in it for each test.

A pytest plugin: `postgresql_server` (one a session and worker) and `postgresql_database` (one a
test). Where no server is installed the tests that ask for them are skipped; in CI they fail.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

USER = "zonebridge"
PASSWORD = "a pass@word/with%signs"
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Database:
    """An empty database: its URL without the password, and the password."""

    url: str
    password: str


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: reached by the socket in `directory`, as `USER`, with `PASSWORD`."""

    directory: Path

    def connect(self, name: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.directory), user=USER, password=PASSWORD, dbname=name, autocommit=True
        )

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@/{name}?host={quote(str(self.directory), safe='')}"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    binaries = find_binaries()
    if binaries is None:
        reason = "no PostgreSQL server is installed (initdb and postgres, in PATH or /usr/lib)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with started(binaries) as server:
        yield server


@contextmanager
def started(binaries: Path) -> Iterator[Server]:
    """A new server, of the programs in a directory, as long as the context lasts."""
    # Directly in /tmp, because the path of a socket is at most 107 bytes long.
    with tempfile.TemporaryDirectory(
        prefix="zb-pg-", dir="/tmp", ignore_cleanup_errors=True
    ) as made:
        directory = Path(made)
        directory.chmod(0o755)
        user = _unprivileged_user(directory)
        process = _start(binaries, directory, user)
        try:
            server = Server(directory)
            _wait(server, process, directory / "log")
            yield server
        finally:
            # The fast shutdown: SIGTERM would wait for a test's forgotten connection.
            process.send_signal(signal.SIGINT)
            process.wait(START_SECONDS)


@pytest.fixture
def postgresql_database(postgresql_server: Server) -> Iterator[Database]:
    name = f"test_{uuid4().hex}"
    with postgresql_server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield Database(postgresql_server.url(name), PASSWORD)
    with postgresql_server.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def find_binaries() -> Path | None:
    """The directory of the server's programs: that of PATH, else the newest one installed."""
    on_path = shutil.which("initdb")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += [*reversed(installed), Path("/usr/local/bin")]
    return next((path for path in candidates if (path / "postgres").exists()), None)


def _unprivileged_user(directory: Path) -> str | None:
    """The user to run the server as: PostgreSQL refuses root. None: whoever we are."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    shutil.chown(directory, user)
    return user


def _start(binaries: Path, directory: Path, user: str | None) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
    secret = directory / "password"
    secret.write_text(PASSWORD)
    if user:
        shutil.chown(secret, user)
    data = directory / "data"
    initialise: list[str | Path] = [
        binaries / "initdb",
        "--pgdata",
        data,
        "--username",
        USER,
        "--pwfile",
        secret,
    ]
    initialise += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"]
    subprocess.run(
        initialise, check=True, user=user, cwd=directory, env=environment, capture_output=True
    )
    serve: list[str | Path] = [
        binaries / "postgres",
        "-D",
        data,
        "-k",
        directory,
        "-c",
        "listen_addresses=",
    ]
    for setting in ("fsync=off", "full_page_writes=off", "synchronous_commit=off"):
        serve += ["-c", setting]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(serve, user=user, cwd=directory, env=environment, stderr=log)


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the PostgreSQL server does not start: {log.read_text()}")
            time.sleep(0.05)
        else:
            return

"""Run `zonebridge` in processes of its own that have imported everything already.

To import the program takes many times as long as what most commands do then. So one process of
each test worker imports it and does nothing else; every command is a fork of it, which is given
its own arguments, variables, directory and output, and ends as the installed command does.

Started as a script, this file is that process: it listens at the socket of its first argument for
as long as its standard input is open.
"""

import atexit
import gc
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

# What modules of ours import only where they need it.
_LAZILY = (
    "alembic.command",
    "kubernetes.client",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
)


def run(
    command: Sequence[str],
    cwd: Path,
    variables: Mapping[str, str],
    out: BinaryIO,
    err: BinaryIO,
    seconds: float,
) -> int:
    """Run one command without input; its exit code, negative for a signal as of `subprocess`.

    Raises `subprocess.TimeoutExpired`, with the command killed.
    """
    asked = {"command": command, "cwd": str(cwd), "variables": dict(variables)}
    with socket.socket(socket.AF_UNIX) as line, Path(os.devnull).open("rb") as empty:
        line.settimeout(seconds)
        line.connect(_started())
        socket.send_fds(line, [b"\0"], [each.fileno() for each in (empty, out, err)])
        line.sendall(json.dumps(asked).encode())
        line.shutdown(socket.SHUT_WR)
        with line.makefile() as told:
            pid = int(told.readline())
            try:
                return int(told.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(command, seconds) from None


@cache
def _started() -> str:
    """Where the process that imports listens; it ends with the one that started it."""
    directory = tempfile.TemporaryDirectory(prefix="zb-warm-")
    path = f"{directory.name}/socket"
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"

    def end() -> None:
        process.communicate()
        directory.cleanup()

    atexit.register(end)
    return path


def _listen(path: str) -> None:
    """Returns in each process that is to be a command, and in no other."""
    import sync

    for each in pkgutil.walk_packages(sync.__path__, "sync."):
        import_module(each.name)
    for name in _LAZILY:
        import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as selector:
        listening.bind(path)
        listening.listen()
        print("listening", flush=True)
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        children = 0
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if listening not in ready:
                sys.exit()
            line, _ = listening.accept()
            children += 1
            if not os.fork():
                break
            line.close()
            while children and os.waitpid(-1, os.WNOHANG)[0]:
                children -= 1
    _become(line)


def _become(line: socket.socket) -> None:
    """Be the command in a child, and tell here how it ended."""
    _, given, _, _ = socket.recv_fds(line, 1, 3)
    with line, line.makefile("rwb") as both:
        asked = json.loads(both.read())
        if pid := os.fork():
            both.write(f"{pid}\n".encode())
            both.flush()
            _, status = os.waitpid(pid, 0)
            both.write(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            both.flush()
            os._exit(0)
    for number, each in enumerate(given):
        os.dup2(each, number)
        os.close(each)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    time.tzset()
    sys.argv[:] = asked["command"]


if __name__ == "__main__":
    _listen(sys.argv[1])
    from sync.cli.main import main

    main()

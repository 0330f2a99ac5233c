"""What every command shares: the configuration, the log, and how results are printed.

Other packages are imported where they are used, so that `zonebridge --help` is quick.
"""

import io
import logging
import os
import pwd
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

import click
import orjson

from sync.errors import StoreError, UsageError
from sync.redaction import redact_lines
from sync.text import printable_json, printable_lines, wrapped

if TYPE_CHECKING:
    from structlog.typing import EventDict

    from sync.settings import Settings
    from sync.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The options of every command."""

    config: Path | None
    debug: bool

    def settings(self) -> "Settings":
        """Read the configuration and set up logging; `UsageError` lists every problem."""
        settings = self.read()
        log_as(settings)
        return settings

    def read(self) -> "Settings":
        """Read the configuration as it is now; `UsageError` lists every problem."""
        from sync.settings import load

        return load(self.config, os.environ)

    @property
    def file(self) -> Path:
        """Return the path of the configuration file."""
        from sync.settings import configuration_file

        return configuration_file(self.config, os.environ)

    def recorded(self) -> "Store":
        """Open the store read-only; `StoreError` if there is none yet."""
        from sync.assembly import store_of
        from sync.store import NO_UUID

        store = store_of(self.settings(), write=False)
        if store.uuid == NO_UUID:
            store.close()
            raise StoreError(
                f"there is no store at {store.database.place}; correct store.url, or run "
                "`zonebridge sync` first"
            )
        return store


def trigger(command: str) -> str:
    """Return the trigger of a run: command, user and machine. $USER would be easy to forge."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a user ID that has no name.
        user = f"uid {os.getuid()}"
    return f"{command} by {user} on {socket.gethostname()}"


def holder(command: str) -> str:
    """Return a lease's holder: the trigger and the process, so that it can be found and stopped."""
    return f"{trigger(command)}, process {os.getpid()}"


_PRINTED: list[bool] = []


def printed_json() -> bool:
    """Whether this process has printed a JSON document: a result has no second one after it."""
    return bool(_PRINTED)


def print_json(document: Any) -> None:
    """Print one JSON document to stdout."""
    _PRINTED.append(True)
    # As bytes: JSON is UTF-8, in any locale.
    click.echo(printable_json(orjson.dumps(document, option=orjson.OPT_INDENT_2)))


def prepare_streams() -> None:
    """Keep printing from failing on a closed stream, or on characters it cannot encode."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def until_closed() -> Iterator[None]:
    """Print until the reader closes the pipe, which is no failure and hides none."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Discard what is buffered for stdout, so that Python does not fail on it at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def use_color() -> bool:
    """Return whether to use colours: only on a terminal, and never if `NO_COLOR` is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def fitted(text: str, stream: TextIO | None = None) -> str:
    """Break the lines of a text at the width of the terminal, if it is printed to one.

    `stream` is stdout unless given.
    """
    if not (stream or sys.stdout).isatty():
        return text
    return wrapped(text, shutil.get_terminal_size().columns)


def log_as(settings: "Settings") -> None:
    """Log to stderr as configured: stdout is for results."""
    import structlog

    # Libraries' own log lines are not meant for our users, and are not JSON.
    logging.getLogger().addHandler(_SILENT)

    terminal = settings.log.format == "console" or (
        settings.log.format == "auto" and sys.stderr.isatty()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacted,
            _on_one_line if terminal else _printable,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
                exception_formatter=structlog.dev.plain_traceback,
            )
            if terminal
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log.level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Log(sys.stderr))),
        cache_logger_on_first_use=False,
    )


_SILENT = logging.NullHandler()


class Line(Protocol):
    """A line of progress on the terminal."""

    def cleared(self) -> AbstractContextManager[None]:
        """Keep the line away within the block, for what else is printed."""


class Terminal:
    """The line of progress that this process shows; None if there is none."""

    line: Line | None = None


def clear_line() -> AbstractContextManager[None]:
    """Keep a line of progress away within the block, if there is one."""
    return Terminal.line.cleared() if Terminal.line else nullcontext()


def _redacted(_logger: Any, _method: str, event: "EventDict") -> "EventDict":
    """Remove credentials from a log line's exception, which may quote a request."""
    for key in ("error", "exception"):
        if isinstance(said := event.get(key), str):
            event[key] = redact_lines(said)
    return event


def _printable(_logger: Any, _method: str, event: "EventDict") -> "EventDict":
    """Escape everything in a log line that a terminal would interpret."""
    return {key: _printed(value, _lines) for key, value in event.items()}


def _on_one_line(_logger: Any, _method: str, event: "EventDict") -> "EventDict":
    """Escape line breaks too, which JSON does itself: no value looks like another log line."""
    return {
        key: _printed(value, _lines if key == "exception" else printable_lines)
        for key, value in event.items()
    }


def _printed(value: Any, escaped: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, list | tuple):
        return [_printed(each, escaped) for each in value]
    return value


def _lines(value: str) -> str:
    return "\n".join(map(printable_lines, value.split("\n")))


class _Log:
    """A log stream that never fails: once the stream is closed, lines are dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError), clear_line():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def checked(settings: "Settings", only: Sequence[str]) -> "Settings":
    """Return the settings; `UsageError` if `only` names a cluster that they lack."""
    from sync.settings.problems import did_you_mean

    known = [cluster.name for cluster in settings.clusters]
    for name in only:
        if name not in known:
            raise UsageError(f"there is no cluster {name!r}; {did_you_mean(name, known)}")
    return settings

"""What every command shares: where the configuration is, and how results and errors are printed.

The rooms are imported where they are used: `zonebridge --help` waits for none of them.
"""

import io
import logging
import os
import pwd
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click
import orjson

from sync.errors import StoreError, UsageError
from sync.redaction import redact_lines
from sync.text import printable, printable_json

if TYPE_CHECKING:
    from structlog.typing import EventDict

    from sync.settings import Settings
    from sync.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The options before the command's name."""

    config: Path | None
    debug: bool

    def settings(self) -> "Settings":
        """Read the configuration, and log as it says; `UsageError` lists all that is wrong."""
        settings = self.read()
        log_as(settings)
        return settings

    def read(self) -> "Settings":
        """Read the configuration as it is now; `UsageError` lists all that is wrong."""
        from sync.settings import load

        return load(self.config, os.environ)

    @property
    def file(self) -> Path:
        """The configuration file."""
        from sync.settings import configuration_file

        return configuration_file(self.config, os.environ)

    def recorded(self) -> "Store":
        """The store, to look at what it has recorded; `StoreError` if there is none yet."""
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
    """Who began this: the command, the user, the machine. $USER says whatever its owner likes."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a number without a name.
        user = f"uid {os.getuid()}"
    return f"{command} by {user} on {socket.gethostname()}"


def holder(command: str) -> str:
    """Who holds a lease: as `trigger`, and the process, so that it can be found and stopped."""
    return f"{trigger(command)}, process {os.getpid()}"


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    # As bytes: JSON is UTF-8, whatever the terminal's own encoding.
    click.echo(printable_json(orjson.dumps(document, option=orjson.OPT_INDENT_2)))


def prepare_streams() -> None:
    """Give output that the caller closed somewhere to go, and let no name's characters stop it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def until_closed() -> Iterator[None]:
    """Print until the reader has seen enough; that he leaves is no failure and hides none."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Forget what is still buffered for stdout: it has nowhere to go, also when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def use_color() -> bool:
    """Colours only on a terminal, and never where `NO_COLOR` is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def log_as(settings: "Settings") -> None:
    """Log to stderr as the configuration says: stdout is the result's."""
    import structlog

    # What libraries log by themselves is not for our users, and would be no JSON.
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
            _printable,
            structlog.dev.ConsoleRenderer(
                colors=not os.environ.get("NO_COLOR"),
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


def _redacted(_logger: Any, _method: str, event: "EventDict") -> "EventDict":
    """A line of the log without credentials in what failed: a bug may show what was sent."""
    for key in ("error", "exception"):
        if isinstance(said := event.get(key), str):
            event[key] = redact_lines(said)
    return event


def _printable(_logger: Any, _method: str, event: "EventDict") -> "EventDict":
    """A line of the log without anything that a terminal would obey."""
    return {key: _printed(value) for key, value in event.items()}


def _printed(value: Any) -> Any:
    if isinstance(value, str):
        return "\n".join(map(printable, value.split("\n")))
    if isinstance(value, list | tuple):
        return [_printed(each) for each in value]
    return value


class _Log:
    """A stream that a log can be written to for ever: where it has gone, lines are lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
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

"""What every command accepts and shows: --config and --debug after its name, and examples."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sync.cli.completion import completing
from sync.cli.context import Context
from sync.cli.examples import EXAMPLES
from sync.errors import UsageError

_CONFIG = "config_file"
_CONFIG_HELP = "The configuration; default: $ZONEBRIDGE_CONFIG, else zonebridge.yaml."
_DEBUG_HELP = "Show a traceback with every error."


def config_option(context: click.Context, _option: click.Parameter, value: Sequence[Path]) -> None:
    """Use a configuration file, wherever the option is; `UsageError` for two different ones."""
    if not value:
        return
    root = context.find_root()
    held = root.obj if isinstance(root.obj, Context) else Context(None, debug=False)
    for file in value:
        # While a line is completed, nothing is refused yet.
        if held.config not in (None, file) and not context.resilient_parsing:
            raise UsageError(
                f"--config names two files, {held.config} and {file}; name one of them"
            )
        held = replace(held, config=file)
    _hold(context, held)


def debug_option(context: click.Context, _option: click.Parameter, value: object) -> None:
    """Show tracebacks, wherever the option is."""
    if not value or context.resilient_parsing:
        return
    root = context.find_root()
    held = root.obj if isinstance(root.obj, Context) else Context(None, debug=False)
    _hold(context, replace(held, debug=True))


def _hold(context: click.Context, held: Context) -> None:
    # A child has the object that its parent had when it was made.
    at: click.Context | None = context
    while at is not None:
        at.obj = held
        at = at.parent


def shared_options() -> list[click.Option]:
    """Make the options that are accepted before a command's name and after it."""
    return [
        click.Option(
            ["--config", _CONFIG],
            type=click.Path(path_type=Path),
            multiple=True,
            expose_value=False,
            callback=config_option,
            help=_CONFIG_HELP,
        ),
        click.Option(
            ["--debug", "debug_everywhere"],
            is_flag=True,
            expose_value=False,
            callback=debug_option,
            help=_DEBUG_HELP,
        ),
    ]


def completed(command: click.Command, *path: str) -> click.Command:
    """Give a command, and those below it, the shared options and its examples."""
    # A command that is asked for again has them already.
    if not any(each.name == _CONFIG for each in command.params):
        command.params += shared_options()
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag:
                option.callback = _valued(option.callback)
    completing(command, path[-1] if path else "")
    if examples := EXAMPLES.get(" ".join(path)):
        command.epilog = "\n".join(["\b", "Examples:", *(f"  {each}" for each in examples)])
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            completed(each, *path, name)
    return command


def _valued(callback: Callable[..., Any] | None) -> Callable[..., Any]:
    """Have an option refuse the name of another one as its value: its own was forgotten."""

    def checked(context: click.Context, option: click.Option, value: Any) -> Any:
        known = {name for each in context.command.params for name in each.opts}
        forgotten = known.intersection(_texts(value))
        if forgotten and not context.resilient_parsing:
            takes = f"takes {option.nargs} values" if option.nargs > 1 else "takes a value"
            what = f", {option.metavar}" if option.metavar else ""
            raise UsageError(
                f"{option.opts[0]} {takes}{what}; {forgotten.pop()} is an option: give the value "
                "before it"
            )
        return callback(context, option, value) if callback else value

    return checked


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts and paths of an option's value, also of one that is repeated."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str | Path):
        yield str(value)


def usage_message(error: click.ClickException) -> str:
    """Return what is wrong with a command line, on one line, and where the right one is shown."""
    message = " ".join(error.format_message().split())
    if ";" in message or "Did you mean" in message:
        return message
    # Where an option lacks its value, click does not know the command yet.
    context = error.ctx if isinstance(error, click.UsageError) else None
    shown = f"`{context.command_path} --help`" if context else "`--help` of the command"
    return f"{message.removesuffix('.')}; see {shown}"


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, even if the rest of it is wrong."""
    before, asked = "", False
    for each in arguments:
        if before == "--output":
            asked = each == "json"
        elif each.startswith("--output="):
            asked = each == "--output=json"
        before = each
    return asked


_KINDS = {
    1: "error",
    3: "blocked",
    4: "source",
    5: "cluster",
    6: "verification",
    7: "lease",
    8: "audit",
    64: "usage",
    130: "interrupted",
}


def error_document(message: str, code: int) -> dict[str, Any]:
    """Return the document that `--output json` prints where a command ends without a result."""
    return {"error": {"kind": _KINDS.get(code, "error"), "message": message, "exit_code": code}}

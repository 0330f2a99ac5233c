"""The command `zonebridge`: its options, its commands, and how errors become exit codes."""

import gc
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

import click

from sync import __version__
from sync.cli import exit_codes
from sync.cli.context import (
    Context,
    drop_output,
    fitted,
    prepare_streams,
    print_json,
    printed_json,
    until_closed,
)
from sync.cli.everywhere import asks_for_json, completed, error_document, usage_message
from sync.errors import UsageError, ZonebridgeError
from sync.text import printable, printable_lines

_COLLECTED_AFTER = (100_000, 10, 10)
# Each command's module is imported only when that command runs.
COMMANDS = {
    "adopt": "sync.cli.adopt",
    "approve": "sync.cli.approve",
    "audit": "sync.cli.audit",
    "config": "sync.cli.config",
    "db": "sync.cli.database",
    "plan": "sync.cli.sync",
    "explain": "sync.cli.explain",
    "forget": "sync.cli.forget",
    "rbac": "sync.cli.rbac",
    "report": "sync.cli.report",
    "run": "sync.cli.run",
    "status": "sync.cli.status",
    "sync": "sync.cli.sync",
    "verify": "sync.cli.verify",
    "which": "sync.cli.which",
    "worker": "sync.cli.worker",
    "zones": "sync.cli.zones",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        return completed(command, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        # click itself would exit with 1.
        with until_closed():
            return super().invoke(ctx)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, prog_name="zonebridge", message="%(prog)s %(version)s")
@click.pass_context
def zonebridge(context: click.Context) -> None:
    """Panorama's address groups and rules in Kubernetes, as Calico network sets and policies."""
    if context.obj is None:
        context.obj = Context(None, debug=False)


completed(zonebridge)


def collect_seldom() -> None:
    """Run the garbage collector less often than by default.

    A sync creates millions of values, hardly any of them in a reference cycle: scanning them again
    and again takes a sixth of the time and frees nothing.
    """
    gc.set_threshold(*_COLLECTED_AFTER)


def main() -> NoReturn:
    """Run the command line and exit with a documented code."""
    debug = "--debug" in sys.argv
    prepare_streams()
    collect_seldom()
    if os.getpid() == 1:
        # In a container: process 1 has no default action, so SIGTERM would do nothing (kill(2)).
        # `signals` replaces this handler where work has to be finished first.
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(exit_codes.of_signal(number)))
    try:
        code = zonebridge.main(standalone_mode=False) or 0
    except ZonebridgeError as error:
        code = _fail(str(error), error.exit_code, debug=debug)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = UsageError.exit_code
    except click.ClickException as error:
        code = _fail(usage_message(error), UsageError.exit_code, debug=debug)
    except (click.Abort, KeyboardInterrupt):
        code = _fail("interrupted", exit_codes.INTERRUPTED, debug=debug)
    except OSError as error:
        drop_output()
        what = error.filename or "the output"
        code = _fail(
            f"cannot read or write {what}: {error.strerror or error}; fix that and run the command "
            "again",
            exit_codes.INTERNAL,
            debug=debug,
        )
    except Exception as error:  # noqa: BLE001 - tracebacks are shown with --debug only
        code = _fail(
            f"an internal error, {type(error).__name__}: {error}; run `zonebridge --debug …` and "
            "report what it prints",
            exit_codes.INTERNAL,
            debug=debug,
        )
    sys.exit(code)


def _fail(message: str, code: int, *, debug: bool) -> int:
    if debug:
        click.echo("\n".join(map(printable, traceback.format_exc().splitlines())), err=True)
    if asks_for_json(sys.argv[1:]) and not printed_json():
        with until_closed():
            print_json(error_document(message, code))
    click.echo(fitted(f"error: {printable_lines(message)}", sys.stderr), err=True)
    return code


if __name__ == "__main__":
    main()

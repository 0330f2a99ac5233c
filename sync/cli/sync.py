"""`zonebridge sync` and `zonebridge plan`: one cycle, or what one would do."""

import os
import pwd
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import structlog

from sync import assembly
from sync.cli.context import Context, print_json, read_heads, until_closed, use_color
from sync.cycle import Result, run_cycle
from sync.errors import AuditBrokenError, StoreError, UsageError
from sync.plan.plan import Plan
from sync.plan.text import markdown, printable, text
from sync.settings import Settings
from sync.settings.problems import did_you_mean
from sync.store import Store

# Where several apply, the first wins.
_PRECEDENCE = (8, 4, 6, 3, 5, 1, 2)
_DONE = 0
_CHANGES = 2
_BLOCKED = 3
_NOT_WRITTEN = 5


def _options(command: Callable[..., int]) -> Callable[..., int]:
    for option in (
        click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable."),
        click.option(
            "--output",
            type=click.Choice(["text", "json", "markdown"]),
            default="text",
            show_default=True,
        ),
        click.option("--verbose", is_flag=True, help="Show each member that comes or goes."),
        click.option(
            "--detailed-exitcode",
            "detailed",
            is_flag=True,
            help="Exit with 2 if there are changes.",
        ),
        click.pass_obj,
    ):
        command = option(command)
    return command


@click.command()
@_options
def plan(context: Context, **options: Any) -> int:
    """Show what a sync would change; nothing is written anywhere."""
    return _dry_run(context, **options)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show the plan; the same as `zonebridge plan`.")
@_options
def sync(context: Context, *, dry_run: bool, **options: Any) -> int:
    """Bring every cluster to what its sources say, once."""
    return _dry_run(context, **options) if dry_run else _sync(context, **options)


def _dry_run(
    context: Context, *, only: Sequence[str], output: str, verbose: bool, detailed: bool
) -> int:
    settings = _checked(context.settings(), only)
    with assembly.store_of(settings, write=False) as store:
        results = run_cycle(
            assembly.sources(settings),
            assembly.clusters(settings, store, write=False, only=only),
            store,
            assembly.translation(settings, store),
            None,
        )
    with until_closed():
        _print(results, output, verbose=verbose, written=False)
    return _exit_code(results, detailed=detailed)


def _sync(
    context: Context, *, only: Sequence[str], output: str, verbose: bool, detailed: bool
) -> int:
    settings = _checked(context.settings(), only)
    with assembly.store_of(settings, write=True) as store:
        _hold_to_heads(store, settings.audit.head_file)
        run = store.begin_run(_trigger())
        try:
            results = run_cycle(
                assembly.sources(settings),
                assembly.clusters(settings, store, write=True, only=only),
                store,
                assembly.translation(settings, store),
                run,
            )
            code = _exit_code(results, detailed=detailed)
            counts = {
                "applied": sum(len(result.applied) for result in results),
                "failed": sum(len(result.failed) for result in results),
                "clusters": len(results),
            }
            errors = "; ".join(str(result.error) for result in results if result.error)
            run.finish("done" if code in (_DONE, _CHANGES) else f"exit {code}", counts, errors)
            with until_closed():
                _print(results, output, verbose=verbose, written=True)
        finally:
            _publish_heads(store, settings.audit.head_file)
    return code


def _checked(settings: Settings, only: Sequence[str]) -> Settings:
    known = [cluster.name for cluster in settings.clusters]
    for name in only:
        if name not in known:
            raise UsageError(f"there is no cluster {name!r}; {did_you_mean(name, known)}")
    return settings


def _trigger() -> str:
    """Who began this run: the user and the machine. $USER says whatever its owner likes."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a number without a name.
        user = f"uid {os.getuid()}"
    return f"zonebridge sync by {user} on {socket.gethostname()}"


def _hold_to_heads(store: Store, file: Path | None) -> None:
    """Refuse to go on with a store that lacks what was published: it would be published over."""
    if file is None or not file.exists():
        return
    for head in read_heads(file):
        if not store.reaches(head):
            raise AuditBrokenError(
                f"{file} says that chain {head.chain} had record {head.sequence}, and the store "
                f"{store.database.place} does not hold it: the store was replaced, or restored "
                "from an older copy; nothing was written; restore the newest copy, or move "
                f"{file.name} away to go on without those records"
            )


def _publish_heads(store: Store, file: Path | None) -> None:
    """Tell the heads of all chains where the store's owner cannot take them back."""
    heads = [str(head) for head in store.heads()]
    structlog.get_logger().info("audit heads", heads=heads)
    if file:
        try:
            file.write_text("".join(f"{head}\n" for head in heads), encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"cannot write the heads to {file}: {error.strerror}; correct audit.head_file"
            ) from error


def _print(results: Sequence[Result], output: str, *, verbose: bool, written: bool) -> None:
    if output == "json":
        print_json({"clusters": [_document(result, written=written) for result in results]})
        return
    separator = ""
    for result in results:
        if result.plan:
            click.echo(separator, nl=False)
            separator = "\n"
            click.echo(_rendered(result.plan, output, verbose=verbose), nl=False)
        if written and result.plan and (result.applied or result.failed):
            click.echo(f"Written: {len(result.applied)}; failed: {len(result.failed)}.")
        for change, why in result.failed:
            what = f"cluster {result.cluster}: {change.kind} {change.name}"
            click.echo(printable(f"error: {what}: {why}"), err=True)
        if result.error:
            click.echo(printable(f"error: cluster {result.cluster}: {result.error}"), err=True)


def _rendered(shown: Plan, output: str, *, verbose: bool) -> str:
    if output == "markdown":
        return markdown(shown, verbose=verbose)
    return text(shown, verbose=verbose, color=use_color())


def _document(result: Result, *, written: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "cluster": result.cluster,
        "plan": result.plan.document() if result.plan else None,
        "error": str(result.error) if result.error else None,
    }
    if written:
        document["applied"] = len(result.applied)
        document["failed"] = [
            {"kind": change.kind, "name": change.name, "error": why}
            for change, why in result.failed
        ]
    return document


def _exit_code(results: Sequence[Result], *, detailed: bool) -> int:
    codes = {_DONE}
    for result in results:
        if result.error:
            codes.add(result.error.exit_code)
        if result.failed:
            codes.add(_NOT_WRITTEN)
        if result.plan and result.plan.blockers:
            codes.add(_BLOCKED)
        if detailed and result.plan and (result.plan.changes or result.plan.drift):
            codes.add(_CHANGES)
    return next((code for code in _PRECEDENCE if code in codes), _DONE)

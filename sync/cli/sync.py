"""`zonebridge sync` and `zonebridge plan`: run one cycle, or show what it would change."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from sync import __version__, assembly
from sync.cli import exit_codes
from sync.cli.comparison import compared
from sync.cli.context import (
    Context,
    checked,
    holder,
    trigger,
    until_closed,
)
from sync.cli.earlier_plan import Known, compared_with, known_of
from sync.cli.results import print_results
from sync.cli.signals import signals
from sync.cli.unconfigured import unconfigured
from sync.errors import UsageError
from sync.reconcile import cluster_identity
from sync.reconcile.cycle import Lessor, plan_cycle, run_cycle
from sync.reconcile.result import Result
from sync.settings import Settings
from sync.settings.values import Duration
from sync.store import Lease, LeaseHeldError, Recorder, Store
from sync.store.head_file import hold_to_heads, publish_heads
from sync.text import printable, shortened
from sync.tracing import tracing

_NOTICES_SECONDS = 10.0  # for notices at the end
_LEASE_SECONDS = 0.5  # between two looks at a lease


def _duration(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta:
    try:
        return TypeAdapter(Duration).validate_python(value) if value else timedelta()
    except ValidationError as error:
        raise click.BadParameter(f"{value!r} is not a duration; write 30s, 15m or 1h") from error


def _options(command: Callable[..., int]) -> Callable[..., int]:
    for option in (
        click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable."),
        click.option(
            "--output",
            type=click.Choice(["text", "json", "markdown"]),
            default="text",
            show_default=True,
        ),
        click.option("--verbose", is_flag=True, help="Show each member that is added or removed."),
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
@click.option(
    "--from",
    "before",
    multiple=True,
    metavar="[NAME=]FILE",
    help="With --to: show what would change between two exports; once for each source NAME. Alone: "
    "an earlier plan as JSON, to say what is newly left out.",
)
@click.option("--to", "after", multiple=True, metavar="[NAME=]FILE", help="See --from.")
@click.option(
    "--candidate",
    is_flag=True,
    help="Show what a commit of the pending changes in Panorama would change.",
)
@_options
def plan(
    context: Context,
    *,
    before: Sequence[str],
    after: Sequence[str],
    candidate: bool,
    **options: Any,
) -> int:
    """Show what a sync would change, and write nothing.

    With --from and --to zonebridge contacts no cluster, no Panorama and no store.
    """
    if candidate and (before or after):
        raise UsageError(
            "--candidate asks a Panorama, and --from and --to compare files; use one or the other"
        )
    if candidate:
        return _show(partial(_planned, candidate=True), context, candidate=True, **options)
    known = known_of(before) if before and not after else None
    if known is not None:
        return _show(partial(_planned, known=known), context, **options)
    if before or after:
        planned = partial(compared, before=before, after=after)
        return _show(planned, context, stored=False, **options)
    return _show(_planned, context, **options)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show the plan; the same as `zonebridge plan`.")
@click.option(
    "--lease-timeout",
    callback=_duration,
    metavar="DURATION",
    help="How long to wait for a cluster whose lease another process holds; default: not at all.",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Take over foreign objects that have the names of desired ones, and objects written with "
    "a copy of the store.",
)
@click.option(
    "--accept-new-cluster",
    "accept",
    multiple=True,
    metavar="NAME",
    help="Accept that the entry NAME now reaches another cluster; repeatable.",
)
@_options
def sync(
    context: Context,
    *,
    dry_run: bool,
    lease_timeout: timedelta,
    adopt: bool,
    accept: Sequence[str],
    **options: Any,
) -> int:
    """Sync every cluster with its sources, once."""
    if dry_run:
        return _show(partial(_planned, adopt=adopt, accept=accept), context, **options)
    return _sync(context, lease_timeout=lease_timeout, adopt=adopt, accept=accept, **options)


def _show(
    planned: Callable[[Settings, Sequence[str]], list[Result]],
    context: Context,
    *,
    only: Sequence[str],
    output: str,
    verbose: bool,
    detailed: bool,
    candidate: bool = False,
    stored: bool = True,
) -> int:
    """Print plans of the clusters named in `only`, or of all; `candidate` is as in `_planned`.

    Only with `stored` are clusters that are no longer configured looked up in the store.
    """
    settings = checked(context.settings(), only)
    candidates = _candidates(settings, only) if candidate else []
    results = planned(settings, only)
    left: list[dict[str, Any]] = []
    if stored:
        with assembly.store_of(settings, write=False) as store:
            left = unconfigured(store, settings)
    with until_closed():
        print_results(
            results, output, verbose=verbose, written=False, candidates=candidates, left=left
        )
    return exit_codes.of_sync(results, detailed=detailed)


def _planned(
    settings: Settings,
    only: Sequence[str],
    *,
    adopt: bool = False,
    accept: Sequence[str] = (),
    candidate: bool = False,
    known: Known | None = None,
) -> list[Result]:
    _require_chosen(settings, only, accept)
    with assembly.store_of(settings, write=False) as store:
        results = plan_cycle(
            assembly.sources(settings, store, candidate=candidate),
            assembly.clusters(settings, store, write=False, only=only, adopt=adopt, accept=accept),
            store,
            assembly.options(settings, store),
        )
    return results if known is None else compared_with(results, known)


def _candidates(settings: Settings, only: Sequence[str]) -> list[str]:
    """Return the Panoramas of the clusters in `only`, or of all; `UsageError` if there is none."""
    used = {
        settings.source_of(group).name
        for cluster in settings.clusters
        if not only or cluster.name in only
        for group in cluster.device_groups
    }
    found = [
        source.name
        for source in settings.sources
        if source.kind == "panorama" and source.name in used
    ]
    if not found:
        raise UsageError(
            "--candidate needs a source of kind panorama, and these clusters have none; compare "
            "two exports instead, with --from FILE --to FILE"
        )
    return found


def _sync(  # over 50 lines: what each option decides, once
    context: Context,
    *,
    only: Sequence[str],
    output: str,
    verbose: bool,
    detailed: bool,
    lease_timeout: timedelta,
    adopt: bool,
    accept: Sequence[str],
) -> int:
    settings = checked(context.settings(), only)
    _require_chosen(settings, only, accept)
    with (
        tracing(os.environ, __version__),
        assembly.store_of(settings, write=True) as store,
        signals() as asked,
    ):
        hold_to_heads(store, settings.audit.head_file)
        run = store.run(trigger("zonebridge sync"))
        run.begin()
        take = partial(store.lease, holder=holder("zonebridge sync"), ttl=settings.lease_ttl)
        try:
            clusters = assembly.clusters(
                settings, store, write=True, only=only, adopt=adopt, stopping=asked.stopping
            )
            for cluster in clusters:
                if cluster.name in accept:
                    click.echo(printable(cluster_identity.accept(cluster, store, run)), err=True)
            results = run_cycle(
                assembly.sources(settings, store, stopping=asked.stopping),
                clusters,
                store,
                assembly.options(settings, store),
                run,
                _patient(take, lease_timeout, asked.stopping),
                asked.stopping.is_set,
            )
            results = [
                _left_to_its_holder(each) if each.cluster in accept else each for each in results
            ]
            code = asked.exit_code or exit_codes.of_sync(results, detailed=detailed)
            if not asked.stopping.is_set():
                _announce(settings, store, results)
            _finish(run, results, code)
            with until_closed():
                print_results(
                    results,
                    output,
                    verbose=verbose,
                    written=True,
                    left=unconfigured(store, settings),
                )
        finally:
            publish_heads(store, settings.audit.head_file)
    return code


def _finish(run: Recorder, results: Sequence[Result], code: int) -> None:
    """Record how the run ended."""
    counts = {
        "applied": sum(len(result.applied) for result in results),
        "failed": sum(len(result.failed) for result in results),
        "clusters": len(results),
    }
    errors = shortened(str(result.error) for result in results if result.error)
    done = code in (exit_codes.DONE, exit_codes.CHANGES)
    run.finish("done" if done else f"exit {code}", counts, errors)


def _announce(settings: Settings, store: Store, results: Sequence[Result]) -> None:
    """Call the webhook as the service does; only the service writes Events, which repeat."""
    if not (settings.webhook or settings.webhook_url_file):
        return
    from sync.service.metrics import Metrics

    announcer = assembly.announcer(settings, store, None, Metrics())
    for result in results:
        announcer.synced(result)
    announcer.close(_NOTICES_SECONDS)


def _require_chosen(settings: Settings, only: Sequence[str], accept: Sequence[str]) -> None:
    """Require that each `--accept-new-cluster` names a cluster that is synced."""
    checked(settings, accept)
    for name in accept:
        if only and name not in only:
            raise UsageError(
                f"--accept-new-cluster {name} is not among those named with --cluster; name it "
                "there too, or omit --cluster"
            )


def _left_to_its_holder(result: Result) -> Result:
    """Return the result of an accepted cluster whose lease a service holds, which continues."""
    if not isinstance(result.error, LeaseHeldError):
        return result
    click.echo(
        printable(f"cluster {result.cluster}: {result.error.holder} continues with it"), err=True
    )
    return replace(result, error=None)


def _patient(take: Lessor, timeout: timedelta, stopping: Event) -> Lessor:
    """Take leases, and wait for those that others hold, up to `timeout` in total."""
    deadline = time.monotonic() + timeout.total_seconds()

    @contextmanager
    def lease_of(cluster: str) -> Iterator[Lease]:
        with ExitStack() as kept:
            while True:
                try:
                    lease = kept.enter_context(take(cluster))
                    break
                except LeaseHeldError:
                    if time.monotonic() >= deadline or stopping.wait(_LEASE_SECONDS):
                        raise
            yield lease

    return lease_of

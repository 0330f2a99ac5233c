"""`zonebridge sync` and `zonebridge plan`: run one cycle, or show what it would change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from sync import assembly
from sync.cli import exit_codes
from sync.cli.agreed import NotConfirmedError, Shown, asks, confirm, reviewed
from sync.cli.comparison import compared
from sync.cli.context import Context, checked, until_closed
from sync.cli.earlier_plan import Known, compared_with, known_of
from sync.cli.progress import progress
from sync.cli.results import print_results
from sync.cli.screen import Screen
from sync.cli.unconfigured import unconfigured
from sync.cli.writing import Writing, Written
from sync.errors import UsageError
from sync.plan.plan import Plan
from sync.queries.flows import flows_of
from sync.reconcile.agreement import PlanDiffersError
from sync.reconcile.cycle import FlowsOf, plan_cycle
from sync.reconcile.result import Result
from sync.settings import Settings
from sync.settings.values import Duration
from sync.store import Store
from sync.text import printable


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
            "--flows", is_flag=True, help="Of a plan, show the flows that it allows and denies."
        ),
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
    flows: bool,
    **options: Any,
) -> int:
    """Show what a sync would change, and write nothing.

    With --from and --to zonebridge contacts no cluster, no Panorama and no store.
    """
    if candidate and (before or after):
        raise UsageError(
            "--candidate asks a Panorama, and --from and --to compare files; use one or the other"
        )
    found = flows_of if flows else None
    if candidate:
        planned = partial(_planned, candidate=True, flows_of=found)
        return _show(planned, context, candidate=True, **options)
    known = known_of(before) if before and not after else None
    if known is not None:
        return _show(partial(_planned, known=known, flows_of=found), context, **options)
    if before or after:
        planned = partial(compared, before=before, after=after, flows_of=found)
        return _show(planned, context, stored=False, **options)
    return _show(partial(_planned, flows_of=found), context, **options)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show the plan; the same as `zonebridge plan`.")
@click.option("--yes", is_flag=True, help="Do not ask before writing; only a terminal is asked.")
@click.option(
    "--plan",
    "plans",
    multiple=True,
    metavar="[CLUSTER=]DIGEST",
    help="Write only the plan of this digest, as `zonebridge plan` printed it; repeatable. Takes "
    "the file that `plan --output json` wrote, too.",
)
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
    yes: bool,
    plans: Sequence[str],
    lease_timeout: timedelta,
    adopt: bool,
    accept: Sequence[str],
    flows: bool,
    **options: Any,
) -> int:
    """Sync every cluster with its sources, once.

    The plan is shown before it is written. On a terminal zonebridge asks first. With --plan it
    writes what was reviewed, or exits with 3.
    """
    if dry_run:
        if plans:
            raise UsageError("--dry-run writes nothing, so it takes no --plan; omit one of the two")
        found = flows_of if flows else None
        planned = partial(_planned, adopt=adopt, accept=accept, flows_of=found)
        return _show(planned, context, **options)
    if flows:
        raise UsageError("--flows shows what a plan changes; use it with --dry-run, or with plan")
    return _sync(
        context,
        lease_timeout=lease_timeout,
        adopt=adopt,
        accept=accept,
        yes=yes,
        plans=plans,
        **options,
    )


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
    with progress():
        results = planned(settings, only)
    left: list[dict[str, Any]] = []
    if stored:
        with assembly.store_of(settings, write=False) as store:
            left = unconfigured(store, settings)
    with until_closed():
        print_results(results, output, verbose=verbose, candidates=candidates, left=left)
    return exit_codes.of_sync(results, detailed=detailed)


def _planned(
    settings: Settings,
    only: Sequence[str],
    *,
    adopt: bool = False,
    accept: Sequence[str] = (),
    candidate: bool = False,
    flows_of: FlowsOf | None = None,
    known: Known | None = None,
) -> list[Result]:
    _require_chosen(settings, only, accept)
    with assembly.store_of(settings, write=False) as store:
        results = plan_cycle(
            assembly.sources(settings, store, candidate=candidate),
            assembly.clusters(settings, store, write=False, only=only, adopt=adopt, accept=accept),
            store,
            assembly.options(settings, store),
            flows_of=flows_of,
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


def _sync(
    context: Context,
    *,
    only: Sequence[str],
    output: str,
    verbose: bool,
    detailed: bool,
    lease_timeout: timedelta,
    adopt: bool,
    accept: Sequence[str],
    yes: bool,
    plans: Sequence[str],
) -> int:
    settings = checked(context.settings(), only)
    _require_chosen(settings, only, accept)
    screen = Screen(output, verbose=verbose)
    writing = Writing(settings, lease_timeout, adopt, detailed)
    missing, notes = "", list[str]()
    if plans:
        chosen = only or [cluster.name for cluster in settings.clusters]
        agreed = reviewed(plans, chosen, screen, accept)
        # A process that holds a lease writes what it plans, whatever was reviewed.
        written = writing.write(only, accept, agreed.asking, to_holders=False)
        # A cluster that failed, or has another plan, says so itself.
        missing = "" if any(each.error for each in written.results) else agreed.missing()
        notes = agreed.notes
    elif not yes and asks(output):
        written = _confirmed(writing, only, accept, screen)
    else:
        written = writing.write(only, accept, lambda _: screen.before_writing)
    screen.end(written.results, written.left)
    for note in sorted(notes):
        click.echo(printable(note), err=True)
    if missing:
        click.echo(printable(f"error: {missing}"), err=True)
    return exit_codes.first_code({written.code, exit_codes.BLOCKED}) if missing else written.code


def _confirmed(
    writing: Writing, only: Sequence[str], accept: Sequence[str], screen: Screen
) -> Written:
    """Show the plans, ask, and write exactly what was shown; show and ask again for what differs.

    No lease is held while the operator thinks, so another process may write in the meantime.
    """
    planned = writing.planned(only, accept)
    for result in planned:
        if result.plan:
            screen.show(result.plan)
        screen.error(result)
    shown = {result.cluster: result.plan for result in planned if result.plan}
    confirm(shown.values())
    written = writing.write(only, accept, partial(_shown, shown))
    results = {result.cluster: result for result in written.results}
    while not written.ended:
        differing = [each for each in written.results if isinstance(each.error, PlanDiffersError)]
        if not differing:
            break
        new = {each.cluster: each.plan for each in differing if each.plan}
        for each in differing:
            screen.error(each)
            screen.show(new[each.cluster])
        try:
            confirm(new.values())
        except (NotConfirmedError, click.Abort):
            # What was written before stays written, and is reported.
            screen.end([*results.values()], written.left)
            raise
        still = [each for each in accept if each in new]
        written = writing.write([*new], still, partial(_shown, new))
        for result in written.results:
            before = results[result.cluster]
            results[result.cluster] = replace(
                result,
                applied=(*before.applied, *result.applied),
                written=(*before.written, *result.written),
            )
    every = [*results.values()]
    code = exit_codes.of_sync(every, detailed=writing.detailed)
    return replace(written, results=every, code=written.code if written.ended else code)


def _shown(plans: Mapping[str, Plan], _: Store) -> Shown:
    return Shown(plans)


def _require_chosen(settings: Settings, only: Sequence[str], accept: Sequence[str]) -> None:
    """Require that each `--accept-new-cluster` names a cluster that is synced."""
    checked(settings, accept)
    for name in accept:
        if only and name not in only:
            raise UsageError(
                f"--accept-new-cluster {name} is not among those named with --cluster; name it "
                "there too, or omit --cluster"
            )

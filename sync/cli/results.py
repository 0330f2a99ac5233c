"""Print the results of clusters: plans, failures, and clusters no longer configured."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from sync.cli.context import print_json, use_color
from sync.cli.unconfigured import sentences
from sync.reconcile.result import Result
from sync.render.markdown import Shown, document
from sync.render.plan import text
from sync.text import printable, shortened


def print_results(
    results: Sequence[Result],
    output: str,
    *,
    verbose: bool,
    written: bool,
    candidates: Sequence[str] = (),
    left: Sequence[dict[str, Any]] = (),
) -> None:
    """Print the results of clusters; `candidates` are the sources read from their candidate.

    `left` are the clusters that are no longer configured.
    """
    for sentence in sentences(left):
        click.echo(printable(f"warning: {sentence}"), err=True)
    if output == "json":
        clusters = [_document(result, written=written) for result in results]
        found = {**({"candidate": True} if candidates else {}), "clusters": clusters}
        print_json({**found, **({"unconfigured": left} if left else {})})
        return
    if output == "markdown":
        _print_markdown(results, [*_pending(results, candidates)], verbose=verbose, written=written)
        return
    separator = ""
    for line in _pending(results, candidates):
        click.echo(printable(line))
        separator = "\n"
    for result in results:
        if result.plan:
            click.echo(separator, nl=False)
            separator = "\n"
            click.echo(text(result.plan, verbose=verbose, color=use_color()), nl=False)
        for line in _became(result) if written else ():
            click.echo(line)
        _print_failures(result)


def _print_markdown(
    results: Sequence[Result], pending: Sequence[str], *, verbose: bool, written: bool
) -> None:
    shown = [
        Shown(result.plan, tuple(_became(result) if written else ()))
        for result in results
        if result.plan
    ]
    click.echo(document(shown, before=pending, verbose=verbose), nl=False)
    for result in results:
        _print_failures(result)


def _became(result: Result) -> Iterator[str]:
    """Yield what was written, if anything was tried."""
    if result.plan and (result.applied or result.failed):
        yield f"Written: {len(result.applied)}; failed: {len(result.failed)}."


def _print_failures(result: Result) -> None:
    for change, why in result.failed:
        what = f"cluster {result.cluster}: {change.kind} {change.name}"
        click.echo(printable(f"error: {what}: {why}"), err=True)
    print_error(result)


def _pending(results: Sequence[Result], candidates: Sequence[str]) -> Iterator[str]:
    """Yield whose changes are pending in each source; unreadable sources are skipped."""
    origins = {
        origin.source: origin for result in results if result.plan for origin in result.plan.origins
    }
    for name in candidates:
        origin = origins.get(name)
        if origin and origin.pending:
            who = shortened(origin.administrators, ", ") or "unknown administrators"
            yield f"Candidate of source {name}: changes by {who} are pending."
        elif origin:
            yield f"Candidate of source {name}: nothing is pending."


def print_error(result: Result) -> None:
    """Print to stderr why a cluster could not be read, or not written completely."""
    if result.error:
        # Most messages begin with the cluster already.
        whose = f"cluster {result.cluster}"
        said = str(result.error)
        said = said if said.startswith(whose) else f"{whose}: {said}"
        click.echo(printable(f"error: {said}"), err=True)


def _document(result: Result, *, written: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cluster": result.cluster,
        "plan": result.plan.document() if result.plan else None,
        "error": str(result.error) if result.error else None,
    }
    if written:
        found["applied"] = len(result.applied)
        found["failed"] = [
            {"kind": change.kind, "name": change.name, "error": why}
            for change, why in result.failed
        ]
    return found

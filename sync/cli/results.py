"""Print the results of clusters: plans, failures, and clusters no longer configured."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from sync.cli.context import fitted, print_json, use_color
from sync.cli.unconfigured import sentences
from sync.plan.plan import Plan
from sync.reconcile.result import Result
from sync.render.plan import markdown, text
from sync.text import markdown_escaped, printable, shortened


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
        document = {**({"candidate": True} if candidates else {}), "clusters": clusters}
        print_json({**document, **({"unconfigured": left} if left else {})})
        return
    separator = ""
    for line in _pending(results, candidates):
        click.echo(markdown_escaped(line) if output == "markdown" else printable(line))
        separator = "\n"
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
        click.echo(fitted(printable(f"error: {said}"), sys.stderr), err=True)


def _rendered(shown: Plan, output: str, *, verbose: bool) -> str:
    if output == "markdown":
        return markdown(shown, verbose=verbose)
    return fitted(text(shown, verbose=verbose, color=use_color()))


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

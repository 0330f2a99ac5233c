"""Print the results of clusters: plans, failures, and clusters no longer configured."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from sync.cli.context import fitted, print_json, use_color
from sync.cli.unconfigured import sentences
from sync.plan.plan import Plan
from sync.reconcile.result import Result
from sync.render import flows
from sync.render.plan import markdown, text
from sync.text import markdown_escaped, printable, shortened
from sync.verify.flow_changes import ChangedFlows


def print_results(
    results: Sequence[Result],
    output: str,
    *,
    verbose: bool,
    candidates: Sequence[str] = (),
    left: Sequence[dict[str, Any]] = (),
) -> None:
    """Print the plans of clusters; `candidates` are the sources read from their candidate.

    `left` are the clusters that are no longer configured.
    """
    if output == "json":
        print_documents(results, written=False, candidates=candidates, left=left)
        return
    print_unconfigured(left)
    separator = ""
    for line in _pending(results, candidates):
        click.echo(markdown_escaped(line) if output == "markdown" else printable(line))
        separator = "\n"
    for result in results:
        if result.plan:
            click.echo(separator, nl=False)
            separator = "\n"
            click.echo(rendered(result.plan, output, verbose=verbose), nl=False)
            if result.flows:
                click.echo(_flows(result.flows, output, verbose=verbose), nl=False)
        print_error(result)


def print_documents(
    results: Sequence[Result],
    *,
    written: bool,
    candidates: Sequence[str] = (),
    left: Sequence[dict[str, Any]] = (),
) -> None:
    """Print the results of clusters as one JSON document; `written` by a sync, or only planned."""
    print_unconfigured(left)
    clusters = [_document(result, written=written) for result in results]
    document = {**({"candidate": True} if candidates else {}), "clusters": clusters}
    print_json({**document, **({"unconfigured": left} if left else {})})


def print_unconfigured(left: Sequence[dict[str, Any]]) -> None:
    """Warn on stderr of clusters that are no longer configured."""
    for sentence in sentences(left):
        click.echo(printable(f"warning: {sentence}"), err=True)


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


def rendered(shown: Plan, output: str, *, verbose: bool) -> str:
    """Render a plan as text or Markdown, for stdout."""
    if output == "markdown":
        return markdown(shown, verbose=verbose)
    return fitted(text(shown, verbose=verbose, color=use_color()))


def _flows(found: ChangedFlows, output: str, *, verbose: bool) -> str:
    if output == "markdown":
        return flows.markdown(found, every=verbose)
    return flows.text(found, every=verbose, color=use_color())


def _document(result: Result, *, written: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "cluster": result.cluster,
        "plan": result.plan.document() if result.plan else None,
        "error": str(result.error) if result.error else None,
    }
    if result.flows:
        document["flows"] = flows.document(result.flows)
    if written:
        document["applied"] = len(result.written)
        document["failed"] = [
            {"kind": change.kind, "name": change.name, "error": why}
            for change, why in result.failed
        ]
    return document

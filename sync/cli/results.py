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
from sync.render.markdown import Shown, document
from sync.render.plan import text
from sync.text import printable, shortened


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
    pending = [*_pending(results, candidates)]
    if output == "markdown":
        print_markdown(results, verbose=verbose, before=pending)
        for result in results:
            print_error(result)
        return
    separator = ""
    for line in pending:
        click.echo(printable(line))
        separator = "\n"
    for result in results:
        if result.plan:
            click.echo(separator, nl=False)
            separator = "\n"
            click.echo(plan_text(result.plan, verbose=verbose), nl=False)
            if result.flows:
                said = flows.text(result.flows, every=verbose, color=use_color())
                click.echo(fitted(said), nl=False)
        print_error(result)


def print_markdown(
    results: Sequence[Result], *, verbose: bool, before: Sequence[str] = (), written: bool = False
) -> None:
    """Print the plans of clusters as one document, with what was `written` of them by a sync."""
    shown = [
        Shown(result.plan, tuple(_notes(result, written=written)), result.flows)
        for result in results
        if result.plan
    ]
    failed = {each.cluster: str(each.error) for each in results if each.error and not each.plan}
    click.echo(document(shown, before=before, failed=failed, verbose=verbose), nl=False)


def _notes(result: Result, *, written: bool) -> Iterator[str]:
    """Yield what became of a plan, and why it was not written completely."""
    if written and (said := became(result)):
        yield said
    if result.error:
        yield f"Failed: {result.error}"


def became(result: Result, where: str = "") -> str:
    """Say how much of a plan was written, if anything was tried; "" else."""
    if not (result.plan and (result.written or result.failed)):
        return ""
    return f"Written{where}: {len(result.written)}; failed: {len(result.failed)}."


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
    found = {**({"candidate": True} if candidates else {}), "clusters": clusters}
    print_json({**found, **({"unconfigured": left} if left else {})})


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


def plan_text(plan: Plan, *, verbose: bool) -> str:
    """Render a plan as text, for stdout."""
    return fitted(text(plan, verbose=verbose, color=use_color()))


def _document(result: Result, *, written: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cluster": result.cluster,
        "plan": result.plan.document() if result.plan else None,
        "error": str(result.error) if result.error else None,
    }
    if result.flows:
        found["flows"] = flows.document(result.flows)
    if written:
        found["applied"] = len(result.written)
        found["failed"] = [
            {"kind": change.kind, "name": change.name, "error": why}
            for change, why in result.failed
        ]
    return found

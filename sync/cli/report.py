"""`zonebridge report`: what becomes of every rule, address group and zone, and why."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from sync import assembly
from sync.cli import exit_codes, report_diff
from sync.cli.context import Context, checked, fitted, print_json, until_closed, use_color
from sync.cli.results import print_error
from sync.errors import UsageError
from sync.reconcile.cycle import report_cycle
from sync.reconcile.result import Result
from sync.render.markdown import LIMIT, failures
from sync.render.matrix import matrix_document
from sync.render.page import Sheet, html
from sync.render.report import document, markdown, text
from sync.settings import Settings
from sync.settings.problems import nearest
from sync.text import printable
from sync.translate.fidelity import Report


@click.command(short_help="Show what becomes of every rule, and why.")
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option(
    "--output",
    type=click.Choice(["text", "json", "markdown", "html"]),
    default="text",
    show_default=True,
)
@click.option("--rule", help="Only the firewall's rules of this name.")
@click.option("--verbose", is_flag=True, help="Name every Calico rule that a rule became.")
@click.option(
    "--diff",
    "sides",
    nargs=2,
    multiple=True,
    metavar="FROM TO",
    help="Show what changed between two exports, [NAME=]FILE each; once for each source.",
)
@click.pass_obj
def report(
    context: Context,
    *,
    only: Sequence[str],
    output: str,
    rule: str | None,
    verbose: bool,
    sides: Sequence[tuple[str, str]],
) -> int:
    """Show what becomes of every rule: exact, narrowed, widened or left out, and why."""
    if sides:
        if rule is not None:
            raise UsageError("--diff shows every rule that changed; omit --rule")
        return report_diff.show(context.settings(), only, sides, output=output, verbose=verbose)
    reach = output in ("json", "html") and rule is None
    results = reported(context.settings(), only, shadows=True, reach=reach)
    if rule is not None:
        results = _of_rule(results, rule, keep=output == "json")
    with until_closed():
        found = [result.report for result in results if result.report]
        failed = {each.cluster: str(each.error) for each in results if each.error}
        if output == "json":
            print_json(
                {**document(found), "matrices": reach_of(results), "errors": errors(results)}
            )
        elif output == "html":
            made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
            page = html(_sheets(results), failed=failed, made=made, verbose=verbose)
            click.echo(page, nl=False)
        else:
            rendered = [
                markdown(each, verbose=verbose)
                if output == "markdown"
                else text(each, verbose=verbose, color=use_color())
                for each in found
            ]
            shown = "\n".join(rendered)
            if output == "markdown":
                click.echo(f"{failures(failed, LIMIT)}{shown}", nl=False)
            else:
                click.echo(fitted(shown), nl=False)
        for result in results:
            print_error(result)
        if rule is not None and output != "json" and not found:
            said = f"no cluster that could be read has a rule {rule!r}"
            click.echo(fitted(printable(said), sys.stderr), err=True)
    return exit_codes.of_looking(results)


def reported(
    settings: Settings, only: Sequence[str], *, shadows: bool = False, reach: bool = False
) -> list[Result]:
    """Report on all clusters; plan, prove and write nothing.

    `shadows` adds what earlier rules hide of each rule, `reach` who may reach whom.
    """
    settings = checked(settings, only)
    with assembly.store_of(settings, write=False) as store:
        return report_cycle(
            assembly.sources(settings, store),
            assembly.clusters(settings, store, write=False, only=only),
            store,
            assembly.options(settings, store),
            shadows=shadows,
            reach=reach,
        )


def reach_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return who may reach whom in each cluster, for `--output json`."""
    return [matrix_document(each.cluster, matrix) for each in results for matrix in each.matrices]


def _sheets(results: Sequence[Result]) -> list[Sheet]:
    return [
        Sheet(result.report, result.origins, result.matrices) for result in results if result.report
    ]


def _of_rule(results: Sequence[Result], name: str, *, keep: bool) -> list[Result]:
    """Reduce the results to rules of this name; `UsageError` if no cluster has one.

    Clusters without one have no report, unless it is to be kept.
    """
    known = {each.name for result in results if result.report for each in result.report.rules}
    # A cluster that could not be read may have it.
    if name not in known and not any(result.error for result in results):
        match = nearest(name, known)
        remedy = f"did you mean {match!r}?" if match else "`zonebridge report` lists all there are"
        raise UsageError(f"there is no rule {name!r}; {remedy}")
    reduced = [
        replace(result, report=result.report and _with_only(result.report, name))
        for result in results
    ]
    return [
        each if keep or (each.report and each.report.rules) else replace(each, report=None)
        for each in reduced
    ]


def _with_only(report: Report, rule: str) -> Report:
    rules = tuple(each for each in report.rules if each.name == rule)
    return replace(report, rules=rules, groups=(), zones=())


def errors(results: Sequence[Result]) -> list[dict[str, str]]:
    """Return the clusters that could not be read, for `--output json`."""
    return [
        {"cluster": result.cluster, "error": str(result.error)}
        for result in results
        if result.error
    ]

"""`zonebridge zones`: show the pods and networks of each zone, and the rules that name it."""

from collections.abc import Sequence

import click

from sync.cli import exit_codes
from sync.cli.context import Context, fitted, print_json, until_closed
from sync.cli.report import errors, reach_of, reported
from sync.cli.results import print_error
from sync.reconcile.result import Result
from sync.render.matrix import matrix_lines
from sync.render.zones import zones_document, zones_text
from sync.text import printable_lines


@click.command(short_help="Show each zone, and which zones it may reach.")
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def zones(context: Context, *, only: Sequence[str], output: str) -> int:
    """Show each zone: its label, workloads, networks and rules, and which zones it may reach."""
    settings = context.settings()
    results = reported(settings, only, reach=True)
    with until_closed():
        found = [result.report for result in results if result.report]
        if output == "json":
            print_json(
                {
                    "zones": zones_document(found),
                    "matrices": reach_of(results),
                    "errors": errors(results),
                }
            )
        else:
            rendered = [_rendered(each, settings.zones.label) for each in results if each.report]
            click.echo(fitted("\n".join(rendered)), nl=False)
        for result in results:
            print_error(result)
    return exit_codes.of_looking(results)


def _rendered(result: Result, label: str) -> str:
    """The zones of a cluster, and who may reach whom."""
    assert result.report
    lines = (line for matrix in result.matrices for line in ("", *matrix_lines(matrix)))
    # Rows begin with a zone's name.
    reach = "".join(f"{printable_lines(line)}\n" for line in lines)
    return f"{zones_text(result.report, label)}{reach}"

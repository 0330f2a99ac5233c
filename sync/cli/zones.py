"""`zonebridge zones`: show the pods and networks of each zone, and the rules that name it."""

from collections.abc import Sequence

import click

from sync.cli import exit_codes
from sync.cli.context import Context, fitted, print_json, until_closed
from sync.cli.report import errors, reported
from sync.cli.results import print_error
from sync.render.zones import zones_document, zones_text


@click.command()
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def zones(context: Context, *, only: Sequence[str], output: str) -> int:
    """Show each zone: the label that pods need, its workloads, networks and rules."""
    settings = context.settings()
    results = reported(settings, only)
    with until_closed():
        found = [result.report for result in results if result.report]
        if output == "json":
            print_json({"zones": zones_document(found), "errors": errors(results)})
        else:
            rendered = [zones_text(each, settings.zones.label) for each in found]
            click.echo(fitted("\n".join(rendered)), nl=False)
        for result in results:
            print_error(result)
    return exit_codes.of_looking(results)

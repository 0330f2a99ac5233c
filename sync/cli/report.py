"""`zonebridge report`: what becomes of every rule, address group and zone, and why."""

from collections.abc import Sequence
from dataclasses import replace

import click

from sync import assembly
from sync.cli import sync as syncing
from sync.cli.context import Context, print_json, until_closed, use_color
from sync.cli.sync import checked, print_error
from sync.cycle import Result, plan_cycle
from sync.settings import Settings
from sync.translate.report import document, html, markdown, text


@click.command()
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option(
    "--output",
    type=click.Choice(["text", "json", "markdown", "html"]),
    default="text",
    show_default=True,
)
@click.option("--verbose", is_flag=True, help="Name every Calico rule that a rule became.")
@click.pass_obj
def report(context: Context, *, only: Sequence[str], output: str, verbose: bool) -> int:
    """Show what becomes of every rule: exact, narrowed, widened or left out, and why."""
    results = reported(context.settings(), only)
    with until_closed():
        found = [result.report for result in results if result.report]
        if output == "json":
            print_json({**document(found), "errors": errors(results)})
        elif output == "html":
            click.echo(html(found, verbose=verbose), nl=False)
        else:
            rendered = [
                markdown(each, verbose=verbose)
                if output == "markdown"
                else text(each, verbose=verbose, color=use_color())
                for each in found
            ]
            click.echo("\n".join(rendered), nl=False)
        for result in results:
            print_error(result)
    return exit_code(results)


def reported(settings: Settings, only: Sequence[str]) -> list[Result]:
    """What a sync would do and what becomes of the rules; nothing is written anywhere."""
    settings = checked(settings, only)
    with assembly.store_of(settings, write=False) as store:
        return plan_cycle(
            assembly.sources(settings),
            assembly.clusters(settings, store, write=False, only=only),
            store,
            assembly.options(settings, store),
        )


def exit_code(results: Sequence[Result]) -> int:
    """The exit code of looking at clusters; that a plan is blocked is no failure here."""
    return syncing.exit_code([replace(result, plan=None) for result in results], detailed=False)


def errors(results: Sequence[Result]) -> list[dict[str, str]]:
    """The clusters that could not be looked at, for `--output json`."""
    return [
        {"cluster": result.cluster, "error": str(result.error)}
        for result in results
        if result.error
    ]

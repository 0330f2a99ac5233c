"""`zonebridge report --diff FROM TO`: what changed for every rule between two exports.

    [NAME=]FILE, for both sides  ->  clusters whose sources are all named  ->  rules that differ

It needs the configuration only: no cluster, no Panorama and no store is contacted.
"""

from collections.abc import Sequence

import click

from sync import assembly
from sync.calico.ownership import owner_labels
from sync.cli import exit_codes
from sync.cli.comparison import both_sides
from sync.cli.context import checked, print_json, until_closed, use_color
from sync.cli.results import print_error
from sync.errors import ClusterError, SourceError, UsageError
from sync.queries.report_diff import ReportDiff, report_diff
from sync.reconcile.desired import InvalidObjectError
from sync.reconcile.device_groups import read_sources
from sync.reconcile.result import Result
from sync.render.report_diff import document, markdown, text
from sync.settings import Settings
from sync.store import NO_UUID


def show(
    settings: Settings,
    only: Sequence[str],
    sides: Sequence[tuple[str, str]],
    *,
    output: str,
    verbose: bool,
) -> int:
    """Print what changed between the two exports of each of the `sides`.

    Raises `UsageError` for other outputs, and as `both_sides`.
    """
    if output == "html":
        raise UsageError("--diff is text, JSON or Markdown; choose one of these with --output")
    before, after, clusters = both_sides(
        checked(settings, only),
        only,
        before=[one for one, _ in sides],
        after=[other for _, other in sides],
        options=("the first file of --diff", "the second file of --diff"),
    )
    used = {here.source for cluster in clusters for here in cluster.device_groups}
    old, new = read_sources(before, used), read_sources(after, used)
    owner = owner_labels(settings.instance, NO_UUID)
    options = assembly.translation_options(settings, owner)
    found: list[ReportDiff] = []
    failed: list[Result] = []
    for cluster in clusters:
        try:
            found.append(report_diff(cluster, old, new, options))
        except (SourceError, ClusterError, InvalidObjectError, UsageError) as error:
            failed.append(Result(cluster.name, error=error))
    with until_closed():
        if output == "json":
            errors = [{"cluster": each.cluster, "error": str(each.error)} for each in failed]
            print_json({"clusters": [*map(document, found)], "errors": errors})
        else:
            rendered = (
                markdown(each, verbose=verbose)
                if output == "markdown"
                else text(each, verbose=verbose, color=use_color())
                for each in found
            )
            click.echo("\n".join(rendered), nl=False)
        for result in failed:
            print_error(result)
    return exit_codes.of_looking(failed)

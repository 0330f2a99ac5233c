"""`zonebridge which`: show the sets, address groups, zones and rules that hold an address."""

from collections.abc import Sequence
from dataclasses import replace

import click

from sync import assembly
from sync.cli import exit_codes
from sync.cli.context import Context, checked, fitted, print_json, until_closed
from sync.cli.report import errors
from sync.cli.results import print_error
from sync.errors import SourceError, UsageError
from sync.net.addresses import AddressSet
from sync.queries.which import Holders, wanted
from sync.queries.which import which as holders_of
from sync.reconcile.device_groups import Read, read_sources, target_of, whole
from sync.reconcile.result import Result
from sync.render.which import document, text
from sync.settings import Cluster, Settings
from sync.translate.compiler import Options


@click.command()
@click.argument("address")
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def which(context: Context, *, address: str, only: Sequence[str], output: str) -> int:
    """Show the sets, address groups, zones and rules that hold ADDRESS.

    ADDRESS is an IPv4 or IPv6 address, or a network: 10.1.2.3, 10.1.0.0/16, 2001:db8::/32. Only
    the sources are read; no cluster is contacted.
    """
    asked = wanted(address)
    settings = checked(context.settings(), only)
    options = assembly.translation_options(settings, ())
    chosen = [each for each in settings.clusters if not only or each.name in only]
    used = {here.source for each in chosen for here in assembly.device_groups(settings, each)}
    with assembly.store_of(settings, write=False) as store:
        read = read_sources(assembly.sources(settings, store), used)
    found: list[Holders] = []
    results: list[Result] = []
    for cluster in chosen:
        try:
            found.append(_in_cluster(settings, cluster, read, asked, options))
        except (SourceError, UsageError) as error:
            results.append(Result(cluster.name, error=error))
    with until_closed():
        if output == "json":
            print_json({**document(found, asked), "errors": errors(results)})
        else:
            click.echo(fitted("\n".join(text(each, asked) for each in found)), nl=False)
        for result in results:
            print_error(result)
    return exit_codes.of_looking(results)


def _in_cluster(
    settings: Settings, cluster: Cluster, read: Read, asked: AddressSet, options: Options
) -> Holders:
    targets = [
        target_of(here, whole(read[here.source]))
        for here in assembly.device_groups(settings, cluster)
    ]
    options = replace(options, pod_cidrs=assembly.pod_cidrs(cluster))
    return holders_of(cluster.name, asked, targets, options)

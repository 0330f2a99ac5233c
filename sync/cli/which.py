"""`zonebridge which`: the sets, address groups, zones and rules that hold an address."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import click

from sync import assembly
from sync.cli.context import Context, print_json, until_closed
from sync.cli.report import errors, exit_code
from sync.cli.sync import checked, print_error
from sync.cycle import Result
from sync.errors import SourceError, UsageError
from sync.firewall.configuration import Configuration
from sync.firewall.effective import effective
from sync.firewall.networks import derived
from sync.net.addresses import AddressSet, network
from sync.settings import Cluster, Settings
from sync.translate.sets import Target
from sync.translate.translation import Options
from sync.translate.which import Holders, wanted
from sync.translate.which import which as holders_of
from sync.translate.which_text import document, text

_Sources = Mapping[str, Configuration | SourceError]
"""Every source by name, each read once for all clusters; one that fails, fails for all of them."""


@click.command()
@click.argument("address")
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def which(context: Context, *, address: str, only: Sequence[str], output: str) -> int:
    """Show the sets, address groups, zones and rules that hold ADDRESS.

    ADDRESS is an IPv4 or IPv6 address, or a network: 10.1.2.3, 10.1.0.0/16, 2001:db8::/32. The
    sources say it; no cluster is asked.
    """
    asked = wanted(address)
    settings = checked(context.settings(), only)
    options = assembly.translation_options(settings, ())
    chosen = [each for each in settings.clusters if not only or each.name in only]
    read = _read_sources(settings, chosen)
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
            click.echo("\n".join(text(each, asked) for each in found), nl=False)
        for result in results:
            print_error(result)
    return exit_code(results)


def _read_sources(settings: Settings, clusters: Sequence[Cluster]) -> _Sources:
    used = {
        settings.source_of(group).name for cluster in clusters for group in cluster.device_groups
    }
    found: dict[str, Configuration | SourceError] = {}
    for source in assembly.sources(settings):
        if source.name in used:
            try:
                found[source.name] = source.read().configuration
            except SourceError as error:
                found[source.name] = error
    return found


def _in_cluster(
    settings: Settings, cluster: Cluster, read: _Sources, asked: AddressSet, options: Options
) -> Holders:
    targets = []
    for group in cluster.device_groups:
        source = settings.source_of(group).name
        configuration = read[source]
        if isinstance(configuration, SourceError):
            raise configuration
        targets.append(
            Target(
                source=source,
                device_group=effective(configuration, group.name),
                tier=group.tier,
                order=group.order,
                mode=group.mode,
                derived=derived(configuration, group.name),
            )
        )
    pods = AddressSet.union(network(str(cidr)) for cidr in cluster.pod_cidrs)
    return holders_of(cluster.name, asked, targets, replace(options, pod_cidrs=pods or None))

"""`zonebridge config`: write a first configuration, check one, or print its schema.

Other packages are imported where they are used: the schema needs none of them.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sync.cli.checking import (
    ZonesSeen,
    checked,
    essential_warnings,
    further_warnings,
    mistake_warnings,
    unusable_clusters,
    zones_seen,
)
from sync.cli.context import fitted, print_json
from sync.cli.exit_codes import first_code
from sync.errors import ClusterError, SourceError, UsageError
from sync.settings import Settings, configuration_file
from sync.settings import schema as settings_schema
from sync.settings.problems import did_you_mean
from sync.settings.starter import StartDeviceGroup, StartZone, start

if TYPE_CHECKING:
    from sync.firewall.configuration import Configuration
    from sync.translate.zones import Zone

_NAMED: Final = 8  # device groups that get no cluster


@click.group()
def config() -> None:
    """Write a first configuration, check it, or print its schema."""


@config.command()
@click.option(
    "--source",
    "export",
    type=click.Path(path_type=Path),
    help="A configuration exported from Panorama: its device groups and zones are written out.",
)
@click.option(
    "--device-group",
    "names",
    multiple=True,
    metavar="NAME",
    help="A device group that gets a cluster; repeatable; default: the first with none below it.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file to write, - for stdout; default: where the configuration is read.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.pass_context
def init(
    context: click.Context,
    export: Path | None,
    names: tuple[str, ...],
    output: Path | None,
    *,
    force: bool,
) -> None:
    """Write a first configuration, with comments on what to decide."""
    file = output or configuration_file(context.obj.config, os.environ)
    printed = str(file) == "-"
    directory = Path.cwd() if printed else file.absolute().parent
    if export is None:
        text = start("panorama-export.xml", dict.fromkeys(names or ("dg-eu",), ()))
    else:
        text = _start_from(export, directory, names)
    if printed:
        click.echo(text, nl=False)
        return
    try:
        with file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(
            f"{file} exists already; name another file with --output, or overwrite it with --force"
        ) from None
    click.echo(_printable(f"wrote {file}; edit it, then run `zonebridge config check`"))


@config.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def check(context: click.Context, output: str) -> int:
    """Check the configuration and the files it names.

    Prints a summary, with the selector of each zone where the source can be read. Errors are
    listed on stderr: exit code 64 for the configuration itself, 4 for a source that cannot be
    read or lacks a device group, 5 for a cluster whose kubeconfig cannot be used. Warnings go to
    stderr too and do not change the exit code. No cluster is contacted.
    """
    settings = context.obj.settings()
    file = context.obj.file
    warnings = checked(settings, file)
    unusable: list[str] = []
    configurations = _configurations(settings, unusable)
    zones = zones_seen(settings, file, configurations, unusable)
    code = SourceError.exit_code if unusable else 0
    clusters = unusable_clusters(settings)
    code = first_code({code, ClusterError.exit_code if clusters else 0})
    unusable += clusters
    named = {zone.name for found in zones.values() for zone in found or ()}
    warnings += further_warnings(settings, named, whole=None not in zones.values())
    warnings += essential_warnings(settings, zones)
    warnings += mistake_warnings(settings, configurations)
    for sentence in unusable:
        click.echo(fitted(f"error: {_printable(sentence)}", sys.stderr), err=True)
    for warning in warnings:
        click.echo(fitted(f"warning: {_printable(warning)}", sys.stderr), err=True)
    summary = _summary(settings, file, zones, [*unusable, *warnings])
    summary["unusable"] = unusable
    if output == "json":
        print_json(summary)
    else:
        click.echo(fitted("\n".join(map(_printable, _lines(summary)))))
    return code


@config.command(short_help="Print the JSON Schema of the configuration file.")
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and pipelines."""
    click.echo(json.dumps(settings_schema(), indent=2))


def _configurations(settings: Settings, unusable: list[str]) -> "dict[str, Configuration]":
    """Read the configurations of the sources in use; add those that cannot be to `unusable`."""
    from sync.assembly import sources

    used = {
        settings.source_of(group).name
        for cluster in settings.clusters
        for group in cluster.device_groups
    }
    found: dict[str, Configuration] = {}
    for i, source in enumerate(sources(settings, None)):
        if source.name in used:
            try:
                found[source.name] = source.read().configuration
            except SourceError as error:
                unusable.append(f"sources[{i}]: {error}")
    return found


def _start_from(export: Path, directory: Path, names: Sequence[str]) -> str:
    """Return the text of a first configuration for device groups of an export."""
    from sync.sources.export import ExportSource

    configuration = ExportSource("main", export).read().configuration
    groups = configuration.device_groups
    if not groups:
        raise SourceError(f"{export} has no device groups; export the configuration of a Panorama")
    for name in names:
        if name not in groups:
            raise UsageError(f"{export} has no device group {name!r}; {did_you_mean(name, groups)}")
    parents = {group.parent for group in groups.values()}
    leaves = [name for name in groups if name not in parents]
    chosen = names or leaves[:1] or list(groups)[:1]
    _say_chosen(chosen, [name for name in groups if name not in chosen])
    place = export.absolute()
    return start(
        str(place.relative_to(directory) if place.is_relative_to(directory) else place),
        {name: _start_zones(configuration, name) for name in chosen},
        [
            StartDeviceGroup(name, group.parent, _rule_count(configuration, name))
            for name, group in groups.items()
        ],
    )


def _say_chosen(chosen: Sequence[str], others: Sequence[str]) -> None:
    """Say on stderr which device groups get a cluster, and which stay in a comment."""
    from sync.text import counted

    listed = ", ".join(map(repr, chosen))
    said = f"{counted(len(chosen), 'device group')} with a cluster: {listed}"
    if others:
        more = len(others) - _NAMED
        named = ", ".join(map(repr, others[:_NAMED])) + (f" and {more} more" if more > 0 else "")
        said += f"; in a comment only: {named} (--device-group NAME, repeatable, chooses)"
    click.echo(fitted(_printable(said), sys.stderr), err=True)


def _start_zones(configuration: "Configuration", name: str) -> list[StartZone]:
    from sync.firewall.effective import effective
    from sync.firewall.zone_networks import derived
    from sync.options import ZoneOptions
    from sync.translate.zones import Workloads, zones_of

    device_group, networks = effective(configuration, name), derived(configuration, name)
    options = ZoneOptions()
    zones = zones_of(device_group, networks, options, Workloads(options), ())
    rules = [{*placed.rule.from_zones, *placed.rule.to_zones} for placed in device_group.rules]
    return [
        StartZone(
            zone.name,
            () if zone.networks is None else tuple(networks.networks.get(zone.name, ())),
            zone.origin,
            sum(zone.name in each for each in rules),
        )
        for zone in zones.own.values()
    ]


def _rule_count(configuration: "Configuration", name: str) -> int:
    from sync.firewall.effective import effective

    return len(effective(configuration, name).rules)


def _printable(text: str) -> str:
    from sync.text import printable

    return printable(text)


def _summary(
    settings: Settings, file: Path, zones: ZonesSeen, warnings: list[str]
) -> dict[str, Any]:
    return {
        "file": str(file),
        "instance": settings.instance,
        "store": settings.store.url,
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "path": str(source.path) if source.path else None,
                "hosts": list(source.hosts),
            }
            for source in settings.sources
        ],
        "clusters": [
            {
                "name": cluster.name,
                "kind": cluster.kind,
                "path": str(cluster.path) if cluster.path else None,
                "kubeconfig": str(cluster.kubeconfig) if cluster.kubeconfig else None,
                "context": cluster.context,
                "device_groups": [
                    {
                        "source": settings.source_of(group).name,
                        **group.model_dump(include={"name", "tier", "order", "mode"}),
                        "zones": _zone_document(zones[i, j]),
                    }
                    for j, group in enumerate(cluster.device_groups)
                ],
            }
            for i, cluster in enumerate(settings.clusters)
        ],
        "warnings": warnings,
    }


def _zone_document(zones: "Sequence[Zone] | None") -> list[dict[str, Any]] | None:
    return (
        None
        if zones is None
        else [
            {
                "name": zone.name,
                "selector": zone.workloads,
                "bytes": len(zone.workloads.encode()),
            }
            for zone in zones
        ]
    )


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    if summary["unusable"]:
        number = len(summary["unusable"])
        many = "a source or cluster" if number == 1 else f"{number} sources or clusters"
        yield f"{summary['file']} can be read, but {many} cannot be used: see the errors"
    else:
        yield f"{summary['file']} is valid"
    yield f"instance {summary['instance']}, store {summary['store']}"
    for source in summary["sources"]:
        where = source["path"] or ", ".join(source["hosts"])
        yield f"source {source['name']}: {source['kind']} {where}"
    for cluster in summary["clusters"]:
        where = cluster["path"] or cluster["kubeconfig"] or "the pod's own"
        context = f", context {cluster['context']}" if cluster["context"] else ""
        yield f"cluster {cluster['name']}: {cluster['kind']} {where}{context}"
        for group in cluster["device_groups"]:
            yield (
                f"  {group['source']}/{group['name']}: "
                f"tier {group['tier']}, order {group['order']}, {group['mode']}"
            )
            for zone in group["zones"] or ():
                yield f"    zone {zone['name']}, {zone['bytes']} bytes: {zone['selector']}"

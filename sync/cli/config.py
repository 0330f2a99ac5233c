"""The commands `zonebridge config`: is the configuration right, and what may stand in it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sync.errors import UsageError
from sync.settings import Settings, check_files, configuration_file, load
from sync.settings import schema as settings_schema


@click.group()
def config() -> None:
    """Check the configuration, or print its schema."""


@config.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def check(context: click.Context, output: str) -> None:
    """Check the configuration and the files it names.

    Prints what the configuration says. Whatever is wrong is listed on stderr, with exit code 64;
    warnings go to stderr and change no exit code.
    """
    path: Path | None = context.obj.config
    settings = load(path, os.environ)
    file = configuration_file(path, os.environ)
    problems, warnings = check_files(settings)
    if problems:
        listed = "\n  ".join(map(str, problems))
        raise UsageError(f"{file} names files that cannot be used:\n  {listed}")
    warnings += _unused_sources(settings)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    summary = _summary(settings, file, warnings)
    click.echo(json.dumps(summary, indent=2) if output == "json" else "\n".join(_lines(summary)))


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and pipelines."""
    click.echo(json.dumps(settings_schema(), indent=2))


def _unused_sources(settings: Settings) -> list[str]:
    used = {
        settings.source_of(group).name
        for cluster in settings.clusters
        for group in cluster.device_groups
    }
    return [
        f"sources[{i}]: no device group uses source {source.name}; remove it, or use it"
        for i, source in enumerate(settings.sources)
        if source.name not in used
    ]


def _summary(settings: Settings, file: Path, warnings: list[str]) -> dict[str, Any]:
    return {
        "file": str(file),
        "instance": settings.instance,
        "store": settings.store.url,
        "sources": [
            {"name": source.name, "kind": source.kind, "path": str(source.path)}
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
                    }
                    for group in cluster.device_groups
                ],
            }
            for cluster in settings.clusters
        ],
        "warnings": warnings,
    }


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    yield f"{summary['file']} is right"
    yield f"instance {summary['instance']}, store {summary['store']}"
    for source in summary["sources"]:
        yield f"source {source['name']}: {source['kind']} {source['path']}"
    for cluster in summary["clusters"]:
        where = cluster["path"] or cluster["kubeconfig"] or "the pod's own"
        context = f", context {cluster['context']}" if cluster["context"] else ""
        yield f"cluster {cluster['name']}: {cluster['kind']} {where}{context}"
        for group in cluster["device_groups"]:
            yield (
                f"  {group['source']}/{group['name']}: "
                f"tier {group['tier']}, order {group['order']}, {group['mode']}"
            )

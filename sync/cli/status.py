"""`zonebridge status`: how clusters and sources stand, as the store knows it."""

from typing import Any

import click

from sync.cli.context import Context, print_json, until_closed
from sync.plan.text import printable
from sync.store import Standing, Store


@click.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def status(context: Context, output: str) -> int:
    """Show each cluster and source: last success, who keeps it, what is open."""
    settings = context.settings()
    with context.recorded() as store:
        names = [cluster.name for cluster in settings.clusters]
        document = _document(
            store, names, [source.name for source in settings.sources], store.standings()
        )
    with until_closed():
        if output == "json":
            print_json(document)
        else:
            _print(document)
    return 0


def _document(
    store: Store, clusters: list[str], sources: list[str], standings: list[Standing]
) -> dict[str, Any]:
    stand = {(each.kind, each.name): each for each in standings}
    leases = {each.name: each for each in store.leases() if each.seconds > 0}
    return {
        "clusters": [
            {
                **_standing(stand.get(("cluster", name)), name),
                "holder": leases[name].holder if name in leases else None,
                "objects": len(store.digests(name)),
                "open_intents": len(store.open_intents(name)),
            }
            for name in clusters
        ],
        "sources": [_standing(stand.get(("source", name)), name) for name in sources],
    }


def _standing(found: Standing | None, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "state": found.state if found else "never synced",
        "attempted": (found.attempted or None) if found else None,
        "succeeded": (found.succeeded or None) if found else None,
        "detail": found.detail if found else "",
    }


def _print(document: dict[str, Any]) -> None:
    for cluster in document["clusters"]:
        _say(f"Cluster {cluster['name']}: {cluster['state']}", cluster["detail"])
        _say("  last success", cluster["succeeded"] or "never")
        _say("  last attempt", cluster["attempted"] or "never")
        _say(
            "  kept by",
            cluster["holder"] or "nobody now; run `zonebridge sync` or `zonebridge run`",
        )
        _say("  objects", str(cluster["objects"]))
        if cluster["open_intents"]:
            _say("  open intents", f"{cluster['open_intents']}, closed by the next sync")
    for source in document["sources"]:
        _say(f"Source {source['name']}: {source['state']}", source["detail"])
        _say("  last success", source["succeeded"] or "never")
        _say("  last attempt", source["attempted"] or "never")


def _say(what: str, value: str) -> None:
    click.echo(printable(f"{what}: {value}" if value else what))

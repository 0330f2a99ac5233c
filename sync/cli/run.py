"""`zonebridge run`: the long-lived service."""

import click

from sync import assembly
from sync.cli.context import Context, holder, trigger
from sync.cli.signals import signals
from sync.store.published import hold_to_heads


@click.command()
@click.pass_obj
def run(context: Context) -> int:
    """Keep every cluster as its sources say, until a signal ends it."""
    from sync.service.service import Service, Timing

    settings = context.settings()
    with assembly.store_of(settings, write=True) as store, signals() as asked:
        hold_to_heads(store, settings.audit.head_file)
        Service(
            assembly.sources(settings, store, stopping=asked.stopping),
            assembly.clusters(settings, store, write=True, only=(), stopping=asked.stopping),
            store,
            assembly.options(settings, store),
            Timing(
                settings.poll_interval,
                settings.lease_ttl,
                settings.resync_interval,
                settings.health.max_source_age,
            ),
            trigger=trigger("zonebridge run"),
            holder=holder("zonebridge run"),
            head_file=settings.audit.head_file,
            stopping=asked.stopping,
        ).serve(settings.health.bind)
    return 0

"""`zonebridge worker`: sync the clusters that `zonebridge run` puts into the queue."""

import os

import click

from sync import __version__, assembly
from sync.cli.context import Context, holder, trigger
from sync.cli.signals import signals
from sync.errors import UsageError
from sync.store.head_file import hold_to_heads
from sync.tracing import tracing

_SLOTS = 4
_LAST_NOTICES_SECONDS = 3


@click.command(short_help="Sync the clusters that `zonebridge run` queues.")
@click.option(
    "--slots",
    type=click.IntRange(1, 64),
    default=_SLOTS,
    show_default=True,
    help="How many clusters to sync at a time.",
)
@click.pass_obj
def worker(context: Context, slots: int) -> int:
    """Sync the clusters that `zonebridge run` queues, until a signal ends the worker."""
    settings = context.settings()
    if settings.engine.kind != "procrastinate":
        raise UsageError(
            "a worker has nothing to do: engine.kind is embedded, so `zonebridge run` syncs the "
            "clusters itself; set it to procrastinate"
        )
    from sync.service.metrics import Metrics
    from sync.service.queue import SyncQueue
    from sync.service.tasks import Worker

    with (
        tracing(os.environ, __version__),
        assembly.store_of(settings, write=True) as store,
        SyncQueue(store.database) as queue,
        signals() as asked,
    ):
        hold_to_heads(store, settings.audit.head_file)
        metrics = Metrics()
        clusters = assembly.clusters(settings, store, write=True, only=(), stopping=asked.stopping)
        announcer = assembly.announcer(settings, store, clusters, metrics)
        steps = assembly.steps(
            settings,
            store,
            clusters,
            trigger=trigger("zonebridge worker"),
            metrics=metrics,
            announcer=announcer,
            stopping=asked.stopping,
        )
        Worker(
            steps,
            store,
            queue,
            holder=holder("zonebridge worker"),
            lease_ttl=settings.lease_ttl,
            slots=slots,
            metrics=metrics,
            stopping=asked.stopping,
        ).serve(settings.health.bind)
        announcer.close(_LAST_NOTICES_SECONDS)
    return 0

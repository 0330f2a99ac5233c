"""`zonebridge run`: the long-lived service."""

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click
import structlog

from sync import __version__, assembly
from sync.cli.checking import checked, further_warnings, zones_seen
from sync.cli.context import Context, holder, log_as, trigger
from sync.cli.signals import signals
from sync.errors import UsageError
from sync.settings import Settings, check_files
from sync.settings.changes import at_start, changes
from sync.settings.problems import Problem, listed
from sync.settings.values import write_duration
from sync.store.head_file import hold_to_heads
from sync.tracing import tracing

if TYPE_CHECKING:
    from sync.firewall.configuration import Configuration
    from sync.service.metrics import Metrics
    from sync.service.queue import SyncQueue
    from sync.service.service import Service
    from sync.store import Store

_COMMAND = "zonebridge run"


@click.command(short_help="Keep every cluster in sync until a signal ends it.")
@click.pass_obj
def run(context: Context) -> int:
    """Keep every cluster in sync with its sources until a signal ends the service.

    A changed configuration takes effect without a restart; SIGHUP has it read at once.
    """
    from sync.service.configuration import ConfigurationFile, digest
    from sync.service.host import Host
    from sync.service.metrics import Metrics

    held = digest(context.file)
    settings = context.settings()
    asked = threading.Event()
    with (
        tracing(os.environ, __version__),
        assembly.store_of(settings, write=True) as store,
        assembly.queue(settings, store) or nullcontext() as queue,
        signals(asked.set) as received,
    ):
        hold_to_heads(store, settings.audit.head_file)
        metrics = Metrics()
        current = _Current(context, settings, store, queue, metrics)
        problems, warnings = check_files(settings)
        # Only warnings: files that are missing now may be there when they are needed.
        _announce("starting", settings, [*map(str, problems), *warnings])
        Host(
            current.service,
            ConfigurationFile(context.file, current.read, metrics, held),
            store,
            metrics,
            holder=holder(_COMMAND),
            asked=asked,
            stopping=received.stopping,
        ).serve(settings.health.bind)
    return 0


class _Current:
    """The configuration in use, and the service built from it."""

    def __init__(
        self,
        context: Context,
        settings: Settings,
        store: "Store",
        queue: "SyncQueue | None",
        metrics: "Metrics",
    ) -> None:
        self._context = context
        self._settings = settings
        self._store = store
        self._queue = queue
        self._metrics = metrics
        self.service = self._made(settings)

    def _made(self, settings: Settings) -> "Service":
        """Build the service of a configuration, without starting it."""
        from sync.service.service import Service, Timing
        from sync.transport.stopping import Stopping

        stopping = Stopping()
        # A service that only calls workers has no writers.
        clusters = assembly.clusters(
            settings, self._store, write=self._queue is None, only=(), stopping=stopping
        )
        return Service(
            assembly.sources(settings, self._store, stopping=stopping),
            clusters,
            self._store,
            assembly.options(settings, self._store),
            Timing(
                settings.poll_interval,
                settings.lease_ttl,
                settings.resync_interval,
                settings.health.max_source_age,
            ),
            trigger=trigger(_COMMAND),
            holder=holder(_COMMAND),
            head_file=settings.audit.head_file,
            metrics=self._metrics,
            stopping=stopping,
            announcer=assembly.announcer(settings, self._store, clusters, self._metrics),
            queue=self._queue,
        )

    def read(self) -> "Service | None":
        """Return the service of a changed configuration; None if it equals the one in use.

        Raises as the first reading does, and `UsageError` for changes that need a restart.
        """
        settings = self._context.read()
        if settings == self._settings:
            return None
        # A problem that the one in use has too must not keep an operator from fixing the rest.
        in_use = self._settings
        warnings = checked(settings, self._context.file, known=check_files(in_use)[0])
        if kept := at_start(in_use, settings):
            text = "needs a restart; restart the service, or put the old value back"
            raise UsageError(listed(self._context.file, [Problem((key,), text) for key in kept]))
        known = self._known(settings)
        misfit = self._misfit(settings, known, warnings)
        if misfit and not self._misfit(in_use, known, []):
            raise misfit
        service = self._made(settings)
        changed = changes(in_use, settings)
        self._settings, self.service = settings, service
        log_as(settings)
        _announce("configuration reloaded", settings, warnings, changed=changed)
        return service

    def _misfit(
        self, settings: Settings, known: "Mapping[str, Configuration]", warnings: list[str]
    ) -> UsageError | None:
        """Return how settings do not fit the configurations of their sources, None if they do."""
        try:
            zones_seen(settings, self._context.file, known, warnings)
        except UsageError as error:
            return error
        return None

    def _known(self, settings: Settings) -> "dict[str, Configuration]":
        """Return the last good configuration of each source that does not change."""
        found = self.service.configurations
        return {
            source.name: found[source.name]
            for source in settings.sources
            if source in self._settings.sources and source.name in found
        }


def _announce(
    event: str, settings: Settings, warnings: Sequence[str], **more: Sequence[str]
) -> None:
    """Log what the service does with which clusters, and the warnings."""
    log = structlog.get_logger()
    log.info(
        event,
        instance=settings.instance,
        store=settings.store.url,
        engine=settings.engine.kind,
        drift=settings.drift,
        poll_interval=write_duration(settings.poll_interval),
        sources=[
            f"{source.name}: {source.kind} {source.path or ', '.join(source.hosts)}"
            for source in settings.sources
        ],
        clusters=[_told(settings, i) for i in range(len(settings.clusters))],
        **more,
    )
    for warning in [*warnings, *further_warnings(settings)]:
        log.warning("configuration", detail=warning)


def _told(settings: Settings, position: int) -> str:
    """Summarize a cluster: where it is, and which device groups go to which tiers."""
    from sync.clusters.kubernetes.auth.kubeconfig import server
    from sync.errors import ClusterError

    cluster = settings.clusters[position]
    where = str(cluster.path)
    if cluster.kind == "kubernetes":
        try:
            where = server(cluster.kubeconfig, cluster.context)
        except ClusterError as error:
            where = f"{cluster.kubeconfig or 'the pod has no service account'} ({error})"
    groups = [
        f"{settings.source_of(group).name}/{group.name} to tier {group.tier}, "
        f"order {group.order}, {group.mode}"
        for group in cluster.device_groups
    ]
    targets = "; ".join(groups) or "our objects are removed"
    return f"{cluster.name}: {cluster.kind} {where}; {targets}"

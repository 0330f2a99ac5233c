"""Build what a syncing process needs: the store, the queue, and a step for each cluster."""

from collections.abc import Collection
from threading import Lock
from typing import TYPE_CHECKING

from sync.assembly.translation import options
from sync.reconcile.desired import Cluster
from sync.settings import (
    Settings,
    store_password,
)
from sync.store import Store, open_store, open_store_read_only
from sync.store.head_file import publish_heads
from sync.transport.stopping import Stopping

if TYPE_CHECKING:
    from sync.service.metrics import Metrics
    from sync.service.notices import Announcer
    from sync.service.queue import SyncQueue
    from sync.service.step import ClusterStep


def store_of(settings: Settings, *, write: bool) -> Store:
    """Open the store of the settings; without `write` it is read-only, and nothing is created."""

    def password() -> str | None:
        # Read again for each connection, since passwords are rotated.
        secret = store_password(settings.store)
        return secret.get_secret_value() if secret else None

    if write:
        return open_store(settings.store.url, password=password)
    return open_store_read_only(settings.store.url, password=password)


def queue(settings: Settings, store: Store) -> "SyncQueue | None":
    """Return the queue of the workers; None where the service syncs clusters itself."""
    if settings.engine.kind == "embedded":
        return None
    # Its libraries take long to import, and only a queue needs them.
    from sync.service.queue import SyncQueue

    return SyncQueue(store.database)


def steps(
    settings: Settings,
    store: Store,
    clusters: Collection[Cluster],
    *,
    trigger: str,
    metrics: "Metrics",
    announcer: "Announcer",
    stopping: Stopping,
) -> dict[str, "ClusterStep"]:
    """Return the step of each cluster by name, for a worker: its sources come from the store."""
    from sync.service.step import ClusterStep
    from sync.service.tasks import RememberedSource

    publishing = Lock()
    remembered = {
        each.name: RememberedSource(each.name, store.memory(each.name)) for each in settings.sources
    }
    translating = options(settings, store)

    def publish() -> None:
        with publishing:
            publish_heads(store, settings.audit.head_file)

    def step(cluster: Cluster) -> ClusterStep:
        used = {here.source for here in cluster.device_groups}
        return ClusterStep(
            cluster=cluster,
            read=lambda: {name: remembered[name].last_good for name in used},
            store=store,
            options=translating,
            trigger=trigger,
            publish_heads=publish,
            metrics=metrics,
            stopping=stopping,
            announcer=announcer,
        )

    return {cluster.name: step(cluster) for cluster in clusters}

"""What a process that syncs runs on: the store, the queue, and a step for each cluster."""

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
    """The store of the settings; without `write` it is only looked at, and nothing is created."""

    def password() -> str | None:
        # Asked again for each connection: the file may hold another one by then.
        secret = store_password(settings.store)
        return secret.get_secret_value() if secret else None

    if write:
        return open_store(settings.store.url, password=password)
    return open_store_read_only(settings.store.url, password=password)


def queue(settings: Settings, store: Store) -> "SyncQueue | None":
    """The queue that clusters are synced by; None where the service syncs them itself."""
    if settings.engine.kind == "embedded":
        return None
    # Its libraries take long to import, and only those with a queue need them.
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
    """What a worker does of each cluster, by its name: with what the store has of the sources."""
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

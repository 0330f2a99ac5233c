"""From the settings to the rooms: what a cycle works on, built for one run.

The command line and the service both assemble here, so that neither decides anything alone.
"""

import warnings
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial

import structlog

from sync.calico.objects import Pairs
from sync.calico.ownership import owner_labels
from sync.clusters.cluster import ClusterReader, ClusterWatcher, ClusterWriter, Remaining
from sync.clusters.manifests import ManifestsReader, ManifestsWatcher, ManifestsWriter
from sync.cycle import Cluster, Translation
from sync.settings import Cluster as ClusterSettings
from sync.settings import Settings, store_password
from sync.sources import Source
from sync.sources.export import ExportSource
from sync.store import Store, open_store, open_store_read_only


def store_of(settings: Settings, *, write: bool) -> Store:
    """The store of the settings; without `write` it is only looked at, and nothing is created."""
    secret = store_password(settings.store)
    password = secret.get_secret_value() if secret else None
    if write:
        return open_store(settings.store.url, password=password)
    return open_store_read_only(settings.store.url, password=password)


def sources(settings: Settings) -> list[Source]:
    """Every source, none of them read yet."""
    found: list[Source] = []
    for source in settings.sources:
        assert source.path is not None, "the settings require a path of every file"
        found.append(ExportSource(source.name, source.path))
    return found


def translation(settings: Settings, store: Store) -> Translation:
    """What decides how the firewall's objects become ours."""
    return Translation(
        tags=settings.address_groups.tags,
        registered_known=settings.registered_ips == "optional",
        owner=owner_labels(settings.instance, store.uuid),
    )


def clusters(
    settings: Settings, store: Store, *, write: bool, only: Collection[str]
) -> list[Cluster]:
    """The clusters named in `only`, or all; without `write` none of them has a writer."""
    owner = owner_labels(settings.instance, store.uuid)
    found: list[Cluster] = []
    for cluster in settings.clusters:
        if only and cluster.name not in only:
            continue
        pairs = tuple(
            (settings.source_of(group).name, group.name) for group in cluster.device_groups
        )
        if cluster.kind == "kubernetes":
            reader, writer, watcher = _kubernetes(cluster, owner, settings.lease_ttl)
        else:
            reader, writer, watcher = _manifests(cluster, owner)
        repair = settings.drift == "repair"
        found.append(
            Cluster(cluster.name, pairs, reader, writer if write else None, watcher, repair)
        )
    return found


_Ends = tuple[
    ClusterReader, Callable[[Remaining, Callable[[], bool]], ClusterWriter], ClusterWatcher
]


def _kubernetes(cluster: ClusterSettings, owner: Pairs, ttl: timedelta) -> _Ends:
    # The official client takes long to import, and only those with such a cluster need it.
    from urllib3.exceptions import InsecureRequestWarning

    from sync.clusters.api import Api
    from sync.clusters.kubeconfig import Access, connect
    from sync.clusters.kubernetes import KubernetesReader, KubernetesWriter
    from sync.clusters.watch import KubernetesWatcher

    if cluster.insecure_skip_tls_verify:
        # Said here once and clearly, not by the library at each request.
        warnings.simplefilter("ignore", InsecureRequestWarning)
        structlog.get_logger().warning("TLS may be unverified", cluster=cluster.name)
    access = Access(
        cluster=cluster.name,
        kubeconfig=cluster.kubeconfig,
        context=cluster.context,
        exec_plugins=cluster.exec_plugins,
        exec_timeout=cluster.exec_timeout,
        insecure_skip_tls_verify=cluster.insecure_skip_tls_verify,
    )
    api = Api(cluster.name, partial(connect, access))
    # A request ends well within what a lease has left between two renewals.
    seconds = ttl.total_seconds() / 2

    def writer(remaining: Remaining, stopping: Callable[[], bool]) -> ClusterWriter:
        return KubernetesWriter(api, owner, remaining=remaining, stopping=stopping, seconds=seconds)

    return KubernetesReader(api, owner), writer, KubernetesWatcher(api, owner)


def _manifests(cluster: ClusterSettings, owner: Pairs) -> _Ends:
    assert cluster.path is not None, "the settings require a path of every manifests cluster"
    path = cluster.path

    def writer(remaining: Remaining, _stopping: Callable[[], bool]) -> ClusterWriter:
        return ManifestsWriter(path, remaining=remaining)

    return ManifestsReader(path, owner), writer, ManifestsWatcher(path)

"""Build the clusters of the settings: readers, writers and watchers of each kind."""

import warnings
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from os import environ, getpid
from socket import gethostname
from typing import TYPE_CHECKING

import structlog

from sync.calico.objects import Pairs
from sync.calico.ownership import Owner, directory_owner, owner_labels
from sync.clusters.cluster import (
    ClusterReader,
    ClusterWatcher,
    ClusterWriter,
    EventRecorder,
    Remaining,
)
from sync.clusters.in_memory import GivenReader
from sync.clusters.kustomization import Kustomization
from sync.clusters.manifests import ManifestsReader, ManifestsWatcher, ManifestsWriter
from sync.errors import ClusterError
from sync.net.addresses import AddressSet, network
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.settings import Cluster as ClusterSettings
from sync.settings import (
    Settings,
)
from sync.store import Store
from sync.transport.stopping import Stopping

if TYPE_CHECKING:
    from sync.clusters.kubernetes.auth.kubeconfig import Connector


def clusters(
    settings: Settings,
    store: Store,
    *,
    write: bool,
    only: Collection[str],
    adopt: bool = False,
    accept: Collection[str] = (),
    stopping: Stopping | None = None,
) -> list[Cluster]:
    """Build the clusters named in `only`, or all; without `write` none of them has a writer.

    With `adopt` they take over foreign objects that have the names of desired ones. Those named in
    `accept` are planned as if an operator had accepted their current identity. Once `stopping` is
    set, nothing is waited for but a write in progress.
    """
    owner = owner_labels(settings.instance, store.uuid)
    found: list[Cluster] = []
    for cluster in settings.clusters:
        if only and cluster.name not in only:
            continue
        events = None
        if cluster.kind == "kubernetes":
            reader, writer, watcher, events = _kubernetes(
                cluster, owner, settings.lease_ttl, stopping
            )
        else:
            reader, writer, watcher = _manifests(cluster, _directory_owner(settings))
        made = _cluster(settings, cluster, reader, writer if write else None, watcher)
        made = replace(made, events=events if write else None, index=_index(settings, cluster))
        found.append(replace(made, adopt=adopt, accept=cluster.name in accept))
    return found


def unreached_cluster(settings: Settings, cluster: ClusterSettings) -> Cluster:
    """Build a cluster that is never contacted: all that is known of it comes from the settings."""
    return _cluster(settings, cluster, GivenReader({}), None, None)


def device_groups(settings: Settings, cluster: ClusterSettings) -> tuple[TierBinding, ...]:
    """Return the device groups of a cluster."""
    return tuple(
        TierBinding(settings.source_of(group).name, group.name, group.tier, group.order, group.mode)
        for group in cluster.device_groups
    )


def pod_cidrs(cluster: ClusterSettings) -> AddressSet | None:
    """Return the configured pod networks of a cluster; None if there are none."""
    return AddressSet.union(network(str(cidr)) for cidr in cluster.pod_cidrs) or None


def _cluster(
    settings: Settings,
    cluster: ClusterSettings,
    reader: ClusterReader,
    writer: Callable[[Remaining, Callable[[], bool]], ClusterWriter] | None,
    watcher: ClusterWatcher | None,
) -> Cluster:
    directory = cluster.kind == "manifests"
    return Cluster(
        name=cluster.name,
        device_groups=device_groups(settings, cluster),
        reader=reader,
        writer=writer,
        watcher=watcher,
        repair_drift=settings.drift == "repair",
        pod_cidrs=pod_cidrs(cluster),
        refuse_windows=cluster.windows == "refuse",
        directory=directory,
        owner=_directory_owner(settings) if directory else None,
        others=tuple(each.name for each in settings.clusters if each.name != cluster.name),
        of_all=tuple(here for each in settings.clusters for here in device_groups(settings, each)),
    )


def _index(settings: Settings, cluster: ClusterSettings) -> Kustomization | None:
    if cluster.path is None:
        return None
    required = _directory_owner(settings).required
    return Kustomization(cluster.path, required, wanted=cluster.kustomization)


_Ends = tuple[
    ClusterReader, Callable[[Remaining, Callable[[], bool]], ClusterWriter], ClusterWatcher
]


def _kubernetes(
    cluster: ClusterSettings, owner: Pairs, ttl: timedelta, stopping: Stopping | None
) -> tuple[*_Ends, EventRecorder]:
    # The official client takes long to import, and only clusters of this kind need it.
    from urllib3.exceptions import InsecureRequestWarning

    from sync.clusters.kubernetes.auth.kubeconfig import Access, Connector
    from sync.clusters.kubernetes.client import LONGEST_SECONDS, LONGEST_WRITE_SECONDS, Api
    from sync.clusters.kubernetes.events import KubernetesEvents
    from sync.clusters.kubernetes.reader import KubernetesReader
    from sync.clusters.kubernetes.watcher import KubernetesWatcher
    from sync.clusters.kubernetes.writer import KubernetesWriter

    if cluster.insecure_skip_tls_verify:
        # Logged here once, instead of by the library for each request.
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
    connector = Connector(access)
    _pin(connector, cluster.name)
    # A request ends well before the lease could expire between two renewals.
    seconds = min(ttl.total_seconds() / 2, LONGEST_SECONDS)
    api = Api(cluster.name, connector, seconds=seconds, stopping=stopping)

    reader = KubernetesReader(api, owner)

    def writer(remaining: Remaining, stops: Callable[[], bool]) -> ClusterWriter:
        return KubernetesWriter(
            api,
            owner,
            remaining=remaining,
            stopping=stops,
            seconds=min(seconds, LONGEST_WRITE_SECONDS),
            uid=reader.uid,
        )

    # Without `stopping`: the last Events are written while the process shuts down.
    recorder = KubernetesEvents(Api(cluster.name, connector, seconds=seconds), process_name())
    return reader, writer, KubernetesWatcher(api, owner), recorder


def process_name() -> str:
    """Return the name of this process for Events."""
    return environ.get("POD_NAME") or f"{gethostname()}, process {getpid()}"


def _pin(connector: "Connector", cluster: str) -> None:
    """Fix the context at the start, before someone changes the kubeconfig's current one."""
    try:
        several = connector.pin()
    except ClusterError:
        # Every request to the cluster reports it.
        return
    if several:
        structlog.get_logger().warning(
            "context is not configured; the current one of the kubeconfig stays in use",
            cluster=cluster,
            context=connector.context,
            contexts=several,
        )


def _directory_owner(settings: Settings) -> Owner:
    return directory_owner(settings.instance, settings.store.id)


def _manifests(cluster: ClusterSettings, owner: Owner) -> _Ends:
    assert cluster.path is not None, "the settings require a path of every manifests cluster"
    path = cluster.path

    def writer(remaining: Remaining, _stopping: Callable[[], bool]) -> ClusterWriter:
        return ManifestsWriter(path, remaining=remaining)

    return ManifestsReader(path, owner.required), writer, ManifestsWatcher(path)
